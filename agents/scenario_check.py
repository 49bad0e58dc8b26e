"""Compare the scenarios of a catalogue with each other; `agents/scenario_proof.py` says when two differ."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.connection import Connection

from training_ground.agents.scenario_proof import Proof
from training_ground.agents.scenario_replay import Examined, Stage
from training_ground.agents.seeds import check_unseen
from training_ground.agents.workers import Worker, reply, spread
from training_ground.envs.fingerprint import fingerprint
from training_ground.envs.scenarios import Scenario

UNIT_TIMEOUT_S = 3600.0
"""s for the scenarios of one template on one seed."""

Unit = tuple[list[Scenario], int]
"""A piece of work: scenarios of one template, and a seed."""


def begin(scenarios: Sequence[Scenario], seeds: Sequence[int]) -> Proof:
    """Return a proof in which nothing has been played yet.

    Args:
        scenarios: In the catalogue's order.
        seeds: From 1,000,000; each scenario will be played on each.

    Raises:
        AgentError: A seed may have been trained on.
        TrainingGroundError: A robot, cell or part cannot be read.
    """
    return Proof(list(scenarios), check_unseen(seeds), {one.id: fingerprint(one) for one in scenarios})


def check(proof: Proof, workers: int = 2, on_unit: Callable[[Examined], None] | None = None) -> None:
    """Compare a proof's scenarios with each other; where successes are too few, on up to as many further seeds.

    On Ctrl-C the KeyboardInterrupt goes on to the caller; `proof` has everything that was finished.

    Args:
        proof: Is filled.
        workers: Processes; 0 runs in this one.
        on_unit: Called with the newest piece of it.

    Raises:
        AgentError: A worker died or hangs.
    """
    started = time.monotonic()

    def finish(unit: Examined) -> None:
        proof.examined.append(unit)
        proof.seconds = time.monotonic() - started
        if on_unit is not None:
            on_unit(unit)

    _examine(_units(proof.scenarios, proof.seeds), workers, finish)
    for seed in range(max(proof.seeds) + 1, max(proof.seeds) + 1 + len(proof.seeds)):
        _examine(_units(proof.doubtful(), [seed]), workers, finish)


def _units(scenarios: Sequence[Scenario], seeds: Sequence[int]) -> list[Unit]:
    groups: dict[str, list[Scenario]] = defaultdict(list)
    for one in scenarios:
        groups[one.template].append(one)
    return [(group, seed) for group in groups.values() for seed in seeds]


def _examine(units: list[Unit], workers: int, finish: Callable[[Examined], None]) -> None:
    if not workers:
        with closing(Stage()) as stage:
            for group, seed in units:
                finish(stage.examine(group, seed))
    elif units:
        pool = [Worker(f"scenario worker {i}", serve_units, (units,)) for i in range(min(workers, len(units)))]
        spread(pool, range(len(units)), finish, timeout_s=UNIT_TIMEOUT_S, kind="unit")


def serve_units(connection: Connection, units: list[Unit]) -> None:
    """Examine the units that are asked for by their place, until the pipe closes."""
    stage = Stage()
    reply(connection, None)
    while True:
        group, seed = units[connection.recv()]
        reply(connection, stage.examine(group, seed))

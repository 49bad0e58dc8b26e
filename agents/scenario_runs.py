"""How a policy does in scenarios: success with its interval, and cycle times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training_ground.agents.episodes import EpisodeRecord
from training_ground.agents.evaluation import Evaluation, evaluate
from training_ground.agents.policy import load_policy
from training_ground.envs.scenarios import Scenario


@dataclass
class Runs:
    """A policy in scenarios.

    Attributes:
        scenarios: Those that were asked for.
        evaluations: By identifier, as far as they have begun.
    """

    scenarios: list[Scenario]
    evaluations: dict[str, Evaluation] = field(default_factory=dict)

    def figures(self) -> list[dict[str, Any]]:
        """Return the figures of each scenario that has begun."""
        begun = [one for one in self.scenarios if one.id in self.evaluations]
        return [figures(one, self.evaluations[one.id]) for one in begun]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data, every episode included."""
        runs = [{**row, "evaluation": self.evaluations[row["id"]].to_json()} for row in self.figures()]
        return {"schema_version": 1, "runs": runs}


def figures(scenario: Scenario, evaluation: Evaluation) -> dict[str, Any]:
    """Return a scenario's figures as plain data; None where no episode tells.

    Cycle times, s, are of the episodes that end in success; `failures` has `no success` for those that only ran out of
    time.
    """
    records, summary = evaluation.episodes, evaluation.summary()
    cycles = [r.metrics["cycle_time"] for r in records if r.success and "cycle_time" in r.metrics]
    return {
        **scenario.to_json(),
        "policy": evaluation.policy,
        **{key: summary[key] for key in ("episodes", "requested", "successes", "success_rate", "wilson_95")},
        "cycle_median_s": float(np.median(cycles)) if cycles else None,
        "cycle_p95_s": float(np.percentile(cycles, 95)) if cycles else None,
        "failures": dict(Counter(r.failure or "no success" for r in records if not r.success)),
    }


def run(
    runs: Runs, policy: str, seeds: Sequence[int], workers: int = 2,
    on_episode: Callable[[Scenario], None] | None = None,
) -> None:  # fmt: skip
    """Evaluate a policy in one scenario after the other, on the same seeds.

    On Ctrl-C the KeyboardInterrupt goes on to the caller; `runs` has every episode that finished.

    Args:
        runs: Is filled.
        policy: As `load_policy` takes it; `shipped` is each scenario's own.
        seeds: From 1,000,000.
        workers: Processes; 0 runs in this one.
        on_episode: Called with the scenario of each episode that has finished.

    Raises:
        AgentError, SimulationError: As `evaluate`.
    """
    actors = [load_policy(policy, env_id=one.env_id, robot=one.robot) for one in runs.scenarios]
    for one, actor in zip(runs.scenarios, actors, strict=True):

        def finish(evaluation: Evaluation, record: EpisodeRecord, one: Scenario = one) -> None:
            runs.evaluations[one.id] = evaluation
            if on_episode is not None:
                on_episode(one)

        evaluate(actor, one.env_id, one.kwargs, seeds, workers, finish)

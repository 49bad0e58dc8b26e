"""Run a product test: trials as independent pieces of work over processes, resumed where they were interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from training_ground.agents.certification.assembling import assemble, under_test
from training_ground.agents.certification.judging import judgeable
from training_ground.agents.certification.metrics import QUANTITIES
from training_ground.agents.certification.plan import Condition, Plan, make_plan
from training_ground.agents.certification.result import (
    FILE,
    SIGNATURE_SUFFIX,
    PolicyUnderTest,
    ProtocolInfo,
    Result,
    protocol_sha256,
    read_result,
    result_bytes,
)
from training_ground.agents.certification.trial import DIVERGED, run_trial
from training_ground.agents.certification.trials_file import FILE as TRIALS
from training_ground.agents.certification.trials_file import Header, TimingLine, TrialLine, TrialsFile
from training_ground.agents.deadline import DeadlineMonitor
from training_ground.agents.episodes import control_rate
from training_ground.agents.files import write_atomic
from training_ground.agents.policy import Policy, load_policy
from training_ground.agents.seeds import check_unseen
from training_ground.agents.stepping import full_id, make_env
from training_ground.agents.workers import Worker, reply, spread
from training_ground.configs.certification import load_protocol
from training_ground.configs.errors import AgentError
from training_ground.datasets.provenance import code_commit

TRIAL_TIMEOUT_S = 3600.0
OnTrial = Callable[[TrialLine], None]


@dataclass(frozen=True)
class Test:
    """A product test that can begin.

    Attributes:
        protocol: What is asked.
        policy: Who is tested.
        tested: What the result will say of it.
        plan: What will be done.
        commit: Of this code.
    """

    protocol: ProtocolInfo
    policy: Policy
    tested: PolicyUnderTest
    plan: Plan
    commit: str | None

    @property
    def header(self) -> Header:
        """What its trials' file begins with."""
        return Header(
            protocol=self.protocol.sha256, policy=self.tested.name, policy_sha256=self.tested.sha256,
            runtime=self.tested.runtime, commit=self.commit, versions=self.plan.versions,
            configs=tuple(condition.config_hash for condition in self.plan.conditions),
        )  # fmt: skip


def prepare(protocol: str | Path, policy: str | Path, overrides: Sequence[str] = ()) -> Test:
    """Read a protocol and a policy, and work out what is to be done.

    Args:
        protocol: Name of a file in `configs/certify`, or a path.
        policy: As `load_policy` takes it; `shipped` is that of the protocol's first scenario.
        overrides: Such as `seeds.count=20`.

    Raises:
        ConfigError: The protocol or an override is wrong.
        AgentError: There is no such policy, it does not fit, or an environment refuses its arguments.
    """
    name, content = load_protocol(protocol, overrides, judgeable(), QUANTITIES)
    first = next(iter(content.scenarios.values()))
    actor = load_policy(policy, env_id=full_id(first.task), robot=str(first.env.get("robot", "")) or None)
    plan = make_plan(content, actor)
    check_unseen({seed for _, seed in plan.items})
    info = ProtocolInfo(name=name, sha256=protocol_sha256(content.model_dump(mode="json")), content=content)
    return Test(info, actor, under_test(actor), plan, code_commit())


def run(
    test: Test, folder: Path, workers: int = 2, command: Sequence[str] = (), on_trial: OnTrial | None = None
) -> Result:
    """Do the trials that are missing, and write `result.json`.

    On Ctrl-C the KeyboardInterrupt goes on to the caller; every trial that finished is in `trials.jsonl`, and the same
    call goes on from there. A test that is finished is left as it is.

    Args:
        test: From `prepare`.
        folder: Of this test alone.
        workers: Processes; 0 runs in this one.
        command: As it was typed; it is kept in the result.
        on_trial: Called with each trial that finishes.

    Raises:
        AgentError: The folder belongs to another test, a worker died or hangs, or a trial cannot be simulated; what was
            done is kept.
    """
    if workers < 0:
        raise AgentError(f"workers = {workers}: 0 (this process) or more")
    started, begin = datetime.now(timezone.utc), time.monotonic()
    with TrialsFile(folder / TRIALS, test.header) as file:
        resumed = len(file.lines)
        missing = [item for item in test.plan.items if (item[0].id, item[1]) not in file.lines]

        def finish(line: TrialLine) -> None:
            file.add(line)
            if on_trial is not None:
                on_trial(line)

        _work(test.policy, missing, workers, finish)
        result = assemble(
            test.protocol, test.tested, test.plan, test.commit, file.lines, command=command, workers=workers,
            started=started.isoformat(timespec="seconds"), seconds=time.monotonic() - begin, resumed=resumed,
        )  # fmt: skip
        return _keep(folder / FILE, result) if not missing else _write(folder / FILE, result)


def _keep(path: Path, result: Result) -> Result:
    """Leave a finished test's result as it is, with its session and its signature; write it where it is not there."""
    there = read_result(path) if path.exists() else result
    same = there.model_copy(update={"session": result.session}) == result
    return there if same and path.exists() else _write(path, result)


def _write(path: Path, result: Result) -> Result:
    path.with_suffix(SIGNATURE_SUFFIX).unlink(missing_ok=True)  # it was another file's
    write_atomic(path, result_bytes(result))
    return result


def remaining(test: Test, folder: Path) -> int:
    """Return how many trials are missing."""
    with TrialsFile(folder / TRIALS, test.header) as file:
        return sum((condition.id, seed) not in file.lines for condition, seed in test.plan.items)


def _work(
    policy: Policy, items: Sequence[tuple[Condition, int]], workers: int, finish: Callable[[TrialLine], None]
) -> None:
    if not workers:
        with _Stage(policy) as stage:
            for condition, seed in items:
                finish(stage.play(condition, seed))
    elif items:
        count = min(workers, len(items))
        pool = [Worker(f"certification worker {i}", serve_trials, (policy, list(items))) for i in range(count)]
        spread(pool, range(len(items)), finish, timeout_s=TRIAL_TIMEOUT_S, kind="trial")


class _Stage:
    """Plays trials; the environment of a condition is kept until another one is asked for."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._condition, self._env = "", None

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the environment."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def play(self, condition: Condition, seed: int) -> TrialLine:
        """Return how a trial went."""
        if self._env is None or self._condition != condition.id:
            self.close()
            self._env, self._condition = make_env(condition.env_id, condition.kwargs), condition.id
        timed = DeadlineMonitor(self._policy, rate=control_rate(self._env))
        trial, timing = run_trial(self._env, timed, seed, condition.stop_at_s)
        if trial.failure == DIVERGED:  # nothing of that shall be left for the next trial
            self.close()
        return TrialLine(condition=condition.id, trial=trial, timing=TimingLine.of(timing))


def serve_trials(connection: Connection, policy: Policy, items: list[tuple[Condition, int]]) -> None:
    """Play the trials that are asked for by their place, until the pipe closes."""
    with _Stage(policy) as stage:
        reply(connection, None)
        while True:
            place: Any = connection.recv()
            reply(connection, stage.play(*items[place]))

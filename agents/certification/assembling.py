"""From trials to a result: metrics, verdicts, hashes, and what the wall clock said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from training_ground.agents.certification.judging import judged, overall, reasons
from training_ground.agents.certification.plan import Condition, Plan
from training_ground.agents.certification.result import (
    ConditionResult,
    DeadlineResult,
    PolicyUnderTest,
    ProtocolInfo,
    Result,
    Session,
    Trial,
    TrialTiming,
    identity_of,
)
from training_ground.agents.certification.trials_file import TrialLine
from training_ground.agents.deadline import Timing
from training_ground.agents.machine import this_machine
from training_ground.agents.policy import Policy
from training_ground.agents.statistics import wilson_interval
from training_ground.configs.certification import Protocol
from training_ground.configs.loading import validate

Lines = Mapping[tuple[str, int], TrialLine]


def assemble(
    protocol: ProtocolInfo, policy: PolicyUnderTest, plan: Plan, commit: str | None, lines: Lines, *,
    command: Sequence[str], workers: int, started: str, seconds: float, resumed: int,
) -> Result:  # fmt: skip
    """Return the result of a test whose trials are all there.

    Args:
        protocol, policy, plan, commit: Of the test.
        lines: Every trial, by condition and seed.
        command, workers, started, seconds, resumed: Of the session.
    """
    conditions = tuple(_condition(one, lines, protocol.content) for one in plan.conditions)
    found = conclude(conditions, protocol.content)
    parts: dict[str, Any] = {
        "protocol": protocol,
        "policy": policy,
        "commit": commit,
        "versions": plan.versions,
        "scenarios": plan.scenarios,
        "conditions": conditions,
        **found,
    }
    timings = [(one, _timings(one, lines)) for one in plan.conditions]
    session = Session(
        command=tuple(command),
        machine=this_machine(),
        workers=workers,
        started=started,
        seconds=round(seconds, 3),
        resumed=resumed,
        deadlines=tuple(_deadline(one, timed, protocol.content.confidence) for one, timed in timings),
        timings=tuple(_trial_timing(one, timing) for one, timed in timings for timing in timed),
    )
    unsigned = Result(**parts, identity="0" * 64, session=session)
    return unsigned.model_copy(update={"identity": identity_of(unsigned.model_dump(mode="json"))})


def conclude(conditions: Sequence[ConditionResult], protocol: Protocol) -> dict[str, Any]:
    """Return the verdict over all conditions, and why."""
    metrics = [(condition.id, metric) for condition in conditions for metric in condition.metrics]
    verdicts, lines = reasons(metrics, protocol)
    return {"verdict": overall(verdicts), "reasons": tuple(lines)}


def _condition(condition: Condition, lines: Lines, protocol: Protocol) -> ConditionResult:
    trials = [lines[condition.id, seed].trial for seed in condition.seeds]
    return ConditionResult(
        id=condition.id,
        scenario=condition.scenario,
        tier=condition.tier,
        axis=condition.axis,
        value=condition.value,
        kwargs=condition.kwargs,
        config_hash=condition.config_hash,
        takt_s=condition.takt_s,
        failure_kinds=condition.failure_kinds,
        trials=tuple(trials),
        metrics=judged(condition, trials, protocol),
        failures=failures(trials),
    )


def failures(trials: Sequence[Trial]) -> dict[str, int]:
    """Count trials without success, by kind, sorted."""
    return dict(sorted(Counter(trial.kind for trial in trials if not trial.success).items()))


def under_test(policy: Policy) -> PolicyUnderTest:
    """Return what a result says of the policy."""
    spec = getattr(policy, "spec", None)
    kinds = {"expert": "expert", "zero": "zero", "random": "random"}
    data = {
        "name": policy.name,
        "kind": "bundle" if spec is not None else kinds.get(policy.name, "other"),
        "sha256": getattr(policy, "hash", None),
        "runtime": getattr(policy, "runtime", None),
        "provenance": None if spec is None else spec.provenance.model_dump(mode="json"),
    }
    return validate(PolicyUnderTest, data, f"policy '{policy.name}'")


# ---- the wall clock --------------------------------------------------------------------------------------------------


def _timings(condition: Condition, lines: Lines) -> list[Timing]:
    return [lines[condition.id, seed].timing.timing(seed) for seed in condition.seeds]


def _trial_timing(condition: Condition, timing: Timing) -> TrialTiming:
    return TrialTiming(condition=condition.id, seed=timing.worst_seed or 0, **_figures(timing))


def _deadline(condition: Condition, timings: Sequence[Timing], confidence: float) -> DeadlineResult:
    total = Timing(timings[0].deadline_s)
    for timing in timings:
        total.merge(timing, timing.worst_seed)
    low, high = wilson_interval(total.misses, total.calls, confidence)
    return DeadlineResult(
        condition=condition.id, deadline_ms=1e3 * total.deadline_s, miss_rate=total.misses / max(total.calls, 1),
        low=low, high=high, **_figures(total),
    )  # fmt: skip


def _figures(timing: Timing) -> dict[str, Any]:
    told = timing.to_json()
    return {key: told[key] for key in ("calls", "misses", "p50_ms", "p99_ms", "max_ms")}

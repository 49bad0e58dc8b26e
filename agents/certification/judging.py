"""From intervals to a verdict: what is wholly on the right side passes, wholly on the wrong one fails, else is open."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training_ground.agents.certification.metrics import (
    METRICS,
    QUANTITIES,
    REPORTED,
    TAGS,
    Setting,
    metric_results,
    named,
    share,
)
from training_ground.agents.certification.plan import Condition
from training_ground.agents.certification.result import (
    NOMINAL,
    STOP,
    ConditionResult,
    Judgement,
    MetricResult,
    Tag,
    Trial,
)
from training_ground.configs.certification import Protocol, Threshold

ORDER: tuple[Judgement, ...] = ("fail", "inconclusive", "pass")
"""The first that occurs is the verdict of all together."""
LIMIT = "limit."
OF_THE_ROBOT = ("joint_limit", "torque_limit", "workspace", "hand_force")
"""Quantities that are about the robot itself, not about people."""

OF_STOPS = ("stop_time", "stop_distance")
"""Quantities that are judged where the red button is pressed as well."""

Case = Condition | ConditionResult


def judge(low: float | None, high: float | None, at_least: float | None, at_most: float | None) -> Judgement:
    """Return what an interval says of bounds; an end that is None is open.

    A bound itself is allowed: an interval that begins at `at_least` passes.
    """
    ends = -math.inf if low is None else low, math.inf if high is None else high
    least, most = -math.inf if at_least is None else at_least, math.inf if at_most is None else at_most
    if least <= ends[0] and ends[1] <= most:
        return "pass"
    return "fail" if ends[1] < least or ends[0] > most else "inconclusive"


def overall(verdicts: Sequence[Judgement]) -> Judgement:
    """Return the verdict of several together: every one must pass; one that fails decides."""
    for verdict in ORDER:
        if verdict in verdicts:
            return verdict
    return "inconclusive"


def judged(condition: Case, trials: Sequence[Trial], protocol: Protocol) -> tuple[MetricResult, ...]:
    """Return the metrics of a condition with the verdicts that thresholds and safety limits give them."""
    setting = Setting(condition.takt_s, condition.failure_kinds, protocol.confidence, protocol.resamples)
    # Of an episode that somebody stops, success and time tell nothing.
    found = metric_results(trials, setting, ("cooperation",) if condition.axis == STOP else TAGS)
    asked = [(name, one) for name, one in protocol.thresholds.items() if _concerns(one, condition)]
    results = []
    for metric in found:
        mine = [(name, one) for name, one in asked if (one.metric or name) == metric.name]
        results += [_with(metric, name, one.at_least, one.at_most) for name, one in mine] or [metric]
    return (*results, *_limits(condition, trials, protocol, setting))


def _concerns(threshold: Threshold, condition: Case) -> bool:
    """Whether a threshold is about a condition."""
    axis = threshold.sweep or NOMINAL
    if axis == NOMINAL and condition.axis == STOP:  # metrics of stops come from there
        axis = STOP
    return (
        threshold.scenario in (None, condition.scenario)
        and threshold.tier in (None, condition.tier)
        and axis == condition.axis
        and threshold.value in (None, condition.value)
    )


def _with(metric: MetricResult, name: str, at_least: float | None, at_most: float | None) -> MetricResult:
    verdict = judge(metric.low, metric.high, at_least, at_most)
    return metric.model_copy(update={"threshold": name, "at_least": at_least, "at_most": at_most, "verdict": verdict})


def _limits(condition: Case, trials: Sequence[Trial], protocol: Protocol, setting: Setting) -> list[MetricResult]:
    """Of each safety limit the share of trials beyond it; only where nothing is swept, or the button is pressed."""
    results = []
    for name, limit in protocol.limits.items():
        if name not in QUANTITIES:  # a result of a stranger; a protocol of ours is refused when it is read
            continue
        values = [x for x in map(QUANTITIES[name], trials) if x is not None]
        asked = condition.axis == NOMINAL or (condition.axis == STOP and name in OF_STOPS)
        if not values or not asked or limit.tier not in (None, condition.tier):
            continue
        tag: Tag = "execution" if name in OF_THE_ROBOT else "cooperation"
        beyond = named(f"{LIMIT}{name}", tag, "1", share([x > limit.at_most for x in values], setting))
        results.append(_with(beyond, f"{LIMIT}{name}", None, limit.tolerated))
    return results


def reasons(metrics: Sequence[tuple[str, MetricResult]], protocol: Protocol) -> tuple[list[Judgement], list[str]]:
    """Return every verdict, and a line for each that is no pass: also for what was asked and nowhere measured.

    Args:
        metrics: Of all conditions, each with its condition's identifier.
        protocol: What was asked.
    """
    verdicts, lines = [], []
    for where, metric in metrics:
        if metric.verdict is not None:
            verdicts.append(metric.verdict)
            if metric.verdict != "pass":
                lines.append(f"{where}: {_line(metric)}")
    told = {metric.threshold for _, metric in metrics}
    for name in [*protocol.thresholds, *(f"{LIMIT}{one}" for one in protocol.limits)]:
        if name not in told:
            verdicts.append("inconclusive")
            lines.append(f"{name}: inconclusive: nothing was measured that it is about")
    return verdicts, lines


def _line(metric: MetricResult) -> str:
    side, bound = ("at least", metric.at_least) if metric.at_least is not None else ("at most", metric.at_most)
    ends = " to ".join("open" if end is None else f"{end:.4g}" for end in (metric.low, metric.high))
    value = "no event" if metric.value is None else f"{metric.value:.4g}"
    name = metric.name if metric.threshold == metric.name else f"{metric.name} ({metric.threshold})"
    unit = "" if metric.unit == "1" or metric.value is None else f" {metric.unit}"
    return f"{name}: {metric.verdict}: {value}{unit}, interval {ends}, asked for {side} {bound:g}"


def judgeable() -> dict[str, bool]:
    """Return every metric's name, and whether a threshold can be put on it."""
    return {**dict.fromkeys(METRICS, True), **dict.fromkeys(REPORTED, False)}

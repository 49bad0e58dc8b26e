"""The metrics of a product test: what each is, of which trials it is taken, and with which interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np

from training_ground.agents.certification.intervals import (
    poisson_interval,
    quantile,
    quantile_interval,
    time_between,
)
from training_ground.agents.certification.result import Interval, MetricResult, Tag, Trial
from training_ground.agents.statistics import (
    bootstrap_interval,
    interquartile_mean,
    two_level_interval,
    wilson_interval,
)
from training_ground.envs.iso9283 import LEAST, pose_accuracy, pose_repeatability

P95 = 0.95
LEAST_RESAMPLED = 10
"""Trials below which a bootstrap says nothing: of one trial it would have no width at all."""
TAGS: tuple[Tag, ...] = get_args(Tag)


@dataclass(frozen=True)
class Setting:
    """What a metric needs to know beside the trials.

    Attributes:
        takt_s: s in which a cycle must be done; None where there is no takt.
        failure_kinds: That the task can end with.
        confidence: Of intervals.
        resamples: Of each bootstrap.
    """

    takt_s: float | None
    failure_kinds: tuple[str, ...]
    confidence: float
    resamples: int


class Measured(NamedTuple):
    """A value with its interval; ends are None where they are open."""

    value: float | None
    low: float | None
    high: float | None
    interval: Interval
    n: int
    confidence: float


Measure = Callable[[Sequence[Trial], Setting], Measured | None]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: In protocols and results.
        tag: What of the robot's abilities it is about.
        unit: Of its value.
        text: What it is, in a sentence.
        measure: Returns None where the task does not have it.
    """

    name: str
    tag: Tag
    unit: str
    text: str
    measure: Measure


def metric_results(trials: Sequence[Trial], setting: Setting, tags: Collection[str] = TAGS) -> list[MetricResult]:
    """Return every metric with one of the tags that the trials of a condition have, not judged yet."""
    chosen = [metric for metric in METRICS.values() if metric.tag in tags]
    measured = [(metric, metric.measure(trials, setting)) for metric in chosen]
    return [named(metric.name, metric.tag, metric.unit, found) for metric, found in measured if found is not None]


def named(name: str, tag: Tag, unit: str, found: Measured) -> MetricResult:
    """Return what was measured as a result has it; what is not finite is None."""
    value, low, high = (None if x is None or not math.isfinite(x) else float(x) for x in found[:3])
    return MetricResult(
        name=name, tag=tag, unit=unit, value=value, low=low, high=high,
        interval=found.interval, confidence=found.confidence, n=found.n,
    )  # fmt: skip


# ---- shares ----------------------------------------------------------------------------------------------------------


def share(flags: Sequence[bool], setting: Setting) -> Measured:
    """Return a share of trials with its Wilson interval."""
    low, high = wilson_interval(sum(flags), len(flags), setting.confidence)
    value = sum(flags) / len(flags) if flags else None
    return Measured(value, low, high, "wilson", len(flags), setting.confidence)


def _success(trials: Sequence[Trial], setting: Setting) -> Measured:
    return share([t.success for t in trials], setting)


def _success_any(trials: Sequence[Trial], setting: Setting) -> Measured:
    return share([t.success_any for t in trials], setting)


def _takt_misses(trials: Sequence[Trial], setting: Setting) -> Measured | None:
    takt = setting.takt_s
    if takt is None:
        return None
    return share([not t.success or t.cycle_time is None or t.cycle_time > takt for t in trials], setting)


def _ends_with(kind: str) -> Measure:
    def measure(trials: Sequence[Trial], setting: Setting) -> Measured | None:
        return share([t.failure == kind for t in trials], setting) if kind in setting.failure_kinds else None

    return measure


def _violations(steps: Callable[[Trial], int | None]) -> Measure:
    """Share of the trials with a violation, of those that have a person in the cell."""

    def measure(trials: Sequence[Trial], setting: Setting) -> Measured | None:
        counted = [n for n in map(steps, trials) if n is not None]
        return share([n > 0 for n in counted], setting) if counted else None

    return measure


# ---- counts ----------------------------------------------------------------------------------------------------------


def _falls(trials: Sequence[Trial], setting: Setting) -> Measured | None:
    if "fall" not in setting.failure_kinds:
        return None
    return _per_thousand(sum(t.failure == "fall" for t in trials), len(trials), setting)


def _protective_stops(trials: Sequence[Trial], setting: Setting) -> Measured | None:
    counts = [t.protective_stops for t in trials if t.protective_stops is not None and t.contact_steps is not None]
    return _per_thousand(sum(counts), len(counts), setting) if counts else None


def _per_thousand(count: int, cycles: int, setting: Setting) -> Measured:
    low, high = poisson_interval(count, setting.confidence)
    value, low, high = (1000 * x / cycles if cycles else None for x in (count, low, high))
    return Measured(value, low, high, "poisson", cycles, setting.confidence)


def _between_interventions(trials: Sequence[Trial], setting: Setting) -> Measured:
    total, count = sum(t.seconds for t in trials), sum(not t.success for t in trials)
    low, high = time_between(total, count, setting.confidence)
    # Each end is a bound of its own: the two together hold with less confidence than each.
    both = 2 * setting.confidence - 1
    return Measured(total / count if count else None, low, high, "poisson", len(trials), both)


# ---- sizes -----------------------------------------------------------------------------------------------------------


def _of_trials(read: Callable[[Trial], float | None]) -> Measure:
    """Mean over the trials that have the number."""

    def measure(trials: Sequence[Trial], setting: Setting) -> Measured | None:
        values = [x for x in map(read, trials) if x is not None]
        if not values:
            return None
        ends = bootstrap_interval(values, setting.confidence, setting.resamples)
        return _bootstrapped(float(np.mean(values)), ends, len(values), setting)

    return measure


def _quantile_of(read: Callable[[Trial], float | None], at: float) -> Measure:
    """Quantile over the trials that have the number."""

    def measure(trials: Sequence[Trial], setting: Setting) -> Measured | None:
        values = [x for x in map(read, trials) if x is not None]
        if not values:
            return None
        low, high = quantile_interval(values, at, setting.confidence)
        return Measured(quantile(values, at), low, high, "order", len(values), setting.confidence)

    return measure


def _cycle_time(at: float) -> Measure:
    def measure(trials: Sequence[Trial], setting: Setting) -> Measured | None:
        found = _quantile_of(lambda t: t.cycle_time, at)(trials, setting)
        if found is None and not any(t.success for t in trials):  # nothing is known, which must not be passed over
            return Measured(None, None, None, "order", 0, setting.confidence)
        return found

    return measure


def _return(trials: Sequence[Trial], setting: Setting) -> Measured:
    values = [t.total_reward for t in trials]
    ends = two_level_interval([values], interquartile_mean, setting.confidence, setting.resamples)
    return _bootstrapped(interquartile_mean(values), ends, len(values), setting)


def _ratio(above: Sequence[float], below: Sequence[float], setting: Setting) -> Measured:
    """A sum over trials over another one, with trials drawn anew for its interval; infinite where nothing is below."""
    pairs = np.array([above, below], dtype=np.float64)
    draws = np.random.default_rng(0).integers(0, len(above), size=(setting.resamples, len(above)))
    with np.errstate(all="ignore"):
        value, found = pairs[0].sum() / pairs[1].sum(), pairs[0][draws].sum(axis=1) / pairs[1][draws].sum(axis=1)
    return _with_ends(float(value), found, len(above), setting)


def _with_ends(value: float, resampled: np.ndarray, n: int, setting: Setting) -> Measured:
    """A value with the interval that resamples give it; an end is open where so many resamples are infinite."""
    tail = (1 - setting.confidence) / 2
    low, high = np.quantile(np.sort(resampled), [tail, 1 - tail], method="inverted_cdf").tolist()
    return _bootstrapped(value, (low, high), n, setting)


def _bootstrapped(value: float, ends: tuple[float, float], n: int, setting: Setting) -> Measured:
    low, high = ends if n >= LEAST_RESAMPLED else (None, None)
    return Measured(value, low, high, "bootstrap", n, setting.confidence)


def _energy_per_success(trials: Sequence[Trial], setting: Setting) -> Measured | None:
    energies = [t.energy for t in trials if t.energy is not None]
    return _ratio(energies, [t.success for t in trials], setting) if trials and len(energies) == len(trials) else None


def _pooled_pose(characteristic: Callable[[Sequence[Sequence[float]]], float]) -> Measure:
    """A pose characteristic of all errors together, of tasks that command another pose in each trial."""

    def measure(trials: Sequence[Trial], setting: Setting) -> Measured | None:
        told = [t.pose_errors for t in trials if t.pose_errors]
        if len(told) < LEAST:
            return None
        draws = np.random.default_rng(0).integers(0, len(told), size=(setting.resamples, len(told)))
        found = np.array([characteristic([error for i in row for error in told[i]]) for row in draws.tolist()])
        return _with_ends(characteristic([error for errors in told for error in errors]), found, len(told), setting)

    return measure


def _f1(trials: Sequence[Trial], setting: Setting) -> Measured | None:
    told = [t.metrics for t in trials if {"defective", "rejected", "caught"} <= t.metrics.keys()]
    parts = sum(found["defective"] + found["rejected"] for found in told)
    caught = sum(found["caught"] for found in told)
    if not 0 <= 2 * caught <= parts or not parts:  # nothing to find, or a stranger's numbers
        return None
    score = 2 * caught / parts
    # Parts of one trial hang together: as if each trial were one part. A bootstrap of faultless trials has no width.
    low, high = wilson_interval(score * len(told), len(told), setting.confidence)  # type: ignore[arg-type]
    return Measured(score, low, high, "wilson", len(told), setting.confidence)


def _stopped(read: Callable[[Trial], float | None]) -> Callable[[Trial], float | None]:
    """Infinity where an emergency stop found no rest: that must not look as if nothing had been measured."""
    return lambda t: math.inf if read(t) is None and t.emergency_stops else read(t)


_STOP_TIME, _STOP_DISTANCE = _stopped(lambda t: t.stop_time), _stopped(lambda t: t.stop_distance)

METRICS = {
    metric.name: metric
    for metric in (
        Metric("success", "decision", "1", "Share of trials in which the task's predicate holds at the end.", _success),
        Metric("success_any", "decision", "1", "Share in which it held at some step.", _success_any),
        Metric("return", "decision", "1", "Interquartile mean of the sum of rewards.", _return),
        Metric(
            "time_between_interventions", "decision", "s",
            "Simulated time over the number of trials without success, each of which somebody would have to end.",
            _between_interventions,
        ),
        Metric("wrong_items", "perception", "1", "Share of trials that end by `wrong_item`.", _ends_with("wrong_item")),
        Metric("defect_f1", "perception", "1", "F1 of rejected parts against defective ones, pooled.", _f1),
        Metric("cycle_time_median", "execution", "s", "Median time to success, where there is.", _cycle_time(0.5)),
        Metric("cycle_time_p95", "execution", "s", "95th percentile of it.", _cycle_time(P95)),
        Metric("takt_misses", "execution", "1", "Share of trials not done within the takt.", _takt_misses),
        Metric("falls_per_1000_cycles", "execution", "1", "Trials that end by `fall`, of a thousand.", _falls),
        Metric("over_force", "execution", "1", "Share of trials that end by `over_force`.", _ends_with("over_force")),
        Metric("energy", "execution", "J", "Mean mechanical energy of a trial.", _of_trials(lambda t: t.energy)),
        Metric("energy_per_success", "execution", "J", "Energy of all trials for each success.", _energy_per_success),
        Metric(
            "cost_of_transport", "execution", "1", "Mean of energy over weight and way, of tasks that travel.",
            _of_trials(lambda t: t.metrics.get("cost_of_transport")),
        ),
        Metric(
            "pose_accuracy", "execution", "m", "95th percentile over trials of AP of the worst pose.",
            _quantile_of(lambda t: t.pose_accuracy, P95),
        ),
        Metric(
            "pose_repeatability", "execution", "m", "95th percentile over trials of RP of the worst pose.",
            _quantile_of(lambda t: t.pose_repeatability, P95),
        ),
        Metric(
            "pooled_pose_accuracy", "execution", "m", "AP of the position errors of all goals together.",
            _pooled_pose(lambda errors: pose_accuracy(errors, (0.0, 0.0, 0.0))),
        ),
        Metric(
            "pooled_pose_repeatability", "execution", "m", "RP of the position errors of all goals together.",
            _pooled_pose(pose_repeatability),
        ),
        Metric(
            "contact_violations", "cooperation", "1", "Share of trials in which a person was pressed beyond a limit.",
            _violations(lambda t: t.contact_steps),
        ),
        Metric(
            "separation_violations", "cooperation", "1",
            "Share of trials in which the robot was too near to a person for its speed.",
            _violations(lambda t: t.separation_steps),
        ),
        Metric(
            "protective_stops_per_1000_cycles", "cooperation", "1", "Protective stops in a thousand trials.",
            _protective_stops,
        ),
        Metric(
            "stop_time_p95", "cooperation", "s", "95th percentile of the time of a stop.",
            _quantile_of(_STOP_TIME, P95),
        ),
        Metric(
            "stop_distance_p95", "cooperation", "m", "95th percentile of a hand's way in a stop.",
            _quantile_of(_STOP_DISTANCE, P95),
        ),
    )
}  # fmt: skip
"""Every metric that a threshold can be put on, in the order of reports."""

REPORTED = ("deadline_misses",)
"""Those of the wall clock, which stand in the result's session and are not judged."""

QUANTITIES: dict[str, Callable[[Trial], float | None]] = {
    "contact_share": lambda t: t.contact_share,
    "hand_force": lambda t: t.hand_force,
    "joint_limit": lambda t: t.metrics.get("joint_limit"),
    "torque_limit": lambda t: t.metrics.get("torque_limit"),
    "workspace": lambda t: t.metrics.get("workspace"),
    "stop_time": _STOP_TIME,
    "stop_distance": _STOP_DISTANCE,
}
"""What can be limited in each trial, and where it stands; `docs/certify.md` says what each is."""

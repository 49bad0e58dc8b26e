"""The gate: measures every episode of a store and the whole, holds them against limits, and says why they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from training_ground.configs.errors import DatasetError, TrainingGroundError
from training_ground.configs.quality_gate import Limit, QualityFile, load_quality
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality import activity, clock, completeness, labels, limits, smoothness, structure
from training_ground.datasets.quality.collection import DATASET_MEASURES, EPISODE_MEASURES, Collection
from training_ground.datasets.quality.measure import Measure, Reading, reading
from training_ground.datasets.replay import MakeEnv, Replayer
from training_ground.datasets.schema import DatasetSchema
from training_ground.datasets.store import Store, check_columns

Verdict = Literal["pass", "warn", "fail"]
ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")

READABLE = Measure("readable", "1", "1 where the episode can be read and fits the schema.", "What its values mean.")
REPLAY = Measure(
    "replay_match",
    "1",
    "1 where the episode, simulated again from its seed, is the same in every bit; on request.",
    "What the simulator itself gets wrong.",
)
EPISODE = (
    READABLE,
    *completeness.MEASURES,
    *clock.MEASURES,
    *limits.MEASURES,
    *structure.MEASURES,
    *smoothness.MEASURES,
    *activity.MEASURES,
    *labels.MEASURES,
    *EPISODE_MEASURES,
    REPLAY,
)
"""Measures of an episode."""
DATASET = DATASET_MEASURES
"""Measures of a dataset."""
FEWEST_FOR_OUTLIERS = 8
"""Episodes below which nothing is called an outlier."""
LEAST_SPREAD = 0.1
"""Least standard deviation that outliers are measured in, as a share of the median."""
_NORMAL = 1.4826
"""Standard deviation over median absolute deviation, of normally distributed values."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is not `pass`: the measure, its value, and the limit in words."""

    measure: str
    verdict: Verdict
    value: float | None
    limit: str
    note: str = ""

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {self.value:.4g}"
        return f"{self.measure}{value}, {self.limit}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class EpisodeQuality:
    """What was found of one episode."""

    number: int
    readings: dict[str, Reading]
    reasons: tuple[Reason, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the reasons; `pass` without any."""
        return worst(reason.verdict for reason in self.reasons)


@dataclass(frozen=True)
class QualityReport:
    """What was found of a store.

    Attributes:
        path, preset: What was checked, and the name of the limits.
        episodes: Every episode, in order.
        readings, reasons: Of the dataset as a whole.
        replayed: Episodes that were simulated again.
    """

    path: Path
    preset: str
    episodes: tuple[EpisodeQuality, ...]
    readings: dict[str, Reading]
    reasons: tuple[Reason, ...]
    replayed: int

    @property
    def verdict(self) -> Verdict:
        """The worst of the dataset's reasons and of its episodes' verdicts."""
        return worst([*(r.verdict for r in self.reasons), *(e.verdict for e in self.episodes)])

    def count(self, verdict: Verdict) -> int:
        """Return how many episodes got a verdict."""
        return sum(episode.verdict == verdict for episode in self.episodes)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts; `pass` where there is none."""
    return ORDER[max((ORDER.index(verdict) for verdict in verdicts), default=0)]


def load_limits(name_or_path: str | Path = "default") -> tuple[str, QualityFile]:
    """Return a preset's short name and its limits; see `configs.quality_gate.load_quality`."""
    return load_quality(name_or_path, [m.name for m in EPISODE], [m.name for m in DATASET])


def measure_episode(episode: Episode, schema: DatasetSchema, person: bool | None = None) -> dict[str, Reading]:
    """Measure one episode by itself: all but duplicates and replay.

    Args:
        episode, schema: What was recorded.
        person: Success as a person annotated it; None where nobody did.
    """
    readings = {READABLE.name: reading(1.0)}
    # Values that are not finite go through the formulas and come out as "not measured"; they are counted elsewhere.
    with np.errstate(all="ignore"):
        for family in (completeness, clock, limits, structure, smoothness, activity):
            readings |= family.measure(episode, schema)
        return readings | labels.measure(episode, schema, person)


def judge(readings: Mapping[str, Reading], given: Mapping[str, Limit]) -> tuple[Reason, ...]:
    """Hold readings against limits; what could not be measured is not judged."""
    reasons = []
    for name, limit in given.items():
        found = readings.get(name)
        if found is not None and found.value is not None and (verdict := _verdict(found.value, limit)):
            reasons.append(Reason(name, verdict[0], found.value, verdict[1], found.note))
    return tuple(reasons)


def check(
    store: Store,
    limits_: QualityFile,
    preset: str = "",
    *,
    episodes: Sequence[int] | None = None,
    replay: int = 0,
    make: MakeEnv | None = None,
    people: Mapping[int, bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> QualityReport:
    """Measure and judge a store. One episode is in memory at a time.

    Args:
        store: What to check.
        limits_: Limits by measure, as `load_limits` returns them.
        preset: Their name, for the report.
        episodes: Numbers of those to check; all where absent.
        replay: How many episodes to simulate again, spread evenly over the store.
        make: Makes the environment for that, as `Replayer` has it.
        people: Success by episode number, as people annotated it.
        progress: Called with the number of each episode that is done.

    Raises:
        DatasetError: There is no such episode.
    """
    numbers = store.episodes() if episodes is None else list(episodes)
    for number in set(numbers) - set(store.episodes()):
        store.read(number)  # raises, and says which there are
    chosen = {numbers[i] for i in np.linspace(0, len(numbers) - 1, min(replay, len(numbers))).round().astype(int)}
    seen, collection = [], Collection(store.schema)
    with Replayer(store.schema, make) as player:
        for number in numbers:
            try:
                episode = store.read(number)
                check_columns(episode, store.schema)
            except DatasetError as problem:
                seen.append((number, {READABLE.name: reading(0.0, str(problem))}))
            else:
                readings = measure_episode(episode, store.schema, (people or {}).get(number)) | collection.add(episode)
                if number in chosen:
                    readings[REPLAY.name] = _replayed(player, episode)
                seen.append((number, readings))
            if progress is not None:
                progress(number)
    typical = _typical([readings for _, readings in seen], limits_.episode)
    judged = tuple(
        EpisodeQuality(
            number, readings, judge(readings, limits_.episode) + _outliers(readings, limits_.episode, typical)
        )
        for number, readings in seen
    )
    whole = collection.readings()
    return QualityReport(store.path, preset, judged, whole, judge(whole, limits_.dataset), len(chosen))


def _replayed(player: Replayer, episode: Episode) -> Reading:
    try:
        report = player.replay(episode)
    except TrainingGroundError as problem:
        return Reading(None, str(problem))
    return reading(float(report.identical), "; ".join([*([str(report.first)] if report.first else []), *report.notes]))


def _verdict(value: float, limit: Limit) -> tuple[Verdict, str] | None:
    if limit.fail_above is not None and value > limit.fail_above:
        return "fail", f"allowed at most {limit.fail_above:g}"
    if limit.fail_below is not None and value < limit.fail_below:
        return "fail", f"allowed at least {limit.fail_below:g}"
    if limit.warn_above is not None and value > limit.warn_above:
        return "warn", f"usually at most {limit.warn_above:g}"
    if limit.warn_below is not None and value < limit.warn_below:
        return "warn", f"usually at least {limit.warn_below:g}"
    return None


def _typical(episodes: Sequence[Mapping[str, Reading]], given: Mapping[str, Limit]) -> dict[str, tuple[float, float]]:
    """Median and robust standard deviation of each measure that outliers are looked for in."""
    found = {}
    for name, limit in given.items():
        values = [r[name].value for r in episodes if name in r and r[name].value is not None]
        if limit.outlier is not None and len(values) >= FEWEST_FOR_OUTLIERS:
            numbers = np.array(values, dtype=np.float64)
            median = float(np.median(numbers))
            spread = _NORMAL * float(np.median(np.abs(numbers - median)))
            # Among episodes that are nearly the same any difference looks large.
            found[name] = (median, max(spread, LEAST_SPREAD * abs(median), 1e-12))
    return found


def _outliers(
    readings: Mapping[str, Reading], given: Mapping[str, Limit], typical: Mapping[str, tuple[float, float]]
) -> tuple[Reason, ...]:
    reasons = []
    for name, (median, spread) in typical.items():
        found, most = readings.get(name), given[name].outlier
        if found is None or found.value is None or most is None:
            continue
        away = abs(found.value - median) / spread
        if away > most:
            text = f"{away:.3g} robust standard deviations from the median {median:.4g}, usually at most {most:g}"
            reasons.append(Reason(name, "warn", found.value, text, found.note))
    return tuple(reasons)

"""The gate: measures every episode of a store and the whole, holds them against limits, and says why they fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from training_ground.configs.errors import DatasetError, TrainingGroundError
from training_ground.configs.quality_gate import Limit, QualityFile, limits_sha256, load_quality
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.index import Index
from training_ground.datasets.labels import said_by_people
from training_ground.datasets.quality import activity, clock, completeness, labels, limits, smoothness, structure
from training_ground.datasets.quality.catalogue import DATASET, EPISODE, READABLE, REPLAY
from training_ground.datasets.quality.collection import Collection
from training_ground.datasets.quality.measure import Reading, reading
from training_ground.datasets.quality.results import EpisodeQuality, QualityReport, Reason, Verdict
from training_ground.datasets.replay import MakeEnv, Replayer
from training_ground.datasets.schema import DatasetSchema
from training_ground.datasets.store import Store, check_columns

FEWEST_FOR_OUTLIERS = 8
"""Episodes below which nothing is called an outlier."""
LEAST_SPREAD = 0.1
"""Least standard deviation that outliers are measured in, as a share of the median."""
_NORMAL = 1.4826
"""Standard deviation over median absolute deviation, of normally distributed values."""


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
    index: Index | None = None,
    progress: Callable[[int], None] | None = None,
) -> QualityReport:
    """Measure and judge a store. One episode is in memory at a time, and of the others about a kilobyte each.

    What people said of success is compared with what was recorded.

    Args:
        store: What to check.
        limits_: Limits by measure, as `load_limits` returns them.
        preset: Their name, for the report.
        episodes: Numbers of those to check; all that are not labelled as dropped where absent.
        replay: How many episodes to simulate again, spread evenly over the store.
        make: Makes the environment for that, as `Replayer` has it.
        index: Of the store as it is now; opened where absent.
        progress: Called with the number of each episode that is done.

    Raises:
        DatasetError: There is no such episode.
    """
    index = index or Index.open(store)
    dropped = set() if episodes is not None else index.dropped()
    numbers = sorted(set(store.episodes() if episodes is None else episodes) - dropped)
    for number in set(numbers) - set(store.episodes()):
        store.read(number)  # raises, and says which there are
    chosen = {numbers[i] for i in np.linspace(0, len(numbers) - 1, min(replay, len(numbers))).round().astype(int)}
    people, found, collection = said_by_people(index), [], Collection(store.schema)
    outlying = {name for name, limit in limits_.episode.items() if limit.outlier is not None}
    with Replayer(store.schema, make) as player:
        for number in numbers:
            replayer = player if number in chosen else None
            content, readings = _readings(store, number, people.get(number), collection, replayer)
            found.append(EpisodeQuality.of(number, content, readings, judge(readings, limits_.episode), outlying))
            if progress is not None:
                progress(number)
    whole = collection.readings()
    return QualityReport(
        path=store.path,
        preset=preset,
        limits_sha256=limits_sha256(limits_),
        episodes=_with_outliers(found, limits_.episode),
        readings=whole,
        reasons=judge(whole, limits_.dataset),
        replayed=len(chosen),
        dropped=tuple(sorted(dropped)),
        notes=index.unheard,
    )


def _readings(
    store: Store, number: int, person: bool | None, collection: Collection, player: Replayer | None
) -> tuple[str, dict[str, Reading]]:
    """Return an episode's content hash and all readings of it; no hash where it cannot be read."""
    try:
        episode = store.read(number)
        check_columns(episode, store.schema)
    except DatasetError as problem:
        return "", {READABLE.name: reading(0.0, str(problem))}
    readings = measure_episode(episode, store.schema, person) | collection.add(episode)
    if player is not None:
        readings[REPLAY.name] = _replayed(player, episode)
    return episode.metadata.content_sha256, readings


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


def _with_outliers(found: Sequence[EpisodeQuality], given: Mapping[str, Limit]) -> tuple[EpisodeQuality, ...]:
    """Add a reason where a value is far from those of the other episodes."""
    more: dict[int, list[Reason]] = {}
    for name, limit in given.items():
        values = np.array([one.value(name) for one in found])
        there = np.flatnonzero(np.isfinite(values))
        if limit.outlier is None or len(there) < FEWEST_FOR_OUTLIERS:
            continue
        median = float(np.median(values[there]))
        spread = _NORMAL * float(np.median(np.abs(values[there] - median)))
        # Among episodes that are nearly the same any difference looks large.
        spread = max(spread, LEAST_SPREAD * abs(median), 1e-12)
        for at in there[np.abs(values[there] - median) / spread > limit.outlier].tolist():
            away, most = abs(values[at] - median) / spread, limit.outlier
            text = f"{away:.3g} robust standard deviations from the median {median:.4g}, usually at most {most:g}"
            more.setdefault(at, []).append(Reason(name, "warn", float(values[at]), text, found[at].notes[name]))
    return tuple(replace(one, reasons=(*one.reasons, *more.get(at, ()))) for at, one in enumerate(found))

"""Verdicts that are kept in the store: each as a label `quality`, bound to the episode's content and to the limits."""

from __future__ import annotations

from typing import Any, NamedTuple

from training_ground.datasets.annotations import Limits, Quality, value_of
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label, records_of
from training_ground.datasets.quality.catalogue import EPISODE
from training_ground.datasets.quality.results import EpisodeQuality, QualityReport
from training_ground.datasets.store import Store

AUTHOR = "tg data check"
DIGITS = 6
"""Digits of a score that are kept."""
BATCH = 5000
"""Verdicts that are in memory at once."""


class Kept(NamedTuple):
    """How many verdicts are new, and how many episodes keep what a person said of them."""

    new: int
    by_people: int


def keep(store: Store, report: QualityReport) -> Kept:
    """Label each episode with its verdict. One that stands already is not said again; a person's stands.

    An episode whose metadata cannot be read has no content hash that a verdict could be bound to, and gets none; nor
    does one that has come to hold something else since it was checked.

    Args:
        store: The one that was checked.
        report: Of `check` over all its episodes.

    Raises:
        DatasetError: Nothing can be written.
    """
    index = Index.open(store)
    there = dict(zip(index.numbers.tolist(), index.column("content_sha256"), strict=True))
    known = records_of(index, ["quality"])
    at = {number: row for row, number in enumerate(known.column("episode").to_pylist())}
    new: dict[int, dict[str, Any]] = {}
    written = by_people = 0
    for last, one in enumerate(report.episodes, start=1):
        value = _value(one, report)
        row = known.slice(at[one.number], 1).to_pylist()[0] if one.number in at else None
        same = one.number in there and one.content_sha256 in ("", there[one.number])
        if row is not None and row["source"] == "person":
            by_people += 1
        elif same and (row is None or value_of(row) != value):
            new[one.number] = {"quality": value}
        if new and (len(new) == BATCH or last == len(report.episodes)):
            written += label(index, new, f"{AUTHOR}, {report.preset}"[:200], "rule")
            new = {}
    return Kept(written, by_people)


def _value(one: EpisodeQuality, report: QualityReport) -> dict[str, Any]:
    measured = ((measure.name, one.value(measure.name)) for measure in EPISODE)
    verdict = Quality(
        verdict=one.verdict,
        scores={name: float(f"{value:.{DIGITS}g}") for name, value in measured if value == value},
        reasons={reason.measure: f"{reason.verdict}: {reason}"[:1000] for reason in one.reasons},
        limits=Limits(preset=report.preset or "unnamed", sha256=report.limits_sha256),
    )
    return verdict.model_dump(mode="json")

"""What the gate found: reasons, verdicts, and the numbers behind them, small enough for a hundred thousand episodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.quality.catalogue import EPISODE
from training_ground.datasets.quality.measure import Reading

Verdict = Literal["pass", "warn", "fail"]
ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")
_AT = {measure.name: at for at, measure in enumerate(EPISODE)}


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


@dataclass(frozen=True, slots=True, eq=False)
class EpisodeQuality:
    """What was found of one episode.

    Attributes:
        number: Of the episode.
        values: One for each measure of `EPISODE`; NaN where there is none.
        notes: By measure: why there is no value. Where a value was found is kept only where somebody will ask.
        reasons: Why the verdict is not `pass`.
        content_sha256: Of what was measured; empty where it could not be read.
    """

    number: int
    values: NDArray[np.float64]
    notes: Mapping[str, str]
    reasons: tuple[Reason, ...]
    content_sha256: str = ""

    @classmethod
    def of(
        cls,
        number: int,
        content_sha256: str,
        readings: Mapping[str, Reading],
        reasons: tuple[Reason, ...],
        asked: Collection[str],
    ) -> EpisodeQuality:
        """Keep readings and what was judged of them; notes of values only of the measures in `asked`."""
        values = np.full(len(EPISODE), np.nan)
        for name, found in readings.items():
            values[_AT[name]] = np.nan if found.value is None else found.value
        notes = {name: r.note for name, r in readings.items() if r.value is None or name in asked}
        return cls(number, values, notes, reasons, content_sha256)

    @property
    def readings(self) -> dict[str, Reading]:
        """What was measured, by measure; what was not asked for is not in it."""
        said = dict(self.notes) | {reason.measure: reason.note for reason in self.reasons}
        return {
            name: Reading(None if np.isnan(value) else float(value), said.get(name, ""))
            for name, value in zip(_AT, self.values, strict=True)
            if name in self.notes or not np.isnan(value)
        }

    @property
    def verdict(self) -> Verdict:
        """The worst of the reasons; `pass` without any."""
        return worst(reason.verdict for reason in self.reasons)

    def value(self, name: str) -> float:
        """Return a measure's value; NaN where there is none."""
        return float(self.values[_AT[name]])


@dataclass(frozen=True)
class QualityReport:
    """What was found of a store.

    Attributes:
        path, preset: What was checked, and the name of the limits.
        limits_sha256: Of the limits, as a verdict that is kept names them.
        episodes: Every episode that was checked, in order.
        readings, reasons: Of the dataset as a whole.
        replayed: Episodes that were simulated again.
        dropped: Numbers of those that are labelled as dropped and were left out.
        notes: Annotations that could not be read or applied, one sentence each.
    """

    path: Path
    preset: str
    limits_sha256: str
    episodes: tuple[EpisodeQuality, ...]
    readings: dict[str, Reading]
    reasons: tuple[Reason, ...]
    replayed: int
    dropped: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

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

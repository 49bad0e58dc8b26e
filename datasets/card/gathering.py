"""What a card gathers of many episodes in little memory: how far a channel went, and what randomisation drew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import ANGLES, joint_limits
from training_ground.datasets.schema import DatasetSchema

MOST_DRAWN = 200
"""Randomised quantities that are told apart."""
LARGEST = 1e300
"""What is larger is shown as a text: a whole number in JSON may be longer than any that there is a format for."""
MOST_TEXTS = 50
"""Values of one that are no numbers."""
MOST_COMPONENTS = 1000
"""A channel with more is no joint vector."""


@dataclass(frozen=True, eq=False)
class Spread:
    """How far the components of a channel went: (n,) each, over all rows that were read."""

    names: tuple[str, ...]
    unit: str
    low: NDArray[np.float64]
    q01: NDArray[np.float64]
    q99: NDArray[np.float64]
    high: NDArray[np.float64]


class Gatherer:
    """Spread of the first of some channels that a schema has as a vector of numbers.

    Args:
        schema, names: Where the channel is looked for.
        rows: About so many of each episode are kept for quantiles.
    """

    def __init__(self, schema: DatasetSchema, names: Iterable[str], rows: int) -> None:
        by_name = {c.name: c for c in schema.channels if len(c.shape) == 1 and c.shape[0] <= MOST_COMPONENTS}
        self.channel = next((by_name[name] for name in names if name in by_name), None)
        self._rows = rows
        self._parts: list[NDArray[np.float64]] = []
        self._low: NDArray[np.float64] | None = None
        self._high: NDArray[np.float64] | None = None

    def add(self, episode: Episode, rows: slice) -> None:
        """Take rows of an episode; those with values that are not finite are left out."""
        if self.channel is None:
            return
        values = np.asarray(episode.columns[self.channel.name][rows], np.float64)
        values = values[np.isfinite(values).all(axis=1)]
        if not len(values):
            return
        low, high = values.min(axis=0), values.max(axis=0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)
        self._parts.append(values[:: max(1, len(values) // self._rows)])

    def spread(self) -> Spread | None:
        """Return how far it went; None where there is nothing."""
        channel = self.channel
        if channel is None or self._low is None or self._high is None:
            return None
        names = channel.components or tuple(str(i) for i in range(channel.shape[0]))
        q01, q99 = np.quantile(np.concatenate(self._parts), [0.01, 0.99], axis=0)
        return Spread(tuple(names), channel.unit, self._low, q01, q99, self._high)


@dataclass
class Drawn:
    """What randomisation drew for one quantity: how often, the smallest and largest number, and other values."""

    count: int = 0
    numbers: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    texts: set[str] = field(default_factory=set)

    def add(self, value: Any) -> None:
        """Take one value."""
        self.count += 1
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST:
            self.numbers += 1
            self.low, self.high = min(self.low, value), max(self.high, value)
        if len(self.texts) <= MOST_TEXTS:
            self.texts.add(_text(value))


def _text(value: Any) -> str:
    large = isinstance(value, int) and abs(value) >= LARGEST  # Python writes no number of thousands of digits
    return "a number beyond 1e300" if large else str(value)[:200]


def gather_drawn(found: dict[str, Drawn], randomisation: dict[str, Any]) -> None:
    """Take what was drawn for one episode, by dotted name."""

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                add(f"{name}.{key}" if name else str(key), item)
        elif isinstance(value, list) and len(value) <= 4:
            for index, item in enumerate(value):
                add(f"{name}[{index}]", item)
        elif value is not None and (name in found or len(found) < MOST_DRAWN):
            found.setdefault(name, Drawn()).add(value)

    add("", randomisation)


def limits_of(schema: DatasetSchema, positions: Gatherer) -> NDArray[np.float64] | None:
    """Return (n, 2) the limits of the joints whose angles were gathered; None where `dataset.json` has none."""
    channel, limits = positions.channel, joint_limits(schema)
    if channel is None or channel.name != ANGLES[0] or tuple(channel.components) != tuple(schema.joint_names):
        return None  # observed angles may be counted from a pose
    if not {"lower", "upper"} <= limits.keys():
        return None
    return np.stack([limits["lower"], limits["upper"]], axis=1)

"""Windows of a training view: what a learner sees around one row of an episode, many at a time.

A window stands at an anchor: a row t of an episode to which an action belongs. Each column gives the rows t + offset,
history and future as far as asked for. Rows before the beginning or behind the end of the episode are padding: the
nearest row that there is, and True in `<column>_is_pad`. No window reaches into another episode, and the last row, in
which no action was taken any more, is never given as an action; nor is the first one as a reward.

`Windows` is a map-style dataset as PyTorch's DataLoader takes it, and imports no PyTorch; see docs/data_training.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.arrays import View, without_value
from training_ground.datasets.scaling import Scaling

MAX_OFFSET = 1_000_000
EPISODE, ROW, PAD = "episode", "row", "_is_pad"

Offsets = Mapping[str, int | Sequence[int]]
Batch = dict[str, NDArray[Any]]


class Windows:
    """All windows of some episodes.

    Args:
        view: Where the rows are.
        offsets: Column → rows relative to the anchor, increasing; with a single number the column has no time axis.
            `{"joint_position": (-1, 0), "action": range(16)}` is two rows of history and sixteen actions.
        episodes: Numbers of the episodes in the store; all of the view where absent.
        every: Rows between anchors.
        padding: Whether windows may reach over the ends of an episode; without, only whole ones are there.
        scaling: Columns that are normalised, and how; they come as float32.

    Attributes:
        positions: (E,) where the episodes stand in the view.
        counts: (E,) windows in each episode.

    Raises:
        DatasetError: No such column or episode, offsets that are none, or no window at all.
    """

    def __init__(
        self,
        view: View,
        offsets: Offsets,
        *,
        episodes: Sequence[int] | None = None,
        every: int = 1,
        padding: bool = True,
        scaling: Mapping[str, Scaling] | None = None,
    ) -> None:
        if every < 1:
            raise DatasetError(f"every = {every}: must be 1 or more")
        self.view, self.every, self.scaling = view, every, dict(scaling or {})
        self.offsets = {name: _offsets(name, given) for name, given in offsets.items()}
        if not self.offsets:
            raise DatasetError("offsets: name at least one column")
        strangers = sorted(set(self.scaling) - set(self.offsets))
        if strangers:
            raise DatasetError(f"scaling: {', '.join(strangers)}: no column of the windows has this name")
        for name in self.offsets:
            if name in (EPISODE, ROW) or (name.endswith(PAD) and name.removesuffix(PAD) in self.offsets):
                raise DatasetError(f"column '{name}': a window uses this name for something else")
            _check_scaling(name, view.column(name), self.scaling.get(name))
        self._empty = {name: without_value(view.schema, name) for name in self.offsets}
        self.positions = view.positions(episodes)
        rows = view.starts[self.positions + 1] - view.starts[self.positions]
        before = after = 0
        if not padding:
            before = max(first - int(o.min()) for (first, _), o in self._spans())
            after = max(last + int(o.max()) for (_, last), o in self._spans())
        self._first = max(0, before)
        anchors = rows - self._first - max(1, after)  # the last row has no action and is no anchor
        self.counts = np.maximum(0, -(-anchors // every))
        self._ends = np.cumsum(self.counts)
        if not len(self):
            raise DatasetError(f"{view.path}: no window: the longest of {len(rows)} episodes has {rows.max()} rows")

    def __len__(self) -> int:
        """Windows."""
        return int(self._ends[-1])

    def __getitem__(self, index: int | Sequence[int] | NDArray[Any]) -> dict[str, Any]:
        """Return a window, or a batch of them in one read where several are asked for.

        Returns:
            Column → ([batch,] offsets, *shape), copies; `<column>_is_pad` → ([batch,] offsets) bool; `episode`, the
            number in the store, and `row`, that of the anchor in its episode.

        Raises:
            IndexError: There is no such window.
        """
        if isinstance(index, (int, np.integer)):
            return {name: values[0] for name, values in self._read(np.array([index], np.int64)).items()}
        return self._read(np.asarray(index, np.int64).reshape(-1))

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return windows one by one, of one read: what PyTorch's DataLoader asks for if it makes the batches itself."""
        batch = self._read(np.asarray(indices, np.int64).reshape(-1))
        return [{name: values[i] for name, values in batch.items()} for i in range(len(indices))]

    def episode_numbers(self) -> NDArray[np.int64]:
        """Return (E,) the numbers of the episodes in the store."""
        return self.view.numbers[self.positions]

    def _spans(self) -> list[tuple[tuple[int, int], NDArray[np.int64]]]:
        return [(self._empty[name], np.atleast_1d(offsets)) for name, offsets in self.offsets.items()]

    def _read(self, indices: NDArray[np.int64]) -> Batch:
        indices = np.where(indices < 0, indices + len(self), indices)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"there are {len(self)} windows")
        owner = np.searchsorted(self._ends, indices, side="right")
        row = self._first + (indices - self._ends[owner] + self.counts[owner]) * self.every
        position = self.positions[owner]
        begin, end = self.view.starts[position], self.view.starts[position + 1]
        anchor, batch = begin + row, {}
        shared: dict[Hashable, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        for name, offsets in self.offsets.items():
            first, last = self._empty[name]
            key = (first, last, offsets.tobytes(), offsets.ndim)
            if key not in shared:
                axes = (slice(None), *[None] * offsets.ndim)
                wanted = anchor[axes] + offsets
                there = np.clip(wanted, (begin + first)[axes], (end - last - 1)[axes])
                shared[key] = there, there != wanted
            rows, pad = shared[key]
            values = np.take(self.view.columns[name], rows, axis=0)
            scaling = self.scaling.get(name)
            batch[name] = values if scaling is None else scaling.apply(values)
            batch[name + PAD] = pad.copy()
        batch[EPISODE], batch[ROW] = self.view.numbers[position], row
        return batch


class Counted(Protocol):
    """What batches can be drawn from: windows of episodes one after the other, `counts` (E,) of each."""

    counts: NDArray[np.int64]

    def __len__(self) -> int:
        """Windows of all episodes together."""
        ...


class Batches:
    """Indices of windows for an epoch, a batch at a time, in an order that follows from the seed alone.

    Without `weights` every window comes once an epoch. With them an episode is drawn by its weight and then a window of
    it evenly, as many as there are windows, and with replacement: `numpy.ones` makes episodes count alike however long
    they are, `balanced` does so for labels.

    Args:
        windows: What to draw from: `Windows`, or several of them that count like one.
        size: Windows a batch; the last one of an epoch may have fewer.
        seed: The same seed and epoch give the same batches, whatever reads them.
        weights: (E,) of each episode of `windows`; None for every window once.
        shuffle: Without, windows come in order.

    Attributes:
        epoch: The next one; goes up by one with each iteration.

    Raises:
        DatasetError: Weights are negative, all zero, not one an episode, or given without `shuffle`.
    """

    def __init__(
        self,
        windows: Counted,
        size: int,
        *,
        seed: int = 0,
        weights: Sequence[float] | NDArray[Any] | None = None,
        shuffle: bool = True,
    ) -> None:
        if size < 1:
            raise DatasetError(f"size = {size}: must be 1 or more")
        self.size, self.seed, self.shuffle, self.epoch = size, seed, shuffle, 0
        self._counts, self._count = windows.counts, len(windows)
        self._sums: NDArray[np.float64] | None = None
        if weights is not None:
            given = np.asarray(weights, np.float64)
            if given.shape != windows.counts.shape or not np.isfinite(given).all() or (given < 0).any():
                raise DatasetError(f"weights: {given.shape}, must be {windows.counts.shape} numbers, none negative")
            if not shuffle:
                raise DatasetError("weights: are for drawing, and shuffle is off")
            self._sums = np.cumsum(np.where(windows.counts > 0, given, 0.0))
            if self._sums[-1] <= 0:
                raise DatasetError("weights: no episode that has windows has any weight")

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self._count // self.size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Yield the indices of each batch."""
        generator = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        order = generator.permutation(self._count) if self.shuffle and self._sums is None else None
        for begin in range(0, self._count, self.size):
            end = min(begin + self.size, self._count)
            if self._sums is not None:
                yield self._draw(generator, self._sums, end - begin)
            else:
                yield np.arange(begin, end) if order is None else order[begin:end]

    def _draw(self, generator: np.random.Generator, sums: NDArray[np.float64], count: int) -> NDArray[np.int64]:
        # `side="right"` passes over episodes of no weight, whose sums are those of the one before.
        owner = np.searchsorted(sums, generator.random(count) * sums[-1], side="right")
        owner = np.minimum(owner, np.searchsorted(sums, sums[-1]))
        counts = self._counts[owner]
        return np.cumsum(self._counts)[owner] - counts + generator.integers(counts)


def balanced(labels: Sequence[Hashable]) -> NDArray[np.float64]:
    """Return a weight for each episode so that each label has as much weight as any other.

    Args:
        labels: One an episode, such as its success, its task or its failure.
    """
    seen: dict[Hashable, int] = {}
    codes = np.array([seen.setdefault(label, len(seen)) for label in labels], np.int64)
    return 1.0 / (len(seen) * np.bincount(codes)[codes])


def from_seconds(seconds: Mapping[str, Sequence[float]], rate: float, tolerance_s: float = 1e-4) -> dict[str, Any]:
    """Return offsets in rows of times relative to the anchor, as LeRobot's `delta_timestamps` gives them.

    Args:
        seconds: Column → times, s.
        rate: Rows a second: `view.schema.control_rate`.
        tolerance_s: How far a time may be from that of a row, s.

    Raises:
        DatasetError: A time is that of no row.
    """
    found: dict[str, Any] = {}
    for name, times in seconds.items():
        rows = np.round(np.asarray(times, np.float64) * rate)
        wrong = np.abs(rows / rate - times) > tolerance_s
        if wrong.any():
            time = float(np.asarray(times)[np.argmax(wrong)])
            raise DatasetError(f"column '{name}': {time:g} s is no whole number of rows at {rate:g} Hz")
        found[name] = tuple(int(row) for row in rows)
    return found


def _offsets(name: str, given: int | Sequence[int]) -> NDArray[np.int64]:
    offsets = np.asarray(given)
    if offsets.dtype.kind not in "iu" or offsets.ndim > 1 or not offsets.size:
        raise DatasetError(f"offsets of '{name}' = {given!r}: must be a whole number or some of them")
    if np.abs(offsets).max() > MAX_OFFSET or (offsets.ndim and (np.diff(offsets) <= 0).any()):
        raise DatasetError(f"offsets of '{name}' = {given!r}: must increase, and lie within ±{MAX_OFFSET}")
    return offsets.astype(np.int64)


def _check_scaling(name: str, values: NDArray[Any], scaling: Scaling | None) -> None:
    size = int(np.prod(values.shape[1:], dtype=int))
    if scaling is not None and scaling.offset.size != size:
        raise DatasetError(f"scaling of '{name}': has {scaling.offset.size} components, the column has {size}")

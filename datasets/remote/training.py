"""Batches of windows from a store that is read where it lies: for a first look, or where there is no room for a copy.

A training view (`arrays.py`) lies on a disk and is drawn from at random. Here a few episodes at a time are in memory,
and windows are drawn from these: an epoch gives every window once, but neighbours in time come near to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.arrays import View
from training_ground.datasets.remote.store import RemoteStore
from training_ground.datasets.scaling import Scaling
from training_ground.datasets.schema import PHASE
from training_ground.datasets.windows import Batch, Batches, Offsets, Windows


class Stream:
    """Batches of windows, epoch after epoch; `torch.utils.data.DataLoader` takes it in an `IterableDataset`.

    Args:
        store: Where the episodes are.
        offsets: As `Windows` takes them; no videos, and not `phase`.
        size: Windows a batch; the last one of each group of episodes may have fewer.
        episodes: Numbers of those to take; all where absent.
        together: Episodes that are in memory at once, and that windows of a batch come from.
        scaling: As `Windows` takes it.
        checked: Fetch episodes whole, checked by their hashes. Without, only what it takes for these columns is
            fetched, and a change to them that leaves the file readable is not noticed.
        seed: The same seed and epoch give the same batches.

    Attributes:
        epoch: The next one; goes up by one with each iteration.

    Raises:
        DatasetError: No such column or episode. Iterating raises it as well: an episode is damaged.
    """

    def __init__(
        self,
        store: RemoteStore,
        offsets: Offsets,
        size: int,
        *,
        episodes: Sequence[int] | None = None,
        together: int = 32,
        scaling: Mapping[str, Scaling] | None = None,
        checked: bool = True,
        seed: int = 0,
    ) -> None:
        for name in offsets:
            if name == PHASE or name in store.schema.videos():
                raise DatasetError(
                    f"column '{name}': is text or a video; pull the store and make a training view of it"
                )
        if together < 1:
            raise DatasetError(f"together = {together}: must be 1 or more")
        there = store.episodes()
        self.episodes = there if episodes is None else list(episodes)
        if not self.episodes or set(self.episodes) - set(there):
            raise DatasetError(f"{store.url}: has no such episodes: {sorted(set(self.episodes) - set(there))[:5]}")
        self.store, self.offsets, self.size, self.together = store, offsets, size, together
        self.scaling, self.checked, self.seed, self.epoch = scaling, checked, seed, 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.random.default_rng([self.seed, epoch]).permutation(self.episodes).tolist()
        held: list[tuple[int, dict[str, NDArray[Any]]]] = []
        for place, one in enumerate(self._columns(order), start=1):
            held.append(one)
            if len(held) == self.together or place == len(order):
                windows = Windows(_Group(self.store, held), self.offsets, scaling=self.scaling)
                held = []
                for indices in Batches(windows, self.size, seed=_seed(self.seed, epoch, place)):
                    yield windows[indices]

    def _columns(self, order: list[int]) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        if not self.checked:
            yield from self.store.stream_columns(tuple(self.offsets), order)
            return
        for episode in self.store.stream(order):
            assert episode.number is not None
            yield episode.number, {name: episode.columns[name] for name in self.offsets}


def _seed(*parts: int) -> int:
    return int(np.random.default_rng(parts).integers(2**31))


class _Group(View):
    """Some episodes in memory, as `Windows` reads a view."""

    def __init__(self, store: RemoteStore, held: list[tuple[int, dict[str, NDArray[Any]]]]) -> None:
        self.schema, self.path = store.schema, store.url  # pyright: ignore[reportAttributeAccessIssue]
        self.numbers = np.array([number for number, _ in held], np.int64)
        names = held[0][1]
        lengths = [len(next(iter(columns.values()))) for _, columns in held]
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.columns = {name: np.concatenate([columns[name] for _, columns in held]) for name in names}

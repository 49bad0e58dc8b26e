"""Rows of a video that are kept, decoded one by one when they are written: a whole video is never in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.frames import Frames


class Kept:
    """Some rows of a channel that is a video, (rows, *shape): an array as far as cleaning and stores ask."""

    def __init__(self, frames: Frames, rows: NDArray[np.int64]) -> None:
        self._frames, self._rows = frames, rows
        self.dtype, self.shape = frames.dtype, (len(rows), *frames.shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self._frames[int(row)] for row in self._rows)

    def __getitem__(self, key: int | slice) -> Any:
        """Return a sample, or of a slice what decodes it."""
        return Kept(self._frames, self._rows[key]) if isinstance(key, slice) else self._frames[int(self._rows[key])]


def some_rows(values: Any, kept: slice) -> Any:
    """Return rows of a column, a copy; of a video, what decodes them when they are asked for."""
    if isinstance(values, Frames):
        return Kept(values, np.arange(len(values))[kept])
    return values[kept] if isinstance(values, Kept) else values[kept].copy()

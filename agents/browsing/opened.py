"""Episodes that somebody looks at: read and checked once, a few of them kept."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from training_ground.configs.errors import AgentError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.frames import Frames
from training_ground.datasets.looking import choose_channel, evenly, viewable
from training_ground.datasets.store import Store, check_columns

KEPT_EPISODES = 4
KEPT_BYTES = 1 << 30
"""Decoded columns that are kept besides the episode asked for last; videos stay in their files."""
SAMPLES = 8
"""Depth pictures whose extremes say what is drawn white and what black."""


class Opened:
    """Reads episodes and pictures of a store for several threads.

    Args:
        store: Where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._decoding = threading.Lock()  # a video's decoder stands at one frame
        self._kept: OrderedDict[tuple[int, int, int], Episode] = OrderedDict()
        self._bounds: dict[tuple[str, str], tuple[float, float] | None] = {}

    def episode(self, number: int) -> Episode:
        """Return an episode.

        Raises:
            DatasetError: There is no such episode, it is damaged, or it does not fit the schema.
        """
        with self._lock:
            path = self._store.file(number)
            status = path.lstat() if path.exists() else None
            key = (number, status.st_ino, status.st_mtime_ns) if status else (number, 0, 0)
            if key not in self._kept:
                episode = self._store.read(number)
                check_columns(episode, self._store.schema)
                self._kept[key] = episode
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and (len(self._kept) > KEPT_EPISODES or self._bytes() > KEPT_BYTES):
                self._kept.popitem(last=False)
            return self._kept[key]

    def picture(self, number: int, channel: str, row: int) -> bytes:
        """Return what a camera saw in a row as the bytes of a PNG file; depth is drawn near bright, far dark.

        Raises:
            AgentError: There is no such row.
            DatasetError: There is no such picture, or it cannot be decoded.
        """
        from PIL import Image

        name = choose_channel(self._store.schema, channel)
        episode = self.episode(number)
        rows = episode.columns[name]
        if not 0 <= row < len(rows):
            raise AgentError(f"row {row}; episode {number} has rows 0 to {len(rows) - 1}")
        raw = io.BytesIO()
        try:
            with self._decoding, np.errstate(all="ignore"):
                pixels = viewable(rows[row], self._extremes(episode, name))
            Image.fromarray(pixels).save(raw, "PNG", compress_level=1)
        except (TypeError, ValueError, KeyError, IndexError) as problem:
            raise AgentError(f"channel '{name}', {rows.dtype} {list(rows.shape[1:])}: is no picture") from problem
        return raw.getvalue()

    def _extremes(self, episode: Episode, name: str) -> tuple[float, float] | None:
        """Return one scale for all depth pictures of an episode: each by its own would flicker."""
        key = (episode.metadata.content_sha256, name)
        if key not in self._bounds:
            values: Any = episode.columns[name]
            some = [values[row] for row in evenly(episode, name, SAMPLES)] if values.shape[3:] in ((), (1,)) else []
            found = (
                min(map(float, (s.min() for s in some)), default=0),
                max(map(float, (s.max() for s in some)), default=0),
            )
            if len(self._bounds) > 1000:
                self._bounds.clear()
            self._bounds[key] = found if some else None
        return self._bounds[key]

    def _bytes(self) -> int:
        return sum(
            values.nbytes
            for episode in self._kept.values()
            for values in episode.columns.values()
            if not isinstance(values, Frames)
        )

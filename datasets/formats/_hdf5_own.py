"""Our own exports to Minari and robomimic read back: every column from its place, compared with the content hash."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.formats import _hdf5, _imported, _own
from training_ground.datasets.schema import ACTION, IS_LAST, REWARD, Column, DatasetSchema

RESET_REWARD = "reset_reward"
"""Attribute of an episode: the reward of row 0, which no step led to."""
METADATA = "training_ground"
"""Attribute of an episode: all its metadata, JSON."""

Read = Callable[[Any, Column, str], NDArray[Any]]
"""Reads a column other than actions and rewards, T + 1 rows, from an episode's group."""


def episodes(
    parent: Any, names: Sequence[str], exported: DatasetSchema, read: Read, scale: NDArray[np.float64], where: str
) -> Iterator[Episode]:
    """Yield the episodes of an export of ours.

    Args:
        parent: Group that holds the episodes' groups.
        names: Of those groups.
        exported: Schema of the store that it was exported from.
        read: See `Read`.
        scale: (n,) what actions are multiplied with; ones where they are as recorded.
        where: File and place, for errors.

    Raises:
        DatasetError: Something is missing, damaged or hostile, or the values are not those that were exported.
    """
    seen = set[int]()
    for name in names:
        group, place = _hdf5.member(parent, name, where, "group"), f"{where}/{name}"
        _hdf5.leaves(group, place, seen)  # sizes of all together, and links
        metadata = _own.read_metadata(str(_hdf5.attribute(group, METADATA, place) or ""), f"{place}: metadata")
        columns: dict[str, NDArray[Any]] = {}
        for column in exported.columns().values():
            at = f"{place}: '{column.name}'"
            if column.name == ACTION:
                actions = _hdf5.read(group, "actions", place)
                if actions.ndim == 0 or actions.size != len(actions) * math.prod(column.shape):
                    raise DatasetError(f"{at}: has shape {actions.shape}, samples must be {column.shape}")
                actions = actions if np.all(scale == 1) else actions.reshape(len(actions), -1) * scale
                columns[ACTION] = _imported.in_rows(_own.as_declared(actions, column, at), "before")
            elif column.name == REWARD:
                rewards = _own.as_declared(_hdf5.read(group, "rewards", place), column, at)
                columns[REWARD] = _imported.in_rows(rewards, "after")
                first = _hdf5.attribute(group, RESET_REWARD, place)
                columns[REWARD][0] = first if isinstance(first, float) else 0
            elif column.name != IS_LAST:
                columns[column.name] = _own.as_declared(read(group, column, place), column, at)
        columns |= _own.ended(metadata.length + 1)
        yield _own.episode(metadata, columns, exported, place)

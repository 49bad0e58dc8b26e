"""An episode while it is being cleaned: its rows, where they came from, and what was filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.cleaned import FilledRun
from training_ground.datasets.cleaning.pictures import some_rows
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.labels import SUCCESS
from training_ground.datasets.schema import IS_LAST, REWARD, DatasetSchema


class Dropped(Exception):
    """An episode is left out; the message says why."""


@dataclass(frozen=True, eq=False)
class Draft:
    """An episode between two operations. Operations return new drafts; arrays are never changed in place.

    Attributes:
        episode: Metadata and columns as they are now.
        schema: Of these columns.
        rows: (T + 1,) row of the source that each row was.
        filled: By channel, (T + 1, n) whether a number was filled in; only channels where one was.
    """

    episode: Episode
    schema: DatasetSchema
    rows: NDArray[np.int64]
    filled: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(cls, episode: Episode, schema: DatasetSchema) -> Draft:
        """Begin with an episode as it is in its store."""
        return cls(episode, schema, np.arange(episode.length + 1))

    def cut(self, first: int, last: int) -> Draft:
        """Keep the rows `first` to `last`, as an episode of its own.

        The clock goes on as recorded, no reward belongs to the first row and no action to the last. Where the end is
        cut off, the episode counts as truncated, and success is what the simulator's channel says in the last row that
        is left: what people said of it was about another end.

        Raises:
            Dropped: Not even one step is left.
        """
        if (first, last) == (0, len(self.rows) - 1):
            return self
        if last <= first:
            raise Dropped(f"{last - first + 1} of {len(self.rows)} rows would be left")
        columns = {n: some_rows(values, slice(first, last + 1)) for n, values in self.episode.columns.items()}
        changes: dict[str, Any] = {"length": last - first}
        labels = self.episode.labels
        if first:
            for name in (REWARD, *(c.name for c in self.schema.channels if c.role == "reward")):
                columns[name][0] = 0
        if last < len(self.rows) - 1:
            for name in (c.name for c in self.schema.channels if c.role == "action"):
                columns[name][-1] = 0
            columns[IS_LAST][-1] = True
            held = columns.get(SUCCESS)
            known = held is not None and held.ndim == 1 and held.dtype == np.bool_
            success = bool(held[-1]) if held is not None and known else None
            changes |= {"terminated": False, "truncated": True, "success": success, "failure": None}
            labels = {field: value for field, value in labels.items() if field not in ("success", "failure")}
        return self.changed(columns, self.rows[first : last + 1], slice(first, last + 1), changes, labels)

    def changed(
        self,
        columns: dict[str, NDArray[Any]],
        rows: NDArray[np.int64],
        kept: slice,
        metadata: dict[str, Any],
        labels: Mapping[str, Any] | None = None,
    ) -> Draft:
        """Return a draft of other columns whose rows are `kept` of the rows here."""
        episode = self.episode
        labels = episode.labels if labels is None else labels
        made = Episode(episode.metadata.model_copy(update=metadata), columns, episode.number, labels)
        filled = {name: mask[kept] for name, mask in self.filled.items()}
        return replace(self, episode=made, rows=rows, filled=filled)

    def runs(self) -> tuple[FilledRun, ...]:
        """Return what was filled in, as lineage holds it."""
        found = []
        for name in sorted(self.filled):
            for component, mask in enumerate(self.filled[name].T):
                edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
                for first, end in edges.reshape(-1, 2).tolist():
                    found.append(FilledRun(channel=name, component=component, rows=(first, end - 1)))
        return tuple(found)


def filled_mask(episode: Episode) -> dict[str, NDArray[np.bool_]]:
    """Return which numbers of an episode were filled in and not recorded, by channel, (T + 1, n) of flattened samples.

    Channels in which nothing was filled are left out. What an earlier cleaning filled in counts in the rows that are
    left of it.
    """
    masks: dict[str, NDArray[np.bool_]] = {}
    first, stride, last = 0, 1, episode.length  # row r after a step is row (r - first) / stride of the episode
    for step in reversed(episode.metadata.cleaned):
        for run in step.filled:
            values = episode.columns.get(run.channel)
            begin = max(-(-(run.rows[0] - first) // stride), 0)
            end = (min(run.rows[1], last) - first) // stride
            if values is not None and begin <= end:
                rows = values.reshape(len(values), -1)
                mask = masks.setdefault(run.channel, np.zeros(rows.shape, dtype=bool))
                if run.component < mask.shape[1]:
                    mask[begin : end + 1, run.component] = True
        # The same of the rows before this step.
        first, last = (step.rows[0] + step.step * row for row in (first, last))
        stride *= step.step
    return {name: mask for name, mask in masks.items() if mask.any()}

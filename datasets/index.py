"""The index: one row an episode with what one asks for, derived from the episodes' metadata and the annotations."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError, unknown
from training_ground.datasets import annotations, labels
from training_ground.datasets.annotations import value_of
from training_ground.datasets.derived import PROBLEM, Progress, Source, refresh
from training_ground.datasets.episode_file import read_metadata
from training_ground.datasets.schema import EpisodeMetadata, canonical_json
from training_ground.datasets.store import EPISODES, Store

pc: Any = pyarrow.compute  # its functions are made when it is imported: no type checker knows them

MAX_TEXT = 2000
"""Letters of a text that the index keeps; the episode has all of them."""
MAX_KWARGS = 20_000
"""Bytes of arguments that the index keeps as JSON; null where there are more."""

_NAME = pa.dictionary(pa.int32(), pa.string())  # what many episodes have in common
_TIME = pa.timestamp("us")

COLUMNS = pa.schema(
    [
        ("robot", _NAME),
        ("env_id", _NAME),
        ("task", _NAME),
        ("tier", _NAME),
        ("kwargs", _NAME),
        ("seed", pa.int64()),
        ("policy", _NAME),
        ("policy_hash", _NAME),
        ("operator", _NAME),
        ("instruction", _NAME),
        ("length", pa.int64()),
        ("seconds", pa.float64()),
        ("success", pa.bool_()),
        ("failure", _NAME),
        ("terminated", pa.bool_()),
        ("truncated", pa.bool_()),
        ("complete", pa.bool_()),
        ("started", _TIME),
        ("ended", _TIME),
        ("content_sha256", pa.string()),
        ("config_hash", _NAME),
        ("model_hash", _NAME),
        ("code_commit", _NAME),
        ("origin_sha256", pa.string()),
        ("origin_seed", pa.int64()),
        ("origin_operator", _NAME),
    ]
)
"""Columns that come from an episode's file; `Index.episodes` has `number`, `bytes` and the labels besides."""


@dataclass(frozen=True, eq=False)
class Index:
    """The episodes of a store and what was said of them, at the time of opening.

    Attributes:
        store: What it is of.
        episodes: One row for each episode whose metadata could be read, by number.
        records: Every record of the annotations, in the order of files, with its `status`; `value` is JSON, and of a
            verdict `scores` is as well.
        problems: One sentence each: files that cannot be read, records that are not applied.
        unheard: Those of them that are about annotations.
        newest_ns: Time of the newest record.
    """

    store: Store
    episodes: pa.Table
    records: pa.Table
    problems: tuple[str, ...]
    unheard: tuple[str, ...]
    newest_ns: int

    @classmethod
    def open(cls, store: Store, progress: Progress | None = None) -> Index:
        """Return the index as the store is now; what is new since it was last opened is read and kept.

        Args:
            store: Its folder gets a folder `index`, where it can be written to and is worth it.
            progress: Called with the files read and those to read; the first time, all of them.

        Raises:
            DatasetError: A folder cannot be listed. Damaged files are in `problems`.
        """
        table = refresh(store.path, _source(store), progress)
        unread = [str(text) for text in table.column(PROBLEM).drop_null().to_pylist()]
        table = table.filter(pc.is_null(table.column(PROBLEM))).drop_columns(["inode", "changed_ns", PROBLEM])
        table = table.rename_columns({"file": "number", "size": "bytes"})
        found = annotations.history(store, progress)
        said = labels.problems(found)
        found = found.filter(pc.is_null(found.column(PROBLEM)))
        newest = pc.max(found.column("time_ns")).as_py() or 0
        table, found = labels.in_force(table, found)
        said += labels.problems(found)
        keep = ["file", *annotations.COLUMNS.names, "status"]
        shown = found.select([name for name in keep if name != "last_row"])
        return cls(store, table, shown, (*unread, *said), tuple(said), newest)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the episodes, in order."""
        return self.episodes.column("number").to_numpy()

    def __len__(self) -> int:
        return len(self.episodes)

    def column(self, name: str, numbers: Sequence[int] | None = None) -> list[Any]:
        """Return a column as plain values, one an episode.

        Args:
            name: Such as `success`, the label in force.
            numbers: Of episodes, in the order that is wanted; all by number where absent.

        Raises:
            DatasetError: There is no such column or episode.
        """
        if name not in self.episodes.column_names:
            raise DatasetError(unknown("column", name, self.episodes.column_names))
        values = self.episodes.column(name)
        if numbers is None:
            return values.to_pylist()
        wanted = np.asarray(numbers, np.int64).reshape(-1)
        at = np.minimum(np.searchsorted(self.numbers, wanted), max(len(self) - 1, 0))
        missing = wanted if not len(self) else wanted[self.numbers[at] != wanted]
        if len(missing):
            raise DatasetError(f"{self.store.path}: there is no episode {missing[0]} in the index; open it again")
        return values.take(pa.array(at)).to_pylist()

    def dropped(self) -> set[int]:
        """Return the numbers of the episodes that are labelled as dropped: they stay, and are not to be used."""
        return set(self.numbers[self.episodes.column("dropped").to_numpy()].tolist())

    def usable(self) -> list[int]:
        """Return the numbers of the episodes that are not labelled as dropped, in order."""
        return self.numbers[~self.episodes.column("dropped").to_numpy()].tolist()

    def history(self, number: int) -> list[dict[str, Any]]:
        """Return every record about an episode, oldest first, the values as plain data; see `Record` and `STATUS`."""
        rows = self.records.filter(pc.equal(self.records.column("episode"), number)).to_pylist()
        rows.sort(key=lambda row: row["time_ns"])
        return [{k: v for k, v in row.items() if k != "scores"} | {"value": value_of(row)} for row in rows]


def _source(store: Store) -> Source:
    schema = store.schema

    def read(path: Path) -> list[dict[str, Any]]:
        return [_row(read_metadata(path, schema), schema.control_rate)]

    return Source("episodes", store.path / EPISODES, "episode_", ".parquet", COLUMNS, read, schema.fingerprint())


def _row(metadata: EpisodeMetadata, rate: float) -> dict[str, Any]:
    """Return what the index keeps of an episode; texts of strangers are cut to a length that 100,000 rows can have."""
    kwargs = canonical_json(metadata.kwargs, "kwargs").decode()
    tier, origin = metadata.kwargs.get("tier"), metadata.origin
    row = {
        "robot": metadata.robot,
        "env_id": metadata.env_id,
        "task": re.sub(r"^.*/|-v\d+$", "", metadata.env_id),
        "tier": tier if isinstance(tier, str) else None,
        "seed": metadata.seed,
        "policy": metadata.policy.name,
        "policy_hash": metadata.policy.hash,
        "operator": metadata.policy.operator,
        "instruction": metadata.instruction,
        "length": metadata.length,
        "seconds": metadata.length / rate,
        "success": metadata.success,
        "failure": metadata.failure,
        "terminated": metadata.terminated,
        "truncated": metadata.truncated,
        "complete": metadata.complete,
        "started": _time(metadata.started_ns),
        "ended": _time(metadata.ended_ns),
        "content_sha256": metadata.content_sha256,
        "config_hash": metadata.config_hash,
        "model_hash": metadata.model_hash,
        "code_commit": metadata.code_commit,
        "origin_sha256": origin.content_sha256 if origin else None,
        "origin_seed": origin.seed if origin else None,
        "origin_operator": origin.policy.operator if origin else None,
    }
    cut = {key: value[:MAX_TEXT] if isinstance(value, str) else value for key, value in row.items()}
    return cut | {"kwargs": kwargs if len(kwargs) <= MAX_KWARGS else None}


def _time(ns: int) -> datetime.datetime:
    """Nanoseconds since 1970 as a time in UTC; Arrow knows times without a zone."""
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=ns // 1000)

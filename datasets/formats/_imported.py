"""What importers share: channels for arrays that declare nothing, the marks of imported episodes, the new store."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets.episode_file import MAX_TEXT, Episode
from training_ground.datasets.export import new_folder
from training_ground.datasets.files import hash_regular
from training_ground.datasets.formats import _own
from training_ground.datasets.schema import (
    IMPORTED,
    IS_LAST,
    PHASE,
    TIMESTAMP,
    ChannelSchema,
    Column,
    DatasetSchema,
    EpisodeMetadata,
    Imported,
    PolicyInfo,
    canonical_json,
)
from training_ground.datasets.store import Store

NO_MODEL = "0" * 64
"""`model_hash` where no compiled robot is known."""
UNKNOWN = "unknown"
MAX_VALUE_BYTES, MAX_KEPT_BYTES = 20_000, 400_000
"""How much of a source's own metadata is kept: of one key, and in all."""
MAX_SOURCE_BYTES = 64 << 30
"""Largest file of a source that is hashed."""

Rows = Literal["every", "before", "after"]
"""Whether an array has all T + 1 rows, the T rows before each step, or the T rows after each step."""


@dataclass(frozen=True)
class Source:
    """The file or folder that is imported.

    Attributes:
        format, version, name, sha256: As in `schema.Imported`.
        metadata: What it says of itself.
        own: The schema that it carries, where it is an export of ours that does not come back bit for bit.
    """

    format: str
    version: str
    name: str
    sha256: str
    metadata: dict[str, Any]
    own: DatasetSchema | None = None

    @property
    def env_id(self) -> str:
        """What stands for an environment's id."""
        return IMPORTED + self.format

    @property
    def marks(self) -> dict[str, str]:
        """What every episode and the store say of it."""
        return {"format": self.format, "version": self.version, "name": self.name, "sha256": self.sha256}


@dataclass(frozen=True)
class Part:
    """An array of each episode of the source, and the channel that it becomes."""

    path: str
    rows: Rows
    channel: ChannelSchema


def channel_name(text: str, taken: Collection[str]) -> str:
    """Return a name that a channel may have, near to `text` and not yet taken."""
    name = re.sub(r"[^a-z0-9_.]+", "_", text.lower().replace("/", "."))[:100].strip("_.") or "value"
    name = name if "a" <= name[0] <= "z" else f"x{name}"
    return next(c for c in (name if n == 1 else f"{name}_{n}" for n in count(1)) if c not in taken)


def make_channel(
    source: Source, key: str, name: str, dtype: str, shape: tuple[int, ...], role: str, components: Iterable[str] = ()
) -> ChannelSchema:
    """Return the channel for an array of which neither unit nor frame is known.

    Args:
        source: Where it is from.
        key: What the array is called there, without the groups above it.
        name: The channel's name.
        dtype, shape: Of one sample.
        role: Of the channel.
        components: Names along the last axis, where the source has them.

    Raises:
        DatasetError: A store cannot hold samples of this shape; the message names the array.
    """
    text = f"'{key}' of an imported {source.format} file, which says neither unit nor frame."
    data = {"name": name, "shape": shape, "unit": UNKNOWN, "frame": UNKNOWN, "role": role, "description": text}
    data |= {"components": tuple(components), "dtype": dtype}
    return validate(ChannelSchema, data, f"{source.name}: '{key}'", DatasetError)


def make_schema(
    source: Source, channels: Iterable[ChannelSchema], rate: float, instruction: str, robot: str = UNKNOWN
) -> DatasetSchema:
    """Return the schema of the store, marked as imported.

    Raises:
        DatasetError: There are no channels, or one that stands twice.
    """
    own = source.own
    data = {
        "robot": own.robot if own else robot,
        "model_hash": own.model_hash if own else NO_MODEL,
        "joint_names": own.joint_names if own else (),
        "control_rate": rate,
        "instruction": instruction[:1000],
        "channels": [channel.model_dump() for channel in channels],
        "environment": {"env_id": source.env_id, "imported": {**source.marks, "metadata": bounded(source.metadata)}},
        "created_ns": time.time_ns(),
    }
    return validate(DatasetSchema, data, source.name, DatasetError)


def make_metadata(
    source: Source,
    schema: DatasetSchema,
    name: str,
    length: int,
    terminated: bool,
    facts: dict[str, Any],
    carried: str | None = None,
) -> EpisodeMetadata:
    """Return an episode's metadata, marked as imported.

    Args:
        source, schema: Where it is from, and the store's schema.
        name: What the episode is called there.
        length: Steps T.
        terminated: Whether it ended by itself; else it counts as truncated.
        facts: What the source says: `seed`, `policy`, `success`.
        carried: JSON of the episode's metadata where an export of ours has it; it says better how the episode ended.

    Raises:
        DatasetError: What is carried is no such metadata, or the source says what cannot be.
    """
    where = f"{source.name}: {name}"
    marks = {
        "env_id": source.env_id,
        "length": length,
        "terminated": terminated,
        "truncated": not terminated,
        "robot": schema.robot,
        "model_hash": schema.model_hash,
        "schema_sha256": schema.fingerprint(),
        "content_sha256": "",
        "imported": validate(Imported, source.marks | {"episode": name}, where, DatasetError),
    }
    if carried:
        known = _own.read_metadata(carried, where)
        told = {"terminated": known.terminated, "truncated": known.truncated, "media": {}}
        told |= {"instruction": facts.get("instruction", known.instruction)}  # labelled since, it is another one
        return known.model_copy(update=marks | told)
    what = {
        "kwargs": {"source": source.sha256},  # keeps episodes of two sources apart
        "policy": PolicyInfo(name=UNKNOWN),
        "instruction": schema.instruction,
        "config_hash": hashlib.sha256(canonical_json(schema.environment, where)).hexdigest(),
        "started_ns": 0,
        "ended_ns": 0,
    }
    return validate(EpisodeMetadata, what | facts | marks, where, DatasetError)


def in_rows(values: NDArray[Any], rows: Rows, last: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return an array of T or T + 1 rows as the T + 1 rows of a column.

    Args:
        values: (T + 1, ...) where `rows` is `every`, else (T, ...).
        rows: Which rows they are.
        last: (...) the row after those `before`; zeros where absent.
    """
    if rows == "every":
        return values
    result = np.zeros((len(values) + 1, *values.shape[1:]), values.dtype)
    result[1:] = values if rows == "after" else result[1:]
    result[:-1] = values if rows == "before" else result[:-1]
    if last is not None:
        result[-1] = last
    return result


def bookkeeping(
    length: int, rate: float, timestamps: NDArray[Any] | None = None, phases: NDArray[Any] | None = None
) -> dict[str, NDArray[Any]]:
    """Return the columns that every episode has: time, its end, and phases.

    Args:
        length: Steps T.
        rate: Steps a second, for rows without a time.
        timestamps: (T + 1,) int64 ns, where the source has them.
        phases: (T + 1,) UTF-8 bytes, where the source has them.
    """
    ended = np.zeros(length + 1, bool)
    ended[-1] = True
    even = np.round(np.arange(length + 1) * (1e9 / rate)).astype(np.int64)
    texts = [""] * (length + 1)
    if phases is not None and phases.dtype.kind == "S" and phases.shape == ended.shape:
        texts = [phase.decode(errors="replace")[: MAX_TEXT // 4] for phase in phases.tolist()]
    if timestamps is not None and timestamps.dtype == np.int64 and timestamps.shape == ended.shape:
        even = timestamps if np.all(timestamps[1:] > timestamps[:-1]) else even
    return {TIMESTAMP: even, IS_LAST: ended, PHASE: np.array(texts, dtype=object)}


def fitted(columns: dict[str, NDArray[Any]], expected: dict[str, Column]) -> dict[str, NDArray[Any]]:
    """Return the columns in the schema's order and types; a scalar that the source holds as a vector of one is one."""
    result = {}
    for name, column in expected.items():
        values = columns[name]
        if column.dtype != "text":
            values = values.astype(column.dtype, copy=False).reshape(len(values), *column.shape)
        result[name] = values
    return result


@dataclass
class Written:
    """How many episodes and steps a new store has, and what was left out and why."""

    episodes: int = 0
    frames: int = 0
    skipped: tuple[str, ...] = ()


def write_store(
    out: Path, schema: DatasetSchema, episodes: Iterable[Episode | str], progress: Callable[[int], None]
) -> Written:
    """Write a new store, which appears complete or not at all.

    Args:
        out: Where.
        schema: Of the store.
        episodes: One after the other; a text says why one is left out.
        progress: Called with the number of each that is done.

    Raises:
        DatasetError: It cannot be written, or an episode cannot be read.
    """
    written = Written()
    with new_folder(out) as folder:
        store = Store.create(folder, schema)
        for number, episode in enumerate(episodes):
            if isinstance(episode, str):
                written.skipped += (episode,)
            else:
                store.append(episode)
                written.episodes, written.frames = written.episodes + 1, written.frames + episode.length
            progress(number)
    return written


def inside(folder: Path, file: Path) -> Path:
    """Return a file of a dataset, which must be in no linked folder.

    Raises:
        DatasetError: It is.
    """
    for parent in [folder / part for part in file.relative_to(folder).parents][:-1]:
        if parent.is_symlink():
            raise DatasetError(f"{parent}: is a symbolic link; folders of a dataset are plain folders")
    return file


def files_sha256(folder: Path, files: Iterable[Path]) -> str:
    """Return the sha256 over names and sha256 of files, in their order: what stands for a dataset of many files.

    Raises:
        DatasetError: One is no plain file, or cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        inside(folder, file)
        digest.update(f"{file.relative_to(folder)}\0{hash_regular(file, MAX_SOURCE_BYTES)[1]}\n".encode())
    return digest.hexdigest()


def bounded(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return as much of a source's metadata as is kept; what is too long is named with its size."""
    kept: dict[str, Any] = {}
    left = MAX_KEPT_BYTES
    for key, value in metadata.items():
        size = len(canonical_json(value, key[:50])) + len(key)
        fits = len(key) <= 200 and size <= min(MAX_VALUE_BYTES, left)
        kept[key[:200]] = value if fits else f"(left out: {size} bytes)"
        left -= size if fits else 300
        if left <= 0:
            break
    return kept

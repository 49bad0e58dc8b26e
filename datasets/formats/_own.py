"""What an export of ours carries, so that it comes back as it was: the schema, each episode's metadata, its hash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets import migrations
from training_ground.datasets.episode_file import Episode, content_hash
from training_ground.datasets.schema import (
    IS_LAST,
    TEXT,
    Column,
    DatasetSchema,
    EpisodeMetadata,
    parse_json,
)
from training_ground.datasets.video_schema import VideoStorage


def read_schema(raw: str | bytes, where: str) -> DatasetSchema:
    """Read the schema that an export of ours carries, of any version that a store may have.

    Raises:
        DatasetError: It is none.
    """
    return migrations.read_description(parse_json(_bytes(raw), where), where)


def read_metadata(raw: str | bytes, where: str) -> EpisodeMetadata:
    """Read an episode's metadata that an export of ours carries, of any version that a store may have.

    Raises:
        DatasetError: It is none.
    """
    return migrations.read_metadata(parse_json(_bytes(raw), where), where)[0]


def refuse_rate(rate: float | None, where: str) -> None:
    """Refuse a rate that is given for an export of ours.

    Raises:
        DatasetError: One is.
    """
    if rate is not None:
        raise DatasetError(f"rate = {rate:g}: {where} says itself how many steps a second there are")


def unchecked(exported: DatasetSchema) -> list[str]:
    """Return the videos whose frames are not those that the content hash was taken of.

    They have lost something, or are depth: the hash is of the steps that depth was rounded to, and an export has m.
    """
    return [n for n, storage in exported.videos().items() if not storage.lossless or storage.depth_step is not None]


def episode(
    metadata: EpisodeMetadata, columns: dict[str, NDArray[Any]], exported: DatasetSchema, where: str
) -> Episode:
    """Return an episode that an export of ours holds with all its bits.

    Args:
        metadata: As it was exported.
        columns: As they were read; pictures as arrays, whatever they were stored as.
        exported: Schema of the store that it was exported from.
        where: The file's name.

    Raises:
        DatasetError: The values are not those that were exported.
    """
    rows = {len(values) for values in columns.values()}
    known = unchecked(exported) or metadata.content_sha256 == content_hash(columns, exported.videos())
    if rows != {metadata.length + 1} or not known:
        raise DatasetError(f"{where}: the values do not match the content hash in its metadata")
    return Episode(metadata, columns)


def as_declared(values: NDArray[Any], column: Column, where: str) -> NDArray[Any]:
    """Return (rows, *shape) values in the type and shape of a column, which a format may have flattened or widened.

    Raises:
        DatasetError: They do not fit, or are changed by it.
    """
    if column.dtype == TEXT:
        try:
            return np.array([text.decode() for text in values.tolist()], dtype=object)
        except (UnicodeDecodeError, AttributeError) as problem:
            raise DatasetError(f"{where}: holds no texts in UTF-8") from problem
    if values.size != len(values) * int(np.prod(column.shape, dtype=int)) or values.dtype.kind not in "biuf":
        raise DatasetError(f"{where}: has samples of {values.dtype} {values.shape[1:]}, must be {column.shape}")
    with np.errstate(all="ignore"):
        result = values.astype(column.dtype).reshape(len(values), *column.shape)
        changed = result.reshape(values.shape).astype(values.dtype).tobytes() != values.tobytes()
    if changed and values.dtype != result.dtype:
        raise DatasetError(f"{where}: has numbers that are no {column.dtype}")
    return result


def ended(rows: int) -> dict[str, NDArray[Any]]:
    """Return the column that says which row is the last one."""
    return {IS_LAST: np.arange(rows) == rows - 1}


def without_further_loss(exported: DatasetSchema) -> DatasetSchema:
    """Return the schema of a store for episodes of an export: what had lost something is kept as it is from now on."""
    channels = tuple(
        c if c.storage is None or c.storage.lossless else c.model_copy(update={"storage": VideoStorage()})
        for c in exported.channels
    )
    return exported.model_copy(update={"channels": channels})


def losses(exported: DatasetSchema) -> tuple[str, ...]:
    """Say what a store made of an export of ours does not have."""
    named = unchecked(exported)
    if not named:
        return ()
    return (
        f"{', '.join(named)}: as they looked in a video with loss, or as depth was rounded; now without more of it. "
        "Where there is one, no value of an episode is checked by hash",
    )


def _bytes(raw: str | bytes) -> bytes:
    return raw.encode() if isinstance(raw, str) else raw

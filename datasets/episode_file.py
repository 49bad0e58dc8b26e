"""One episode as one Parquet file that carries its own seal: columns and metadata to bytes, and back with suspicion.

A column of numbers is a Parquet column of the same type; a column of vectors is a fixed-length byte array a row, split
by byte and compressed: each byte stream is then one byte of one component over time, which compresses best
and, measured, writes four times as fast as lists. `numpy.frombuffer(b"".join(column), dtype).reshape(-1, *shape)`
reads it; `dtype` and `shape` stand in `dataset.json`.

The seal is the sha256 of the whole file with the seal's own digits set to zero, so that damage is found before any
parser sees the bytes.
"""

from __future__ import annotations

import functools
import hashlib
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets import migrations
from training_ground.datasets.files import open_regular
from training_ground.datasets.frames import Frames, signature_of
from training_ground.datasets.schema import (
    PHASE,
    TEXT,
    Column,
    DatasetSchema,
    EpisodeMetadata,
    canonical_json,
    parse_json,
)

pc: Any = pyarrow.compute  # its functions are made when it is imported: no type checker knows them

METADATA_KEY = b"training_ground.episode"
SEAL_KEY = b"training_ground.seal"
_DIGITS = 64
_UNSEALED = b"sha256:" + b"0" * _DIGITS
# A key and its value as Thrift's compact protocol writes them in the footer: 0x18 is "next field, binary", then the
# length. JSON has no raw control characters, so no metadata can look like it.
_SEAL_MARK = SEAL_KEY + b"\x18" + bytes([len(_UNSEALED)]) + b"sha256:"

MAX_FILE_BYTES = 4 << 30
MAX_EPISODE_BYTES = 4 << 30
"""Largest episode, decoded."""
MAX_FOOTER_BYTES = 64 << 20
_LIMITS: Any = {"thrift_string_size_limit": MAX_FOOTER_BYTES, "thrift_container_size_limit": 1_000_000}
MAX_TEXT = 1000
"""Longest text in a row, bytes."""
_TEXTS_AT_ONCE = 10_000
PICTURE_BYTES = 4096
"""Columns of so many bytes a row are compressed as pictures."""
_CODED_TEXT = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode: its metadata and its T + 1 rows.

    Row t holds the frame at time t, and in the action channels the action applied between t and t + 1. The last row has
    no action (zeros) and `is_last` set. Reward terms in row t belong to the step that led to it.

    Attributes:
        metadata: What is known of it besides the rows.
        columns: (T + 1, *shape) for every column of the store's schema; a `Frames`, which decodes the rows that are
            asked for, where a channel is stored as a video.
        number: Its number in the store; None before it is written.
        labels: What somebody has said since of `success`, `failure`, `instruction` and `phase`, where whoever gave the
            episode looked for that, as an export does; see `labels.py`. Metadata and columns hold what was recorded.
    """

    metadata: EpisodeMetadata
    columns: dict[str, NDArray[Any]]
    number: int | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Steps T."""
        return self.metadata.length

    @property
    def success(self) -> bool | None:
        """Success in force."""
        return self.labels.get("success", self.metadata.success)

    @property
    def failure(self) -> str | None:
        """Kind of failure in force; None where there was none."""
        return self.labels.get("failure", self.metadata.failure) or None

    @property
    def instruction(self) -> str:
        """Instruction in force."""
        return self.labels.get("instruction", self.metadata.instruction)

    def phases(self) -> list[str]:
        """Return the phase in force of each of the T + 1 rows; empty where there is none."""
        if "phase" not in self.labels:
            return [str(name) for name in self.columns[PHASE]]
        names = [""] * (self.length + 1)
        for one in self.labels["phase"]:
            names[one["first"] : one["last"] + 1] = [one["name"]] * (one["last"] + 1 - one["first"])
        return names


@functools.lru_cache(maxsize=64)  # numpy works a name out anew each time
def type_name(dtype: np.dtype[Any]) -> str:
    """Return the name that a schema gives a type."""
    return TEXT if dtype.kind in "UO" else dtype.name


def content_hash(columns: dict[str, NDArray[Any]], videos: Collection[str] = ()) -> str:
    """Return the sha256 over every column's name, type, shape and values, whatever file they come from.

    Args:
        columns: Of an episode.
        videos: Those that a store keeps as videos without loss, though here they are arrays.
    """
    digest = hashlib.sha256()
    for name in sorted(columns):
        values: Any = columns[name]
        if isinstance(values, Frames) or name in videos:
            shown = values.signature() if isinstance(values, Frames) else signature_of(values)
            digest.update(f"{name}\0video {values.dtype.name}\0{list(values.shape)}\0".encode() + shown)
            continue
        kind = type_name(values.dtype)
        digest.update(f"{name}\0{kind}\0{list(values.shape)}\0".encode())
        if kind == TEXT:
            for first in range(0, len(values), _TEXTS_AT_ONCE):
                part = "\0".join(values[first : first + _TEXTS_AT_ONCE].tolist())
                digest.update((b"\0" if first else b"") + part.encode())
        else:
            digest.update(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")
    return digest.hexdigest()


def encode(episode: Episode, schema: DatasetSchema) -> memoryview:
    """Return the bytes of an episode's file, sealed.

    Raises:
        DatasetError: The metadata cannot be written as JSON. Columns are the caller's to check (`check_columns`).
    """
    data = encode_unsealed(episode, schema)
    seal(data)
    return data


def encode_unsealed(episode: Episode, schema: DatasetSchema) -> memoryview:
    """As `encode`, for who calls `seal` later, in another thread."""
    raw = canonical_json(episode.metadata.model_dump(mode="json"), "episode metadata")
    columns = tuple(schema.stored_columns().values())
    arrow, floats, codecs = _arrow_schema(columns)
    arrays = [_to_arrow(column, _stored(episode.columns[column.name])) for column in columns]
    sink = pa.BufferOutputStream()  # written to without Python's lock, so that others write at the same time
    with pq.ParquetWriter(
        sink,
        arrow,
        compression=codecs,  # pyright: ignore[reportArgumentType] (the stub says str; one a column is allowed)
        compression_level={name: -2 for name, codec in codecs.items() if codec == "zstd"},
        use_dictionary=[PHASE],  # pyright: ignore[reportArgumentType] (the stub says bool; names are allowed)
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        write_statistics=False,
        store_schema=False,
    ) as writer:
        writer.add_key_value_metadata({METADATA_KEY: raw, SEAL_KEY: _UNSEALED})
        writer.write_table(pa.Table.from_arrays(arrays, schema=arrow), row_group_size=episode.length + 1)
    return memoryview(sink.getvalue()).cast("B")


def seal(data: memoryview) -> None:
    """Write the sha256 of an episode's file into it."""
    start = _seal_position(data, "episode")
    data[start : start + _DIGITS] = hashlib.sha256(data).hexdigest().encode()


def decode(data: bytes, schema: DatasetSchema, path: Path, number: int | None = None) -> Episode:
    """Read what `encode` wrote: the seal first, then sizes, then values, then their hash.

    Raises:
        DatasetError: The file is damaged, larger than allowed, or does not fit the schema; the message names file and
            problem.
    """
    check_seal(data, str(path))
    try:
        # Texts are unpacked after their length is known: a few bytes may stand for a long one in every row.
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=[PHASE], **_LIMITS) as file:
            metadata = _metadata(file, schema, path)
            _check_layout(file, schema, metadata, path)
            table = file.read(use_threads=False)
        columns: dict[str, Any] = {}
        for name, column in schema.stored_columns().items():
            columns[name] = _from_arrow(column, table.column(name))
            table = table.drop_columns([name])  # of one column at a time there are two in memory
    except KeyError as problem:
        raise DatasetError(f"{path}: columns differ from dataset.json: there is no column '{PHASE}'") from problem
    except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:
        raise DatasetError(f"{path}: is no episode file: {problem}") from problem
    columns |= _videos(columns, schema, metadata, path)
    if content_hash(columns) != metadata.content_sha256:
        raise DatasetError(f"{path}: the values do not match the content hash in the metadata")
    return Episode(metadata, columns, number)


def read_metadata(path: Path, schema: DatasetSchema) -> EpisodeMetadata:
    """Read an episode's metadata only: quick, and without checking the seal.

    Raises:
        DatasetError: There is none that could be read.
    """
    try:
        with open_regular(path, MAX_FILE_BYTES) as stream:
            _check_footer(stream, path)
            with pq.ParquetFile(stream, **_LIMITS) as file:
                return _metadata(file, schema, path)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:
        raise DatasetError(f"{path}: is no episode file: {problem}") from problem


def read_columns(
    stream: Any, schema: DatasetSchema, where: str, names: Collection[str]
) -> tuple[EpisodeMetadata, dict[str, NDArray[Any]]]:
    """Read some columns of a file of which only parts are at hand, so that neither seal nor content hash is checked.

    Args:
        stream: What `pyarrow` can seek and read.
        schema: Of the store.
        where: Named first in errors.
        names: Columns, videos excepted; with none, only the metadata are read.

    Raises:
        DatasetError: The file is larger than allowed, or does not fit the schema.
    """
    try:
        _check_footer(stream, where)
        with pq.ParquetFile(stream, read_dictionary=[PHASE], **_LIMITS) as file:
            metadata = _metadata(file, schema, where)
            _check_layout(file, schema, metadata, where)
            table = file.read(columns=list(names), use_threads=False) if names else None
        stored = schema.stored_columns()
        columns = {} if table is None else {name: _from_arrow(stored[name], table.column(name)) for name in names}
    except KeyError as problem:
        raise DatasetError(f"{where}: columns differ from dataset.json: there is no column '{PHASE}'") from problem
    except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:
        raise DatasetError(f"{where}: is no episode file: {problem}") from problem
    if any(len(values) != metadata.length + 1 for values in columns.values()):
        raise DatasetError(f"{where}: columns have not as many rows as its metadata say")
    return metadata, columns


def _check_footer(stream: Any, path: Path | str) -> None:
    """Refuse a footer that is too large before anybody reads it."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 8))
    end = stream.read(8)
    footer = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1":
        raise DatasetError(f"{path}: is no episode file: it does not end as a Parquet file does (cut short?)")
    if footer > min(MAX_FOOTER_BYTES, size):
        raise DatasetError(f"{path}: is no episode file: its footer says that it has {footer} bytes")
    stream.seek(0)


def check_seal(data: bytes, where: str) -> None:
    """Compare a file's bytes with the seal inside it.

    Raises:
        DatasetError: They differ, or there is no seal.
    """
    start = _seal_position(data, where)
    digest = hashlib.sha256(memoryview(data)[:start])
    digest.update(b"0" * _DIGITS)
    digest.update(memoryview(data)[start + _DIGITS :])
    if digest.hexdigest().encode() != data[start : start + _DIGITS]:
        raise DatasetError(f"{where}: is damaged: its bytes do not match the sha256 that it was written with")


def _seal_position(data: bytes | bytearray | memoryview, where: str) -> int:
    if len(data) < 12 or data[:4] != b"PAR1" or data[-4:] != b"PAR1":
        raise DatasetError(f"{where}: is damaged: it does not begin and end as a Parquet file does (cut short?)")
    (footer,) = struct.unpack("<I", data[-8:-4])
    begin = len(data) - 8 - footer
    if footer > MAX_FOOTER_BYTES or begin < 4:
        raise DatasetError(f"{where}: is damaged: its footer says that it has {footer} bytes")
    end = bytes(data[begin:])
    position = end.find(_SEAL_MARK)
    if position < 0 or end.find(_SEAL_MARK, position + 1) >= 0:
        raise DatasetError(f"{where}: is damaged, or was not written by training-ground: it carries no seal")
    return begin + position + len(_SEAL_MARK)


def _metadata(file: pq.ParquetFile, schema: DatasetSchema, path: Path | str) -> EpisodeMetadata:
    raw = (file.metadata.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise DatasetError(f"{path}: carries no episode metadata; it was not written by training-ground")
    where = f"{path}: metadata"
    metadata, version = migrations.read_metadata(parse_json(raw, where), where)
    if metadata.schema_sha256 != schema.fingerprint(version):
        raise DatasetError(f"{path}: was written for another dataset.json than the one beside it")
    return metadata


def _check_layout(file: pq.ParquetFile, schema: DatasetSchema, metadata: EpisodeMetadata, path: Path | str) -> None:
    """Refuse what does not fit before memory is taken for it."""
    columns, rows = schema.stored_columns(), file.metadata.num_rows
    if rows != metadata.length + 1:
        raise DatasetError(f"{path}: has {rows} rows, its metadata says {metadata.length} steps (one row less)")
    expected = {name: _arrow_type(column) for name, column in columns.items()} | {PHASE: _CODED_TEXT}
    found = {field.name: field.type for field in file.schema_arrow}
    if found != expected or len(file.schema_arrow) != len(expected):
        wrong = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        raise DatasetError(f"{path}: columns differ from dataset.json: {', '.join(wrong[:5]) or 'one stands twice'}")
    size = rows * sum(column.row_bytes for column in columns.values())
    if size > MAX_EPISODE_BYTES:
        raise DatasetError(f"{path}: would need {size} bytes of memory, more than the {MAX_EPISODE_BYTES} allowed")
    # Of single columns nothing is asked: pyarrow ends the process where their metadata contradict each other.
    claimed = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    if claimed > 2 * size + rows * MAX_TEXT + (1 << 20):
        raise DatasetError(f"{path}: says that it unpacks to {claimed} bytes, {size} are expected")


def _stored(values: Any) -> NDArray[Any]:
    return values.numbers if isinstance(values, Frames) else values


def _videos(columns: dict[str, Any], schema: DatasetSchema, metadata: EpisodeMetadata, path: Path) -> dict[str, Frames]:
    """Return what decodes the channels that are videos; no file is opened."""
    storage, described = schema.videos(), schema.columns()
    if set(metadata.media) != set(storage):
        raise DatasetError(f"{path}: metadata: media must name a file for each of: {', '.join(storage) or 'nothing'}")
    folder = path.parent.parent / "media"
    return {
        name: Frames(folder / media.name, media, described[name], storage[name], columns[name], schema.control_rate)
        for name, media in metadata.media.items()
    }


@functools.lru_cache(maxsize=16)
def _arrow_schema(columns: tuple[Column, ...]) -> tuple[pa.Schema, tuple[str, ...], dict[str, str]]:
    """Return the schema of a file, the columns that are split by byte, and how each is compressed.

    Of numbers zstd saves 2 to 3 % over LZ4, for 1.7 times the time. Of pictures it saves half: a background that stays
    is farther back than LZ4 looks.
    """
    fields = [pa.field(column.name, _arrow_type(column), nullable=False) for column in columns]
    floats = tuple(column.name for column in columns if column.dtype in ("float32", "float64"))
    codecs = {column.name: "zstd" if column.row_bytes >= PICTURE_BYTES else "lz4" for column in columns}
    return pa.schema(fields), floats, codecs


def _arrow_type(column: Column) -> pa.DataType:
    if column.dtype == TEXT:
        return pa.string()
    if not column.shape:
        return pa.bool_() if column.dtype == "bool" else pa.from_numpy_dtype(np.dtype(column.dtype))
    return pa.binary(column.row_bytes)


def _to_arrow(column: Column, values: NDArray[Any]) -> pa.Array:
    if column.dtype == TEXT or not column.shape:
        return pa.array(values, type=_arrow_type(column))
    data = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_arrow_type(column), len(values), [None, pa.py_buffer(data)])


def _from_arrow(column: Column, values: pa.ChunkedArray) -> NDArray[Any]:
    array = values.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no chunk at all
        raise ValueError(f"column '{column.name}' is empty")
    if array.null_count:
        raise ValueError(f"column '{column.name}' has {array.null_count} values missing")
    if column.dtype == TEXT:
        return _texts(column, array)
    if not column.shape:
        return array.to_numpy(zero_copy_only=False).astype(column.dtype, copy=True)
    width = column.row_bytes
    raw = array.buffers()[1][array.offset * width : (array.offset + len(array)) * width]
    return np.frombuffer(raw, dtype=column.dtype).reshape(-1, *column.shape).copy()


def _texts(column: Column, array: pa.DictionaryArray) -> NDArray[Any]:
    longest = pc.max(pc.binary_length(array.dictionary)).as_py() or 0
    if longest > MAX_TEXT:
        raise ValueError(f"column '{column.name}' holds a text of {longest} bytes, more than the {MAX_TEXT} allowed")
    texts = np.empty(len(array.dictionary), dtype=object)
    texts[:] = array.dictionary.to_pylist()
    codes = array.indices.to_numpy(zero_copy_only=False)
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(texts):
        raise ValueError(f"column '{column.name}' names texts that are not there")
    return texts[codes]

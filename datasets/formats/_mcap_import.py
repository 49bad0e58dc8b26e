"""MCAP files that we wrote, read back: each record is bounded before memory is taken for it."""

from __future__ import annotations

import io
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_EPISODE_BYTES, MAX_FILE_BYTES, MAX_TEXT, Episode
from training_ground.datasets.files import open_regular
from training_ground.datasets.formats import _imported, _own
from training_ground.datasets.formats import _mcap_messages as messages
from training_ground.datasets.formats import _protobuf as wire
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import (
    ACTION,
    IS_LAST,
    PHASE,
    TIMESTAMP,
    ChannelSchema,
    Column,
    DatasetSchema,
    EpisodeMetadata,
)
from training_ground.datasets.store import DESCRIPTION, MAX_DESCRIPTION_BYTES

EPISODE_RECORD = "training_ground.episode"
"""Name of the metadata record that holds an episode's metadata, as JSON under the key `json`."""
MAX_CHUNK_BYTES = 128 << 20
"""Largest chunk, unpacked: a sample has at most half of that."""
MAX_FILES = 1_000_000
MAX_SMALL, SMALLEST_BYTES = 1000, 20
"""How many records may be smaller than a message without data: empty ones unpack from nothing, and take time."""


def is_picture(channel: ChannelSchema | None) -> bool:
    """Return whether a channel is written as images."""
    if channel is None or channel.role != "picture":
        return False
    return channel.dtype == "uint8" and len(channel.shape) == 3 and channel.shape[-1] in (1, 3, 4)


def import_files(path: Path, out: Path, progress: Callable[[int], None]) -> ImportReport:
    """Read a folder of MCAP files, or one; see `mcap.import_`."""
    files = sorted(path.glob("*.mcap"))[: MAX_FILES + 1] if path.is_dir() else [path]
    if not files or len(files) > MAX_FILES:
        raise DatasetError(f"{path}: holds {len(files)} files *.mcap, from 1 to {MAX_FILES} are allowed")
    digest = _imported.files_sha256(path if path.is_dir() else path.parent, files)
    first = _read(files[0])
    exported = first.schema
    written = _imported.write_store(out, _own.without_further_loss(exported), _episodes(files, first), progress)
    return ImportReport("mcap", out, written.episodes, written.frames, _own.losses(exported), (), digest)


def _episodes(files: list[Path], first: _Recording) -> Iterator[Episode]:
    yield first.episode()
    for file in files[1:]:
        recording = _read(file)
        if recording.schema.fingerprint() != first.schema.fingerprint():
            raise DatasetError(f"{file}: is of another dataset than {files[0].name}: their {DESCRIPTION} differ")
        yield recording.episode()


class _Bounded:
    """A stream that refuses to read more than there is: the library asks for as much as a record claims to have."""

    def __init__(self, stream: Any, size: int, where: str) -> None:
        self.left, self._stream, self._where = size, stream, where
        self._size, self._records = size, 0

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes; one byte at the end is nothing, by which the library knows the end."""
        if size == 1 and not self.left:
            return b""
        self._records += size == 1  # a record's kind is read alone
        if self._records > MAX_SMALL + (self._size - self.left) // SMALLEST_BYTES:
            raise DatasetError(f"{self._where}: has {self._records} records in {self._size - self.left} bytes")
        if not 0 <= size <= self.left:
            raise DatasetError(f"{self._where}: is damaged: a record claims {size} bytes, {self.left} are left")
        self.left -= size
        return self._stream.read(size)


def _read(path: Path) -> _Recording:
    """Read one file.

    Raises:
        DatasetError: It is damaged, larger than allowed, or was not written by us.
    """
    from mcap.exceptions import McapError

    try:
        with open_regular(path, MAX_FILE_BYTES) as stream:
            recording = _Recording(path)
            for record in _records(stream, path.stat().st_size, path):
                recording.add(record)
            return recording
    except (McapError, ValueError, struct.error, OverflowError, OSError, EOFError) as problem:
        raise DatasetError(f"{path}: is no MCAP file, or is damaged: {problem}") from problem


def _records(stream: Any, size: int, path: Path) -> Iterator[Any]:
    """Yield the records of a file, those in its chunks among them."""
    from mcap.exceptions import EndOfFile
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader

    total = 0
    bounded: Any = _Bounded(stream, size, str(path))
    for record in StreamReader(bounded, emit_chunks=True, record_size_limit=MAX_FILE_BYTES).records:
        if not isinstance(record, Chunk):
            yield record
            continue
        data = _unpacked(record, str(path))
        total += len(data)
        if total > 2 * MAX_EPISODE_BYTES:
            raise DatasetError(f"{path}: unpacks to more than the {2 * MAX_EPISODE_BYTES} bytes allowed")
        inner: Any = _Bounded(io.BytesIO(data), len(data), str(path))
        try:
            yield from StreamReader(inner, skip_magic=True, emit_chunks=True).records
        except EndOfFile:
            if inner.left:
                raise


def _unpacked(chunk: Any, where: str) -> bytes:
    """Return a chunk's content: as long as it says, no longer than allowed, with its checksum."""
    import lz4.frame
    import zstandard

    size = chunk.uncompressed_size
    if size > MAX_CHUNK_BYTES:
        raise DatasetError(f"{where}: a chunk says that it unpacks to {size} bytes, {MAX_CHUNK_BYTES} are allowed")
    try:
        if chunk.compression == "zstd":
            packed = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK_BYTES).stream_reader(chunk.data)
            data = packed.read(size + 1)
        elif chunk.compression == "lz4":
            data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
        elif chunk.compression:
            raise DatasetError(f"{where}: compression '{chunk.compression[:50]}', allowed are zstd, lz4 and none")
        else:
            data = chunk.data
    except (zstandard.ZstdError, RuntimeError, MemoryError) as problem:
        raise DatasetError(f"{where}: is damaged: a chunk cannot be unpacked: {problem}") from problem
    if len(data) != size or chunk.uncompressed_crc not in (0, zlib.crc32(data)):
        raise DatasetError(f"{where}: is damaged: a chunk's length or checksum does not match")
    return data


class _Recording:
    """What one file holds, collected record by record."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema: DatasetSchema | None = None
        self._metadata: EpisodeMetadata | None = None
        self._messages = 0
        self._topics: dict[int, str] = {}
        self._data: dict[str, bytearray] = {}
        self._times: dict[str, array[int]] = {}
        self._lengths: dict[str, int] = {}

    @property
    def schema(self) -> DatasetSchema:
        """The `dataset.json` attached to the file."""
        if self._schema is None or self._metadata is None:
            raise DatasetError(
                f"{self._path}: was not written by training-ground: lacks record '{EPISODE_RECORD}' or {DESCRIPTION}"
            )
        return self._schema

    def add(self, record: Any) -> None:
        """Take what matters; our files have metadata and description before the first message."""
        from mcap.records import Attachment, Channel, Message, Metadata

        if isinstance(record, Message):
            topic = self._topics.get(record.channel_id)
            if topic is None:
                raise DatasetError(f"{self._path}: is damaged: a message of channel {record.channel_id}, not declared")
            self._messages += 1
            if self._metadata is None or self._messages > (self._metadata.length + 1) * len(self._topics):
                raise DatasetError(f"{self._path}: has {self._messages} messages, more than its steps and topics")
            if topic in self._data:
                self._take(topic, record)
        elif isinstance(record, Channel):
            self._declare(record)
        elif isinstance(record, Metadata) and record.name == EPISODE_RECORD:
            self._metadata = _own.read_metadata(record.metadata.get("json", ""), f"{self._path}: metadata")
        elif isinstance(record, Attachment) and record.name == DESCRIPTION:
            where = f"{self._path}: {DESCRIPTION}"
            if len(record.data) > MAX_DESCRIPTION_BYTES:
                raise DatasetError(f"{where}: has {len(record.data)} bytes, {MAX_DESCRIPTION_BYTES} are allowed")
            self._schema = _own.read_schema(record.data, where)

    def _declare(self, record: Any) -> None:
        if self._topics.get(record.id, record.topic) != record.topic:
            raise DatasetError(f"{self._path}: channel {record.id} is declared twice, with other topics")
        if record.id not in self._topics and record.topic in self._topics.values():
            raise DatasetError(f"{self._path}: topic '{record.topic[:100]}' has two channels")
        self._topics[record.id] = record.topic
        column = self.schema.columns().get(record.topic.removeprefix("/"))
        if column is not None and record.topic[:1] == "/" and column.name not in (TIMESTAMP, IS_LAST):
            channel = self._channel(column.name)
            self._data.setdefault(record.topic, bytearray())
            self._times.setdefault(record.topic, array("Q"))
            if column.name != PHASE and not is_picture(channel):
                self._lengths[record.topic] = len(self._layout(column).template)

    def _take(self, topic: str, record: Any) -> None:
        data = record.data
        if topic == f"/{PHASE}" or topic not in self._lengths:
            data = self._bytes_of(topic, data)
        elif len(data) != self._lengths[topic]:
            raise DatasetError(
                f"{self._path}: topic '{topic}': a message has {len(data)} bytes, {self._lengths[topic]} are expected"
            )
        self._data[topic] += data
        self._times[topic].append(record.log_time)

    def _bytes_of(self, topic: str, data: bytes) -> bytes:
        """Return a picture's pixels, or a phase's name with its length before it."""
        phase, where = topic == f"/{PHASE}", f"{self._path}: topic '{topic}'"
        found = b""
        for number, kind, part in wire.fields(memoryview(data), where):
            if number == (1 if phase else 6) and kind == wire.BYTES and isinstance(part, memoryview):
                found = bytes(part)
        column = self.schema.columns()[topic.removeprefix("/")]
        if len(found) > MAX_TEXT if phase else len(found) != column.row_bytes:
            raise DatasetError(f"{where}: a message holds {len(found)} bytes, not those of its channel")
        return struct.pack("<H", len(found)) + found if phase else found

    def _channel(self, name: str) -> ChannelSchema | None:
        return next((channel for channel in self.schema.channels if channel.name == name), None)

    def _layout(self, column: Column) -> messages.Layout:
        channel = self._channel(column.name)
        return messages.layout(column, channel.components if channel else ())

    def episode(self) -> Episode:
        """Return the episode, with the bits that it was exported with.

        Raises:
            DatasetError: A topic is missing or has too few messages, times differ, or the content hash does not match.
        """
        schema, metadata = self.schema, self._metadata
        assert metadata is not None
        rows, columns = metadata.length + 1, dict[str, NDArray[Any]]()
        wanted = [c for c in schema.columns().values() if c.name not in (TIMESTAMP, IS_LAST)]
        absent = [c.name for c in wanted if f"/{c.name}" not in self._data]
        reference = next((self._times[f"/{c.name}"] for c in wanted if c.name not in (ACTION, PHASE)), array("Q"))
        if absent or len(reference) != rows:
            raise DatasetError(f"{self._path}: has {len(reference)} rows of {rows}; topics missing: {absent or 'none'}")
        times = np.array(reference, np.uint64)
        for column in wanted:
            columns[column.name] = self._column(column, times)
        columns[TIMESTAMP] = (times - np.uint64(metadata.started_ns)).view(np.int64)
        columns[IS_LAST] = np.arange(rows) == rows - 1
        return _own.episode(metadata, columns, schema, str(self._path))

    def _column(self, column: Column, times: NDArray[np.uint64]) -> NDArray[Any]:
        topic, where = f"/{column.name}", f"{self._path}: topic '/{column.name}'"
        data, own = self._data[topic], np.array(self._times[topic], np.uint64)
        if column.name == PHASE:
            return self._phases(data, own, times, where)
        short = column.name == ACTION and len(own) == len(times) - 1
        if not np.array_equal(own, times[:-1] if short else times):
            raise DatasetError(f"{where}: its times are not those of the other topics")
        raw = np.frombuffer(data, np.uint8).reshape(len(own), -1)
        if topic not in self._lengths:
            return raw.reshape(len(own), *column.shape).copy()
        values = self._layout(column).values(raw, where)
        return np.concatenate([values, np.zeros_like(values, shape=(1, *column.shape))]) if short else values

    def _phases(self, data: bytearray, own: NDArray[np.uint64], times: NDArray[np.uint64], where: str) -> NDArray[Any]:
        begins = np.searchsorted(times, own)
        if not len(own) or begins[0] != 0 or np.any(np.diff(begins) <= 0) or begins[-1] >= len(times):
            raise DatasetError(f"{where}: its times are not those of the other topics")
        names, at = [], 0
        for _ in own:
            (length,) = struct.unpack_from("<H", data, at)
            names.append(data[at + 2 : at + 2 + length].decode())
            at += 2 + length
        runs = np.diff(begins, append=len(times))
        return np.repeat(np.array(names, dtype=object), runs)

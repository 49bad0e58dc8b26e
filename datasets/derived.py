"""Tables derived from a folder of immutable files, kept as Parquet parts in `index/`: no file is read twice.

A row carries the size, inode and time of change of the file that it was read from, and counts only while those are the
same: a file that was replaced is read again, one that is gone takes its rows with it, and an index that came with
somebody else's dataset says nothing, for its files are others here. Parts may be damaged, missing or there twice;
all that this costs is time. Parts of like size are merged, so that there are about log2(files) of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import is_folder, read_regular, remove_leftovers, write_new

INDEX = "index"
VERSION = b"1"
"""Version of the parts; those of another version are made again."""
WORTH_KEEPING = 64
"""Rows below which a part is not written: reading the files again is as quick."""
BATCH_ROWS = 20_000
BATCH_SECONDS = 15.0
"""What a kill may cost while many files are read for the first time."""
MAX_PART_BYTES = 512 << 20
MAX_PART_ROWS = 5_000_000
_LIMITS: Any = {"thrift_string_size_limit": 1 << 20, "thrift_container_size_limit": 1_000_000}
_VERSION_KEY, _ABOUT_KEY = b"training_ground.index", b"training_ground.about"
_STAMP = [("file", pa.int64()), ("size", pa.int64()), ("inode", pa.int64()), ("changed_ns", pa.int64())]
PROBLEM = "problem"

Progress = Callable[[int, int], None]
"""Called with the files read so far and those that there are to read."""


@dataclass(frozen=True)
class Source:
    """A folder of files and how rows are made of one.

    Attributes:
        name: Of the parts.
        folder: The files' folder; need not exist.
        prefix, suffix: Around the number in a file's name, which has six digits or more.
        columns: Of the table, besides those that say which file a row is from, and `problem`.
        read: Returns the rows of a file; after a DatasetError the table has one row with nothing but `problem`.
        about: Whatever else the rows depend on; parts about something else are made again.
    """

    name: str
    folder: Path
    prefix: str
    suffix: str
    columns: pa.Schema
    read: Callable[[Path], list[dict[str, Any]]]
    about: str

    def schema(self) -> pa.Schema:
        """Return the columns of the table that `refresh` returns."""
        fields = [pa.field(name, kind) for name, kind in _STAMP]
        return pa.schema([*fields, *self.columns, pa.field(PROBLEM, pa.string())])

    def marks(self) -> dict[bytes, bytes]:
        """Return what a part says of itself; one that says something else is not one."""
        return {_VERSION_KEY: VERSION, _ABOUT_KEY: self.about.encode()}

    def stored(self) -> pa.Schema:
        """Return the columns as a part is read: no text is unpacked before it is known that its row counts."""
        kinds = [pa.dictionary(pa.int32(), pa.string()) if f.type == pa.string() else f.type for f in self.schema()]
        return pa.schema([field.with_type(kind) for field, kind in zip(self.schema(), kinds, strict=True)])

    def path(self, number: int) -> Path:
        """Return the path of the file of a number."""
        return self.folder / f"{self.prefix}{number:06d}{self.suffix}"


def refresh(store: Path, source: Source, progress: Progress | None = None) -> pa.Table:
    """Return the rows of all files that are there now, by file number; only files that are new are read.

    What was read is kept where the store can be written to, also when this is interrupted.

    Args:
        store: The store's folder.
        source: Files and how to read them.
        progress: Called after each file that is read.

    Raises:
        DatasetError: The files' folder cannot be listed, or a link stands in place of a folder.
    """
    with _kept(store) as index:
        files = _listing(source)
        parts = _Parts(index, source, files)
        missing = np.flatnonzero(~parts.found)
        rows: list[dict[str, Any]] = []
        faulty: list[dict[str, Any]] = []  # not kept: what is wrong with a file may be over next time
        begun = time.monotonic()
        for done, at in enumerate(missing.tolist(), start=1):
            try:
                rows += _rows(source, files[:, at])
            except DatasetError as problem:
                faulty += _fault(source, files[:, at], problem)
            if len(rows) >= BATCH_ROWS or time.monotonic() - begun > BATCH_SECONDS:
                parts.add(rows)
                rows, begun = [], time.monotonic()
            if progress is not None:
                progress(done, len(missing))
        parts.add(rows)
        parts.merge()
    unread = pa.Table.from_pylist(faulty, schema=source.schema())
    table = pa.concat_tables([unread, *(table for _, table in parts.kept)])
    numbers = _numpy(table, "file")
    if np.all(numbers[1:] >= numbers[:-1]):
        return table
    return table.take(pa.array(np.argsort(numbers, kind="stable")))


class _Parts:
    """The parts on the disk and in memory: each a path (None in memory only) and its rows that count.

    `found` says of each file of the listing whether a part has it.
    """

    def __init__(self, index: Path, source: Source, files: NDArray[np.int64]) -> None:
        self.kept: list[tuple[Path | None, pa.Table]] = []
        self.found = np.zeros(files.shape[1], bool)
        self._index, self._source = index, source
        for path in sorted(_part_paths(index, source)):
            table = _read_part(path, source)
            if table is not None:
                table = self._live(table, files)
            if table is None or not len(table):
                _unlink(path)
            else:
                self.kept.append((path, table.cast(source.schema())))

    def _live(self, table: pa.Table, files: NDArray[np.int64]) -> pa.Table:
        """Return the rows whose file is there as it was, and in no part before."""
        if not files.shape[1]:
            return table.slice(0, 0)
        stamps = np.stack([_numpy(table, name) for name, _ in _STAMP])
        at = np.minimum(np.searchsorted(files[0], stamps[0]), files.shape[1] - 1)
        live = (files[:, at] == stamps).all(axis=0) & ~self.found[at]
        self.found[at[live]] = True
        return table if live.all() else table.filter(pa.array(live))

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add rows of files that no part has."""
        if rows:
            table = pa.Table.from_pylist(rows, schema=self._source.schema())
            self.kept.append((self._write(table) if len(rows) >= WORTH_KEEPING else None, table))

    def merge(self) -> None:
        """Merge parts until each is larger than all smaller ones together."""
        parts = sorted(self.kept, key=lambda part: len(part[1]))
        merged, rows = 0, 0
        for position, (_, table) in enumerate(parts):
            if position and len(table) < 2 * rows:
                merged = position + 1
            rows += len(table)
        together = sum(len(table) for _, table in parts[:merged])
        if merged < 2 or not WORTH_KEEPING <= together <= MAX_PART_ROWS:
            return
        table = pa.concat_tables([table for _, table in parts[:merged]]).unify_dictionaries()
        path = self._write(table)
        if path is not None:
            for old, _ in parts[:merged]:
                if old is not None:
                    _unlink(old)
            self.kept = [(path, table), *parts[merged:]]

    def _write(self, table: pa.Table) -> Path | None:
        """Write a part; None where that is not possible, for then it stays in memory."""
        sink, schema = pa.BufferOutputStream(), self._source.schema()
        with pq.ParquetWriter(sink, schema, compression="zstd", write_statistics=False, store_schema=False) as writer:
            writer.add_key_value_metadata(self._source.marks())
            writer.write_table(table)
        data = sink.getvalue().to_pybytes()
        first = max((int(path.stem.split("_")[1]) for path in _part_paths(self._index, self._source)), default=-1) + 1
        names = (f"{self._source.name}_{number:06d}_{_digest(data)}.parquet" for number in count(first))
        try:
            self._index.mkdir(exist_ok=True)
            return self._index / write_new(self._index, data, lambda: names)
        except (DatasetError, OSError):
            return None


def _rows(source: Source, stamp: NDArray[np.int64]) -> list[dict[str, Any]]:
    marks = dict(zip((name for name, _ in _STAMP), stamp.tolist(), strict=True))
    return [marks | row for row in source.read(source.path(marks["file"]))]


def _fault(source: Source, stamp: NDArray[np.int64], problem: DatasetError) -> list[dict[str, Any]]:
    """Return the row of a file that cannot be read; none where it is gone by now."""
    marks = dict(zip((name for name, _ in _STAMP), stamp.tolist(), strict=True))
    path = source.path(marks["file"])
    return [marks | {PROBLEM: str(problem)[:1000]}] if path.exists() or path.is_symlink() else []


def _listing(source: Source) -> NDArray[np.int64]:
    """Return (4, files): number, size, inode and time of change of each, by number."""
    folder, prefix, suffix = source.folder, source.prefix, source.suffix
    if not is_folder(folder):
        return np.zeros((4, 0), np.int64)
    found: list[int] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                digits = name[len(prefix) : -len(suffix)]
                if not (name.startswith(prefix) and name.endswith(suffix) and 6 <= len(digits) <= 12):
                    continue
                if not (digits.isascii() and digits.isdecimal()) or (len(digits) > 6 and digits[0] == "0"):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found += (int(digits), status.st_size, status.st_ino & (2**63 - 1), status.st_mtime_ns)
    except OSError as problem:
        raise DatasetError(f"{folder}: cannot be read: {problem.strerror or problem}") from problem
    files = np.array(found, np.int64).reshape(-1, 4).T
    return files[:, np.argsort(files[0])]


@contextlib.contextmanager
def _kept(store: Path) -> Iterator[Path]:
    """Give the folder of the parts, locked against other processes as far as it is there and can be written to."""
    index = store / INDEX
    is_folder(index)
    descriptor = -1
    try:
        # Not the folder's own lock: `write_new` takes that one where there are no hard links. Without the lock (a
        # store that cannot be written to, an index that is not there yet) work may be done twice, and nothing worse.
        with contextlib.suppress(OSError):
            descriptor = os.open(index / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            remove_leftovers(index)
        yield index
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _part_paths(index: Path, source: Source) -> list[Path]:
    name = re.compile(re.escape(source.name) + r"_[0-9]{6,18}_[0-9a-f]{16}\.parquet")
    return [path for path in index.glob(f"{source.name}_*.parquet") if name.fullmatch(path.name)]


def _read_part(path: Path, source: Source) -> pa.Table | None:
    """Read a part; None where it is not one of this version, whatever the reason."""
    stored = source.stored()
    names = [field.name for field in stored if pa.types.is_dictionary(field.type)]
    try:
        data = read_regular(path, MAX_PART_BYTES)
        if _digest(data) != path.stem.split("_")[2]:
            return None
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=names, **_LIMITS) as file:
            said = file.metadata.metadata or {}
            fits = file.schema_arrow.equals(stored) and file.metadata.num_rows <= MAX_PART_ROWS
            fits = fits and all(said.get(key) == value for key, value in source.marks().items())
            table = file.read(use_threads=False) if fits else None
        if table is not None:
            table.validate(full=True)
        return table
    except (pa.ArrowException, DatasetError, OSError, ValueError, OverflowError, KeyError):
        return None


def _digest(data: bytes) -> str:
    """Return what stands in a part's name, so that damage is found before anything is parsed."""
    return hashlib.sha256(data).hexdigest()[:16]


def _numpy(table: pa.Table, name: str) -> NDArray[Any]:
    return table.column(name).fill_null(-1).to_numpy()


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()

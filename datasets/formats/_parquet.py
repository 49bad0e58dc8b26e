"""Parquet files of strangers: types and sizes are compared with what is expected before a page is read."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import open_regular
from training_ground.datasets.formats import _damage

pc: Any = pyarrow.compute  # its functions are made when it is imported: no type checker knows them

MAX_FILE_BYTES = 64 << 30
MAX_FOOTER_BYTES = 64 << 20
MAX_GROUP_BYTES = 8 << 30
"""Most that a row group may say it unpacks to; it is read a few rows at a time."""
_LIMITS: Any = {"thrift_string_size_limit": MAX_FOOTER_BYTES, "thrift_container_size_limit": 1_000_000}
_BATCH_BYTES = 16 << 20
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
damage_named = functools.partial(_damage.damage_named, kind="Parquet", raised=_DAMAGE)


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: numpy dtype name and shape of one row."""

    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, decoded."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Texts:
    """A column of texts, or of bytes where they are the field `inside` of a struct.

    Attributes:
        optional: Whether some may be missing, and are None.
        row_bytes: What one is expected to have, by which rows are read together.
        most: What one may have, bytes.
    """

    inside: str = ""
    optional: bool = False
    row_bytes: int = 1000
    most: int = 4 << 20


Kind = Numbers | Texts


@contextlib.contextmanager
def open_parquet(path: Path, wanted: Mapping[str, Kind], max_bytes: int = MAX_FILE_BYTES) -> Iterator[pq.ParquetFile]:
    """Open a plain Parquet file.

    Args:
        path: The file.
        wanted: Columns that will be read, and what each must hold.
        max_bytes: Most that it may have.

    Raises:
        DatasetError: It is missing, a link, too large, or no Parquet file.
    """
    with open_regular(path, max_bytes) as stream:
        with damage_named(str(path)):
            stream.seek(0, 2)
            size = stream.tell()
            stream.seek(max(0, size - 8))
            tail = stream.read(8)
            if tail[4:] != b"PAR1" or int.from_bytes(tail[:4], "little") > min(size, MAX_FOOTER_BYTES):
                raise ValueError("its footer is not that of a Parquet file")
            stream.seek(0)
            # A text that stands in a million rows is once in the file, and so it is once in memory.
            texts = [f"{n}.{k.inside}" if k.inside else n for n, k in wanted.items() if isinstance(k, Texts)]
            file = pq.ParquetFile(stream, read_dictionary=texts, pre_buffer=False, **_LIMITS)
        yield file


def batches(
    file: pq.ParquetFile, wanted: Mapping[str, Kind], where: str, max_rows: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the rows of a file, some at a time: (rows, *shape) arrays, or arrays of objects, by column.

    Args:
        file: An open file.
        wanted: Columns that are read, and what each must hold.
        where: Its name, for errors.
        max_rows: Most rows that it may have.

    Raises:
        DatasetError: A column is missing, of another type, has nulls, or the file claims to be larger than allowed.
    """
    with damage_named(where):
        _check(file, wanted, where, max_rows)
        width = sum(kind.row_bytes for kind in wanted.values())
        rows = max(1, min(8192, _BATCH_BYTES // max(1, width)))
        for batch in file.iter_batches(batch_size=rows, columns=list(wanted), use_threads=False):
            found = {}
            for name, kind in wanted.items():
                array = batch.column(batch.schema.get_field_index(name))
                found[name] = _values(array, kind, f"{where}: column '{name}'")
            yield found


def read_all(path: Path, wanted: Mapping[str, Kind], max_bytes: int, max_rows: int) -> dict[str, NDArray[Any]]:
    """Read columns of a small file whole.

    Raises:
        DatasetError: As `open_parquet` and `batches`.
    """
    with open_parquet(path, wanted, max_bytes) as file:
        parts = list(batches(file, wanted, str(path), max_rows))
    empty = {n: np.empty((0, *(k.shape if isinstance(k, Numbers) else ())), _dtype(k)) for n, k in wanted.items()}
    return {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in wanted}


def column_names(path: Path, max_bytes: int) -> list[str]:
    """Return the names of a file's columns.

    Raises:
        DatasetError: As `open_parquet`.
    """
    with open_parquet(path, {}, max_bytes) as file, damage_named(str(path)):
        return list(file.schema_arrow.names)


def _dtype(kind: Kind) -> Any:
    return np.dtype(kind.dtype) if isinstance(kind, Numbers) else object


def _check(file: pq.ParquetFile, wanted: Mapping[str, Kind], where: str, max_rows: int) -> None:
    """Compare a file's own figures with what is allowed."""
    found, rows = file.schema_arrow, file.metadata.num_rows
    missing = [name for name in wanted if found.get_field_index(name) < 0]
    if missing:
        raise DatasetError(f"{where}: has no column '{missing[0]}', or has it twice")
    if not 0 <= rows <= max_rows:
        raise DatasetError(f"{where}: has {rows} rows, at most {max_rows} are allowed")
    for group in range(file.metadata.num_row_groups):
        # Of single columns nothing is asked: pyarrow ends the process where their metadata contradict each other.
        claimed = file.metadata.row_group(group).total_byte_size
        if not 0 <= claimed <= MAX_GROUP_BYTES:
            raise DatasetError(f"{where}: says that it unpacks to {claimed} bytes, {MAX_GROUP_BYTES} are allowed")


def _values(array: Any, kind: Kind, where: str) -> NDArray[Any]:
    rows = len(array)
    if isinstance(kind, Texts):
        return _texts(array.field(kind.inside) if kind.inside else array, kind, where)
    for length in kind.shape:
        if array.null_count:
            raise DatasetError(f"{where}: has values missing")
        array = _inner(array, length, where)
    if array.null_count or len(array) != rows * math.prod(kind.shape):
        raise DatasetError(f"{where}: has values missing, or samples that are not {kind.shape}")
    values = array.to_numpy(zero_copy_only=False)
    if values.dtype.name != kind.dtype:
        raise DatasetError(f"{where}: holds {str(array.type)[:100]}, must be {kind.dtype}")
    return values.reshape(rows, *kind.shape)


def _inner(array: Any, length: int, where: str) -> Any:
    """Return what stands in lists that must all be of one length."""
    if pa.types.is_fixed_size_list(array.type):
        lengths = {array.type.list_size} if len(array) else {length}
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = set(np.diff(array.offsets.to_numpy()).tolist()) if len(array) else {length}
    else:
        raise DatasetError(f"{where}: is {str(array.type)[:100]}, must be lists of {length}")
    if lengths != {length}:
        raise DatasetError(f"{where}: has lists of {sorted(lengths)[:3]}, must be of {length}")
    return array.flatten()


def _texts(array: Any, kind: Texts, where: str) -> NDArray[Any]:
    result = np.full(len(array), None, object)
    if array.null_count and not kind.optional:
        raise DatasetError(f"{where}: has values missing")
    if pa.types.is_null(array.type):
        return result
    of = array.type.value_type if pa.types.is_dictionary(array.type) else None
    plain = (pa.binary(), pa.large_binary()) if kind.inside else (pa.string(), pa.large_string())
    if of not in plain:
        raise DatasetError(f"{where}: is {str(array.type)[:100]}, must be {'bytes' if kind.inside else 'texts'}")
    longest = pc.max(pc.binary_length(array.dictionary)).as_py() or 0
    if longest > kind.most:
        raise DatasetError(f"{where}: has a value of {longest} bytes, {kind.most} are allowed")
    values, numbers = array.dictionary.to_pylist(), array.indices.to_pylist()
    for row, number in enumerate(numbers):
        if number is not None:
            result[row] = values[number]
    return result

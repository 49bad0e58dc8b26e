"""Some columns of a Parquet file that lies elsewhere, by fetching its end and the parts that hold them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_FOOTER_BYTES

FIRST_TAIL_BYTES = 64 << 10
"""What is fetched of the end of a file before it is known how long its footer is."""
GAP_BYTES = 64 << 10
"""Two parts with less between them are fetched as one: a request costs more than these bytes."""

Fetch = Callable[[int, int], bytes]
_LIMITS: Any = {"thrift_string_size_limit": MAX_FOOTER_BYTES, "thrift_container_size_limit": 1_000_000}


class Pieces(io.RawIOBase):
    """A file of which some parts are in memory, and nothing else can be read."""

    def __init__(self, size: int) -> None:
        self.size, self._at = size, 0
        self._pieces: list[tuple[int, bytes]] = []

    def add(self, start: int, data: bytes) -> None:
        """Take a part."""
        self._pieces.append((start, data))

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether one may jump in it."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return bytes of one part.

        Arrow begins with the last 64 KiB, of which it looks at the footer alone: what was not fetched is zeros there.

        Raises:
            OSError: They are in none.
        """
        end = self.size if size < 0 else min(self.size, self._at + size)
        if end == self.size and self._pieces and self._at < self._pieces[0][0]:
            start, data = self._pieces[0]
            found = bytes(start - self._at) + data
            self._at = end
            return found
        for start, data in self._pieces:
            if start <= self._at and end <= start + len(data):
                found = data[self._at - start : end - start]
                self._at = end
                return found
        raise OSError(f"bytes {self._at} to {end} lie in no part that was asked for")


def pieces_of(
    size: int, fetch: Fetch, names: Collection[str], where: str, tail: int = FIRST_TAIL_BYTES
) -> tuple[Pieces, int]:
    """Fetch what it takes to read some columns; also return the length of the footer, as the next file's `tail`.

    Args:
        size: Of the file, bytes.
        fetch: Returns the bytes from a start to before an end.
        names: Columns, by exact name.
        where: Named first in an error.
        tail: Bytes at the end that are fetched first; a smaller file is fetched whole.

    Raises:
        DatasetError: It is no Parquet file, or its footer points outside of it.
    """
    pieces = Pieces(size)
    begin = max(0, size - max(tail, 12))
    data = fetch(begin, size)
    if len(data) < 12 or data[-4:] != b"PAR1":
        raise DatasetError(f"{where}: is damaged: it does not end as a Parquet file does (cut short?)")
    (footer,) = struct.unpack("<I", data[-8:-4])
    if footer > min(MAX_FOOTER_BYTES, size - 12):
        raise DatasetError(f"{where}: is damaged: its footer says that it has {footer} bytes")
    if begin > size - 8 - footer:
        data = fetch(size - 8 - footer, begin) + data
        begin = size - 8 - footer
    pieces.add(begin, data)
    if begin > 0 and names:
        try:
            wanted = _chunks(pieces, frozenset(names), size - 8 - footer)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:
            raise DatasetError(f"{where}: is no episode file: {problem}") from problem
        for start, end in _together([(start, min(end, begin)) for start, end in wanted if start < begin]):
            part = fetch(start, end)
            pieces.add(start, part + data if end == begin else part)
    return pieces, footer + 8


def _chunks(pieces: Pieces, names: frozenset[str], end_of_data: int) -> list[tuple[int, int]]:
    """Return where the values of the columns are."""
    found = []
    with pq.ParquetFile(pieces, **_LIMITS) as file:
        for group in range(file.metadata.num_row_groups):
            described = file.metadata.row_group(group)
            for index in range(described.num_columns):
                column = described.column(index)
                if column.path_in_schema not in names:
                    continue
                start = column.data_page_offset
                if column.has_dictionary_page and column.dictionary_page_offset:
                    start = min(start, column.dictionary_page_offset)
                end = start + column.total_compressed_size
                if not 4 <= start <= end <= end_of_data:
                    raise ValueError(f"column '{column.path_in_schema}' lies outside of the file")
                found.append((start, end))
    return sorted(found)


def _together(parts: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield parts, those near to each other as one."""
    held: tuple[int, int] | None = None
    for start, end in parts:
        if held is not None and start <= held[1] + GAP_BYTES:
            held = held[0], max(held[1], end)
            continue
        if held is not None:
            yield held
        held = start, end
    if held is not None:
        yield held

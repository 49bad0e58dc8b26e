"""Some columns of a Parquet file that lies elsewhere, by fetching its end and the parts that hold them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_FOOTER_BYTES

FIRST_TAIL_BYTES = 64 << 10
"""What is fetched of the end of a file before it is known how long its footer is."""
LEAST_BYTES = 64 << 10
"""What is fetched at least: a request costs more than these bytes."""

Fetch = Callable[[int, int], bytes]


class Pieces(io.RawIOBase):
    """A file of which some parts are in memory; others are fetched when they are read."""

    def __init__(self, size: int, fetch: Fetch) -> None:
        self.size, self._at, self._fetch = size, 0, fetch
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
        """Return bytes.

        Arrow begins with the last 64 KiB, of which it looks at the footer alone: what was not fetched is zeros there.
        Then it reads a column at a time; what follows closely is fetched with it.

        Raises:
            OSError: There are none.
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
        start, tail = self._at, self._pieces[0]
        last = max(min(end, tail[0]), min(start + LEAST_BYTES, tail[0]))
        if not 4 <= start < end:
            raise OSError(f"bytes {start} to {end} lie outside of the file's data")
        data = self._fetch(start, last)
        self.add(start, data + tail[1] if last == tail[0] else data)
        self._at = end
        return self._pieces[-1][1][: end - start]


def pieces_of(size: int, fetch: Fetch, where: str, tail: int = FIRST_TAIL_BYTES) -> tuple[Pieces, int]:
    """Fetch the end of a file, and return it as one of which more can be read; and its footer's length, as the next
    file's `tail`.

    Where its columns are is not worked out here: pyarrow ends the process where their metadata contradict each other.

    Args:
        size: Of the file, bytes.
        fetch: Returns the bytes from a start to before an end.
        where: Named first in an error.
        tail: Bytes at the end that are fetched first; a smaller file is fetched whole.

    Raises:
        DatasetError: It is no Parquet file.
    """
    pieces = Pieces(size, fetch)
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
    return pieces, footer + 8

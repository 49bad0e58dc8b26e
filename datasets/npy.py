"""Plain `.npy` files that are mapped into memory: a header that is compared and never parsed, then the rows.

What a file must begin with follows from the type and shape that its reader expects, so that there is nothing to
interpret: a header that differs in one byte is refused, and a file of another size as well, before it is mapped.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import open_regular

_ALIGN = 64
_PIECE = 16 << 20
"""Bytes that are written and hashed at a time."""


def header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the beginning of a version 1.0 `.npy` file, a multiple of 64 bytes long, as numpy writes it."""
    kind = np.dtype(dtype).newbyteorder("<").str
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    length = -(-(10 + len(text) + 1) // _ALIGN) * _ALIGN - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + (text.ljust(length - 1) + "\n").encode("ascii")


def map_array(path: Path, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a file into memory, read-only; it stays mapped as long as the array lives, also if the file is removed.

    Raises:
        DatasetError: It is missing, a link, no plain file, or not of exactly this type and shape.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    begin = header(dtype, shape)
    size = len(begin) + kind.itemsize * math.prod(shape)
    with open_regular(path, size) as stream:
        found = stream.read(len(begin))
        actual = os.fstat(stream.fileno()).st_size
        if found != begin or actual != size:
            wanted = f"an array of {dtype} {shape} in {size} bytes"
            raise DatasetError(f"{path}: has {actual} bytes, or another header; must be {wanted}")
        try:
            mapped = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as problem:
            raise DatasetError(f"{path}: cannot be mapped into memory: {problem}") from problem
    return np.frombuffer(mapped, kind, offset=len(begin)).reshape(shape)


class Writer:
    """Writes one `.npy` file of a known length, piece by piece, and takes its sha256 on the way.

    The file is opened anew for each piece: a store may have more columns than a process may have files.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        self.path = path
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._digest = hashlib.sha256()
        self._missing = self._dtype.itemsize * math.prod(shape)
        self._write([memoryview(header(dtype, shape))])

    def add(self, parts: Iterable[NDArray[Any]]) -> None:
        """Append rows."""
        views = [np.ascontiguousarray(part, self._dtype).reshape(-1).view(np.uint8).data for part in parts]
        self._missing -= sum(view.nbytes for view in views)
        self._write(views)

    def finish(self) -> str:
        """Return the sha256 of the file.

        Raises:
            DatasetError: There are more or fewer rows than the header says.
        """
        if self._missing:
            raise DatasetError(f"{self.path}: {-self._missing:+d} bytes against what its header says")
        return self._digest.hexdigest()

    def _write(self, views: Iterable[memoryview]) -> None:
        with self.path.open("ab") as stream:
            for view in views:
                for at in range(0, view.nbytes, _PIECE):
                    piece = view[at : at + _PIECE]
                    stream.write(piece)
                    self._digest.update(piece)

"""HDF5 files written so that a disk that is full is an error, and rows of a video one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training_ground.datasets.frames import Frames


class _Sink:
    """A file that never fails, as HDF5 sees it, and remembers what went wrong.

    HDF5 ends the process with a segmentation fault where a write fails while a file is closed.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._problem: OSError | None = None

    def check(self) -> None:
        """Raise what went wrong, if something did."""
        if self._problem is not None:
            raise self._problem

    def write(self, data: Any) -> int:
        return self._do(self._file.write, data, otherwise=len(data))

    def read(self, size: int) -> bytes:
        return self._do(self._file.read, size, otherwise=bytes(size))

    def readinto(self, buffer: Any) -> int:
        return self._do(self._file.readinto, buffer, otherwise=len(buffer))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._do(self._file.seek, offset, whence, otherwise=offset)

    def tell(self) -> int:
        return self._do(self._file.tell, otherwise=0)

    def truncate(self, size: int | None = None) -> int:
        return self._do(self._file.truncate, size, otherwise=size or 0)

    def flush(self) -> None:
        self._do(self._file.flush, otherwise=None)

    def close(self) -> None:
        self._do(self._file.close, otherwise=None)

    def _do(self, call: Callable[..., Any], *arguments: Any, otherwise: Any) -> Any:
        if self._problem is not None and call != self._file.close:
            return otherwise
        try:
            return call(*arguments)
        except OSError as problem:
            self._problem = self._problem or problem
            return otherwise


@contextlib.contextmanager
def new_hdf5(path: Path) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Give a new HDF5 file, and a function that raises what went wrong so far; so does the end.

    Raises:
        OSError: It cannot be written.
    """
    import h5py

    sink = _Sink(path)
    try:
        with h5py.File(sink, "w") as file:
            yield file, sink.check
    finally:
        sink.close()
    sink.check()


def write_rows(group: Any, name: str, values: Any, first: int = 0, last: int | None = None) -> None:
    """Write rows of a column as a dataset of an HDF5 group; of a video one frame is in memory at a time.

    Args:
        group: Where.
        name: Of the dataset.
        values: (rows, *shape) numbers, or `Frames`.
        first, last: Which rows; `last` is not one of them.
    """
    rows = range(len(values))[first:last]
    if not isinstance(values, Frames):
        group[name] = values[rows.start : rows.stop]
        return
    dataset = group.create_dataset(name, (len(rows), *values.shape[1:]), values.dtype)
    for place, row in enumerate(rows):
        dataset[place] = values[row]

"""Frames of a stored video, as an array that decodes what is asked for; the file comes from a stranger."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import open_regular
from training_ground.datasets.schema import Column
from training_ground.datasets.video import encoding, frame_times, from_plane, plane_format
from training_ground.datasets.video_schema import Media, VideoStorage

MAX_DECODED_BYTES = 4 << 30
"""Most that one request may decode to."""
_BLOCK = 1 << 20


class Frames:
    """The samples of a channel that is a video, (rows, *shape): `frames[7]`, `frames[3:9]`, `for frame in frames`.

    Nothing is read before a sample is asked for. Then the file's size and sha256 are compared with the episode's, and
    only after that is it parsed. A single frame and its neighbours are kept open, never the video.

    Args:
        path: The file.
        media: What the episode says of it.
        column: The channel's name, dtype and shape.
        storage: How it was encoded.
        numbers: (rows,) int32 number of the frame that each row shows.
        rate: Rows a second.
        keep: Something that must live as long as the file is needed.

    Raises:
        DatasetError: `numbers` do not fit `media`. Every access raises it as well: the file is missing, damaged, or
            holds something else.
    """

    def __init__(
        self,
        path: Path,
        media: Media,
        column: Column,
        storage: VideoStorage,
        numbers: NDArray[np.int32],
        rate: float,
        keep: Any = None,
    ) -> None:
        self.path, self.media, self.column, self.storage, self.rate = path, media, column, storage, rate
        self.numbers = numbers
        self.keep: Any = keep
        steps = np.diff(numbers)
        rising = bool(((steps == 0) | (steps == 1)).all())
        if not len(numbers) or numbers[0] != 0 or not rising or numbers[-1] != media.frames - 1:
            raise DatasetError(
                f"channel '{column.name}': frame numbers must begin with 0, rise by 0 or 1 from row to row and "
                f"end with {media.frames - 1}, the last frame"
            )
        self.dtype = np.dtype(column.dtype)
        self.shape = (len(numbers), *column.shape)
        self.ndim = len(self.shape)
        self._times = frame_times(numbers, rate)
        self._reader: _Reader | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, decoded."""
        return len(self) * self.column.row_bytes

    @property
    def size(self) -> int:
        """Numbers in all rows."""
        return self.nbytes // self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return what an array would, of rows that are decoded frame by frame, as an array of its own."""
        if isinstance(key, tuple) or key is None or key is Ellipsis or np.ndim(key) > 1:
            return self._inside(key if isinstance(key, tuple) else (key,))
        if _is_row(key):
            return self.frame(int(self.numbers[key])).copy()
        chosen = self.numbers[key]
        size = len(chosen) * self.column.row_bytes
        if size > MAX_DECODED_BYTES:
            raise DatasetError(
                f"{self.path}: {len(chosen)} rows of '{self.column.name}' are {size} bytes decoded, more than the "
                f"{MAX_DECODED_BYTES} allowed at once: take them in parts"
            )
        result = np.empty((len(chosen), *self.column.shape), self.dtype)
        for place in np.argsort(chosen, kind="stable"):
            result[place] = self.frame(int(chosen[place]))
        return result

    def _inside(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Return what is asked for by more than rows; rows that are not are left alone."""
        first, *rest = key or (Ellipsis,)
        if first is None or first is Ellipsis:
            return self[:][key]
        if isinstance(first, slice):
            return self[first][(slice(None), *rest)]
        rows = np.arange(len(self))[first]
        return self[rows.reshape(-1)][(np.arange(rows.size).reshape(rows.shape), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        values = self[:]
        return values if dtype is None else values.astype(dtype)

    def reshape(self, *shape: Any) -> NDArray[Any]:
        """Return all rows, decoded, in another shape."""
        return self[:].reshape(*shape)

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame by its number; forwards is fast, a jump decodes from the last frame that stands alone."""
        if self._reader is None or self._reader.process != os.getpid():
            self._reader = _Reader(self)
        try:
            with _explained(self.path):
                return self._reader.frame(number, self._times)
        except DatasetError:
            self.close()  # where it stands now, nobody knows
            raise

    def check(self) -> None:
        """Decode everything and compare it with the hash, where nothing may be lost.

        Raises:
            DatasetError: A frame is missing, damaged or not what was recorded.
        """
        digest = hashlib.sha256()
        self.close()
        for number in range(self.media.frames):
            self.frame(number)
            assert self._reader is not None
            digest.update(self._reader.plane.data)
        if self.media.decoded_sha256 not in (None, digest.hexdigest()):
            raise DatasetError(f"{self.path}: its frames are not those that were recorded")
        self.close()

    def close(self) -> None:
        """Let go of the file; the next access opens it again."""
        self._reader = None

    def move(self, path: Path) -> None:
        """Say that the file has another name now, under which it stays."""
        self.path, self.keep = path, None
        self.close()

    def signature(self) -> bytes:
        """Return what decides the content: frame numbers and the hash of the frames, of the file where it has lost
        something. The same frames in another lossless file are the same content."""
        return _signature(self.numbers, self.media.decoded_sha256 or self.media.sha256)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None, "keep": None}


def signature_of(values: NDArray[Any]) -> bytes:
    """Return the `Frames.signature` that pictures (rows, *shape) have as a video without loss."""
    digest, numbers = hashlib.sha256(), np.zeros(len(values), np.int32)
    before: NDArray[Any] | None = None
    for row, sample in enumerate(values):  # each once and forwards: it may be decoded for us
        new = before is None or not np.array_equal(sample, before)
        numbers[row] = numbers[row - 1] + new if row else 0
        if new:
            digest.update(np.ascontiguousarray(sample).tobytes())
            before = sample.copy()
    return _signature(numbers, digest.hexdigest())


def _signature(numbers: NDArray[Any], sha256: str) -> bytes:
    return np.ascontiguousarray(numbers, "<i4").tobytes() + sha256.encode()


class _Reader:
    """An open file, and the frame that it stands at."""

    def __init__(self, frames: Frames) -> None:
        self._stack = contextlib.ExitStack()
        import av

        self.process = os.getpid()
        self._frames = frames
        self._format = plane_format(frames.column)
        self._at = -1
        self.plane: NDArray[Any] = np.empty(0)
        height, width = frames.column.shape[:2]
        with contextlib.ExitStack() as stack, _explained(frames.path):
            stream = stack.enter_context(_hashed(frames.path, frames.media))
            # No other format is tried, no other file opened, and no picture larger than the schema's allocated.
            only = {"codec_whitelist": frames.storage.codec, "format_whitelist": "matroska,webm"}
            bounded: Any = {"max_pixels": str((height + 64) * (width + 64)), "codec_whitelist": frames.storage.codec}
            self._file: Any = av.open(stream, "r", format="matroska", container_options=only, stream_options=[bounded])
            stack.callback(self._file.close)
            self._check_streams(width, height)
            self._video: Any = self._file.streams.video[0]
            self._video.codec_context.thread_count = 1
            self._video.codec_context.options = bounded
            self._packets = self._file.decode(self._video)
            self._stack = stack.pop_all()

    def __del__(self) -> None:
        self._stack.close()

    def frame(self, number: int, times: NDArray[np.int64]) -> NDArray[Any]:
        interval = self._frames.storage.keyframe_interval
        if number < self._at or number > self._at + max(1, interval):
            self._file.seek(int(times[number]), stream=self._video, backward=True)
            self._packets = self._file.decode(self._video)
            self._at = -2
        while self._at != number:
            self._next(number, times, interval)
        return from_plane(self.plane, self._frames.storage)

    def _next(self, number: int, times: NDArray[np.int64], interval: int) -> None:
        decoded = next(self._packets, None)
        if decoded is None:
            raise DatasetError(f"{self._frames.path}: ends before frame {number} of {len(times)}")
        self._check_frame(decoded)
        place = len(times) if decoded.pts is None else int(np.searchsorted(times, decoded.pts))
        after_jump = self._at == -2
        if place >= len(times) or times[place] != decoded.pts or (not after_jump and place != self._at + 1):
            raise DatasetError(f"{self._frames.path}: a frame stands at {decoded.pts} ms, where none should")
        if place > number or place < number - interval:
            raise DatasetError(f"{self._frames.path}: frame {number} cannot be found")
        self._at = place
        if place == number:
            self.plane = np.ascontiguousarray(decoded.to_ndarray(format=self._format))

    def _check_streams(self, width: int, height: int) -> None:
        streams, path = self._file.streams, self._frames.path
        if len(streams) != 1 or len(streams.video) != 1:
            raise DatasetError(f"{path}: must hold one video and nothing else, has {len(streams)} streams")
        context = streams.video[0].codec_context
        if context is None:
            raise DatasetError(f"{path}: holds a video that nothing here decodes")
        found, wanted = (context.name, context.width, context.height), (self._frames.storage.codec, width, height)
        if found != wanted:
            raise DatasetError(f"{path}: is {found[0]} {found[1]} × {found[2]}, must be {wanted[0]} {width} × {height}")

    def _check_frame(self, frame: Any) -> None:
        height, width = self._frames.column.shape[:2]
        _, pixels, _ = encoding(self._frames.column, self._frames.storage)
        wanted = (width, height, _DECODED.get(pixels, pixels))
        if (frame.width, frame.height, frame.format.name) != wanted:
            found = f"{frame.width} × {frame.height} {frame.format.name}"
            raise DatasetError(f"{self._frames.path}: a frame is {found}, must be {width} × {height} {wanted[2]}")


_DECODED = {"rgb24": "gbrp"}
"""What comes out of a decoder where it is not what went in."""


@contextlib.contextmanager
def _hashed(path: Path, media: Media) -> Iterator[BinaryIO]:
    """Open a media file whose folder is no link, and compare size and sha256 before anybody parses it."""
    folder = path.parent
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise DatasetError(f"{folder}: must be a plain folder")
    with open_regular(path, media.bytes) as stream:
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.sha256()
        while size == media.bytes and (block := stream.read(_BLOCK)):
            digest.update(block)
        if size != media.bytes or digest.hexdigest() != media.sha256:
            raise DatasetError(f"{path}: is damaged: it is not the file that its episode names")
        stream.seek(0)
        yield stream


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError, ValueError, EOFError, MemoryError) as problem:
        raise DatasetError(f"{path}: cannot be decoded: {problem}") from problem


def _is_row(key: Any) -> bool:
    return isinstance(key, (int, np.integer))

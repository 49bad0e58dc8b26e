"""Pictures of a LeRobotDataset of others, one after the other: out of its videos, or out of its Parquet files."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import open_regular

MAX_FILE_BYTES = 64 << 30
CODECS = "av1,libdav1d,libaom-av1,h264,hevc,mpeg4,vp9"
"""Decoders that a stranger may choose from: those that LeRobot's encoders are the counterpart of."""


class VideoFile:
    """An MP4 file of several episodes, of which one picture is in memory at a time.

    Args:
        path: The file.
        shape: (height, width, 3) that its pictures must have.
        fps: Pictures a second.

    Raises:
        DatasetError: It is missing, a link, or no video of this size.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], fps: float) -> None:
        import av

        self.path = path
        self._shape, self._fps = shape, fps
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack, _explained(path):
            stream = stack.enter_context(open_regular(path, MAX_FILE_BYTES))
            # No other format, no other file, no picture larger than declared.
            only = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2", "protocol_whitelist": "none"}
            file = av.open(stream, "r", format="mp4", container_options=only | {"codec_whitelist": CODECS})
            stack.callback(file.close)
            if len(file.streams.video) != 1:
                raise DatasetError(f"{path}: must hold one video, has {len(file.streams.video)}")
            self._file, self._video = file, file.streams.video[0]
            context: Any = self._video.codec_context
            if context is None or not self._video.time_base:
                raise DatasetError(f"{path}: holds a video that nothing here decodes")
            if (context.height, context.width) != shape[:2]:
                raise DatasetError(
                    f"{path}: is {context.width} × {context.height}, info.json says {shape[1]} × {shape[0]}"
                )
            pixels = str((shape[0] + 64) * (shape[1] + 64))
            context.options, context.thread_count = {"max_pixels": pixels, "codec_whitelist": CODECS}, 1
            self._pictures: Iterator[Any] = iter(())
            self._held: Any = None
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Let go of the file."""
        self._stack.close()

    def pictures(self, begins: float, rows: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the pictures of an episode, each the one nearest to its time.

        Args:
            begins: Time of the first, s.
            rows: How many.

        Raises:
            DatasetError: One is not there, or cannot be decoded.
        """
        half = 0.5 / self._fps
        with _explained(self.path):
            if self._held is None or not begins - half <= self._held.time <= begins + half:
                self._file.seek(max(0, int((begins - half) / Fraction(self._video.time_base or 1))), stream=self._video)
                self._pictures, self._held = self._file.decode(self._video), None
            for row in range(rows):
                at = begins + row / self._fps
                while self._held is None or self._held.time < at - half:
                    self._held = self._next(at)
                if self._held.time > at + half:
                    raise DatasetError(f"{self.path}: has no picture at {at:.3f} s")
                yield self._array(self._held)

    def _next(self, at: float) -> Any:
        picture = next(self._pictures, None)
        if picture is None:
            raise DatasetError(f"{self.path}: ends before {at:.3f} s")
        if picture.time is None or (picture.height, picture.width) != self._shape[:2]:
            raise DatasetError(f"{self.path}: a picture is {picture.width} × {picture.height}, or has no time")
        return picture

    def _array(self, picture: Any) -> NDArray[np.uint8]:
        return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))


class Pictures:
    """A column of pictures, (T + 1, height, width, 3) uint8, which are decoded while they are written.

    LeRobot has none of the row after the last step: there the one before stands again.

    Args:
        source: Where they come from.
        begins: Time of the first in a video, s.
        rows: T + 1.
        shape: Of a picture.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, source: VideoFile | Sequence[bytes], begins: float, rows: int, shape: tuple[int, ...]) -> None:
        self._source, self._begins = source, begins
        self.shape = (rows, *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        steps = len(self) - 1
        if isinstance(self._source, VideoFile):
            found = self._source.pictures(self._begins, steps)
        else:
            found = (_opened(raw, self.shape[1:]) for raw in self._source)
        picture = None
        for picture in found:
            yield picture
        if picture is not None:
            yield picture


def _opened(raw: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(raw), formats=("PNG", "JPEG")) as image:
            if (image.height, image.width, image.mode) != (*shape[:2], "RGB"):  # said by its first bytes
                raise ValueError(f"is {image.width} × {image.height} {image.mode}, info.json says {shape}")
            return np.asarray(image, np.uint8)
    except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as problem:
        raise DatasetError(f"a picture cannot be read: {problem}") from problem


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError, ValueError, EOFError, MemoryError, OverflowError) as problem:
        raise DatasetError(f"{path}: cannot be decoded: {problem}") from problem

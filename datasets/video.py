"""Frames to a video file and back: written while they are recorded, decoded one by one when they are asked for.

A row that shows the same picture as the row before adds no frame: a camera of 5 Hz beside joints of 50 Hz is a tenth of
the work. The numbers of the frames, one a row, are what the episode file holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.schema import FRAME_NUMBER, Column
from training_ground.datasets.video_schema import VideoStorage

MILLISECOND = Fraction(1, 1000)
"""Matroska's unit of time."""
MAX_PSNR_DB = 100.0
_BIT_EXACT = {"fflags": "+bitexact"}  # the same frames give the same file: no random identifier, no date


def frame_times(numbers: NDArray[np.int32], rate: float) -> NDArray[np.int64]:
    """Return when each frame is shown first, ms, never two at once.

    Args:
        numbers: (rows,) number of the frame that each row shows.
        rate: Rows a second.
    """
    rows = np.flatnonzero(np.diff(numbers, prepend=-1))
    steps = np.arange(len(rows))
    return np.maximum.accumulate(np.round(1000 * rows / rate).astype(np.int64) - steps) + steps


def to_plane(sample: NDArray[Any], storage: VideoStorage) -> NDArray[Any]:
    """Return what is encoded for a sample: itself, or depth in steps, (H, W) uint16.

    Raises:
        DatasetError: A depth is negative, not finite, or too large for 16 bits.
    """
    if storage.depth_step is None:
        return np.ascontiguousarray(sample)
    steps = np.rint(sample.astype(np.float64) / storage.depth_step)
    if not (np.isfinite(steps).all() and steps.min() >= 0 and steps.max() <= 65535):
        most = 65535 * storage.depth_step
        raise DatasetError(f"a depth is not finite or not between 0 and {most:.6g} m, 65535 depth_step")
    return steps.astype(np.uint16)


def from_plane(plane: NDArray[Any], storage: VideoStorage) -> NDArray[Any]:
    """Return the sample of a decoded plane."""
    return plane if storage.depth_step is None else (plane * storage.depth_step).astype(np.float32)


def plane_format(column: Column) -> str:
    """Return FFmpeg's name of the arrays that go in and come out."""
    if len(column.shape) == 3:
        return "rgb24"
    return "gray" if column.dtype == "uint8" else "gray16le"


def encoding(column: Column, storage: VideoStorage) -> tuple[str, str, dict[str, str]]:
    """Return encoder, pixel format of the stream and the encoder's options."""
    inside = plane_format(column)
    if storage.codec == "ffv1":
        return "ffv1", "bgr0" if inside == "rgb24" else inside, {"level": "3", "slicecrc": "1"}
    fixed = {"tune": "zerolatency", "sc_threshold": "0", "keyint_min": str(storage.keyframe_interval)}
    if storage.quality is None:
        return "libx264rgb", "rgb24", {**fixed, "preset": "ultrafast", "qp": "0"}
    return "libx264", "yuv420p", {**fixed, "preset": "veryfast", "crf": str(storage.quality)}


class VideoWriter:
    """Encodes the rows of a channel to a file, as they come.

    Args:
        path: An existing file that is written over.
        column: The channel's name, dtype and shape.
        storage: How.
        rate: Rows a second.

    Raises:
        DatasetError: It cannot be written.
    """

    def __init__(self, path: Path, column: Column, storage: VideoStorage, rate: float) -> None:
        import av
        from av.codec.context import Flags

        self._column, self._storage, self._rate = column, storage, rate
        self._format = plane_format(column)
        self._last: NDArray[Any] | None = None
        self._numbers: list[int] = []
        self._frames, self._time = 0, -1
        self._digest = hashlib.sha256()
        encoder, pixels, options = encoding(column, storage)
        with self._explained():
            self._file = av.open(str(path), "w", format="matroska", container_options=_BIT_EXACT)
        stream: Any = self._file.add_stream(encoder, rate=max(1, round(rate)), options=options)
        stream.height, stream.width = column.shape[:2]
        stream.pix_fmt, stream.time_base = pixels, MILLISECOND
        context = stream.codec_context
        context.thread_count, context.gop_size, context.time_base = 1, storage.keyframe_interval, MILLISECOND
        context.flags |= Flags.bitexact
        self._stream = stream
        self._loss = None if storage.lossless else _Loss(stream)

    def add(self, sample: NDArray[Any]) -> None:
        """Add a row.

        Raises:
            DatasetError: A depth cannot be stored; the disk is full.
        """
        import av

        if self._last is not None and np.array_equal(sample, self._last):
            self._numbers.append(self._frames - 1)
            return
        self._last = np.array(sample)
        try:
            plane = to_plane(self._last, self._storage)
        except DatasetError as problem:
            raise DatasetError(f"channel '{self._column.name}', row {len(self._numbers)}: {problem}") from problem
        self._time = max(self._time + 1, round(1000 * len(self._numbers) / self._rate))
        frame = av.VideoFrame.from_ndarray(plane, format=self._format)
        frame.pts, frame.time_base = self._time, MILLISECOND
        if self._loss is None:
            self._digest.update(plane.data)
        else:
            self._loss.expect(plane)
        self._write(self._stream.encode(frame))
        self._numbers.append(self._frames)
        self._frames += 1

    def close(self) -> tuple[NDArray[np.int32], str | None, float | None]:
        """Finish the file; return the frame numbers (rows,), the sha256 of the frames and the PSNR, dB."""
        self._write(self._stream.encode(None))
        with self._explained():
            self._file.close()
        numbers = np.array(self._numbers, dtype=FRAME_NUMBER)
        if self._loss is None:
            return numbers, self._digest.hexdigest(), None
        return numbers, None, self._loss.psnr()

    def abandon(self) -> None:
        """Let go of the file, finished or not."""
        with contextlib.suppress(DatasetError), self._explained():
            self._file.close()

    def _write(self, packets: list[Any]) -> None:
        with self._explained():
            for packet in packets:
                if self._loss is not None:
                    self._loss.see(packet)
                self._file.mux(packet)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from av.error import FFmpegError

        try:
            yield
        except (FFmpegError, OSError) as problem:
            raise DatasetError(f"channel '{self._column.name}': the video cannot be written: {problem}") from problem


class _Loss:
    """Decodes what was just encoded, and adds up how far it is from what went in."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._waiting: deque[NDArray[Any]] = deque()
        self._decoder: Any = None
        self._squares = 0.0
        self._count = 0

    def expect(self, plane: NDArray[Any]) -> None:
        self._waiting.append(plane)

    def see(self, packet: Any) -> None:
        import av

        if self._decoder is None:
            self._decoder = av.CodecContext.create("h264", "r")
            self._decoder.extradata = self._stream.codec_context.extradata
            self._decoder.thread_count = 1
        self._compare(self._decoder.decode(packet))

    def _compare(self, frames: list[Any]) -> None:
        for frame in frames:
            plane = self._waiting.popleft()
            error = frame.to_ndarray(format="rgb24").astype(np.float32) - plane
            self._squares += float(np.vdot(error, error))
            self._count += error.size

    def psnr(self) -> float:
        if self._decoder is not None:
            self._compare(self._decoder.decode(None))
        if self._waiting or not self._count:
            raise DatasetError(f"{len(self._waiting)} frames of a video cannot be decoded again")
        return decibels(self._squares / self._count)


def decibels(mean_square: float) -> float:
    """Return the peak signal-to-noise ratio of 8-bit numbers, dB, at most 100."""
    if mean_square <= 0:
        return MAX_PSNR_DB
    return min(MAX_PSNR_DB, 10 * math.log10(255**2 / mean_square))

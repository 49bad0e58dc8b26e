"""Videos of a LeRobotDataset v3.0: for each camera one MP4 file after the other, episodes one after the other in them.

A file shows one picture a row, for LeRobot looks frames up by time; every second picture stands alone (`g=2`), for it
reads windows from anywhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.schema import ChannelSchema, DatasetSchema
from training_ground.datasets.statistics import Statistics, merge, statistics
from training_ground.datasets.video import decibels

VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
VIDEO_MB = 200
CHUNK_FILES = 1000
PIXELS = "yuv420p"
CODECS = (
    ("libsvtav1", "av1", {"g": "2", "crf": "30", "svtav1-params": "lp=1"}),  # as LeRobot itself encodes
    ("libx264", "h264", {"g": "2", "crf": "18"}),
)
LOOKED_AT = 16
"""Pictures of an episode that its statistics are taken from."""
PIXELS_OF_EACH = 2048
COMPARED = 32
"""Pictures of a camera that the measured loss is taken from."""


def cameras(schema: DatasetSchema) -> list[ChannelSchema]:
    """Return the channels that become videos."""
    return [c for c in schema.channels if c.dtype == "uint8" and len(c.shape) == 3 and c.shape[-1] == 3]


def left_out(schema: DatasetSchema) -> list[str]:
    """Return the names of the channels that neither videos nor numbers of LeRobot hold: depth and grey videos."""
    shown = cameras(schema)
    return [c.name for c in schema.channels if c.storage is not None and c not in shown]


def codec() -> tuple[str, str, dict[str, str]]:
    """Return encoder, codec and options: the best that this PyAV has.

    Raises:
        DatasetError: It has none.
    """
    import av

    for found in CODECS:
        if found[0] in av.codecs_available:
            return found
    raise DatasetError(f"this PyAV has no encoder for LeRobot's videos: {', '.join(name for name, _, _ in CODECS)}")


@dataclass
class _Sample:
    """Pictures kept to be compared with what the file shows."""

    path: Path
    frame: int
    picture: NDArray[np.uint8]


@dataclass
class Camera:
    """The files of one camera.

    Args:
        channel: The camera.
        folder: The dataset's.
        fps: Frames a second.
    """

    channel: ChannelSchema
    folder: Path
    fps: int
    file: int = -1
    frames: int = 0
    kept: list[_Sample] = field(default_factory=list)
    parts: list[Statistics] = field(default_factory=list)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    _container: Any = None
    _stream: Any = None
    _path: Path = Path()

    @property
    def key(self) -> str:
        """LeRobot's name of the camera."""
        return f"observation.images.{self.channel.name}"

    def add(self, episode: Episode) -> dict[str, Any]:
        """Encode an episode's pictures; return its columns in the table of episodes."""
        import av
        from av.error import FFmpegError

        full = self._path.is_file() and self._path.stat().st_size >= VIDEO_MB << 20  # none before the first packet
        if self._container is None or full:
            self._begin()
        container: Any = self._container
        first, rows = self.frames, episode.length
        looked = set(np.linspace(0, rows - 1, min(rows, LOOKED_AT)).round().astype(int).tolist())
        pixels = []
        try:
            for row in range(rows):
                picture = np.ascontiguousarray(episode.columns[self.channel.name][row])
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = self.frames, Fraction(1, self.fps)
                container.mux(self._stream.encode(frame))
                if row in looked:
                    pixels.append(_some_pixels(picture))
                    self._keep(picture)
                self.frames += 1
        except (FFmpegError, OSError) as problem:
            raise DatasetError(f"{self._path}: cannot be written: {problem}") from problem
        flat = np.concatenate(pixels)
        part = statistics(flat / 255)
        self.parts.append(part)
        self.pixels.append(flat)
        chunk, file = divmod(self.file, CHUNK_FILES)
        columns = {"chunk_index": chunk, "file_index": file}
        columns |= {"from_timestamp": first / self.fps, "to_timestamp": self.frames / self.fps}
        line = {f"videos/{self.key}/{name}": value for name, value in columns.items()}
        return line | {f"stats/{self.key}/{name}": value for name, value in _plain(part, len(looked)).items()}

    def finish(self) -> dict[str, list[Any]]:
        """Write what is left; return the statistics of the whole."""
        self._end()
        total = sum(part.count for part in self.parts)
        whole = merge(self.parts, np.concatenate(self.pixels) / 255)
        return _plain(whole, total // PIXELS_OF_EACH)

    def loss(self) -> str:
        """Say what the encoding loses, measured."""
        squares = [float(np.mean((_decoded(s).astype(float) - s.picture) ** 2)) for s in self.kept]
        ratio = decibels(float(np.mean(squares)))
        return f"{self.channel.name}: {codec()[1]} with loss, PSNR {ratio:.1f} dB over {len(squares)} pictures"

    def described(self) -> dict[str, Any]:
        """Return the feature as info.json has it."""
        height, width, _ = self.channel.shape
        info = {"height": height, "width": width, "codec": codec()[1], "pix_fmt": PIXELS}
        info |= {"is_depth_map": False, "fps": self.fps, "channels": 3}
        return {
            "dtype": "video",
            "shape": list(self.channel.shape),
            "names": ["height", "width", "channels"],
            "info": {**{f"video.{name}": value for name, value in info.items()}, "has_audio": False},
        }

    def _begin(self) -> None:
        import av

        self._end()
        os.environ.setdefault("SVT_LOG", "1")  # else the encoder prints its settings
        self.file, self.frames = self.file + 1, 0
        chunk, file = divmod(self.file, CHUNK_FILES)
        self._path = self.folder / VIDEO_PATH.format(video_key=self.key, chunk_index=chunk, file_index=file)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        name, _, options = codec()
        self._container = av.open(str(self._path), "w", container_options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream(name, rate=self.fps, options=dict(options))
        self._stream.height, self._stream.width = self.channel.shape[:2]
        self._stream.pix_fmt = PIXELS
        self._stream.codec_context.thread_count = 1

    def _end(self) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None

    def _keep(self, picture: NDArray[np.uint8]) -> None:
        if len(self.kept) >= COMPARED:
            del self.kept[1::2]
        self.kept.append(_Sample(self._path, self.frames, picture.copy()))


def _some_pixels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return PIXELS_OF_EACH pixels (n, 3), evenly from the picture."""
    flat = picture.reshape(-1, 3)
    return flat[np.linspace(0, len(flat) - 1, PIXELS_OF_EACH).astype(int)]


def _decoded(sample: _Sample) -> NDArray[np.uint8]:
    import av

    with av.open(str(sample.path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None and stream.average_rate is not None
        wanted = round(sample.frame / stream.average_rate / stream.time_base)
        container.seek(wanted, stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts >= wanted:
                return frame.to_ndarray(format="rgb24")
    raise DatasetError(f"{sample.path}: frame {sample.frame} is not there")


def _plain(stats: Statistics, count: int) -> dict[str, list[Any]]:
    """Statistics as LeRobot has those of pictures: (3, 1, 1), of values between 0 and 1."""
    arrays = {"min": stats.min, "max": stats.max, "mean": stats.mean, "std": stats.std, **stats.quantiles}
    return {"count": [count], **{name: array.reshape(3, 1, 1).tolist() for name, array in arrays.items()}}

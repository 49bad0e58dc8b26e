"""LeRobotDatasets v3.0 into a store: those of others, and our own exports as far as LeRobot held them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_EPISODE_BYTES, MAX_TEXT, Episode
from training_ground.datasets.files import read_regular
from training_ground.datasets.formats import _imported, _own, _parquet
from training_ground.datasets.formats._imported import Source
from training_ground.datasets.formats._lerobot_frames import Pictures, VideoFile
from training_ground.datasets.formats._lerobot_layout import (
    OWN_FILE,
    Line,
    read_episodes,
    read_info,
    read_names,
)
from training_ground.datasets.formats._lerobot_plan import NEXT_REWARD, NEXT_SUCCESS, make_plan
from training_ground.datasets.formats._parquet import Kind, Numbers, Texts
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import REWARD, DatasetSchema
from training_ground.datasets.store import MAX_DESCRIPTION_BYTES

TOLERANCE_S = 1e-4
"""How far a time may be from frame_index / fps: LeRobot's own figure."""
_WHOLE = ("frame_index", "episode_index", "task_index")

Frames = dict[str, NDArray[Any]]


def import_(path: Path, out: Path, progress: Callable[[int], None]) -> ImportReport:
    """Read a LeRobotDataset v3.0 into a new store; see `datasets.importing.import_`.

    Raises:
        DatasetError: It is of another version, damaged or hostile, or its tables contradict each other.
        ModuleNotFoundError: The extra `formats` is not installed.
    """
    reader = _Reader(path)
    written = _imported.write_store(out, reader.schema, reader.episodes(), progress)
    losses = (*reader.losses(), *reader.plan.unread)
    return ImportReport("lerobot", out, written.episodes, written.frames, losses, (), reader.source.sha256)


class _Reader:
    """What is known of a dataset, and its episodes one after the other."""

    def __init__(self, path: Path) -> None:
        self._path, self._info = path, read_info(path)
        info = self._info
        own = path / OWN_FILE
        carried = own.exists() or own.is_symlink()
        schema = _own.read_schema(read_regular(own, MAX_DESCRIPTION_BYTES), str(own)) if carried else None
        videos = [key for key, feature in info.features.items() if feature.kind == "video"]
        self._lines = read_episodes(path, videos)
        tables = [path / f"meta/{name}" for name in ("info.json", "tasks.parquet")]
        files = {line.path for line in self._lines} | {s.path for line in self._lines for s in line.videos.values()}
        digest = _imported.files_sha256(path, [*tables, *sorted(files)])
        kept = {key: value for key, value in info.data.items() if key != "features"}
        self.source = Source("lerobot", "v3.0", path.resolve().name[:255] or "lerobot", digest, kept, schema)
        self.plan = make_plan(self.source, info, path)
        tasks = read_names(path / "meta/tasks.parquet", "task_index")
        if tasks is None:
            raise DatasetError(f"{path / 'meta/tasks.parquet'}: there is no such file")
        self._tasks = tasks
        self._phases = read_names(path / "meta/subtasks.parquet", "subtask_index")
        if "subtask_index" not in info.features:
            self._phases = None
        text = schema.instruction if schema else tasks[0] if len(tasks) == 1 else ""
        self.schema: DatasetSchema = _imported.make_schema(self.source, self.plan.channels, info.fps, text, info.robot)
        self._open: dict[str, VideoFile] = {}
        self._odd: Counter[str] = Counter()

    def episodes(self) -> Iterator[Episode]:
        """Yield the episodes, file by file; the pictures of one must be taken before the next is asked for."""
        try:
            lines = sorted(self._lines, key=lambda line: (line.begins, line.index))
            for path, part in groupby(lines, key=lambda line: line.path):
                listed = list(part)
                for line, frames in zip(listed, self._frames(path, [x.length for x in listed]), strict=True):
                    yield self._episode(line, frames)
        finally:
            for video in self._open.values():
                video.close()

    def _frames(self, path: Path, lengths: list[int]) -> Iterator[Frames]:
        """Yield the frames of each episode of a data file; what is in memory is one episode and a few rows."""
        wanted = self._wanted()
        width = sum(kind.row_bytes for kind in wanted.values() if isinstance(kind, Numbers))
        if max(lengths) * width > MAX_EPISODE_BYTES:
            raise DatasetError(f"{path}: an episode would need more than the {MAX_EPISODE_BYTES} bytes allowed")
        with _parquet.open_parquet(path, wanted) as file:
            if file.metadata.num_rows != sum(lengths):
                raise DatasetError(
                    f"{path}: has {file.metadata.num_rows} rows, meta/episodes says {sum(lengths)} for its episodes"
                )
            ahead = _parquet.batches(file, wanted, str(path), sum(lengths))
            part, at = next(ahead, {}), 0
            for length in lengths:
                pieces, missing = list[Frames](), length
                while missing:
                    if part and at == len(part["frame_index"]):
                        part, at = next(ahead, {}), 0
                    if not part:
                        raise DatasetError(f"{path}: is damaged: ends before its last row")
                    pieces.append({name: values[at : at + missing] for name, values in part.items()})
                    taken = len(pieces[-1]["frame_index"])
                    at, missing = at + taken, missing - taken
                yield pieces[0] if len(pieces) == 1 else {n: np.concatenate([x[n] for x in pieces]) for n in wanted}

    def _wanted(self) -> dict[str, Kind]:
        info = self._info
        wanted: dict[str, Kind] = {"timestamp": Numbers("float32"), **{name: Numbers("int64") for name in _WHOLE}}
        if self._phases is not None:
            wanted["subtask_index"] = Numbers("int64")
        for key in self.plan.features:
            shape = () if info.features[key].shape == (1,) else info.features[key].shape
            wanted[key] = Numbers(info.features[key].kind, shape)
        for feature in self.plan.pictures.values():
            if feature.kind == "image":
                size = int(np.prod(feature.shape))
                wanted[feature.key] = Texts("bytes", row_bytes=size, most=2 * size + (1 << 20))
        return wanted

    def _episode(self, line: Line, frames: Frames) -> Episode:
        where, length = f"{line.path}: episode {line.index}", line.length
        if np.any(frames["episode_index"] != line.index) or np.any(frames["frame_index"] != np.arange(length)):
            raise DatasetError(f"{where}: episode_index or frame_index are not those of its {length} frames in order")
        columns: dict[str, Any] = {REWARD: np.zeros(length + 1)} if REWARD in self.schema.columns() else {}
        for piece in self.plan.numbers:
            flat = frames[piece.feature].reshape(length, -1)[:, piece.first : piece.last]
            values = _own.as_declared(flat, piece.column, f"{where}: '{piece.feature}'")
            again = values[-1] if piece.rows == "before" and not piece.acts else None
            columns[piece.column.name] = _imported.in_rows(values, piece.rows, again)
        for name, feature in self.plan.pictures.items():
            columns[name] = self._pictures(line, frames, name, feature.key)
        columns |= _imported.bookkeeping(length, self._info.fps, self._times(frames), self._names(frames, where))
        ordered = {name: columns[name] for name in self.schema.columns()}
        metadata = _imported.make_metadata(
            self.source, self.schema, f"episode_{line.index}", length, False, self._facts(line, frames, where), line.own
        )
        return Episode(metadata, ordered)

    def _pictures(self, line: Line, frames: Frames, name: str, key: str) -> Pictures:
        shape = self.schema.columns()[name].shape
        if key not in line.videos:
            return Pictures(frames[key].tolist(), 0.0, line.length + 1, shape)
        shown = line.videos[key]
        if key not in self._open or self._open[key].path != shown.path:
            if key in self._open:
                self._open.pop(key).close()
            self._open[key] = VideoFile(shown.path, shape, self._info.fps)
        return Pictures(self._open[key], shown.begins, line.length + 1, shape)

    def _times(self, frames: Frames) -> NDArray[np.int64] | None:
        """Return the times of T + 1 rows, ns, where they are not evenly spaced; None where they are, or cannot be."""
        told, fps = frames["timestamp"].astype(np.float64), self._info.fps
        even = np.arange(len(told)) / fps
        if np.all(np.abs(told - even) <= np.maximum(TOLERANCE_S, 2 * np.spacing(even.astype(np.float32)))):
            return None
        with np.errstate(all="ignore"):
            times = np.round(np.append(told, told[-1] + 1 / fps) * 1e9)
        rises = bool(np.all(np.isfinite(times)) and np.all(np.diff(times) > 0) and np.abs(times).max() < 2**62)
        self._odd["times that are not frame_index / fps, kept as they are in float32" if rises else ""] += rises
        self._odd["times that do not rise, replaced by frame_index / fps"] += not rises
        return times.astype(np.int64) if rises else None

    def _names(self, frames: Frames, where: str) -> NDArray[Any] | None:
        if self._phases is None:
            return None
        numbers = np.append(frames["subtask_index"], frames["subtask_index"][-1])
        if numbers.min() < 0 or numbers.max() >= len(self._phases):
            raise DatasetError(f"{where}: subtask_index: {len(self._phases)} are named in meta/subtasks.parquet")
        short = [name[: MAX_TEXT // 4].encode() for name in self._phases]
        return np.array(short, dtype=np.bytes_)[numbers]

    def _facts(self, line: Line, frames: Frames, where: str) -> dict[str, Any]:
        numbers = frames["task_index"]
        if numbers.min() < 0 or numbers.max() >= len(self._tasks):
            raise DatasetError(f"{where}: task_index: {len(self._tasks)} are named in meta/tasks.parquet")
        self._odd["another task from some frame on: the first one is kept"] += bool(np.any(numbers != numbers[0]))
        facts = {"seed": line.index, "instruction": self._tasks[numbers[0]][:10_000]}
        said = frames.get(NEXT_SUCCESS)
        if said is not None and said.dtype == bool and said.ndim == 1:
            facts["success"] = bool(said[-1])
        return facts

    def losses(self) -> tuple[str, ...]:
        """Say what the dataset did not have, and what was made up."""
        said = [
            "the row after the last step: LeRobot has none, the one before stands there again",
            "statistics: not read, a store computes its own",
        ]
        if self.source.own is None:
            said += [
                "units and frames: LeRobot has none, each channel says 'unknown'",
                "the compiled model and joint names are unknown, and no environment can replay the episodes",
                "seeds: an episode has its number for one; times of recording are 0",
                "how an episode ended: LeRobot does not say; it counts as truncated",
            ]
            if NEXT_REWARD not in self._info.features:
                said.append("rewards: not in the dataset, zeros")
        else:
            lost = [c.name for c in self.source.own.channels if c.name not in self.schema.columns()]
            said.append("float64 that were float32 there, rewards, events and phase of the reset")
            said += [f"left out by the export: {', '.join(lost)}"] if lost else []
            without = sum(line.own is None for line in self._lines)
            said += [f"{without} episodes that were added to the export: their seed is their number"] if without else []
        late = [p.column.name for p in self.plan.numbers if p.rows == "after" and p.column.name != REWARD]
        said += [f"have no value at the reset, zeros stand there: {', '.join(late[:10])}"] if late else []
        if self.plan.pictures:
            said.append(f"pictures: as they decode, without further loss: {', '.join(list(self.plan.pictures)[:10])}")
        return (*said, *(f"{count} episodes have {text}" for text, count in self._odd.items() if count and text))

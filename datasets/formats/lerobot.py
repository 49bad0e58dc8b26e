"""LeRobotDataset v3.0, written and read without LeRobot; checked in CI with the real one (`make lerobot`).

A frame is row t of an episode together with what the step from it led to:

| feature | what |
|---|---|
| `observation.state` | flat observation as the policy saw it, row t |
| `action` | action applied between t and t + 1 |
| `next.reward`, `next.<term>`, `next.<event>` | rewards and events of that step, row t + 1 |
| `next.done` | whether the episode ended with it |
| `state.<channel>` | the simulator's truth, row t; not named `observation.…`, or LeRobot would feed it to policies |
| `observation.images.<channel>` | picture, row t, as video |
| `subtask_index` | phase, row t, named in `meta/subtasks.parquet` |

Seed, outcome, arguments and hashes of an episode, and all that is known of it as JSON, are further columns of
`meta/episodes`, named `training_ground/…`; the whole schema with units and frames is in `meta/training_ground.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import ExportReport, check_finite, complete_episodes, new_folder
from training_ground.datasets.formats._common import write_json
from training_ground.datasets.formats._lerobot_features import features_of, losses_of
from training_ground.datasets.formats._lerobot_import import import_
from training_ground.datasets.formats._lerobot_layout import DATA_PATH, OWN_COLUMN, OWN_FILE
from training_ground.datasets.formats._lerobot_video import CHUNK_FILES, VIDEO_MB, VIDEO_PATH, Camera, cameras
from training_ground.datasets.schema import TIMESTAMP, canonical_json
from training_ground.datasets.statistics import Statistics, merge, statistics
from training_ground.datasets.store import Store

__all__ = ["export", "import_"]

VERSION = "v3.0"
FILE_MB = 100
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
BATCH = 500
"""Episodes whose lines and statistics are kept in memory."""
SAMPLE_ROWS = 100_000
"""Rows that the quantiles of the whole dataset are taken from, evenly drawn; all where there are fewer."""


def export(store: Store, path: Path, numbers: Sequence[int], progress: Callable[[int], None]) -> ExportReport:
    """Write episodes as a LeRobotDataset v3.0; see `datasets.export.export`.

    Raises:
        DatasetError: The control rate is no whole number, a value is not finite, or no episode is complete.
    """
    fps = _whole_rate(store)
    kept, skipped = complete_episodes(store, numbers)
    with new_folder(path) as folder:
        writer = _Writer(store, folder, fps, frames=sum(store.metadata(number).length for number in kept))
        for number in kept:
            writer.add(store.read(number))
            progress(number)
        writer.finish()
        losses = losses_of(store, writer.phases, writer.uneven)
        losses += tuple(camera.loss() for camera in writer.cameras)
    return ExportReport("lerobot", path, len(kept), writer.frames, losses, skipped)


class _Writer:
    """Adds episodes one after the other; memory stays bounded by one episode and the sample."""

    def __init__(self, store: Store, folder: Path, fps: int, frames: int) -> None:
        self.frames = self.uneven = 0
        self.tasks: dict[str, int] = {}
        self.phases: dict[str, int] = {}
        self._folder, self._fps, self._schema = folder, fps, store.schema
        self._features = features_of(store.schema)
        self.cameras = [Camera(channel, folder, fps) for channel in cameras(store.schema)]
        self._stride = -(-frames // SAMPLE_ROWS)
        self._parts: dict[str, list[Statistics]] = {name: [] for name in self._all_features()}
        self._samples: dict[str, list[NDArray[Any]]] = {name: [] for name in self._parts}
        self._episodes = 0
        self._table = _EpisodeTable(folder / EPISODES_PATH.format(chunk_index=0, file_index=0))
        self._writer: pq.ParquetWriter | None = None
        self._file = 0
        self._file_bytes = 0

    def _all_features(self) -> list[str]:
        names = [feature.name for feature in self._features]
        return [*names, "subtask_index", "timestamp", "frame_index", "episode_index", "index", "task_index"]

    def add(self, episode: Episode) -> None:
        """Write one episode's frames, and keep its line for the table of episodes."""
        check_finite(episode)
        even = np.round(np.arange(episode.length + 1) * (1e9 / self._fps))
        self.uneven += not np.array_equal(episode.columns[TIMESTAMP], even)
        columns = self._columns(episode)
        stats = {}
        for name, values in columns.items():
            stats[name] = statistics(values)
            self._parts[name].append(stats[name])
            if len(self._parts[name]) >= BATCH:
                self._parts[name] = [merge(self._parts[name])]
            first = -self.frames % self._stride
            self._samples[name].append(values[first :: self._stride])
        chunk, file = self._write(columns)
        count = episode.length
        line: dict[str, Any] = {
            "episode_index": self._episodes,
            "tasks": [episode.instruction],
            "length": count,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + count,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for name, part in stats.items():
            line |= {f"stats/{name}/{key}": value for key, value in _plain(part).items()}
        for camera in self.cameras:
            line |= camera.add(episode)
        self._table.add(line | _own_columns(episode))
        self.frames += count
        self._episodes += 1

    def _columns(self, episode: Episode) -> dict[str, NDArray[Any]]:
        """Values of every feature, (frames, n)."""
        count, index = episode.length, self._episodes
        columns = {}
        for feature in self._features:
            columns[feature.name] = feature.values(episode)
            if not np.isfinite(columns[feature.name]).all():
                raise DatasetError(f"episode {episode.number}: '{feature.name}' has numbers too large for float32")
            if feature.dtype == "uint64" and columns[feature.name].max() >= 1 << 63:
                raise DatasetError(f"episode {episode.number}: '{feature.name}': LeRobot has no numbers from 2^63 on")
        task = self.tasks.setdefault(episode.instruction, len(self.tasks))
        frames = np.arange(count, dtype=np.int64)
        numbers = {
            "subtask_index": self._phase_numbers(episode),
            "timestamp": (frames / self._fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(count, index, np.int64),
            "index": frames + self.frames,
            "task_index": np.full(count, task, np.int64),
        }
        return columns | {name: values[:, None] for name, values in numbers.items()}

    def _phase_numbers(self, episode: Episode) -> NDArray[np.int64]:
        # A reset does not say which phase it starts in: the first step does.
        names = episode.phases()
        names[0] = names[0] or names[1]
        return np.array([self.phases.setdefault(name, len(self.phases)) for name in names[:-1]], dtype=np.int64)

    def _write(self, columns: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Write one row group, and begin the next file where this one is full; return chunk and file."""
        arrays = [_to_arrow(values) for values in columns.values()]
        table = pa.Table.from_arrays(arrays, names=list(columns))
        if self._writer is not None and self._file_bytes >= FILE_MB << 20:
            self._writer.close()
            self._writer, self._file, self._file_bytes = None, self._file + 1, 0
        chunk, file = divmod(self._file, CHUNK_FILES)
        path = self._folder / DATA_PATH.format(chunk_index=chunk, file_index=file)
        if self._writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False)
        self._writer.write_table(table, row_group_size=len(table))
        self._file_bytes = path.stat().st_size
        return chunk, file

    def finish(self) -> None:
        """Write what speaks of all episodes."""
        assert self._writer is not None
        self._writer.close()
        meta = self._folder / "meta"
        self._table.close()
        _write_names(meta / "tasks.parquet", "task_index", self.tasks)
        _write_names(meta / "subtasks.parquet", "subtask_index", self.phases)
        stats = {n: _plain(merge(parts, np.concatenate(self._samples[n]))) for n, parts in self._parts.items()}
        stats |= {camera.key: camera.finish() for camera in self.cameras}
        write_json(meta / "stats.json", stats)
        write_json(meta / "info.json", self._info())
        write_json(self._folder / OWN_FILE, self._schema.model_dump(mode="json"))

    def _info(self) -> dict[str, Any]:
        single = {"shape": [1], "names": None}
        described = {f.name: {"dtype": f.dtype, "shape": [f.size], "names": f.names} for f in self._features}
        for name in self._all_features()[len(described) :]:
            described[name] = {"dtype": "float32" if name == "timestamp" else "int64", **single}
        described |= {camera.key: camera.described() for camera in self.cameras}
        return {
            "codebase_version": VERSION,
            "robot_type": self._schema.robot,
            "total_episodes": self._episodes,
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": FILE_MB,
            "video_files_size_in_mb": VIDEO_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{self._episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.cameras else None,
            "features": described,
        }


class _EpisodeTable:
    """`meta/episodes`: one line an episode, written in batches."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None

    def add(self, line: dict[str, Any]) -> None:
        """Add an episode's line."""
        self._lines.append(line)
        if len(self._lines) >= BATCH:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if not self._lines:
            return
        table = pa.Table.from_pylist(self._lines, schema=self._schema)
        if self._writer is None:
            # A batch in which no task speaks of success has no type for it.
            fields = [f.with_type(pa.bool_()) if pa.types.is_null(f.type) else f for f in table.schema]
            self._schema = pa.schema(fields)
            table = table.cast(self._schema)
            self._path.parent.mkdir(parents=True)
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        self._writer.write_table(table)
        self._lines = []


def _whole_rate(store: Store) -> int:
    rate = store.schema.control_rate
    if abs(rate - round(rate)) > 1e-9 * rate or round(rate) < 1:
        raise DatasetError(
            f"{store.path}: control_rate = {rate:g} Hz; LeRobot holds whole frames a second only: record with "
            "physics_timestep and decimation that give a whole number"
        )
    return round(rate)


def _own_columns(episode: Episode) -> dict[str, Any]:
    """Columns of our own in the table of episodes; LeRobot keeps them."""
    m = episode.metadata
    own = {
        "number": -1 if episode.number is None else episode.number,
        "seed": m.seed,
        "success": episode.success,
        "success_recorded": m.success,
        "failure": episode.failure or "",
        "failure_recorded": m.failure or "",
        "terminated": m.terminated,
        "env_id": m.env_id,
        "kwargs": json.dumps(m.kwargs),
        "randomisation": json.dumps(m.randomisation),
        "policy": m.policy.name,
        "policy_hash": m.policy.hash or "",
        "model_hash": m.model_hash,
        "config_hash": m.config_hash,
        "content_sha256": m.content_sha256,
    }
    whole = canonical_json(m.model_dump(mode="json"), "episode metadata").decode()
    return {OWN_COLUMN: whole, **{f"training_ground/{name}": value for name, value in own.items()}}


def _plain(stats: Statistics) -> dict[str, list[Any]]:
    """Statistics in LeRobot's form and types: a list a statistic, also for one number."""
    arrays = {"min": stats.min, "max": stats.max, "mean": stats.mean, "std": stats.std, **stats.quantiles}
    return {"count": [stats.count], **{name: array.tolist() for name, array in arrays.items()}}


def _to_arrow(values: NDArray[Any]) -> pa.Array:
    width = values.shape[1]
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def _write_names(path: Path, column: str, names: dict[str, int]) -> None:
    """Write a table of names as pandas would: the name is the index, which LeRobot looks up."""
    index = "__index_level_0__"
    fields = [
        {"name": column, "field_name": column, "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ]
    head = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": [index],
        "column_indexes": [{**head, "metadata": {"encoding": "UTF-8"}}],
        "columns": fields,
    }
    table = pa.table({column: pa.array(names.values(), pa.int64()), index: pa.array(names, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps({**pandas, "pandas_version": "2.1.0"})}), path)

"""What a LeRobotDataset v3.0 of others says of itself: info.json, tasks, episodes; nothing is believed unchecked.

Paths are those of the v3.0 layout and no others: LeRobot itself follows whatever `data_path` says, out of the folder
as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import names_in, read_regular
from training_ground.datasets.formats import _imported, _parquet
from training_ground.datasets.formats._lerobot_video import VIDEO_PATH
from training_ground.datasets.formats._parquet import Numbers, Texts
from training_ground.datasets.schema import DTYPES, MAX_SAMPLE_BYTES, parse_json

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
OWN_FILE, OWN_COLUMN = "meta/training_ground.json", "training_ground/metadata"
MAX_JSON_BYTES, MAX_TABLE_BYTES = 16 << 20, 4 << 30
MAX_EPISODES, MAX_TASKS, MAX_FEATURES, MAX_STEPS = 1_000_000, 1_000_000, 10_000, 10_000_000
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index", "subtask_index")
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)
_CHUNK, _FILE = re.compile(r"chunk-\d{3,9}", re.ASCII), re.compile(r"file-\d{3,9}\.parquet", re.ASCII)


@dataclass(frozen=True)
class Declared:
    """A feature of info.json: `kind` is a numpy dtype's name, `video`, `image` or what else the file says."""

    key: str
    kind: str
    shape: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Info:
    """What of info.json is used, and the whole of it."""

    fps: float
    robot: str
    features: dict[str, Declared]
    data: dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """Where the pictures of an episode stand: file, and time of the first one, s."""

    path: Path
    begins: float


@dataclass
class Line:
    """An episode as `meta/episodes` has it."""

    index: int
    length: int
    begins: int
    path: Path
    own: str | None
    videos: dict[str, Shown] = field(default_factory=dict)


def read_info(path: Path) -> Info:
    """Read `meta/info.json`.

    Raises:
        DatasetError: It is of another version, or something in it is wrong.
    """
    where = str(_imported.inside(path, path / "meta/info.json"))
    data = parse_json(read_regular(path / "meta/info.json", MAX_JSON_BYTES), where)
    if data.get("codebase_version") != "v3.0":
        raise DatasetError(
            f"{where}: codebase_version = {str(data.get('codebase_version'))[:50]!r}, only 'v3.0' is read; LeRobot "
            "converts older ones: python -m lerobot.datasets.v30.convert_dataset_v21_to_v30"
        )
    for key, wanted in (("data_path", DATA_PATH), ("video_path", VIDEO_PATH)):
        if data.get(key, wanted) not in (wanted, None):
            raise DatasetError(f"{where}: {key} = {str(data[key])[:100]!r}, must be '{wanted}'")
    fps = data.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps <= 1e6:
        raise DatasetError(f"{where}: fps = {str(fps)[:50]}, must be a number above 0 and up to 1000000")
    listed = data.get("features")
    if not isinstance(listed, dict) or not 0 < len(listed) <= MAX_FEATURES:
        raise DatasetError(f"{where}: features must be an object with 1 to {MAX_FEATURES} of them")
    features = {key: _feature(key, value, where) for key, value in listed.items()}
    return Info(float(fps), str(data.get("robot_type") or "unknown")[:1000], features, data)


def _feature(key: str, value: Any, where: str) -> Declared:
    shape = value.get("shape") if isinstance(value, dict) else None
    if not _KEY.fullmatch(key) or ".." in key:
        raise DatasetError(f"{where}: feature {key[:100]!r}: a name has letters, digits, '_', '-' and '.'")
    if not isinstance(shape, list) or len(shape) > 4 or not all(type(n) is int and 0 < n <= 100_000 for n in shape):
        raise DatasetError(f"{where}: feature '{key}': shape = {str(shape)[:100]}, must be a list of up to 4 lengths")
    kind, names = str(value.get("dtype"))[:50], value.get("names")
    if kind in DTYPES and math.prod(shape) * np.dtype(kind).itemsize > MAX_SAMPLE_BYTES:
        raise DatasetError(f"{where}: feature '{key}': a sample is larger than {MAX_SAMPLE_BYTES} bytes")
    if isinstance(names, dict) and len(names) == 1:  # {"motors": [...]}
        (names,) = names.values()
    told = isinstance(names, list) and len(names) <= 100_000 and all(isinstance(name, str) for name in names)
    return Declared(key, kind, tuple(shape), tuple(name[:256] for name in names) if told and names else ())


def read_names(path: Path, column: str) -> list[str] | None:
    """Return the names in `meta/tasks.parquet` or `meta/subtasks.parquet` by number; None where there is no such file.

    Raises:
        DatasetError: Numbers are not those from 0 on, or there are no texts.
    """
    if not path.exists() and not path.is_symlink():
        return None
    names = _parquet.column_names(path, MAX_TABLE_BYTES)
    text = next((name for name in names if name not in (column, f"{column}_index")), "")
    wanted = {column: Numbers("int64"), text: Texts()}
    table = _parquet.read_all(path, wanted, 64 << 20, MAX_TASKS)
    numbers = table[column]
    if not np.array_equal(np.sort(numbers), np.arange(len(numbers))):
        raise DatasetError(f"{path}: '{column}' must have each number from 0 on once")
    return [str(table[text][at]) for at in np.argsort(numbers)]


def read_episodes(path: Path, cameras: list[str]) -> list[Line]:
    """Read `meta/episodes`, in the order of the episodes.

    Raises:
        DatasetError: An episode stands twice or is missing, has no step, or its figures are none.
    """
    lines: list[Line] = []
    for file in _tables(path):
        for line in _lines(path, file, cameras):
            if line.index != len(lines) or len(lines) >= MAX_EPISODES:
                raise DatasetError(
                    f"{file}: episode {line.index} stands where {len(lines)} should; {MAX_EPISODES} are allowed at most"
                )
            lines.append(line)
    if not lines:
        raise DatasetError(f"{path / 'meta/episodes'}: has no episode")
    return lines


def _tables(path: Path) -> Iterator[Path]:
    folder = path / "meta/episodes"
    if folder.is_symlink():
        raise DatasetError(f"{folder}: is a symbolic link; folders of a dataset are plain folders")
    for chunk in names_in(folder):
        if not _CHUNK.fullmatch(chunk) or (folder / chunk).is_symlink():
            raise DatasetError(f"{folder / chunk}: is no folder chunk-000, chunk-001 and so on")
        for name in names_in(folder / chunk):
            if not _FILE.fullmatch(name):
                raise DatasetError(f"{folder / chunk / name}: is no file file-000.parquet, file-001.parquet and so on")
            yield folder / chunk / name


def _lines(root: Path, file: Path, cameras: list[str]) -> Iterator[Line]:
    whole, seconds = Numbers("int64"), Numbers("float64")
    wanted: dict[str, _parquet.Kind] = dict.fromkeys(("episode_index", "length", "dataset_from_index"), whole)
    wanted |= {"data/chunk_index": whole, "data/file_index": whole}
    for key in cameras:
        wanted |= {f"videos/{key}/chunk_index": whole, f"videos/{key}/file_index": whole}
        wanted |= {f"videos/{key}/from_timestamp": seconds}
    if OWN_COLUMN in _parquet.column_names(file, MAX_TABLE_BYTES):
        wanted[OWN_COLUMN] = Texts(optional=True)
    with _parquet.open_parquet(file, wanted, MAX_TABLE_BYTES) as table:
        for part in _parquet.batches(table, wanted, str(file), MAX_EPISODES):
            for row in range(len(part["length"])):
                yield _line(root, file, {name: values[row] for name, values in part.items()}, cameras)


def _line(root: Path, file: Path, row: dict[str, Any], cameras: list[str]) -> Line:
    index, length = int(row["episode_index"]), int(row["length"])
    where = f"{file}: episode {index}"
    if not 0 < length <= MAX_STEPS or not 0 <= index < MAX_EPISODES:
        raise DatasetError(f"{where}: length = {length}, must be from 1 to {MAX_STEPS}")

    def at(template: str, prefix: str, **named: str) -> Path:
        numbers = {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}
        if not all(0 <= number < 10**9 for number in numbers.values()):
            raise DatasetError(f"{where}: '{prefix}': chunk and file are {numbers}, must be 0 or more")
        return root / template.format(**numbers, **named)

    own = row.get(OWN_COLUMN)
    line = Line(index, length, int(row["dataset_from_index"]), at(DATA_PATH, "data"), own)
    for key in cameras:
        begins = float(row[f"videos/{key}/from_timestamp"])
        if not 0 <= begins <= 1e9:
            raise DatasetError(f"{where}: 'videos/{key}/from_timestamp' = {begins:g}, must be a time in s")
        line.videos[key] = Shown(at(VIDEO_PATH, f"videos/{key}", video_key=key), begins)
    return line

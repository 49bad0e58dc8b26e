"""The training view of a store: every column of all its episodes, one after the other, mapped into memory.

```
STORE/arrays/<key>/
  manifest.json              episodes with number, rows and content_sha256; sha256 of each file below; dataset.json
  columns/<name>.npy         (rows, *shape), the episodes of the manifest one after the other
  statistics/<name>.npy      (episodes, 4, n) float64: min, max, mean and deviation of each component in each episode
```

It is derived (`array_build.refresh` makes it) and may be deleted at any time. `phase` is a number into
`manifest.phases`; pictures and videos are left out unless they are asked for by name.
"""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import Field

from training_ground.configs.errors import DatasetError, unknown
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets.files import hash_regular, open_regular
from training_ground.datasets.frames import Frames
from training_ground.datasets.npy import header, map_array
from training_ground.datasets.schema import PHASE, REWARD, Column, Count, DatasetSchema, Name, check_version, parse_json
from training_ground.datasets.statistics import Statistics, merge
from training_ground.datasets.store import Store

FORMAT, VERSION = "training-ground-arrays", 1
ARRAYS, MANIFEST, COLUMNS, STATISTICS = "arrays", "manifest.json", "columns", "statistics"
MAX_MANIFEST_BYTES = 512 << 20
MAX_COMPONENTS = 4096
"""A column with more numbers a row has no statistics: it is a picture or the like."""
SAMPLE_ROWS = 100_000
"""Rows that quantiles are taken from, evenly drawn; all where there are fewer."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ViewManifest(StrictModel):
    """What `manifest.json` of a view says. All lists from `number` on have one entry an episode.

    Attributes:
        dataset: `dataset.json` of the store.
        columns, statistics: Name → sha256 of its file.
        phases: Names of the numbers in the column `phase`.
        number, rows, content_sha256: Of each episode; T + 1 rows.
        size, mtime_ns: Of its file when the view was made: a file that still has both was not looked into again.
        success, terminated, seed: As its metadata says.
        instruction: Index into `instructions`.
    """

    format: Literal["training-ground-arrays"] = FORMAT
    version: int = VERSION
    dataset: DatasetSchema
    columns: Annotated[dict[Name, Sha256], Field(min_length=1, max_length=10_000)]
    statistics: Annotated[dict[Name, Sha256], Field(max_length=10_000)]
    phases: tuple[Annotated[str, Field(max_length=1000)], ...]
    instructions: tuple[Annotated[str, Field(max_length=10_000)], ...]
    number: Annotated[tuple[Count, ...], Field(min_length=1)]
    rows: tuple[Annotated[int, Field(ge=2, le=100_000_001)], ...]
    content_sha256: tuple[Sha256, ...]
    size: tuple[Count, ...]
    mtime_ns: tuple[int, ...]
    success: tuple[bool | None, ...]
    terminated: tuple[bool, ...]
    seed: tuple[Count, ...]
    instruction: tuple[Count, ...]

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> ViewManifest:
        lists = ("rows", "content_sha256", "size", "mtime_ns", "success", "terminated", "seed", "instruction")
        short = [name for name in lists if len(getattr(self, name)) != len(self.number)]
        if short:
            raise ValueError(f"{', '.join(short)}: must have one entry an episode, {len(self.number)}")
        strangers = sorted((set(self.columns) | set(self.statistics)) - set(self.dataset.columns()))
        if strangers:
            raise ValueError(f"columns that the dataset does not have: {', '.join(strangers[:5])}")
        if max(self.instruction) >= len(self.instructions):
            raise ValueError(f"instruction {max(self.instruction)}: there are {len(self.instructions)}")
        return self

    def stored(self, name: str) -> Column:
        """Return a column as the view holds it: `phase` as numbers."""
        return stored(self.dataset.columns()[name])


def stored(column: Column) -> Column:
    """Return a column of an episode as a view holds it: text as numbers."""
    return Column(PHASE, "int32") if column.name == PHASE else column


def without_value(schema: DatasetSchema, name: str) -> tuple[int, int]:
    """Return how many rows at the beginning and at the end of every episode hold no value of a column.

    The last row has no action, and to the first one no step has led that could have been rewarded.
    """
    roles: dict[str, str] = {REWARD: "reward"}
    roles |= {channel.name: channel.role for channel in schema.channels}
    return {"action": (0, 1), "reward": (1, 0)}.get(roles.get(name, ""), (0, 0))


class View:
    """A training view that is open.

    Attributes:
        path: Its folder.
        manifest: What it holds.
        schema: `dataset.json` of the store.
        columns: Name → (rows, *shape), read-only, mapped into memory.
        numbers: (E,) number of each episode in the store.
        starts: (E + 1,) first row of each episode, and behind the last one.
    """

    def __init__(self, path: Path, manifest: ViewManifest, lock: int) -> None:
        self.path, self.manifest, self.schema = path, manifest, manifest.dataset
        self._lock = lock
        self.numbers = np.array(manifest.number, np.int64)
        self.starts = np.concatenate([[0], np.cumsum(manifest.rows, dtype=np.int64)])
        declared = self.schema.columns()
        rows, self.columns = int(self.starts[-1]), {}
        for name in manifest.columns:
            column = stored(declared[name])
            self.columns[name] = map_array(self.file(name), column.dtype, (rows, *column.shape))

    @classmethod
    def open(cls, path: str | Path) -> View:
        """Open a view. Sizes and headers are checked, hashes are not: see `verify`.

        Raises:
            DatasetError: There is none, or a file is missing, a link, or not what the manifest says.
        """
        path = Path(path)
        for folder in (path, path / COLUMNS, path / STATISTICS):
            if folder.is_symlink() or not folder.is_dir():
                raise DatasetError(f"{folder}: is no training view (a plain folder is missing)")
        where = path / MANIFEST
        with open_regular(where, MAX_MANIFEST_BYTES) as stream:
            lock = os.dup(stream.fileno())
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # tells `refresh` that somebody reads it
                manifest = read_manifest(stream.read(MAX_MANIFEST_BYTES), str(where))
            except BaseException as problem:
                os.close(lock)
                if isinstance(problem, OSError):
                    raise DatasetError(f"{path}: is being removed ({problem.strerror or problem})") from problem
                raise
        return cls(path, manifest, lock)  # which closes the lock from here on

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process maps the files itself: sending an array would send its content.
        return (View.open, (str(self.path.absolute()),))

    def __del__(self) -> None:
        if (lock := self.__dict__.pop("_lock", None)) is not None:
            os.close(lock)

    def __len__(self) -> int:
        """Episodes."""
        return len(self.numbers)

    def file(self, name: str, folder: str = COLUMNS) -> Path:
        """Return the path of a column's file, or with `folder` of its statistics."""
        return self.path / folder / f"{name}.npy"

    def column(self, name: str) -> NDArray[Any]:
        """Return a column.

        Raises:
            DatasetError: The view has none of that name.
        """
        if name not in self.columns:
            raise DatasetError(f"{self.path}: {unknown('column', name, self.columns)}")
        return self.columns[name]

    def episode(self, name: str, position: int) -> NDArray[Any]:
        """Return (T + 1, *shape) of the episode at `position` in the view."""
        return self.column(name)[self.starts[position] : self.starts[position + 1]]

    def positions(self, numbers: Sequence[int] | None = None) -> NDArray[np.int64]:
        """Return where episodes of these numbers stand in the view; all where absent.

        Raises:
            DatasetError: One is not in the view, or there is none.
        """
        if numbers is None:
            return np.arange(len(self))
        wanted = np.array(numbers, np.int64).reshape(-1)
        if not len(wanted):
            raise DatasetError(f"{self.path}: no episode was chosen; the view has {len(self)}")
        order = np.argsort(self.numbers)
        found = order[np.minimum(np.searchsorted(self.numbers, wanted, sorter=order), len(order) - 1)]
        missing = wanted[self.numbers[found] != wanted]
        if len(missing):
            raise DatasetError(f"{self.path}: there is no episode {missing[0]} in this view; refresh it")
        return found

    def moments(self, name: str) -> NDArray[np.float64]:
        """Return (E, 4, n): min, max, mean and deviation of a column's components in each episode.

        Raises:
            DatasetError: There is no such column, or it has no statistics.
        """
        if name not in self.manifest.statistics:
            self.column(name)
            raise DatasetError(f"{self.path}: column '{name}' has no statistics: more than {MAX_COMPONENTS} components")
        shape = (len(self), 4, math.prod(self.column(name).shape[1:]))
        return map_array(self.file(name, STATISTICS), "float64", shape)

    def statistics(self, name: str, numbers: Sequence[int] | None = None) -> Statistics:
        """Return statistics of a column's components over episodes, rows without a value left out.

        Count, extremes, mean and deviation are exact; quantiles are of at most 100,000 rows, evenly drawn.

        Args:
            name: A column of numbers.
            numbers: Episodes, such as those to train on; all where absent.

        Raises:
            DatasetError: No such column or episode, the column has no statistics, or a value is not finite.
        """
        values, positions = self.column(name), self.positions(numbers)
        kept = self.moments(name)[positions]
        wrong = ~np.isfinite(kept).all(axis=(1, 2))
        if wrong.any():
            number = self.numbers[positions[np.argmax(wrong)]]
            raise DatasetError(f"{self.path}: column '{name}' is not finite in episode {number}; leave it out")
        first, last = without_value(self.schema, name)
        begin, end = self.starts[positions] + first, self.starts[positions + 1] - last
        parts = [
            Statistics(int(n), row[0], row[1], row[2], row[3], {}) for n, row in zip(end - begin, kept, strict=True)
        ]
        total = int((end - begin).sum())
        drawn = np.arange(0, total, max(1, -(-total // SAMPLE_ROWS)))
        ends = np.cumsum(end - begin)
        owner = np.searchsorted(ends, drawn, side="right")
        rows = drawn - ends[owner] + end[owner]
        return merge(parts, np.asarray(values[rows]).reshape(len(rows), -1))

    def verify(self, store: Store | None = None, progress: Callable[[int], None] | None = None) -> list[str]:
        """Return all that is wrong, one sentence each: files against their hashes, and against a store's episodes.

        Args:
            store: Compare every value with the episode that it came from, itself checked by its hashes.
            progress: Called with the number of each episode that was compared.
        """
        problems = []
        for folder, listed in ((COLUMNS, self.manifest.columns), (STATISTICS, self.manifest.statistics)):
            for name, expected in listed.items():
                path = self.file(name, folder)
                try:
                    if hash_regular(path, self._file_bytes(name, folder))[1] != expected:
                        problems.append(f"{path}: is damaged: its bytes do not match the sha256 in {MANIFEST}")
                except DatasetError as problem:
                    problems.append(str(problem))
        if store is not None:
            for position, number in enumerate(self.manifest.number):
                problems += self._compare(store, position, number)
                if progress is not None:
                    progress(number)
        return problems

    def _file_bytes(self, name: str, folder: str) -> int:
        column, rows = self.manifest.stored(name), int(self.starts[-1])
        shape = (rows, *column.shape) if folder == COLUMNS else (len(self), 4, math.prod(column.shape))
        kind = column.dtype if folder == COLUMNS else "float64"
        return len(header(kind, shape)) + np.dtype(kind).itemsize * math.prod(shape)

    def _compare(self, store: Store, position: int, number: int) -> list[str]:
        try:
            episode = store.read(number)
        except DatasetError as problem:
            return [str(problem)]
        if episode.metadata.content_sha256 != self.manifest.content_sha256[position]:
            return [f"{self.path}: episode {number} is another one in {store.path} now; refresh the view"]
        problems = []
        for name in self.columns:
            ours, theirs = self.episode(name, position), episode.columns[name]
            if name == PHASE:
                names = np.array(self.manifest.phases, dtype=object)
                inside = ((ours >= 0) & (ours < len(names))).all()
                same = len(ours) == len(theirs) and inside and names[ours].tolist() == theirs.tolist()
            else:
                same = ours.shape == theirs.shape and _equal(ours, theirs)
            if not same:
                problems.append(f"{self.file(name)}: differs from episode {number} of {store.path}")
        return problems


def _equal(ours: NDArray[Any], theirs: Any) -> bool:
    """Whether values are the same in every bit; a video's picture by picture."""
    if isinstance(theirs, Frames):
        return all(mine.tobytes() == sample.tobytes() for mine, sample in zip(ours, theirs, strict=True))
    return ours.tobytes() == theirs.tobytes()


def read_manifest(raw: bytes, where: str) -> ViewManifest:
    """Read a manifest.

    Raises:
        DatasetError: It is damaged, or of a version that is not known.
    """
    data = parse_json(raw, where)
    if data.get("format") != FORMAT or data.get("version") != VERSION:
        found = f"format = {data.get('format')!r}, version = {data.get('version')!r}"
        raise DatasetError(f"{where}: {found}; this code reads '{FORMAT}', {VERSION}: delete the view, it is made anew")
    dataset = data.get("dataset")
    check_version(dataset if isinstance(dataset, dict) else {}, where)
    return validate(ViewManifest, data, where, DatasetError)

"""The store: a folder with `dataset.json` and one file an episode, each of which is there complete or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.configs.errors import DatasetError
from training_ground.datasets import episode_file, media, migrations
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import describe, names_in, read_regular, remove_leftovers, sync_folder, write_new
from training_ground.datasets.frames import Frames
from training_ground.datasets.schema import (
    IS_LAST,
    TEXT,
    TIMESTAMP,
    DatasetSchema,
    EpisodeMetadata,
    canonical_json,
    parse_json,
)
from training_ground.datasets.timing import stale_changes

DESCRIPTION = "dataset.json"
EPISODES = "episodes"
TRASH = "trash"
MAX_DESCRIPTION_BYTES = 64 << 20
_EPISODE_NAME = re.compile(r"^episode_(\d{6,12})\.parquet$", re.ASCII)
_USED_NAME = re.compile(r"^episode_(\d{6,12})\.(parquet|purged)$", re.ASCII)


@dataclass(frozen=True)
class VerifyReport:
    """What `Store.verify` found.

    Attributes:
        episodes: Episodes looked at.  rows: their rows, the last one of each included.
        problems: One sentence a problem, each beginning with the file.
        notes: What is worth knowing and no error.
    """

    episodes: int
    rows: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class Store:
    """Episodes of one robot with one set of channels, in a folder.

    Any number of processes may append at once, and a kill at any instant loses nothing that `append` returned for.

    Attributes:
        path: The folder.
        schema: Its `dataset.json`.
        recovered: What was found and cleared away on opening, one sentence each; empty after a clean end.
    """

    def __init__(self, path: Path, schema: DatasetSchema, recovered: tuple[str, ...] = ()) -> None:
        self.path, self.schema, self.recovered = path, schema, recovered
        self._next = 0
        self._fingerprint = schema.fingerprint()

    @classmethod
    def create(cls, path: str | Path, schema: DatasetSchema) -> Store:
        """Make an empty store.

        Args:
            path: A folder that does not exist or is empty.
            schema: What the episodes have in common.

        Raises:
            DatasetError: The folder holds something, or cannot be written.
        """
        path = Path(path)
        try:
            (path / EPISODES).mkdir(parents=True, exist_ok=True)
            remove_leftovers(path)
            others = sorted(entry.name for entry in path.iterdir() if entry.name != EPISODES)
            others += sorted(f"{EPISODES}/{entry.name}" for entry in (path / EPISODES).iterdir())
        except OSError as problem:
            raise DatasetError(f"{path}: {describe(problem)}") from problem
        if DESCRIPTION in others:
            raise DatasetError(f"{path}: holds a dataset already; open it, or choose another folder")
        if others:
            raise DatasetError(
                f"{path}: is not empty ({', '.join(others[:3])}); a new dataset needs a folder of its own"
            )
        raw = description(schema)
        write_new(path, raw, lambda: iter([DESCRIPTION]))
        sync_folder(path.parent)
        return cls(path, schema)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store, and clear away what a killed writer left behind (`recovered` says what).

        Raises:
            DatasetError: There is no store, or its description is damaged or of a version that is not known.
        """
        path = Path(path)
        if not path.is_dir():
            remedy = (
                "; it looks like an address: tg data pull fetches it, RemoteStore reads it" if ":/" in str(path) else ""
            )
            raise DatasetError(f"{path}: there is no such folder{remedy}")
        if not (path / DESCRIPTION).exists():
            raise DatasetError(f"{path}: is no dataset: it has no {DESCRIPTION}")
        where = str(path / DESCRIPTION)
        data = parse_json(read_regular(path / DESCRIPTION, MAX_DESCRIPTION_BYTES), where)
        schema = migrations.read_description(data, where)
        episodes = path / EPISODES
        if episodes.is_symlink() or not episodes.is_dir():
            raise DatasetError(f"{episodes}: must be a plain folder")
        store = cls(path, schema)
        try:
            leftovers = [*remove_leftovers(path), *remove_leftovers(episodes)]
            leftovers += media.clear_leftovers(path, store.media_names)
        except OSError as problem:
            raise DatasetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
        store.recovered = tuple(
            f"{name}: removed, an episode that was being written when its writer died" for name in leftovers
        )
        return store

    def episodes(self) -> list[int]:
        """Return the numbers of the episodes that are there, in order; they need not be consecutive."""
        return sorted(self._files())

    def __len__(self) -> int:
        return len(self._files())

    def __iter__(self) -> Iterator[Episode]:
        """Read every episode in order."""
        return (self.read(number) for number in self.episodes())

    def file(self, number: int) -> Path:
        """Return the path of an episode's file, whether it exists or not."""
        return self.path / EPISODES / f"episode_{number:06d}.parquet"

    def append(self, episode: Episode) -> int:
        """Write an episode and return its number; when this returns it is on the disk.

        Raises:
            DatasetError: The episode does not fit the schema, or cannot be written; the store is as it was.
        """
        check_columns(episode, self.schema)
        with media.published(self.path, self.schema, episode.columns) as videos:
            return self._write(self._encode(episode, videos))

    def extend(self, episodes: Iterable[Episode]) -> list[int]:
        """Write episodes in order and return their numbers; when this returns they are on the disk.

        Faster than as many calls of `append`: while one is flushed to the disk the next one is encoded.

        Raises:
            DatasetError: As in `append`; the episodes before that one are on the disk.
        """
        if self.schema.videos():
            return [self.append(episode) for episode in episodes]
        numbers: list[int] = []
        with ThreadPoolExecutor(1) as disk:
            pending: Future[int] | None = None
            try:
                for episode in episodes:
                    check_columns(episode, self.schema)
                    data = self._encode(episode, {})
                    if pending is not None:
                        numbers.append(pending.result())
                    pending = disk.submit(self._write, data, sync_name=False)
            finally:
                try:
                    if pending is not None:
                        numbers.append(pending.result())
                finally:
                    sync_folder(self.path / EPISODES)
        return numbers

    def _encode(self, episode: Episode, videos: dict[str, Frames]) -> bytearray:
        columns: dict[str, Any] = {**episode.columns, **videos}
        metadata = episode.metadata.model_copy(
            update={
                "content_sha256": episode_file.content_hash(columns),
                "schema_sha256": self._fingerprint,
                "media": {name: frames.media for name, frames in videos.items()},
            }
        )
        return episode_file.encode(Episode(metadata, columns), self.schema)

    def _write(self, data: bytearray, *, sync_name: bool = True) -> int:
        name = write_new(self.path / EPISODES, data, self._free_names, sync_name=sync_name)
        number = int(name[len("episode_") : -len(".parquet")])
        self._next = number + 1
        return number

    def _free_names(self) -> Iterator[str]:
        # Listing the folders once is enough: after that we only pass what other writers took meanwhile. What lies in
        # the trash keeps its number: it may come back, and annotations speak of it.
        trash = self.path / TRASH
        if self._next == 0:
            used = [int(match[1]) for name in names_in(trash) if (match := _USED_NAME.match(name))]
            self._next = max([*self._files(), *used], default=-1) + 1
        for number in count(self._next):
            name = self.file(number).name
            if not any((trash / name).with_suffix(suffix).exists() for suffix in (".parquet", ".purged")):
                yield name

    def media_names(self) -> set[str]:
        """Return the names of the media files that episodes name, also those in the trash; of all files, if an episode
        cannot be read."""
        trash = self.path / TRASH
        files = [self.file(number) for number in self.episodes()]
        files += [trash / name for name in names_in(trash) if _EPISODE_NAME.match(name)]
        try:
            read = (episode_file.read_metadata(path, self.schema) for path in files)
            return {one.name for metadata in read for one in metadata.media.values()}
        except DatasetError:
            return set(media.unnamed(self.path, set()))

    def metadata(self, number: int) -> EpisodeMetadata:
        """Read an episode's metadata, quickly: its values are not read and its seal is not checked.

        Raises:
            DatasetError: There is no such episode, or it is damaged.
        """
        return episode_file.read_metadata(self._existing(number), self.schema)

    def read(self, number: int) -> Episode:
        """Read an episode, checked by its hashes.

        Raises:
            DatasetError: There is no such episode, or it is damaged; the message names the file and the problem.
        """
        path = self._existing(number)
        data = read_regular(path, episode_file.MAX_FILE_BYTES)
        return episode_file.decode(data, self.schema, path, number)

    def verify(self, progress: Callable[[int], None] | None = None) -> VerifyReport:
        """Read everything and return all that is wrong.

        Args:
            progress: Called with an episode's number after it was looked at.
        """
        problems, notes, rows = [], list(self.recovered), 0
        seen: dict[tuple[str, ...], int] = {}
        numbers = self.episodes()
        for number in numbers:
            try:
                episode = self.read(number)
                check_columns(episode, self.schema)
                for values in episode.columns.values():
                    if isinstance(values, Frames):
                        values.check()
            except DatasetError as problem:
                problems.append(str(problem))
            else:
                rows += episode.length + 1
                wrong = [*_implausible(episode), *stale_changes(episode.columns, self.schema)]
                problems += [f"{self.file(number)}: {text}" for text in wrong]
                twin = seen.setdefault(_identity(episode.metadata), number)
                if twin != number:
                    notes.append(f"{self.file(number)}: same environment, seed and policy as episode {twin}")
            if progress is not None:
                progress(number)
        there = media.unnamed(self.path, set())
        for name in sorted(set(there) - self.media_names()) if there else ():
            notes.append(f"{self.path / media.MEDIA / name}: is named by no episode; ignored")
        strangers = [e.name for e in os.scandir(self.path / EPISODES) if not _EPISODE_NAME.match(e.name)]
        notes += [f"{self.path / EPISODES / name}: is no episode; ignored" for name in sorted(strangers)]
        return VerifyReport(len(numbers), rows, tuple(problems), tuple(notes))

    def _files(self) -> dict[int, str]:
        try:
            names = [entry.name for entry in os.scandir(self.path / EPISODES)]
        except OSError as problem:
            raise DatasetError(f"{self.path / EPISODES}: cannot be read: {problem.strerror or problem}") from problem
        return {int(match[1]): name for name in names if (match := _EPISODE_NAME.match(name))}

    def _existing(self, number: int) -> Path:
        path = self.file(number)
        if path.exists() or path.is_symlink():
            if path.is_symlink():
                raise DatasetError(f"{path}: is a symbolic link; files of a dataset are plain files")
            return path
        numbers = self.episodes()
        there = f"{numbers[0]} to {numbers[-1]}, {len(numbers)} in all" if numbers else "none"
        raise DatasetError(f"{self.path}: there is no episode {number}; there are: {there}")


def check_columns(episode: Episode, schema: DatasetSchema) -> None:
    """Refuse an episode whose columns are not exactly those of the schema.

    Raises:
        DatasetError: A column is missing, unexpected, or has the wrong type, shape or length; rows are out of order.
    """
    expected, found, rows = schema.columns(), episode.columns, episode.length + 1
    if set(found) != set(expected):
        missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        raise DatasetError(f"episode: columns missing: {missing or 'none'}; not in the schema: {extra or 'none'}")
    for name, column in expected.items():
        values = found[name]
        dtype = TEXT if values.dtype.kind in "OU" else values.dtype.name
        if dtype != column.dtype or values.shape != (rows, *column.shape):
            wanted = f"{column.dtype} {(rows, *column.shape)}"
            raise DatasetError(f"episode: column '{name}' is {dtype} {values.shape}, must be {wanted}")
        letters = episode_file.MAX_TEXT // 4
        if dtype == TEXT and (set(map(type, values)) != {str} or max(map(len, values)) > letters):
            raise DatasetError(f"episode: column '{name}' must hold texts of at most {letters} letters")
    if np.any(found[IS_LAST][:-1]) or not found[IS_LAST][-1]:
        raise DatasetError(f"episode: column '{IS_LAST}' must be set in the last row and in no other")
    if np.any(np.diff(found[TIMESTAMP]) <= 0):
        raise DatasetError(f"episode: column '{TIMESTAMP}' must increase from row to row")
    if episode.metadata.model_hash != schema.model_hash:
        raise DatasetError(
            f"episode: model_hash = {episode.metadata.model_hash[:12]}, the dataset holds episodes of "
            f"'{schema.robot}' compiled as {schema.model_hash[:12]}"
        )


def _implausible(episode: Episode) -> list[str]:
    """Say what the values of a file that is intact cannot mean."""
    problems = []
    for name, values in episode.columns.items():
        if isinstance(values, Frames):
            continue  # what a video cannot hold was refused when it was written
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
            problems.append(f"channel '{name}' is not finite, first in row {int(np.argmin(finite))}")
    return problems


def _identity(metadata: EpisodeMetadata) -> tuple[str, ...]:
    return episode_key(metadata.env_id, metadata.kwargs, metadata.seed, metadata.policy.name, metadata.policy.hash)


def episode_key(
    env_id: str, kwargs: dict[str, Any], seed: int, policy: str, policy_hash: str | None
) -> tuple[str, ...]:
    """Return what decides an episode's content: two with the same key are the same work done twice."""
    return (env_id, canonical_json(kwargs, "kwargs").decode(), str(seed), policy, policy_hash or "")


def description(schema: DatasetSchema) -> bytes:
    """Return the bytes of `dataset.json`.

    Raises:
        DatasetError: Something in it cannot be written as JSON.
    """
    canonical_json(schema.model_dump(mode="json"), DESCRIPTION)  # refuses what is no plain data
    return (json.dumps(schema.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()

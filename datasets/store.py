"""The store: a folder with `dataset.json` and one file an episode, each of which is there complete or not at all."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from typing import Any

from training_ground.configs.errors import DatasetError
from training_ground.datasets import checking, episode_file, media, migrations
from training_ground.datasets.checking import VerifyReport, check_columns
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import (
    Staged,
    describe,
    folder_lock,
    is_folder,
    make_folder,
    names_in,
    read_regular,
    remove_leftovers,
    stage,
    sync_folder,
    write_new,
)
from training_ground.datasets.frames import Frames
from training_ground.datasets.layout import (
    ANNOTATIONS,
    DESCRIPTION,
    EPISODES,
    PURGED,
    SPLITS,
    TRASH,
    episode_name,
    episode_number,
)
from training_ground.datasets.schema import (
    DatasetSchema,
    EpisodeMetadata,
    canonical_json,
    parse_json,
)

MAX_DESCRIPTION_BYTES = 64 << 20
BATCH_BYTES = 1 << 20
"""What `Store.extend` flushes together: enough that the disk's answer is waited for seldom."""
BATCHES_WAITING = 2


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
            for folder in (*reversed(path.absolute().parents), path, path / EPISODES):
                if not folder.is_dir():
                    make_folder(folder)
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
        if not is_folder(path / EPISODES):
            raise DatasetError(f"{path / EPISODES}: is missing; it must be a plain folder")
        store = cls(path, schema)
        store.recovered = tuple(store._recover())
        return store

    def _recover(self) -> Iterator[str]:
        """Clear away what writers that died have left; give a sentence for each file."""
        for name in remove_leftovers(self.path / EPISODES):
            yield f"{name}: removed, an episode that was being written when its writer died"
        for name in media.clear_leftovers(self.path, self.media_names):
            yield f"{media.MEDIA}/{name}: removed, pictures of an episode that was being written when its writer died"
        # The store itself may lie behind a link, on another disk; what is in it may not.
        folders = {"": self.path.resolve(), **{name: self.path / name for name in (ANNOTATIONS, SPLITS, TRASH)}}
        for place, folder in folders.items():
            for name in remove_leftovers(folder):
                yield f"{Path(place) / name}: removed, was being written when its writer died"

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
        return self.path / EPISODES / episode_name(number)

    def append(self, episode: Episode) -> int:
        """Write an episode and return its number; when this returns it is on the disk.

        Raises:
            DatasetError: The episode does not fit the schema, or cannot be written; the store is as it was.
        """
        check_columns(episode, self.schema)
        with media.published(self.path, self.schema, episode.columns, self.media_names) as videos:
            data = self._encode(episode, videos)
            episode_file.seal(data)
            return self._publish(stage(self.path / EPISODES, data))

    def extend(self, episodes: Iterable[Episode]) -> list[int]:
        """Write episodes in order and return their numbers; when this returns they are on the disk.

        Faster than as many calls of `append`: a thread seals, writes and flushes some while the next are encoded.
        Memory holds a few of them at a time.

        Raises:
            DatasetError: As in `append`; the episodes before that one are on the disk.
        """
        if self.schema.videos():
            return [self.append(episode) for episode in episodes]
        numbers: list[int] = []
        trouble: list[BaseException] = []

        def write(files: Sequence[memoryview]) -> None:
            try:
                if not trouble:
                    self._write(files, numbers)
            except BaseException as problem:
                trouble.append(problem)

        with ThreadPoolExecutor(1) as pool:
            waiting: deque[Future[None]] = deque()
            try:
                for files in _batches(map(self._checked, episodes)):
                    waiting.append(pool.submit(write, files))
                    if len(waiting) > BATCHES_WAITING:
                        waiting.popleft().result()
                    if trouble:
                        break
            finally:
                wait(waiting)
                self._sync_names()
                if trouble:
                    raise trouble[0]
        return numbers

    def _checked(self, episode: Episode) -> memoryview:
        check_columns(episode, self.schema)
        return self._encode(episode, {})

    def _write(self, files: Sequence[memoryview], numbers: list[int]) -> None:
        """Seal files, write them together and give them numbers, up to the first where that fails."""
        staged: deque[Staged] = deque()
        try:
            try:
                for data in files:
                    episode_file.seal(data)
                    staged.append(stage(self.path / EPISODES, data, sync=False))
            finally:
                while staged:
                    staged[0].flush()
                    numbers.append(self._publish(staged[0], sync_name=False))
                    staged.popleft()
        finally:
            for one in staged:
                one.discard()

    def _publish(self, staged: Staged, *, sync_name: bool = True) -> int:
        """Give a complete file its number. Others may at the same time, but nobody may move files to the trash."""
        try:
            with folder_lock(self.path, shared=True):
                name = staged.publish(self._free_names, sync_name=sync_name)
        except OSError as problem:
            raise DatasetError(f"{self.path}: {describe(problem)}") from problem
        finally:
            staged.discard()
        number = episode_number(name)
        assert number is not None
        self._next = number + 1
        return number

    def _sync_names(self) -> None:
        try:
            sync_folder(self.path / EPISODES)
        except OSError as problem:
            raise DatasetError(f"{self.path / EPISODES}: {describe(problem)}") from problem

    def _encode(self, episode: Episode, videos: dict[str, Frames]) -> memoryview:
        columns: dict[str, Any] = {**episode.columns, **videos}
        metadata = episode.metadata.model_copy(
            update={
                "content_sha256": episode_file.content_hash(columns),
                "schema_sha256": self._fingerprint,
                "media": {name: frames.media for name, frames in videos.items()},
            }
        )
        return episode_file.encode_unsealed(Episode(metadata, columns), self.schema)

    def _free_names(self) -> Iterator[str]:
        # Listing the folders once is enough: after that we only pass what other writers took meanwhile. What lies in
        # the trash keeps its number: it may come back, and annotations speak of it.
        trash = self.path / TRASH
        if self._next == 0:
            purged = [int(match[1]) for name in names_in(trash) if (match := PURGED.fullmatch(name))]
            self._next = max([*self._files(), *self._trashed(), *purged], default=-1) + 1
        for number in count(self._next):
            path = trash / episode_name(number)
            if not path.exists() and not path.with_suffix(".purged").exists():
                yield path.name

    def media_names(self) -> set[str]:
        """Return the names of the media files that episodes name, also those in the trash; of all files, if an episode
        cannot be read."""
        files = [self.file(number) for number in self.episodes()]
        files += [self.path / TRASH / episode_name(number) for number in self._trashed()]
        try:
            read = (episode_file.read_metadata(path, self.schema) for path in files)
            return {one.name for metadata in read for one in metadata.media.values()}
        except DatasetError:
            return set(media.names(self.path))

    def _trashed(self) -> list[int]:
        return [number for name in names_in(self.path / TRASH) if (number := episode_number(name)) is not None]

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
        return checking.verify(self, progress)

    def _files(self) -> list[int]:
        try:
            names = [entry.name for entry in os.scandir(self.path / EPISODES)]
        except OSError as problem:
            raise DatasetError(f"{self.path / EPISODES}: cannot be read: {problem.strerror or problem}") from problem
        return [number for name in names if (number := episode_number(name)) is not None]

    def _existing(self, number: int) -> Path:
        path = self.file(number)
        if path.exists() or path.is_symlink():
            if path.is_symlink():
                raise DatasetError(f"{path}: is a symbolic link; files of a dataset are plain files")
            return path
        numbers = self.episodes()
        there = f"{numbers[0]} to {numbers[-1]}, {len(numbers)} in all" if numbers else "none"
        raise DatasetError(f"{self.path}: there is no episode {number}; there are: {there}")


def _batches(files: Iterable[memoryview]) -> Iterator[list[memoryview]]:
    """Put files together that are written together; where `files` raises, what came before is given first."""
    batch = list[memoryview]()
    try:
        for data in files:
            batch.append(data)
            if sum(one.nbytes for one in batch) >= BATCH_BYTES:
                yield batch
                batch = []
    except Exception:
        yield batch
        raise
    yield batch


def description(schema: DatasetSchema) -> bytes:
    """Return the bytes of `dataset.json`.

    Raises:
        DatasetError: Something in it cannot be written as JSON.
    """
    canonical_json(schema.model_dump(mode="json"), DESCRIPTION)  # refuses what is no plain data
    return (json.dumps(schema.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()

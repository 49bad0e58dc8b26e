"""A store that is read where it lies: episodes one by one or in a stream, whole and checked, or a few columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError, unknown
from training_ground.datasets import episode_file
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.frames import Frames
from training_ground.datasets.layout import EPISODES, FILES, MEDIA
from training_ground.datasets.remote.cache import Cache
from training_ground.datasets.remote.contents import Contents, look
from training_ground.datasets.remote.location import Location
from training_ground.datasets.remote.parallel import in_order
from training_ground.datasets.remote.ranges import FIRST_TAIL_BYTES, pieces_of
from training_ground.datasets.schema import EpisodeMetadata
from training_ground.datasets.store import VerifyReport, check_columns

MAX_AHEAD_BYTES = 256 << 20
"""Files that are fetched or wait to be taken, at most; one that is larger comes alone."""


class RemoteStore:
    """The episodes at an address, read-only.

    What it holds is found out once, when it is opened.

    Attributes:
        url: Where it is.
        schema: Its `dataset.json`.
        contents: Its files, and what its manifest says of them.
        cache: Where files are kept; media always need some place, episodes are kept only in a cache that was given.
        location: Counts requests and bytes.
    """

    def __init__(self, location: Location, contents: Contents, cache: Cache | None) -> None:
        self.url, self.schema, self.contents, self.location = location.url, contents.schema, contents, location
        self.cache, self._keeps = cache or Cache.temporary(), cache is not None
        pattern = FILES[EPISODES]
        names = (path.partition("/")[2] for path in contents.files if path.startswith(f"{EPISODES}/"))
        self._paths = {int(match[1]): f"{EPISODES}/{name}" for name in names if (match := pattern.fullmatch(name))}
        self._tail = FIRST_TAIL_BYTES

    @classmethod
    def open(cls, url: str, *, keys: Sequence[bytes] = (), cache: Cache | None = None) -> RemoteStore:
        """Open the store at an address.

        Args:
            url: Such as `s3://bucket/press`, `https://host/press`, or `file://` and a path.
            keys: Public keys that the reader trusts: the manifest must be signed by one of them, and only files that it
                lists are there.
            cache: Keep episodes and media whose hash is known; without, every episode is fetched each time.

        Raises:
            DatasetError: The address is refused, or there is no store, or it is damaged or not signed as demanded.
        """
        location = Location(url)
        return cls(location, look(location, keys), cache)

    def episodes(self) -> list[int]:
        """Return the numbers of the episodes, in order; they need not be consecutive."""
        return sorted(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Episode]:
        """Read every episode in order."""
        return self.stream()

    def metadata(self, number: int) -> EpisodeMetadata:
        """Fetch the end of an episode's file and return its metadata; checked as `columns`.

        Raises:
            DatasetError: There is no such episode, or it is damaged.
        """
        return self._part(number, ())[0]

    def read(self, number: int) -> Episode:
        """Fetch an episode whole, checked by the manifest's hash where there is one, its seal and its content hash.

        Videos are fetched when their first frame is asked for.

        Raises:
            DatasetError: There is no such episode, or it is damaged.
        """
        path, data = self._path(number), self._bytes(number)
        # Where its media are found: beside a folder of episodes, in the cache.
        local = self.cache.folder / EPISODES / Path(path).name
        try:
            episode = episode_file.decode(data, self.schema, local, number)
        except DatasetError as problem:
            raise DatasetError(str(problem).replace(str(local), f"{self.url}/{path}")) from problem
        columns: dict[str, Any] = episode.columns
        for name, values in columns.items():
            if isinstance(values, Frames):
                columns[name] = self._frames(values)
        return episode

    def columns(self, number: int, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """Fetch some columns of an episode, (T + 1, *shape) each, and little else.

        A part of a file has no hash: a change to it that leaves the file readable is not noticed. Sizes and layout are
        checked. `read` checks everything; of a store that was opened with `keys`, the file comes whole and checked.

        Raises:
            DatasetError: There is no such episode or column, the column is a video, or the file is damaged.
        """
        known = self.schema.columns()
        for name in names:
            if name not in known:
                raise DatasetError(f"{self.url}: {unknown('column', name, known)}")
            if name in self.schema.videos():
                raise DatasetError(f"{self.url}: column '{name}' is a video: read the episode whole")
        return self._part(number, tuple(names))[1]

    def stream(self, episodes: Sequence[int] | None = None, ahead: int = 4) -> Iterator[Episode]:
        """Yield episodes, the next ones on their way meanwhile.

        Args:
            episodes: Their numbers, in the order in which they are wanted; all, in theirs, where absent.
            ahead: Most that are fetched at once or wait; fewer where their files are large (256 MiB in all).

        Raises:
            DatasetError: As `read`.
        """
        return in_order(self.read, self._weighed(episodes), ahead, MAX_AHEAD_BYTES)

    def stream_columns(
        self, names: Collection[str], episodes: Sequence[int] | None = None, ahead: int = 8
    ) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """Yield number and some columns of episodes; as `stream` and `columns`."""

        def work(number: int) -> tuple[int, dict[str, NDArray[Any]]]:
            return number, self.columns(number, names)

        return in_order(work, self._weighed(episodes), ahead, MAX_AHEAD_BYTES)

    def stream_metadata(self, ahead: int = 8) -> Iterator[tuple[int, EpisodeMetadata]]:
        """Yield number and metadata of every episode; as `stream` and `metadata`."""
        return in_order(lambda number: (number, self.metadata(number)), ((n, 1) for n in self.episodes()), ahead, ahead)

    def verify(self, progress: Callable[[int], None] | None = None) -> VerifyReport:
        """Read everything and return all that is wrong; nothing of it comes from the cache or goes there.

        Args:
            progress: Called with an episode's number after it was looked at.
        """
        problems, rows, named = [], 0, set()
        for path, held in self.contents.files.items():
            if not path.startswith(f"{EPISODES}/") and (known := self.contents.sha256(path)) is not None:
                problems += self._compare(path, held.size, known)
        for number in self.episodes():
            try:
                episode = episode_file.decode(self._fetched(number), self.schema, Path(self._path(number)), number)
                check_columns(episode, self.schema)
            except DatasetError as problem:
                problems.append(str(problem))
            else:
                rows += episode.length + 1
                named |= {f"{MEDIA}/{one.name}" for one in episode.metadata.media.values()}
            if progress is not None:
                progress(number)
        missing = sorted(named - set(self.contents.files))
        problems += [f"{self.url}/{path}: is named by an episode and not there" for path in missing]
        return VerifyReport(len(self), rows, tuple(problems), self.contents.notes)

    def _compare(self, path: str, size: int, known: str) -> list[str]:
        try:
            same = self.location.sha256(path, size) == known
        except DatasetError as problem:
            return [str(problem)]
        return [] if same else [f"{self.url}/{path}: is damaged or was changed: its bytes are not those promised"]

    def _path(self, number: int) -> str:
        if number not in self._paths:
            numbers = self.episodes()
            there = f"{numbers[0]} to {numbers[-1]}, {len(numbers)} in all" if numbers else "none"
            raise DatasetError(f"{self.url}: there is no episode {number}; there are: {there}")
        return self._paths[number]

    def _weighed(self, episodes: Sequence[int] | None) -> Iterator[tuple[int, int]]:
        numbers = self.episodes() if episodes is None else list(episodes)
        return ((number, self.contents.files[self._path(number)].size) for number in numbers)

    def _bytes(self, number: int) -> bytes:
        path = self._path(number)
        known, size = self.contents.sha256(path), self.contents.files[path].size
        if not self._keeps or known is None or size > self.cache.max_bytes:
            return self._fetched(number)
        data = self.cache.get(known, size)
        if data is None:
            data = self._fetched(number)
            self.cache.put(EPISODES, known, [data], f"{self.url}/{path}")
        return data

    def _fetched(self, number: int) -> bytes:
        path = self._path(number)
        known, size = self.contents.sha256(path), self.contents.files[path].size
        data = b"".join(self.location.blocks(path, size))
        if known is not None and hashlib.sha256(data).hexdigest() != known:
            raise DatasetError(f"{self.url}/{path}: is damaged or was changed: its bytes are not those promised")
        return data

    def _part(self, number: int, names: tuple[str, ...]) -> tuple[EpisodeMetadata, dict[str, NDArray[Any]]]:
        path = self._path(number)
        size, known, where = self.contents.files[path].size, self.contents.sha256(path), f"{self.url}/{path}"
        whole: bytes | None = None
        if self.contents.statement is not None:  # who asks for a signature gets nothing that is not covered by it
            whole = self._bytes(number)
        elif self._keeps and known is not None:
            whole = self.cache.get(known, size)

        def fetch(start: int, end: int) -> bytes:
            return self.location.fetch(path, start, end) if whole is None else whole[start:end]

        pieces, footer = pieces_of(size, fetch, where, self._tail)
        self._tail = min(FIRST_TAIL_BYTES, footer + footer // 4)  # the next one's is about as long
        return episode_file.read_columns(pieces, self.schema, where, names)

    def _frames(self, frames: Frames) -> Frames:
        path, media = f"{MEDIA}/{frames.media.name}", frames.media
        held = self.contents.files.get(path)

        def fetch() -> None:
            if held is None or held.size != media.bytes:
                raise DatasetError(f"{self.url}/{path}: is named by an episode and not there, or of another size")
            blocks = self.location.blocks(path, media.bytes)
            self.cache.put(MEDIA, media.sha256, blocks, f"{self.url}/{path}")

        return _RemoteFrames(frames, self.cache, fetch)


class _RemoteFrames(Frames):
    """Frames whose file is fetched when the first of them is asked for, and again when the cache has let it go."""

    def __init__(self, frames: Frames, cache: Cache, fetch: Callable[[], None]) -> None:
        path = cache.file(MEDIA, frames.media.sha256)
        super().__init__(path, frames.media, frames.column, frames.storage, frames.numbers, frames.rate, keep=cache)
        self._fetch: Callable[[], None] | None = fetch
        self._cached = lambda: cache.has_medium(frames.media.sha256, frames.media.bytes)

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame by its number."""
        if self._reader is None and self._fetch is not None and not self._cached():
            self._fetch()
        return super().frame(number)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_fetch": None, "_cached": None}  # another process has what is in the cache

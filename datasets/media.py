"""Media files of a store: named by their content, complete before the episode that names them, and cleared away after a
writer that died in between.

A file is written as `media/.tmp-…`, which its writer keeps locked. When it is complete it gets its name as a second
one; the first one goes when the episode is there. So a file of which a temporary name is left, unlocked, may be one
that no episode names, and no other file can be: opening a store looks at these alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import (
    create_locked,
    describe,
    hash_regular,
    make_folder,
    name_it,
    names_in,
    open_regular,
    remove_leftovers,
    sync_folder,
)
from training_ground.datasets.frames import Frames
from training_ground.datasets.layout import FILES, MEDIA
from training_ground.datasets.schema import Column, DatasetSchema
from training_ground.datasets.video import VideoWriter
from training_ground.datasets.video_schema import MAX_MEDIA_BYTES, Media, VideoStorage

Named = Callable[[], set[str]]
"""Returns the names of the media files that a store's episodes name."""
_BLOCK = 1 << 20
_AT_ONCE = 200
"""Files that are open at a time."""


class Draft:
    """A locked temporary file, which goes with this object."""

    def __init__(self, folder: Path) -> None:
        try:
            self.path, self.descriptor = create_locked(folder)
        except OSError as problem:
            raise DatasetError(f"{folder}: {describe(problem)}") from problem
        self._end = weakref.finalize(self, _drop, self.path, self.descriptor, os.getpid())

    def close(self) -> None:
        """Remove the temporary name and let go of the lock."""
        self._end()


def _drop(path: Path, descriptor: int, process: int) -> None:
    with contextlib.suppress(OSError):
        if os.getpid() == process:  # what a fork inherited is not its to remove
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.close(descriptor)


class Recording:
    """Rows of one channel on their way into a file.

    Args:
        folder: Where: the store's folder `media`, or any other.
        column, storage, rate: As `VideoWriter` takes them.
    """

    def __init__(self, folder: Path, column: Column, storage: VideoStorage, rate: float) -> None:
        self._arguments = column, storage, rate
        self._draft = Draft(folder)
        self._writer = VideoWriter(self._draft.path, column, storage, rate)

    def add(self, sample: NDArray[Any]) -> None:
        """Add a row."""
        self._writer.add(sample)

    def finish(self) -> Frames:
        """Return the rows; their file lives as long as they do."""
        column, storage, rate = self._arguments
        numbers, decoded, psnr = self._writer.close()
        size, sha256 = hash_regular(self._draft.path, MAX_MEDIA_BYTES)
        frames = int(numbers[-1]) + 1
        media = Media(sha256=sha256, bytes=size, frames=frames, decoded_sha256=decoded, psnr_db=psnr)
        return Frames(self._draft.path, media, column, storage, numbers, rate, keep=self._draft)

    def abandon(self) -> None:
        """Remove what was written."""
        self._writer.abandon()
        self._draft.close()


@contextlib.contextmanager
def published(
    store: Path, schema: DatasetSchema, columns: Mapping[str, Any], named: Named
) -> Iterator[dict[str, Frames]]:
    """Put the media files of an episode where readers look for them, for the block that writes the episode.

    Frames that are stored as the schema says are taken as they are, byte for byte; other values are encoded.

    Args:
        store: The store's folder.
        schema: Its schema.
        columns: The episode's; see `Episode`.
        named: Asked when the block fails.

    Yields:
        Frames in the store, by channel. When the block fails, files that came with it and no episode names go again.

    Raises:
        DatasetError: A file cannot be written, or frames cannot be read.
    """
    videos = schema.videos()
    if not videos:
        yield {}
        return
    folder = make_folder(store / MEDIA)
    placed: dict[str, Frames] = {}
    made: list[Path] = []
    with contextlib.ExitStack() as stack:
        for name, storage in videos.items():
            placed[name] = _in_folder(folder, schema, name, storage, columns[name])
            stack.callback(placed[name].keep.close)
        # Each file once, for a lock would wait for ourselves, and in one order, for two writers would for each other.
        drafts = {folder / frames.media.name: frames.keep for frames in placed.values()}
        try:
            for path in sorted(drafts):
                if _publish(drafts[path], path, stack):
                    made.append(path)
            sync_folder(folder)
            for frames in placed.values():
                frames.move(folder / frames.media.name)
            yield placed
        except BaseException:
            # An interrupt may have come after the episode got its name.
            kept = named() if made else set()
            for path in made:
                if path.name not in kept:
                    path.unlink(missing_ok=True)
            raise


def clear_leftovers(store: Path, named: Named) -> list[str]:
    """Remove what writers that died have left, and return the names.

    Args:
        store: The store's folder.
        named: Asked only if it is in doubt whether a file belongs to an episode.
    """
    folder = store / MEDIA

    def clear(entry: os.DirEntry[str], links: int) -> list[str]:
        """Remove the content name of a file whose writer died, if no episode came to name it."""
        if links < 2:
            return []
        known, inode = named(), entry.inode()
        twins = [e for e in os.scandir(folder) if FILES[MEDIA].fullmatch(e.name) and e.inode() == inode]
        gone = [twin for twin in twins if twin.name not in known]
        for twin in gone:
            Path(twin.path).unlink()
        return [twin.name for twin in gone]

    return remove_leftovers(folder, clear)


def remove_unnamed(store: Path, named: Named) -> list[str]:
    """Remove the files that no episode names, and return their names.

    A file that a writer is at work on is locked, and stays: it holds the lock until its episode is there.

    Args:
        store: The store's folder.
        named: Asked while all that may go is locked, so that no writer can come to name it.
    """
    known, gone = named(), list[str]()
    unnamed = [name for name in names(store) if name not in known]
    for first in range(0, len(unnamed), _AT_ONCE):
        with contextlib.ExitStack() as stack:
            free = [name for name in unnamed[first : first + _AT_ONCE] if _lock(store / MEDIA / name, stack)]
            kept = named() if free else set()
            for name in free:
                if name not in kept:
                    (store / MEDIA / name).unlink(missing_ok=True)
                    gone.append(name)
    return gone


def _lock(path: Path, stack: contextlib.ExitStack) -> bool:
    """Lock a file that nobody has locked, until the stack ends."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def names(store: Path) -> list[str]:
    """Return the names of a store's media files."""
    return [name for name in names_in(store / MEDIA) if FILES[MEDIA].fullmatch(name)]


def _in_folder(folder: Path, schema: DatasetSchema, name: str, storage: VideoStorage, values: Any) -> Frames:
    """Return frames whose file is a draft in the folder."""
    column, rate = schema.columns()[name], schema.control_rate
    if isinstance(values, Frames) and values.storage == storage and values.rate == rate:
        if isinstance(values.keep, Draft) and values.path.parent == folder and values.path.exists():
            os.fsync(values.keep.descriptor)
            return values
        draft = Draft(folder)
        _copy(values, draft)
        return Frames(draft.path, values.media, column, storage, values.numbers, rate, keep=draft)
    recording = Recording(folder, column, storage, rate)
    try:
        for sample in values:
            recording.add(np.asarray(sample))
    except BaseException:
        recording.abandon()
        raise
    frames = recording.finish()
    os.fsync(frames.keep.descriptor)
    return frames


def _publish(draft: Draft, target: Path, stack: contextlib.ExitStack) -> bool:
    """Give a complete file its second name; False where a file of that content is there, which is then held instead."""
    while True:
        try:
            if name_it(draft.path, target):
                return True
            descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            # Waits for a writer that has not written its episode yet; who clears leftovers does not wait for us.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.fstat(descriptor).st_nlink == 0:
                continue
            if hash_regular(target, MAX_MEDIA_BYTES) != hash_regular(draft.path, MAX_MEDIA_BYTES):
                draft.path.replace(target)  # what stood there was damaged; other episodes may name it
            return False
        except FileNotFoundError:
            continue
        except OSError as problem:
            raise DatasetError(f"{target}: {describe(problem)}") from problem


def _copy(frames: Frames, draft: Draft) -> None:
    digest = hashlib.sha256()
    try:
        with open_regular(frames.path, frames.media.bytes) as source:
            while block := source.read(_BLOCK):
                digest.update(block)
                view = memoryview(block)
                while view.nbytes:
                    view = view[os.write(draft.descriptor, view) :]
        os.fsync(draft.descriptor)
    except OSError as problem:
        raise DatasetError(f"{draft.path.parent}: {describe(problem)}") from problem
    if digest.hexdigest() != frames.media.sha256:
        raise DatasetError(f"{frames.path}: is damaged: it is not the file that its episode names")

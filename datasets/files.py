"""Files that survive a kill: written under a temporary name, flushed, and named only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from training_ground.configs.errors import DatasetError

TEMPORARY_PREFIX = ".tmp-"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


def write_new(folder: Path, data: bytes | bytearray | memoryview, names: Callable[[], Iterator[str]]) -> str:
    """Write `data` to `folder` under the first of `names` that is free, and return that name.

    The file appears complete and flushed to the disk, or not at all; an existing file is never replaced, also when
    several processes try the same names.

    Args:
        folder: An existing folder.
        data: The file's content.
        names: Returns the names to try, in order; asked once.

    Raises:
        DatasetError: The disk is full or the folder cannot be written; nothing is left behind.
    """
    staged = stage(folder, data)
    try:
        return staged.publish(names)
    finally:
        staged.discard()


@dataclass
class Staged:
    """A complete file that has no name yet.

    Attributes:
        folder: Where it lies and will be named.
    """

    folder: Path
    _temporary: Path
    _descriptor: int

    def publish(self, names: Callable[[], Iterator[str]], *, sync_name: bool = True) -> str:
        """Give it the first of `names` that is free, and return that.

        Args:
            names: Returns the names to try, in order; asked once.
            sync_name: Whether the name is flushed; who names many calls `sync_folder` once, at the end.

        Raises:
            DatasetError: None is free, or the folder cannot be written; then it has no name.
        """
        try:
            for name in names():
                if name_it(self._temporary, self.folder / name):
                    if sync_name:
                        _sync_new(self.folder / name)
                    return name
        except OSError as problem:
            raise _not_written(self.folder, problem) from problem
        raise DatasetError(f"{self.folder}: a file of that name is already there")

    def flush(self) -> None:
        """Flush its content to the disk.

        Raises:
            DatasetError: The disk is full or broken.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as problem:
            raise _not_written(self.folder, problem) from problem

    def replace(self, path: Path) -> None:
        """Put it in the place of a file that may be there.

        Raises:
            DatasetError: The folder cannot be written.
        """
        try:
            self._temporary.rename(path)
            sync_folder(path.parent)
        except OSError as problem:
            raise DatasetError(f"{path}: {describe(problem)}; what was there before is untouched") from problem

    def discard(self) -> None:
        """Let go of it; without a name it is gone."""
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def stage(folder: Path, data: bytes | bytearray | memoryview, *, sync: bool = True) -> Staged:
    """Write a file under a temporary name and flush it; the caller names or discards it.

    Args:
        folder, data: As in `write_new`.
        sync: Who stages many leaves it out and then calls `flush` of each: the first takes what belongs to the others
            along, for their writing has begun, and the disk is asked to keep its promise once instead of many times.

    Raises:
        DatasetError: The disk is full or the folder cannot be written; nothing is left behind.
    """
    staged: Staged | None = None
    try:
        staged = Staged(folder, *create_locked(folder))
        _write_all(staged._descriptor, data)
        if sync:
            os.fsync(staged._descriptor)
        elif hasattr(os, "posix_fadvise"):
            # Linux begins to write, and drops only what is on the disk already.
            os.posix_fadvise(staged._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return staged
    except BaseException as problem:
        if staged is not None:
            staged.discard()
        if isinstance(problem, OSError):
            raise _not_written(folder, problem) from problem
        raise


def _not_written(folder: Path, problem: OSError) -> DatasetError:
    return DatasetError(f"{folder}: {describe(problem)}; nothing that was already written is lost")


def write_over(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Write a file that may be there already: complete and flushed to the disk, or what was there before.

    Raises:
        DatasetError: The disk is full or the folder cannot be written; nothing is left behind.
    """
    staged = stage(path.parent, data)
    try:
        staged.replace(path)
    finally:
        staged.discard()


def _sync_new(path: Path) -> None:
    """Flush the name of a new file; where that fails the name goes, for its writer says that nothing was written."""
    try:
        sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def describe(problem: OSError) -> str:
    """Say in words what went wrong with a file."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return "cannot be written: the disk is full"
    return f"cannot be written: {problem.strerror or problem}"


def create_locked(folder: Path) -> tuple[Path, int]:
    """Create a temporary file and lock it: the lock goes with the process, and tells others that it is in use."""
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink > 0:
                return path, descriptor
        except BlockingIOError:
            pass  # someone who opened the store took it for a leftover in between; take another
        os.close(descriptor)


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a locked temporary file, for who writes in pieces; what was given no other name is gone at the end."""
    path, descriptor = create_locked(folder)
    with os.fdopen(descriptor, "wb") as stream:  # the lock goes with the descriptor
        try:
            yield path, stream
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data).cast("B")
    while view.nbytes:
        view = view[os.write(descriptor, view[: 64 << 20]) :]


def name_it(temporary: Path, path: Path) -> bool:
    """Give a complete file its name; False where the name is taken."""
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
    # A file system without hard links: take turns, for a rename would replace another's file.
    with folder_lock(path.parent):
        if path.exists() or path.is_symlink():
            return False
        temporary.rename(path)
        return True


def move_new(source: Path, target: Path) -> bool:
    """Give a file another name on the same disk, never in the place of another file; False where the name is taken.

    At every instant it has at least one of the names. A kill may leave both: then the next call takes the first away.
    """
    if not name_it(source, target) and not (source.exists() and target.samefile(source)):
        return False
    source.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def folder_lock(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the folder's lock, alone or with others that share it; it goes with the process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> Path:
    """Make a folder, whose name is then flushed, where there is none; return its path.

    Raises:
        DatasetError: A link or something else has that name, or it cannot be made.
    """
    if not is_folder(path):
        try:
            path.mkdir(exist_ok=True)  # another process may have made it
            sync_folder(path.parent)
        except OSError as problem:
            raise DatasetError(f"{path}: {describe(problem)}") from problem
        is_folder(path)
    return path


def is_folder(path: Path) -> bool:
    """Whether there is a folder.

    Raises:
        DatasetError: A link or something else has that name.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise DatasetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    if not stat.S_ISDIR(mode):
        kind = "is a symbolic link" if stat.S_ISLNK(mode) else "is something else"
        raise DatasetError(f"{path}: {kind}; it must be a plain folder")
    return True


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, in order; none where there is no such folder.

    Raises:
        DatasetError: It is no plain folder, or cannot be read.
    """
    return sorted(entry.name for entry in _entries(folder)) if is_folder(folder) else []


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as problem:
        raise DatasetError(f"{folder}: cannot be read: {problem.strerror or problem}") from problem


def remove_leftovers(folder: Path, clear: Callable[[os.DirEntry[str], int], list[str]] | None = None) -> list[str]:
    """Remove temporary files whose writer is gone, and return their names; those in use stay.

    Args:
        folder: Where; need not exist.
        clear: Removes what belongs to such a file, before the file itself, and returns the names; called with the file
            and with how many names it has, while it is locked.

    Raises:
        DatasetError: It is no plain folder, or cannot be read.
    """
    removed: list[str] = []
    for entry in _entries(folder) if is_folder(folder) else ():
        if not entry.name.startswith(TEMPORARY_PREFIX) or not entry.is_file(follow_symlinks=False):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if clear is not None:
                    removed += clear(entry, os.fstat(descriptor).st_nlink)
                Path(entry.path).unlink()
                removed.append(entry.name)
            finally:
                os.close(descriptor)
    return sorted(removed)


@contextlib.contextmanager
def open_regular(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a file that must be a plain one of a bounded size; links are not followed, pipes not waited for.

    Raises:
        DatasetError: It is missing, a link, no plain file, too large, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise DatasetError(f"{path}: is a symbolic link; files of a dataset are plain files") from problem
        raise DatasetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DatasetError(f"{path}: is no plain file")
        if status.st_size > max_bytes:
            raise DatasetError(f"{path}: has {status.st_size} bytes, more than the {max_bytes} allowed")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            yield stream
    finally:
        os.close(descriptor)


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a whole file as `open_regular` opens it.

    Raises:
        DatasetError: As there, or the disk fails while it is read.
    """
    with open_regular(path, max_bytes) as stream:
        try:
            # Not `read(max_bytes)`, which takes memory for all that is allowed before it looks.
            return stream.read(os.fstat(stream.fileno()).st_size)
        except OSError as problem:
            raise DatasetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem


def hash_regular(path: Path, max_bytes: int) -> tuple[int, str]:
    """Return size and sha256 (hex) of a file as `open_regular` opens it; memory stays small however large it is.

    Raises:
        DatasetError: As there, or the disk fails while it is read.
    """
    digest, size = hashlib.sha256(), 0
    with open_regular(path, max_bytes) as stream:
        try:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
        except OSError as problem:
            raise DatasetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    return size, digest.hexdigest()

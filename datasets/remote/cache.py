"""Files that were fetched, kept by the hash of their content: bounded, least recently used ones go first."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path

from training_ground.assets.cache import cache_root
from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import (
    describe,
    hash_regular,
    name_it,
    read_regular,
    remove_leftovers,
    temporary,
)

_NAME = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,8}", re.ASCII)


class Cache:
    """A folder of files named by their sha256; several processes may use it at once.

    What is taken from it is compared with its name first: a file that was changed is fetched again.

    Args:
        folder: Where; `remote` in the cache of compiled models (`TG_CACHE`) where absent.
        max_bytes: Most that it holds; a file that is larger is not kept.

    Raises:
        DatasetError: The folder cannot be made or written.
    """

    def __init__(self, folder: str | Path | None = None, max_bytes: int = 8 << 30) -> None:
        self.folder, self.max_bytes = Path(folder or cache_root() / "remote"), max_bytes
        self._turn = threading.Lock()
        self._held: int | None = None
        for name in ("episodes", "media"):
            try:
                (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
                remove_leftovers(self.folder / name)
            except OSError as problem:
                raise DatasetError(f"{self.folder}: {describe(problem)}") from problem

    @classmethod
    def temporary(cls, max_bytes: int = 2 << 30) -> Cache:
        """Make one that goes with this object."""
        cache = cls(tempfile.mkdtemp(prefix="training-ground-"), max_bytes)
        weakref.finalize(cache, shutil.rmtree, cache.folder, ignore_errors=True)
        return cache

    def file(self, kind: str, sha256: str) -> Path:
        """Return where a file is, or would be: `kind` is `episodes` or `media`."""
        return self.folder / kind / f"{sha256}.{'mkv' if kind == 'media' else 'parquet'}"

    def get(self, sha256: str, size: int) -> bytes | None:
        """Return an episode's bytes, None where they are not here."""
        path = self.file("episodes", sha256)
        try:
            data = read_regular(path, size)
        except DatasetError:
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            return None
        _touch(path)
        return data

    def has_medium(self, sha256: str, size: int) -> bool:
        """Say whether a media file is here, whole."""
        path = self.file("media", sha256)
        try:
            found = hash_regular(path, size)
        except DatasetError:
            return False
        _touch(path)
        return found == (size, sha256)

    def put(self, kind: str, sha256: str, blocks: Iterable[bytes], where: str) -> None:
        """Keep a file, and let others go for it.

        Raises:
            DatasetError: The bytes are not those of the hash (nothing is kept), or the disk is full.
        """
        target, digest = self.file(kind, sha256), hashlib.sha256()
        try:
            with temporary(target.parent) as (draft, stream):
                for block in blocks:
                    digest.update(block)
                    stream.write(block)
                stream.flush()
                if digest.hexdigest() != sha256:
                    raise DatasetError(
                        f"{where}: is damaged or was changed: its bytes are not those that were promised"
                    )
                self._make_room(stream.tell())
                if not name_it(draft, target):
                    draft.replace(target)  # the same, or damaged
        except OSError as problem:
            raise DatasetError(f"{self.folder}: {describe(problem)}") from problem

    def _make_room(self, size: int) -> None:
        """Remove what was used longest ago until `size` more bytes fit; lists the folder only when it may be full."""
        with self._turn:
            if self._held is not None and self._held + size <= self.max_bytes:
                self._held += size
                return
            files = []
            for kind in ("episodes", "media"):
                for entry in os.scandir(self.folder / kind):
                    if _NAME.fullmatch(entry.name):
                        with contextlib.suppress(FileNotFoundError):
                            status = entry.stat(follow_symlinks=False)
                            files.append((status.st_mtime_ns, status.st_size, entry.path))
            held = sum(file[1] for file in files)
            for _, file_size, path in sorted(files):
                if held + size <= 0.9 * self.max_bytes:
                    break
                Path(path).unlink(missing_ok=True)
                held -= file_size
            self._held = held + size


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)

"""The cache of compiled models: folders named by content, complete or absent, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from training_ground.configs.errors import AssetError

MANIFEST = "manifest.json"


def cache_root() -> Path:
    """Return the folder of the cache: `TG_CACHE`, or `~/.cache/training-ground`."""
    given = os.environ.get("TG_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "training-ground"


def sha256(data: bytes) -> str:
    """Return the hex digest."""
    return hashlib.sha256(data).hexdigest()


def obtain(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, built by `build(empty folder)` where it is missing or damaged.

    It is built under another name and renamed when complete, so a reader never sees half of it. Of several processes
    that want it at once one builds and the others wait.

    Raises:
        AssetError: The cache cannot be written; the message says where it is and how to move it.
    """
    if is_intact(folder):
        return folder
    with _turn(folder):
        return folder if is_intact(folder) else _build(folder, build)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait while another process builds the same folder, to spare the work; correctness does not hang on it.

    The kernel lets go of the lock when its holder dies. Where there are no such locks, processes build side by side.
    """
    with ExitStack() as stack:
        try:
            import fcntl

            locks = folder.parent / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context((locks / f"{folder.name}.lock").open("w")), fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        yield


def _build(folder: Path, build: Callable[[Path], None]) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name[:12]}-", dir=folder.parent))
    except OSError as problem:
        raise AssetError(
            f"cache {folder.parent}: {problem.strerror or problem}; set TG_CACHE to a writable folder"
        ) from problem
    try:
        build(work)
        _write_manifest(work)
        _publish(work, folder)
    except OSError as problem:
        raise AssetError(
            f"cache {folder}: {problem.strerror or problem}; set TG_CACHE to a folder with space"
        ) from problem
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def is_intact(folder: Path) -> bool:
    """Return whether every file that the folder's manifest lists has the content that it had when written."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return bool(listed) and all(sha256((folder / name).read_bytes()) == digest for name, digest in listed.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _write_manifest(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    listed = {p.relative_to(folder).as_posix(): sha256(p.read_bytes()) for p in files}
    (folder / MANIFEST).write_text(json.dumps(listed, indent=1), encoding="utf-8")


def _publish(work: Path, folder: Path) -> None:
    work.chmod(0o755)
    for _ in range(10):
        try:
            work.rename(folder)
            return
        except OSError:
            if is_intact(folder):
                return
            # A damaged entry: move it out of the way, whoever is quicker.
            aside = Path(tempfile.mkdtemp(prefix=".damaged-", dir=folder.parent))
            try:
                folder.rename(aside / "entry")
            except FileNotFoundError:
                pass
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    raise OSError(f"{folder} could not be replaced")


class SourceIndex:
    """Remembers which content key a set of unchanged files led to, so that a warm load need not read and hash the
    meshes.

    Files count as unchanged while path, size and modification time (ns) are the same. The index is an accelerator:
    without it, or with a damaged one, the files are hashed.
    """

    def __init__(self, root: Path, request: str) -> None:
        self._path = root / "index" / f"{sha256(request.encode())}.json"

    def lookup(self) -> str | None:
        """Return the key, or None where a file changed or nothing is remembered."""
        try:
            entry = json.loads(self._path.read_text(encoding="utf-8"))
            if all(stamp(Path(path)) == list(seen) for path, seen in entry["files"].items()):
                return str(entry["key"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None

    def remember(self, key: str, files: Iterable[Path]) -> None:
        """Store the key for these files; failing to is harmless."""
        entry: dict[str, Any] = {"key": key, "files": {str(path): stamp(path) for path in files}}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            Path(temporary).replace(self._path)
        except OSError:
            pass


def stamp(path: Path) -> list[int]:
    """Return size and modification time (ns) of a file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]

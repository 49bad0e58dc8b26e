"""Make the training view of a store, or bring it up to date: only episodes that are new are decoded.

A view never changes. A refresh writes a new one beside it, under a temporary name, from the old one's rows and the new
episodes, renames it when it is complete and flushed, and removes the old one unless somebody has it open. Episodes pass
through their hashes on the way in; rows of an old view only after its files were found to match theirs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError, unknown
from training_ground.datasets.arrays import (
    ARRAYS,
    COLUMNS,
    MANIFEST,
    MAX_COMPONENTS,
    MAX_MANIFEST_BYTES,
    STATISTICS,
    VERSION,
    View,
    ViewManifest,
    read_manifest,
    stored,
    without_value,
)
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import TEMPORARY_PREFIX, describe, folder_lock, read_regular, sync_folder
from training_ground.datasets.frames import Frames
from training_ground.datasets.npy import Writer
from training_ground.datasets.schema import PHASE, DatasetSchema, canonical_json
from training_ground.datasets.statistics import moments
from training_ground.datasets.store import Store

_BUFFER_BYTES = 64 << 20
"""Rows that are kept in memory before they are written."""


@dataclass(frozen=True)
class Entry:
    """What a view says of one episode; the fields are those of `ViewManifest`."""

    number: int
    rows: int
    content_sha256: str
    size: int
    mtime_ns: int
    success: bool | None
    terminated: bool
    seed: int
    instruction: str


def refresh(
    store: Store,
    columns: Sequence[str] | None = None,
    episodes: Sequence[int] | None = None,
    folder: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> View:
    """Return the training view of a store as it is now; it is made, or extended, where there is none yet.

    Args:
        store: Its episodes are checked by their hashes on the way.
        columns: Which; all but pictures and videos where absent.
        episodes: Numbers of those to take; all where absent.
        folder: Where views are kept, such as on a faster disk; `arrays/` of the store where absent.
        progress: Called with the number of each episode that was decoded.

    Raises:
        DatasetError: There is no such episode or column, an episode is damaged, or the disk is full.
    """
    names = _names(store.schema, columns)
    folder = store.path / ARRAYS if folder is None else Path(folder)
    if folder.is_symlink():
        raise DatasetError(f"{folder}: is a symbolic link; the folders of a dataset are plain folders")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(folder):  # a second process waits, and finds what the first one made
            known = _known(folder, names, store.schema)
            entries = _entries(store, episodes, known)
            target = folder / _key(store.schema, names, entries)
            if target.name in known:
                with contextlib.suppress(DatasetError):  # a file of it is not what it was: made again
                    return View.open(target)
            _remove_abandoned(folder)
            base = _base(folder, known, entries)
            with _appearing(target) as temporary:
                _build(store, names, entries, base, temporary, progress or (lambda number: None))
            base = None
            for key, manifest in known.items():
                if key != target.name and _common(manifest, entries) == len(manifest.number):
                    _remove(folder / key)
            return View.open(target)
    except OSError as problem:
        raise DatasetError(f"{folder}: {describe(problem)}; the dataset is as it was") from problem


def _names(schema: DatasetSchema, columns: Sequence[str] | None) -> list[str]:
    there = schema.columns()
    if columns is None:
        pictures = {c.name for c in schema.channels if c.role == "picture" or c.storage is not None}
        return [name for name in there if name not in pictures]
    for name in columns:
        if name not in there:
            raise DatasetError(unknown("column", name, there))
    if not columns:
        raise DatasetError("columns: at least one is needed")
    return [name for name in there if name in columns]


def _known(folder: Path, names: list[str], schema: DatasetSchema) -> dict[str, ViewManifest]:
    """Manifests of the views with these columns that can be read; what cannot is as if it were not there."""
    found = {}
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(TEMPORARY_PREFIX):
            with contextlib.suppress(DatasetError):
                where = Path(entry.path) / MANIFEST
                manifest = read_manifest(read_regular(where, MAX_MANIFEST_BYTES), str(where))
                if list(manifest.columns) == names and manifest.dataset.fingerprint() == schema.fingerprint():
                    found[entry.name] = manifest
    return found


def _entries(store: Store, episodes: Sequence[int] | None, known: dict[str, ViewManifest]) -> list[Entry]:
    """Describe the episodes; a file that has the size and time that a view knows is not opened."""
    seen: dict[tuple[int, int, int], Entry] = {}
    for manifest in known.values():
        texts = [manifest.instructions[i] for i in manifest.instruction]
        fields = (manifest.number, manifest.rows, manifest.content_sha256, manifest.size, manifest.mtime_ns)
        more = (manifest.success, manifest.terminated, manifest.seed, texts)
        for values in zip(*fields, *more, strict=True):
            seen[values[0], values[3], values[4]] = Entry(*values)
    entries = []
    for number in store.episodes() if episodes is None else sorted(set(episodes)):
        try:
            status = store.file(number).lstat()
        except FileNotFoundError:
            store.metadata(number)  # says which there are
            raise
        entry = seen.get((number, status.st_size, status.st_mtime_ns))
        entries.append(entry or _look(store, number, status))
    if not entries:
        raise DatasetError(f"{store.path}: there is no episode to make a training view of")
    return entries


def _look(store: Store, number: int, status: os.stat_result) -> Entry:
    data = store.metadata(number)
    outcome = (data.success, data.terminated, data.seed, data.instruction)
    return Entry(number, data.length + 1, data.content_sha256, status.st_size, status.st_mtime_ns, *outcome)


def _key(schema: DatasetSchema, names: list[str], entries: list[Entry]) -> str:
    """Name a view by what is in it, whatever files it came from."""
    content = [[entry.number, entry.content_sha256] for entry in entries]
    asked = {"version": VERSION, "schema": schema.fingerprint(), "columns": names, "episodes": content}
    return hashlib.sha256(canonical_json(asked, "view")).hexdigest()[:16]


def _common(manifest: ViewManifest, entries: list[Entry]) -> int:
    """How many episodes at the beginning are the same."""
    pairs = zip(manifest.number, manifest.content_sha256, entries, strict=False)
    same = ((number, content) == (entry.number, entry.content_sha256) for number, content, entry in pairs)
    return sum(1 for _ in itertools.takewhile(bool, same))


def _base(folder: Path, known: dict[str, ViewManifest], entries: list[Entry]) -> tuple[View, int] | None:
    """The view that has most of the episodes, and how many; none whose files do not match their hashes."""
    for key in sorted(known, key=lambda key: _common(known[key], entries), reverse=True):
        count = _common(known[key], entries)
        with contextlib.suppress(DatasetError):
            view = View.open(folder / key)
            if count and not view.verify():
                return view, count
    return None


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` that becomes `target` at the end, or is removed after an error."""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}-{secrets.token_hex(6)}")
    try:
        for folder in (temporary, temporary / COLUMNS, temporary / STATISTICS):
            folder.mkdir()
        yield temporary
        for parent, _, names in os.walk(temporary):
            for path in [*(Path(parent) / name for name in names), Path(parent)]:
                sync_folder(path)  # a file is flushed as a folder is
        if target.exists():  # what was there could not be read, or it would have been opened
            shutil.rmtree(target)
        temporary.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Columns:
    """Collects rows and statistics of all columns, and writes them in large pieces."""

    def __init__(self, schema: DatasetSchema, names: list[str], entries: list[Entry], folder: Path) -> None:
        rows, declared = sum(entry.rows for entry in entries), schema.columns()
        columns = [stored(declared[name]) for name in names]
        self.writers = {c.name: Writer(folder / COLUMNS / f"{c.name}.npy", c.dtype, (rows, *c.shape)) for c in columns}
        sizes = {c.name: math.prod(c.shape) for c in columns}
        shapes = {name: (len(entries), 4, size) for name, size in sizes.items() if size <= MAX_COMPONENTS}
        self.statistics = {
            name: Writer(folder / STATISTICS / f"{name}.npy", "float64", shape) for name, shape in shapes.items()
        }
        self._pending: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        self._numbers: dict[str, list[NDArray[Any]]] = {name: [] for name in shapes}
        self._bytes = 0

    def add(self, name: str, values: NDArray[Any], measured: NDArray[Any] | None) -> None:
        """Add rows of a column, and their statistics."""
        self._pending[name].append(values)
        if measured is not None:
            self._numbers[name].append(measured)
        self._bytes += values.nbytes
        if self._bytes > _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        for writers, pending in ((self.writers, self._pending), (self.statistics, self._numbers)):
            for name, parts in pending.items():
                if parts:
                    writers[name].add(parts)
                    parts.clear()
        self._bytes = 0


def _build(
    store: Store,
    names: list[str],
    entries: list[Entry],
    base: tuple[View, int] | None,
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    written = _Columns(store.schema, names, entries, folder)
    phases: dict[str, int] = {}
    done = 0
    if base is not None:
        view, done = base
        phases = {name: number for number, name in enumerate(view.manifest.phases)}
        for name in names:
            kept = view.moments(name)[:done] if name in written.statistics else None
            written.add(name, view.columns[name][: view.starts[done]], kept)
        written.flush()
    for entry in entries[done:]:
        episode = store.read(entry.number)
        if episode.metadata.content_sha256 != entry.content_sha256:
            raise DatasetError(f"{store.file(entry.number)}: was replaced while the view was made; try again")
        for name in names:
            values = _values(episode, name, phases)
            measured = None
            if name in written.statistics:
                first, last = without_value(store.schema, name)
                rows = values[first : len(values) - last].reshape(entry.rows - first - last, -1)
                measured = moments(rows)[None]
            for piece in _pieces(values):
                written.add(name, piece, measured)
                measured = None
        progress(entry.number)
    written.flush()
    manifest = _manifest(store.schema, written, phases, entries)
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False), encoding="utf-8")


def _manifest(schema: DatasetSchema, written: _Columns, phases: dict[str, int], entries: list[Entry]) -> ViewManifest:
    texts = {text: index for index, text in enumerate(dict.fromkeys(entry.instruction for entry in entries))}
    return ViewManifest(
        dataset=schema,
        columns={name: writer.finish() for name, writer in written.writers.items()},
        statistics={name: writer.finish() for name, writer in written.statistics.items()},
        phases=tuple(phases),
        instructions=tuple(texts),
        number=tuple(entry.number for entry in entries),
        rows=tuple(entry.rows for entry in entries),
        content_sha256=tuple(entry.content_sha256 for entry in entries),
        size=tuple(entry.size for entry in entries),
        mtime_ns=tuple(entry.mtime_ns for entry in entries),
        success=tuple(entry.success for entry in entries),
        terminated=tuple(entry.terminated for entry in entries),
        seed=tuple(entry.seed for entry in entries),
        instruction=tuple(texts[entry.instruction] for entry in entries),
    )


def _values(episode: Episode, name: str, phases: dict[str, int]) -> NDArray[Any]:
    if name != PHASE:
        return episode.columns[name]
    codes = [phases.setdefault(text, len(phases)) for text in episode.columns[PHASE].tolist()]
    return np.array(codes, np.int32)


def _pieces(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Give a column whole, and a video in pieces that are decoded one after the other."""
    if not isinstance(values, Frames):
        yield values
        return
    rows = max(1, _BUFFER_BYTES * len(values) // values.nbytes)
    for first in range(0, len(values), rows):
        yield values[first : first + rows]


def _remove_abandoned(folder: Path) -> None:
    """Remove what builds that were killed have left: whoever holds the folder's lock is the only one that builds."""
    for entry in os.scandir(folder):
        if entry.name.startswith(TEMPORARY_PREFIX) and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a view that nobody has open."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path / MANIFEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        finally:
            os.close(descriptor)

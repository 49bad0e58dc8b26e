"""Export a store to a format of others: each format is one file in `datasets/formats/`, imported when it is used."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import pkgutil
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training_ground.configs.errors import DatasetError, unknown
from training_ground.datasets import formats as format_package
from training_ground.datasets.annotations import ANNOTATIONS, FIELDS
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import describe, names_in, sync_folder
from training_ground.datasets.frames import Frames
from training_ground.datasets.index import Index
from training_ground.datasets.labels import RECORDED, spoken_of
from training_ground.datasets.store import Store

Progress = Callable[[int], None]


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote, and what the format cannot hold.

    Attributes:
        format: Its name.
        path: Where.
        episodes, frames: How many.
        losses: One sentence for each thing that a reader of the format will not find there.
        skipped: Episodes that were left out, and why.
    """

    format: str
    path: Path
    episodes: int
    frames: int
    losses: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def formats() -> list[str]:
    """Return the names of the formats."""
    found = pkgutil.iter_modules(format_package.__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def export(
    store: Store, path: str | Path, format: str, episodes: Sequence[int] | None = None, progress: Progress | None = None
) -> ExportReport:
    """Write a store in another format. The folder appears complete or not at all.

    Success, failure and instruction are those in force: as recorded, until somebody has corrected them.

    Args:
        store: What to export; every episode is checked by its hashes on the way.
        path: A folder that does not exist.
        format: One of `formats()`.
        episodes: Numbers of those to export, each once; all that are not labelled as dropped where absent.
        progress: Called with the number of each episode that is done.

    Raises:
        DatasetError: The format is unknown, `path` exists, an episode is damaged or not finite, or the disk is full.
    """
    if format not in formats():
        raise DatasetError(unknown("format", format, formats()))
    index = Index.open(store) if names_in(store.path / ANNOTATIONS) else None  # most stores have nothing to look for
    dropped = index.dropped() if index and episodes is None else set[int]()
    numbers = [n for n in store.episodes() if n not in dropped] if episodes is None else list(dict.fromkeys(episodes))
    if not numbers:
        left = f"; {len(dropped)} are labelled as dropped" if dropped else ""
        raise DatasetError(f"{store.path}: there is no episode to export{left}")
    module = importlib.import_module(f"training_ground.datasets.formats.{format}")
    if not hasattr(module, "export"):
        raise DatasetError(f"format '{format}': can be imported, not exported")
    report = module.export(
        store if index is None else _InForce(store, index), Path(path), numbers, progress or (lambda number: None)
    )
    if index is None:
        return report
    left_out = [f"episode {number}: is labelled as dropped" for number in sorted(dropped)]
    left_out += index.unheard
    return replace(report, skipped=(*report.skipped, *left_out), losses=(*report.losses, *_unsaid(index, numbers)))


class _InForce(Store):
    """A store whose episodes carry their labels in force."""

    def __init__(self, store: Store, index: Index) -> None:
        super().__init__(store.path, store.schema, store.recovered)
        self._store, self._labels = store, spoken_of(index, [*RECORDED, "phase"])

    def read(self, number: int) -> Episode:
        return replace(self._store.read(number), labels=self._labels.get(number, {}))


def _unsaid(index: Index, numbers: Sequence[int]) -> list[str]:
    """Name the labels that no format of others gets from us."""
    fields = [field for field in FIELDS if field not in (*RECORDED, "phase", "dropped")]
    said = spoken_of(index, fields)
    found = [said[number] for number in numbers if number in said]
    names = [field for field in fields if any(field in one for one in found)]
    return [f"labels: {', '.join(names)} of {len(found)} episodes"] if names else []


def complete_episodes(store: Store, numbers: Sequence[int]) -> tuple[list[int], tuple[str, ...]]:
    """Return the numbers of the episodes that ran to their own end, and a sentence for each that did not.

    Raises:
        DatasetError: There is none, or one is damaged.
    """
    kept = [number for number in numbers if store.metadata(number).complete]
    there = set(kept)
    cut = [number for number in numbers if number not in there]
    if not kept:
        raise DatasetError(f"{store.path}: no complete episode to export; {len(cut)} were cut off")
    return kept, tuple(f"episode {number}: was cut off before its end" for number in cut)


def check_finite(episode: Episode) -> None:
    """Refuse an episode with values that a learner would choke on.

    Raises:
        DatasetError: A channel is not finite.
    """
    for name, values in episode.columns.items():
        if isinstance(values, Frames):
            continue  # a video holds nothing that is not finite, and need not be decoded for that
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DatasetError(
                f"episode {episode.number}: '{name}' is not finite; readers of the export would not notice"
            )


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it becomes `path` at the end, or is removed after an error.

    Raises:
        DatasetError: `path` exists, or cannot be written.
    """
    path = path.absolute()
    if path.exists() or path.is_symlink():
        raise DatasetError(f"{path}: exists already; an export never overwrites, choose another folder")
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    lock = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        temporary.mkdir()
        # It goes with this process, and is what tells that somebody is at work there; a store that is made in the
        # folder shares it.
        lock = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                _sync(Path(folder) / name)
            sync_folder(Path(folder))
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as problem:
        raise DatasetError(f"{path}: {describe(problem)}; nothing is left of it") from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove what exports to the same path that were killed have left."""
    pattern = re.compile(re.escape(f".{path.name}.tmp-") + r"\d+-[0-9a-f]{8}")
    for entry in os.scandir(path.parent):
        if pattern.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(descriptor)

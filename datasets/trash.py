"""Remove episodes so that they can come back: files move to `trash/`, with a record of each action.

`trash/action_000000.json` says what was removed, restored or purged, when and why; it is written before anything moves.
What counts is where a file is: a kill in the middle of an action leaves every episode in one place or the other, and
the same command finishes the work. A number is never given to another episode, not even after a purge.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets import carrying, episode_file
from training_ground.datasets.files import (
    describe,
    folder_lock,
    move_new,
    names_in,
    read_regular,
    remove_leftovers,
    sync_folder,
    write_new,
)
from training_ground.datasets.schema import SCHEMA_VERSION, Count, Text, check_version, parse_json
from training_ground.datasets.store import EPISODES, TRASH, Store

MAX_ACTION_BYTES = 64 << 20
_EPISODE = re.compile(r"^episode_(\d{6,12})\.parquet$", re.ASCII)
_ACTION = re.compile(r"^action_\d{6,12}\.json$", re.ASCII)


class Named(StrictModel):
    """An episode that an action is about; the hash is None where the file was too damaged to tell."""

    episode: Count
    content_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] | None = None


class TrashAction(StrictModel):
    """A file `trash/action_….json`.

    Attributes:
        schema_version: As of episodes.
        action: What was asked for.
        time_ns: Wall clock, ns since 1970.
        reason: In the words of whoever did it.
        episodes: Those meant.
    """

    schema_version: int = SCHEMA_VERSION
    action: Literal["remove", "restore", "purge"]
    time_ns: Count
    reason: Text = ""
    episodes: tuple[Named, ...]


@dataclass(frozen=True)
class Trashed:
    """An episode in the trash: its number, its file's size in bytes, and what the action that removed it said."""

    number: int
    size: int
    removed_ns: int | None
    reason: str


def trashed(store: Store) -> list[Trashed]:
    """Return what lies in the trash, by number.

    Raises:
        DatasetError: The trash is no plain folder, or one of its records is damaged.
    """
    said: dict[int, TrashAction] = {}
    for action in actions(store):
        if action.action == "remove":
            said.update({one.episode: action for one in action.episodes})
    return [
        Trashed(
            number,
            path.lstat().st_size,
            said[number].time_ns if number in said else None,
            said[number].reason if number in said else "",
        )
        for number, path in sorted(_lying(store).items())
    ]


def actions(store: Store) -> list[TrashAction]:
    """Return every action on the trash, in order.

    Raises:
        DatasetError: As `trashed`.
    """
    folder = _folder(store)
    result = []
    for name in names_in(folder):
        if _ACTION.match(name):
            data = parse_json(read_regular(folder / name, MAX_ACTION_BYTES), str(folder / name))
            check_version(data, str(folder / name))
            result.append(validate(TrashAction, data, str(folder / name), DatasetError))
    return result


def remove(store: Store, numbers: Sequence[int], reason: str = "") -> list[int]:
    """Move episodes to the trash and return their numbers; damaged ones go as well.

    Raises:
        DatasetError: There is no such episode (then none is moved), or a file cannot be moved.
    """
    chosen = _chosen(numbers, store.episodes(), f"{store.path}: there is no episode")
    if not chosen:
        return []
    with _locked(store) as folder:
        _record(store, folder, "remove", chosen, reason, store.file)
        for number in chosen:
            # A kill in the middle of a restore leaves the file in both places.
            if not move_new(store.file(number), folder / store.file(number).name):
                raise DatasetError(f"{folder}: holds another episode {number} already")
    return chosen


def restore(store: Store, numbers: Sequence[int] | None = None) -> list[int]:
    """Move episodes, all where no number is given, back out of the trash, and return their numbers.

    Raises:
        DatasetError: One is not in the trash (then none is moved), or its number is taken.
    """
    lying = _lying(store)
    chosen = _chosen(sorted(lying) if numbers is None else numbers, lying, f"{_folder(store)}: there is no episode")
    if not chosen:
        return []
    with _locked(store) as folder:
        _record(store, folder, "restore", chosen, "", lambda number: lying[number])
        for number in chosen:
            if not move_new(lying[number], store.file(number)):
                raise DatasetError(f"{store.file(number)}: is there already; the one in the trash stays there")
    return chosen


def purge(store: Store, numbers: Sequence[int] | None = None) -> list[int]:
    """Delete episodes, all where no number is given, from the trash for good, and the media that only they named.

    For a store to which nobody is writing: media that an episode is about to name look like media that nobody needs.

    Raises:
        DatasetError: One is not in the trash; then none is deleted.
    """
    lying = {number: path for number, path in _lying(store).items() if not store.file(number).exists()}
    chosen = _chosen(sorted(lying) if numbers is None else numbers, lying, f"{_folder(store)}: there is no episode")
    if not chosen:
        return []
    left = [store.file(number) for number in store.episodes()]
    left += [path for number, path in lying.items() if number not in chosen]
    unneeded = _media(store, [lying[number] for number in chosen], []) - _media(store, left, None)
    with _locked(store) as folder:
        _record(store, folder, "purge", chosen, "", lambda number: lying[number])
        for number in chosen:
            # The mark that keeps the number taken is there before the file goes.
            mark = lying[number].with_suffix(".purged")
            if not mark.exists():
                write_new(folder, b"", lambda name=mark.name: iter([name]))
            lying[number].unlink(missing_ok=True)
        for path in unneeded:
            path.unlink(missing_ok=True)
    return chosen


def _media(store: Store, files: Sequence[Path], unreadable: Sequence[Path] | None) -> set[Path]:
    """Return the media that episodes name; one that cannot be read names those given, or with None any there are."""
    names = carrying.media_names(store)
    found: set[Path] = set()
    for path in files if names else []:
        try:
            found.update(carrying.media_of(store, episode_file.read_metadata(path, store.schema), names))
        except DatasetError:
            every = [store.path / carrying.MEDIA / name for name in names.values()]
            found.update(every if unreadable is None else unreadable)
    return found


def _folder(store: Store) -> Path:
    folder = store.path / TRASH
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DatasetError(f"{folder}: must be a plain folder")
    return folder


def _lying(store: Store) -> dict[int, Path]:
    folder = _folder(store)
    found = {int(match[1]): folder / name for name in names_in(folder) if (match := _EPISODE.match(name))}
    return {number: path for number, path in found.items() if not path.is_symlink()}


def _chosen(numbers: Sequence[int], there: Sequence[int] | dict[int, Path], text: str) -> list[int]:
    known, chosen = set(there), sorted(set(numbers))
    missing = [number for number in chosen if number not in known]
    if missing:
        raise DatasetError(f"{text} {', '.join(map(str, missing[:5]))}; there are {len(known)}; nothing was changed")
    return chosen


@contextmanager
def _locked(store: Store) -> Iterator[Path]:
    """Hold the trash, so that two actions do not mix, and flush both folders at the end."""
    folder = _folder(store)
    try:
        folder.mkdir(exist_ok=True)
        # Not the trash's own lock: without hard links that is taken for each name.
        with folder_lock(store.path):
            remove_leftovers(folder)
            yield folder
            sync_folder(folder)
            sync_folder(store.path / EPISODES)
            sync_folder(store.path)
    except OSError as problem:
        raise DatasetError(f"{folder}: {describe(problem)}; nothing is lost") from problem


def _record(
    store: Store,
    folder: Path,
    action: Literal["remove", "restore", "purge"],
    numbers: Sequence[int],
    reason: str,
    where: Callable[[int], Path],
) -> None:
    def named(number: int) -> Named:
        try:
            metadata = episode_file.read_metadata(where(number), store.schema)
        except DatasetError:
            return Named(episode=number)
        return Named(episode=number, content_sha256=metadata.content_sha256)

    made = TrashAction(
        action=action, time_ns=time.time_ns(), reason=reason, episodes=tuple(named(number) for number in numbers)
    )
    raw = json.dumps(made.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n"
    taken = [int(name[7:-5]) for name in names_in(folder) if _ACTION.match(name)]
    write_new(folder, raw, lambda: (f"action_{n:06d}.json" for n in count(max(taken, default=-1) + 1)))

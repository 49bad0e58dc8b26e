"""Remove episodes so that they can come back: files move to `trash/`, with a record of each action.

`trash/action_000000.json` says what was removed, restored or purged, when and why; it is written before anything moves.
What counts is where a file is: a kill in the middle of an action leaves every episode in one place or the other, and
the same command finishes the work. A number is never given to another episode, not even after a purge.
"""

from __future__ import annotations

import json
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
from training_ground.datasets import episode_file, media
from training_ground.datasets.files import (
    describe,
    folder_lock,
    is_folder,
    make_folder,
    move_new,
    names_in,
    read_regular,
    sync_folder,
    write_new,
)
from training_ground.datasets.layout import ACTION, EPISODES, TRASH, episode_name, episode_number
from training_ground.datasets.schema import SCHEMA_VERSION, Count, Text, check_version, parse_json
from training_ground.datasets.store import Store

MAX_ACTION_BYTES = 64 << 20


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
        if ACTION.fullmatch(name):
            data = parse_json(read_regular(folder / name, MAX_ACTION_BYTES), str(folder / name))
            check_version(data, str(folder / name))
            result.append(validate(TrashAction, data, str(folder / name), DatasetError))
    return result


def remove(store: Store, numbers: Sequence[int], reason: str = "") -> list[int]:
    """Move episodes to the trash and return their numbers; damaged ones go as well.

    Raises:
        DatasetError: There is no such episode (then none is moved), or a file cannot be moved.
    """
    if not _chosen(numbers, store.episodes(), f"{store.path}: there is no episode"):
        return []
    with _locked(store) as folder:
        chosen = _chosen(numbers, store.episodes(), f"{store.path}: there is no episode")
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
    if not _meant(store, numbers, _lying(store)):
        return []
    with _locked(store) as folder:
        lying = _lying(store)
        chosen = _meant(store, numbers, lying)
        _record(store, folder, "restore", chosen, "", lambda number: lying[number])
        for number in chosen:
            if not move_new(lying[number], store.file(number)):
                raise DatasetError(f"{store.file(number)}: is there already; the one in the trash stays there")
    return chosen


def purge(store: Store, numbers: Sequence[int] | None = None) -> list[int]:
    """Delete episodes, all where no number is given, from the trash for good, and the media that no episode names.

    Raises:
        DatasetError: One is not in the trash; then none is deleted.
    """
    if not _meant(store, numbers, _only_lying(store)):
        return []
    with _locked(store) as folder:
        lying = _only_lying(store)
        chosen = _meant(store, numbers, lying)
        _record(store, folder, "purge", chosen, "", lambda number: lying[number])
        for number in chosen:
            # The mark that keeps the number taken is there before the file goes.
            mark = lying[number].with_suffix(".purged")
            if not mark.exists():
                write_new(folder, b"", lambda name=mark.name: iter([name]))
            lying[number].unlink(missing_ok=True)
        sync_folder(folder)
        media.remove_unnamed(store.path, store.media_names)
    return chosen


def _folder(store: Store) -> Path:
    is_folder(store.path / TRASH)
    return store.path / TRASH


def _lying(store: Store) -> dict[int, Path]:
    folder = _folder(store)
    numbers = (episode_number(name) for name in names_in(folder))
    found = {number: folder / episode_name(number) for number in numbers if number is not None}
    return {number: path for number, path in found.items() if not path.is_symlink()}


def _only_lying(store: Store) -> dict[int, Path]:
    """Those that are in the trash alone; a kill in the middle of a restore leaves one in both places."""
    return {number: path for number, path in _lying(store).items() if not store.file(number).exists()}


def _meant(store: Store, numbers: Sequence[int] | None, lying: dict[int, Path]) -> list[int]:
    return _chosen(sorted(lying) if numbers is None else numbers, lying, f"{_folder(store)}: there is no episode")


def _chosen(numbers: Sequence[int], there: Sequence[int] | dict[int, Path], text: str) -> list[int]:
    known, chosen = set(there), sorted(set(numbers))
    missing = [number for number in chosen if number not in known]
    if missing:
        raise DatasetError(f"{text} {', '.join(map(str, missing[:5]))}; there are {len(known)}; nothing was changed")
    return chosen


@contextmanager
def _locked(store: Store) -> Iterator[Path]:
    """Hold the trash: two actions do not mix, no episode is given a number meanwhile; flush both folders at the end."""
    folder = make_folder(store.path / TRASH)
    try:
        # Not the trash's own lock: without hard links that is taken for each name.
        with folder_lock(store.path):
            yield folder
            sync_folder(folder)
            sync_folder(store.path / EPISODES)
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
    taken = [int(match[1]) for name in names_in(folder) if (match := ACTION.fullmatch(name))]
    write_new(folder, raw, lambda: (f"action_{n:06d}.json" for n in count(max(taken, default=-1) + 1)))

"""Whether episodes are what they should be: columns that fit the schema, values that can be, and a store read whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from training_ground.configs.errors import DatasetError
from training_ground.datasets import media
from training_ground.datasets.episode_file import MAX_TEXT, Episode, type_name
from training_ground.datasets.files import names_in
from training_ground.datasets.frames import Frames
from training_ground.datasets.layout import EPISODES, FILES, MEDIA
from training_ground.datasets.schema import IS_LAST, TEXT, TIMESTAMP, DatasetSchema, EpisodeMetadata, canonical_json
from training_ground.datasets.timing import stale_changes

if TYPE_CHECKING:
    from training_ground.datasets.store import Store


@dataclass(frozen=True)
class VerifyReport:
    """What `Store.verify` found.

    Attributes:
        episodes: Episodes looked at.  rows: their rows, the last one of each included.
        problems: One sentence a problem, each beginning with the file.
        notes: What is worth knowing and no error.
    """

    episodes: int
    rows: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(store: Store, progress: Callable[[int], None] | None = None) -> VerifyReport:
    """Read everything of a store and return all that is wrong.

    Args:
        store: Whose.
        progress: Called with an episode's number after it was looked at.
    """
    problems, notes, rows = [], list(store.recovered), 0
    seen: dict[tuple[str, ...], int] = {}
    numbers = store.episodes()
    for number in numbers:
        try:
            episode = store.read(number)
            check_columns(episode, store.schema, str(store.file(number)))
            for values in episode.columns.values():
                if isinstance(values, Frames):
                    values.check()
        except DatasetError as problem:
            problems.append(str(problem))
        else:
            rows += episode.length + 1
            wrong = [*_implausible(episode), *stale_changes(episode.columns, store.schema)]
            problems += [f"{store.file(number)}: {text}" for text in wrong]
            twin = seen.setdefault(_identity(episode.metadata), number)
            if twin != number:
                notes.append(f"{store.file(number)}: same environment, seed and policy as episode {twin}")
        if progress is not None:
            progress(number)
    there = media.names(store.path)
    for name in sorted(set(there) - store.media_names()) if there else ():
        notes.append(f"{store.path / MEDIA / name}: is named by no episode; ignored")
    strangers = [name for name in names_in(store.path / EPISODES) if not FILES[EPISODES].fullmatch(name)]
    notes += [f"{store.path / EPISODES / name}: is no episode; ignored" for name in strangers]
    return VerifyReport(len(numbers), rows, tuple(problems), tuple(notes))


def check_columns(episode: Episode, schema: DatasetSchema, where: str = "episode") -> None:
    """Refuse an episode whose columns are not exactly those of the schema.

    Args:
        episode, schema: Which, and of its store.
        where: Named first in an error.

    Raises:
        DatasetError: A column is missing, unexpected, or has the wrong type, shape or length; rows are out of order.
    """
    expected, found, rows = schema.columns(), episode.columns, episode.length + 1
    if set(found) != set(expected):
        missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        raise DatasetError(f"{where}: columns missing: {missing or 'none'}; not in the schema: {extra or 'none'}")
    for name, column in expected.items():
        values = found[name]
        dtype = type_name(values.dtype)
        if dtype != column.dtype or values.shape != (rows, *column.shape):
            wanted = f"{column.dtype} {(rows, *column.shape)}"
            raise DatasetError(f"{where}: column '{name}' is {dtype} {values.shape}, must be {wanted}")
        letters = MAX_TEXT // 4
        if dtype == TEXT and (set(map(type, values)) != {str} or max(map(len, values)) > letters):
            raise DatasetError(f"{where}: column '{name}' must hold texts of at most {letters} letters")
    if np.any(found[IS_LAST][:-1]) or not found[IS_LAST][-1]:
        raise DatasetError(f"{where}: column '{IS_LAST}' must be set in the last row and in no other")
    if np.any(found[TIMESTAMP][1:] <= found[TIMESTAMP][:-1]):  # a difference may be too large for 64 bits
        raise DatasetError(f"{where}: column '{TIMESTAMP}' must increase from row to row")
    if episode.metadata.model_hash != schema.model_hash:
        raise DatasetError(
            f"{where}: model_hash = {episode.metadata.model_hash[:12]}, the dataset holds episodes of "
            f"'{schema.robot}' compiled as {schema.model_hash[:12]}"
        )


def _implausible(episode: Episode) -> list[str]:
    """Say what the values of a file that is intact cannot mean."""
    problems = []
    for name, values in episode.columns.items():
        if isinstance(values, Frames):
            continue  # what a video cannot hold was refused when it was written
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
            problems.append(f"channel '{name}' is not finite, first in row {int(np.argmin(finite))}")
    return problems


def _identity(metadata: EpisodeMetadata) -> tuple[str, ...]:
    return episode_key(metadata.env_id, metadata.kwargs, metadata.seed, metadata.policy.name, metadata.policy.hash)


def episode_key(
    env_id: str, kwargs: dict[str, Any], seed: int, policy: str, policy_hash: str | None
) -> tuple[str, ...]:
    """Return what decides an episode's content: two with the same key are the same work done twice."""
    return (env_id, canonical_json(kwargs, "kwargs").decode(), str(seed), policy, policy_hash or "")

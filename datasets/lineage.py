"""Lineage: which episode came from where, in files beside the episodes, for an episode's own file is copied as it is.

`lineage/lineage_000000.json` is written by `merge`, `copy`, `migrate` and `clean`, once, and is not changed afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets.files import names_in, read_regular
from training_ground.datasets.layout import FILES, LINEAGE
from training_ground.datasets.provenance import code_commit
from training_ground.datasets.schema import (
    SCHEMA_VERSION,
    Count,
    Hash,
    Text,
    canonical_json,
    check_version,
    parse_json,
)

MAX_FILE_BYTES = 256 << 20
MAX_FILES = 100
Action = Literal["merge", "copy", "migrate", "clean"]


class Place(StrictModel):
    """An episode in a store, named as its folder was."""

    store: Annotated[str, Field(max_length=255)]
    episode: Count


class Descent(StrictModel):
    """Where an episode came from.

    Attributes:
        episode, content_sha256: The episode here.
        places: Where it was before, the latest first.
        twins: Others of the same content that were not taken again.
    """

    episode: Count
    content_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    places: Annotated[tuple[Place, ...], Field(max_length=10_000)]
    twins: Annotated[tuple[Place, ...], Field(max_length=100_000)] = ()


class Source(StrictModel):
    """A store that episodes came from: its folder's name, and the fingerprint of its `dataset.json`."""

    store: Annotated[str, Field(max_length=255)]
    fingerprint: Hash


class Lineage(StrictModel):
    """One action: a file of `lineage/`.

    Attributes:
        schema_version: As of episodes.
        action: What made this store out of others.
        time_ns: Wall clock, ns since 1970.
        code_commit: As in an episode's metadata.
        sources: In the order given.
        notes: What was not taken along, or contradicts itself.
        episodes: One entry an episode.
    """

    schema_version: int = SCHEMA_VERSION
    action: Action
    time_ns: Count
    code_commit: Annotated[str, Field(max_length=100)] | None = None
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=10_000)]
    notes: Annotated[tuple[Text, ...], Field(max_length=1_000_000)] = ()
    episodes: tuple[Descent, ...]


def write_lineage(
    folder: Path, action: Action, sources: Sequence[Source], episodes: Sequence[Descent], notes: Sequence[str]
) -> None:
    """Write the first lineage file of a store that is being made in `folder`."""
    made = Lineage(
        action=action,
        time_ns=time.time_ns(),
        code_commit=code_commit(),
        sources=tuple(sources),
        notes=tuple(note[:10_000] for note in notes),
        episodes=tuple(episodes),
    )
    (folder / LINEAGE).mkdir()
    raw = canonical_json(made.model_dump(mode="json"), LINEAGE)
    (folder / LINEAGE / "lineage_000000.json").write_bytes(raw + b"\n")


def read_lineage(path: Path) -> list[Lineage]:
    """Read the lineage files of the store at `path`, in order; an empty list where there are none.

    Raises:
        DatasetError: One is damaged, too large, of another version, or no plain file; or there are too many.
    """
    result, names = [], [name for name in names_in(path / LINEAGE) if FILES[LINEAGE].fullmatch(name)]
    if len(names) > MAX_FILES:
        raise DatasetError(f"{path / LINEAGE}: has {len(names)} files, more than the {MAX_FILES} allowed")
    for name in names:
        file = path / LINEAGE / name
        data = parse_json(read_regular(file, MAX_FILE_BYTES), str(file))
        check_version(data, str(file))
        result.append(validate(Lineage, data, str(file), DatasetError))
    return result


def places_of(path: Path) -> dict[tuple[int, str], tuple[Place, ...]]:
    """Return where each episode of the store at `path` was before, by number and content hash.

    Raises:
        DatasetError: As `read_lineage`.
    """
    return {(one.episode, one.content_sha256): one.places for made in read_lineage(path) for one in made.episodes}

"""Make a store out of others: merge, copy a selection, bring to today's version. What is read is never changed.

First a plan, which reads metadata only and can be shown; then `make`, which reads every episode, checks it by its
hashes and writes the new store beside its final name: it appears complete or not at all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_ground.configs.errors import DatasetError
from training_ground.datasets import carrying, episode_file
from training_ground.datasets.checking import episode_key
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import new_folder
from training_ground.datasets.files import read_regular
from training_ground.datasets.layout import DESCRIPTION, EPISODES, MANIFEST
from training_ground.datasets.lineage import Action, Descent, Place, Source, places_of, write_lineage
from training_ground.datasets.recorder import differences
from training_ground.datasets.schema import DatasetSchema, EpisodeMetadata
from training_ground.datasets.store import Store, description

_TIMES = {"started_ns", "ended_ns", "schema_version", "schema_sha256", "content_sha256"}


@dataclass
class Taken:
    """An episode that is taken.

    Attributes:
        source: Index of its store in the plan.
        number: Its number there.
        new: Its number in the new store.
        content_sha256: Of its values.
        size: Bytes of its file.
        twins: Source and number of others with the same values, which are not taken again.
    """

    source: int
    number: int
    new: int
    content_sha256: str
    size: int
    twins: list[tuple[int, int]]


@dataclass(frozen=True)
class Plan:
    """What `make` would do.

    Attributes:
        action: `merge`, `copy` or `migrate`.
        sources: The stores, in the order given.
        episodes: What is taken, in the order of the new numbers.
        conflicts: What contradicts itself, one sentence each; nothing of it stops the action.
    """

    action: Action
    sources: tuple[Store, ...]
    episodes: tuple[Taken, ...]
    conflicts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the episodes' files."""
        return sum(one.size for one in self.episodes)

    @property
    def duplicates(self) -> int:
        """Episodes that are not taken because another has the same values."""
        return sum(len(one.twins) for one in self.episodes)


def plan_copy(store: Store, numbers: Sequence[int] | None = None, action: Action = "copy") -> Plan:
    """Plan to copy episodes, which keep their numbers.

    Args:
        store: Where from.
        numbers: Which; all where absent.
        action: What the lineage calls it.

    Raises:
        DatasetError: There is no such episode, none at all, or one is damaged.
    """
    chosen = sorted(set(store.episodes() if numbers is None else numbers))
    if not chosen:
        raise DatasetError(f"{store.path}: there is no episode to {action}")
    listed = [_taken(0, store, number, number, store.metadata(number)) for number in chosen]
    return Plan(action, (store,), tuple(listed))


def plan_merge(stores: Sequence[Store]) -> Plan:
    """Plan to put stores together: the first one's episodes keep their numbers, the others' go on from there.

    Episodes with the same values are taken once, from the store that stands first.

    Raises:
        DatasetError: The stores do not fit together, one is given twice, there is nothing to merge, or an episode is
            damaged.
    """
    paths = [store.path.resolve() for store in stores]
    if len(stores) < 2 or len(set(paths)) < len(paths):
        raise DatasetError(f"merge: needs two or more different datasets, not {[str(s.path) for s in stores]}")
    for other in stores[1:]:
        if other.schema.fingerprint() != stores[0].schema.fingerprint():
            found = "; ".join(differences(other.schema, stores[0].schema))
            raise DatasetError(f"{other.path}: does not fit the dataset {stores[0].path}: {found}")
    conflicts = [line for other in stores[1:] for line in _description_conflicts(other, stores[0])]
    taken: list[Taken] = []
    same: dict[str, Taken] = {}
    work: dict[bytes, Taken] = {}
    following = 0
    for source, store in enumerate(stores):
        for number in store.episodes():
            metadata = store.metadata(number)
            known = same.get(metadata.content_sha256)
            if known is not None:
                known.twins.append((source, number))
                conflicts += _metadata_conflicts(stores, known, source, number, metadata)
                continue
            one = _taken(source, store, number, number if source == 0 else following, metadata)
            following = max(following, one.new + 1)
            taken.append(one)
            same[metadata.content_sha256] = one
            first = work.setdefault(_work(metadata), one)
            if first is not one and metadata.policy.operator is None:
                conflicts.append(
                    f"{_named(stores, source, number)}: same environment, seed and policy as "
                    f"{_named(stores, first.source, first.number)}, other values; both are kept"
                )
    if not taken:
        raise DatasetError("merge: there is no episode in any of the datasets")
    return Plan("merge", tuple(stores), tuple(taken), tuple(conflicts))


def make(plan: Plan, out: str | Path, progress: Callable[[int], None] | None = None) -> tuple[Store, tuple[str, ...]]:
    """Carry out a plan. Annotations, splits, media and, where all stores say the same, `about.json` go along; index,
    arrays, manifest and signature do not.

    Args:
        plan: What `plan_copy` or `plan_merge` returned.
        out: A folder that does not exist.
        progress: Called with the new number of each episode that is written.

    Returns:
        The new store, and what was left behind, one sentence each.

    Raises:
        DatasetError: `out` exists or cannot be written, or an episode or a media file is damaged.
    """
    schema = plan.sources[0].schema.model_copy(update={"created_ns": time.time_ns()}).remember({})
    numbers: list[dict[tuple[int, str], int]] = [{} for _ in plan.sources]
    with new_folder(Path(out)) as folder:
        (folder / EPISODES).mkdir()
        (folder / DESCRIPTION).write_bytes(description(schema))
        target = Store(folder, schema)
        for one in plan.episodes:
            store = plan.sources[one.source]
            data, metadata = _checked(store, one.number, schema)
            if metadata.content_sha256 != one.content_sha256:
                raise DatasetError(f"{store.file(one.number)}: is another episode than when this was planned")
            carrying.copy_media(store, metadata, folder)
            target.file(one.new).write_bytes(data)
            for source, number in [(one.source, one.number), *one.twins]:
                numbers[source][number, one.content_sha256] = one.new
            if progress is not None:
                progress(one.new)
        notes = carrying.carry_annotations(plan.sources, numbers, folder)
        notes += carrying.carry_splits(plan.sources, folder)
        notes += carrying.carry_about(plan.sources, folder)
        notes += [
            f"{store.path / MANIFEST}: left behind with its signature, sign the new dataset"
            for store in plan.sources
            if (store.path / MANIFEST).exists()
        ]
        _write_lineage(plan, folder, notes)
    return Store.open(out), tuple(notes)


def _taken(source: int, store: Store, number: int, new: int, metadata: EpisodeMetadata) -> Taken:
    return Taken(source, number, new, metadata.content_sha256, store.file(number).stat().st_size, [])


def _checked(store: Store, number: int, schema: DatasetSchema) -> tuple[bytes | memoryview, EpisodeMetadata]:
    """Return an episode's file as it is where it is of today's version, else written anew with the same values."""
    path = store.file(number)
    data = read_regular(path, episode_file.MAX_FILE_BYTES)
    episode = episode_file.decode(data, store.schema, path, number)
    if episode.metadata.schema_sha256 == schema.fingerprint():
        return data, episode.metadata
    metadata = episode.metadata.model_copy(update={"schema_sha256": schema.fingerprint()})
    return episode_file.encode(Episode(metadata, episode.columns), schema), metadata


def _write_lineage(plan: Plan, folder: Path, notes: Sequence[str]) -> None:
    before = [places_of(store.path) for store in plan.sources]
    names = [store.path.resolve().name for store in plan.sources]

    def place(source: int, number: int) -> Place:
        return Place(store=names[source], episode=number)

    episodes = [
        Descent(
            episode=one.new,
            content_sha256=one.content_sha256,
            places=(place(one.source, one.number), *before[one.source].get((one.number, one.content_sha256), ())),
            twins=tuple(place(source, number) for source, number in one.twins),
        )
        for one in plan.episodes
    ]
    fingerprints = [store.schema.fingerprint() for store in plan.sources]
    sources = [Source(store=name, fingerprint=value) for name, value in zip(names, fingerprints, strict=True)]
    # What was left behind is named in the source; where that lies on this machine is nobody's business.
    told = [*plan.conflicts, *notes]
    for store, name in zip(plan.sources, names, strict=True):
        told = [line.replace(str(store.path), name) for line in told]
    write_lineage(folder, plan.action, sources, episodes, told)


def _work(metadata: EpisodeMetadata) -> bytes:
    """Return a digest of what decides an episode's content: the arguments themselves are long, the episodes many."""
    policy = metadata.policy
    key = episode_key(metadata.env_id, metadata.kwargs, metadata.seed, policy.name, policy.hash)
    return hashlib.sha256("\0".join(key).encode()).digest()


def _named(stores: Sequence[Store], source: int, number: int) -> str:
    return f"{stores[source].path} episode {number}"


def _description_conflicts(other: Store, first: Store) -> list[str]:
    """Say what two descriptions that fit together tell differently."""

    def flat(store: Store) -> dict[str, Any]:
        schema = store.schema
        return {"robot": schema.robot, "instruction": schema.instruction} | {
            f"environment.{key}": value for key, value in schema.environment.items()
        }

    ours, theirs = flat(other), flat(first)
    keys = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    if not keys:
        return []
    text = f"{other.path / DESCRIPTION}: {', '.join(keys)} are not as in {first.path / DESCRIPTION}, which is kept"
    return [f"{text}; each episode's own metadata say what it was recorded with"]


def _metadata_conflicts(
    stores: Sequence[Store], known: Taken, source: int, number: int, metadata: EpisodeMetadata
) -> list[str]:
    """Say what two episodes with the same values tell differently of themselves."""
    ours = metadata.model_dump(mode="json")
    theirs = stores[known.source].metadata(known.number).model_dump(mode="json")
    keys = sorted(k for k in {*ours, *theirs} - _TIMES if ours.get(k) != theirs.get(k))
    if not keys:
        return []
    first = _named(stores, known.source, known.number)
    return [f"{_named(stores, source, number)}: same values as {first}, other {', '.join(keys)}; the first is kept"]


def is_current(store: Store) -> bool:
    """Whether everything in a store is of today's version, so that there is nothing to migrate."""
    fingerprint = store.schema.fingerprint()
    return not store.schema.older and all(store.metadata(n).schema_sha256 == fingerprint for n in store.episodes())

"""Clean a store into a new one. The source is only read; each new episode says what it was made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training_ground.configs.cleaning import (
    CutGaps,
    Deduplicate,
    Drop,
    Operation,
    Repair,
    Resample,
    TrimIdle,
    name_of,
    parse_operation,
)
from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets.cleaned import AppliedOperation, CleaningStep
from training_ground.datasets.cleaning import operations as work
from training_ground.datasets.cleaning.carried import OF_THE_END, Made, carry
from training_ground.datasets.cleaning.draft import Draft, Dropped
from training_ground.datasets.episode_file import Episode, content_hash
from training_ground.datasets.export import new_folder
from training_ground.datasets.files import write_new
from training_ground.datasets.index import Index
from training_ground.datasets.labels import spoken_of
from training_ground.datasets.layout import RECORD
from training_ground.datasets.lineage import places_of
from training_ground.datasets.provenance import code_commit
from training_ground.datasets.quality.collection import Collection
from training_ground.datasets.quality.gate import judge, load_limits, measure_episode
from training_ground.datasets.schema import DatasetSchema, canonical_json
from training_ground.datasets.store import Store


@dataclass(frozen=True)
class Cleaned:
    """What became of one episode.

    Attributes:
        episode: Its number in the source.
        steps: Steps that it had.
        kept: Steps that it has now; 0 where it was dropped.
        rows: First and last row of the source that are kept; None where it was dropped.
        filled: Numbers that were filled in.
        number: Its number in the new store; None where it was dropped, or nothing was written.
        dropped: Why it was dropped; empty where it was not.
    """

    episode: int
    steps: int
    kept: int
    rows: tuple[int, int] | None
    filled: int = 0
    number: int | None = None
    dropped: str = ""

    @property
    def changed(self) -> bool:
        """Whether rows were cut off or values filled in."""
        return not self.dropped and (self.kept != self.steps or self.filled > 0)


@dataclass(frozen=True)
class CleaningReport:
    """What a run did, or would do.

    Attributes:
        source, out: Folders; `out` is None where nothing was written.
        operations: Name and parameters of each, in order.
        episodes: Every episode of the source.
        notes: Annotations that could not be read or applied, and what did not go along, one sentence each.
    """

    source: Path
    out: Path | None
    operations: tuple[dict[str, Any], ...]
    episodes: tuple[Cleaned, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "source": str(self.source),
            "out": None if self.out is None else str(self.out),
            "operations": list(self.operations),
            "kept": sum(not e.dropped for e in self.episodes),
            "changed": sum(e.changed for e in self.episodes),
            "dropped": sum(bool(e.dropped) for e in self.episodes),
            "steps_before": sum(e.steps for e in self.episodes),
            "steps_after": sum(e.kept for e in self.episodes),
            "notes": list(self.notes),
            "episodes": [asdict(e) for e in self.episodes],
        }


def clean(
    store: Store,
    operations: Sequence[Operation],
    out: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> CleaningReport:
    """Apply operations to every episode that is not labelled as dropped, in order, and write what is left.

    Labels go along, those about rows in the rows that they have now; so do media, splits and lineage.

    Args:
        store: The source; nothing in it is changed.
        operations: What to do.
        out: A folder that does not exist; it appears complete or not at all. Without it nothing is written.
        progress: Called with the number of each episode that is done.

    Raises:
        DatasetError: The dataset cannot be cleaned that way, every episode would be dropped, `out` exists or cannot be
            written.
    """
    cleaner, before = _Cleaner(store, operations), places_of(store.path)
    if out is None:
        return cleaner.run(None, progress)
    with new_folder(out) as folder:
        new = Store.create(folder, cleaner.schema.model_copy(update={"created_ns": time.time_ns()}))
        report = cleaner.run(new, progress)
        if not len(new):
            first = next((e.dropped for e in report.episodes), "there was none")
            raise DatasetError(f"{store.path}: every episode would be dropped; the first one: {first}")
        notes = (*report.notes, *carry(store, before, folder, cleaner.made))
        report = replace(report, out=out, notes=notes)
        told = [note.replace(str(store.path), store.path.resolve().name) for note in notes]
        plain = {**report.to_json(), "source": store.path.resolve().name, "out": None, "notes": told}
        record = {"schema_version": 1, **plain}
        write_new(folder, canonical_json(record, RECORD) + b"\n", lambda: iter([RECORD]))
    return report


def apply(draft: Draft, operation: Operation) -> Draft:
    """Apply one operation that concerns an episode alone; the others leave it as it is.

    Raises:
        Dropped: Nothing of the episode is left.
        DatasetError: The dataset does not hold what the operation needs.
    """
    if isinstance(operation, TrimIdle):
        return work.trim_idle(draft, operation)
    if isinstance(operation, CutGaps):
        return work.cut_gaps(draft, operation)
    if isinstance(operation, Repair):
        return work.repair(draft, operation)
    if isinstance(operation, Resample):
        return work.resample(draft, operation)
    return draft


def check_cleaned(cleaned: Episode, source: Episode, schema: DatasetSchema) -> None:
    """Do again what an episode's lineage says was done to its source, and compare every bit.

    Args:
        cleaned: An episode with lineage.
        source: The episode that it says it was made of.
        schema: The source's.

    Raises:
        DatasetError: It has no lineage, the source is another one, or what comes out differs.
    """
    where = f"episode {cleaned.number}"
    if not cleaned.metadata.cleaned:
        raise DatasetError(f"{where}: has no lineage")
    step = cleaned.metadata.cleaned[-1]
    found = content_hash(source.columns)
    if found != step.content_sha256:
        raise DatasetError(f"{where}: was made of content {step.content_sha256[:12]}, the source given is {found[:12]}")
    draft = Draft.of(source, schema)
    for one in step.operations:
        operation = parse_operation({"do": one.name, **one.parameters}, f"{where}: lineage", DatasetError)
        try:
            draft = apply(draft, operation)
        except Dropped as why:
            raise DatasetError(f"{where}: lineage: {one.name} leaves nothing of the source: {why}") from why
    # What a video has lost once cannot be compared by hash with what it has lost twice.
    exact = {name for name, storage in schema.videos().items() if storage.lossless and storage.depth_step is None}
    names = [name for name in cleaned.columns if name in exact or name not in schema.videos()]
    made, there = ({name: episode.columns[name] for name in names} for episode in (draft.episode, cleaned))
    if content_hash(made, exact) != content_hash(there, exact) or draft.runs() != step.filled:
        raise DatasetError(f"{where}: is not what its lineage makes of the source")


class _Cleaner:
    """Takes the episodes of one store through the operations."""

    def __init__(self, store: Store, operations: Sequence[Operation]) -> None:
        self._store, self._operations = store, tuple(operations)
        self._applied = tuple(AppliedOperation(name=name_of(o), parameters=_parameters(o)) for o in operations)
        gates = {o.preset for o in operations if isinstance(o, Drop) and o.when == "quality_fail"}
        self._limits = {preset: load_limits(preset)[1] for preset in gates}
        self._kept = Collection(store.schema)
        self._index = Index.open(store)
        self._dropped, self._labels = self._index.dropped(), spoken_of(self._index, OF_THE_END)
        self.made: dict[int, Made] = {}
        self.schema = store.schema
        for operation in operations:
            if isinstance(operation, Resample):
                self.schema = work.resampled_schema(self.schema, operation.every)

    def run(self, new: Store | None, progress: Callable[[int], None] | None) -> CleaningReport:
        """Clean every episode, and append what is left to `new`."""
        done = []
        for number in self._store.episodes():
            done.append(self._one(number, new))
            if progress is not None:
                progress(number)
        plain = tuple({"do": a.name, **a.parameters} for a in self._applied)
        notes = self._index.unheard
        return CleaningReport(self._store.path, None, plain, tuple(done), notes)

    def _one(self, number: int, new: Store | None) -> Cleaned:
        try:
            source = self._store.read(number)
        except DatasetError as problem:
            return Cleaned(number, 0, 0, None, dropped=f"cannot be read: {problem}")
        if number in self._dropped:
            return Cleaned(number, source.length, 0, None, dropped="is labelled as dropped")
        source = replace(source, labels=self._labels.get(number, {}))
        draft = Draft.of(source, self._store.schema)
        compared = source
        try:
            for operation in self._operations:
                self._drop(draft, operation)
                if isinstance(operation, Deduplicate):
                    compared = draft.episode  # later episodes are compared at this stage, too
                draft = apply(draft, operation)
        except Dropped as why:
            return Cleaned(number, source.length, 0, None, dropped=str(why))
        self._kept.add(compared)
        step = self._lineage(source, draft)
        metadata = draft.episode.metadata.model_copy(update={"cleaned": (*source.metadata.cleaned, step)})
        written = None
        if new is not None:
            written = new.append(Episode(metadata, draft.episode.columns))
            self.made[number] = Made(written, new.metadata(written).content_sha256, step)
        filled = sum(int(mask.sum()) for mask in draft.filled.values())
        return Cleaned(number, source.length, draft.episode.length, step.rows, filled, written)

    def _drop(self, draft: Draft, operation: Operation) -> None:
        episode = draft.episode
        if isinstance(operation, Deduplicate):
            compared = self._kept.compare(episode)
            if compared["duplicate"].value:
                raise Dropped(f"same content as {compared['duplicate'].note.removeprefix('of ')}")
            near = compared["nearest_distance"]
            if operation.distance is not None and near.value is not None and near.value < operation.distance:
                raise Dropped(f"{near.value:.3g} rad {near.note}")
        elif isinstance(operation, Drop) and operation.when == "quality_fail":
            reasons = judge(measure_episode(episode, draft.schema), self._limits[operation.preset].episode)
            failed = [str(reason) for reason in reasons if reason.verdict == "fail"]
            if failed:
                raise Dropped(failed[0])
        elif isinstance(operation, Drop) and operation.when == "no_success" and not episode.success:
            raise Dropped("no success" if episode.failure is None else f"no success: {episode.failure}")
        elif isinstance(operation, Drop) and operation.when == "cut_off" and not episode.metadata.complete:
            raise Dropped("was cut off before its end")

    def _lineage(self, source: Episode, draft: Draft) -> CleaningStep:
        rows = draft.rows
        data = {
            "episode": source.number,
            "content_sha256": source.metadata.content_sha256,
            "length": source.length,
            "rows": (int(rows[0]), int(rows[-1])),
            "step": int(rows[1] - rows[0]),
            "operations": self._applied,
            "filled": draft.runs(),
            "code_commit": code_commit(),
        }
        return validate(CleaningStep, data, f"lineage of episode {source.number}", DatasetError)


def _parameters(operation: Operation) -> dict[str, Any]:
    """What an operation ran with; of a file its name alone, for where it lay is nobody's business."""
    found = operation.model_dump()
    return found | {"preset": Path(found["preset"]).stem} if "preset" in found else found

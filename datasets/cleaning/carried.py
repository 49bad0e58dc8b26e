"""What goes along when a store is cleaned: annotations, in the rows that are left, splits, and where from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_ground.datasets.carrying import carry_about, carry_annotations, carry_splits, renumbered
from training_ground.datasets.cleaned import CleaningStep
from training_ground.datasets.lineage import Descent, Place, Source, write_lineage
from training_ground.datasets.store import Store

OF_THE_WHOLE = ("instruction", "note", "tags")
"""Fields that hold of an episode whatever was cut off."""
OF_THE_END = ("success", "failure")
"""Fields that hold as long as the end is there."""


@dataclass(frozen=True)
class Made:
    """An episode of the new store: its number and content there, and what it was made of."""

    number: int
    content_sha256: str
    step: CleaningStep


def carry(
    source: Store, before: Mapping[tuple[int, str], tuple[Place, ...]], folder: Path, made: Mapping[int, Made]
) -> tuple[str, ...]:
    """Write what goes along into the new store, and return what was left behind, one sentence each.

    Args:
        source: Where from.
        before: Where its episodes were before, as `lineage.places_of` returns it.
        folder: The new store.
        made: By the number in the source, what became of each episode that is kept.
    """

    def change(record: dict[str, Any], number: int) -> dict[str, Any] | None:
        return translated(record, made[record["episode"]])

    numbers = {(n, one.step.content_sha256): one.number for n, one in made.items()}
    notes = carry_annotations([source], [numbers], folder, change) + carry_splits([source], folder)
    notes += carry_about([source], folder)
    name = source.path.resolve().name
    episodes = [
        Descent(
            episode=one.number,
            content_sha256=one.content_sha256,
            places=(Place(store=name, episode=n), *before.get((n, one.step.content_sha256), ())),
        )
        for n, one in made.items()
    ]
    told = [note.replace(str(source.path), name) for note in notes]
    write_lineage(folder, "clean", [Source(store=name, fingerprint=source.schema.fingerprint())], episodes, told)
    return tuple(notes)


def translated(record: dict[str, Any], made: Made) -> dict[str, Any] | None:
    """Return a record about a source as one about what was made of it; None where it does not hold of that.

    Raises:
        KeyError, TypeError: The record is malformed.
    """
    step, field, value = made.step, record["field"], record["value"]
    new = renumbered(record, made.number)
    if step.as_recorded:
        return new
    new["content_sha256"] = made.content_sha256
    if field in OF_THE_WHOLE or (field in OF_THE_END and step.rows[1] == step.length):
        return new
    if field == "phase":
        return new if value is None else new | {"value": _ranges(value, step)}
    if field == "event":
        return new if value is None else new | {"value": _events(value, step)}
    return None


def _ranges(value: list[dict[str, Any]], step: CleaningStep) -> list[dict[str, Any]]:
    """Phases in the rows that are kept."""
    first, last = step.rows
    found = []
    for one in value:
        begin = -(-(max(one["first"], first) - first) // step.step)
        end = (min(one["last"], last) - first) // step.step
        found += [one | {"first": begin, "last": end}] if begin <= end else []
    return found


def _events(value: list[dict[str, Any]], step: CleaningStep) -> list[dict[str, Any]]:
    """Events in the rows that are kept: of a row that is not, in the next one."""
    first, last = step.rows
    there = (one for one in value if first <= one["row"] <= last)
    return [one | {"row": -(-(one["row"] - first) // step.step)} for one in there]

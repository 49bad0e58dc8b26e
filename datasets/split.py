"""Splits: which episodes are for training and which are for testing, by rule and for ever.

A split is a small immutable file, `splits/<name>.json`: by what episodes are grouped, which share each part gets, and
a salt. An episode's part follows from the sha256 of salt and group alone. So an episode that is added has a part at
once, none ever moves from one part to another, and whole groups go together. Assignments written one by one, as
annotations, could contradict each other and would have to be written again with every recording; the rule cannot.

An augmented episode has the seed and the operator of its demonstration here.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import pyarrow as pa
import pydantic
from pydantic import Field

from training_ground.configs.errors import DatasetError, unknown
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets.files import make_folder, names_in, read_regular, write_new
from training_ground.datasets.index import Index
from training_ground.datasets.layout import FILES, SPLITS
from training_ground.datasets.schema import SCHEMA_VERSION, Count, canonical_json, check_version, parse_json
from training_ground.datasets.store import Store

MAX_BYTES = 1 << 20
MAX_SPLITS = 1000
GROUPS = {
    "seed": ("env_id", "seed"),
    "scenario": ("env_id", "tier", "robot"),
    "robot": ("robot",),
    "operator": ("operator",),
    "policy": ("policy", "policy_hash"),
}
"""What episodes can be grouped by → columns of the index that make the group."""
_OF_DEMONSTRATION = {"seed": "origin_seed", "operator": "origin_operator"}

PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]

Share = Annotated[float, Field(gt=0, le=1)]


class Split(StrictModel):
    """The rule of a split: `splits/<name>.json`.

    Attributes:
        name: Of the file and of the column `split_<name>` in queries.
        by: One of `GROUPS`.
        parts: Part → share of the groups; they add up to 1. The order counts.
        salt: Another one draws other groups.
        created_ns: Wall clock, ns since 1970.
    """

    schema_version: int = SCHEMA_VERSION
    name: PartName
    by: Literal["seed", "scenario", "robot", "operator", "policy"] = "seed"
    parts: Annotated[tuple[tuple[PartName, Share], ...], Field(min_length=1, max_length=100)]
    salt: Count = 0
    created_ns: Count

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Split:
        names = [name for name, _ in self.parts]
        if len(set(names)) != len(names):
            raise ValueError(f"parts: a name stands twice: {', '.join(names)}")
        total = math.fsum(share for _, share in self.parts)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"parts: the shares add up to {total:g}, must be 1")
        return self

    def part(self, group: tuple[Any, ...]) -> str:
        """Return the part of a group, the values of the columns `GROUPS[by]`."""
        digest = hashlib.sha256(canonical_json([self.salt, *group], "group")).digest()
        drawn = int.from_bytes(digest[:8], "big") / 2**64
        edge = 0.0
        for name, share in self.parts:
            edge += share
            if drawn < edge:
                return name
        return self.parts[-1][0]  # shares that add up to 0.999…


def create(store: Store, split: Split) -> None:
    """Write a split.

    Raises:
        DatasetError: There is one of that name, or it cannot be written.
    """
    folder = make_folder(store.path / SPLITS)
    if split.name in names(store):
        raise DatasetError(f"{folder / split.name}.json: there is a split of that name, and splits never change")
    data = canonical_json(split.model_dump(mode="json"), "split") + b"\n"
    write_new(folder, data, lambda: iter([f"{split.name}.json"]))


def names(store: Store) -> list[str]:
    """Return the names of the splits of a store."""
    listed = names_in(store.path / SPLITS)
    found = [name.removesuffix(".json") for name in listed if FILES[SPLITS].fullmatch(name)]
    if len(found) > MAX_SPLITS:
        raise DatasetError(f"{store.path / SPLITS}: has {len(found)} splits, more than the {MAX_SPLITS} allowed")
    return found


def read(store: Store, name: str) -> Split:
    """Read a split.

    Raises:
        DatasetError: There is none of that name, or the file is damaged.
    """
    if name not in names(store):
        raise DatasetError(f"{store.path}: {unknown('split', name, names(store))}")
    path = store.path / SPLITS / f"{name}.json"
    data = parse_json(read_regular(path, MAX_BYTES), str(path))
    check_version(data, str(path))
    split = validate(Split, data, str(path), DatasetError)
    if split.name != name:
        raise DatasetError(f"{path}: name = '{split.name}' is not that of the file")
    return split


def assign(index: Index, split: Split) -> list[str]:
    """Return the part of each episode of the index, dropped ones included."""
    part = functools.cache(split.part)
    return [part(group) for group in zip(*_group_columns(index, split), strict=True)]


def members(index: Index, split: Split, check: bool = True) -> dict[str, list[int]]:
    """Return the numbers of each part's episodes; those that were dropped are in none.

    Args:
        index, split: Of one store.
        check: Refuse leaks.

    Raises:
        DatasetError: Something is on both sides (`leaks`).
    """
    found = leaks(index, split) if check else []
    if found:
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        raise DatasetError(f"split '{split.name}' leaks: {found[0]}{more}; label one of them dropped=true")
    result: dict[str, list[int]] = {name: [] for name, _ in split.parts}
    numbers, dropped = index.numbers.tolist(), index.column("dropped")
    for number, part, out in zip(numbers, assign(index, split), dropped, strict=True):
        if not out:
            result[part].append(number)
    return result


def leaks(index: Index, split: Split) -> list[str]:
    """Say what stands in two parts: the same content, an augmented episode and its demonstration, and, where episodes
    are grouped by seed, the scene of a seed that an augmented episode was made in and another one recorded in.

    Dropped episodes are in no part.
    """
    kinds: dict[str, list[Any]] = {
        "the content": index.column("content_sha256"),
        "the demonstration": _first(index.column("origin_sha256"), index.column("content_sha256")),
    }
    if split.by == "seed":
        seeds = zip(index.column("env_id"), index.column("seed"), strict=True)
        kinds["the seed"] = [f"{seed} of {env_id}" for env_id, seed in seeds]
    parts, numbers, dropped = assign(index, split), index.numbers.tolist(), index.column("dropped")
    found: dict[tuple[int, ...], str] = {}
    for kind, keys in kinds.items():
        places: dict[Any, dict[str, int]] = defaultdict(dict)
        for key, part, number, out in zip(keys, parts, numbers, dropped, strict=True):
            if not out:
                places[key].setdefault(part, number)
        for key, where in places.items():
            if len(where) > 1:
                said = " and ".join(f"'{part}' (episode {number})" for part, number in where.items())
                found.setdefault(tuple(where.values()), f"{kind} {str(key)[:80]} is in {said}")
    return list(found.values())


def with_splits(index: Index) -> pa.Table:
    """Return the index's episodes with a column `split_<name>` for each split of the store; null for dropped ones."""
    table = index.episodes
    for name in names(index.store):
        parts = assign(index, read(index.store, name))
        kept = [None if out else part for part, out in zip(parts, index.column("dropped"), strict=True)]
        table = table.append_column(f"split_{name}", pa.array(kept, pa.string()))
    return table


def new(name: str, by: str, parts: Iterable[tuple[str, float]], salt: int = 0) -> Split:
    """Return a split, not yet written.

    Raises:
        DatasetError: The name, the grouping or the shares are not allowed.
    """
    if by not in GROUPS:
        raise DatasetError(unknown("grouping", by, GROUPS))
    data = {"name": name, "by": by, "parts": list(parts), "salt": salt, "created_ns": time.time_ns()}
    return validate(Split, data, f"split '{name}'", DatasetError)


def _group_columns(index: Index, split: Split) -> list[list[Any]]:
    columns = []
    for name in GROUPS[split.by]:
        values, origin = index.column(name), _OF_DEMONSTRATION.get(name)
        if origin is not None:
            augmented = index.column("origin_sha256")
            theirs = index.column(origin)
            values = [b if c is not None else a for a, b, c in zip(values, theirs, augmented, strict=True)]
        columns.append(values)
    return columns


def _first(values: Iterable[Any], otherwise: Iterable[Any]) -> list[Any]:
    return [b if a is None else a for a, b in zip(values, otherwise, strict=True)]

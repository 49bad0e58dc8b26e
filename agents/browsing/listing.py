"""The list of episodes: filters, order and pages over the index, which is read again when the store has changed."""

from __future__ import annotations

import threading
import time
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray
from pydantic import Field

from training_ground.configs.loading import StrictModel
from training_ground.datasets.annotations import ANNOTATIONS
from training_ground.datasets.index import Index
from training_ground.datasets.labels import IN_FORCE
from training_ground.datasets.query import select
from training_ground.datasets.store import EPISODES, Store

pc: Any = pyarrow.compute  # its functions are made when it is imported: no type checker knows them

PAGE = 50
"""Episodes of a page."""
MAX_CHOICES = 100
"""Values of a filter that are offered, the most frequent ones."""
MAX_SHOWN = 300
"""Letters of a text in the list; the episode's own page has all of them."""
NAMED = ("task", "robot", "tier", "policy", "failure")
"""Columns that are filtered by one of their values."""
_SHOWN = (
    *("number", "task", "robot", "tier", "seed", "policy", "length", "seconds", "success", "success_recorded"),
    *("success_source", "failure", "quality", "tags", "dropped", "note"),
)
_SETTLED_NS = 20_000_000
"""Age below which a folder's time of change may stand for a later change, too: file systems count in such steps."""

Value = Annotated[str, Field(max_length=2000)]


class Filters(StrictModel):
    """What is asked for; an empty text asks for nothing.

    Attributes:
        task, robot, tier, policy, failure: Exactly this value.
        success: In force; `corrected` where it is another than what was recorded.
        quality: The verdict in force; `none` where there is none.
        tag: One of its tags.
        dropped: Whether it was set aside.
        seen: Whether a person's label is in force: what is left to be looked at has none.
        where: A condition in SQL, as `tg data ls --where` has.
        order: Column to sort by.  down: From the largest.
        page: From 0.
    """

    task: Value = ""
    robot: Value = ""
    tier: Value = ""
    policy: Value = ""
    failure: Value = ""
    success: Literal["", "yes", "no", "unknown", "corrected"] = ""
    quality: Literal["", "pass", "warn", "fail", "none"] = ""
    tag: Value = ""
    dropped: Literal["", "yes", "no"] = ""
    seen: Literal["", "yes", "no"] = ""
    where: Annotated[str, Field(max_length=4000)] = ""
    order: Literal["number", "task", "tier", "seed", "policy", "seconds", "success", "failure", "quality"] = "number"
    down: Literal["", "yes"] = ""
    page: Annotated[int, Field(ge=0, le=10**9)] = 0


class Listing:
    """The episodes of a store, as they are now.

    Args:
        store: What to list.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._index: Index | None = None
        self._known: dict[str, NDArray[np.int64]] = {}

    def index(self) -> Index:
        """Return the index; it is opened again where a file has come or gone since.

        Raises:
            DatasetError: A folder cannot be listed.
        """
        with self._lock:
            stamp = self._changed()
            if self._index is None or stamp != self._stamp or not stamp:
                if not stamp:
                    time.sleep(_SETTLED_NS * 1e-9)
                    stamp = self._changed()
                self._index, self._known = Index.open(self._store), {}
                self._stamp = stamp
            return self._index

    def page(self, filters: Filters) -> dict[str, Any]:
        """Return a page of the episodes that fit, and the values that filters can have.

        Raises:
            DatasetError: `where` is wrong; the message names the columns.
        """
        index, numbers = self.index(), self.numbers(filters)
        first = min(filters.page, max(len(numbers) - 1, 0) // PAGE) * PAGE
        rows = np.searchsorted(index.numbers, numbers[first : first + PAGE])
        listed = index.episodes.select(_SHOWN).take(pa.array(rows)).to_pylist()
        return {
            "episodes": [{key: _cut(value) for key, value in row.items()} for row in listed],
            "first": first,
            "found": len(numbers),
            "total": len(index),
            "page": first // PAGE,
            "pages": max(-(-len(numbers) // PAGE), 1),
            "choices": choices(index.episodes),
            "problems": list(index.problems[:20]),
        }

    def numbers(self, filters: Filters) -> NDArray[np.int64]:
        """Return the numbers of the episodes that fit, in the order that is asked for; errors as `page`."""
        index = self.index()
        key = filters.model_dump_json(exclude={"page"})
        known = self._known
        if key not in known:
            if len(known) >= 16:
                known.clear()
            known[key] = _chosen(index, filters)
        return known[key]

    def neighbours(self, number: int, filters: Filters) -> dict[str, Any]:
        """Return the episodes before and after one among those that fit, and its place; errors as `page`."""
        numbers = self.numbers(filters)
        found = np.flatnonzero(numbers == number)
        if not len(found):
            return {"before": None, "after": None, "place": None, "found": len(numbers)}
        place = int(found[0])
        return {
            "before": int(numbers[place - 1]) if place else None,
            "after": int(numbers[place + 1]) if place + 1 < len(numbers) else None,
            "place": place,
            "found": len(numbers),
        }

    def _changed(self) -> tuple[int, ...]:
        """Return when the folders last changed; nothing while a change could still hide behind the same time."""
        times = []
        for name in (EPISODES, ANNOTATIONS):
            folder = self._store.path / name
            times.append(folder.stat().st_mtime_ns if folder.is_dir() else 0)
        return () if time.time_ns() - max(times) < _SETTLED_NS else tuple(times)


def choices(episodes: pa.Table) -> dict[str, list[list[Any]]]:
    """Return for each filter the values that episodes have, as [value, how many], the most frequent first."""
    texts = {name: episodes.column(name).cast(pa.string()) for name in NAMED}
    texts["tag"] = pc.list_flatten(episodes.column("tags"))
    result = {}
    for name, column in texts.items():
        counted = pc.value_counts(column.drop_null())
        found = sorted(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True), key=_frequent)
        result[name] = [list(pair) for pair in found[:MAX_CHOICES]]
    return result


def _frequent(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _chosen(index: Index, filters: Filters) -> NDArray[np.int64]:
    table = index.episodes
    chosen = np.ones(len(table), bool)

    def keep(mask: Any) -> None:
        np.logical_and(chosen, pc.fill_null(mask, False).to_numpy(zero_copy_only=False), out=chosen)

    for name in NAMED:
        if value := getattr(filters, name):
            keep(pc.equal(table.column(name).cast(pa.string()), value).combine_chunks())
    success, recorded = table.column("success").combine_chunks(), table.column("success_recorded").combine_chunks()
    if filters.success in ("yes", "no"):
        keep(pc.equal(success, filters.success == "yes"))
    elif filters.success == "unknown":
        keep(pc.is_null(success))
    elif filters.success == "corrected":
        same = pc.if_else(pc.is_null(success), pc.is_null(recorded), pc.equal(success, recorded))
        keep(pc.invert(pc.fill_null(same, False)))
    if filters.quality:
        quality = table.column("quality").combine_chunks()
        keep(pc.is_null(quality) if filters.quality == "none" else pc.equal(quality, filters.quality))
    if filters.tag:
        tags = table.column("tags").combine_chunks()
        parents = pc.list_parent_indices(tags).to_numpy(zero_copy_only=False)
        has = np.zeros(len(table), bool)
        has[parents[pc.equal(pc.list_flatten(tags), filters.tag).to_numpy(zero_copy_only=False)]] = True
        keep(pa.array(has))
    if filters.dropped:
        keep(pc.equal(table.column("dropped"), filters.dropped == "yes").combine_chunks())
    if filters.seen:
        records = index.records
        by_person = pc.equal(records.column("source").cast(pa.string()), "person")
        found = records.filter(pc.and_(by_person, pc.equal(records.column("status"), IN_FORCE)))
        labelled = np.isin(index.numbers, found.column("episode").to_numpy())
        keep(pa.array(labelled == (filters.seen == "yes")))
    if filters.where.strip():
        keep(pa.array(np.isin(index.numbers, select(index, filters.where))))
    rows = np.flatnonzero(chosen)
    if filters.order == "number":
        return index.numbers[rows[::-1] if filters.down else rows]
    column = table.column(filters.order)
    plain = column.cast(
        pa.int8() if pa.types.is_boolean(column.type) else pa.string() if _text(column) else column.type
    )
    order = "descending" if filters.down else "ascending"
    sorted_ = pc.sort_indices(plain.take(pa.array(rows)).combine_chunks(), sort_keys=[("", order)])
    return index.numbers[rows[sorted_.to_numpy(zero_copy_only=False)]]


def _text(column: pa.ChunkedArray) -> bool:
    return pa.types.is_dictionary(column.type) or pa.types.is_string(column.type)


def _cut(value: Any) -> Any:
    return value[:MAX_SHOWN] if isinstance(value, str) else value

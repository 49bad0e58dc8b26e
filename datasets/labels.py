"""Labels in force: of the records about a field of an episode, the newest that fits the episode.

What the simulator said when the episode was recorded stands in its metadata and stays there: `success_recorded`,
`failure_recorded` and `instruction_recorded` beside the labels in force, which are the same until somebody corrects
them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError, unknown
from training_ground.configs.loading import validate
from training_ground.configs.quality_gate import preset_hashes
from training_ground.datasets.annotations import FIELDS, ActorKind, Record, append, from_index, value_of
from training_ground.datasets.derived import PROBLEM

if TYPE_CHECKING:
    from training_ground.datasets.index import Index

pc: Any = pyarrow.compute  # its functions are made when it is imported: no type checker knows them

IN_FORCE, SUPERSEDED, TAKEN_BACK = "in force", "superseded", "taken back"
NO_EPISODE, OTHER_CONTENT, NO_SUCH_ROW = "no such episode", "episode has other content", "row beyond the end"
STATUS = (IN_FORCE, SUPERSEDED, TAKEN_BACK, NO_EPISODE, OTHER_CONTENT, NO_SUCH_ROW)
RECORDED = ("success", "failure", "instruction")
"""Fields that an episode's metadata has, too."""
LATEST_NS = 2**62
"""Largest time that a record may have."""

_TEXTS = pa.list_(pa.string())
_COLUMNS: dict[str, tuple[str, pa.DataType, Callable[[Any], Any]]] = {
    "phase": ("phases", _TEXTS, lambda value: [one["name"] for one in value]),
    "event": ("events", _TEXTS, lambda value: [one["name"] for one in value]),
    "quality": ("quality", pa.string(), lambda value: value["verdict"]),
    "dropped": ("dropped", pa.bool_(), lambda value: value),
    "note": ("note", pa.string(), lambda value: value),
    "tags": ("tags", _TEXTS, lambda value: value),
    "success": ("success", pa.bool_(), lambda value: value),
    "failure": ("failure", pa.string(), lambda value: value or None),  # "": none, whatever was recorded
    "instruction": ("instruction", pa.string(), lambda value: value),
}
_SCORES = pa.map_(pa.string(), pa.float64())


def in_force(episodes: pa.Table, records: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Apply records to episodes.

    Args:
        episodes: One row an episode, by number: `number`, `length`, `content_sha256` and the fields of `RECORDED`.
        records: As `annotations.history` returns them, without problems.

    Returns:
        The episodes with their labels, and the records with `status`, one of `STATUS`.
    """
    winner, status = _winners(episodes, records)
    table = episodes
    for field in RECORDED:
        recorded = table.column(field)
        table = table.append_column(f"{field}_recorded", recorded)
        rows = winner[:, FIELDS.index(field)]
        new = _values(records, rows, _COLUMNS[field][2], _COLUMNS[field][1])
        given = pc.cast(recorded, new.type)
        chosen = pc.if_else(pa.array(rows >= 0), new, given) if (rows >= 0).any() else given
        table = table.set_column(table.schema.get_field_index(field), field, chosen)
    sources = _taken(records.column("source"), winner[:, FIELDS.index("success")])
    said = pc.if_else(pc.is_null(table.column("success_recorded")), None, "simulator")
    table = table.append_column("success_source", pc.coalesce(sources, said))
    for field, (name, kind, make) in _COLUMNS.items():
        if field not in RECORDED:
            values = _values(records, winner[:, FIELDS.index(field)], make, kind)
            table = table.append_column(name, pc.fill_null(values, False) if field == "dropped" else values)
    quality = winner[:, FIELDS.index("quality")]
    reasons = _values(records, quality, lambda value: list(value.get("reasons", ())), _TEXTS)
    table = table.append_column("quality_reasons", reasons)
    table = table.append_column("quality_stale", _stale(records, winner))
    return table, records.append_column("status", pa.array(np.array(STATUS, object)[status], pa.string()))


def _stale(records: pa.Table, winner: NDArray[np.int64]) -> pa.Array | pa.ChunkedArray:
    """Say of each verdict whether it would be another one today: other limits, or a person has corrected success since.

    Null where there is no verdict, or nobody can know: it names no limits, or none that are known here by that name.
    """

    def outdated(value: Any) -> bool | None:
        limits = value.get("limits")
        known = preset_hashes().get(limits["preset"]) if limits else None
        return None if known is None else known != limits["sha256"]

    verdict, success = (winner[:, FIELDS.index(field)] for field in ("quality", "success"))
    changed = _values(records, verdict, outdated, pa.bool_())
    if not (both := (verdict >= 0) & (success >= 0)).any():
        return changed
    times = records.column("time_ns").to_numpy()
    person = pc.equal(records.column("source").cast(pa.string()), "person").to_numpy(zero_copy_only=False)
    later = both & (times[success] > times[verdict]) & person[success]
    return pc.or_kleene(changed, pa.array(later, mask=verdict < 0))


def said_by_people(index: Index) -> dict[int, bool]:
    """Return what people said last of the success of episodes, whoever else has said something since.

    What a person took back again is not in it.
    """
    rows = records_of(index, ["success"], [IN_FORCE, SUPERSEDED, TAKEN_BACK])
    rows = rows.filter(pc.equal(rows.column("source").cast(pa.string()), "person"))
    found = sorted(rows.select(["time_ns", "episode", "value"]).to_pylist(), key=lambda row: row["time_ns"])
    with from_index():
        last = {row["episode"]: json.loads(row["value"]) for row in found}
    return {number: value for number, value in last.items() if value is not None}


def with_scores(index: Index) -> pa.Table:
    """Return the index's episodes with a column `scores`, what each measure of the verdict in force gave."""
    rows = records_of(index, ["quality"])
    at = pc.index_in(index.episodes.column("number"), rows.column("episode"))
    texts = rows.column("scores").to_pylist()
    with from_index():
        scores = pa.array([None if text is None else list(json.loads(text).items()) for text in texts], _SCORES)
    return index.episodes.append_column("scores", scores.take(at))


def records_of(index: Index, fields: Collection[str], statuses: Collection[str] = (IN_FORCE,)) -> pa.Table:
    """Return the records about some fields that have one of some statuses, in the order of files."""
    rows = index.records
    for name, wanted in (("field", fields), ("status", statuses)):
        rows = rows.filter(pc.is_in(rows.column(name).cast(pa.string()), pa.array(list(wanted), pa.string())))
    return rows


def spoken_of(index: Index, fields: Collection[str]) -> dict[int, dict[str, Any]]:
    """Return what is in force by a record and not as recorded: number → field → value as plain data."""
    found: dict[int, dict[str, Any]] = {}
    for row in records_of(index, fields).select(["episode", "field", "value", "scores"]).to_pylist():
        found.setdefault(row["episode"], {})[row["field"]] = value_of(row)
    return found


def label(
    index: Index,
    values: Mapping[int, Mapping[str, Any]],
    author: str,
    source: ActorKind = "person",
    confidence: float | None = None,
) -> int:
    """Say something about episodes, as one action, and return how many records were written.

    The records are newer than all that the index knows of, also where a clock is wrong.

    Args:
        index: Of the store; open it again to see what was written.
        values: Number of an episode → field → value; a value of None takes back what was said of the field before.
        author, source, confidence: See `Record`.

    Raises:
        DatasetError: There is no such episode, a value is not allowed, a row is beyond the episode's end, or nothing
            can be written; then nothing is.
    """
    hashes, lengths = index.column("content_sha256"), index.column("length")
    at = {number: position for position, number in enumerate(index.numbers.tolist())}
    now = min(max(time.time_ns(), index.newest_ns + 1), LATEST_NS)
    records = []
    for number, fields in values.items():
        if number not in at:
            raise DatasetError(f"{index.store.path}: there is no episode {number} that could be labelled")
        for field, value in fields.items():
            data = {
                "episode": number,
                "content_sha256": hashes[at[number]],
                "field": field,
                "value": value,
                "source": source,
                "author": author,
                "confidence": confidence,
                "time_ns": now,
            }
            record = validate(Record, data, f"label of episode {number}", DatasetError)
            last, end = record.last_row(), lengths[at[number]]
            if last > end:
                raise DatasetError(f"label of episode {number}: {field}: row {last}; the last one is {end}")
            records.append(record)
    append(index.store, records)
    return len(records)


def _winners(episodes: pa.Table, records: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each episode and field the row of the record in force (-1: none), and each record's status."""
    winner = np.full((len(episodes), len(FIELDS)), -1)
    status = np.full(len(records), STATUS.index(NO_EPISODE))
    if not len(records) or not len(episodes):
        return winner, status
    numbers = episodes.column("number").to_numpy()
    about = records.column("episode").to_numpy()
    at = np.minimum(np.searchsorted(numbers, about), len(numbers) - 1)
    there = numbers[at] == about
    same = pc.equal(episodes.column("content_sha256").take(pa.array(at)), records.column("content_sha256")).to_numpy()
    fits = records.column("last_row").to_numpy() <= episodes.column("length").to_numpy()[at]
    status[there & ~same] = STATUS.index(OTHER_CONTENT)
    status[there & same & ~fits] = STATUS.index(NO_SUCH_ROW)
    valid = np.flatnonzero(there & same & fits)
    # Rows come in the order of files and within them, so that a stable sort lets the later of two win at one time.
    valid = valid[np.argsort(records.column("time_ns").to_numpy()[valid], kind="stable")]
    fields = records.column("field").cast(pa.string())
    found = pc.index_in(fields, pa.array(FIELDS))
    if found.null_count:  # annotations are checked when they are read: only a part of the index can say that
        strange = fields.filter(pc.is_null(found))[0].as_py()
        raise DatasetError(unknown("field of a label in the index", str(strange), FIELDS) + "; delete the folder index")
    codes = found.to_numpy()
    winner[at[valid], codes[valid]] = valid  # of indices that stand twice the last one counts
    status[valid] = STATUS.index(SUPERSEDED)
    newest = winner[winner >= 0]
    none = pc.equal(records.column("value"), "null").to_numpy()
    status[newest] = np.where(none[newest], STATUS.index(TAKEN_BACK), STATUS.index(IN_FORCE))
    winner[(winner >= 0) & none[winner]] = -1
    return winner, status


def _values(
    records: pa.Table, rows: NDArray[np.int64], make: Callable[[Any], Any], kind: pa.DataType
) -> pa.ChunkedArray | pa.Array:
    """Return what the records in `rows` say, null where there is none; each distinct text is parsed once."""
    if not (rows >= 0).any():
        return pa.nulls(len(rows), kind)
    texts = _taken(records.column("value"), rows).combine_chunks().dictionary_encode()
    with from_index():
        parsed = pa.array([make(json.loads(text)) for text in texts.dictionary.to_pylist()], kind)
    return parsed.take(texts.indices)


def _taken(column: pa.ChunkedArray, rows: NDArray[np.int64]) -> pa.ChunkedArray:
    text = column.cast(pa.string())
    return text.take(pa.array(rows, mask=rows < 0))


def problems(records: pa.Table) -> list[str]:
    """Say what is wrong with records, as `annotations.history` returns them and with the status of `in_force`."""
    said = [str(text) for text in records.column(PROBLEM).drop_null().to_pylist()]
    if "status" in records.column_names:
        for status in (OTHER_CONTENT, NO_SUCH_ROW):
            rows = records.filter(pc.equal(records.column("status"), status))
            for row in rows.slice(0, 5).select(["file", "episode", "field"]).to_pylist():
                said.append(
                    f"annotation_{row['file']:06d}.json: {row['field']} of episode {row['episode']}: "
                    f"not applied: {status}"
                )
            if len(rows) > 5:
                said.append(f"and {len(rows) - 5} more records that are not applied: {status}")
    return said

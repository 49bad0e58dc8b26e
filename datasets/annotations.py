"""Annotations: what is said of episodes after they were recorded, in files that are only ever added.

`annotations/annotation_000000.json` is `{"schema_version": 1, "records": [...]}`: the records of one action. Nothing in
an episode's file changes; of the records of a field the newest holds (`labels.py`), and all of them stay.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pydantic
from pydantic import Field

from training_ground.configs.errors import DatasetError, unknown
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets.derived import INDEX, Progress, Source, refresh
from training_ground.datasets.files import make_folder, read_regular, write_new
from training_ground.datasets.layout import ANNOTATIONS
from training_ground.datasets.schema import SCHEMA_VERSION, Count, Text, canonical_json, check_version, parse_json
from training_ground.datasets.store import Store
from training_ground.datasets.video_schema import brief

MAX_FILE_BYTES = 32 << 20
MAX_RECORDS = 50_000
"""Records of one file; an action with more becomes several files."""

ActorKind = Literal["simulator", "rule", "person", "model"]
ShortName = Annotated[str, Field(min_length=1, max_length=200)]


class PhaseRange(StrictModel):
    """A phase and its rows, both ends included."""

    first: Count
    last: Count
    name: ShortName

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> PhaseRange:
        if self.last < self.first:
            raise ValueError(f"phase '{self.name}': last = {self.last} is before first = {self.first}")
        return self


class Event(StrictModel):
    """Something that happened, and the row in which."""

    row: Count
    name: ShortName


class Limits(StrictModel):
    """What a verdict was made with: the name of the limits, and a hash of them and of how is measured."""

    preset: ShortName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Quality(StrictModel):
    """A verdict on an episode.

    Attributes:
        scores: What each measure gave.
        reasons: Measures that are beyond a limit, and what was said of each; not written where there are none.
        limits: Not written where nobody said.
    """

    verdict: Literal["pass", "warn", "fail"]
    scores: Annotated[dict[ShortName, float], Field(max_length=1000)] = Field(default_factory=dict)
    reasons: Annotated[dict[ShortName, Text], Field(max_length=1000)] = Field(default_factory=dict)
    limits: Limits | None = None

    @pydantic.model_serializer(mode="wrap")
    def _brief(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return brief(write(self), ("reasons", "limits"))


def _in_order(ranges: list[PhaseRange]) -> list[PhaseRange]:
    for before, after in pairwise(ranges):
        if after.first <= before.last:
            raise ValueError(f"phase '{after.name}' begins in row {after.first}, before '{before.name}' ends")
    return ranges


_KINDS: dict[str, Any] = {
    "success": bool,
    "failure": Text,
    "instruction": Text,
    "phase": Annotated[list[PhaseRange], Field(max_length=10_000), pydantic.AfterValidator(_in_order)],
    "event": Annotated[list[Event], Field(max_length=100_000)],
    "quality": Quality,
    "dropped": bool,
    "note": Text,
    "tags": Annotated[list[ShortName], Field(max_length=1000)],
}
_ADAPTERS = {name: pydantic.TypeAdapter(kind) for name, kind in _KINDS.items()}
FIELDS = tuple(_KINDS)
"""What a record can be about."""


class Record(StrictModel):
    """One thing said about one episode.

    Attributes:
        episode, content_sha256: The episode; a record whose hash is not that of the episode is not applied.
        field: One of `FIELDS`.
        value: All that holds for the field from now on, as plain data; None takes back what was said before.
        source: What kind of thing says so.
        author: Who: a person, a rule's name, a model and its version.
        confidence: 0 to 1; None where nobody stated one.
        time_ns: Wall clock, ns since 1970.
    """

    episode: Count
    content_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    field: str
    value: Any
    source: ActorKind
    author: ShortName
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    time_ns: Count

    @pydantic.model_validator(mode="before")
    @classmethod
    def _plain_value(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("field"), str):
            return data
        field, value = data["field"], data.get("value")
        if field not in _ADAPTERS:
            raise ValueError(unknown("field", field, FIELDS))
        if value is None:
            return data
        if (_KINDS[field] is bool) != isinstance(value, bool):
            allowed = "true or false" if _KINDS[field] is bool else "neither true nor false"
            raise ValueError(f"{field} = {value!r}: must be {allowed}")
        adapter = _ADAPTERS[field]
        try:
            checked = adapter.validate_python(value)
        except pydantic.ValidationError as problem:
            first = problem.errors()[0]
            key = ".".join([field, *(str(part) for part in first["loc"])])
            raise ValueError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from problem
        return data | {"value": adapter.dump_python(checked, mode="json")}

    def last_row(self) -> int:
        """Return the last row that the value speaks of; -1 where it speaks of none."""
        if self.field == "phase" and self.value:
            return self.value[-1]["last"]
        if self.field == "event" and self.value:
            return max(event["row"] for event in self.value)
        return -1


class _File(StrictModel):
    schema_version: int = SCHEMA_VERSION
    records: Annotated[tuple[Record, ...], Field(min_length=1, max_length=MAX_RECORDS)]


COLUMNS = pa.schema(
    [
        ("position", pa.int64()),
        ("episode", pa.int64()),
        ("content_sha256", pa.string()),
        ("field", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.string()),  # JSON
        ("scores", pa.string()),  # JSON; of a verdict, whose value is without them: it is one of a few then
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("author", pa.dictionary(pa.int32(), pa.string())),
        ("confidence", pa.float64()),
        ("time_ns", pa.int64()),
        ("last_row", pa.int64()),
    ]
)


def append(store: Store, records: Sequence[Record]) -> list[str]:
    """Write the records of one action and return the names of the files; when this returns they are on the disk.

    A file appears whole or not at all; an action that is too large for one becomes several.

    Raises:
        DatasetError: There are no records, one is too large for a file, or they cannot be written.
    """
    folder = store.path / ANNOTATIONS
    if not records:
        raise DatasetError(f"{folder}: there is no record to write")
    contents = list(_contents(folder, records))
    make_folder(folder)
    return [write_new(folder, data, lambda: _free_names(folder)) for data in contents]


def _contents(folder: Path, records: Sequence[Record]) -> Iterator[bytes]:
    """Give the bytes of the files that hold the records."""
    content = _File(records=tuple(records[:MAX_RECORDS]))
    data = canonical_json(content.model_dump(mode="json"), "annotation") + b"\n"
    if len(data) <= MAX_FILE_BYTES:
        yield data
        first = MAX_RECORDS
    elif len(content.records) == 1:
        raise DatasetError(f"{folder}: a record needs {len(data)} bytes, {MAX_FILE_BYTES} are allowed in a file")
    else:
        first = len(content.records) // 2
        yield from _contents(folder, records[:first])
    if first < len(records):
        yield from _contents(folder, records[first:])


def read_file(path: Path) -> list[Record]:
    """Read the records of one file.

    Raises:
        DatasetError: It is damaged, too large, or says something that is not allowed; the message names it.
    """
    data = parse_json(read_regular(path, MAX_FILE_BYTES), str(path))
    check_version(data, str(path))
    return list(validate(_File, data, str(path), DatasetError).records)


def history(store: Store, progress: Progress | None = None) -> pa.Table:
    """Return every record of a store, one row each, in the order of files and within one; see `COLUMNS`.

    `value` is JSON; `value_of` returns it as plain data. A file that cannot be read is one row with nothing but
    `problem`, and `file`, its number.
    """
    return refresh(store.path, _source(store), progress)


def value_of(row: Mapping[str, Any]) -> Any:
    """Return the value of a record in a row of `history`, as plain data."""
    with from_index():
        value = json.loads(row["value"])
        return value if row["scores"] is None else value | {"scores": json.loads(row["scores"])}


@contextlib.contextmanager
def from_index() -> Iterator[None]:
    """Parse what the index keeps of records, which were checked before they were put there.

    Raises:
        DatasetError: Somebody has changed it.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise DatasetError(f"{INDEX}/: holds what no record says; delete this folder, it is made again") from problem


def _written(record: Record, where: str) -> dict[str, str]:
    if record.field != "quality" or record.value is None:
        return {"value": canonical_json(record.value, where).decode()}
    rest = {key: value for key, value in record.value.items() if key != "scores"}
    return {
        "value": canonical_json(rest, where).decode(),
        "scores": canonical_json(record.value["scores"], where).decode(),
    }


def _source(store: Store) -> Source:
    def read(path: Path) -> list[dict[str, Any]]:
        return [
            record.model_dump(exclude={"value"})
            | {"position": position, "last_row": record.last_row()}
            | _written(record, str(path))
            for position, record in enumerate(read_file(path))
        ]

    folder = store.path / ANNOTATIONS
    return Source("annotations", folder, "annotation_", ".json", COLUMNS, read, f"annotations {SCHEMA_VERSION}")


def _free_names(folder: Path) -> Iterator[str]:
    taken = [path.stem.rpartition("_")[2] for path in folder.glob("annotation_*.json")]
    first = max((int(digits) for digits in taken if digits.isdecimal()), default=-1) + 1
    return (f"annotation_{number:06d}.json" for number in count(first))

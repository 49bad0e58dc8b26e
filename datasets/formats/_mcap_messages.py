"""Messages of an MCAP file: protobuf schemas that describe themselves, and rows laid out by them.

A channel of named components is a message with a field for each, so that a plot can be told
`/joint_position.left_knee_joint`; any other is a message with one packed field. Every number has a fixed size on the
wire: all rows of a channel are one template with numbers put in, made and read with numpy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.formats import _protobuf as wire
from training_ground.datasets.schema import ChannelSchema, Column

PACKAGE = "training_ground"
MAX_NAMED = 1000
"""Most components that become fields of their own."""
_DOUBLE, _FLOAT, _INT64, _INT32 = 1, 2, 3, 5
_FIXED64, _FIXED32, _BOOL, _STRING, _MESSAGE, _BYTES, _SFIXED32, _SFIXED64 = 6, 7, 8, 9, 11, 12, 15, 16
_NUMBERS = {
    "bool": (_BOOL, "u1"),
    "float16": (_FLOAT, "<f4"),
    "float32": (_FLOAT, "<f4"),
    "float64": (_DOUBLE, "<f8"),
    **dict.fromkeys(("uint8", "uint16", "uint32"), (_FIXED32, "<u4")),
    **dict.fromkeys(("int8", "int16", "int32"), (_SFIXED32, "<i4")),
    "uint64": (_FIXED64, "<u8"),
    "int64": (_SFIXED64, "<i8"),
}
"""Protobuf type of a number, and how it lies on the wire."""
_KINDS = {1: wire.VARINT, 4: wire.FIXED32, 8: wire.FIXED64}


@dataclass(frozen=True, eq=False)
class Layout:
    """How one row of a column lies in a message.

    Attributes:
        template: The message with zeros for its numbers.
        positions: Where the numbers' bytes go.
        stored: dtype on the wire.
        dtype, shape: Of the column.
    """

    template: NDArray[np.uint8]
    positions: NDArray[np.int64]
    stored: str
    dtype: str
    shape: tuple[int, ...]

    def messages(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return (rows, bytes) messages of (rows, *shape) values."""
        rows = np.repeat(self.template[None], len(values), axis=0)
        flat = np.ascontiguousarray(values.reshape(len(values), -1).astype(self.stored))
        rows[:, self.positions] = flat.view(np.uint8).reshape(len(values), -1)
        return rows

    def values(self, rows: NDArray[np.uint8], where: str) -> NDArray[Any]:
        """Return the (rows, *shape) values of (rows, bytes) messages.

        Raises:
            DatasetError: The messages are not of this layout, or a number does not fit its type.
        """
        rest = np.delete(np.arange(len(self.template)), self.positions)
        if np.any(rows[:, rest] != self.template[rest]):
            raise DatasetError(f"{where}: a message is not of the form that its channel has in dataset.json")
        flat = np.ascontiguousarray(rows[:, self.positions]).view(self.stored)
        with np.errstate(all="ignore"):
            result = flat.astype(self.dtype)
        if self.dtype[0] in "biu" and np.any(result.astype(self.stored) != flat):
            raise DatasetError(f"{where}: a number is no {self.dtype}")
        return result.reshape(len(rows), *self.shape)


def layout(column: Column, components: Sequence[str] = ()) -> Layout:
    """Return how a column lies in a message."""
    _, stored = _NUMBERS[column.dtype]
    width, size = np.dtype(stored).itemsize, int(np.prod(column.shape, dtype=int))
    names = field_names(column.shape, components)
    if names is None:
        kind = wire.tag(1, wire.BYTES) + wire.varint(size * width)
        template, positions = kind + bytes(size * width), list(range(len(kind), len(kind) + size * width))
    else:
        template, positions = b"", []
        for number in range(1, len(names) + 1):
            template += wire.tag(number, _KINDS[width])
            positions += range(len(template), len(template) + width)
            template += bytes(width)
    return Layout(np.frombuffer(template, np.uint8), np.array(positions), stored, column.dtype, column.shape)


def field_names(shape: tuple[int, ...], components: Sequence[str]) -> list[str] | None:
    """Return a field's name for each component; None where the numbers go into one field, `values`."""
    if not shape:
        return ["value"]
    names = [re.sub(r"\W", "_", name, flags=re.ASCII) for name in components]
    names = [name if name[:1].isalpha() else f"c_{name}" for name in names]
    lowered = {name.lower().replace("_", "") for name in names}  # as JSON names, fields must differ in more than this
    return names if len(shape) == 1 and 0 < len(names) <= MAX_NAMED and len(lowered) == len(names) else None


def schema_of(column: Column, channel: ChannelSchema | None) -> tuple[str, bytes]:
    """Return a column's schema: full name, and FileDescriptorSet with unit, frame and description as comment."""
    name = re.sub(r"\W", "_", column.name, flags=re.ASCII)
    comment = describe(channel) if channel is not None else f"{column.name} of each row."
    if column.dtype == "text":
        own = [_field("value", 1, _STRING)]
    else:
        names = field_names(column.shape, channel.components if channel else ())
        kind = _NUMBERS[column.dtype][0]
        own = [_field("values", 1, kind, repeated=True)] if names is None else []
        own += [_field(n, i, kind) for i, n in enumerate(names or (), start=1)]
    message = wire.field(1, name) + b"".join(wire.field(2, f) for f in own)
    return f"{PACKAGE}.{name}", wire.field(1, _file(f"{name}.proto", PACKAGE, [message], comment=comment))


def describe(channel: ChannelSchema) -> str:
    """Return what a channel is, in words."""
    shape = f", shape {list(channel.shape)} row by row" if len(channel.shape) > 1 else ""
    return f"{channel.description} Unit: {channel.unit}. Frame: {channel.frame}. Type {channel.dtype}{shape}."


def foxglove_schema(name: str) -> tuple[str, bytes]:
    """Return a schema that Foxglove knows by its name: `JointStates`, `FrameTransform` or `RawImage`.

    Numbers and names of fields are those of github.com/foxglove/foxglove-sdk, schemas/proto.
    """
    stamp = _field("timestamp", 1, _MESSAGE, of=".google.protobuf.Timestamp")
    joint = [_field(n, i, _DOUBLE, optional=i - 2) for n, i in JOINT_FIELDS]
    parts: dict[str, list[list[bytes]]] = {
        "JointStates": [
            [b"JointStates", stamp, _field("joints", 2, _MESSAGE, of=".foxglove.JointState", repeated=True)],
            [b"JointState", _field("name", 1, _STRING), *joint],
        ],
        "FrameTransform": [
            [
                *(
                    b"FrameTransform",
                    stamp,
                    _field("parent_frame_id", 2, _STRING),
                    _field("child_frame_id", 3, _STRING),
                ),
                _field("translation", 4, _MESSAGE, of=".foxglove.Vector3"),
                _field("rotation", 5, _MESSAGE, of=".foxglove.Quaternion"),
            ],
            [b"Vector3", *(_field(n, i, _DOUBLE) for i, n in enumerate("xyz", start=1))],
            [b"Quaternion", *(_field(n, i, _DOUBLE) for i, n in enumerate("xyzw", start=1))],
        ],
        "RawImage": [
            [
                *(b"RawImage", stamp, _field("width", 2, _FIXED32), _field("height", 3, _FIXED32)),
                *(_field("encoding", 4, _STRING), _field("step", 5, _FIXED32), _field("data", 6, _BYTES)),
                _field("frame_id", 7, _STRING),
            ]
        ],
    }
    messages = []
    for title, *own in parts[name]:
        oneofs = [wire.field(8, wire.field(1, f"_{n}")) for n, _ in JOINT_FIELDS] if title == b"JointState" else []
        messages.append(wire.field(1, title) + b"".join(wire.field(2, f) for f in own) + b"".join(oneofs))
    seconds = wire.field(2, _field("seconds", 1, _INT64)) + wire.field(2, _field("nanos", 2, _INT32))
    timestamp = "google/protobuf/timestamp.proto"
    files = (
        _file(timestamp, "google.protobuf", [wire.field(1, "Timestamp") + seconds]),
        _file(f"foxglove/{name}.proto", "foxglove", messages, uses=[timestamp]),
    )
    return f"foxglove.{name}", b"".join(wire.field(1, file) for file in files)


JOINT_FIELDS = (("position", 2), ("velocity", 3), ("acceleration", 4), ("effort", 5))
"""Fields of `foxglove.JointState` besides its name."""


def timestamp(time_ns: int) -> bytes:
    """Return field 1 of a Foxglove message, a `google.protobuf.Timestamp`."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return wire.field(1, wire.number_field(1, seconds) + wire.number_field(2, nanos))


def _field(
    name: str, number: int, kind: int, *, of: str = "", repeated: bool = False, optional: int | None = None
) -> bytes:
    """Return a FieldDescriptorProto; `optional` is the number of its oneof, as proto3 declares optional fields."""
    parts = [wire.field(1, name), wire.number_field(3, number), wire.number_field(4, 3 if repeated else 1)]
    parts.append(wire.number_field(5, kind))
    if of:
        parts.append(wire.field(6, of))
    if optional is not None:
        parts += [wire.number_field(9, optional), wire.number_field(17, 1)]
    return b"".join(parts)


def _file(name: str, package: str, messages: Sequence[bytes], uses: Sequence[str] = (), comment: str = "") -> bytes:
    """Return a FileDescriptorProto; the comment is that of its first message."""
    parts = [wire.field(1, name), wire.field(2, package), *(wire.field(3, other) for other in uses)]
    parts += [wire.field(4, message) for message in messages]
    if comment:
        place = wire.field(1, bytes([4, 0])) + wire.field(2, bytes([0, 0, 0])) + wire.field(3, f" {comment}\n")
        parts.append(wire.field(9, wire.field(1, place)))
    return b"".join([*parts, wire.field(12, "proto3")])

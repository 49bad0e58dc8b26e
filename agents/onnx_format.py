"""Read an ONNX file strictly, before any runtime sees it: the few fields that a policy needs, and nothing else.

An ONNX file is a Protocol Buffers message (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). It can point at
other files, hold subgraphs, functions and operators of custom libraries. A policy needs none of it, so every field,
operator and type that is not named here is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.onnx_graph import BATCH, IR_VERSION, OPSET, Graph
from training_ground.agents.onnx_nodes import DOUBLE, FLOAT, INT64, OPERATORS, OUTPUT, Node
from training_ground.configs.errors import AgentError

MAX_FIELDS = 20_000
"""Fields in one file, all messages together; a policy of 15 layers has about 1,000."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
INTEGER, INTEGERS = 2, 7
"""ONNX's numbers of the attribute types INT and INTS."""
DTYPES = {FLOAT: np.dtype("<f4"), INT64: np.dtype("<i8"), DOUBLE: np.dtype("<f8")}


@dataclass(frozen=True)
class _Message:
    """Fields by number: name, and `int`, `str`, `bytes` or the message inside."""

    name: str
    fields: dict[int, tuple[str, Any]]


_ENTRY = _Message("StringStringEntryProto", {1: ("key", str), 2: ("value", str)})
_TENSOR = _Message("TensorProto", {1: ("dims", int), 2: ("data_type", int), 8: ("name", str), 9: ("raw_data", bytes)})
_ATTRIBUTE = _Message("AttributeProto", {1: ("name", str), 3: ("i", int), 8: ("ints", int), 20: ("type", int)})
_NODE = _Message(
    "NodeProto",
    {1: ("input", str), 2: ("output", str), 4: ("op_type", str), 5: ("attribute", _ATTRIBUTE), 7: ("domain", str)},
)
_DIMENSION = _Message("Dimension", {1: ("dim_value", int), 2: ("dim_param", str)})
_SHAPE = _Message("TensorShapeProto", {1: ("dim", _DIMENSION)})
_TYPE = _Message("TypeProto", {1: ("tensor_type", _Message("Tensor", {1: ("elem_type", int), 2: ("shape", _SHAPE)}))})
_VALUE = _Message("ValueInfoProto", {1: ("name", str), 2: ("type", _TYPE)})
_GRAPH = _Message(
    "GraphProto",
    {
        1: ("node", _NODE),
        2: ("name", str),
        5: ("initializer", _TENSOR),
        11: ("input", _VALUE),
        12: ("output", _VALUE),
    },
)
_OPSET = _Message("OperatorSetIdProto", {1: ("domain", str), 2: ("version", int)})
_MODEL = _Message(
    "ModelProto",
    {
        1: ("ir_version", int),
        2: ("producer_name", str),
        7: ("graph", _GRAPH),
        8: ("opset_import", _OPSET),
        14: ("metadata_props", _ENTRY),
    },
)
_KNOWN = {
    ("TensorProto", 13): "external data: a file outside the bundle",
    ("TensorProto", 14): "external data: a file outside the bundle",
    ("AttributeProto", 6): "a graph inside a node",
    ("AttributeProto", 11): "graphs inside a node",
    ("ModelProto", 20): "training information",
    ("ModelProto", 25): "functions of its own",
}


def check_onnx(path: Path, data: bytes, expected: Graph) -> None:
    """Compare an ONNX file with the graph that its bundle's arrays and specification stand for.

    Args:
        path: Named in errors.
        data: The file's bytes.
        expected: Of `graph_of`.

    Raises:
        AgentError: The file is damaged, holds what no policy needs (other operators or domains, external data,
            functions), or differs from `expected` in any node, number or metadata; the message says in which.
    """
    try:
        _compare(data, expected)
    except _Refused as problem:
        raise AgentError(f"{path}: {problem}") from problem


class _Refused(ValueError):
    """Why a file is refused."""


def _compare(data: bytes, expected: Graph) -> None:
    model = _Decoder(data).message(_MODEL, 0, len(data))
    if model["ir_version"] != [IR_VERSION]:
        raise _Refused(f"IR version {_one(model, 'ir_version')}, not {IR_VERSION}")
    opsets = [(_one(o, "domain", ""), _one(o, "version")) for o in model["opset_import"]]
    if opsets != [("", OPSET)]:
        raise _Refused(f"operator sets (domain, version) {opsets}: allowed is {[('', OPSET)]}")
    graph = _one(model, "graph")
    nodes = tuple(_node(n) for n in graph["node"])
    for i, (found, wanted) in enumerate(zip(nodes, expected.nodes, strict=False)):
        if found != wanted:
            raise _Refused(f"node {i} is {_text(found)}; spec.json stands for {_text(wanted)}")
    if len(nodes) != len(expected.nodes):
        raise _Refused(f"{len(nodes)} nodes; spec.json stands for {len(expected.nodes)}")
    for field, sizes in (("input", expected.inputs), ("output", {OUTPUT: expected.outputs})):
        found = [_value(value) for value in graph[field]]
        wanted = [(name, FLOAT, (BATCH, size)) for name, size in sizes.items()]
        if found != wanted:
            raise _Refused(f"inputs or outputs (name, type, shape) {found}, not {wanted}")
    _compare_constants(dict(_array(t) for t in graph["initializer"]), len(graph["initializer"]), expected)
    metadata = {_one(e, "key"): _one(e, "value", "") for e in model["metadata_props"]}
    wrong = sorted(k for k in metadata.keys() | expected.metadata.keys() if metadata.get(k) != expected.metadata.get(k))
    if wrong or len(metadata) != len(model["metadata_props"]):
        raise _Refused(f"metadata that spec.json does not say: {wrong or 'a key that stands twice'}")


def _compare_constants(found: dict[str, NDArray[Any]], count: int, expected: Graph) -> None:
    if found.keys() != expected.constants.keys() or count != len(found):
        raise _Refused(f"constants {sorted(found)}, {count} in all, not {sorted(expected.constants)}")
    for name, wanted in expected.constants.items():
        array = found[name]
        if (array.dtype, array.shape) != (wanted.dtype, wanted.shape):
            raise _Refused(f"'{name}' is {array.dtype} {list(array.shape)}, not {wanted.dtype} {list(wanted.shape)}")
        if array.tobytes() != wanted.tobytes():
            raise _Refused(f"'{name}' holds other numbers than policy.safetensors and spec.json")


def _node(fields: dict[str, list[Any]]) -> Node:
    operator, domain = _one(fields, "op_type"), _one(fields, "domain", "")
    if domain or operator not in OPERATORS:
        where = f" of domain '{domain}'" if domain else ""
        raise _Refused(f"operator '{operator}'{where}: a policy has only {', '.join(sorted(OPERATORS))}")
    attributes: dict[str, int | tuple[int, ...]] = {}
    for attribute in fields["attribute"]:
        kind, name = _one(attribute, "type"), _one(attribute, "name")
        if kind not in (INTEGER, INTEGERS):
            raise _Refused(f"operator '{operator}': an attribute that is no whole number")
        attributes[name] = tuple(attribute["ints"]) if kind == INTEGERS else _one(attribute, "i", 0)
    return Node(operator, tuple(fields["input"]), _one(fields, "output"), attributes)


def _text(node: Node) -> str:
    attributes = "".join(f", {k}={v}" for k, v in node.attributes.items())
    return f"{node.output} = {node.operator}({', '.join(node.inputs)}{attributes})"


def _array(fields: dict[str, list[Any]]) -> tuple[str, NDArray[Any]]:
    name, kind = _one(fields, "name"), _one(fields, "data_type")
    dtype = DTYPES.get(kind)
    if dtype is None:
        told = ", ".join(f"{number} ({allowed.name})" for number, allowed in DTYPES.items())
        raise _Refused(f"'{name}' has ONNX's data type {kind}; allowed are {told}")
    raw, dimensions = _one(fields, "raw_data", b""), fields["dims"]
    wanted = dtype.itemsize * math.prod(dimensions)
    if not len(raw) or len(raw) != wanted:
        raise _Refused(f"'{name}' has {len(raw)} bytes for the shape {dimensions}")
    return name, np.frombuffer(raw, dtype).reshape(dimensions)


def _value(fields: dict[str, list[Any]]) -> tuple[str, int, tuple[Any, ...]]:
    tensor = _one(_one(fields, "type"), "tensor_type")
    shape = tuple(_one(d, "dim_param", None) or _one(d, "dim_value", 0) for d in _one(tensor, "shape")["dim"])
    return _one(fields, "name"), _one(tensor, "elem_type"), shape


def _one(fields: dict[str, list[Any]], name: str, *default: Any) -> Any:
    """The value of a field that stands once."""
    values = fields[name]
    if len(values) == 1:
        return values[0]
    if not values and default:
        return default[0]
    raise _Refused(f"'{name}' stands {len(values)} times where it must stand once")


class _Decoder:
    """Protocol Buffers' wire format, https://protobuf.dev/programming-guides/encoding."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._count = 0

    def message(self, kind: _Message, start: int, end: int) -> dict[str, list[Any]]:
        """The fields of a message as lists, empty where they are absent. The messages do not nest without end."""
        found: dict[str, list[Any]] = {name: [] for name, _ in kind.fields.values()}
        for number, wire, value in self._fields(start, end):
            if number not in kind.fields:
                what = _KNOWN.get((kind.name, number), f"field {number} of {kind.name}")
                raise _Refused(f"holds {what}; a policy has no such thing")
            name, inner = kind.fields[number]
            if wire != (VARINT if inner is int else BYTES):
                raise _Refused(f"damaged: '{name}' of {kind.name} is no {getattr(inner, '__name__', 'message')}")
            found[name].append(self._value(inner, value))
        return found

    def _value(self, inner: Any, value: Any) -> Any:
        if inner is int:
            return value
        start, end = value
        if isinstance(inner, _Message):
            return self.message(inner, start, end)
        raw = self._data[start:end]
        if inner is bytes:
            return raw
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as problem:
            raise _Refused("damaged: a text that is not UTF-8") from problem

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, Any]]:
        """Number, wire type and value of each field; the value of one that has a length is where it lies."""
        while at < end:
            self._count += 1
            if self._count > MAX_FIELDS:
                raise _Refused(f"more than {MAX_FIELDS} fields")
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            value: Any
            if wire == VARINT:
                value, at = self._varint(at, end)
            elif wire == BYTES:
                length, at = self._varint(at, end)
                value, at = (at, at + length), at + length
            elif wire in (FIXED32, FIXED64):
                value, at = None, at + (4 if wire == FIXED32 else 8)
            else:
                raise _Refused(f"damaged: wire type {wire}")
            if at > end:
                raise _Refused("truncated")
            yield number, wire, value

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        result = 0
        for i in range(10):
            if at + i >= end:
                raise _Refused("truncated")
            byte = self._data[at + i]
            result |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return result, at + i + 1
        raise _Refused("damaged: a number that does not end")

"""One episode as a `tf.train.Example`: a map from a feature's key to a list of floats, of int64, or of byte strings.

The message is `Example{features: Features{feature: map<string, Feature>}}`, a `Feature` one of `BytesList` (1),
`FloatList` (2) and `Int64List` (3). TFDS lays the steps of an episode one after the other in each list.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.formats import _protobuf as wire
from training_ground.datasets.formats._rlds_features import Leaf
from training_ground.datasets.schema import TEXT

_BYTES, _FLOATS, _INTS = 1, 2, 3
MAX_TEXT_BYTES = 64 << 20


def encode_example(values: Sequence[tuple[Leaf, NDArray[Any]]]) -> bytes:
    """Return the Example with the given values, (steps, *shape) or (1, *shape) each."""
    entries = []
    for leaf, array in values:
        entry = wire.field(1, leaf.key) + wire.field(2, b"".join(_feature(leaf, array)))
        entries.append(wire.field(1, entry))
    return wire.field(1, b"".join(entries))


def _feature(leaf: Leaf, values: NDArray[Any]) -> tuple[bytes, ...]:
    if leaf.kind == "list" and values.dtype.kind == "f":
        inner, number = wire.field(1, np.ascontiguousarray(values, "<f4").tobytes()), _FLOATS
    elif leaf.kind == "list":
        inner, number = wire.field(1, wire.varints(values)), _INTS
    elif leaf.kind == "bytes":
        inner, number = _raw_rows(values), _BYTES
    elif leaf.kind == "text":
        known = {text: wire.field(1, text) for text in set(values.tolist())}
        inner, number = b"".join([known[text] for text in values.tolist()]), _BYTES
    else:
        inner, number = b"".join([wire.field(1, _picture(value)) for value in values]), _BYTES
    return wire.tag(number, wire.BYTES), wire.varint(len(inner)), inner


def _raw_rows(values: NDArray[Any]) -> bytes:
    """Return each row as a byte string of its own; all have the same head."""
    rows = np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
    head = np.frombuffer(wire.tag(1, wire.BYTES) + wire.varint(rows.shape[1]), np.uint8)
    return np.concatenate([np.broadcast_to(head, (len(rows), len(head))), rows], axis=1).tobytes()


def _picture(value: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value).save(sink, "PNG", compress_level=1)
    return sink.getvalue()


def split_example(data: bytes, where: str) -> dict[str, tuple[int, memoryview]]:
    """Return the lists of an Example by key, as (1 bytes | 2 floats | 3 ints, undecoded message).

    Raises:
        DatasetError: It is no Example.
    """
    found: dict[str, tuple[int, memoryview]] = {}
    for features in _messages(memoryview(data), 1, where):
        for entry in _messages(features, 1, where):
            key, value = b"", memoryview(b"")
            for number, kind, part in wire.fields(entry, where):
                if kind == wire.BYTES and isinstance(part, memoryview):
                    key, value = (bytes(part[:1001]), value) if number == 1 else (key, part)
            lists = [(n, p) for n, k, p in wire.fields(value, where) if k == wire.BYTES and isinstance(p, memoryview)]
            if lists:
                found[key.decode(errors="replace")] = lists[-1]
    return found


def _messages(data: memoryview, wanted: int, where: str) -> Iterator[memoryview]:
    for number, kind, part in wire.fields(data, where):
        if number == wanted and kind == wire.BYTES and isinstance(part, memoryview):
            yield part


def count_numbers(example: dict[str, tuple[int, memoryview]], key: str, limit: int, where: str) -> int:
    """Return how many int64 stand under a key.

    Raises:
        DatasetError: The key is missing or more than `limit` stand there.
    """
    kind, data = example.get(key, (0, memoryview(b"")))
    if kind != _INTS:
        raise DatasetError(f"{where}: has no '{key}'")
    return len(_ints(data, limit, f"{where}: '{key}'"))


def decode_leaf(example: dict[str, tuple[int, memoryview]], leaf: Leaf, rows: int, where: str) -> NDArray[Any]:
    """Return a feature's values, (rows, *shape) in the leaf's dtype (object for texts).

    Args:
        rows: Steps; 1 for what belongs to the episode. The caller has checked that so many fit into memory.

    Raises:
        DatasetError: The feature is missing, or there are not exactly as many values as declared.
    """
    name = f"{where}: '{leaf.key}'"
    kind, data = example.get(leaf.key, (0, memoryview(b"")))
    expected = {"list": _FLOATS if leaf.dtype.startswith("float") else _INTS}.get(leaf.kind, _BYTES)
    if kind != expected:
        raise DatasetError(f"{name}: is missing, or its values are of another type than features.json says")
    shape = (rows, *leaf.shape)
    size = int(np.prod(shape, dtype=object))
    if leaf.kind == "list":
        values = _floats(data, size, name) if kind == _FLOATS else _ints(data, size, name)
        if values.size != size:
            raise DatasetError(f"{name}: has {values.size} numbers, {size} are expected")
        return _as_type(values, leaf.dtype, name).reshape(shape)
    parts: list[memoryview] = []
    for part in _messages(data, 1, name):
        if len(parts) == rows:
            raise DatasetError(f"{name}: has more than {rows} values")
        parts.append(part)
    if len(parts) != rows:
        raise DatasetError(f"{name}: has {len(parts)} values, {rows} are expected")
    if leaf.kind == "text":
        return np.array([_text(part, name) for part in parts], dtype=object)
    result = np.empty(shape, np.dtype(leaf.dtype).newbyteorder("<"))
    for row, part in enumerate(parts):
        result[row] = _unpacked(part, leaf, name)
    return result.astype(leaf.dtype, copy=False)


def _floats(data: memoryview, limit: int, where: str) -> NDArray[Any]:
    parts, found = [], 0
    for number, kind, part in wire.fields(data, where):
        if number == 1 and isinstance(part, memoryview) and kind in (wire.BYTES, wire.FIXED32) and not len(part) % 4:
            parts.append(np.frombuffer(part, "<f4"))
            found += len(part) // 4
        if found > limit:
            raise DatasetError(f"{where}: has more than {limit} numbers")
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, "<f4"), *parts])


def _ints(data: memoryview, limit: int, where: str) -> NDArray[np.int64]:
    parts, found = [], 0
    for number, kind, part in wire.fields(data, where):
        if number == 1 and kind == wire.VARINT:
            parts.append(np.array([part], np.uint64))
        elif number == 1 and isinstance(part, memoryview) and kind == wire.BYTES:
            parts.append(wire.parse_varints(part, limit - found, where))
        found = found + len(parts[-1]) if parts else 0
        if found > limit:
            raise DatasetError(f"{where}: has more than {limit} numbers")
    joined = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint64), *parts])
    return joined.view(np.int64)


def _as_type(values: NDArray[Any], dtype: str, where: str) -> NDArray[Any]:
    if dtype == "uint64":
        return values.view(np.uint64)
    result = values.astype(dtype)
    if values.dtype.kind == "i" and not np.array_equal(result.astype(np.int64), values):
        raise DatasetError(f"{where}: has numbers that are no {dtype}")
    return result


def _text(part: memoryview, where: str) -> str:
    if len(part) > MAX_TEXT_BYTES:
        raise DatasetError(f"{where}: a text of {len(part)} bytes, more than the {MAX_TEXT_BYTES} allowed")
    try:
        return bytes(part).decode()
    except UnicodeDecodeError as problem:
        raise DatasetError(f"{where}: a text is not UTF-8") from problem


def _unpacked(part: memoryview, leaf: Leaf, where: str) -> NDArray[Any]:
    """One value that is stored as bytes; sizes are compared before memory is taken."""
    dtype = np.dtype(leaf.dtype).newbyteorder("<")
    size = int(np.prod(leaf.shape)) * dtype.itemsize
    if leaf.kind in ("png", "jpeg"):
        return _opened(part, leaf, where)
    raw: bytes | memoryview = part
    if leaf.kind == "zlib":
        try:
            raw = zlib.decompressobj().decompress(part, size + 1)
        except zlib.error as problem:
            raise DatasetError(f"{where}: is damaged: {problem}") from problem
    if len(raw) != size:
        raise DatasetError(f"{where}: a value has {len(raw)} bytes, {size} are expected")
    return np.frombuffer(raw, dtype).reshape(leaf.shape)


def _opened(part: memoryview, leaf: Leaf, where: str) -> NDArray[np.uint8]:
    from PIL import Image

    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    try:
        # The kind that features.json says and no other: each decoder is one more that a stranger could aim at.
        with Image.open(io.BytesIO(part), formats=(leaf.kind.upper(),)) as image:
            found = (image.height, image.width, image.mode)
            if found != (*leaf.shape[:2], modes[leaf.shape[-1]]):
                raise DatasetError(f"{where}: a picture is {found}, {leaf.shape} is declared")
            return np.asarray(image, np.uint8).reshape(leaf.shape)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise DatasetError(f"{where}: a picture cannot be read: {problem}") from problem


def text_array(text: str, rows: int = 1) -> NDArray[Any]:
    """Return a text as often as there are rows."""
    return np.array([text] * rows, dtype=object)


def stored_bytes(leaf: Leaf) -> int:
    """Bytes of one decoded value; a text counts as a pointer."""
    return 8 if leaf.dtype == TEXT else int(np.prod(leaf.shape, dtype=object)) * np.dtype(leaf.dtype).itemsize

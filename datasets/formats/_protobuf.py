"""Protocol-buffer wire format: the few message types that RLDS and MCAP need, without a protobuf library.

A message is a list of fields, each a key (number and wire type), then a varint, 4 or 8 bytes, or a length and so many
bytes (https://protobuf.dev/programming-guides/encoding). Numbers that repeat are packed: one field with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
MAX_VARINT = 10
"""Longest varint, bytes."""
_BLOCK = 1 << 20
"""Bytes of varints that are read together."""


def varint(number: int) -> bytes:
    """Return a number from 0 to 2^64 - 1 as a varint: seven bits a byte, lowest first."""
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


def tag(number: int, kind: int) -> bytes:
    """Return a field's key."""
    return varint(number << 3 | kind)


def field(number: int, data: bytes | str | memoryview) -> bytes:
    """Return a field of bytes, text or a message."""
    raw = data.encode() if isinstance(data, str) else data
    return b"".join((tag(number, BYTES), varint(len(raw)), raw))


def number_field(number: int, value: int) -> bytes:
    """Return a field of a whole number that is not negative, or a truth value."""
    return tag(number, VARINT) + varint(int(value))


def varints(numbers: NDArray[Any]) -> bytes:
    """Return whole numbers or truth values as varints one after the other; negative ones, as int64, take ten bytes."""
    values = numbers.reshape(-1)
    if values.dtype == np.bool_ or (values.size and values.min() >= 0 and values.max() < 0x80):
        return values.astype(np.uint8).tobytes()
    bits = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64).view(np.uint64)
    shifts = np.arange(0, 7 * MAX_VARINT, 7, dtype=np.uint64)
    groups = bits[:, None] >> shifts
    more = np.concatenate([groups[:, 1:] > 0, np.zeros((len(bits), 1), bool)], axis=1)
    used = np.concatenate([np.ones((len(bits), 1), bool), more[:, :-1]], axis=1)
    return ((groups & np.uint64(0x7F)).astype(np.uint8) | (more.astype(np.uint8) << 7))[used].tobytes()


def parse_varints(data: memoryview, limit: int, where: str) -> NDArray[np.uint64]:
    """Read varints that fill `data`; beside the result, memory is taken for a block at a time.

    Raises:
        DatasetError: There are more than `limit`, the last one is cut short, or one is longer than 64 bits.
    """
    raw = np.frombuffer(data, np.uint8)
    starts = range(0, raw.size, _BLOCK)
    count = sum(int(np.count_nonzero(raw[at : at + _BLOCK] < 0x80)) for at in starts)
    if count > limit:
        raise DatasetError(f"{where}: has more than {limit} numbers")
    if raw.size and raw[-1] >= 0x80:
        raise DatasetError(f"{where}: is damaged: a number is cut short")
    if count == raw.size:
        return raw.astype(np.uint64)
    result, done, at = np.empty(count, np.uint64), 0, 0
    while at < raw.size:
        block = raw[at : at + _BLOCK]
        ends = np.flatnonzero(block < 0x80)
        if not ends.size or np.diff(ends, prepend=-1).max() > MAX_VARINT:
            raise DatasetError(f"{where}: is damaged: a number is longer than 64 bits")
        part = _joined(block, ends)
        result[done : done + ends.size] = part
        done, at = done + ends.size, at + int(ends[-1]) + 1
    return result


def _joined(block: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    starts = np.concatenate([[0], ends[:-1] + 1])
    result = np.zeros(ends.size, np.uint64)
    for k in range(int((ends - starts).max()) + 1):
        long = np.flatnonzero(ends - starts >= k)
        result[long] |= (block[starts[long] + k] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * k)
    return result


def fields(data: memoryview, where: str) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (number, wire type, value) of each field; nothing is copied.

    Raises:
        DatasetError: A field reaches beyond the end, or is of a type that is no longer in use.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint_at(data, at, where)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint_at(data, at, where)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _varint_at(data, at, where)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise DatasetError(f"{where}: is damaged: a field of wire type {kind}")
        if size > end - at:
            raise DatasetError(f"{where}: is damaged: a field says that it has {size} bytes, {end - at} are left")
        yield number, kind, data[at : at + size]
        at += size


def _varint_at(data: memoryview, at: int, where: str) -> tuple[int, int]:
    result = 0
    for shift in range(0, 7 * MAX_VARINT, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, at
    raise DatasetError(f"{where}: is damaged: a number is cut short or longer than 64 bits")

"""TFRecord files: records with their length and masked CRC-32C, as TensorFlow's `record_writer.h` describes them.

A record is: length (uint64), masked crc of the length (uint32), data, masked crc of the data (uint32), little-endian.

CRC-32C is computed here with numpy over many lanes at once: a package with the processor's instruction is faster still,
but the export as a whole would gain little, and one dependency less is worth that (docs/data_formats_rlds_mcap.md).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError

_POLYNOMIAL = 0x82F63B78
_LANE = 64
"""Bytes that are taken one after the other; what comes out of all lanes is joined in pairs."""
_AT_ONCE = 1 << 20
"""Bytes that are worked on together: they and the tables stay in the cache."""
_SMALL = 256
HEADER = struct.Struct("<QI")
MAX_RECORD_BYTES = (1 << 31) - 1
"""No protobuf library reads a message beyond this."""


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C (Castagnoli, RFC 3720) of some bytes."""
    view, state = memoryview(data).cast("B"), 0xFFFFFFFF
    while len(view) > _SMALL:
        state = _many(view[:_AT_ONCE], state)
        view = view[_AT_ONCE:]
    table = _byte_table()
    for byte in view:
        state = table[(state ^ byte) & 0xFF] ^ state >> 8
    return state ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a crc as TFRecord stores it: turned and shifted, so that the crc of data with a crc in it stays useful."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_record(stream: BinaryIO, data: bytes) -> int:
    """Write one record and return the bytes that it took."""
    length = struct.pack("<Q", len(data))
    stream.write(length + struct.pack("<I", masked(crc32c(length))))
    stream.write(data)
    stream.write(struct.pack("<I", masked(crc32c(data))))
    return len(data) + HEADER.size + 4


def read_records(stream: BinaryIO, size: int, where: str, limit: int = MAX_RECORD_BYTES) -> Iterator[bytes]:
    """Yield each record's data; lengths are checked before memory is taken, checksums before anything is handed out.

    Args:
        size: Bytes that the file has.
        where: The file's name, for messages.
        limit: Largest record.

    Raises:
        DatasetError: A checksum does not match, or a record is larger than allowed or than the file.
    """
    left, index = size, 0
    while left:
        name = f"{where}: record {index}"
        head = stream.read(HEADER.size)
        if len(head) < HEADER.size:
            raise DatasetError(f"{name}: is cut short")
        length, crc = HEADER.unpack(head)
        if masked(crc32c(head[:8])) != crc:
            raise DatasetError(f"{name}: is damaged: the checksum of its length does not match")
        left -= HEADER.size + length + 4
        if left < 0:
            raise DatasetError(f"{name}: says that it has {length} bytes, {left + length} are left")
        if length > limit:
            raise DatasetError(f"{name}: has {length} bytes, more than the {limit} allowed")
        data, tail = stream.read(length), stream.read(4)
        if len(data) < length or len(tail) < 4:
            raise DatasetError(f"{name}: is cut short")
        if masked(crc32c(data)) != struct.unpack("<I", tail)[0]:
            raise DatasetError(f"{name}: is damaged: the checksum of its data does not match")
        yield data
        index += 1


def _many(view: memoryview, state: int) -> int:
    """Carry on a crc over some bytes: over lanes side by side, whose results are then joined.

    Without what was before it, a crc is linear, and zeros in front leave it zero: so lanes are independent, and bytes
    may be added in front to fill the first.
    """
    lanes = -(-len(view) // _LANE)
    padded = np.zeros(lanes * _LANE, np.uint8)
    begin = len(padded) - len(view)
    padded[begin:] = np.frombuffer(view, np.uint8)
    padded[begin : begin + 4] ^= np.frombuffer(struct.pack("<I", state), np.uint8)
    words = np.ascontiguousarray(padded.view("<u4").reshape(lanes, -1).T)
    low, high = _word_tables()
    crcs = np.zeros(lanes, np.uint32)
    for word in words:
        crcs ^= word
        crcs = low[crcs & np.uint32(0xFFFF)] ^ high[crcs >> np.uint32(16)]
    level = 0
    while len(crcs) > 1:
        if len(crcs) % 2:
            crcs = np.concatenate([np.zeros(1, np.uint32), crcs])
        tables, left = _shift_tables(level), crcs[0::2]
        moved = tables[0][left & np.uint32(0xFF)] ^ tables[1][left >> np.uint32(8) & np.uint32(0xFF)]
        moved ^= tables[2][left >> np.uint32(16) & np.uint32(0xFF)] ^ tables[3][left >> np.uint32(24)]
        crcs = moved ^ crcs[1::2]
        level += 1
    return int(crcs[0])


@functools.cache
def _byte_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@functools.cache
def _word_tables() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Tables that carry a crc over four bytes of zeros: of its lower and of its upper half."""
    step = np.array(_byte_table(), np.uint32)
    values = np.arange(1 << 16, dtype=np.uint32)
    halves = []
    for state in (values, values << np.uint32(16)):
        for _ in range(4):
            state = step[state & np.uint32(0xFF)] ^ state >> np.uint32(8)
        halves.append(state)
    return halves[0], halves[1]


@functools.cache
def _shift_tables(level: int) -> tuple[NDArray[np.uint32], ...]:
    """Tables, one for each byte of a crc, that carry it over as many zeros as 2^level lanes have bytes."""
    values = np.arange(256, dtype=np.uint32)
    starts = [values << np.uint32(8 * byte) for byte in range(4)]
    if level:
        before, repeats = _shift_tables(level - 1), 2
        mask = np.uint32(0xFF)
        for _ in range(repeats):
            starts = [
                before[0][s & mask]
                ^ before[1][s >> np.uint32(8) & mask]
                ^ before[2][s >> np.uint32(16) & mask]
                ^ before[3][s >> np.uint32(24)]
                for s in starts
            ]
        return tuple(starts)
    low, high = _word_tables()
    for _ in range(_LANE // 4):
        starts = [low[s & np.uint32(0xFFFF)] ^ high[s >> np.uint32(16)] for s in starts]
    return tuple(starts)

"""How the trials of `_fuzz.py` damage a file: bytes, JSON documents, and what stands in a file's place."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Mutation = Callable[[Path, random.Random], None]
"""Damages a sample: takes its folder and what to draw from."""

HOSTILE_JSON = (
    *("NaN", "-Infinity", "1e999", "-1", "0", "null", "true", '""', "{}", "[]", "18446744073709551616", "9" * 5000),
    *('"../../x"', '"/etc/passwd"', '"\\u0000"', '"\\ud800"', '"\\u001b[2J"', '"a\\nb"', "[" * 50_000, '{"a":' * 5000),
    *(f'"{"A" * 200_000}"', "[" + "0," * 100_000 + "0]", '{"__class__":"os.system"}', "1e-999", "0.1", "2147483648"),
)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1)


def flipped(raw: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to eight bits the other way."""
    data = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 8)) if data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def numbered(raw: bytes, draw: random.Random) -> bytes:
    """Return bytes with a number somewhere that no size or count should be."""
    size, data = draw.choice((1, 2, 4, 8)), bytearray(raw)
    value = draw.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    at = draw.randrange(len(data) + 1)
    data[at : at + size] = value.to_bytes(size, draw.choice(("little", "big")))
    return bytes(data)


def spliced(raw: bytes, draw: random.Random) -> bytes:
    """Return bytes of which a piece stands in another place, twice, or is gone or empty."""
    data, length = bytearray(raw), draw.choice((1, 4, 60, 1000))
    at, other = draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)
    piece = draw.choice((bytes(data[other : other + length]), bytes(length), b"\xff" * length, b""))
    data[at : at + draw.choice((0, length))] = piece
    return bytes(data)


def cut(raw: bytes, draw: random.Random) -> bytes:
    """Return the beginning of the bytes, or their end."""
    at = draw.randrange(len(raw) + 1)
    return raw[:at] if draw.random() < 0.8 else raw[at:]


def json_damaged(raw: bytes, draw: random.Random) -> bytes:
    """Return a JSON document with a hostile value, key or omission somewhere; other bytes flipped."""
    try:
        data = json.loads(raw)
    except ValueError:
        return flipped(raw, draw)
    places = list(_places(data))
    if not places:
        return draw.choice(HOSTILE_JSON).encode()
    parent, key = draw.choice(places)
    mark, hostile = "\x02here\x02", draw.choice(HOSTILE_JSON)
    kind = draw.randrange(4)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[draw.choice(("__proto__", "extra", "..", "", "schema_version", "path"))] = mark
    elif kind == 2:
        parent[key] = _other(parent[key], draw)
    else:
        parent[key] = mark
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace(json.dumps(mark), hostile)
    if kind == 1 and draw.random() < 0.3:
        text = text.replace("{", '{"a":1,"a":2,', 1)
    return text.encode("utf-8", "surrogatepass")


def _places(data: Any) -> list[tuple[Any, Any]]:
    found, left = [], [data]
    while left:
        item = left.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        for key in keys:
            found.append((item, key))
            left.append(item[key])
    return found


def _other(value: Any, draw: random.Random) -> Any:
    """Return a value of the same kind, or nearly."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return draw.choice((-value, value + 1, value * 10**6, float(value), str(value), [value]))
    if isinstance(value, str):
        return draw.choice((value[:-1], f"{value}x", value.upper(), f"../{value}", f"/{value}", [value], value[::-1]))
    if isinstance(value, list):
        return draw.choice((value * 2, value[::-1], value[:-1], [value], {"0": value}))
    return draw.choice(([value], {"": value}, None))


_BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": flipped,
    "number": numbered,
    "splice": spliced,
    "cut": cut,
    "json": json_damaged,
}


def _replaced(path: Path, draw: random.Random) -> str:
    """Put something else in the place of a file, and say what."""
    outside = path.parent
    while outside.name != "trial":
        outside = outside.parent
    kind = draw.choice(("link", "link to itself", "device", "pipe", "folder", "gone", "huge", "parent link", "empty"))
    if kind == "parent link" and path.parent.name == "trial":
        kind = "link"
    if kind == "parent link":
        moved = outside.parent / "elsewhere"
        shutil.rmtree(moved, ignore_errors=True)
        shutil.copytree(path.parent, moved, symlinks=True)
        shutil.rmtree(path.parent)
        path.parent.symlink_to(moved)
        return kind
    raw = path.read_bytes()
    path.unlink()
    if kind == "link":  # the right bytes, but in another place
        (outside.parent / "linked").write_bytes(raw)
        path.symlink_to(outside.parent / "linked")
    elif kind in ("link to itself", "device"):
        path.symlink_to(path.name if kind == "link to itself" else "/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("huge", "empty"):
        with path.open("wb") as stream:
            stream.truncate(draw.choice((64 << 20, 1 << 40)) if kind == "huge" else 0)
    return kind


def names_of(folder: Path, pattern: str) -> set[str]:
    """Return the paths of a folder's files that fit a pattern."""
    return {path.relative_to(folder).as_posix() for path in folder.glob(pattern) if path.is_file()}


def damage(folder: Path, pattern: str, special: Mapping[str, Mutation], draw: random.Random) -> str:
    """Damage a sample, and say how.

    Args:
        folder: Of the sample.
        pattern: Of the files that are damaged; empty for `special` damage alone.
        special: Damage that only this kind of file can have, by name; drawn as often as all other kinds together.
        draw: What to draw from.
    """
    if special and (not pattern or draw.random() < 0.5):
        name = draw.choice(sorted(special))
        special[name](folder, draw)
        return name
    files = [folder / name for name in sorted(names_of(folder, pattern))]
    path = draw.choice(files)
    where = path.relative_to(folder).as_posix()
    if draw.random() < 0.05:
        return f"{_replaced(path, draw)} {where}"
    kind = draw.choice([*_BYTES, "json"] if path.suffix in (".json", ".sig") else [k for k in _BYTES if k != "json"])
    path.write_bytes(_BYTES[kind](path.read_bytes(), draw))
    return f"{kind} {where}"

"""HDF5 files of strangers: claims are checked before memory is taken for them, and nothing in a file points outside.

Soft and external links, external storage, virtual datasets, references, objects and filters that would load a plug-in
are refused. A dataset that claims more than its bytes in the file can unpack to is refused unread.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_EPISODE_BYTES
from training_ground.datasets.files import open_regular
from training_ground.datasets.formats import _damage
from training_ground.datasets.schema import DTYPES

MAX_FILE_BYTES = 64 << 30
MAX_CHUNK_BYTES = 64 << 20
MAX_TEXT_BYTES = 16 << 20
"""Longest attribute."""
MAX_MEMBERS = 1_000_000
"""Most members of one group."""
MAX_DEPTH = 8
MAX_LEAVES = 10_000
"""Most datasets of one episode."""
MAX_RATIO = 1100
"""Deflate packs 1,032 bytes into one at best."""
BYTES = "bytes"
"""dtype of a `Leaf` that holds byte strings of varying length."""
MAX_HEAP_BYTES = 256 << 20
"""Largest global heap, which holds texts and rows of varying length."""
_HEAP = b"GCOL\x01\0\0\0"
SLACK = 64 << 10
"""Bytes that a dataset may claim whatever it holds: one that was made and never written reads as its fill value."""
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_PACKERS = {1, 32000}
# What h5py raises on damaged files; a MemoryError is a size that HDF5 took from a damaged header.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError, AttributeError, MemoryError)
damage_named = functools.partial(_damage.damage_named, kind="HDF5", raised=_DAMAGE)


@dataclass(frozen=True)
class Leaf:
    """A dataset as its file declares it: numpy dtype name, `S` for text, `BYTES`, or empty for what we do not read."""

    dtype: str
    shape: tuple[int, ...]


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a plain HDF5 file for reading.

    Raises:
        DatasetError: It is missing, a link, too large, or no HDF5 file.
    """
    import h5py

    with open_regular(path, MAX_FILE_BYTES) as stream:
        with damage_named(str(path)):
            file = h5py.File(stream, "r")
        try:
            yield file
        finally:
            with contextlib.suppress(*_DAMAGE):
                file.close()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, after a look at what HDF5 would never come back from.

    Raises:
        DatasetError: It is no plain file, cannot be read, or has a heap of texts that leads nowhere.
    """
    digest, before, at = hashlib.sha256(), b"", 0
    with open_regular(path, MAX_FILE_BYTES) as stream, damage_named(str(path)):
        while block := stream.read(1 << 20):
            digest.update(block)
            joined = before + block
            for match in re.finditer(re.escape(_HEAP), joined):
                start = at - len(before) + match.start()
                _check_heap(stream.fileno(), start, f"{path}: heap at byte {start}")
            before, at = joined[1 - len(_HEAP) :], at + len(block)
    return digest.hexdigest()


def _check_heap(descriptor: int, start: int, where: str) -> None:
    """Refuse a global heap (HDF5 File Format Specification, III.E) whose objects do not lead from one to the next.

    HDF5 itself, 2.0.0, turns in a circle for ever where one has no length.
    """
    left = os.fstat(descriptor).st_size - start
    size = int.from_bytes(os.pread(descriptor, 8, start + len(_HEAP)), "little")
    if not 16 <= size <= min(MAX_HEAP_BYTES, left):
        raise DatasetError(f"{where}: says that it has {size} bytes, {left} are left")
    data, at = os.pread(descriptor, size - 16, start + 16), 0
    while len(data) - at >= 16:
        number, length = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 8 : at + 16], "little")
        step = 16 + (length + 7) // 8 * 8 if number else length  # number 0 is what is free, with its own head
        if step < 16 or step > len(data) - at:
            raise DatasetError(f"{where}: is damaged: object {number} says that it has {length} bytes")
        at += step


def names_in(group: Any, where: str) -> list[str]:
    """Return the names of a group's members, sorted.

    Raises:
        DatasetError: There are too many, or one is no plain text.
    """
    with damage_named(where):
        if len(group) > MAX_MEMBERS:
            raise DatasetError(f"{where}: has {len(group)} members, more than the {MAX_MEMBERS} allowed")
        names = sorted(group)
    odd = [n for n in names if isinstance(n, bytes) or not n.isprintable() or len(n) > 255]  # bytes: no UTF-8
    if odd:
        raise DatasetError(
            f"{where}: has a member with the name {odd[0][:50]!r}; names are at most 255 printable letters"
        )
    return names


def numbered(group: Any, prefix: str, where: str) -> list[str]:
    """Return the names of a group's members that are `prefix` and a number, in the order of the numbers.

    Raises:
        DatasetError: There is none, or see `names_in`.
    """
    names = [name for name in names_in(group, where) if re.fullmatch(f"{prefix}_(0|[1-9][0-9]{{0,8}})", name)]
    if not names:
        raise DatasetError(f"{where}: has no {prefix}")
    return sorted(names, key=lambda name: int(name.removeprefix(f"{prefix}_")))


def member(group: Any, name: str, where: str, kind: str = "") -> Any:
    """Return a member of a group, or None where there is none.

    Args:
        group: An open group.
        name: Name of the member.
        where: File and place, for errors.
        kind: `group` or `dataset` where only that will do.

    Raises:
        DatasetError: It is a soft or external link, or not of that kind.
    """
    import h5py

    with damage_named(f"{where}/{name}"):
        link = group.get(name, getlink=True) if name in group.keys() else None  # noqa: SIM118 (`in group` follows links)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            kind = "a soft link" if isinstance(link, h5py.SoftLink) else "an external link"
            raise DatasetError(f"{where}/{name}: is {kind}; refused")
        found = group[name]
    if kind and not isinstance(found, h5py.Group if kind == "group" else h5py.Dataset):
        raise DatasetError(f"{where}/{name}: is a {type(found).__name__.lower()}, must be a {kind}")
    return found


def leaves(group: Any, where: str, seen: set[int], depth: int = 0) -> dict[str, Leaf]:
    """Return every dataset below a group by its path from there, each checked as `read` would; none is read.

    Args:
        group: An open group.
        where: File and place, for errors.
        seen: Where in the file the groups walked so far lie; those met now are added.
        depth: How many groups stand above, of those that may.

    Raises:
        DatasetError: Something is refused (see `member` and `check`), or a group stands in two places: a few hundred
            links to the same groups would be walked for years.
    """
    import h5py
    from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue] (compiled, and without a stub)

    if depth > MAX_DEPTH:
        raise DatasetError(f"{where}: groups are nested more than {MAX_DEPTH} deep")
    with damage_named(where):
        address = h5o.get_info(group.id).addr
    if address in seen:
        raise DatasetError(f"{where}: is a group that stands in two places of the file")
    seen.add(address)
    found: dict[str, Leaf] = {}
    for name in names_in(group, where):
        item = member(group, name, where)
        if isinstance(item, h5py.Group):
            below = leaves(item, f"{where}/{name}", seen, depth + 1)
            found |= {f"{name}/{key}": leaf for key, leaf in below.items()}
        elif isinstance(item, h5py.Dataset):
            found[name] = check(item, f"{where}/{name}")
    if len(found) > MAX_LEAVES:
        raise DatasetError(f"{where}: has {len(found)} datasets, more than the {MAX_LEAVES} allowed")
    total = sum(math.prod(leaf.shape) * _width(leaf.dtype) for leaf in found.values())
    if total > MAX_EPISODE_BYTES:
        raise DatasetError(f"{where}: would need {total} bytes of memory, more than the {MAX_EPISODE_BYTES} allowed")
    return found


def check(dataset: Any, where: str) -> Leaf:
    """Refuse a dataset that points outside the file, or claims more than it can hold; return what it declares.

    Raises:
        DatasetError: It does.
    """
    import h5py

    with damage_named(where):
        if dataset.external:
            raise DatasetError(f"{where}: keeps its values in another file; refused")
        if dataset.is_virtual:
            raise DatasetError(f"{where}: is a virtual dataset; refused")
        shape, dtype, chunks = dataset.shape, dataset.dtype, dataset.chunks
        stored, limit = dataset.id.get_storage_size(), dataset.file.id.get_filesize()
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    name = dtype.newbyteorder("=").name if dtype.kind in "biuf" else "S" if dtype.kind == "S" else ""
    name = BYTES if h5py.check_vlen_dtype(dtype) == np.uint8 else name
    if shape is None or name not in (*DTYPES, "S", BYTES):
        return Leaf("", shape or ())
    unknown = [number for number in filters if number not in _FILTERS]
    if unknown or len(_PACKERS & set(filters)) > 1 or len(set(filters)) != len(filters):
        raise DatasetError(
            f"{where}: filters {filters} are not allowed; allowed: one of gzip and lzf, shuffle, fletcher32"
        )
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_EPISODE_BYTES:
        raise DatasetError(f"{where}: claims {size} bytes, more than the {MAX_EPISODE_BYTES} allowed")
    if stored > limit or size > stored * (MAX_RATIO if filters else 1) + SLACK:
        raise DatasetError(f"{where}: claims {size} bytes, but has {stored} in a file of {limit}")
    if chunks and math.prod(chunks) * dtype.itemsize > MAX_CHUNK_BYTES:
        raise DatasetError(f"{where}: has chunks of shape {chunks}, more than the {MAX_CHUNK_BYTES} bytes allowed")
    return Leaf(name, tuple(int(n) for n in shape))


def read(group: Any, path: str, where: str) -> NDArray[Any]:
    """Read a dataset whole, in the machine's byte order.

    Args:
        group: An open group.
        path: Names from there on, with `/` between them.
        where: File and place, for errors.

    Raises:
        DatasetError: It is missing, refused, damaged, or of a kind that we do not read.
    """
    dataset = _find(group, path, where)
    if check(dataset, f"{where}/{path}").dtype in ("", BYTES):
        raise DatasetError(f"{where}/{path}: holds {dataset.dtype}; only numbers and text of fixed length are read")
    with damage_named(f"{where}/{path}"):
        values = np.asarray(dataset[()])
        return values.astype(values.dtype.newbyteorder("="), copy=False)


def byte_rows(group: Any, path: str, where: str) -> Iterator[Any]:
    """Yield the number of rows, then each row of a dataset of bytes; one row is in memory at a time.

    Raises:
        DatasetError: It is missing, refused, damaged, or holds something else.
    """
    dataset = _find(group, path, where)
    leaf = check(dataset, f"{where}/{path}")
    if (leaf.dtype, len(leaf.shape)) not in ((BYTES, 1), ("uint8", 2)):
        raise DatasetError(f"{where}/{path}: holds {dataset.dtype} {leaf.shape}, must be a row of bytes for each step")
    yield leaf.shape[0]
    for index in range(leaf.shape[0]):
        with damage_named(f"{where}/{path}"):
            row = np.asarray(dataset[index], np.uint8).tobytes()
        yield row


def _find(group: Any, path: str, where: str) -> Any:
    *groups, name = path.split("/")
    for part in groups:
        group = member(group, part, where, "group")
        if group is None:
            raise DatasetError(f"{where}: has no '{path}'")
    dataset = member(group, name, where, "dataset")
    if dataset is None:
        raise DatasetError(f"{where}: has no '{path}'")
    return dataset


def attribute(item: Any, name: str, where: str) -> str | int | float | bool | None:
    """Return an attribute that is one text or number; None where there is none.

    Raises:
        DatasetError: It is something else, or larger than allowed.
    """
    import h5py

    with damage_named(f"{where}: attribute '{name}'"):
        if name not in item.attrs:
            return None
        identifier = h5py.h5a.open(item.id, name.encode())
        kind = identifier.get_type().get_class()
        points = identifier.get_space().get_simple_extent_npoints()
        plain = kind in (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
        if not plain or points != 1 or identifier.get_storage_size() > MAX_TEXT_BYTES:
            raise DatasetError(f"{where}: attribute '{name}' must be one text or one number")
        value: Any = item.attrs[name]
        if isinstance(value, np.ndarray):
            value = value.reshape(-1)[0]
        if isinstance(value, bytes):
            value = value.decode()
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, str) and len(value.encode()) > MAX_TEXT_BYTES:  # encode: what is no UTF-8 ends here
            raise DatasetError(f"{where}: attribute '{name}' is longer than {MAX_TEXT_BYTES} bytes")
    return value


def _width(dtype: str) -> int:
    return np.dtype(dtype).itemsize if dtype not in ("", "S", BYTES) else 1

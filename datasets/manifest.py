"""The manifest of a store: a hash of every file that holds data, and one root over them all.

`manifest.json` lists the files in the order of their paths. The root is a Merkle tree's (`datasets/merkle.py`) over the
entries, each as canonical JSON, so that one episode can be proved to belong to it without the others. Same store, same
bytes. What is derived from these files (`index/`, `arrays/`, the data card, Croissant) is not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets import merkle
from training_ground.datasets.files import TEMPORARY_PREFIX, hash_regular, names_in, read_regular, write_over
from training_ground.datasets.layout import ABOUT, DESCRIPTION, EPISODES, FILES, MANIFEST, RECORD, episode_number
from training_ground.datasets.schema import Count, canonical_json, parse_json
from training_ground.datasets.store import MAX_DESCRIPTION_BYTES, Store

MANIFEST_VERSION = 1
MAX_MANIFEST_BYTES = 1 << 30
"""Three million episodes."""
MAX_LISTED_BYTES = 64 << 30
"""Largest file that is listed: a video."""
MAX_PROOF_BYTES = 64 << 10


TOP = (DESCRIPTION, ABOUT, RECORD)
"""Files that are listed besides those in `layout.FILES`."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(StrictModel):
    """One file.

    Attributes:
        path: Relative to the store: one of `TOP`, or one of `layout.FILES`.
        bytes, sha256: Of the whole file.
        number, content_sha256: Of an episode: its number, and the hash over its values; else absent.
    """

    path: Annotated[str, Field(max_length=200)]
    bytes: Count
    sha256: Digest
    number: Count | None = None
    content_sha256: Digest | None = None

    @pydantic.model_validator(mode="after")
    def _known_place(self) -> Entry:
        folder, _, name = self.path.partition("/")
        known = folder in FILES and FILES[folder].fullmatch(name)
        if not known and self.path not in TOP:
            raise ValueError(f"path '{self.path}' is no file that a manifest lists")
        episode = episode_number(name) if folder == EPISODES else None
        if self.number != episode or (self.content_sha256 is None) != (episode is None):
            raise ValueError(f"path '{self.path}': number and content_sha256 belong to an episode of that number")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain data, without what is absent."""
        return self.model_dump(exclude_none=True)

    def leaf(self) -> bytes:
        """Return its leaf's hash."""
        return merkle.leaf_hash(canonical_json(self.to_json(), self.path))


class Manifest(StrictModel):
    """All files, in the order of their paths, and the root over them (hex)."""

    format: Literal["training-ground-manifest"] = "training-ground-manifest"
    version: Literal[1] = MANIFEST_VERSION
    root: Digest
    files: Annotated[tuple[Entry, ...], Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Manifest:
        paths = [entry.path for entry in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files must stand in the order of their paths, each once")
        if DESCRIPTION not in paths:
            raise ValueError(f"{DESCRIPTION} is not listed")
        if merkle.root(self.leaves()).hex() != self.root:
            raise ValueError("root is not that of the files")
        return self

    def leaves(self) -> list[bytes]:
        """Return the leaves' hashes in order."""
        return [entry.leaf() for entry in self.files]

    def encode(self) -> bytes:
        """Return the bytes of `manifest.json`: an entry a line, so that two manifests can be compared by eye."""
        lines = ",\n".join(canonical_json(entry.to_json(), entry.path).decode() for entry in self.files)
        head = f'{{"format":"{self.format}","version":{self.version},"root":"{self.root}","files":[\n'
        return f"{head}{lines}\n]}}\n".encode()


class Proof(StrictModel):
    """That one file belongs to a root: the entry, its place among `count`, and the hashes to the root, lowest first."""

    entry: Entry
    index: Count
    count: Count
    path: Annotated[tuple[Digest, ...], Field(max_length=64)]

    def root(self) -> str | None:
        """Return the root that it leads to, hex; None where it leads nowhere."""
        path = [bytes.fromhex(step) for step in self.path]
        found = merkle.root_from_path(self.entry.leaf(), self.index, self.count, path)
        return None if found is None else found.hex()


def build(store: Store, progress: Callable[[int], None] | None = None) -> Manifest:
    """Hash every file of a store.

    Args:
        store: Its episodes are not checked here: `Store.verify` does that, and should have.
        progress: Called with an episode's number after it was hashed.

    Raises:
        DatasetError: A file cannot be read, or is no plain one.
    """
    entries = []
    for path in listed_files(store.path):
        size, digest = hash_regular(store.path / path, limit(path))
        known: dict[str, Any] = {"path": path, "bytes": size, "sha256": digest}
        number = episode_number(Path(path).name)
        if number is not None:
            known |= {"number": number, "content_sha256": store.metadata(number).content_sha256}
            if progress is not None:
                progress(number)
        entries.append(validate(Entry, known, str(store.path / path), DatasetError))
    root = merkle.root([entry.leaf() for entry in entries]).hex()
    return Manifest(root=root, files=tuple(entries))


def write(store: Store, manifest: Manifest) -> bytes:
    """Write `manifest.json`, over the one that is there, and return its bytes."""
    raw = manifest.encode()
    write_over(store.path / MANIFEST, raw)
    return raw


def parse(raw: bytes, where: str) -> Manifest:
    """Read a manifest's bytes; its root is computed again and compared.

    Raises:
        DatasetError: They are no manifest of a version that is known.
    """
    return validate(Manifest, parse_json(raw, where), where, DatasetError)


def read(folder: Path) -> Manifest:
    """Read a store's `manifest.json`; errors as `parse`."""
    path = folder / MANIFEST
    return parse(read_regular(path, MAX_MANIFEST_BYTES), str(path))


def prove(manifest: Manifest, number: int) -> Proof:
    """Return the proof that an episode belongs to the manifest's root.

    Raises:
        DatasetError: The manifest lists no such episode.
    """
    for index, entry in enumerate(manifest.files):
        if entry.number == number:
            path = merkle.path_of(manifest.leaves(), index)
            steps = tuple(step.hex() for step in path)
            return Proof(entry=entry, index=index, count=len(manifest.files), path=steps)
    raise DatasetError(f"manifest: lists no episode {number}; sign again after an append")


def listed_files(folder: Path) -> list[str]:
    """Return the paths of a store's files that a manifest lists, in order.

    Raises:
        DatasetError: A folder is a link, or cannot be read.
    """
    found = [name for name in TOP if (folder / name).exists() or (folder / name).is_symlink()]
    for name, pattern in FILES.items():
        found += [f"{name}/{file}" for file in names_in(folder / name) if pattern.fullmatch(file)]
    return sorted(found)


def strangers(folder: Path) -> Iterator[str]:
    """Give the paths in the folders of data that no manifest lists, those that a writer is at work on excepted."""
    for name, pattern in FILES.items():
        for file in names_in(folder / name):
            if not pattern.fullmatch(file) and not file.startswith(TEMPORARY_PREFIX):
                yield f"{name}/{file}"


def limit(path: str) -> int:
    """Return the size that a listed file may have, bytes."""
    return MAX_DESCRIPTION_BYTES if path in (DESCRIPTION, ABOUT) else MAX_LISTED_BYTES

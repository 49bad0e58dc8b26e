"""What goes along when episodes move to another store: annotations with their numbers changed, splits, media."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import names_in, open_regular, read_regular
from training_ground.datasets.schema import EpisodeMetadata, canonical_json, parse_json
from training_ground.datasets.store import Store

ANNOTATIONS, SPLITS, MEDIA = "annotations", "splits", "media"
MAX_JSON_BYTES = 32 << 20
MAX_MEDIA_BYTES = 64 << 30
_ANNOTATION = re.compile(r"^annotation_\d{6,12}\.json$", re.ASCII)
_SPLIT = re.compile(r"^[a-z][a-z0-9_]{0,31}\.json$", re.ASCII)
_MEDIUM = re.compile(r"^([0-9a-f]{64})\.[a-z0-9]{1,8}$", re.ASCII)
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_CHUNK = 16 << 20

Numbers = Mapping[tuple[int, str], int]
"""Number and content hash in a source → number in the new store."""


Change = Callable[[dict[str, Any], int], dict[str, Any] | None]
"""A record and its episode's new number → the record as it is there; None where it does not hold there."""


def renumbered(record: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a record for the number that its episode has now."""
    return record | {"episode": number}


def carry_annotations(
    sources: Sequence[Store], numbers: Sequence[Numbers], folder: Path, change: Change = renumbered
) -> list[str]:
    """Write the annotations of the episodes that were taken, and return what was left behind, one sentence each.

    A record goes with the content that it names. A file that is no list of such records is left behind and named.

    Args:
        sources, numbers: Stores, and which of their episodes are what here.
        folder: The new store.
        change: What becomes of a record; it may raise KeyError, TypeError or ValueError where that is malformed.
    """
    notes: list[str] = []
    written = 0
    for store, taken in zip(sources, numbers, strict=True):
        for path in _files(store.path / ANNOTATIONS, _ANNOTATION, notes):
            try:
                data = parse_json(read_regular(path, MAX_JSON_BYTES), str(path))
                records = data["records"]
                new = [taken.get((record["episode"], record["content_sha256"])) for record in records]
                found = [change(r, n) for r, n in zip(records, new, strict=True) if n is not None]
                kept = [record for record in found if record is not None]
                raw = canonical_json(data | {"records": kept}, str(path))
            except (DatasetError, KeyError, TypeError, ValueError) as problem:
                notes.append(f"{path}: left behind, is no file of annotations that this code knows ({problem})")
                continue
            if len(kept) < len(records):
                gone = new.count(None)
                notes += [f"{path}: {gone} records left behind, their episodes are not taken"] if gone else []
                lost = len(found) - len(kept)
                notes += (
                    [f"{path}: {lost} records left behind, what they are about was cut off or changed"] if lost else []
                )
            if kept:
                (folder / ANNOTATIONS).mkdir(exist_ok=True)
                (folder / ANNOTATIONS / f"annotation_{written:06d}.json").write_bytes(raw + b"\n")
                written += 1
    return notes


def carry_splits(sources: Sequence[Store], folder: Path) -> list[str]:
    """Copy the rules of splits: of two with one name the first; return the others, one sentence each."""
    notes: list[str] = []
    for store in sources:
        for path in _files(store.path / SPLITS, _SPLIT, notes):
            raw, target = read_regular(path, MAX_JSON_BYTES), folder / SPLITS / path.name
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                target.write_bytes(raw)
            elif target.read_bytes() != raw:
                notes.append(f"{path}: left behind, there is another split of that name")
    return notes


def media_of(store: Store, metadata: EpisodeMetadata, names: Mapping[str, str]) -> list[Path]:
    """Return the media files that an episode's metadata name, of those that `media_names` found."""
    raw = canonical_json(metadata.model_dump(mode="json"), "metadata")
    found = {digest.decode() for digest in _SHA256.findall(raw)}
    return [store.path / MEDIA / names[digest] for digest in sorted(found & names.keys())]


def media_names(store: Store) -> dict[str, str]:
    """Return the media files of a store, sha256 → name."""
    return {path.stem: path.name for path in _files(store.path / MEDIA, _MEDIUM, [])}


def copy_medium(path: Path, target: Path) -> None:
    """Copy a media file, a piece at a time, and compare it with the hash that it is named by.

    Raises:
        DatasetError: It is damaged, or cannot be read.
    """
    if target.exists():
        return
    target.parent.mkdir(exist_ok=True)
    digest = hashlib.sha256()
    with open_regular(path, MAX_MEDIA_BYTES) as stream, target.open("wb") as out:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != path.stem:
        raise DatasetError(f"{path}: is damaged: its bytes do not match the sha256 in its name")


def _files(folder: Path, pattern: re.Pattern[str], notes: list[str]) -> Iterator[Path]:
    if folder.is_symlink():
        notes.append(f"{folder}: left behind, is a symbolic link")
        return
    for name in names_in(folder):
        if pattern.match(name):
            yield folder / name
        elif not name.startswith("."):
            notes.append(f"{folder / name}: left behind, its name is none that this code knows")

"""What goes along when episodes move to another store: annotations with new numbers, splits, media, `about.json`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training_ground.configs.errors import DatasetError
from training_ground.datasets import about
from training_ground.datasets.files import is_folder, names_in, open_regular, read_regular
from training_ground.datasets.layout import ABOUT, ANNOTATIONS, FILES, MEDIA, SPLITS
from training_ground.datasets.schema import EpisodeMetadata, canonical_json, parse_json
from training_ground.datasets.store import Store

MAX_JSON_BYTES = 32 << 20
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
        for path in _files(store.path / ANNOTATIONS, FILES[ANNOTATIONS], notes):
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
        for path in _files(store.path / SPLITS, FILES[SPLITS], notes):
            raw, target = read_regular(path, MAX_JSON_BYTES), folder / SPLITS / path.name
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                target.write_bytes(raw)
            elif target.read_bytes() != raw:
                notes.append(f"{path}: left behind, there is another split of that name")
    return notes


def carry_about(sources: Sequence[Store], folder: Path) -> list[str]:
    """Copy `about.json` where all stores say the same, for one licence is not another's; return what is left behind."""
    texts: list[bytes] = []
    notes: list[str] = []
    for store in sources:
        path = store.path / ABOUT
        try:
            about.read(store.path)
            texts.append(read_regular(path, about.MAX_ABOUT_BYTES) if path.exists() else b"")
        except DatasetError as problem:
            notes.append(f"{path}: left behind ({problem})")
    if len(texts) == len(sources) and len(set(texts)) == 1:
        if texts[0]:
            (folder / ABOUT).write_bytes(texts[0])
    elif any(texts):
        notes.append(f"{ABOUT}: left behind, the datasets do not say the same; tg data card writes it anew")
    return notes


def copy_media(store: Store, metadata: EpisodeMetadata, folder: Path) -> None:
    """Copy the media files that an episode names, a piece at a time, compared with the hashes that it names them by.

    Raises:
        DatasetError: One is missing or damaged.
    """
    if metadata.media:
        is_folder(store.path / MEDIA)
        (folder / MEDIA).mkdir(exist_ok=True)
    for medium in metadata.media.values():
        path, target = store.path / MEDIA / medium.name, folder / MEDIA / medium.name
        if target.exists():
            continue
        digest = hashlib.sha256()
        with open_regular(path, medium.bytes) as stream, target.open("wb") as out:
            while piece := stream.read(_CHUNK):
                digest.update(piece)
                out.write(piece)
        if digest.hexdigest() != medium.sha256:
            raise DatasetError(f"{path}: is damaged: it is not the file that its episode names")


def _files(folder: Path, pattern: re.Pattern[str], notes: list[str]) -> Iterator[Path]:
    for name in names_in(folder):
        if pattern.fullmatch(name):
            yield folder / name
        elif not name.startswith("."):
            notes.append(f"{folder / name}: left behind, its name is none that this code knows")

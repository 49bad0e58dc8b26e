"""Croissant metadata (MLCommons, version 1.0): `croissant.json`, JSON-LD that dataset search and `mlcroissant` read.

Two record sets: `episodes`, written out, and `steps`, the rows of the Parquet files. Croissant 1.0 has no type for a
vector in fixed-length bytes: such a field is declared as text, `mlcroissant` hands its bytes out as they are, and the
description says how to read them. Checked in CI with the real library (`make croissant`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.datasets.card.document import printable
from training_ground.datasets.card.sections import lead, title
from training_ground.datasets.card.summary import Summary
from training_ground.datasets.files import hash_regular, write_over
from training_ground.datasets.manifest import ABOUT, limit
from training_ground.datasets.schema import REWARD, TEXT, TIMESTAMP, Column
from training_ground.datasets.store import DESCRIPTION, EPISODES, Store

CROISSANT = "croissant.json"
VERSION = "http://mlcommons.org/croissant/1.0"
PARQUET = "application/x-parquet"
MOST_LISTED = 1000
"""Episodes that are listed one by one, with their hashes; of more, `manifest.json` has them."""

_PLAIN = ("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes")
_PLAIN += ("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex")
_PLAIN += ("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform", "equivalentProperty")
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: f"cr:{name}" for name in _PLAIN},
}
"""The context that the specification asks to be used."""


def write_croissant(store: Store, summary: Summary) -> tuple[Path, tuple[str, ...]]:
    """Write `croissant.json` into a store; return it, and the fields that Croissant asks for and nobody has given.

    Raises:
        DatasetError: A file of the store cannot be read, or this one not written.
    """
    about, path = summary.about, store.path / CROISSANT
    asked = {"licence": about.licence, "creators": about.creators, "url": about.url, "published": about.published}
    raw = json.dumps(to_croissant(store, summary), indent=1, ensure_ascii=False, allow_nan=False)
    write_over(path, (raw + "\n").encode())
    return path, tuple(name for name, value in asked.items() if not value)


def to_croissant(store: Store, summary: Summary) -> dict[str, Any]:
    """Return a store's Croissant metadata as plain data."""
    about = summary.about
    listed = list(summary.episodes) if len(summary.episodes) <= MOST_LISTED else []
    data = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": printable(title(summary), 200),
        "description": lead(summary),
        "conformsTo": VERSION,
        "license": printable(about.licence),
        "url": about.url,
        "creator": [{"@type": "sc:Organization", "name": printable(name)} for name in about.creators],
        "datePublished": about.published,
        "version": about.version,
        "keywords": ["robotics", "humanoid", "simulation", printable(summary.schema.robot, 80)],
        "distribution": [*_files(store, listed), _file_set()],
        "recordSet": [*([_episodes(summary)] if listed else []), *([_steps(summary)] if summary.episodes else [])],
    }
    return {key: value for key, value in data.items() if value or key == "recordSet"}


def _files(store: Store, numbers: list[int]) -> list[dict[str, Any]]:
    paths = [(DESCRIPTION, "Schema: every channel with type, shape, unit and frame.", "application/json")]
    if (store.path / ABOUT).exists():
        paths.append((ABOUT, "Title, licence, makers and limits.", "application/json"))
    for number in numbers:
        name = store.file(number).name
        paths.append((f"{EPISODES}/{name}", f"Episode {number}.", PARQUET))
    return [_file(store.path, *parts) for parts in paths]


def _file(folder: Path, path: str, description: str, encoding: str) -> dict[str, Any]:
    size, digest = hash_regular(folder / path, limit(path))
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "description": description,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": encoding,
        "sha256": digest,
    }


def _file_set() -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "episode-files",
        "name": "episode-files",
        "description": "One Parquet file an episode.",
        "encodingFormat": PARQUET,
        "includes": f"{EPISODES}/episode_*.parquet",
    }


def _episodes(summary: Summary) -> dict[str, Any]:
    kinds = {
        "number": ("sc:Integer", "Number of the episode, as in its file's name."),
        "seed": ("sc:Integer", "Seed with which it began."),
        "length": ("sc:Integer", "Steps T; the file has T + 1 rows."),
        "success": ("sc:Text", "In force: as the task said at the end, until somebody corrected it; or unknown."),
        "success_recorded": ("sc:Text", "What the task said at the end: true, false, or unknown."),
        "failure": ("sc:Text", "Kind of failure, empty where there was none."),
        "quality": ("sc:Text", "Verdict of the quality gate: pass, warn, fail, or unknown."),
        "policy": ("sc:Text", "Who acted."),
        "instruction": ("sc:Text", "The task in words."),
        "content_sha256": ("sc:Text", "sha256 over all values, whatever the encoding."),
    }
    rows = []
    for one in summary.episodes.values():
        success, recorded = ("unknown" if s is None else str(s).lower() for s in (one.success, one.success_recorded))
        texts = (success, recorded, one.failure or "", one.quality or "unknown", one.policy, one.instruction)
        values = (one.number, one.seed, one.length, *(printable(text) for text in (*texts, one.content_sha256)))
        rows.append({f"episodes/{key}": value for key, value in zip(kinds, values, strict=True)})
    fields = [_field("episodes", name, kind, text, None) for name, (kind, text) in kinds.items()]
    return {
        "@type": "cr:RecordSet",
        "@id": "episodes",
        "name": "episodes",
        "description": "One record an episode.",
        "key": {"@id": "episodes/number"},
        "field": fields,
        "data": rows,
    }


def _steps(summary: Summary) -> dict[str, Any]:
    schema = summary.schema
    own = {
        TIMESTAMP: "Time since the episode's first row. Unit: ns.",
        "is_last": "Set in an episode's last row, which has no action.",
        "phase": "Phase of the task.",
        REWARD: "Reward of the step that led to this row.",
    }
    declared = {c.name: c for c in schema.channels}
    source = {
        "fileSet": {"@id": "episode-files"},
        "extract": {"fileProperty": "filename"},
        "transform": {"regex": r"episode_(\d+)\.parquet"},
    }
    fields = [_field("steps", "episode", "sc:Integer", "Number of the episode, from the file's name.", source)]
    for column in schema.columns().values():
        channel = declared.get(column.name)
        text = own.get(column.name, "")
        if channel is not None:
            text = (
                f"{printable(channel.description)} Unit: {channel.unit}. Frame: {channel.frame}. Role: {channel.role}."
            )
            names = ", ".join(printable(name, 80) for name in channel.components[:64])
            text += f" Components: {names}." if names else ""
        if column.shape:
            shape = ", ".join(map(str, column.shape))
            kind = np.dtype(column.dtype).newbyteorder("<").str.replace("|", "")
            text += f" {column.row_bytes} bytes: numpy.frombuffer(value, '{kind}').reshape({shape})."
        source = {"fileSet": {"@id": "episode-files"}, "extract": {"column": column.name}}
        fields.append(_field("steps", column.name, _kind(column), text, source))
    return {
        "@type": "cr:RecordSet",
        "@id": "steps",
        "name": "steps",
        "description": "One record a row; an episode of T steps has T + 1. "
        "The action in a row is applied between it and the next.",
        "field": fields,
    }


def _kind(column: Column) -> str:
    if column.shape or column.dtype == TEXT:
        return "sc:Text"
    if column.dtype == "bool":
        return "sc:Boolean"
    return "sc:Float" if column.dtype.startswith("float") else "sc:Integer"


def _field(records: str, name: str, kind: str, text: str, source: Mapping[str, Any] | None) -> dict[str, Any]:
    field = {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        "description": printable(text, 4_000),
        "dataType": kind,
    }
    return field if source is None else {**field, "source": dict(source)}

"""Open a store's Croissant metadata with the real `mlcroissant`, read its records, compare every value with the store.

Runs in an environment of its own (`make croissant`), without training_ground: the store is read here with pyarrow and
`dataset.json` alone, as anybody else would read it. Nothing is fetched from a network.

    python croissant_check.py STORE
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pyarrow.parquet as pq

logging.disable(logging.WARNING)  # it says which recommended fields are absent; they are counted below


def read_records(dataset: Any, name: str) -> list[dict[str, Any]]:
    """Return all records of a record set."""
    with contextlib.redirect_stdout(io.StringIO()):  # mlcroissant prints how long its steps took
        return list(dataset.records(record_set=name))


def check_files(store: Path, metadata: Any) -> int:
    """Compare the sha256 and size of every listed file with the file."""
    for file in metadata.file_objects:
        raw = (store / file.content_url).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == file.sha256, file.content_url
        assert file.content_size == f"{len(raw)} B", file.content_size
    return len(metadata.file_objects)


def said(store: Path, field: str) -> dict[int, Any]:
    """Return what annotations said last of a field, by episode."""
    files = (json.loads(path.read_text()) for path in sorted((store / "annotations").glob("annotation_*.json")))
    records = [one for file in files for one in file["records"] if one["field"] == field]
    return {one["episode"]: one["value"] for one in sorted(records, key=lambda one: one["time_ns"])}


def check_episodes(store: Path, records: list[dict[str, Any]]) -> None:
    """Compare the records of episodes with the metadata in their files; those labelled as dropped have none."""
    dropped = said(store, "dropped")
    every = {int(p.stem.removeprefix("episode_")): p for p in (store / "episodes").glob("episode_*.parquet")}
    paths = [path for number, path in sorted(every.items()) if not dropped.get(number)]
    assert len(records) == len(paths), (len(records), len(paths))
    success = said(store, "success")
    for record, path in zip(records, paths, strict=True):
        known = json.loads(pq.read_metadata(path).metadata[b"training_ground.episode"])
        assert record["episodes/number"] == int(path.stem.removeprefix("episode_"))
        for key in ("seed", "length", "content_sha256"):
            assert record[f"episodes/{key}"] == known[key], key
        assert record["episodes/policy"] == known["policy"]["name"]
        words = {True: "true", False: "false", None: "unknown"}
        assert record["episodes/success_recorded"] == words[known["success"]]
        held = success.get(record["episodes/number"])
        assert record["episodes/success"] == words[known["success"] if held is None else held]


def check_steps(store: Path, dataset: Any, records: list[dict[str, Any]]) -> int:
    """Compare every value of every row; vectors are read as the field's description says. Return how many."""
    channels = {c["name"]: c for c in json.loads((store / "dataset.json").read_text())["channels"]}
    fields = {f.id: f.description for f in next(r for r in dataset.metadata.record_sets if r.id == "steps").fields}
    compared, start = 0, 0
    for path in sorted((store / "episodes").glob("episode_*.parquet")):
        table = pq.read_table(path)
        rows = records[start : start + len(table)]
        start += len(table)
        assert {row["steps/episode"] for row in rows} == {int(path.stem.removeprefix("episode_"))}
        assert set(rows[0]) == {"steps/episode", *(f"steps/{name}" for name in table.column_names)}
        for name in table.column_names:
            wanted = table[name].to_pylist()
            found = [row[f"steps/{name}"] for row in rows]
            shape = channels.get(name, {"shape": []})["shape"]
            if shape:
                how = re.search(r"frombuffer\(value, '(\S+)'\)\.reshape\(([\d, ]+)\)", fields[f"steps/{name}"])
                assert how is not None, fields[f"steps/{name}"]
                dtype, read = np.dtype(how[1]), tuple(int(n) for n in how[2].split(","))
                assert dtype == np.dtype(channels[name]["dtype"]) and list(read) == shape, (name, how[0])
                values = np.stack([np.frombuffer(value, dtype).reshape(read) for value in found])
                assert values.tobytes() == b"".join(wanted), name
                compared += values.size
            else:
                plain = [value.decode() if isinstance(value, bytes) else value for value in found]
                assert plain == wanted, name
                compared += len(plain)
            unit = channels.get(name, {}).get("unit")
            assert unit is None or f"Unit: {unit}." in fields[f"steps/{name}"], name
    assert start == len(records), (start, len(records))
    return compared


def main(store: Path) -> None:
    """Run every check; an AssertionError says what is wrong."""
    dataset = mlcroissant.Dataset(jsonld=store / "croissant.json")  # raises where it does not validate
    issues = dataset.metadata.ctx.issues
    assert not issues.errors, issues.report()
    files = check_files(store, dataset.metadata)
    print(f"mlcroissant {version('mlcroissant')}: valid, {len(issues.warnings)} recommended fields absent")
    print(f"{files} files as their sha256 says")
    episodes = read_records(dataset, "episodes")
    check_episodes(store, episodes)
    steps = read_records(dataset, "steps")
    compared = check_steps(store, dataset, steps)
    print(f"{len(episodes)} episodes, {len(steps)} rows, {compared} values equal")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

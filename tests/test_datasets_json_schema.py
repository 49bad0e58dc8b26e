"""The machine-readable standard: it is what the code enforces, and real stores follow it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from training_ground.configs.errors import DatasetError
from training_ground.datasets import json_schema, migrations, trash
from training_ground.datasets.curation import make, plan_copy
from training_ground.datasets.store import Store

ROOT = Path(__file__).parent.parent
VERSION_1 = ROOT / "tests" / "data" / "version_1"
SCHEMAS = json_schema.schemas()


def test_the_files_are_current() -> None:
    folder = ROOT / "docs" / "standard" / "schema"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    made = {f"{name}.schema.json": json_schema.render(schema) for name, schema in SCHEMAS.items()}
    # After a change of a model: python -m training_ground.datasets.json_schema docs/standard/schema
    assert written == made


def real(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """Everything that a store writes as JSON, by the name of its schema."""
    store, _ = make(plan_copy(Store.open(VERSION_1)), tmp_path / "store")
    trash.remove(store, [1], "to see the record")
    trash.purge(store)

    def read(path: Path) -> dict[str, Any]:
        return json.loads(path.read_text(encoding="utf-8"))

    found: dict[str, list[dict[str, Any]]] = {
        "dataset": [read(path / "dataset.json") for path in (VERSION_1, store.path)],
        "lineage": [read(path) for path in store.path.glob("lineage/*.json")],
        "trash": [read(path) for path in store.path.glob("trash/*.json")],
        "episode": [],
    }
    for path in [*VERSION_1.glob("episodes/*.parquet"), store.file(0)]:
        found["episode"].append(json.loads(pq.read_metadata(path).metadata[b"training_ground.episode"]))
    assert all(found.values()) and set(found) == set(SCHEMAS)
    return found


def test_real_stores_follow_it_and_what_it_refuses_the_code_refuses(tmp_path: Path) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    found = real(tmp_path)
    for name, schema in SCHEMAS.items():
        validator.check_schema(schema)
        for data in found[name]:
            assert not list(validator(schema).iter_errors(data))
    read = {"dataset": migrations.read_description, "episode": migrations.read_metadata}
    refused, passed = 0, []
    for name, function in read.items():
        good = found[name][0]
        for key in good:
            for wrong in (None, -1, "x" * 20_000, [], {}, "absent", 1e400):
                bad = copy.deepcopy(good)
                bad[key] = wrong
                if wrong == "absent":
                    del bad[key]
                if not validator(SCHEMAS[name]).is_valid(bad):
                    refused += 1
                    try:
                        function(bad, "file")
                        passed.append((name, key, wrong))
                    except DatasetError as problem:
                        assert str(problem).startswith("file: ")
        with pytest.raises(DatasetError, match="unknown key 'extra'"):
            function(good | {"extra": 1}, "file")
        assert not validator(SCHEMAS[name]).is_valid(good | {"extra": 1})
    assert not passed and refused > 150

"""Index and labels: always what the episodes and annotations say, whatever happened to the files in between."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_ground.configs.errors import DatasetError
from training_ground.datasets import annotations, derived
from training_ground.datasets import index as index_module
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.index import Index
from training_ground.datasets.labels import in_force, label, with_scores
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store


@functools.cache
def template() -> Episode:
    env = fake_env.FakeEnv(steps=6)
    recorder = Recorder(env, None, policy="expert")
    recorder.reset(seed=0)
    for _ in range(6):
        recorder.step(np.zeros(3, np.float32))
    assert recorder.episode is not None
    return recorder.episode


def append(store: Store, seed: int, content: int | None = None, **metadata: Any) -> int:
    """Append an episode of six steps whose content is that of `content`, or of its seed."""
    one = template()
    columns = one.columns | {"counter": one.columns["counter"] + 1000 * (seed if content is None else content)}
    return store.append(Episode(one.metadata.model_copy(update={"seed": seed, **metadata}), columns))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(derived, "WORTH_KEEPING", 1)
    store = Store.create(tmp_path / "data", make_schema(fake_env.FakeEnv()))
    for seed in range(4):
        append(store, seed)
    return store


def truth(store: Store) -> list[tuple[int, int, str]]:
    """Number, seed and content hash of each episode, read from the files."""
    found = []
    for number in store.episodes():
        metadata = store.metadata(number)
        found.append((number, metadata.seed, metadata.content_sha256))
    return found


def said(store: Store) -> list[tuple[int, int, str]]:
    """The same from the index."""
    index = Index.open(store)
    return list(zip(index.numbers.tolist(), index.column("seed"), index.column("content_sha256"), strict=True))


def parts(store: Store, name: str = "episodes") -> list[Path]:
    return sorted((store.path / "index").glob(f"{name}_*.parquet"))


def test_a_row_is_what_the_metadata_say(store: Store) -> None:
    number = append(store, 7, kwargs={"tier": "tight"}, env_id="TrainingGround/BinPick-v0", failure="fall")
    metadata, index = store.metadata(number), Index.open(store)
    row = index.episodes.to_pylist()[-1]
    for name in ("seed", "length", "success", "failure", "terminated", "truncated", "robot", "env_id", "config_hash"):
        assert row[name] == getattr(metadata, name)
    assert (row["number"], row["task"], row["tier"], row["policy"]) == (number, "BinPick", "tight", "expert")
    assert row["seconds"] == 6 / 50 and row["bytes"] == store.file(number).stat().st_size
    assert json.loads(row["kwargs"]) == metadata.kwargs and row["content_sha256"] == metadata.content_sha256
    assert row["started"].timestamp() - row["started"].replace(tzinfo=None).timestamp() == 0
    assert str(row["started"]) == str(np.datetime64(metadata.started_ns // 1000, "us")).replace("T", " ")
    assert said(store) == truth(store) and not index.problems


def test_only_new_files_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = index_module.read_metadata
    monkeypatch.setattr(
        index_module, "read_metadata", lambda path, schema: read.append(path.name) or real(path, schema)
    )
    Index.open(store)
    assert len(read) == 4
    append(store, 9)
    assert said(store) == truth(store) and read[4:] == ["episode_000004.parquet"]
    assert said(store) == truth(store) and len(read) == 5


def test_parts_stay_few_and_rows_stay_right(store: Store) -> None:
    for seed in range(10, 34):
        append(store, seed)
        Index.open(store)
        assert len(parts(store)) <= 5
    assert said(store) == truth(store) and len(said(store)) == 28


def test_files_that_go_come_back_or_change_places_are_noticed(store: Store, tmp_path: Path) -> None:
    Index.open(store)
    store.file(1).rename(tmp_path / "away")
    assert said(store) == truth(store) and [number for number, _, _ in said(store)] == [0, 2, 3]
    shutil.copy(store.file(3), store.file(1))  # a number that is used again
    assert said(store) == truth(store) and said(store)[1][1] == 3
    store.file(1).unlink()
    (tmp_path / "away").rename(store.file(1))
    assert said(store) == truth(store) and said(store)[1][1] == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "link", "folder", "twice", "other", "gone"])
def test_a_damaged_index_is_made_again(store: Store, tmp_path: Path, damage: str) -> None:
    Index.open(store)
    (path,) = parts(store)
    raw = path.read_bytes()
    if damage == "twice":
        shutil.copy(path, path.with_name(path.name.replace("000000", "000007")))
    elif damage == "gone":
        shutil.rmtree(path.parent)
    else:
        path.unlink()
        if damage == "cut":
            path.write_bytes(raw[: len(raw) // 2])
        elif damage == "flipped":
            path.write_bytes(raw[:40] + bytes(255 - b for b in raw[40:90]) + raw[90:])
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "text":
            path.write_text("no parquet")
        elif damage == "link":
            path.symlink_to("/etc/passwd")
        elif damage == "folder":
            path.mkdir()
        else:  # a sound file with other columns
            forge(path, pa.table({"file": [0, 1]}))
    assert said(store) == truth(store)
    append(store, 8)
    assert said(store) == truth(store)


def forge(path: Path, table: pa.Table, **keys: bytes) -> None:
    """Write a part whose name says that it is sound."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, store_schema=False) as writer:
        writer.add_key_value_metadata({f"training_ground.{key}": value for key, value in keys.items()})
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    name, number, _ = path.stem.split("_")
    path.with_name(f"{name}_{number}_{derived._digest(data)}.parquet").write_bytes(data)


def test_any_bit_of_a_part_may_change(store: Store) -> None:
    Index.open(store)
    (path,) = parts(store)
    raw, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        mutated = bytearray(raw)
        mutated[int(generator.integers(len(raw)))] ^= 1 << int(generator.integers(8))
        for old in parts(store):
            old.unlink()
        path.write_bytes(mutated)
        assert said(store) == truth(store)


def test_an_index_that_came_with_the_dataset_says_nothing(store: Store, tmp_path: Path) -> None:
    Index.open(store)
    (path,) = parts(store)
    table = pq.read_table(path)
    lie = table.set_column(table.schema.get_field_index("seed"), table.schema.field("seed"), pa.array([99] * 4))
    path.unlink()
    forge(path, lie, index=derived.VERSION, about=store.schema.fingerprint().encode())
    assert [seed for _, seed, _ in said(store)] == [99] * 4, "the lie must be one that is believed where it was made"
    copy = shutil.copytree(store.path, tmp_path / "copy")
    assert said(Store.open(copy)) == truth(store)


@pytest.mark.parametrize("value", ["{", "7", "[7]"])
def test_values_that_no_record_says_are_refused(store: Store, value: str) -> None:
    label(Index.open(store), {0: {"tags": ["a"], "note": "b"}}, "me")
    Index.open(store)
    (path,) = parts(store, "annotations")
    table, marks = pq.read_table(path), pq.ParquetFile(path).metadata.metadata
    values = pa.array([value] * len(table))
    path.unlink()
    about = marks[b"training_ground.about"]
    forge(
        path,
        table.set_column(table.schema.get_field_index("value"), table.schema.field("value"), values),
        index=derived.VERSION,
        about=about,
    )
    with pytest.raises(DatasetError, match="index/: holds what no record says; delete this folder"):
        Index.open(store)


def test_links_are_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (store.path / "index").symlink_to(tmp_path / "outside")
    with pytest.raises(DatasetError, match="index: is a symbolic link; it must be a plain folder"):
        Index.open(store)
    (store.path / "index").unlink()
    (store.path / "annotations").symlink_to(tmp_path / "outside")
    with pytest.raises(DatasetError, match="annotations: is a symbolic link; it must be a plain folder"):
        Index.open(store)
    assert not list((tmp_path / "outside").iterdir())


def test_a_store_that_cannot_be_written_to_has_an_index_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> str:
        raise DatasetError("the disk is full")

    monkeypatch.setattr(derived, "write_new", full)
    assert said(store) == truth(store) and not parts(store)


def test_damage_is_named_and_the_rest_goes_on(store: Store) -> None:
    label(Index.open(store), {0: {"note": "first"}}, "ann")
    label(Index.open(store), {2: {"note": "second"}}, "ann")
    store.file(1).write_bytes(b"PAR1 and nothing else PAR1")
    (store.path / "annotations" / "annotation_000000.json").write_text("{")
    for _ in range(2):  # read, then remembered
        index = Index.open(store)
        assert index.numbers.tolist() == [0, 2, 3] and index.column("note") == [None, "second", None]
        assert len(index.problems) == 2
        assert "episode_000001.parquet" in index.problems[0] and "annotation_000000.json" in index.problems[1]


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_the_newest_holds_and_what_was_recorded_stays(store: Store) -> None:
    before = {number: store.file(number).read_bytes() for number in store.episodes()}
    label(Index.open(store), {0: {"success": False, "failure": "slip"}, 1: {"success": True}}, "ann")
    label(Index.open(store), {0: {"success": True}}, "net v3", "model", confidence=0.7)
    index = Index.open(store)
    assert index.column("success")[:2] == [True, True] and index.column("failure")[0] == "slip"
    assert index.column("success_recorded")[:2] == [store.metadata(n).success for n in (0, 1)]
    assert index.column("success_source") == ["model", "person", "simulator", "simulator"]
    history = [(one["field"], one["value"], one["author"], one["status"]) for one in index.history(0)]
    assert history == [
        ("success", False, "ann", "superseded"),
        ("failure", "slip", "ann", "in force"),
        ("success", True, "net v3", "in force"),
    ]
    assert index.history(0)[2]["confidence"] == 0.7
    label(index, {0: {"success": None, "failure": ""}}, "ann")
    index = Index.open(store)
    assert index.column("success") == index.column("success_recorded") and index.column("failure")[0] is None
    assert index.column("success_source")[0] == "simulator"
    assert {number: store.file(number).read_bytes() for number in before} == before


def test_every_field_comes_back(store: Store) -> None:
    phases = [{"first": 0, "last": 2, "name": "reach"}, {"first": 3, "last": 6, "name": "grasp"}]
    values = {
        "phase": phases,
        "event": [{"row": 6, "name": "drop"}],
        "quality": {"verdict": "warn", "scores": {"jerk": 1.5}},
        "dropped": True,
        "note": "ünï",
        "tags": ["a", "b"],
        "instruction": "Lift it.",
    }
    label(Index.open(store), {2: values}, "ann")
    index = Index.open(store)
    row = index.episodes.to_pylist()[2]
    assert (row["phases"], row["events"], row["quality"]) == (["reach", "grasp"], ["drop"], "warn")
    assert (row["dropped"], row["note"], row["tags"], row["instruction"]) == (True, "ünï", ["a", "b"], "Lift it.")
    assert dict(with_scores(index).column("scores")[2].as_py()) == {"jerk": 1.5} and index.column("dropped") == [
        False,
        False,
        True,
        False,
    ]
    assert {one["field"]: one["value"] for one in index.history(2)} == values


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("succes", True, "unknown field 'succes': did you mean 'success'"),
        ("success", 1, "success = 1: must be true or false"),
        ("note", True, "note = True: must be neither"),
        ("quality", {"verdict": "good"}, "quality.verdict: Input should be 'pass', 'warn' or 'fail'"),
        ("quality", {"verdict": "fail", "scores": {"jerk": float("nan")}}, "quality.scores.jerk"),
        ("phase", [{"first": 3, "last": 1, "name": "x"}], "last = 1 is before first = 3"),
        ("phase", [{"first": 0, "last": 3, "name": "x"}, {"first": 3, "last": 4, "name": "y"}], "begins in row 3"),
        ("phase", [{"first": 0, "last": 7, "name": "x"}], "row 7; the last one is 6"),
        ("event", [{"row": 7, "name": "x"}], "row 7; the last one is 6"),
        ("event", [{"row": -1, "name": "x"}], r"event.0.row"),
        ("tags", "abc", "tags: Input should be a valid list"),
    ],
)
def test_what_cannot_be_said_is_refused(store: Store, field: str, value: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=f"label of episode 3.*{message}"):
        label(Index.open(store), {2: {"note": "good"}, 3: {field: value}}, "ann")
    assert not (store.path / "annotations").exists()
    with pytest.raises(DatasetError, match="there is no episode 77"):
        label(Index.open(store), {77: {"note": "x"}}, "ann")


def record(store: Store, number: int, **change: Any) -> dict[str, Any]:
    content = store.metadata(number).content_sha256
    base = {"episode": number, "content_sha256": content, "field": "note", "value": "forged", "source": "person"}
    return base | {"author": "eve", "time_ns": 5} | change


def write(store: Store, number: int, data: Any) -> None:
    (store.path / "annotations").mkdir(exist_ok=True)
    raw = data if isinstance(data, str) else json.dumps(data)
    (store.path / "annotations" / f"annotation_{number:06d}.json").write_text(raw)


def test_records_that_do_not_fit_are_reported_and_not_applied(store: Store) -> None:
    records = [
        record(store, 0, content_sha256="ee" * 32),
        record(store, 1, field="event", value=[{"row": 7, "name": "late"}]),
        record(store, 2, episode=9),  # gone: it may come back, so that this is no problem
        record(store, 3),
    ]
    write(store, 0, {"schema_version": 1, "records": records})
    index = Index.open(store)
    assert index.column("note") == [None, None, None, "forged"] and index.column("events")[1] is None
    assert len(index.problems) == 2
    assert "annotation_000000.json: note of episode 0: not applied: episode has other content" in index.problems[0]
    assert "event of episode 1: not applied: row beyond the end" in index.problems[1]
    statuses = index.records.column("status").to_pylist()
    assert statuses == ["episode has other content", "row beyond the end", "no such episode", "in force"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"schema_version": 2, "records": []}, "newer training-ground"),
        ({"records": []}, "schema_version = None"),
        ({"schema_version": 1, "records": []}, "at least 1 item"),
        ({"schema_version": 1, "records": [{"episode": 0}]}, "content_sha256' is missing"),
        ('{"schema_version": 1, "records": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "malformed JSON"),
        ([1], "top level"),
    ],
)
def test_hostile_annotations_are_named(store: Store, data: Any, message: str) -> None:
    write(store, 0, data)
    write(store, 1, {"schema_version": 1, "records": [record(store, 3)]})
    index = Index.open(store)
    assert index.column("note")[3] == "forged"
    assert len(index.problems) == 1 and "annotation_000000.json" in index.problems[0] and message in index.problems[0]


def test_annotations_that_are_no_plain_small_files_are_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, 0, {"schema_version": 1, "records": [record(store, 3)]})
    folder = store.path / "annotations"
    (folder / "annotation_000001.json").symlink_to("/etc/passwd")
    os.mkfifo(folder / "annotation_000002.json")
    write(store, 3, " " * 2000)
    monkeypatch.setattr(annotations, "MAX_FILE_BYTES", 1000)
    problems = Index.open(store).problems
    assert [word in text for word, text in zip(("link", "no plain file", "more than the 1000"), problems, strict=True)]


def test_a_clock_that_runs_ahead_does_not_have_the_last_word(store: Store) -> None:
    write(store, 0, {"schema_version": 1, "records": [record(store, 0, time_ns=2**62 - 1)]})
    label(Index.open(store), {0: {"note": "later"}}, "ann")
    assert Index.open(store).column("note")[0] == "later"
    label(Index.open(store), {0: {"note": "still later"}}, "ann")  # at the largest time there is
    assert Index.open(store).column("note")[0] == "still later"


FIELDS = ("note", "success", "dropped")
RECORDS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("ab"), st.sampled_from(FIELDS), st.integers(0, 3), st.integers(0, 5)),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(RECORDS)
def test_labels_in_force_are_those_of_a_loop(drawn: list[tuple[int, str, str, int, int]]) -> None:
    """Against the rule as one would write it down: by time, then in the order of files, the last that fits."""
    episodes = pa.table(
        {
            "number": [0, 2, 3],
            "length": [4, 4, 4],
            "content_sha256": ["a", "a", "b"],
            "success": [True, None, False],
            "failure": pa.array([None] * 3, pa.string()),
            "instruction": [""] * 3,
        }
    )
    kinds = {"note": ("x", "y", None), "success": (True, False, None), "dropped": (True, False, None)}
    rows = [
        (number, content, field, time_ns, kinds[field][choice % 3], choice)
        for number, content, field, time_ns, choice in drawn
    ]
    table = pa.table(
        {
            "episode": pa.array([r[0] for r in rows], pa.int64()),
            "content_sha256": pa.array([r[1] for r in rows], pa.string()),
            "field": pa.array([r[2] for r in rows], pa.string()),
            "value": pa.array([json.dumps(r[4]) for r in rows], pa.string()),
            "source": pa.array(["person"] * len(rows), pa.string()),
            "time_ns": pa.array([r[3] for r in rows], pa.int64()),
            "last_row": pa.array([r[5] for r in rows], pa.int64()),
        }
    )
    found, _ = in_force(episodes, table)
    for position, (number, content, recorded) in enumerate([(0, "a", True), (2, "a", None), (3, "b", False)]):
        expected: dict[str, Any] = dict.fromkeys(FIELDS)
        for row in sorted(rows, key=lambda row: row[3]):
            if row[:2] == (number, content) and row[5] <= 4:
                expected[row[2]] = row[4]
        expected["success"] = recorded if expected["success"] is None else expected["success"]
        expected["dropped"] = bool(expected["dropped"])
        assert {name: found.column(name)[position].as_py() for name in FIELDS} == expected


def test_several_processes_label_and_refresh_at_once(store: Store) -> None:
    code = """
        import sys
        from training_ground.datasets import derived
        from training_ground.datasets.index import Index
        from training_ground.datasets.labels import label
        from training_ground.datasets.store import Store
        derived.WORTH_KEEPING = 1
        store = Store.open(sys.argv[1])
        for count in range(8):
            label(Index.open(store), {int(sys.argv[2]): {"note": f"{sys.argv[2]}: {count}"}}, sys.argv[2])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(store.path)]
    running = [subprocess.Popen([*command, str(number)]) for number in (0, 1)]
    assert [process.wait(timeout=100) for process in running] == [0, 0]
    index = Index.open(store)
    assert index.column("note")[:2] == ["0: 7", "1: 7"] and not index.problems
    for number in (0, 1):
        assert [one["value"] for one in index.history(number)] == [f"{number}: {count}" for count in range(8)]
    assert len(parts(store, "annotations")) <= 6 and said(store) == truth(store)

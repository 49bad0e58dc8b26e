"""What one part of the datasets says holds in all others: labels of people, verdicts of the gate, what was dropped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest

from training_ground.agents import augmentation
from training_ground.cli.main import main
from training_ground.configs import quality_gate
from training_ground.configs.cleaning import CutGaps, Drop, Resample, TrimIdle
from training_ground.configs.errors import DatasetError
from training_ground.datasets import about, annotations
from training_ground.datasets import split as splits
from training_ground.datasets.array_build import refresh
from training_ground.datasets.cleaning.clean import CleaningReport, clean
from training_ground.datasets.curation import make, plan_copy
from training_ground.datasets.export import export
from training_ground.datasets.importing import import_
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label, said_by_people
from training_ground.datasets.lineage import read_lineage
from training_ground.datasets.quality.gate import check, load_limits
from training_ground.datasets.quality.verdicts import keep
from training_ground.datasets.query import select
from training_ground.datasets.store import Store
from training_ground.datasets.windows import Windows, balanced


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four good episodes of 150 steps, the third with a gap and the last with a phase that the task has not."""
    good = planted.record(tmp_path_factory.mktemp("joins") / "good", range(0, 8, 2))
    store = Store.create(good.path.parent / "mixed", good.schema)
    for number, fault in enumerate((None, None, planted.lost_rows, planted.strange_phase)):
        episode = good.read(number)
        store.append(planted.planted(episode, fault) if fault else episode)
    return store.path


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> Store:
    shutil.copytree(recorded, tmp_path / "data")
    return Store.open(tmp_path / "data")


def say(store: Store, values: dict[int, dict[str, Any]], author: str = "ann", source: Any = "person") -> Index:
    label(Index.open(store), values, author, source)
    return Index.open(store)


def checked(store: Store, **change: Any) -> int:
    name, limits = load_limits()
    return keep(store, check(store, limits.model_copy(update=change), name)).new


# ---- labels and the gate ---------------------------------------------------------------------------------------------


def test_the_gate_knows_what_people_said(store: Store) -> None:
    say(store, {0: {"success": False}, 1: {"success": False}, 2: {"success": False}})
    say(store, {1: {"success": None}})
    index = say(store, {2: {"success": True}}, "net", "model")
    assert said_by_people(index) == {0: False, 2: False}
    report = check(store, load_limits()[1])
    found = {one.number: one.readings["person_mismatch"].value for one in report.episodes}
    assert found == {0: 1.0, 1: None, 2: 1.0, 3: None}
    assert "a person False" in str(report.episodes[0].reasons[0])


def test_an_episode_that_was_dropped_is_not_checked_unless_asked_for(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    say(store, {2: {"dropped": True}, 3: {"dropped": True}})
    assert main(["data", "check", str(store.path)]) == 0
    assert "2 labelled as dropped were left out" in capsys.readouterr().out
    assert main(["data", "check", str(store.path), "--episode", "2", "--episode", "2", "--json"]) == 1
    assert [one["number"] for one in json.loads(capsys.readouterr().out)["episodes"]] == [2]


def test_annotations_that_cannot_be_read_are_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    say(store, {0: {"success": False}})
    (store.path / "annotations" / "annotation_000000.json").write_text("{")
    assert main(["data", "check", str(store.path), "--episode", "0"]) == 0
    assert "note: " in (said := capsys.readouterr().out) and "annotation_000000.json: malformed" in said


# ---- verdicts as labels ----------------------------------------------------------------------------------------------


def test_verdicts_are_kept_and_found_again(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(store.path), "--label"]) == 1
    assert "now labels: 4" in capsys.readouterr().out
    index = Index.open(store)
    assert index.column("quality") == ["pass", "pass", "fail", "fail"]
    assert index.column("quality_reasons")[2:] == [["gap"], ["unknown_phases"]]
    assert index.column("quality_stale") == [False] * 4
    assert select(index, "quality = 'pass' and scores['gap'] = 1 and not quality_stale") == [0, 1]
    (row,) = [one for one in index.history(2) if one["field"] == "quality"]
    assert (row["source"], row["author"]) == ("rule", "tg data check, default")
    assert row["value"]["reasons"]["gap"].startswith("fail: gap = 9, allowed at most 1.5")
    assert main(["data", "ls", str(store.path), "--where", "quality = 'fail'"]) == 0
    assert "fail: gap" in capsys.readouterr().out
    assert main(["data", "check", str(store.path), "--label", "--episode", "0"]) == 2


def test_a_verdict_that_stands_is_not_written_again(store: Store) -> None:
    assert checked(store) == 4 and checked(store) == 0
    say(store, {0: {"success": not store.metadata(0).success}})
    assert Index.open(store).column("quality_stale") == [True, False, False, False]  # a person knows better since
    assert checked(store) == 1
    index = Index.open(store)
    assert index.column("quality")[0] == "warn" and index.column("quality_stale") == [False] * 4


def test_the_verdict_of_a_person_is_not_taken_back_by_a_rule(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    checked(store)
    say(store, {0: {"quality": {"verdict": "fail", "reasons": {"picture": "out of focus"}}}})
    assert main(["data", "check", str(store.path), "--label"]) == 1
    assert "now labels: 0; left as people said: 1" in capsys.readouterr().out
    index = Index.open(store)
    assert index.column("quality")[0] == "fail" and index.column("quality_reasons")[0] == ["picture"]
    assert index.column("quality_stale")[0] is None, "a person names no limits"


def test_a_verdict_by_other_limits_is_stale(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(store)
    strict = load_limits()[1].episode | {"length_s": quality_gate.Limit(fail_below=100)}
    assert checked(store, episode=strict) == 4  # a preset that was changed: the newest verdict is by other limits
    assert Index.open(store).column("quality_stale") == [True] * 4
    assert main(["data", "ls", str(store.path)]) == 0
    out, err = capsys.readouterr()
    assert "length_s (stale)" in out and "verdicts that are stale: 4" in err
    assert main(["data", "query", str(store.path), "quality = 'pass'"]) == 0
    assert "verdicts that are stale: 4" in capsys.readouterr().err
    assert checked(store) == 4
    monkeypatch.setattr(quality_gate, "MEASURES_VERSION", 2)
    quality_gate.preset_hashes.cache_clear()
    assert Index.open(store).column("quality_stale") == [True] * 4
    quality_gate.preset_hashes.cache_clear()


def test_a_verdict_on_other_content_does_not_count(store: Store) -> None:
    checked(store)
    other = store.read(1)
    store.file(0).unlink()
    store.append(other)
    shutil.move(store.file(4), store.file(0))
    index = Index.open(store)
    assert index.column("quality")[:2] == [None, "pass"]
    assert any("quality of episode 0: not applied: episode has other content" in line for line in index.problems)


def test_an_action_that_is_too_large_for_a_file_becomes_several(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations, "MAX_FILE_BYTES", 4000)
    assert checked(store) == 4
    assert len(list((store.path / "annotations").iterdir())) > 1
    assert Index.open(store).column("quality") == ["pass", "pass", "fail", "fail"]


# ---- what leaves the store -------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(store: Store) -> Store:
    """The first episode did not succeed, the second has another task and phase, the third is dropped."""
    phase = [{"first": 3, "last": 9, "name": "reach"}]
    values: dict[int, dict[str, Any]] = {0: {"success": False, "failure": "slip"}, 2: {"dropped": True}}
    say(store, values | {1: {"instruction": "Swing.", "phase": phase, "note": "odd"}})
    return store


def test_the_card_tells_what_is_in_force_and_what_was_recorded(labelled: Store) -> None:
    pytest.importorskip("matplotlib")
    checked(labelled)
    assert main(["data", "card", str(labelled.path)]) == 0
    text = " ".join((labelled.path / "README.md").read_text().replace("\\", "").split())
    assert "| Success | 2 of 3, 67%;" in text and "| Episodes | 3; 1 more are labelled as dropped" in text
    assert "Outcomes that were corrected after the recording: 1 (success by: person 1)." in text
    assert "The simulator said success of 3 of 3." in text and "| slip | 1 |" in text
    assert "| warn | 1 |" in text and "| fail | 1 |" in text and "| unknown_phases | 1 |" in text
    data = json.loads((labelled.path / "croissant.json").read_text())
    rows = data["recordSet"][0]["data"]
    assert [row["episodes/success"] for row in rows] == ["false", "true", "true"]
    assert [row["episodes/success_recorded"] for row in rows] == ["true"] * 3
    assert [row["episodes/quality"] for row in rows] == ["warn", "pass", "fail"]


def test_an_export_says_what_is_in_force(labelled: Store, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    report = export(labelled, tmp_path / "lerobot", "lerobot")
    assert report.episodes == 3 and report.skipped == ("episode 2: is labelled as dropped",)
    assert "labels: note of 1 episodes" in report.losses
    episodes = pq.read_table(tmp_path / "lerobot/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    own = [[row[f"training_ground/{name}"] for row in episodes] for name in ("success", "success_recorded", "failure")]
    assert own == [[False, True, True], [True, True, True], ["slip", "", ""]]
    assert [row["tasks"] for row in episodes] == [
        ["Keep three joints at zero."],
        ["Swing."],
        ["Keep three joints at zero."],
    ]
    frames = pq.read_table(tmp_path / "lerobot/data/chunk-000/file-000.parquet")
    phases = pq.read_table(tmp_path / "lerobot/meta/subtasks.parquet").to_pandas().index.tolist()
    numbers = np.array(frames["subtask_index"])[np.array(frames["episode_index"]) == 1]
    assert [phases[i] for i in numbers[2:11]] == ["", *["reach"] * 7, ""]
    chosen = export(labelled, tmp_path / "chosen", "lerobot", [2])
    assert chosen.episodes == 1 and not chosen.skipped


@pytest.mark.parametrize("format_", ["minari", "rlds", "mcap"])
def test_other_formats_say_it_too_and_keep_what_was_recorded(labelled: Store, tmp_path: Path, format_: str) -> None:
    for name in ("h5py", "mcap"):
        pytest.importorskip(name)
    out = tmp_path / "set-v0"
    export(labelled, out, format_, [0])
    if format_ == "minari":
        import h5py

        with h5py.File(out / "data" / "main_data.hdf5") as file:
            assert not file["episode_0"].attrs["success"]
    import_(out, format_, tmp_path / "back")
    back = Store.open(tmp_path / "back")
    assert back.metadata(0).success is True, "what we read of our own is what the simulator said"


def test_windows_are_chosen_and_weighted_by_labels_in_force(labelled: Store) -> None:
    index = Index.open(labelled)
    windows = Windows(refresh(labelled), {"action": 0}, episodes=index.usable())
    numbers = windows.episode_numbers().tolist()
    assert numbers == [0, 1, 3] and index.column("success", numbers) == [False, True, True]
    weights = balanced(index.column("success", numbers))
    assert weights.tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert index.column("seed", [3, 0]) == [index.column("seed")[3], index.column("seed")[0]]
    with pytest.raises(DatasetError, match="there is no episode 9 in the index"):
        index.column("success", [0, 9])


def test_what_people_say_did_not_succeed_is_not_done_again(labelled: Store) -> None:
    assert augmentation.usable(labelled) == [1, 3]
    for number, why in ((0, "did not succeed"), (2, "is labelled as dropped")):
        with pytest.raises(DatasetError, match=f"episode {number} {why}"):
            augmentation.usable(labelled, [1, number])


# ---- cleaning --------------------------------------------------------------------------------------------------------


def cleaned(store: Store, *operations: Any) -> tuple[Store, CleaningReport]:
    report = clean(store, operations, store.path.parent / "clean")
    return Store.open(store.path.parent / "clean"), report


def test_cleaning_takes_labels_along_and_leaves_out_what_was_dropped(labelled: Store) -> None:
    checked(labelled)
    made = splits.new("main", "seed", [("train", 0.5), ("test", 0.5)])
    splits.create(labelled, made)
    about.update(labelled.path, licence="CC-BY-4.0")
    new, report = cleaned(labelled, CutGaps(), Drop(when="no_success"))
    assert about.read(new.path).licence == "CC-BY-4.0"
    assert [one.dropped for one in report.episodes] == ["no success: slip", "", "is labelled as dropped", ""]
    index = Index.open(new)
    assert index.column("instruction")[0] == "Swing." and index.column("note") == ["odd", None]
    assert index.column("phases") == [["reach"], None] and index.column("quality") == ["pass", "fail"]
    assert not index.problems and splits.read(new, "main") == made
    (made_by,) = read_lineage(new.path)
    assert made_by.action == "clean" and [one.places[0].episode for one in made_by.episodes] == [1, 3]
    assert made_by.episodes[0].content_sha256 == new.metadata(0).content_sha256
    said = json.loads((new.path / "cleaning.json").read_text())
    assert said["episodes"][2]["dropped"] == "is labelled as dropped" and str(labelled.path) not in json.dumps(said)


def test_labels_of_what_was_cut_are_about_the_rows_that_are_left(store: Store) -> None:
    """Rows 0 to 74 of the third episode are left: eight are missing behind them."""
    phase = [{"first": 10, "last": 40, "name": "a"}, {"first": 60, "last": 90, "name": "b"}]
    event = [{"row": 20, "name": "in"}, {"row": 80, "name": "out"}]
    values = {"success": False, "failure": "late", "phase": phase, "event": event, "tags": ["x"]}
    say(store, {2: values})
    checked(store)
    new, report = cleaned(store, CutGaps())
    index = Index.open(new)
    row = {one["field"]: one["value"] for one in index.history(2)}
    assert row["phase"] == [phase[0], {"first": 60, "last": 74, "name": "b"}] and row["event"] == event[:1]
    assert row["tags"] == ["x"] and set(row) == {"phase", "event", "tags"}, "another end, another verdict"
    assert index.column("success")[2] is True and not index.problems
    assert [note.partition(": ")[2] for note in report.notes] == [
        f"{count} records left behind, what they are about was cut off or changed" for count in (2, 1)
    ]


def test_labels_follow_every_other_row(store: Store) -> None:
    say(
        store,
        {0: {"success": False, "phase": [{"first": 3, "last": 9, "name": "a"}], "event": [{"row": 7, "name": "e"}]}},
    )
    new, _ = cleaned(store, Resample(every=4))  # rows 2, 6, 10, …, 150
    index = Index.open(new)
    row = {one["field"]: one["value"] for one in index.history(0)}
    assert row["phase"] == [{"first": 1, "last": 1, "name": "a"}] and row["event"] == [{"row": 2, "name": "e"}]
    assert index.column("success")[0] is False, "the end is the same"


def test_records_of_strangers_stop_no_cleaning(store: Store) -> None:
    record = {"episode": 2, "content_sha256": store.metadata(2).content_sha256, "field": "phase", "source": "person"}
    for number, value in enumerate((5, [{}], [{"first": "a", "last": 3, "name": "x"}], {"first": 3})):
        record |= {"value": value, "author": "eve", "time_ns": 5, "confidence": None}
        path = store.path / "annotations" / f"annotation_{number:06d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"schema_version": 1, "records": [record]}))
    new, report = cleaned(store, CutGaps())
    assert len(new) == 4 and len(report.notes) == 8 and not (new.path / "annotations").exists()


def test_a_lineage_that_is_damaged_is_named_before_the_work(store: Store) -> None:
    (store.path / "lineage").mkdir()
    (store.path / "lineage" / "lineage_000000.json").write_text("{")
    done: list[int] = []
    with pytest.raises(DatasetError, match=r"lineage_000000\.json"):
        clean(store, [CutGaps()], store.path.parent / "clean", done.append)
    assert not done


def test_a_lineage_goes_on_through_cleaning_and_copying(store: Store) -> None:
    copied = store.path.parent / "copied"
    make(plan_copy(store, [1, 3]), copied)
    new, _ = cleaned(Store.open(copied), TrimIdle(keep_s=0))
    make(plan_copy(new), store.path.parent / "again")
    places = [one.places for one in read_lineage(store.path.parent / "again")[0].episodes]
    assert [[(p.store, p.episode) for p in one] for one in places] == [
        [("clean", 0), ("copied", 1), ("data", 1)],
        [("clean", 1), ("copied", 3), ("data", 3)],
    ]


def test_the_training_view_tells_of_what_was_dropped(labelled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "arrays", str(labelled.path)]) == 0
    assert "labelled as dropped, and in it nevertheless: 1;" in capsys.readouterr().out

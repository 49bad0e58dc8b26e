"""Export: the layout that LeRobot reads, the numbers in it, and what happens when it goes wrong."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pyarrow.parquet as pq
import pytest

from training_ground.configs.errors import DatasetError
from training_ground.datasets import export as export_module
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import ExportReport, export, formats
from training_ground.datasets.formats import lerobot
from training_ground.datasets.statistics import merge, quantiles, statistics
from training_ground.datasets.store import Store


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path, ExportReport]:
    folder = tmp_path_factory.mktemp("export")
    store = fake_env.record(folder / "data")
    return store, folder / "lerobot", export(store, folder / "lerobot", "lerobot")


def test_formats_are_walked() -> None:
    assert "lerobot" in formats()


def test_the_layout_is_exactly_that_of_lerobot(exported: tuple[Store, Path, ExportReport]) -> None:
    _, path, report = exported
    found = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
    assert found == [
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/stats.json",
        "meta/subtasks.parquet",
        "meta/tasks.parquet",
        "meta/training_ground.json",
    ]
    info = json.loads((path / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 50 and isinstance(info["fps"], int)
    assert info["total_episodes"] == 4 == report.episodes and info["total_frames"] == 90 == report.frames
    assert info["splits"] == {"train": "0:4"} and info["video_path"] is None and info["robot_type"] == "fake"
    data = pq.ParquetFile(path / "data/chunk-000/file-000.parquet")
    assert data.schema_arrow.names == list(info["features"]), "LeRobot refuses a column more or less"
    assert data.num_row_groups == 4
    assert [data.metadata.row_group(i).num_rows for i in range(4)] == [30, 15, 30, 15]
    for name, feature in info["features"].items():
        assert set(feature) == {"dtype", "shape", "names"} and "/" not in name
        assert feature["names"] is None or len(feature["names"]) == feature["shape"][0]
    assert info["features"]["state.base_pose"]["shape"] == [4]
    assert info["features"]["observation.state"]["names"][3] == "joint_velocity.left_knee_joint"


def test_frames_hold_the_store_s_values(exported: tuple[Store, Path, ExportReport]) -> None:
    store, path, _ = exported
    table = pq.read_table(path / "data")
    first = store.read(0).columns

    def column(name: str) -> Any:
        return np.array(table.column(name).to_pylist()[:30])

    assert np.array_equal(column("action").astype("f4"), first["action"][:-1])
    seen = np.concatenate([first["joint_position"], first["joint_velocity"]], axis=1)[:-1]
    assert np.array_equal(column("observation.state").astype("f4"), seen)
    assert np.array_equal(column("state.base_pose"), first["base_pose"][:-1].reshape(30, 4))
    assert np.array_equal(column("next.reward_upright").astype("f4"), first["reward_upright"][1:])
    assert np.array_equal(column("next.reward").astype("f4"), first["reward"][1:].astype("f4"))
    assert column("next.done").tolist() == [False] * 29 + [True]
    assert np.array_equal(column("timestamp").astype("f4"), (np.arange(30) / 50).astype("f4"))
    assert table.column("index").to_pylist() == list(range(90))
    assert table.column("episode_index").to_pylist() == [0] * 30 + [1] * 15 + [2] * 30 + [3] * 15


def test_episodes_carry_statistics_and_origin(exported: tuple[Store, Path, ExportReport]) -> None:
    store, path, _ = exported
    rows = pq.read_table(path / "meta/episodes").to_pylist()
    info = json.loads((path / "meta/info.json").read_text())
    stats = ["min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"]
    for name in info["features"]:
        assert all(f"stats/{name}/{key}" in rows[0] for key in stats), name
    actions = np.concatenate([store.read(n).columns["action"][:-1] for n in store.episodes()]).astype(float)
    whole = json.loads((path / "meta/stats.json").read_text())["action"]
    assert np.allclose(whole["mean"], actions.mean(axis=0)) and np.allclose(whole["std"], actions.std(axis=0))
    assert np.allclose(whole["q10"], np.quantile(actions, 0.1, axis=0)) and whole["count"] == [90]
    assert [(r["dataset_from_index"], r["dataset_to_index"]) for r in rows] == [(0, 30), (30, 45), (45, 75), (75, 90)]
    assert [r["training_ground/seed"] for r in rows] == [0, 1, 2, 3]
    assert [r["training_ground/failure"] for r in rows] == ["", "fall", "", "fall"]
    assert rows[0]["training_ground/content_sha256"] == store.metadata(0).content_sha256


def test_phases_become_subtasks_and_tasks_are_indexed_by_name(exported: tuple[Store, Path, ExportReport]) -> None:
    store, path, _ = exported
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(path / "meta/tasks.parquet")
    assert tasks.loc["Keep three joints at zero."].task_index == 0 and list(tasks.columns) == ["task_index"]
    subtasks = pandas.read_parquet(path / "meta/subtasks.parquet")
    numbers = pq.read_table(path / "data", columns=["subtask_index"]).column(0).to_pylist()[:30]
    phases = store.read(0).columns["phase"].tolist()[:-1]
    assert [subtasks.iloc[n].name for n in numbers] == [phases[1], *phases[1:]]


def test_the_loss_report_says_what_is_lost(exported: tuple[Store, Path, ExportReport]) -> None:
    text = "\n".join(exported[2].losses)
    for part in ("the last row", "nanoseconds", "units", "flattened: base_pose", "float32: base_pose", "subtasks"):
        assert part in text


def test_files_are_split_and_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot, "FILE_MB", 0)
    monkeypatch.setattr(lerobot, "CHUNK_FILES", 2)
    monkeypatch.setattr(lerobot, "BATCH", 2)
    monkeypatch.setattr(lerobot, "SAMPLE_ROWS", 50)
    store = fake_env.record(tmp_path / "data", range(5))
    export(store, tmp_path / "out", "lerobot")
    names = sorted(str(p.relative_to(tmp_path / "out/data")) for p in (tmp_path / "out/data").rglob("*.parquet"))
    assert names == [f"chunk-00{c}/file-00{f}.parquet" for c, f in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))]
    rows = pq.read_table(tmp_path / "out/meta/episodes").to_pylist()
    assert [(r["data/chunk_index"], r["data/file_index"]) for r in rows] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    whole = json.loads((tmp_path / "out/meta/stats.json").read_text())["index"]
    assert whole["count"] == [120] and whole["min"] == [0] and whole["max"] == [119]
    assert abs(whole["mean"][0] - 59.5) < 1e-9 and abs(whole["std"][0] - np.arange(120).std()) < 1e-9
    assert abs(whole["q50"][0] - 59.5) < 3


def test_noisy_observations_are_what_the_policy_saw(tmp_path: Path) -> None:
    store = fake_env.record(tmp_path / "data", [0], noise={"scale": 0.1})
    export(store, tmp_path / "out", "lerobot")
    table = pq.read_table(tmp_path / "out/data")
    columns = store.read(0).columns
    found = np.array(table.column("observation.state").to_pylist(), dtype="f4")
    assert np.array_equal(found, columns["policy_observation"][:-1])
    truth = np.array(table.column("state.joint_position").to_pylist(), dtype="f4")
    assert np.array_equal(truth, columns["joint_position"][:-1])


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_an_export_never_overwrites(exported: tuple[Store, Path, ExportReport], tmp_path: Path) -> None:
    store, path, _ = exported
    with pytest.raises(DatasetError, match="exists already; an export never overwrites"):
        export(store, path, "lerobot")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="exists already"):
        export(store, tmp_path / "link", "lerobot")


def test_unknown_formats_are_named(exported: tuple[Store, Path, ExportReport], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="unknown format 'lerobt': did you mean 'lerobot'"):
        export(exported[0], tmp_path / "out", "lerobt")


@pytest.mark.parametrize("failure", ["damaged", "nan", "full", "interrupt"])
def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    store = fake_env.record(tmp_path / "data")
    expected: tuple[type[BaseException], str] = (DatasetError, "")
    if failure == "damaged":
        raw = store.file(2).read_bytes()
        store.file(2).write_bytes(raw[:2000] + bytes([raw[2000] ^ 1]) + raw[2001:])
        expected = (DatasetError, "episode_000002")
    elif failure == "nan":
        episode = store.read(0)
        columns = {**episode.columns, "joint_velocity": np.full_like(episode.columns["joint_velocity"], np.nan)}
        store.append(Episode(episode.metadata, columns))
        expected = (DatasetError, "episode 4: 'joint_velocity' is not finite")
    elif failure == "full":

        def full(path: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(export_module, "sync_folder", full)
        expected = (DatasetError, "the disk is full; nothing is left of it")
    else:

        def stop(number: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            export(store, tmp_path / "out", "lerobot", progress=stop)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
        return
    with pytest.raises(expected[0], match=expected[1]):
        export(store, tmp_path / "out", "lerobot")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize("format", formats())
def test_an_episode_that_is_asked_for_twice_is_there_once(tmp_path: Path, format: str) -> None:
    store = fake_env.record(tmp_path / "data", range(3))
    report = export(store, tmp_path / "out-v0", format, episodes=[2, 0, 2])
    assert report.episodes == 2 and report.frames in (60, 62)


def test_what_a_killed_export_left_is_removed(tmp_path: Path) -> None:
    store = fake_env.record(tmp_path / "data", [0])
    (tmp_path / ".out.tmp-999999999-deadbeef" / "meta").mkdir(parents=True)
    mine = tmp_path / ".outer.tmp-999999999-deadbeef"
    mine.mkdir()
    export(store, tmp_path / "out", "lerobot")
    assert sorted(p.name for p in tmp_path.iterdir()) == [mine.name, "data", "out"]


def test_odd_rates_and_partial_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fake_env.record(tmp_path / "data", [0, 2])
    partial = store.read(0).metadata.model_copy(update={"truncated": False})
    store.append(Episode(partial, store.read(0).columns))
    report = export(store, tmp_path / "out", "lerobot")
    assert report.episodes == 2 and report.skipped == ("episode 2: was cut off before its end",)
    with pytest.raises(DatasetError, match="no complete episode to export; 1 were cut off"):
        export(store, tmp_path / "none", "lerobot", episodes=[2])
    monkeypatch.setattr(fake_env.FakeEnv, "describe", _odd(fake_env.FakeEnv.describe))
    with pytest.raises(DatasetError, match=r"control_rate = 33\.3333 Hz; LeRobot holds whole frames a second only"):
        export(fake_env.record(tmp_path / "odd", [0]), tmp_path / "odd_out", "lerobot")


def _odd(real: Any) -> Any:
    return lambda self: {**real(self), "control_rate": 100 / 3}


def test_statistics_merge_exactly() -> None:
    generator = np.random.default_rng(0)
    parts = [generator.normal(3, size=(n, 2)) * 10.0**k for k, n in enumerate((1, 7, 50))]
    whole = np.concatenate(parts)
    merged = merge([merge([statistics(p) for p in parts[:2]]), statistics(parts[2])], whole)
    assert merged.count == 58 and np.array_equal(merged.min, whole.min(axis=0))
    assert np.allclose(merged.mean, whole.mean(axis=0), rtol=1e-12)
    assert np.allclose(merged.std, whole.std(axis=0), rtol=1e-12)
    assert all(np.array_equal(merged.quantiles[k], v) for k, v in quantiles(whole).items())

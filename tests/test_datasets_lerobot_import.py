"""LeRobot datasets imported: our own exports as far as LeRobot held them, those of others, and hostile ones."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from format_files import record_all

from training_ground.configs.errors import DatasetError
from training_ground.datasets.export import export
from training_ground.datasets.importing import import_
from training_ground.datasets.store import Store

CAMERA = "observation.images.camera_head"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    folder = tmp_path_factory.mktemp("lerobot")
    store = record_all(folder / "data", range(3))
    export(store, folder / "out", "lerobot")
    return store, folder / "out"


def rewrite(path: Path, **columns: Any) -> None:
    """Write a table again, with some columns other or, where None, gone; statistics are not needed."""
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.remove_column(at) if values is None else table.set_column(at, name, pa.array(values))
    pq.write_table(table, path)


def info(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads((path / "meta/info.json").read_text())
    change(data)
    (path / "meta/info.json").write_text(json.dumps(data))


def theirs(source: Path, folder: Path) -> Path:
    """Make of an export a dataset that does not say whose it is."""
    shutil.copytree(source, folder)
    (folder / "meta/training_ground.json").unlink()
    return folder


# ---- what comes back -------------------------------------------------------------------------------------------------


def test_our_own_come_back_as_far_as_lerobot_held_them(exported: tuple[Store, Path], tmp_path: Path) -> None:
    store, path = exported
    report = import_(path, "lerobot", tmp_path / "back")
    back = Store.open(tmp_path / "back")
    assert back.verify().ok and (report.episodes, report.frames) == (3, 75)
    assert [c.model_copy(update={"storage": None}) for c in back.schema.channels] == [
        c.model_copy(update={"storage": None}) for c in store.schema.channels
    ]
    for number in store.episodes():
        old, new = store.read(number), back.read(number)
        before = {c.name for c in store.schema.channels if c.role in ("observation", "state", "action")}
        for name in before:
            wanted = old.columns[name][:-1]
            if name == "wide":
                wanted = wanted.astype("f4").astype("f8")  # what goes into observation.state is float32 there
            assert np.array_equal(new.columns[name][:-1], wanted), name
            assert new.columns[name].dtype == old.columns[name].dtype
        for name in ("reward_upright", "success", "done"):
            assert np.array_equal(new.columns[name][1:], old.columns[name][1:]), name
        assert np.array_equal(new.columns["base_pose"][-1], new.columns["base_pose"][-2])
        assert not new.columns["action"][-1].any() and not new.columns["success"][0]
        assert np.array_equal(new.columns["reward"][1:], old.columns["reward"][1:].astype("f4"))
        assert new.columns["phase"].tolist()[1:-1] == old.columns["phase"].tolist()[1:-1]
        assert np.array_equal(new.columns["timestamp_ns"], old.columns["timestamp_ns"])
        away = np.abs(new.columns["camera_head"][:-1].astype(int) - old.columns["camera_head"][:-1])
        assert away.mean() < 4, "pictures have gone through a lossy video once"
        for key in ("seed", "success", "failure", "kwargs", "randomisation", "policy", "terminated", "truncated"):
            assert getattr(new.metadata, key) == getattr(old.metadata, key), key
        assert new.metadata.env_id == "imported:lerobot" and new.metadata.imported is not None
        assert new.metadata.imported.episode == f"episode_{number}"
        assert new.metadata.imported.sha256 == report.sha256
    text = "\n".join(report.losses)
    for part in (
        "row after the last step",
        "statistics",
        "float64",
        "no value at the reset",
        "pictures: as they decode",
    ):
        assert part in text


def test_what_was_appended_to_an_export_comes_along(exported: tuple[Store, Path], tmp_path: Path) -> None:
    shutil.copytree(exported[1], tmp_path / "in")
    table = tmp_path / "in/meta/episodes/chunk-000/file-000.parquet"
    own = pq.read_table(table).column("training_ground/metadata").to_pylist()
    rewrite(table, **{"training_ground/metadata": [*own[:2], None]})
    report = import_(tmp_path / "in", "lerobot", tmp_path / "out")
    metadata = Store.open(tmp_path / "out").metadata(2)
    assert (metadata.seed, metadata.policy.name, metadata.truncated) == (2, "unknown", True)
    assert "1 episodes that were added to the export" in "\n".join(report.losses)


def test_datasets_of_others_are_read_by_their_names(exported: tuple[Store, Path], tmp_path: Path) -> None:
    source = theirs(exported[1], tmp_path / "in")
    info(source, lambda data: data["features"].update({"language": {"dtype": "string", "shape": [1], "names": None}}))
    report = import_(source, "lerobot", tmp_path / "out")
    store = Store.open(tmp_path / "out")
    assert store.verify().ok and store.schema.robot == "fake" and store.schema.control_rate == 50
    found = {c.name: (c.role, c.dtype, c.shape, c.unit) for c in store.schema.channels}
    assert found["action"] == ("action", "float32", (3,), "unknown")
    assert found["observation.state"] == ("observation", "float32", (8,), "unknown")
    assert found["state.base_pose"] == ("state", "float64", (4,), "unknown")
    assert found["state.counter"] == ("state", "int64", (), "unknown")
    assert found["next.success"] == ("event", "bool", (), "unknown") and "next.reward" not in found
    assert found[CAMERA] == ("picture", "uint8", (16, 20, 3), "unknown")
    first, episode = exported[0].read(0), store.read(0)
    assert np.array_equal(episode.columns["action"], first.columns["action"])
    assert np.array_equal(episode.columns["reward"][1:], first.columns["reward"][1:].astype("f4"))
    assert episode.metadata.instruction == "Keep three joints at zero." and episode.metadata.success is True
    assert (episode.metadata.terminated, episode.metadata.truncated) == (False, True)
    assert store.schema.environment["imported"]["metadata"]["robot_type"] == "fake"
    text = "\n".join(report.losses)
    for part in ("units and frames", "it counts as truncated", "'language': is of type 'string'", "own number"[4:]):
        assert part in text


def test_pictures_in_parquet_and_nested_lists_are_read(exported: tuple[Store, Path], tmp_path: Path) -> None:
    from PIL import Image

    source = theirs(exported[1], tmp_path / "in")
    data = source / "data/chunk-000/file-000.parquet"
    random = np.random.default_rng(0)
    shown = random.integers(0, 256, (75, 6, 8, 3), np.uint8)
    nested = random.normal(size=(75, 2, 2))

    def png(picture: Any) -> dict[str, Any]:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": "/etc/hostname"}

    table = pq.read_table(data)
    table = table.append_column("observation.images.still", pa.array([png(picture) for picture in shown]))
    table = table.append_column("observation.matrix", pa.array(nested.tolist()))
    pq.write_table(table, data)
    still = {"dtype": "image", "shape": [3, 6, 8], "names": ["channels", "height", "width"]}
    matrix = {"dtype": "float64", "shape": [2, 2], "names": None}
    info(source, lambda d: d["features"].update({"observation.images.still": still, "observation.matrix": matrix}))
    import_(source, "lerobot", tmp_path / "out")
    columns = Store.open(tmp_path / "out").read(1).columns
    assert np.array_equal(columns["observation.images.still"][:-1], shown[30:45])
    assert np.array_equal(columns["observation.matrix"][:-1], nested[30:45])


def test_times_that_are_not_even_are_kept_and_those_that_do_not_rise_are_not(
    exported: tuple[Store, Path], tmp_path: Path
) -> None:
    source = theirs(exported[1], tmp_path / "in")
    times = np.concatenate([np.arange(30) / 50 + 1.5, np.zeros(15), np.arange(30) / 50]).astype("f4")
    rewrite(source / "data/chunk-000/file-000.parquet", timestamp=times)
    report = import_(source, "lerobot", tmp_path / "out")
    store = Store.open(tmp_path / "out")
    assert store.read(0).columns["timestamp_ns"][:2].tolist() == [1_500_000_000, 1_519_999_981]
    assert store.read(1).columns["timestamp_ns"][:2].tolist() == [0, 20_000_000]
    text = "\n".join(report.losses)
    assert "1 episodes have times that are not" in text and "1 episodes have times that do not rise" in text


# ---- what is refused -------------------------------------------------------------------------------------------------

EPISODES, DATA, TASKS = (
    "meta/episodes/chunk-000/file-000.parquet",
    "data/chunk-000/file-000.parquet",
    "meta/tasks.parquet",
)
VIDEO = f"videos/{CAMERA}/chunk-000/file-000.mp4"


def set_info(**values: Any) -> Callable[[Path], None]:
    return lambda path: info(path, lambda data: data.update(values))


def set_feature(key: str, **values: Any) -> Callable[[Path], None]:
    return lambda path: info(path, lambda data: data["features"][key].update(values))


def table(name: str, **columns: Any) -> Callable[[Path], None]:
    return lambda path: rewrite(path / name, **columns)


def numbers(name: str, column: str, at: int, value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        values = pq.read_table(path / name).column(column).to_pylist()
        values[at] = value
        rewrite(path / name, **{column: values})

    return change


def moved(name: str) -> Callable[[Path], None]:
    """Put a link in the place of a file or folder."""

    def change(path: Path) -> None:
        (path / name).rename(path / "elsewhere")
        (path / name).symlink_to(path / "elsewhere")

    return change


def other_key(path: Path) -> None:
    info(path, lambda data: data["features"].update({"../../x": data["features"].pop(CAMERA)}))


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "old version": (set_info(codebase_version="v2.1"), "codebase_version = 'v2.1', only 'v3.0' is read"),
    "path outside": (set_info(data_path="/tmp/{chunk_index}.parquet"), "data_path = '/tmp"),
    "video outside": (set_info(video_path="../{video_key}.mp4"), "video_path = '../"),
    "key outside": (other_key, r"feature '../../x': a name has letters"),
    "no fps": (set_info(fps=0), "fps = 0, must be a number above 0"),
    "endless shape": (set_feature("action", shape=[10**9]), "must be a list of up to 4 lengths"),
    "huge sample": (set_feature("action", shape=[100_000, 100_000]), "larger than 67108864 bytes"),
    "other shape": (set_feature("action", shape=[4]), "has lists of \\[3\\], must be of 4"),
    "other type": (set_feature("action", dtype="float64"), "holds float, must be float64"),
    "no action": (lambda path: info(path, lambda data: data["features"].pop("action")), "has no feature 'action'"),
    "huge picture": (set_feature(CAMERA, shape=[4000, 4000, 3]), "is 20 × 16, info.json says 4000 × 4000"),
    "episode twice": (numbers(EPISODES, "episode_index", 1, 0), "episode 0 stands where 1 should"),
    "too long": (numbers(EPISODES, "length", 1, 16), "has 75 rows, meta/episodes says 76"),
    "no step": (numbers(EPISODES, "length", 1, 0), "length = 0, must be from 1"),
    "chunk below 0": (numbers(EPISODES, "data/chunk_index", 0, -1), "must be 0 or more"),
    "time not a number": (
        numbers(EPISODES, f"videos/{CAMERA}/from_timestamp", 0, float("nan")),
        "from_timestamp' = nan, must be a time",
    ),
    "time beyond": (numbers(EPISODES, f"videos/{CAMERA}/from_timestamp", 2, 99.0), "ends before 99.000 s"),
    "frames out of order": (numbers(DATA, "frame_index", 3, 9), "are not those of its 30 frames in order"),
    "another episode's": (numbers(DATA, "episode_index", 31, 2), "are not those of its 15 frames in order"),
    "unknown task": (numbers(DATA, "task_index", 0, 7), "task_index: 1 are named"),
    "unknown phase": (numbers(DATA, "subtask_index", 0, -1), "subtask_index: 2 are named"),
    "task twice": (table(TASKS, task_index=[4]), "must have each number from 0 on once"),
    "missing value": (numbers(DATA, "next.reward", 5, None), "has values missing"),
    "missing column": (table(DATA, action=None), "has no column 'action'"),
    "lists of other lengths": (numbers(DATA, "action", 0, [0.0] * 5), "has lists of"),
    "linked file": (moved(DATA), "is a symbolic link"),
    "linked folder": (moved("data"), "data: is a symbolic link"),
    "linked episodes": (moved("meta/episodes"), "is a symbolic link"),
    "linked video": (moved(VIDEO), "is a symbolic link"),
    "playlist": (lambda path: (path / VIDEO).write_bytes(b"#EXTM3U\n/etc/hostname\n"), "cannot be decoded"),
    "no Parquet": (lambda path: (path / DATA).write_bytes(b"PAR1" + b"\xff" * 20 + b"PAR1"), "no Parquet file"),
    "cut short": (lambda path: (path / DATA).write_bytes((path / DATA).read_bytes()[:-9]), "no Parquet file"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_hostile_or_damaged_is_refused(exported: tuple[Store, Path], tmp_path: Path, case: str) -> None:
    change, message = BAD[case]
    source = theirs(exported[1], tmp_path / "in")
    change(source)
    with pytest.raises(DatasetError, match=message):
        import_(source, "lerobot", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_a_schema_that_does_not_fit_its_features_is_refused(exported: tuple[Store, Path], tmp_path: Path) -> None:
    shutil.copytree(exported[1], tmp_path / "in")
    info(tmp_path / "in", lambda data: data["features"].pop("state.counter"))
    with pytest.raises(
        DatasetError, match=r"does not fit the meta/training_ground.json.*'state.counter' must be 1 int64"
    ):
        import_(tmp_path / "in", "lerobot", tmp_path / "out")

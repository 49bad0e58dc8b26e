"""The training view: its values are those of the episodes, it follows the store, and it believes no file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets import arrays, npy
from training_ground.datasets.array_build import refresh
from training_ground.datasets.arrays import View
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.scaling import Scaling
from training_ground.datasets.statistics import statistics
from training_ground.datasets.store import Store


def add(store: Store, seeds: range, steps: int = 12) -> None:
    recorder = Recorder(fake_env.FakeEnv(steps=steps), store, policy="random")
    fake_env.play(recorder, seeds)


def make(path: Path, seeds: range = range(4)) -> Store:
    """Episodes of 12 steps, and of 6 where the seed is odd."""
    store = Store.create(path, make_schema(fake_env.FakeEnv()))
    add(store, seeds)
    return store


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "data"
    refresh(make(path))
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Store:
    shutil.copytree(template, tmp_path / "data", symlinks=True)
    return Store.open(tmp_path / "data")


def test_a_header_is_what_numpy_writes(tmp_path: Path) -> None:
    for values in (np.zeros((7, 2, 3), np.float32), np.zeros(5, bool), np.zeros((123456, 1), np.int64), np.zeros(2)):
        np.save(tmp_path / "x.npy", values)
        assert npy.header(values.dtype.name, values.shape) == (tmp_path / "x.npy").read_bytes()[: -values.nbytes]


def test_values_are_those_of_the_episodes(store: Store) -> None:
    view = refresh(store)
    assert view.starts.tolist() == [0, 13, 20, 33, 40] and set(view.columns) == set(store.schema.columns())
    for position, episode in enumerate(store):
        for name, values in episode.columns.items():
            found = view.episode(name, position)
            if name == "phase":
                found = np.array([view.manifest.phases[i] for i in found], object)
            assert found.dtype == values.dtype and np.array_equal(found, values), name
            assert np.array_equal(np.load(view.file(name))[view.starts[position]], view.episode(name, position)[0])
    assert view.manifest.success == (True, False, True, False) and view.manifest.seed == (0, 1, 2, 3)
    with pytest.raises(ValueError, match="read-only"):
        view.columns["action"][0] = 1


def test_only_new_episodes_are_decoded_and_old_views_go_unless_they_are_open(store: Store) -> None:
    before = refresh(store)
    add(store, range(4, 6))
    decoded: list[int] = []
    after = refresh(store, progress=decoded.append)
    assert decoded == [4, 5] and len(after) == 6 and after.verify(store) == []
    assert before.path.exists() and before.verify(store) == []
    fresh = refresh(store, folder=store.path.parent / "elsewhere")
    assert fresh.manifest.columns == after.manifest.columns and fresh.manifest.statistics == after.manifest.statistics
    open_path = before.path
    del before
    add(store, range(6, 7))
    refresh(store)
    assert not open_path.exists() and after.path.exists() and after.columns["action"].shape[0] == 60


def test_a_view_that_is_current_is_opened_without_looking_into_episodes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = refresh(store).path
    monkeypatch.setattr(Store, "metadata", None)
    monkeypatch.setattr(Store, "read", None)
    assert refresh(store).path == path


def test_an_episode_that_is_gone_or_another_one_is_noticed(store: Store) -> None:
    old = refresh(store)
    store.file(1).unlink()
    without = refresh(store)
    assert without.numbers.tolist() == [0, 2, 3] and without.verify(store) == []
    store.file(3).unlink()
    add(store, range(8, 9))  # takes number 3 again
    assert "episode 3 is another one" in str(without.verify(store))
    again = refresh(store)
    assert again.manifest.seed == (0, 2, 8) and again.verify(store) == []
    assert "there is no episode 1" in str(old.verify(store))


def test_a_choice_of_columns_and_episodes_is_a_view_of_its_own(store: Store) -> None:
    view = refresh(store, ["action", "phase"], [2, 0])
    assert list(view.columns) == ["phase", "action"] and view.numbers.tolist() == [0, 2]
    assert view.path != refresh(store).path and refresh(store, ["action", "phase"], [0, 2]).path == view.path
    with pytest.raises(DatasetError, match="there is no episode 1 in this view"):
        view.positions([0, 1])
    with pytest.raises(DatasetError, match=r"unknown column 'joint_positio'.*did you mean 'joint_position'"):
        refresh(store, ["joint_positio"])
    with pytest.raises(DatasetError, match="there is no episode 9"):
        refresh(store, episodes=[9])
    with pytest.raises(DatasetError, match="no episode to make"):
        refresh(Store.create(store.path.parent / "empty", store.schema))


def test_statistics_are_those_of_the_rows_that_have_a_value(store: Store) -> None:
    view = refresh(store)
    for name, numbers in (("action", None), ("joint_position", [0, 3]), ("reward", [1]), ("base_pose", [2, 1])):
        chosen = range(4) if numbers is None else numbers
        parts = [store.read(number).columns[name] for number in chosen]
        parts = [p[:-1] if name == "action" else p[1:] if name == "reward" else p for p in parts]
        rows = np.concatenate(parts).reshape(sum(map(len, parts)), -1)
        found, expected = view.statistics(name, numbers), statistics(rows)
        assert found.count == expected.count == len(rows)
        for field in ("min", "max", "mean", "std"):
            assert np.allclose(getattr(found, field), getattr(expected, field), rtol=1e-12, atol=1e-15), (name, field)
        assert np.array_equal(found.quantiles["q10"], expected.quantiles["q10"])


def test_scaling_there_and_back() -> None:
    rows = np.random.default_rng(0).normal(3, 2, (500, 4))
    rows[:, 1] = 0.1
    found = statistics(rows)
    standard = Scaling.standard(found).apply(rows)
    assert np.allclose(standard[:, [0, 2, 3]].mean(0), 0, atol=1e-6) and np.allclose(standard[:, 0].std(), 1, atol=1e-6)
    assert np.abs(standard[:, 1]).max() < 1e-6, "a component that never changes is 0"
    limits = Scaling.range(found).apply(rows)
    assert limits[:, 0].min() == pytest.approx(-1) and limits[:, 0].max() == pytest.approx(1)
    assert 0.97 < (np.abs(Scaling.quantiles(found).apply(rows)[:, 0]) <= 1).mean() < 0.99
    for scaling in (Scaling.standard(found), Scaling.range(found)):
        shaped = rows.reshape(100, 5, 2, 2)
        assert np.allclose(scaling.undo(scaling.apply(shaped)), shaped, atol=1e-6)


# ---- suspicion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "grown", "header", "link", "fifo", "missing"])
def test_a_file_that_is_not_as_described_is_refused_and_made_again(store: Store, damage: str) -> None:
    import os

    view = refresh(store)
    path, folder = view.file("action"), view.path
    raw = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(raw[:-1])
    elif damage == "grown":
        path.write_bytes(raw + b"\0")
    elif damage == "header":
        path.write_bytes(raw.replace(b"<f4", b"|O4", 1))
    elif damage == "link":
        (folder.parent / "target").write_bytes(raw)
        path.symlink_to(folder.parent / "target")
    elif damage == "fifo":
        os.mkfifo(path)
    del view
    with pytest.raises(DatasetError, match=r"action\.npy"):
        View.open(folder)
    assert refresh(store).verify(store) == []


def test_a_bit_that_flipped_is_found_and_never_carried_over(store: Store) -> None:
    view = refresh(store)
    with view.file("joint_position").open("r+b") as stream:
        stream.seek(-5, 2)
        stream.write(b"\x7f")
    problems = view.verify(store)
    assert len(problems) == 2 and "is damaged" in problems[0] and "differs from episode 3" in problems[1]
    add(store, range(4, 5))
    decoded: list[int] = []
    assert refresh(store, progress=decoded.append).verify(store) == [] and decoded == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "arrow"}, "delete the view"),
        ({"version": 2}, "delete the view"),
        ({"rows": [13, 7, 13, 10**15]}, "rows.3"),
        ({"rows": [13, 7, 13]}, "one entry an episode"),
        ({"rows": [13, 7, 13, 99_000_000]}, "must be an array"),
        ({"columns": {"../../../etc/passwd": "ab" * 32}}, "etc/passwd"),
        ({"columns": {"secret": "ab" * 32}}, "does not have: secret"),
        ({"instruction": [0, 0, 0, 5]}, "instruction 5"),
        ({"surprise": 1}, "unknown key 'surprise'"),
    ],
)
def test_a_manifest_that_lies_is_refused(store: Store, change: dict[str, Any], message: str) -> None:
    path = refresh(store).path / arrays.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DatasetError, match=message):
        View.open(path.parent)


def test_mutated_manifests_and_arrays_raise_nothing_else(store: Store) -> None:
    folder = refresh(store).path
    generator = np.random.default_rng(0)
    files = [folder / arrays.MANIFEST, folder / "columns" / "action.npy", folder / "statistics" / "action.npy"]
    originals, refused = [path.read_bytes() for path in files], 0
    for trial in range(300):
        path, raw = files[trial % 3], bytearray(originals[trial % 3])
        at = int(generator.integers(len(raw) if trial % 3 == 0 else 200))
        raw[at : at + int(generator.integers(3))] = generator.bytes(int(generator.integers(3)))
        path.write_bytes(raw)
        try:
            view = View.open(folder)
            view.statistics("action")
            refused += bool(view.verify())
        except DatasetError:
            refused += 1
        path.write_bytes(originals[trial % 3])
    assert refused > 150
    assert View.open(folder).verify(store) == []


def test_a_build_that_dies_leaves_nothing_that_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, range(4, 6))

    def stop(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(store, progress=stop)
    assert len(list((store.path / "arrays").iterdir())) == 1
    (store.path / "arrays" / ".tmp-dead-123" / "columns").mkdir(parents=True)  # what a SIGKILL leaves
    assert len(refresh(store)) == 6
    assert not list((store.path / "arrays").glob(".tmp*"))


def test_the_verb_makes_refreshes_and_verifies(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    add(store, range(4, 5))
    assert main(["data", "arrays", str(store.path), "--verify", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (
        data["decoded"] == 1
        and data["episodes"] == 5
        and data["verified"]
        and data["columns"]["action"]
        == [
            "float32",
            3,
        ]
    )
    with (Path(data["path"]) / "columns" / "action.npy").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x55")
    assert main(["data", "arrays", str(store.path), "--verify"]) == 1
    said = capsys.readouterr().out
    assert "is damaged" in said and "problems" in said
    assert main(["data", "arrays", str(store.path), "--column", "actoin"]) == 2
    assert "did you mean 'action'" in capsys.readouterr().err


def test_extend_writes_in_order_and_keeps_what_came_before_an_error(store: Store) -> None:
    episodes = [store.read(number) for number in (0, 1, 2)]
    assert store.extend(iter(episodes)) == [4, 5, 6]
    assert [store.metadata(n).content_sha256 for n in (4, 5, 6)] == [e.metadata.content_sha256 for e in episodes]
    broken = {**episodes[1].columns, "action": episodes[1].columns["action"][:-1]}
    bad = type(episodes[1])(episodes[1].metadata, broken)
    with pytest.raises(DatasetError, match="column 'action'"):
        store.extend([episodes[0], bad, episodes[2]])
    assert store.episodes() == list(range(8)) and store.verify().ok

    def interrupted() -> Iterator[Episode]:
        yield from episodes
        raise DatasetError("no more")

    with pytest.raises(DatasetError, match="no more"):
        store.extend(interrupted())
    assert store.episodes() == list(range(11)) and store.verify().ok

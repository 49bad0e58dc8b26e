"""Windows: the right rows, never those of another episode, never an action that was not taken; and real DataLoaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest

from training_ground.configs.errors import DatasetError
from training_ground.datasets.array_build import refresh
from training_ground.datasets.arrays import View
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.scaling import Scaling
from training_ground.datasets.store import Store
from training_ground.datasets.windows import Batches, Windows, balanced, from_seconds

LENGTHS = [12, 6, 12, 6]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    env = fake_env.FakeEnv(steps=12)
    store = Store.create(tmp_path_factory.mktemp("windows") / "data", make_schema(env))
    recorder = Recorder(env, store)
    fake_env.play(recorder, range(4))
    return store


@pytest.fixture(scope="module")
def view(store: Store) -> View:
    return refresh(store)


def expected(store: Store, name: str, number: int, row: int, offsets: Any) -> tuple[Any, list[bool]]:
    """Written apart from the code: row by row, from the episode itself."""
    episode = store.read(number)
    first, last = {"action": (0, episode.length - 1), "reward": (1, episode.length)}.get(name, (0, episode.length))
    values, padded = [], []
    for offset in offsets:
        wanted = row + offset
        there = min(max(wanted, first), last)
        values.append(episode.columns[name][there])
        padded.append(there != wanted)
    return np.array(values), padded


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("every", [1, 5])
def test_every_window_is_what_the_episode_holds(store: Store, view: View, padding: bool, every: int) -> None:
    offsets = {"joint_position": (-3, -1, 0), "action": range(0, 6, 2), "reward": (0, 1), "counter": (0, 3)}
    windows = Windows(view, offsets, padding=padding, every=every)
    batch = windows[np.arange(len(windows))]
    anchors = []
    for index in range(len(windows)):
        one = windows[index]
        number, row = int(one["episode"]), int(one["row"])
        anchors.append((number, row))
        for name, wanted in offsets.items():
            values, padded = expected(store, name, number, row, wanted)
            assert np.array_equal(one[name], values) and one[f"{name}_is_pad"].tolist() == padded, (name, number, row)
            assert np.array_equal(batch[name][index], values)
            assert padding or not any(padded)
    first, last = (0, 0) if padding else (3, 4)
    assert anchors == [(n, row) for n, length in enumerate(LENGTHS) for row in range(first, length - last, every)]
    assert windows.counts.sum() == len(anchors) and len(windows) == len(anchors)


def test_the_action_that_was_never_taken_is_never_given(store: Store, view: View) -> None:
    windows = Windows(view, {"action": range(-20, 40), "joint_position": 1, "is_last": 1})
    batch = windows[range(len(windows))]
    assert (batch["action"] != 0).all(), "only the row behind the last action is zero"
    assert batch["joint_position"].shape == (36, 3), "a single offset has no time axis"
    assert batch["is_last"].sum() == 4 and not batch["joint_position_is_pad"].any(), "the last state is a next one"


def test_windows_of_some_episodes_stay_in_them(view: View) -> None:
    windows = Windows(view, {"joint_position": (-30, 0, 30)}, episodes=[3, 1])
    assert windows.episode_numbers().tolist() == [3, 1] and len(windows) == 12
    everything = windows[np.arange(12)]
    assert set(everything["episode"].tolist()) == {1, 3}
    owned = np.concatenate([view.episode("joint_position", 1), view.episode("joint_position", 3)])
    assert np.isin(everything["joint_position"], owned).all()
    assert Windows(view, {"counter": (0, 10)}, padding=False).counts.tolist() == [3, 0, 3, 0]


def test_scaling_is_applied_and_only_where_asked(view: View) -> None:
    scaling = {"action": Scaling.standard(view.statistics("action", [0, 1]))}
    windows = Windows(view, {"action": (0, 1), "base_pose": (0,)}, scaling=scaling, episodes=[0, 1], padding=False)
    batch, raw = windows[range(16)], Windows(view, {"action": (0, 1)}, episodes=[0, 1], padding=False)[range(16)]
    assert batch["action"].dtype == np.float32 and batch["base_pose"].dtype == np.float64
    assert np.allclose(scaling["action"].undo(batch["action"]), raw["action"], atol=1e-6)


def test_mistakes_are_named(view: View) -> None:
    wrong: list[tuple[Any, str]] = [
        ({}, "at least one column"),
        ({"acton": 0}, "did you mean 'action'"),
        ({"action": ()}, "offsets of 'action'"),
        ({"action": (1, 1)}, "must increase"),
        ({"action": (0.5,)}, "whole number"),
        ({"action": 10**9}, "within"),
    ]
    for offsets, message in wrong:
        with pytest.raises(DatasetError, match=message):
            Windows(view, offsets)
    with pytest.raises(DatasetError, match=r"no window: the longest of 4 episodes has 13 rows"):
        Windows(view, {"action": range(20)}, padding=False)
    with pytest.raises(DatasetError, match="episode 9"):
        Windows(view, {"action": 0}, episodes=[9])
    for ask in (lambda: Windows(view, {"action": 0}, episodes=[]), lambda: view.statistics("action", [])):
        with pytest.raises(DatasetError, match="no episode was chosen"):
            ask()
    with pytest.raises(DatasetError, match="has 3 components, the column has 4"):
        Windows(view, {"base_pose": 0}, scaling={"base_pose": Scaling(np.zeros(3), np.ones(3))})
    windows = Windows(view, {"action": 0})
    assert np.array_equal(windows[-1]["action"], windows[35]["action"])
    for index in (36, -37, [0, 36]):
        with pytest.raises(IndexError):
            windows[index]
    for weights in ([1, 1], [1, -1, 1, 1], [0, 0, 0, 0], [1, float("nan"), 1, 1]):
        with pytest.raises(DatasetError, match="weights"):
            Batches(windows, 4, weights=weights)


def test_seconds_are_rows() -> None:
    assert from_seconds({"a": [-0.04, 0.0, 0.02], "b": [0.1]}, 50.0) == {"a": (-2, 0, 1), "b": (5,)}
    with pytest.raises(DatasetError, match=r"column 'a': 0\.03 s is no whole number of rows at 50 Hz"):
        from_seconds({"a": [0.0, 0.03]}, 50.0)


def test_the_order_is_that_of_the_seed_and_every_window_comes_once(view: View) -> None:
    windows = Windows(view, {"action": 0})

    def epochs(seed: int, count: int = 2) -> list[list[int]]:
        batches = Batches(windows, 7, seed=seed)
        return [[int(i) for batch in batches for i in batch] for _ in range(count)]

    first, second = epochs(3)
    assert sorted(first) == sorted(second) == list(range(36)) and first != second
    assert epochs(3) == [first, second] and epochs(4)[0] != first
    assert len(Batches(windows, 7)) == 6 == len(list(Batches(windows, 7)))
    assert np.concatenate(list(Batches(windows, 7, shuffle=False))).tolist() == list(range(36))


@pytest.mark.parametrize(
    ("weights", "share"),
    [(None, [1 / 3, 1 / 6, 1 / 3, 1 / 6]), (np.ones(4), [0.25] * 4), ([0, 3, 0, 1], [0, 0.75, 0, 0.25])],
)
def test_weights_are_the_shares_of_the_episodes(view: View, weights: Any, share: list[float]) -> None:
    windows = Windows(view, {"action": 0})
    batches = Batches(windows, 36, weights=weights)
    drawn = np.concatenate([indices for _ in range(200) for indices in batches])
    found = windows[drawn]["episode"]
    counts = np.bincount(found, minlength=4) / len(found)
    assert np.abs(counts - share).max() < (0.03 if weights is not None else 1e-9)
    if weights is None:
        return
    rows = windows[drawn]["row"][found == 1]
    assert set(rows.tolist()) == set(range(6)) and np.abs(np.bincount(rows) / len(rows) - 1 / 6).max() < 0.05


def test_labels_are_balanced(view: View) -> None:
    weights = balanced(["fall", None, "fall", "fall"])
    assert weights.tolist() == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])


# ---- PyTorch's own DataLoader ----------------------------------------------------------------------------------------


def same(batch: Any, windows: Windows, indices: Any) -> None:
    for name, values in windows[indices].items():
        assert np.array_equal(batch[name].numpy(), values), name


def test_a_data_loader_takes_batches_and_single_windows(view: View) -> None:
    data = pytest.importorskip("torch.utils.data")
    windows = Windows(view, {"joint_position": (-1, 0), "action": range(4), "phase": 0, "contact": 0})
    order = list(Batches(windows, 8, seed=5))
    for batch, indices in zip(
        data.DataLoader(windows, sampler=Batches(windows, 8, seed=5), batch_size=None), order, strict=True
    ):
        same(batch, windows, indices)
    for number, batch in enumerate(data.DataLoader(windows, batch_size=8)):  # torch's own batches, through __getitems__
        same(batch, windows, range(number * 8, min(number * 8 + 8, 36)))


def check_workers(view: View, start: str) -> None:
    data = pytest.importorskip("torch.utils.data")
    windows = Windows(view, {"joint_position": (-1, 0), "action": range(4)})
    loader: Any = data.DataLoader(
        windows,
        sampler=Batches(windows, 8, seed=5),
        batch_size=None,
        num_workers=2,
        multiprocessing_context=start,
        persistent_workers=True,
    )
    order = Batches(windows, 8, seed=5)
    for _ in range(2):
        for batch, indices in zip(loader, list(order), strict=True):
            same(batch, windows, indices)


def test_workers_that_are_forked_give_the_same(view: View) -> None:
    check_workers(view, "fork")


@pytest.mark.slow
def test_workers_that_are_spawned_map_the_files_themselves(view: View) -> None:
    check_workers(view, "spawn")


def test_a_worker_is_sent_a_path_and_no_values(view: View) -> None:
    from multiprocessing.reduction import ForkingPickler

    windows = Windows(view, {"joint_position": (-1, 0), "action": range(4)})
    sent = bytes(ForkingPickler.dumps(windows))
    assert str(view.path).encode() in sent and view.columns["joint_position"][:4].tobytes() not in sent


def test_the_page_of_the_documentation_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python blocks of docs/data_training.md, in order, on a small store."""
    import runpy

    import gymnasium
    import torch

    page = (Path(__file__).parent.parent / "docs" / "data_training.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in page.split("```python\n")[1:]]
    assert len(blocks) == 6
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gymnasium, "make", lambda name, **options: fake_env.FakeEnv(steps=20))

    def vector(makers: Any) -> gymnasium.vector.SyncVectorEnv:
        envs = gymnasium.vector.SyncVectorEnv(makers)
        envs.action_space.seed(0)  # its actions are noise, and of some noise a network learns less in 20 epochs
        return envs

    monkeypatch.setattr(gymnasium.vector, "AsyncVectorEnv", vector)
    torch.manual_seed(0)
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "page.py"))
    assert names["loss"] < names["first_loss"]

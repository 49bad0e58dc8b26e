"""Recorder and replay: what is written is what happened, and happens again."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import fake_env
import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import FIRST_CAPACITY, EpisodeBuffer, Recorder
from training_ground.datasets.replay import Replayer, compare, replay
from training_ground.datasets.store import Store


def play(recorder: gymnasium.Env[Any, Any], seed: int | None, steps: int | None = None) -> int:
    recorder.reset(seed=seed)
    generator = np.random.default_rng(seed)
    count, done = 0, False
    while not done and count != steps:
        action = generator.uniform(-1.5, 1.5, 3).astype(np.float32)
        _, _, terminated, truncated, _ = recorder.step(action)
        count, done = count + 1, terminated or truncated
    return count


class RawEnv(fake_env.FakeEnv):
    """Leaves the joints to `expand`, as the environments with robots leave what they observe."""

    expanded = 0

    def raw_frame(self) -> dict[str, Any]:
        values: dict[str, Any] = self.frame()
        del values["joint_position"], values["joint_velocity"]
        return {**values, "_joints": (*self.position, *self.velocity)}

    def expand(self, raw: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.expanded += 1
        joints = raw["_joints"]
        return {"joint_position": joints[:, :3], "joint_velocity": joints[:, 3:]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "data", make_schema(fake_env.FakeEnv()))


def test_rows_hold_what_happened_when_it_happened(store: Store) -> None:
    env = fake_env.FakeEnv(steps=5)
    recorder = Recorder(env, store, policy="test")
    recorder.reset(seed=2)
    frames, actions = [env.frame()], []
    generator = np.random.default_rng(0)
    for _ in range(5):
        action = generator.uniform(-2, 2, 3).astype(np.float32)
        recorder.step(action)
        actions.append(np.clip(action, -1, 1))
        frames.append(env.frame())
    columns = store.read(recorder.written[0]).columns
    assert np.array_equal(columns["action"], [*actions, np.zeros(3)])
    for name in ("joint_position", "base_pose", "contact", "counter", "reward_upright"):
        assert np.array_equal(columns[name], [frame[name] for frame in frames]), name
    assert columns["is_last"].tolist() == [False] * 5 + [True]
    assert columns["timestamp_ns"].tolist() == [0, 20_000_000, 40_000_000, 60_000_000, 80_000_000, 100_000_000]
    assert columns["reward"][0] == 0 and columns["reward"][5] == env.reward
    assert columns["phase"].tolist() == ["", *["stand"] * 5]


def test_metadata_tells_how_it_ended(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store, policy="test")
    play(recorder, 3)
    play(recorder, 4)
    fell, stood = store.metadata(0), store.metadata(1)
    assert (fell.terminated, fell.truncated, fell.success, fell.failure) == (True, False, False, "fall")
    assert (stood.terminated, stood.truncated, stood.success, stood.failure) == (False, True, True, None)
    assert fell.length == 15 and stood.length == 30 and fell.complete
    assert fell.started_ns < fell.ended_ns <= stood.started_ns
    assert fell.config_hash == stood.config_hash and len(fell.config_hash) == 64
    assert fell.policy.name == "test" and fell.instruction == "Keep three joints at zero."


def test_buffers_grow(store: Store) -> None:
    steps = 2 * FIRST_CAPACITY + 3
    recorder = Recorder(fake_env.FakeEnv(steps=steps), store)
    play(recorder, 0)
    assert store.read(0).columns["counter"].tolist() == list(range(steps + 1))


def test_what_is_worked_out_at_the_end_is_right_on_both_sides_of_a_growth(store: Store) -> None:
    env = RawEnv(steps=2 * FIRST_CAPACITY + 3)
    recorder = Recorder(env, store)
    for number, seed in enumerate((0, 2)):  # the second begins in arrays that have grown
        frames: list[dict[str, NDArray[Any]]] = []
        fake_env.play(recorder, [seed], look=lambda seen=frames: seen.append(env.frame()))
        columns = store.read(number).columns
        assert len(frames) == len(columns["counter"]) == env.steps + 1
        for name in [c.name for c in env.channels if c.name != "action"]:
            assert np.array_equal(columns[name], [frame[name] for frame in frames]), name
        assert np.array_equal(columns["action"][:-1], [frame["action"] for frame in frames[1:]])
    assert env.expanded == 2, "once an episode"


def test_an_episode_does_not_remember_the_one_before(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store)
    play(recorder, 2)
    play(recorder, 3)
    play(recorder, 2)
    first, again = store.read(0), store.read(2)
    assert first.metadata.content_sha256 == again.metadata.content_sha256
    assert store.read(1).columns["is_last"].sum() == 1


def test_cut_off_episodes_are_dropped_or_marked(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store)
    play(recorder, 0, steps=4)
    recorder.close()
    assert recorder.dropped == 1 and len(store) == 0
    recorder = Recorder(fake_env.FakeEnv(), store, keep_partial=True)
    play(recorder, 0, steps=4)
    recorder.close()
    kept = store.metadata(0)
    assert kept.length == 4 and not kept.complete and recorder.dropped == 0


def test_an_episode_that_was_cut_off_is_there_to_be_kept_and_grows_no_more() -> None:
    recorder = Recorder(fake_env.FakeEnv(), None, keep_partial=True)
    play(recorder, 0, steps=4)
    recorder.cut_off()
    recorder.step(np.zeros(3, np.float32))
    recorder.cut_off()
    kept = recorder.episode
    assert kept is not None and kept.length == 4 and len(kept.columns["action"]) == 5 and recorder.dropped == 0


def test_a_reset_without_seed_can_be_begun_again(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store)
    play(recorder, 5)
    play(recorder, None)
    play(recorder, None)
    seeds = [store.metadata(n).seed for n in store.episodes()]
    assert len(set(seeds)) == 3
    with Replayer(store.schema, fake_env.make) as replayer:
        assert all(replayer.replay(episode).identical for episode in store)


def test_noise_is_recorded_as_the_policy_saw_it(tmp_path: Path) -> None:
    env = fake_env.FakeEnv(steps=3, noise={"scale": 0.1})
    store = Store.create(tmp_path / "noisy", make_schema(env))
    recorder = Recorder(env, store)
    seen = [recorder.reset(seed=0)[0]]
    seen += [recorder.step(np.zeros(3, np.float32))[0] for _ in range(3)]
    episode = store.read(0)
    assert np.array_equal(episode.columns["policy_observation"], seen)
    assert not np.array_equal(episode.columns["policy_observation"][:, :3], episode.columns["joint_position"])
    assert replay(episode, store.schema, fake_env.make).identical


def test_what_does_not_fit_is_refused_with_the_difference(store: Store) -> None:
    with pytest.raises(DatasetError, match=r"joints: new here: head_joint; only recorded: waist_joint"):
        Recorder(fake_env.FakeEnv(joints=("left_knee_joint", "right_knee_joint", "head_joint")), store)
    swapped = ("right_knee_joint", "left_knee_joint", "waist_joint")
    with pytest.raises(DatasetError, match=r"joints stand in another order, first at 0: 'right_knee_joint'"):
        Recorder(fake_env.FakeEnv(joints=swapped), store)
    with pytest.raises(DatasetError, match=r"model cdcdcdcdcdcd, the dataset has abababababab"):
        Recorder(fake_env.FakeEnv(model_hash="cd" * 32), store)


def test_half_declared_and_other_environments_are_refused_by_name(store: Store) -> None:
    class Half(fake_env.FakeEnv):
        frame = property()  # type: ignore[assignment]

    with pytest.raises(DatasetError, match="environment Half: cannot be recorded: it has no frame"):
        Recorder(Half(), store)
    with pytest.raises(DatasetError, match="robot 'unknown', the dataset has 'fake'"):
        Recorder(gymnasium.make("CartPole-v1"), store)


# ---- replay ----------------------------------------------------------------------------------------------------------


def test_replay_is_identical(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store)
    for seed in range(4):
        play(recorder, seed)
    with Replayer(store.schema, fake_env.make) as replayer:
        for episode in store:
            report = replayer.replay(episode)
            assert report.identical and not report.differences and not report.notes
            assert report.channels == len(store.schema.columns()) and report.steps == episode.length


def test_replay_finds_a_difference_in_the_last_bit(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store)
    play(recorder, 2)
    episode = store.read(0)
    columns = {name: values.copy() for name, values in episode.columns.items()}
    value = columns["base_pose"][7, 1, 0]
    columns["base_pose"][7, 1, 0] = np.nextafter(value, np.inf)
    report = replay(Episode(episode.metadata, columns), store.schema, fake_env.make)
    assert not report.identical and len(report.differences) == 1 and report.first is not None
    assert (report.first.channel, report.first.step, report.first.component) == ("base_pose", 7, 2)
    assert report.first.replayed == value and 0 < report.first.largest < 1e-12
    assert str(report.first).startswith("step 7, channel 'base_pose'[2]: recorded ")


def test_replay_finds_other_actions_phases_and_ends(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store)
    play(recorder, 2)
    episode = store.read(0)
    actions = {**episode.columns, "action": episode.columns["action"].copy()}
    actions["action"][3, 0] *= 0.5
    report = replay(Episode(episode.metadata, actions), store.schema, fake_env.make)
    assert report.first is not None and report.first.step == 4  # the recorded action is what is replayed
    phases = {**episode.columns, "phase": episode.columns["phase"].copy()}
    phases["phase"][3] = "fly"
    report = replay(Episode(episode.metadata, phases), store.schema, fake_env.make)
    assert [(d.channel, d.step, d.recorded) for d in report.differences] == [("phase", 3, "fly")]
    longer = lambda name, **options: fake_env.FakeEnv(**{**options, "steps": 20})  # noqa: E731
    report = replay(episode, store.schema, longer)
    assert not report.identical and "ended after 20 steps, recorded 30" in report.notes


def test_replay_on_a_drifting_simulation_is_not_identical(store: Store) -> None:
    recorder = Recorder(fake_env.FakeEnv(), store)
    play(recorder, 2)
    drifting = lambda name, **options: fake_env.FakeEnv(**options, drift=1e-15)  # noqa: E731
    report = replay(store.read(0), store.schema, drifting)
    assert not report.identical and report.first is not None and report.first.step >= 1


def test_replay_with_another_model_is_an_error_that_lists_the_difference(store: Store) -> None:
    play(Recorder(fake_env.FakeEnv(), store), 2)
    joints = ("left_knee_joint", "right_knee_joint", "head_joint")
    other = lambda name, **options: fake_env.FakeEnv(joints=joints, model_hash="cd" * 32)  # noqa: E731
    with pytest.raises(DatasetError) as problem:
        replay(store.read(0), store.schema, other)
    for text in (
        "episode 0",
        "abababababab",
        "cdcdcdcdcdcd",
        "head_joint",
        "waist_joint",
        "package versions are the same",
    ):
        assert text in str(problem.value)


def test_a_file_cannot_choose_what_code_a_replay_runs(store: Store) -> None:
    from training_ground.configs.errors import SimulationError

    play(Recorder(fake_env.FakeEnv(), store), 2)
    episode = store.read(0)
    for env_id in ("os:makedirs", "antigravity:Evil-v0", "CartPole-v1"):
        metadata = episode.metadata.model_copy(update={"env_id": env_id})
        with pytest.raises(SimulationError, match="unknown task"):
            replay(Episode(metadata, episode.columns), store.schema)


def test_compare_distinguishes_zeros_and_equates_equal_nans() -> None:
    a = np.array([0.0, np.nan, 1.0])
    assert compare("x", a, a.copy()) is None
    found = compare("x", a, np.array([-0.0, np.nan, 1.0]))
    assert found is not None and found.step == 0 and found.largest == 0
    assert compare("x", a, a[:2]) is None


def test_a_row_costs_a_call_and_no_memory_of_its_own() -> None:
    env = fake_env.FakeEnv()
    env.reset(seed=0)
    buffer, frame, calls = EpisodeBuffer(make_schema(env)), env.frame(), Counter[str]()
    buffer.add(frame, None)
    tracemalloc.start()
    try:
        for _ in range(500):
            buffer.add(frame, None)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500, "bytes: something is kept of every row besides its place in the columns"
    sys.setprofile(lambda _, event, __: calls.update([event]))
    try:
        for _ in range(500):
            buffer.add(frame, None)
    finally:
        sys.setprofile(None)
    assert calls["call"] <= 2 * 500, "functions of ours a row"

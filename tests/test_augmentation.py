"""Augmentation: a demonstration's segments go where their frames are now, and only what succeeds is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_ground.agents import augmentation
from training_ground.agents.augmentation import augment, usable
from training_ground.agents.demonstration import begins, demonstrate, ends, moments
from training_ground.agents.policy import ZeroPolicy, load_policy
from training_ground.agents.recording import record
from training_ground.agents.transfer import aligned, apart, carried_over, regripped
from training_ground.agents.transplant import Transplant
from training_ground.assets.library import load_cell, load_part
from training_ground.assets.poses import Pose, rotation_about, rotation_from_rpy
from training_ground.cli.main import main
from training_ground.configs.augmentation import AugmentFile, SegmentSpec, load_augment
from training_ground.configs.errors import AgentError, ConfigError, DatasetError, SimulationError
from training_ground.configs.loading import load_yaml, validate
from training_ground.configs.presets import preset_names, preset_path
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.replay import Replayer
from training_ground.datasets.schema import EpisodeMetadata
from training_ground.datasets.store import Store
from training_ground.envs.registration import make, tasks

Z = np.array([0.0, 0.0, 1.0])


def some_pose(generator: np.random.Generator) -> Pose:
    return Pose(rotation_from_rpy(generator.uniform(-3, 3, 3)), generator.uniform(-1, 1, 3))


def same(a: Pose, b: Pose) -> bool:
    return apart(a, b) == pytest.approx((0.0, 0.0), abs=1e-7)


# ---- arithmetic ------------------------------------------------------------------------------------------------------


def test_a_hand_stays_to_its_object_what_it_was():
    """A part that was moved by 1 m and turned by 90°: a hand 0.2 m before it comes to be 0.2 m beside it."""
    source, now = Pose(), Pose(rotation_about(Z, math.pi / 2), np.array([1.0, 0.0, 0.0]))
    hand = carried_over(Pose(position=np.array([0.2, 0.0, 0.1])), source, now)
    assert hand.position == pytest.approx([1.0, 0.2, 0.1]) and np.allclose(hand.rotation, now.rotation)
    generator = np.random.default_rng(0)
    for _ in range(20):
        hand, source, now = (some_pose(generator) for _ in range(3))
        assert same(now.inverse() @ carried_over(hand, source, now), source.inverse() @ hand)


@pytest.mark.parametrize("turns", [1, 2, 4, "any"])
def test_of_the_turns_that_come_to_the_same_the_smallest_is_taken(turns: Any):
    generator = np.random.default_rng(1)
    count = 360 if turns == "any" else turns
    for _ in range(20):
        pose, like = some_pose(generator), some_pose(generator)
        found = aligned(pose, like, turns)
        every = [Pose(pose.rotation @ rotation_about(Z, 2 * math.pi * i / count), pose.position) for i in range(count)]
        assert np.array_equal(found.position, pose.position) and np.allclose(found.rotation[:, 2], pose.rotation[:, 2])
        least = min(apart(one, like)[1] for one in every)
        assert apart(found, like)[1] == pytest.approx(least, abs=0.01)


def test_what_is_held_goes_where_it_went_however_it_lies_in_the_hand():
    generator = np.random.default_rng(2)
    for _ in range(20):
        hand, held, held_now = (some_pose(generator) for _ in range(3))
        assert same(hand @ regripped(held, held_now) @ held_now, hand @ held)


# ---- cutting ---------------------------------------------------------------------------------------------------------

PICK = SegmentSpec(frame="cell", at="grasp", until="carry")
PUT = SegmentSpec(frame="{goal}", at="release", held="cell")


def test_segments_are_found_by_phase_each_after_the_one_before_it():
    phases = ["approach"] * 3 + ["grasp", "approach", "grasp"] + ["carry"] * 2 + ["grasp", "release", "release"]
    assert moments(phases, [PICK, PUT], "x") == [(3, 6), (9, 10)]
    again = SegmentSpec(frame="cell", at="grasp")
    assert moments(phases, [PICK, again], "x") == [(3, 6), (8, 10)], "the later grasp, not the first one again"
    with pytest.raises(AgentError, match=r"episode 7: phase 'insert' never comes from row 6 on"):
        moments(phases, [PICK, SegmentSpec(frame="cell", at="insert")], "episode 7")


def way(*pieces: tuple[float, float, int]) -> np.ndarray:
    """Places on the x axis: from, to and the rows that it takes, one piece after the other."""
    return np.stack(
        [np.concatenate([np.linspace(*piece) for piece in pieces])] + 2 * [np.zeros(sum(p[2] for p in pieces))], 1
    )


def test_a_segment_begins_where_the_hand_last_rested_and_ends_where_it_rests_next():
    hand = way(
        (0.5, 0.1, 20), (0.1, 0.1, 10), (0.1, 0.0, 10), (0.0, 0.0, 5), (0.0, 0.08, 10), (0.08, 0.08, 5), (0.08, 1, 9)
    )
    first, last = begins(hand, 42, 0, 0.02), ends(hand, 44, 0.02)
    assert 20 <= first < 30 and hand[first, 0] == pytest.approx(0.1)
    assert last == 44, "it rests there already"
    assert hand[ends(hand, 48, 0.02), 0] == pytest.approx(0.08)


def test_where_it_did_not_rest_it_is_where_the_hand_was_slowest_nearby():
    hand = way((0.5, 0.12, 10), (0.12, 0.08, 10), (0.08, 0.0, 5), (0.0, 0.0, 3))
    assert 0.05 < hand[begins(hand, 26, 0, 0.02), 0] <= 0.12
    assert begins(way((0.03, 0.0, 10)), 9, 2, 0.02) == 2, "it came from nearer by"
    assert begins(hand, 26, 22, 0.02) >= 22, "not before the segment before it ended"


@pytest.mark.parametrize("name", preset_names("augment"))
def test_every_task_that_is_cut_has_the_phases_and_frames(name: str):
    kind = next(kind for kind in tasks().values() if kind.id == validate_file(name).task)
    layout = load_augment(kind.id)
    items = load_cell(kind.cell).items  # pyright: ignore[reportAttributeAccessIssue]
    for segment in layout.segments:
        assert {segment.at, segment.until or segment.at} <= set(kind.phases)
        for frame in filter(None, (segment.frame, segment.held)):
            item, _, part = frame.partition(".")
            if "{" not in item:
                assert item in items
            if part and "{" not in frame:
                spec = load_part(items[item].part)
                assert part in spec.frames or part in spec.mechanisms
    assert set(layout.symmetry) <= set(items)


def validate_file(name: str) -> AugmentFile:
    return validate(AugmentFile, load_yaml(preset_path("augment", name)), name)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"task": "X", "segments": []}, "segments"),
        ({"task": "X", "segments": [{"frame": "cell"}]}, "segments.0.at"),
        ({"task": "X", "segments": [{"frame": "a b", "at": "grasp"}]}, "segments.0.frame = 'a b'"),
        (
            {"task": "X", "segments": [{"frame": "a", "at": "grasp", "untill": "b"}]},
            "unknown key 'segments.0.untill'. Allowed: at, frame, held, until",
        ),
        ({"task": "X", "segments": [{"frame": "a", "at": "b"}] * 2}, r"segments.0.until is missing"),
        ({"task": "X", "segments": [{"frame": "a", "at": "b"}], "symmetry": {"a": 0}}, "symmetry.a"),
    ],
)
def test_a_bad_file_names_the_key(data: dict[str, Any], problem: str):
    with pytest.raises(ConfigError, match=problem):
        validate(AugmentFile, data, "mine.yaml")


def test_a_task_that_nothing_cuts_is_refused():
    with pytest.raises(ConfigError, match=r"segments for task 'Stand'.*TrayToTray"):
        load_augment("Stand")
    with pytest.raises(ConfigError, match="task = 'TrayToTray', but the episodes are of 'PegInHole'"):
        load_augment("PegInHole", "tray_to_tray")


# ---- bad input -------------------------------------------------------------------------------------------------------

SHORT = {"episode_length_s": 0.1}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes in which nothing was done."""
    path = tmp_path_factory.mktemp("idle") / "store"
    assert record(ZeroPolicy(), "TrainingGround/PressButton-v0", SHORT, [0, 1], path).complete
    return path


def whole(folder: Path) -> Path:
    """Segments that every episode of PressButton has."""
    path = folder / "whole.yaml"
    path.write_text("task: PressButton\nsegments: [{frame: panel, at: approach}]\n")
    return path


def changed(store: Path, path: Path, **updates: Any) -> Path:
    """A copy of a store, whose episodes' metadata say something else."""
    opened = Store.open(store)
    copy = Store.create(path, opened.schema)
    for episode in opened:
        copy.append(Episode(episode.metadata.model_copy(update=updates), episode.columns))
    return path


def test_a_store_with_nothing_to_do_again_is_refused(idle: Path, tmp_path: Path):
    with pytest.raises(DatasetError, match="no demonstration that succeeded: 2 did not succeed"):
        augment(idle, tmp_path / "out", [5])
    Store.create(tmp_path / "empty", Store.open(idle).schema)
    with pytest.raises(DatasetError, match="it is empty"):
        augment(tmp_path / "empty", tmp_path / "out", [5])
    with pytest.raises(DatasetError, match="there is no such folder"):
        augment(tmp_path / "nowhere", tmp_path / "out", [5])
    with pytest.raises(DatasetError, match="episode 1 did not succeed"):
        augment(idle, tmp_path / "out", [5], chosen=[1])
    cut = changed(idle, tmp_path / "cut", success=True, truncated=False)
    with pytest.raises(DatasetError, match="2 was cut off"):
        augment(cut, tmp_path / "out", [5])
    assert not (tmp_path / "out").exists()


def test_episodes_of_several_environments_are_refused(idle: Path, tmp_path: Path):
    path = changed(idle, tmp_path / "mixed", success=True)
    store = Store.open(path)
    episode = store.read(0)
    other = episode.metadata.model_copy(update={"kwargs": {**episode.metadata.kwargs, "tier": "tight"}})
    store.append(Episode(other, episode.columns))
    with pytest.raises(DatasetError, match=r"2 environments \(0, 1; 2\)"):
        augment(path, tmp_path / "out", [5])
    assert usable(store, [0, 1]) == [0, 1]


def test_seeds_and_folders_that_do_not_fit_are_refused(idle: Path, tmp_path: Path):
    path = changed(idle, tmp_path / "good", success=True)
    with pytest.raises(AgentError, match=r"seed 1 is a demonstration's own"):
        augment(path, tmp_path / "out", [1, 2])
    with pytest.raises(AgentError, match="a seed stands twice"):
        augment(path, tmp_path / "out", [5, 5])
    with pytest.raises(AgentError, match="a store of their own"):
        augment(path, path, [5])
    with pytest.raises(AgentError, match="episode 0: phase 'engage' never comes"):
        augment(path, tmp_path / "out", [5])
    with pytest.raises(SimulationError, match="tier"):
        augment(path, tmp_path / "out", [5], segments=whole(tmp_path), changes={"tier": "tigth"})
    with pytest.raises(ConfigError, match="did you mean 'press_button'"):
        augment(path, tmp_path / "out", [5], segments="press_buton")
    assert not (tmp_path / "out").exists()


def test_frames_and_phases_that_the_task_does_not_have_are_named(idle: Path, tmp_path: Path):
    path, mine = changed(idle, tmp_path / "good", success=True), tmp_path / "mine.yaml"
    mine.write_text("task: PressButton\nsegments: [{frame: pannel, at: approach}]\n")
    with pytest.raises(AgentError, match=r"frame 'pannel': unknown item .* did you mean 'panel'"):
        augment(path, tmp_path / "out", [5], segments=mine)
    mine.write_text("task: PressButton\nsegments: [{frame: panel, at: aproach}]\n")
    with pytest.raises(AgentError, match="unknown phase of task 'PressButton' 'aproach': did you mean 'approach'"):
        augment(path, tmp_path / "out", [5], segments=mine)


def test_another_robot_or_other_actions_are_refused(idle: Path, tmp_path: Path):
    opened = Store.open(idle)
    other = Store.create(tmp_path / "other", opened.schema.model_copy(update={"model_hash": "0" * 64}))
    episode = opened.read(0)
    other.append(
        Episode(episode.metadata.model_copy(update={"model_hash": "0" * 64, "success": True}), episode.columns)
    )
    with pytest.raises(DatasetError, match=r"model .*, the dataset has 000000000000"):
        augment(tmp_path / "other", tmp_path / "out", [5])
    kwargs = {**SHORT, "control": "joint_delta"}
    record(ZeroPolicy(), "TrainingGround/PressButton-v0", kwargs, [0], tmp_path / "delta")
    with pytest.raises(AgentError, match=r"control 'joint_delta', .* joints driven"):
        augment(changed(tmp_path / "delta", tmp_path / "deltas", success=True), tmp_path / "out", [5])


def test_a_demonstration_that_goes_another_way_here_is_refused(idle: Path, tmp_path: Path):
    path = changed(idle, tmp_path / "elsewhere", success=True, seed=7)
    with pytest.raises(DatasetError, match="episode 0, seed 7: goes another way here than it was recorded, from row 0"):
        augment(path, tmp_path / "out", [5])


def test_files_without_an_origin_are_written_as_they_were(idle: Path):
    metadata = Store.open(idle).metadata(0)
    assert metadata.origin is None and "origin" not in metadata.model_dump(mode="json")
    assert EpisodeMetadata.model_validate(metadata.model_dump(mode="json")) == metadata


# ---- the whole -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One button, pressed by the expert."""
    path = tmp_path_factory.mktemp("pressed") / "store"
    result = record(load_policy("expert"), "TrainingGround/PressButton-v0", {}, [2], path)
    assert result.episodes[0][1].success
    return path


NEW = 104


@pytest.fixture(scope="module")
def more(pressed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[augmentation.Augmentation, Path]:
    path = tmp_path_factory.mktemp("more") / "store"
    return augment(pressed, path, [NEW]), path


def test_a_button_is_pressed_in_a_new_scene_and_replays_bit_for_bit(more: tuple[augmentation.Augmentation, Path]):
    result, path = more
    store = Store.open(path)
    (attempt,) = result.attempts
    assert attempt.kept and attempt.seed == NEW and attempt.number == 0 and len(store) == 1 and store.verify().ok
    episode = store.read(0)
    assert episode.metadata.success and episode.columns["success"][-1]
    with Replayer(store.schema) as replayer:
        assert replayer.replay(episode).identical


def test_the_store_says_what_each_episode_was_made_from(more: tuple[augmentation.Augmentation, Path], pressed: Path):
    demonstration, metadata = Store.open(pressed).metadata(0), Store.open(more[1]).metadata(0)
    origin = metadata.origin
    assert metadata.policy.name == "augmented" and metadata.policy.hash and origin is not None
    assert (origin.episode, origin.seed, origin.policy.name) == (0, demonstration.seed, "expert")
    assert origin.content_sha256 == demonstration.content_sha256
    (segment,) = origin.segments
    assert segment.source_frame.startswith("panel.") and 0 < segment.source_rows[0] < segment.source_rows[1]
    assert segment.source_rows[1] == demonstration.length and 0 < segment.row < metadata.length
    with pytest.raises(DatasetError, match="no demonstration that succeeded: 1 is augmented itself"):
        usable(Store.open(more[1]))


def test_the_hand_meets_the_button_as_it_did_in_the_demonstration(
    more: tuple[augmentation.Augmentation, Path], pressed: Path
):
    """The nearest that the finger comes to the button is the same, to the millimetres by which buttons differ."""

    def deepest(store: Store) -> float:
        return float(store.read(0).columns["mechanism"].max())

    found, shown = deepest(Store.open(more[1])), deepest(Store.open(pressed))
    assert found >= 0.8 and abs(found - shown) < 0.25


def test_the_demonstration_as_it_was_would_not_have_done_there(pressed: Path):
    """Else nothing would have been carried over."""
    env, episode = make("PressButton"), Store.open(pressed).read(0)
    env.reset(seed=NEW)
    for action in episode.columns["action"][:-1]:
        _, _, terminated, truncated, info = env.step(action)
        assert not info["success"]
        if terminated or truncated:
            break
    env.close()


def test_what_is_there_already_is_left_out(more: tuple[augmentation.Augmentation, Path], pressed: Path):
    again = augment(pressed, more[1], [NEW])
    assert again.present == 1 and not again.attempts and len(Store.open(more[1])) == 1


@pytest.mark.slow
def test_same_seed_and_same_demonstrations_same_bits(
    more: tuple[augmentation.Augmentation, Path], pressed: Path, tmp_path: Path
):
    """Whatever was tried before it."""
    result = augment(pressed, tmp_path / "again", [105, NEW])
    assert [attempt.seed for attempt in result.attempts] == [105, NEW] and result.attempts[1].kept
    store = Store.open(tmp_path / "again")
    assert store.metadata(len(store) - 1).content_sha256 == Store.open(more[1]).metadata(0).content_sha256


@pytest.mark.slow
def test_what_fails_is_not_kept(pressed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Segments that are always about the button of the demonstration press that one, whichever is asked for."""
    goals, env = {}, make("PressButton")
    for seed in range(100, 110):
        env.reset(seed=seed)
        goals[seed] = env.task.goal  # pyright: ignore[reportAttributeAccessIssue]
    env.close()
    shown = Store.open(pressed).read(0).columns["goal"][0].argmax()
    button = ("start", "reset", "stop")[shown]
    wrong = next(seed for seed in (104, 105, 106, 107, 108, 109) if goals[seed] != button)
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"task: PressButton\nsegments: [{{frame: panel.{button}, at: engage}}]\n")
    out = tmp_path / "out"
    arguments = ["augment", str(pressed), "--seed", str(wrong), "--episodes", "1", "--out", str(out)]
    assert main([*arguments, "--segments", str(mine), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["kept"] == 0 and data["failures"] == {"wrong_item": 1} and data["wilson_95"][0] == 0.0
    assert len(Store.open(out)) == 0


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(pressed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    acts = []

    def interrupted(self: Transplant, observation: Any) -> Any:
        acts.append(self.env.episode_seed)
        if acts.count(105) == 20:
            raise KeyboardInterrupt
        return act(self, observation)

    act = Transplant.act
    monkeypatch.setattr(Transplant, "act", interrupted)
    result = augment(pressed, tmp_path / "out", [NEW, 105])
    assert result.interrupted and [attempt.seed for attempt in result.attempts] == [NEW]
    store = Store.open(tmp_path / "out")
    assert len(store) == 1 and store.verify().ok


@pytest.mark.slow
def test_a_cell_is_grasped_carried_and_put_down_in_a_new_scene(tmp_path: Path):
    """Two segments, one of a part and one of a place, and a planned way with the part in the hand between them."""
    source = tmp_path / "source"
    assert record(load_policy("expert"), "TrainingGround/TrayToTray-v0", {}, [0], source).episodes[0][1].success
    env = make("TrayToTray")
    one = demonstrate(env, Store.open(source).read(0), load_augment("TrayToTray"))
    env.close()
    assert [segment.frame.partition(".")[0] for segment in one.segments] == ["cell", "target"]
    assert one.segments[0].held is None and one.segments[1].held is not None
    assert one.segments[0].last <= one.segments[1].first
    result = augment(source, tmp_path / "out", range(100, 104))
    store = Store.open(tmp_path / "out")
    assert result.kept == len(store) >= 2
    with Replayer(store.schema) as replayer:
        assert all(replayer.replay(episode).identical for episode in store)
    slots = {metadata.origin.segments[1].frame for n in store.episodes() if (metadata := store.metadata(n)).origin}
    assert slots <= {f"target.slot_{i}" for i in range(1, 5)}

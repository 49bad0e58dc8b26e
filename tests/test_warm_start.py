"""A run that begins with the actor of another policy."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_ground.agents import training
from training_ground.agents.bundle import load_bundle, read_bundle
from training_ground.agents.checkpoints import last_good_checkpoint
from training_ground.agents.policy import bundle_folder
from training_ground.agents.warm_start import columns
from training_ground.configs.errors import AgentError
from training_ground.configs.presets import load_preset, preset_names
from training_ground.envs.registration import make

pytest.importorskip("stable_baselines3")

SMALL = [
    "start_from=stand_{robot}",
    "env.kwargs.locked=[]",
    "workers=1",
    "envs_per_worker=2",
    "ppo.rollout_steps=16",
    "ppo.minibatches=2",
    "ppo.critic_warmup=2",
    "total_steps=32",
    "checkpoints.interval=32",
    "eval.episodes=0",
]
ALL = ["env.kwargs.observed=['*']", "eval.kwargs.observed=['*']"]
LEGS = ["env.kwargs.observed=[legs]", "eval.kwargs.observed=[legs]"]


def start(tmp_path: Path, *overrides: str, name: str = "run") -> Any:
    return training.start("walk", [*SMALL, *ALL, *overrides], root=tmp_path, name=name)


def test_the_first_actions_are_the_old_policys_and_the_critic_learns_first(tmp_path):
    """Stand's channels are some of Walk's; what is new weighs nothing, so nothing changes while the critic warms up."""
    result = start(tmp_path, "policy=after_stand_{robot}")
    old, new = read_bundle(bundle_folder("stand_g1")), load_bundle(result.bundle)
    observations = np.random.default_rng(0).standard_normal((20, new.spec.env.observation_size)).astype(np.float32)
    known = np.zeros((20, old.policy.spec.env.observation_size), np.float32)
    for there, here in columns(old, new.spec.env):
        known[:, there] = observations[:, here]
    weights = read_bundle(result.bundle).tensors
    moved = np.abs(weights["observation.mean"][:79] - old.tensors["observation.mean"]).max()
    assert 0 < moved < 1e-3  # the statistics go on from the old ones
    assert new.act(observations) == pytest.approx(old.policy.act(known), abs=0.02)
    assert np.array_equal(weights["weight.1"], old.tensors["weight.1"])
    assert new.spec.name == "after_stand_g1"
    made = new.spec.provenance
    assert made.began_from is not None and made.began_from.name == "stand_g1"
    assert made.all_steps == 32 + (old.policy.spec.provenance.steps or 0)
    before = result.folder / "start_from"
    assert load_bundle(before).hash == old.policy.hash
    with pytest.raises(AgentError, match="belongs to a new run"):
        training.resume(result.folder, ["start_from=walk_g1"])
    trained = training.resume(result.folder, ["total_steps=160"])
    assert not np.array_equal(read_bundle(trained.bundle).tensors["weight.1"], old.tensors["weight.1"])


def test_joints_that_the_old_policy_does_not_move_stay_where_they_are_at_first(tmp_path):
    """A policy of the legs begins one of the whole robot: what it did to the legs it does still."""
    result = start(tmp_path, "env.kwargs.driven=['*']", "eval.kwargs.driven=['*']")
    old, new = read_bundle(bundle_folder("stand_g1")), load_bundle(result.bundle)
    legs, moved = old.policy.spec.env.action_joints, new.spec.env.joint_names
    assert len(legs) == 12 and len(moved) == new.spec.env.action_size == 29
    observations = np.random.default_rng(0).standard_normal((20, new.spec.env.observation_size)).astype(np.float32)
    known = np.zeros((20, old.policy.spec.env.observation_size), np.float32)
    pairs = columns(old, new.spec.env)
    for there, here in pairs:
        known[:, there] = observations[:, here]
    assert sorted(len(here) for _, here in pairs if len(here) > 10) == [12, 29, 29], "legs' actions, all joints' states"
    actions = new.act(observations)
    rows = [moved.index(joint) for joint in legs]
    assert actions[:, rows] == pytest.approx(old.policy.act(known), abs=0.02)
    assert not np.delete(actions, rows, axis=1).any()


def test_a_resumed_run_goes_on_from_its_own_copy_with_the_same_bits(tmp_path, monkeypatch):
    whole = start(tmp_path, "total_steps=128", name="whole")
    part = start(tmp_path, name="part")
    monkeypatch.setattr("training_ground.agents.warm_start.bundle_folder", lambda name: tmp_path / "gone")
    resumed = training.resume(part.folder, ["total_steps=128"])
    found = [last_good_checkpoint(run.folder / "checkpoints")[0] for run in (whole, resumed)]
    one, two = (checkpoint.tensors for checkpoint in found if checkpoint is not None)
    assert all(bool((one[name] == two[name]).all()) for name in one if name.startswith(("policy/", "optimizer/")))


def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path):
    cases = (
        (["env.kwargs.robot=icub"], "stand_icub"),
        (["env.kwargs.robot=talos", "start_from=stand_g1"], "robot: g1 in the bundle, talos"),
        (["env.kwargs.driven=[trunk]", "eval.kwargs.driven=[trunk]"], "joint 'left_hip_pitch_joint' only in the b"),
        (LEGS, r"channel 'joint_position' \[29\] rad"),
        (["start_from=stnad_g1"], "stand_g1"),
        (["env.kwargs.observation_history=2"], "history"),
    )
    for overrides, message in cases:
        with pytest.raises(AgentError, match=message):
            start(tmp_path, *overrides)
    assert not (tmp_path / "run").exists()
    with pytest.raises(AgentError, match=r"layers of \[512, 256, 12\].*\[16, 8, 12\]"):
        start(tmp_path, "network.hidden=[8, 4]")
    with pytest.raises(AgentError, match=r"normalisation\.observation"):
        start(tmp_path, "normalisation.observation=false", name="plain")


def test_a_policy_that_is_not_symmetric_cannot_become_so(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "fakes"))
    fake: Any = importlib.import_module("fake_agents")
    env = make("Walk", driven=("legs",), observed=("legs",))
    fake.make_bundle(tmp_path / "bundle", env, hidden=(16,))
    env.close()
    with pytest.raises(AgentError, match="not its own mirror image"):
        start(tmp_path, f"start_from={tmp_path / 'bundle'}", *LEGS, "network.hidden=[8]")


@pytest.mark.parametrize("name", [n for n in preset_names("train") if "start_from" in load_preset("train", n)[1]])
def test_presets_begin_with_a_policy_that_fits(name):
    config: Any = training.resolve(load_preset("train", name)[1], name)
    training.check_environments(config)
    network: Any = load_bundle(bundle_folder(str(config.origin))).spec.network
    wide = 2 if config.ppo.mirror else 1
    assert [wide * width for width in config.network.hidden] == list(network.layers[1:-1])

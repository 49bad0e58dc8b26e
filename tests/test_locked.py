"""A robot whose held joints are locked: the same robot to a policy, with less of it to simulate."""

from __future__ import annotations

import numpy as np
import pytest

from training_ground.agents import training
from training_ground.agents.signature import OF_LOCKED_JOINTS, signature_of
from training_ground.configs.errors import AgentError, SimulationError
from training_ground.configs.presets import load_preset
from training_ground.envs.registration import make

STILL = {"driven": ("legs",), "observed": ("legs",), "start_joint_noise": 0.0}


@pytest.fixture(params=["g1", "talos"])
def pair(request):
    """The robot whole, and with all but its legs locked."""
    upper = ("arms", "trunk", "head_*") if request.param == "talos" else ("arms", "trunk")
    envs = [make("Stand", robot=request.param, **STILL, locked=locked, push_speed=(0, 0)) for locked in ((), upper)]
    yield envs
    for env in envs:
        env.close()


def test_a_locked_robot_has_the_same_mass_and_stands_the_same(pair):
    whole, locked = pair
    legs = [whole.model.joint_names.index(name) for name in locked.model.joint_names]
    assert whole.model.groups["legs"] == list(locked.model.joint_names) and len(legs) == 12
    assert locked.model.mass == pytest.approx(whole.model.mass, rel=1e-12)
    assert locked.model.default_height == pytest.approx(whole.model.default_height, abs=1e-12)
    for name in ("default_position", "lower", "upper", "kp", "kd", "effort_limit", "standing_torque"):
        assert getattr(locked.model, name) == pytest.approx(getattr(whole.model, name)[legs], abs=1e-9), name
    assert set(locked.model.frames) == set(whole.model.frames)
    assert locked.model.hash != whole.model.hash


def test_a_policy_cannot_tell_a_locked_robot_from_one_that_is_held(pair):
    whole, locked = pair
    assert signature_of(whole).differences(signature_of(locked), OF_LOCKED_JOINTS) == []
    assert signature_of(whole).differences(signature_of(locked)) != []
    for mirror in ("action_mirror", "mirror"):
        ours, other = getattr(whole.observation, mirror)(), getattr(locked.observation, mirror)()
        assert np.array_equal(ours.permutation, other.permutation) and np.array_equal(ours.sign, other.sign)
    for env in pair:
        env.reset(seed=5)
        env.robot.place(env.model.default_position.tolist())  # as many joints, as many numbers were drawn: undo them
    ours = other = np.zeros(0)
    crouch = np.tile([-0.2, 0, 0, 0.4, -0.2, 0], 2).astype(np.float32)
    for _ in range(15):
        ours, other = whole.step(crouch)[0], locked.step(crouch)[0]
    # Motors give way a little where a locked joint does not; the legs go the same way.
    part = whole.observation.slices["joint_position"]
    assert np.abs(other[part]).max() > 0.04
    assert np.abs(ours[part] - other[part]).max() < 0.01


def test_bad_observed_and_locked_joints_are_named():
    with pytest.raises(SimulationError, match=r"observed of robot 'g1'.*'\*_hop_\*'.*left_hip_pitch_joint"):
        make("Stand", observed=("*_hop_*",))
    with pytest.raises(SimulationError, match=r"observed.*'waist_yaw_joint'"):
        make("Stand", driven=("legs",), locked=("trunk",), observed=("waist_yaw_joint",))
    with pytest.raises(SimulationError, match=r"locked.*leaves robot 'g1' no joint"):
        make("Stand", locked=("*",))
    with pytest.raises(SimulationError, match=r"driven.*'left_knee_joint'"):
        make("Stand", driven=("left_knee_joint",), locked=("legs",))
    with pytest.raises(SimulationError, match=r"driven: robot 'alexander_legs' has no arms"):
        make("Stand", robot="alexander_legs", driven=("arms",))
    make("Stand", robot="alexander_legs", locked=("arms",)).close()  # one preset for robots with and without
    env = make("Stand", observed=("left_*",))
    with pytest.raises(SimulationError, match=r"observed.*counterpart"):
        env.observation.mirror()
    env.close()


def test_training_and_evaluation_must_agree_on_what_a_policy_sees():
    data = load_preset("train", "walk")[1]
    training.check_environments(training.resolve(data, "walk"))
    with pytest.raises(AgentError, match=r"eval\.kwargs.*joint_position\[29\]"):
        training.check_environments(training.resolve(data, "walk", ["eval.kwargs.observed=['*']"]))
    with pytest.raises(AgentError, match=r"eval\.kwargs.*control_rate"):
        training.check_environments(training.resolve(data, "walk", ["eval.kwargs.decimation=5"]))


def test_a_bundle_trained_with_locked_joints_is_for_the_whole_robot(tmp_path):
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.bundle import load_bundle

    small = ["total_steps=32", "workers=1", "envs_per_worker=2", "ppo.rollout_steps=16", "ppo.minibatches=2"]
    evaluation = ["eval.episodes=2", "eval.kwargs.episode_length_s=0.2"]
    result = training.start("walk", [*small, *evaluation, "network.hidden=[8]"], root=tmp_path)
    bundle = load_bundle(result.bundle)
    assert len(bundle.spec.env.joint_names) == 29 and len(bundle.spec.env.action_joints) == 12
    assert bundle.conditions["locked"] == [] and bundle.spec.env_kwargs["locked"] == ["arms"]
    assert result.evaluation is not None and result.evaluation.complete
    assert result.evaluation.environment["model_hash"] == bundle.spec.env.model_hash

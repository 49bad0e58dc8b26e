"""What an action moves: all joints, or those that `driven` names."""

from __future__ import annotations

import numpy as np
import pytest

from training_ground.configs.errors import SimulationError
from training_ground.envs.registration import make

LEGS = ("*_hip_*", "*_knee_*", "*_ankle_*")


def test_joints_that_are_not_driven_hold_the_default_pose():
    env = make("Stand", robot="g1", driven=LEGS)
    names = env.model.joint_names
    assert env.action_joints == tuple(n for n in names if any(part in n for part in ("hip", "knee", "ankle")))
    assert env.action_space.shape == (12,) == env.action_scale.shape
    channels = {c.name: c for c in env.channels}
    assert channels["action"].components == channels["previous_action"].components == env.action_joints
    assert channels["joint_position"].size == len(names)
    env.reset(seed=0)
    held = [i for i, name in enumerate(names) if name not in env.action_joints]
    moved = [names.index(name) for name in env.action_joints]
    env.step(np.ones(12, np.float32))
    assert np.array_equal(env.target[held], env.action_origin[held])
    limited = np.minimum(env.action_origin[moved] + env.action_scale, env.model.upper[moved])
    assert env.target[moved] == pytest.approx(limited)
    assert env.frame()["action"].tolist() == [1.0] * 12
    env.close()


@pytest.mark.parametrize("control", ["joint_position", "joint_delta"])
def test_all_joints_are_driven_by_default(control):
    whole = make("Stand", robot="g1_legs", control=control)
    named = make("Stand", robot="g1_legs", control=control, driven=["legs"])
    for env in (whole, named):
        env.reset(seed=4)
    action = np.linspace(-0.5, 0.5, 12).astype(np.float32)
    assert np.array_equal(np.array(whole.step(action)[0]), np.array(named.step(action)[0]))
    whole.close()
    named.close()


def test_bad_driven_joints_are_named():
    with pytest.raises(SimulationError, match=r"'\*_hop_\*'.*left_hip_pitch_joint"):
        make("Stand", robot="g1", driven=("*_hop_*",))
    with pytest.raises(SimulationError, match=r"driven.*position control"):
        make("Stand", robot="g1", driven=LEGS, control="joint_torque")
    env = make("Stand", robot="g1", driven=("left_*",))
    with pytest.raises(SimulationError, match="counterpart"):
        env.observation.mirror()
    env.close()


def test_zero_action_holds_the_default_pose_against_gravity():
    """Robots whose feet are wide enough stand by their gains alone, at the height of the default pose."""
    env = make("Stand", robot="simple_humanoid", push_speed=(0.0, 0.0), start_joint_noise=0.0)
    env.reset(seed=0)
    for _ in range(100):
        env.step(np.zeros(env.action_space.shape or (), np.float32))
    assert env.outcome.success
    assert np.abs(env.robot.joint_position - env.model.default_position).max() < 0.02
    assert env.robot.base.position[2] == pytest.approx(env.model.default_height, abs=0.005)
    env.close()

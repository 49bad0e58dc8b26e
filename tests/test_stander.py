"""The scripted balance policy: whether it knows where the weight is, and keeps it over the feet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training_ground.assets.catalog import load_model
from training_ground.assets.dynamics import GRAVITY
from training_ground.assets.gravity import Gravity
from training_ground.envs.registration import make
from training_ground.envs.stander import Stander

LEGS = {"driven": ["legs"], "push_speed": (0.0, 0.0), "pull_force": (0.0, 0.0)}


def stander(env: Any) -> Stander:
    return Stander(env.model, env.action_joints, env.action_origin[env.driven], env.action_scale)


@pytest.mark.parametrize("robot", ["g1_dex3", "talos"])
def test_the_centre_of_mass_is_where_potential_energy_says(robot: str):
    """Another road to the same place: m·g times its rise is what the potential gains, for each direction as up."""
    model = load_model(robot)
    gravity, generator = Gravity(model), np.random.default_rng(0)
    angles = generator.uniform(np.maximum(model.lower, -1.0), np.minimum(model.upper, 1.0))
    for axis in range(3):
        up = np.eye(3)[axis]
        gained = gravity.potential(angles, up) - gravity.potential(model.default_position, up)
        rise = (gravity.centre(angles) - gravity.centre(model.default_position))[axis]
        assert model.mass * GRAVITY * rise == pytest.approx(gained, abs=1e-9 * abs(gained) + 1e-7)


def test_at_the_default_pose_the_soles_bear_the_weight():
    """At rest its torques are those that the compiler worked out for standing, but for where the soles press."""
    model = load_model("g1_dex3")
    names = model.joint_names
    driven = tuple(name for name in names if name in model.groups["legs"])
    place = [names.index(name) for name in driven]
    one = Stander(model, driven, model.default_position[place], np.ones(len(driven)))
    up = np.array([0.0, 0.0, 1.0])
    feet, middle, axes = one._stance(model.default_position, up)
    over = axes @ (Gravity(model).centre(model.default_position) - middle)
    assert abs(over[1]) < 0.005 and 0.4 < over[2] < 0.8
    torque = one._torques(model.default_position, feet, axes, np.zeros(2))
    assert torque == pytest.approx(model.standing_torque[place], abs=0.5)
    hip, ankle = (driven.index(f"left_{name}_joint") for name in ("hip_roll", "ankle_pitch"))
    ahead = one._torques(model.default_position, feet, axes, np.array([0.05, 0.0]))
    assert ahead[ankle] - torque[ankle] == pytest.approx(0.05 * model.mass * GRAVITY / 2, rel=0.02)
    left = one._torques(model.default_position, feet, axes, np.array([0.0, 0.3]))
    assert abs(left[driven.index("right_knee_joint")]) < 2.0 < abs(left[driven.index("left_knee_joint")])
    assert left[hip] != torque[hip]


def test_a_correction_brings_the_pelvis_back_with_the_feet_in_place():
    model = load_model("g1_dex3")
    names = model.joint_names
    driven = tuple(name for name in names if name in model.groups["legs"])
    place = [names.index(name) for name in driven]
    one = Stander(model, driven, model.default_position[place], np.ones(len(driven)))
    tilted = np.array([np.sin(0.05), 0.0, np.cos(0.05)])  # up as a base sees it that leans back by 0.05 rad
    feet, middle, axes = one._stance(model.default_position, tilted)
    change = np.zeros(len(names))
    change[place] = one._correction(feet, middle, axes, np.array([0.02, 0.0, 0.7]))
    after, middle_after, _ = one._stance(model.default_position + change, np.array([0.0, 0.0, 1.0]))
    apart = after[0][1] - after[1][1]
    assert np.linalg.norm(apart) == pytest.approx(np.linalg.norm(feet[0][1] - feet[1][1]), abs=1e-3)
    # The pelvis has come back by what the weight was too far ahead: the feet are as much farther ahead of it.
    assert (axes @ (middle_after - middle))[0] == pytest.approx(0.02, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["g1_dex3", "g1_grippers"])
def test_it_stands_where_a_robot_that_only_holds_its_pose_falls(robot: str):
    env = make("Balance", robot=robot, episode_length_s=8.0, **LEGS)
    policy, held = stander(env), []
    for act in (policy, lambda seen: np.zeros(12, np.float32)):
        seen, _ = env.reset(seed=3)
        ended, info = False, {}
        while not ended:
            seen, _, terminated, truncated, info = env.step(act(seen))
            ended = terminated or truncated
        held.append((env.steps, info["success"], info["metrics"]))
    env.close()
    assert held[0][0] == 400 and held[0][1] and held[0][2]["drift"] < 0.15
    assert held[1][0] < 250 and not held[1][1]

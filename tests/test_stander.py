"""The scripted balance policy: whether it knows where the weight is, and keeps it over the feet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training_ground.assets.catalog import load_model
from training_ground.assets.dynamics import GRAVITY
from training_ground.assets.gravity import Gravity
from training_ground.assets.model import CompiledModel
from training_ground.envs.registration import make
from training_ground.envs.stander import Stander

UP = np.array([0.0, 0.0, 1.0])
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


def standing() -> tuple[CompiledModel, tuple[str, ...], list[int], Stander]:
    """The G1 with hands, its legs' joints, their indices, and what stands on them."""
    model = load_model("g1_dex3")
    driven = tuple(name for name in model.joint_names if name in model.groups["legs"])
    place = [model.joint_names.index(name) for name in driven]
    return model, driven, place, Stander(model, driven, model.default_position[place], np.ones(len(driven)))


def test_at_the_default_pose_the_soles_bear_the_weight():
    model, driven, place, one = standing()
    feet, middle, axes = one._stance(model.default_position, UP)
    over = axes @ (Gravity(model).centre(model.default_position) - middle)
    assert abs(over[1]) < 0.005 and 0.4 < over[2] < 0.8
    torque = one._torques(model.default_position, feet, axes, np.zeros(2))
    # The compiler shares the weight evenly among the points of the soles: it presses their middle, too.
    half = model.mass * GRAVITY / 2
    pitch = [driven.index(f"left_{name}_joint") for name in ("hip_pitch", "knee", "ankle_pitch")]
    assert torque == pytest.approx(model.standing_torque[place], abs=half * 0.012)
    ahead = one._torques(model.default_position, feet, axes, np.array([0.05, 0.0]))
    # Every axis that lies across bears a force that has gone 5 cm forward with 5 cm more of lever.
    assert np.abs(ahead - torque)[pitch] == pytest.approx([0.05 * half] * 3, rel=0.01)
    assert np.sign((ahead - torque)[pitch]).tolist() == [np.sign((ahead - torque)[pitch[0]])] * 3
    left = one._torques(model.default_position, feet, axes, np.array([0.0, 0.3]))  # all weight on one foot
    alone = Gravity(model).torque(model.default_position)[place]
    right = [i for i, name in enumerate(driven) if name.startswith("right")]
    assert left[right] == pytest.approx(alone[right], abs=1e-9)


def test_a_correction_brings_the_weight_back_with_the_feet_in_place():
    model, _, place, one = standing()
    feet, middle, axes = one._stance(model.default_position, UP)
    change = np.zeros(len(model.joint_names))
    change[place] = one._correction(feet, middle, axes, np.array([0.02, -0.01, 0.7]))
    after, moved, _ = one._stance(model.default_position + change, UP)
    # The feet are farther ahead of the pelvis by what the weight was too far ahead, and as far apart as before.
    assert moved - middle == pytest.approx([0.02, -0.01, 0.0], abs=1e-3)
    assert after[0][1] - after[1][1] == pytest.approx(feet[0][1] - feet[1][1], abs=1e-3)
    for (rotation, _, _), (before, _, _) in zip(after, feet, strict=True):
        assert rotation == pytest.approx(before, abs=5e-3)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_pelvis_that_leans_is_brought_upright(axis: int):
    model, _, place, one = standing()
    lean = 0.05 * np.eye(3)[axis]
    up = UP - np.cross(lean, UP)  # as the base sees it
    feet, middle, axes = one._stance(model.default_position, up / np.linalg.norm(up))
    change = np.zeros(len(model.joint_names))
    change[place] = one._correction(feet, middle, axes, np.array([0.0, 0.0, 0.7]))
    after, _, _ = one._stance(model.default_position + change, UP)
    soles = np.mean([rotation[:, 2] for rotation, _, _ in after], axis=0)
    assert soles == pytest.approx([0.0, 0.0, 1.0], abs=5e-3), "flat on the ground once the pelvis is upright"


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["g1_dex3", "g1_grippers"])
def test_it_stands_where_a_robot_that_only_holds_its_pose_falls(robot: str):
    env: Any = make("Balance", robot=robot, episode_length_s=8.0, **LEGS)
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

"""Balance: what trunk and arms are told to do, what pulls, and what counts as standing where one stood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from training_ground.configs.errors import SimulationError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make
from training_ground.envs.tasks.balance._motion import INSIDE, draw, limbs
from training_ground.envs.tasks.balance.balance import PULL_S, STRAYED

STILL = {"push_speed": (0.0, 0.0), "pull_force": (0.0, 0.0), "hand_load": (0.0, 0.0)}


@pytest.fixture(scope="module")
def env() -> Iterator[HumanoidEnv]:
    env = make("Balance", robot="g1_dex3", driven=["legs"], locked=["*_hand_*"], pull_force=(10.0, 10.0))
    yield env
    env.close()


def test_trunk_and_arms_move_and_nothing_else(env: HumanoidEnv):
    names = env.model.joint_names
    moved = [[names[i] for i in limb] for limb in limbs(env.model)]
    assert [len(limb) for limb in moved] == [3, 7, 7]
    assert all("waist" in name for name in moved[0])
    assert all(name.startswith("left") for name in moved[1]) and all(name.startswith("right") for name in moved[2])
    env.reset(seed=1)
    legs = [names.index(name) for name in env.model.groups["legs"]]
    env.steps = 400
    offsets = env.task.reference()
    env.steps = 0
    assert offsets is not None and not offsets[legs].any() and (np.abs(offsets) > 0.01).sum() >= 12


@pytest.mark.parametrize("seed", range(5))
def test_a_limbs_motion_is_smooth_and_within_its_limits(env: HumanoidEnv, seed: int):
    model = env.model
    for joints in limbs(model):
        where = list(joints)
        motion = draw(np.random.default_rng(seed), model, joints, 1.0, (0.3, 1.5), 20.0)
        way = np.array([motion.at(0.01 * i) for i in range(2001)])
        assert not way[0].any() and np.abs(way).max() <= 1.0 and np.ptp(way, axis=0).min() > 0.1
        margin, angles = INSIDE * (model.upper - model.lower)[where], model.default_position[where] + way
        assert (angles >= np.minimum(model.lower[where] + margin, model.default_position[where]) - 1e-9).all()
        assert (angles <= np.maximum(model.upper[where] - margin, model.default_position[where]) + 1e-9).all()
        speed = np.diff(way, axis=0) / 0.01
        assert np.abs(speed).max() <= 1.5 * 1.875 + 1e-6  # of least jerk, times the mean
        assert np.abs(np.diff(speed, axis=0) / 0.01).max() < 120.0  # no jump: the shortest way takes 0.3 s
        resting = (np.abs(speed) < 1e-12).all(axis=1).mean()
        assert 0.1 < resting < 0.8


def test_a_force_pulls_for_half_of_the_time(env: HumanoidEnv):
    env.reset(seed=2)
    begun = np.array(env.robot.base.linear_velocity)
    assert not env.frame()["pull_force"].any()
    env.steps = round(1.5 * PULL_S / env.control_timestep)
    force = env.frame()["pull_force"]
    assert np.hypot(*force) == pytest.approx(10.0, rel=1e-6)
    env.task.before_step()
    env.robot.drive.read()
    env.robot.read()
    change = np.array(env.robot.base.linear_velocity) - begun
    assert change[:2] == pytest.approx(force * env.control_timestep / env.model.mass, rel=1e-3)
    env.steps = 0


def test_loads_are_drawn_for_each_hand_and_weigh(env: HumanoidEnv):
    heavy = make("Balance", robot="g1_dex3", hand_load=(2.0, 3.0))
    _, info = heavy.reset(seed=1)
    first = info["randomisation"]["loads"]
    assert len(set(first)) == 2 and all(2.0 <= mass <= 3.0 for mass in first)
    assert heavy.frame()["hand_load"] == pytest.approx(first)
    heavy.close()
    with pytest.raises(SimulationError, match=r"hand_load.*at most 5 kg"):
        make("Balance", robot="g1_dex3", hand_load=(0.0, 6.0))


def test_who_has_been_moved_away_does_not_stand_where_he_stood(env: HumanoidEnv):
    quiet = make("Balance", robot="g1_dex3", arm_reach=0.0, trunk_reach=0.0, **STILL)
    task: Any = quiet.task
    quiet.reset(seed=3)
    info = {}
    for _ in range(5):
        *_, info = quiet.step(np.zeros(quiet.action.shape, np.float32))
    assert info["success"] and info["failure"] is None
    x, y = task.state.values["begun"]
    task.state.values["begun"] = (x + STRAYED, y)
    *_, info = quiet.step(np.zeros(quiet.action.shape, np.float32))
    assert not info["success"] and info["failure"] is None
    quiet.close()


def test_an_arm_that_falls_forward_disturbs(env: HumanoidEnv):
    """The arms' work is what makes it a task of its own: without it the same robot stands longer."""
    lasted = []
    for reach in (0.0, 1.0):
        one = make("Balance", robot="g1_dex3", driven=["legs"], arm_reach=reach, trunk_reach=0.4 * reach, **STILL)
        one.reset(seed=4)
        for _ in range(300):
            *_, terminated, truncated, _ = one.step(np.zeros(12, np.float32))
            if terminated or truncated:
                break
        lasted.append(one.steps)
        one.close()
    assert lasted[1] < lasted[0]


def test_a_robot_without_hands_is_refused():
    with pytest.raises(SimulationError, match="'g1_legs' has no hands"):
        make("Balance", robot="g1_legs")

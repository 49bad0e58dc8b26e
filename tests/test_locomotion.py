"""The ladder of walks: what each rung adds to Walk, measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from training_ground.assets.catalog import robot_names
from training_ground.configs.errors import SimulationError
from training_ground.envs import balance, rotations
from training_ground.envs.registration import make

ZERO = np.zeros(29, np.float32)


def observed(task: str) -> list[Any]:
    env = make(task, robot="g1")
    channels = list(env.observation.observed)
    env.close()
    return channels


def test_a_policy_of_walk_fits_the_other_rungs():
    walk = observed("Walk")
    for task in ("Turn", "Run", "Carry"):
        assert observed(task) == walk
    for task in ("Rough", "Stairs", "GoTo"):
        assert observed(task)[: len(walk)] == walk and len(observed(task)) > len(walk)


# ---- Turn and Run ----------------------------------------------------------------------------------------------------


def test_turn_leads_back_to_the_spot():
    env: Any = make("Turn", robot="g1", turn_rate=(0.8, 0.8), push_speed=(0.0, 0.0))
    env.reset(seed=1)
    assert env.task.command == [0.0, 0.0, 0.8]
    yaw = rotations.yaw(env.robot.base.orientation)
    env.task.state.values["spot"] = (
        0.1 * math.cos(yaw) - 0.5 * math.sin(yaw),
        0.1 * math.sin(yaw) + 0.5 * math.cos(yaw),
    )
    assert env.task.command == pytest.approx([0.1, 0.2, 0.8])
    assert not env.step(ZERO)[4]["success"]  # half a metre away
    env.reset(seed=1)
    assert env.step(ZERO)[4]["success"]
    env.close()


def test_run_flies_and_asks_no_more_than_the_robot_can():
    phases = set()
    for robot in ("g1", "icub"):
        env: Any = make("Run", robot=robot)
        most = 0.75 * math.sqrt(9.81 * env.model.default_height)
        speeds = []
        for seed in range(20):
            env.reset(seed=seed)
            speeds += [command[0] for command in env.task.state.values["commands"]]
        assert min(speeds) >= 0.8 and 0.85 * most < max(speeds) <= min(most, 2.0)
        for _ in range(20):
            phases.add(env.step(np.zeros(env.action_space.shape, np.float32))[4]["phase"])
        assert env.task.gait.period < 0.6
        env.close()
    assert phases == {"left", "right", "flight"}


# ---- Carry -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [0.0, 5.0])
def test_the_payload_is_felt_at_the_feet(payload):
    env: Any = make("Carry", robot="g1", payload_mass=(payload, payload), push_speed=(0.0, 0.0), start_joint_noise=0.0)
    env.reset(seed=0)
    assert env.frame()["payload_mass"] == np.float32(payload) and env.drawn["loads"] == [payload / 2] * 2
    forces = []
    for _ in range(40):
        env.robot.advance(env.action_origin, 4)
        forces.append(float(env.robot.foot_force[:, 2].sum()))
    # The mean force is the weight and what the centre of mass gained of momentum, little, in the time.
    assert np.mean(forces[10:]) == pytest.approx((env.model.mass + payload) * 9.81, rel=0.02)
    env.close()


def test_the_payload_survives_a_restore_and_other_masses():
    env: Any = make("Carry", robot="g1", randomisation={"mass_scale": (0.9, 1.1)})
    masses = set()
    for seed in (1, 2):
        env.reset(seed=seed)
        kept, mass = env.save(), sum(env.drawn["loads"])
        env.step(ZERO)
        once = env.frame()["joint_torque"].tolist()
        env.reset(seed=seed + 10)
        env.restore(kept)
        env.step(ZERO)
        assert env.frame()["joint_torque"].tolist() == once
        masses.add(mass)
    assert len(masses) == 2 and all(0.0 <= mass <= 5.0 for mass in masses)
    env.close()
    with pytest.raises(SimulationError, match=r"'g1_legs' has no hands; task 'Carry'"):
        make("Carry", robot="g1_legs")


# ---- GoTo ------------------------------------------------------------------------------------------------------------


def test_no_start_is_at_the_station_and_the_command_leads_there():
    env: Any = make("GoTo", robot="g1")
    bearings = []
    for seed in range(20):
        env.reset(seed=seed)
        x, y = env.frame()["goal_position"]
        assert 0.99 < math.hypot(x, y) < 4.01
        forward, left, turn = env.task.command
        assert -0.3001 < forward < 0.6001 and abs(left) < 0.2001
        assert math.atan2(left, forward) == pytest.approx(math.atan2(y, x)), "it does not lead straight there"
        assert forward in (pytest.approx(0.6), pytest.approx(-0.3)) or abs(left) == pytest.approx(0.2)
        assert turn == pytest.approx(0.5 * math.tanh(math.atan2(y, x) / 0.5))
        assert not env.step(ZERO)[4]["success"]
        bearings.append(math.atan2(y, x))
    assert np.ptp(bearings) > 4.0
    env.close()


def test_the_command_law_ends_at_the_station():
    """A robot that did exactly as it is told would be there, facing as it should, in the time that there is."""
    env: Any = make("GoTo", robot="g1")
    env.reset(seed=3)
    env.task.state.values.update(goal=(-3.0, 2.6), goal_heading=3.0, heading=0.0)
    x, y, yaw, dt = 0.0, 0.0, 0.0, env.control_timestep
    for _ in range(round(25.0 / dt)):
        env.robot.body.set_base((x, y, 1.0), rotations.from_euler(0.0, 0.0, yaw))
        env.robot.drive.read()
        env.robot.read()
        forward, left, turn = env.task.command
        x += dt * (math.cos(yaw) * forward - math.sin(yaw) * left)
        y += dt * (math.sin(yaw) * forward + math.cos(yaw) * left)
        yaw += dt * turn
        env.task.state.values["heading"] = yaw
        if math.hypot(x + 3.0, y - 2.6) < 0.02 and abs(math.remainder(yaw - 3.0, 2 * math.pi)) < 0.04:
            break
    else:
        pytest.fail("not there after 25 s")
    env.close()


def test_at_the_station_the_robot_stands_and_success_takes_its_time():
    env: Any = make("GoTo", robot="g1", start_joint_noise=0.0, goal_distance=(0.0, 0.0), position_tolerance=0.2,
                    heading_tolerance=0.5)  # fmt: skip
    env.reset(seed=1)
    env.task.state.values["goal_heading"] = rotations.yaw(env.robot.base.orientation)
    env.task.state.values["start"] = 0.0
    phases, held = [], []
    for _ in range(26):
        info = env.step(ZERO)[4]
        phases.append(info["phase"])
        held.append(env.task.state.values["held"])
        assert info["success"] == (held[-1] >= 25)
    assert "stand" in phases and env.frame()["gait_clock"].tolist() == [0.0, 0.0] and env.task.command == [0.0] * 3
    assert max(held) > 3, "it never stood still"
    env.task.state.values["goal"] = (1.0, 0.0)
    env.step(ZERO)
    assert env.frame()["gait_clock"].any() and env.task.command[0] != 0.0
    assert all(phase < env.task.stance_share for phase in env.task.phases_of_feet())
    env.close()


# ---- GetUp -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("robot", ["g1", "talos", "icub"])
@pytest.mark.parametrize("prone", [True, False])
def test_the_robot_really_lies(robot, prone):
    env: Any = make("GetUp", robot=robot, prone_share=float(prone))
    for seed in (0, 1):
        env.reset(seed=seed)
        assert env.frame()["began_prone"] == prone
        assert balance.relative_height(env) < 0.35 and balance.tilt(env.robot) > 1.2
        assert (env.robot.projected_gravity[0] > 0.8) if prone else (env.robot.projected_gravity[0] < -0.8)
        assert env.robot.touching
        assert math.hypot(*env.robot.base.linear_velocity) < 0.1 and np.abs(env.robot.joint_velocity).max() < 1.0
        assert min(c.distance for c in env.robot.body.contacts()) > -0.003
        action = np.zeros(env.action_space.shape, np.float32)
        for _ in range(3):
            info = env.step(action)[4]
            assert not info["success"] and info["failure"] is None and info["phase"] == "lie"
    assert math.isnan(env.task.metrics()["time_to_stand"])
    env.close()


def test_getting_up_takes_a_second_of_standing():
    env: Any = make("GetUp", robot="g1", hold_s=0.2)
    env.reset(seed=0)
    env.robot.place(env.model.default_position.tolist())
    results = [env.step(ZERO)[4] for _ in range(15)]
    assert [info["success"] for info in results] == [False] * 9 + [True] * 6
    assert env.task.metrics()["time_to_stand"] == pytest.approx(0.02)
    assert results[0]["phase"] == "stand"
    env.close()


def test_who_cannot_get_up_is_told_why():
    handless = [name for name in robot_names() if name in ("g1_legs", "alexander_legs")]
    for robot in handless:
        with pytest.raises(SimulationError, match=f"'{robot}' has no hands; task 'GetUp'"):
            make("GetUp", robot=robot)

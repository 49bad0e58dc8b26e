"""The stepping reference: kinematics that hold for every robot with two feet, and the task that follows it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from training_ground.agents.signature import ReferenceSignature, signature_of
from training_ground.assets.catalog import robot_names
from training_ground.configs.errors import SimulationError
from training_ground.envs import rotations
from training_ground.envs.gait import STANCE_SHARE, swing
from training_ground.envs.registration import make

ROBOTS = ("g1", "talos", "icub")


def walk(**options) -> Any:
    return make("Walk", **options)


def foot_against_base(env, index, offset):
    """Position and orientation of a foot in the base frame, m, with the joints off the default pose, rad."""
    robot, model = env.robot, env.model
    robot.body.set_joints((model.default_position + offset).tolist())
    robot.drive.read()
    base, foot = (robot.body.link_state(name) for name in (model.base_link, model.feet[index].link))
    apart = np.subtract(foot.position, base.position)
    return np.array(rotations.rotate_inverse(base.orientation, apart)), rotations.multiply(
        rotations.conjugate(base.orientation), foot.orientation
    )


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_reference_lifts_and_carries_a_level_foot(robot):
    env = walk(robot=robot, step_height=0.05)
    gait, none = env.task.gait, np.zeros(env.robot.count)
    for index in (0, 1):
        start, level = foot_against_base(env, index, none)
        other, _ = foot_against_base(env, 1 - index, none)
        raised, orientation = foot_against_base(env, index, gait.lift[index])
        assert raised - start == pytest.approx([0, 0, 0.05], abs=0.003)
        assert rotations.angle_between(level, orientation) < 0.03
        assert foot_against_base(env, 1 - index, gait.lift[index])[0] == pytest.approx(other, abs=1e-9)
        # At the end of its swing the foot is half a stride ahead; mid-stance it is under the hip again.
        velocity = (0.3, -0.1, 0.4)
        phases = (STANCE_SHARE / 2, STANCE_SHARE / 2)
        touch = [0.0 if i == index else phases[i] for i in (0, 1)]
        moved, turned = foot_against_base(env, index, gait.offset(touch, velocity))
        half = 0.5 * STANCE_SHARE * gait.period
        assert moved[:2] - start[:2] == pytest.approx([0.3 * half, -0.1 * half], abs=0.2 * 0.3 * half)
        turn = rotations.rotation_vector(rotations.multiply(turned, rotations.conjugate(level)))
        assert turn[2] == pytest.approx(0.4 * half, abs=0.2 * 0.4 * half)
        assert np.abs(gait.offset(phases, velocity)).max() < 1e-9
    env.close()


@pytest.mark.parametrize("robot", ROBOTS)
def test_arms_swing_with_the_other_sides_foot(robot):
    env, still = walk(robot=robot, arm_swing=0.8), walk(robot=robot)
    gait, model, velocity = env.task.gait, env.model, (0.4, 0.2, 0.3)
    arms = [model.joint_names.index(name) for name in model.groups["arms"]]

    def hands(phases):
        env.robot.body.set_joints((model.default_position + gait.offset(phases, velocity)).tolist())
        env.robot.drive.read()
        links = [model.frames[hand.frame].link for hand in model.hands]
        return np.array([env.robot.body.link_state(link).position for link in links])

    hang = hands((STANCE_SHARE / 2, STANCE_SHARE / 2))
    way = 0.8 * 0.4 * 0.5 * STANCE_SHARE * gait.period
    for index, foot in enumerate(model.feet):
        moved = hands([0.0 if i == index else STANCE_SHARE / 2 for i in (0, 1)]) - hang
        for hand, (x, y, z) in zip(model.hands, moved, strict=True):
            assert x == pytest.approx(way if hand.side != foot.side else 0.0, abs=0.2 * way)
            assert abs(y) < 0.2 * way and abs(z) < way
    legs = [i for i in range(len(model.joint_names)) if i not in arms]
    assert gait.step[:, legs] == pytest.approx(still.task.gait.step[:, legs])
    assert not still.task.gait.step[:, arms].any(), "unless they are asked to, they hang"
    assert not walk(robot=robot, locked=["arms"], arm_swing=0.8).task.gait.step[:, len(legs) :].any()
    env.close()
    still.close()


def test_a_swing_is_smooth_and_a_standing_foot_goes_back_with_the_commanded_speed():
    phases = np.linspace(0, 1, 1001)
    height, reach = np.array([swing(p % 1.0) for p in phases]).T
    assert height[phases < STANCE_SHARE].max() == 0.0 and height.max() == pytest.approx(1.0, abs=1e-4)
    assert np.abs(np.diff(height)).max() < 0.01 and np.abs(np.diff(reach)).max() < 0.01
    stance = reach[(phases > 0.01) & (phases < STANCE_SHARE - 0.01)]
    assert np.diff(stance) == pytest.approx(-0.001 / STANCE_SHARE)


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_reference_has_no_favourite_side(robot):
    env = walk(robot=robot)
    mirror, gait = env.model.mirror, env.task.gait
    for phase in (0.1, 0.6, 0.8):
        one = gait.offset((phase, (phase + 0.5) % 1), (0.5, 0.2, 0.3))
        two = gait.offset(((phase + 0.5) % 1, phase), (0.5, -0.2, -0.3))
        assert mirror.sign * one[mirror.permutation] == pytest.approx(two, abs=0.02)
    env.close()


def test_success_asks_for_the_commanded_speed():
    still = {"forward_speed": (0.0, 0.0), "sideways_speed": (0.0, 0.0), "turn_rate": (0.0, 0.0)}
    for options, success in ((still, True), ({**still, "forward_speed": (0.6, 0.6)}, False)):
        env = walk(robot="g1", **options)
        env.reset(seed=3)
        assert env.step(np.zeros(29, np.float32))[4]["success"] is success
        assert env.frame()["command_velocity"][0] == np.float32(options["forward_speed"][0])
        env.close()


def test_commands_change_when_they_should_and_the_heading_follows():
    env = walk(robot="g1", command_interval_s=0.1, episode_length_s=0.5)
    env.reset(seed=1)
    start = rotations.yaw(env.robot.base.orientation)
    commands, expected = [], start
    for _ in range(25):
        expected += env.task.command[2] * env.control_timestep
        env.step(np.zeros(29, np.float32))
        commands.append(tuple(env.frame()["command_velocity"].tolist()))
        error = math.remainder(rotations.yaw(env.robot.base.orientation) - expected, 2 * math.pi)
        assert env.frame()["heading_error"] == pytest.approx(error, abs=1e-6)
    assert len(set(commands)) == 5
    env.close()


def test_a_walk_is_measured_against_where_its_commands_lead():
    env = walk(robot="g1", forward_speed=(0.5, 0.5), sideways_speed=(0.2, 0.2), turn_rate=(0.0, 0.0))
    _, info = env.reset(seed=2)
    assert "metrics" not in info
    start, yaw = np.array(env.robot.base.position[:2]), rotations.yaw(env.robot.base.orientation)
    ended, down = False, []
    while not ended:
        _, _, terminated, truncated, info = env.step(np.zeros(29, np.float32))
        ended = terminated or truncated
        down.append(sum(env.robot.foot_contact))
    metrics = info["metrics"]
    forward, left = np.array([math.cos(yaw), math.sin(yaw)]), np.array([-math.sin(yaw), math.cos(yaw)])
    time = env.steps * env.control_timestep
    beside = (np.array(env.robot.base.position[:2]) - start - 0.5 * time * forward) @ left - 0.2 * time
    assert metrics["drift"] == pytest.approx(abs(beside), abs=1e-6) and abs(beside) > 0.05
    # It falls before a command has held for two seconds: there is no mean speed error to speak of.
    assert math.isnan(metrics["speed_error"]) and metrics["cost_of_transport"] > 0.1
    assert metrics["steps_left"] + metrics["steps_right"] >= 1
    assert metrics["flight"] == down.count(0) / len(down)
    assert 0 < metrics["double_support"] == down.count(2) / len(down) < 1
    lifted = [metrics[f"clearance_{side}"] for side in ("left", "right") if metrics[f"steps_{side}"]]
    assert all(0.01 < height < 0.2 for height in lifted)
    env.close()


def test_what_cannot_step_is_refused():
    with pytest.raises(SimulationError, match=r"foot 'left_ankle_roll_link' rises by .* of step_height = 1\.5 m"):
        walk(robot="g1", step_height=1.5)
    footless = next(name for name in robot_names() if not make("Reach", robot=name).model.feet)
    with pytest.raises(SimulationError, match="has not two feet but 0"):
        walk(robot=footless)


@pytest.mark.parametrize("task", ["Walk", "Run", "GoTo"])
def test_a_controller_can_work_the_reference_out_from_what_a_bundle_says(task):
    """As written under *Deploy*: from the numbers in the signature, the clock that is observed, and the command."""
    env = make(task, robot="g1", driven=("legs",), push_speed=(0, 0))
    about = signature_of(env)
    ref = about.reference
    assert isinstance(ref, ReferenceSignature)
    lift, step, joints = np.array(ref.lift), np.array(ref.step), [about.joint_names.index(j) for j in ref.joints]
    driven = [about.joint_names.index(j) for j in about.action_joints]
    pace, generator = np.zeros(3), np.random.default_rng(0)
    env.reset(seed=3)
    for _ in range(25):
        seen = env.observation.split(env.observation.read(env))
        command = np.array([*seen["command_velocity"], seen["command_turn_rate"]])
        clock = np.arctan2(*seen["gait_clock"]) / (2 * np.pi) % 1
        phases = {"left": clock, "right": (clock + 0.5) % 1}
        target = np.array(about.action_origin)
        for foot, side in enumerate(ref.feet):
            phase = phases[side]
            if phase < ref.stance_share:
                height, reach = 0.0, 0.5 - phase / ref.stance_share
            else:
                share = (phase - ref.stance_share) / (1 - ref.stance_share)
                height, reach = 0.5 - 0.5 * np.cos(2 * np.pi * share), -0.5 * np.cos(np.pi * share)
            stride = reach * ref.stance_share * ref.period * pace
            target[joints] += height * lift[foot] + step[foot] @ stride
        action = generator.uniform(-0.1, 0.1, len(driven)).astype(np.float32)
        target[driven] += np.array(about.action_scale) * action
        pace += ref.smoothing * (command - pace)
        env.step(action)
        assert env.target == pytest.approx(np.clip(target, env.model.lower, env.model.upper), abs=2e-6)
    env.close()


def test_another_reference_is_told():
    one, other = (make("Walk", robot="g1", step_height=height) for height in (0.05, 0.07))
    found = signature_of(one).differences(signature_of(other))
    assert len(found) == 1 and found[0].startswith("reference.lift")
    one.close()
    other.close()

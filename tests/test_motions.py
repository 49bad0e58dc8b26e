"""Motions made of key poses: what their files may say, how they run, and how GetUp follows them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from training_ground.agents.signature import MotionsSignature, signature_of
from training_ground.assets.catalog import load_model, robot_names
from training_ground.assets.keyframes import KeyPose, MotionSpec
from training_ground.assets.library import load_motions, motion_names
from training_ground.configs.errors import AssetError
from training_ground.configs.loading import validate
from training_ground.envs import balance
from training_ground.envs.keyframes import Keyframes
from training_ground.envs.registration import make
from training_ground.envs.tasks.locomotion.get_up import RISING_S


@pytest.mark.parametrize("name", motion_names())
def test_shipped_motions_are_of_a_robot_within_its_limits_and_alike_on_both_sides(name):
    spec = load_motions(name)
    assert spec.robot in robot_names() and name.startswith(f"{spec.robot}_")
    model = load_model(spec.robot)
    assert model.mirror is not None
    for face, poses in spec.motions.items():
        motion = Keyframes(model, poses, spec.return_s, face)
        reflected = model.mirror.sign * motion.offsets[:, model.mirror.permutation]
        assert np.abs(reflected - motion.offsets).max() < 0.2, "the default poses of the sides may differ a little"
        steps = np.array([motion.at(t) for t in np.arange(0.0, motion.length + 0.02, 0.02)])
        assert np.abs(np.diff(steps, axis=0)).max() / 0.02 < model.velocity_limit.max()


def test_a_motion_goes_through_its_poses_and_back():
    model = load_model("g1")
    knee, elbow = (model.joint_names.index(f"left_{name}_joint") for name in ("knee", "elbow"))
    poses = (KeyPose(seconds=1.0, joints={"*_knee_joint": 1.3}), KeyPose(seconds=0.5, joints={"left_elbow_joint": 1.0}))
    motion = Keyframes(model, poses, 0.5, "test")
    rest, length = model.default_position, motion.length
    assert length == pytest.approx(2.0)
    assert motion.at(1.0)[knee] == pytest.approx(1.3 - rest[knee]) and motion.at(1.0)[elbow] == pytest.approx(0.0)
    assert motion.at(0.5)[knee] == pytest.approx(0.5 * (1.3 - rest[knee])), "half of the way in half of the time"
    assert motion.at(0.01)[knee] == pytest.approx(0.0, abs=1e-3), "it sets off gently"
    assert motion.at(1.5)[knee] == pytest.approx(0.0), "a joint that a pose does not name is at its default again"
    assert motion.at(1.5)[elbow] == pytest.approx(1.0 - rest[elbow])
    assert not motion.at(length).any() and not motion.at(length + 9.0).any() and not motion.at(0.0).any()


def test_what_a_robot_cannot_do_is_refused_by_name():
    model = load_model("g1")
    for joints, told in (
        ({"left_knee_joint": 9.0}, r"motion 'up', pose 1: left_knee_joint = 9 rad is outside of its limits"),
        ({"left_nee_joint": 0.1}, r"motion 'up', pose 1: unknown joint 'left_nee_joint'.*left_knee_joint"),
    ):
        with pytest.raises(AssetError, match=told):
            Keyframes(model, (KeyPose(seconds=1.0, joints=joints),), 0.5, "up")
    for wrong, told in (
        ({"motions": {}}, "motions"),
        ({"motions": {"up": []}}, "motions.up"),
        ({"motions": {"up": [{"seconds": 0.0}]}}, r"motions.up.0.seconds = 0.0"),
        ({"return": 1.0}, "return"),
    ):
        data = {"name": "x", "robot": "g1", "return_s": 0.5, "motions": {"up": [{"seconds": 1.0}]}, **wrong}
        with pytest.raises(AssetError, match=told):
            validate(MotionSpec, data, "x.yaml", AssetError)
    with pytest.raises(AssetError, match=r"unknown motion 'g1_get_upp'.*g1_get_up"):
        load_motions("g1_get_upp")


def get_up(**options: Any) -> Any:
    return make("GetUp", robot="g1", **options)


@pytest.mark.parametrize("prone", [True, False])
def test_getting_up_begins_with_the_motion_for_how_the_robot_lies(prone):
    env = get_up(prone_share=float(prone))
    observation, _ = env.reset(seed=1)
    channels = {channel.name: channel for channel in env.channels if channel.role == "observation"}
    assert "motion" in channels
    split = env.observation.split(observation)
    assert split["motion"] == pytest.approx([0.0, 1.0 if prone else -1.0])
    motion = env.task.motions["prone" if prone else "supine"]
    for step in range(25):
        observation, *_ = env.step(np.zeros(29, np.float32))
        wanted = env.action_origin + motion.at(step * env.control_timestep)
        assert env.target == pytest.approx(np.clip(wanted, env.model.lower, env.model.upper))
    assert env.observation.split(observation)["motion"][0] == pytest.approx(25 * env.control_timestep / motion.length)
    env.close()


def test_who_still_lies_tries_again_and_who_stands_does_not():
    env = get_up(prone_share=0.0, episode_length_s=20.0)
    env.reset(seed=1)
    first = env.task.motions["supine"].length
    action = np.zeros(29, np.float32)
    action[[env.action_joints.index(f"{side}_knee_joint") for side in ("left", "right")]] = -1.0  # it cannot succeed
    while env.steps * env.control_timestep < first + 0.9:
        env.step(action)
        assert env.task.state.values["since"] == 0
    while env.steps * env.control_timestep < first + 1.1:
        env.step(action)
    assert env.task.state.values["since"] > 0
    for lies in (False, True):
        env.task.state.values["since"] = -5000
        if not lies:
            env.robot.place(env.model.default_position.tolist())
        else:
            env.robot.body.set_base((0.0, 0.0, 0.1), (0.0, -math.sin(math.pi / 4), 0.0, math.cos(math.pi / 4)))
            env.robot.drive.reset()
            env.robot.read()
        env.task.before_step()
        assert (env.task.state.values["since"] == env.steps) == lies
    env.close()


def test_training_may_begin_on_the_feet_late_in_a_motion():
    env = get_up(rising_share=1.0)
    try:
        seen = set()
        for seed in range(8):
            env.reset(seed=seed)
            values, motion = env.task.state.values, env.task.motions[env.task.state.values["face"]]
            seen.add(values["face"])
            assert values["face"] == ("prone" if values["prone"] else "supine")
            assert motion.times[-2] - 0.02 < env.task._time() < motion.length + RISING_S + 0.02
            assert balance.relative_height(env) > 0.7 and balance.tilt(env.robot) < 0.6
            lowest = min(contact.distance for contact in env.robot.body.contacts() if contact.other == "ground")
            assert -0.002 < lowest < 0.02 and not env.robot.touching, "it stands on its soles, in nothing"
        assert seen == {"prone", "supine"}
        env.task.state.values["rising"] = True
        env.robot.body.set_base((0.0, 0.0, 0.1), (0.0, 0.0, 0.0, 1.0))
        assert env.step(np.zeros(29, np.float32))[4]["failure"] == "fall", "who began on the feet may not lie"
    finally:
        env.close()


def test_a_bundle_knows_the_motions_and_tells_others_apart():
    env, walk = get_up(), make("Walk", robot="g1")
    mine, stepping = signature_of(env), signature_of(walk)
    assert isinstance(mine.reference, MotionsSignature) and set(mine.reference.motions) == {"prone", "supine"}
    assert mine.differences(mine) == []
    again = type(mine).model_validate_json(mine.model_dump_json())
    assert again.differences(mine) == []
    prone = mine.reference.motions["prone"]
    slower = prone.model_copy(update={"times": tuple(1.1 * t for t in prone.times)})
    changed = mine.reference.model_copy(update={"motions": {**mine.reference.motions, "prone": slower}})
    other = mine.model_copy(update={"reference": changed})
    assert other.differences(mine) == ["reference.motions.prone: another motion is added to the action"]
    mixed = mine.model_copy(update={"reference": stepping.reference})
    assert mixed.differences(mine) == ["reference: motions and a stepping reference are not the same"]
    env.close()
    walk.close()

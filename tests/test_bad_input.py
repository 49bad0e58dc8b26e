"""Bad input: one clear error of the right type, which names the field, the value and what is allowed or nearest."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from theory import small_robot

from training_ground.assets.catalog import load_model, load_spec
from training_ground.configs.errors import AssetError, SimulationError, TrainingGroundError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make


@pytest.fixture(scope="module")
def env():
    env = make("Stand", robot="g1_legs")
    yield env
    env.close()


def refusal(error: type[Exception], call: Any, *parts: str) -> str:
    """The message of the error that `call` raises; it must hold every part."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert part in message, f"'{part}' is not in: {message}"
    assert "\n" not in message and "Traceback" not in message and len(message) < 1200
    return message


# ---- names -----------------------------------------------------------------------------------------------------------


def test_unknown_robot():
    refusal(AssetError, lambda: make("Stand", robot="g2"), "robot 'g2'", "did you mean 'g1'", "talos")


def test_unknown_task():
    refusal(SimulationError, lambda: make("Stnd"), "task 'Stnd'", "did you mean 'Stand'", "Reach")


@pytest.mark.parametrize(
    "options, parts",
    [
        ({"robto": "g1"}, ("'robto'", "did you mean 'robot'")),
        ({"push_sped": (0, 1)}, ("'push_sped'", "did you mean 'push_speed'")),
        ({"randomisation": {"frction": (0.5, 1)}}, ("frction", "did you mean", "friction")),
        ({"noise": {"dropuot": 0.1}}, ("dropuot", "did you mean", "dropout")),
        ({"noise": {"scale": {"joint_positon": 0.1}}}, ("'joint_positon'", "did you mean 'joint_position'")),
    ],
)
def test_unknown_option_offers_the_nearest(options, parts):
    refusal(SimulationError, lambda: make("Stand", **options), *parts)


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, parts",
    [
        ({"stance": "sitting"}, ("stance", "sitting", "free", "mounted")),
        ({"control": "joint_positions"}, ("control", "joint_positions", "joint_position", "joint_torque")),
        ({"render_mode": "human"}, ("render_mode", "human", "rgb_array")),
        ({"observation_format": "image"}, ("observation_format", "flat", "dict")),
        ({"physics_timestep": 0.5}, ("physics_timestep", "0.5", "0.02")),
        ({"physics_timestep": -0.005}, ("physics_timestep", "-0.005")),
        ({"physics_timestep": math.nan}, ("physics_timestep", "nan")),
        ({"decimation": 0}, ("decimation", "0", "1")),
        ({"decimation": 2.5}, ("decimation", "2.5")),
        ({"action_scale": -1.0}, ("action_scale", "-1")),
        ({"solver_iterations": 0}, ("solver_iterations", "0")),
        ({"episode_length_s": 0.0}, ("episode_length_s", "0")),
        ({"start_joint_noise": -0.1}, ("start_joint_noise", "-0.1")),
        ({"push_speed": (1.0, 0.5)}, ("push_speed", "1.0", "0.5")),
        ({"push_speed": 0.5}, ("push_speed", "0.5")),
        ({"push_interval_s": 0.0}, ("push_interval_s", "0")),
        ({"randomisation": {"friction": (1.0, 0.5)}}, ("friction", "exceed")),
        ({"randomisation": {"friction": (-0.5, 0.5)}}, ("friction", "-0.5")),
        ({"randomisation": {"mass_scale": (0.0, 1.0)}}, ("mass_scale", "0")),
        ({"randomisation": {"mass_scale": (0.9, math.inf)}}, ("mass_scale", "inf")),
        ({"randomisation": {"delay_s": "much"}}, ("delay_s", "much")),
        ({"randomisation": {"centre_of_mass": (0.01, 0.02)}}, ("centre_of_mass", "0.01")),
        ({"randomisation": {"centre_of_mass": (0.0, 0.5)}}, ("centre_of_mass", "0.5")),
        ({"randomisation": {"delay_s": (0.0, 5.0)}}, ("delay_s", "5")),
        ({"noise": {"dropout": 1.0}}, ("dropout", "1")),
        ({"noise": {"latency_steps": (3, 1)}}, ("latency_steps", "3")),
        ({"noise": {"latency_steps": (0, 1000)}}, ("latency_steps", "1000")),
        ({"noise": {"scale": {"joint_position": -1}}}, ("scale", "-1")),
    ],
    ids=str,
)
def test_bad_value_is_refused_before_the_first_episode(options, parts):
    refusal(SimulationError, lambda: make("Stand", robot="g1_legs", **options), *parts)


def test_gains_beyond_the_stability_bound_name_the_joint():
    """At 20 ms the G1's ankle would gain energy in every step: say so, do not explode."""
    message = refusal(SimulationError, lambda: make("Stand", robot="g1", physics_timestep=0.02), "physics_timestep")
    assert re.search(r"(left|right)_ankle_roll_joint", message)


def test_a_robot_that_cannot_do_the_task():
    refusal(SimulationError, lambda: make("Stand", robot="alex"), "alex", "feet")
    refusal(SimulationError, lambda: make("Reach", robot="g1_legs"), "g1_legs", "hands")


# ---- actions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_action_that_is_not_finite_names_the_joint(env: HumanoidEnv, value):
    env.reset(seed=0)
    action = np.zeros(12, np.float32)
    action[3] = value
    refusal(SimulationError, lambda: env.step(action), "action", env.model.joint_names[3], "[-1, 1]")
    assert env.steps == 0
    env.step(np.zeros(12, np.float32))  # the refused action left the episode as it was


@pytest.mark.parametrize("shape", [(), (11,), (13,), (1, 12), (12, 1)])
def test_action_of_another_shape(env: HumanoidEnv, shape):
    env.reset(seed=0)
    refusal(SimulationError, lambda: env.step(np.zeros(shape, np.float32)), "action", str(shape), "(12,)")


def test_action_beyond_its_range_is_clipped(env: HumanoidEnv):
    env.reset(seed=0)
    env.step(np.full(12, 7.0, np.float32))
    assert env.frame()["action"].tolist() == [1.0] * 12


def test_step_before_the_first_reset():
    env = make("Stand", robot="g1_legs")
    refusal(SimulationError, lambda: env.step(np.zeros(12, np.float32)), "reset")
    env.close()


def test_step_after_the_end():
    env = make("Stand", robot="g1_legs", episode_length_s=0.02)
    env.reset(seed=0)
    assert env.step(np.zeros(12, np.float32))[3]
    refusal(SimulationError, lambda: env.step(np.zeros(12, np.float32)), "ended", "reset")
    env.close()


def test_reset_refuses_what_it_does_not_know(env: HumanoidEnv):
    refusal(SimulationError, lambda: env.reset(options={"friction": 1.0}), "friction")


def test_negative_seed(env: HumanoidEnv):
    with pytest.raises((TrainingGroundError, gymnasium.error.Error), match="-1"):
        env.reset(seed=-1)


def test_render_without_visuals(env: HumanoidEnv):
    refusal(SimulationError, env.render, "render_mode", "rgb_array")


def test_frame_before_the_first_reset():
    env = make("Reach", robot="g1", stance="mounted")
    refusal(SimulationError, env.frame, "reset")
    env.close()


def test_a_kept_state_of_another_environment(env: HumanoidEnv):
    """Two worlds number their states alike: returning to another one's would mix them without a word."""
    other = make("Stand", robot="g1_legs")
    other.reset(seed=0)
    kept = other.save()
    env.reset(seed=0)
    env.save()
    refusal(SimulationError, lambda: env.restore(kept), "another")
    other.close()


def test_use_after_close():
    env = make("Stand", robot="g1_legs")
    env.reset(seed=0)
    env.close()
    env.close()  # twice is harmless
    with pytest.raises(SimulationError):
        env.step(np.zeros(12, np.float32))


# ---- robots ----------------------------------------------------------------------------------------------------------

URDF = """<robot name="tiny">
<link name="base"><inertial><mass value="1"/>
<inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial></link>
<link name="arm"><inertial><origin xyz="0 0 -0.2"/><mass value="1"/>
<inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="elbow" type="revolute"><parent link="base"/><child link="arm"/><axis xyz="0 1 0"/>
<limit lower="-1" upper="1" effort="10" velocity="10"/></joint>
</robot>"""
SPEC = """base: base
torso: base
joints: [elbow]
actuators: [{match: ['*'], kp: 1, kd: 0.1}]
stances: [mounted]
"""


def test_the_small_robot_itself_is_right(tmp_path: Path):
    assert load_model(small_robot(tmp_path, URDF, SPEC)).joint_names == ("elbow",)


@pytest.mark.parametrize(
    "old, new, parts",
    [
        ("torso: base", "torso: bass", ("torso", "bass")),
        ("torso: base", "torsoo: base", ("'torsoo'", "did you mean 'torso'")),
        ("joints: [elbow]", "joints: [elbwo]", ("'elbwo'", "did you mean 'elbow'")),
        ("joints: [elbow]", "joints: [elbow, elbow]", ("elbow",)),
        ("kp: 1", "kp: -1", ("kp", "-1")),
        ("kp: 1", "kp: .nan", ("kp", "nan")),
        ("kp: 1", "kp: stiff", ("kp", "stiff")),
        ("match: ['*']", "match: ['knee*']", ("knee*",)),
        ("stances: [mounted]", "stances: [flying]", ("stances", "flying")),
        ("stances: [mounted]", "default_pose: {elbow: 2.0}", ("default_pose", "elbow", "2")),
        ("stances: [mounted]", "default_pose: {elbo: 0.0}", ("default_pose", "elbo")),
        ("base: base", "base: base\nbase: arm", ("base", "twice")),
        ("joints: [elbow]", "joints: [elbow", ("malformed YAML", "line")),
        ("joints: [elbow]", "joints: !!python/object/apply:os.system ['true']", ("malformed YAML",)),
    ],
)
def test_bad_specification(tmp_path, old, new, parts):
    path = small_robot(tmp_path, URDF, SPEC.replace(old, new))
    refusal(AssetError, lambda: load_model(path), "tiny", *parts)


@pytest.mark.parametrize(
    "old, new, parts",
    [
        ("</robot>", "", ("tiny.urdf",)),
        ('<child link="arm"/>', '<child link="amr"/>', ("amr",)),
        ('type="revolute"', 'type="rotary"', ("elbow", "rotary")),
        ('<axis xyz="0 1 0"/>', '<axis xyz="0 0 0"/>', ("elbow", "axis")),
        ('<axis xyz="0 1 0"/>', '<axis xyz="0 one 0"/>', ("one",)),
        ('<mass value="1"/>', '<mass value="-1"/>', ("mass", "-1")),
        ('<mass value="1"/>', '<mass value="nan"/>', ("mass", "nan")),
        ('lower="-1" upper="1"', 'lower="1" upper="-1"', ("elbow",)),
        ('effort="10"', "", ("elbow", "effort")),
        ('ixx="0.01"', 'ixx="-0.01"', ("arm",)),
        (
            "</robot>",
            '<joint name="loop" type="fixed"><parent link="arm"/><child link="base"/></joint></robot>',
            ("base",),
        ),
        ("<robot", '<!DOCTYPE r [<!ENTITY a "aa">]><robot', ("tiny.urdf",)),
        (
            '<link name="arm">',
            '<link name="arm"><collision><geometry><mesh filename="no.stl"/></geometry></collision>',
            ("no.stl",),
        ),
    ],
)
def test_bad_urdf(tmp_path, old, new, parts):
    path = small_robot(tmp_path, URDF.replace(old, new), SPEC)
    refusal(AssetError, lambda: load_model(path), *parts)


def test_missing_files(tmp_path: Path):
    refusal(AssetError, lambda: load_spec(tmp_path / "none.yaml"), "none.yaml")
    path = small_robot(tmp_path, URDF, SPEC)
    (tmp_path / "tiny.urdf").unlink()
    refusal(AssetError, lambda: load_model(path), "tiny.urdf")


def test_binary_and_empty_specifications(tmp_path: Path):
    for content in (b"\x00\xff\xfe", b"", b"- a\n- b\n"):
        path = tmp_path / "tiny.yaml"
        path.write_bytes(content)
        refusal(AssetError, lambda path=path: load_model(path), "tiny.yaml")

"""Contacts against theory: weight, impulse, Coulomb's cone, and what the number of solver iterations changes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pybullet as engine
import pytest
from theory import Array, mechanics, small_robot

from training_ground.assets.catalog import load_model
from training_ground.assets.model import CompiledModel
from training_ground.envs.registration import make
from training_ground.envs.robot import Robot
from training_ground.envs.world import World

GRAVITY = 9.81

BLOCK = """<robot name="tiny">
<link name="block"><inertial><mass value="10"/>
<inertia ixx="0.05" iyy="0.05" izz="0.07" ixy="0" ixz="0" iyz="0"/></inertial>
<collision><geometry><box size="0.2 0.2 0.1"/></geometry></collision></link>
<link name="wheel"><inertial><mass value="0.1"/>
<inertia ixx="0.001" iyy="0.001" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="axle" type="continuous"><parent link="block"/><child link="wheel"/><axis xyz="0 0 1"/>
<limit effort="10" velocity="10"/></joint>
</robot>"""
BLOCK_SPEC = """base: block
torso: block
joints: [axle]
actuators: [{match: ['*'], kp: 0, kd: 0.01}]
colliders: [{match: ['*'], shape: keep}]
feet: [{link: block, side: left}]
stances: [free]
"""


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> CompiledModel:
    folder: Path = tmp_path_factory.mktemp("block")
    return load_model(small_robot(folder, BLOCK, BLOCK_SPEC))


def standing(model: CompiledModel, *, friction: float = 1.0, iterations: int = 10) -> Robot:
    """A robot in its default pose on the ground."""
    world = World(gravity=GRAVITY, solver_iterations=iterations)
    world.add_ground(friction=friction)
    robot = Robot(world, model)
    robot.place(model.default_position.tolist())
    return robot


def tilt_gravity(robot: Robot, angle: float, heading: float) -> None:
    """Turn gravity by `angle` (rad) towards `heading`: the ground becomes a slope."""
    pull = GRAVITY * math.sin(angle)
    down = -GRAVITY * math.cos(angle)
    engine.setGravity(pull * math.cos(heading), pull * math.sin(heading), down, robot.world.client)


# ---- friction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", [0.0, 0.8, math.pi / 2])
@pytest.mark.parametrize("friction", [0.3, 0.6, 1.0])
def test_a_block_slides_where_the_slope_exceeds_the_friction(block, friction, heading):
    """Below atan μ it stays, above it slides with g (sin − μ cos), in whatever direction: a cone and no pyramid."""
    for share, seconds in ((0.97, 1.0), (1.05, 0.5), (1.5, 0.5)):
        robot = standing(block, friction=friction)
        robot.advance_torque(np.zeros(1), 50)
        angle = math.atan(share * friction)
        tilt_gravity(robot, angle, heading)
        robot.advance_torque(np.zeros(1), round(seconds / 0.005))
        speed = math.hypot(*robot.base.linear_velocity[:2])
        expected = max(0.0, GRAVITY * (math.sin(angle) - friction * math.cos(angle))) * seconds
        # Corners that hop make a few percent of the friction's impulse.
        assert speed == pytest.approx(expected, abs=0.02 * GRAVITY * friction * seconds if expected else 2e-3)


@pytest.mark.parametrize("robot", ["g1", "romeo"])
def test_contact_forces_stay_inside_the_cone(robot):
    """A robot that thrashes on a slippery floor: at no contact does friction exceed μ times the normal force."""
    friction = 0.4
    env = make("Stand", robot=robot, decimation=1, randomisation={"friction": (friction, friction)})
    generator = np.random.default_rng(0)
    env.reset(seed=0)
    share = []
    for _ in range(200):
        _, _, terminated, _, _ = env.step(generator.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        for contact in env.robot.body.contacts():
            if contact.other == "ground" and contact.normal_force > 1.0:
                share.append(math.hypot(*contact.force[:2]) / contact.normal_force)
        if terminated:
            env.reset()
    env.close()
    assert max(share) <= friction * 1.01
    assert max(share) > friction * 0.99  # it did slide


# ---- forces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("robot", ["icub", "romeo", "simple_humanoid"])
def test_feet_of_a_standing_robot_carry_its_weight(robot):
    model = load_model(robot)
    body = standing(model)
    body.advance(model.default_position, 200)
    forces = []
    for _ in range(200):
        body.advance(model.default_position, 1)
        forces.append(body.foot_force.sum(axis=0))
    assert np.mean(forces, axis=0) == pytest.approx([0, 0, model.mass * GRAVITY], abs=0.005 * model.mass * GRAVITY)
    assert body.foot_contact == [True, True] and body.touching == ()


@pytest.mark.parametrize("iterations", [10, 50])
def test_impulse_of_the_contacts_is_the_change_of_momentum(iterations):
    """The G1 drops onto its feet and collapses: all contact forces and its weight make its momentum."""
    model = load_model("g1")
    robot = standing(model, iterations=iterations)
    x, y, z = robot.base.position
    robot.body.set_base((x, y, z + 0.05), robot.base.orientation)
    robot.drive.reset()
    before, impulse, steps = mechanics(robot.body), np.zeros(3), 160
    for _ in range(steps):
        robot.advance(0.3 * model.default_position, 1)
        feet = np.zeros((2, 3))
        for contact in robot.body.contacts():
            if contact.other == "ground":
                impulse += np.array(contact.force) * 0.005
                name = robot.body.link_names[contact.link]
                feet[[i for i, foot in enumerate(model.feet) if foot.link == name]] += contact.force
        assert robot.foot_force == pytest.approx(feet, abs=1e-6)
    change = mechanics(robot.body).momentum - before.momentum
    weight = np.array([0, 0, -model.mass * GRAVITY * steps * 0.005])
    assert impulse + weight == pytest.approx(change, abs=0.02 * float(np.linalg.norm(weight)))


def test_contact_forces_inside_a_robot_cancel():
    """What two of its own links do to each other adds up to nothing."""
    model = load_model("g1")
    robot = Robot(World(gravity=0.0), model)
    pose = dict(zip(model.joint_names, model.default_position, strict=True))
    pose |= {"left_shoulder_roll_joint": -0.1, "left_elbow_joint": 1.2, "left_shoulder_pitch_joint": 0.3}
    target = np.array([pose[name] for name in model.joint_names])
    robot.place(target.tolist())
    touched = False
    for _ in range(100):
        target[model.joint_names.index("left_shoulder_roll_joint")] -= 0.02
        target[model.joint_names.index("right_shoulder_roll_joint")] += 0.02
        robot.advance(target, 1)
        touched |= robot.self_contact
    momentum = mechanics(robot.body).momentum
    assert touched
    assert np.linalg.norm(momentum) < 0.05 * model.mass


def test_a_body_beside_the_floor_does_not_touch_it(block):
    """The engine lists pairs that are some millimetres apart; what carries nothing is no contact."""
    robot = standing(block)
    robot.body.set_base((0, 0, 0.05 + 0.001), (0, 0, 0, 1))
    robot.drive.reset()
    robot.advance_torque(np.zeros(1), 1)
    assert robot.foot_contact == [False] and not robot.foot_force.any()
    thigh = standing(block)
    thigh._foot_names = ("another",)  # the block is no foot now: what touches is a fall
    thigh.body.set_base((0, 0, 0.05 + 0.001), (0, 0, 0, 1))
    thigh.drive.reset()
    thigh.advance_torque(np.zeros(1), 1)
    assert thigh.touching == ()


def test_gravity_alone_never_adds_energy():
    """A limp robot that falls onto the floor only ever loses energy."""
    model = load_model("g1")
    robot = standing(model)
    energies = []
    for _ in range(60):
        robot.advance_torque(np.zeros(robot.count), 5)
        now = mechanics(robot.body)
        energies.append(now.energy + now.mass * GRAVITY * now.centre[2])
    assert max(np.diff(energies)) < 0.01 * energies[0]
    assert energies[-1] < 0.6 * energies[0]


# ---- solver ----------------------------------------------------------------------------------------------------------


def _landing(model: CompiledModel, iterations: int) -> tuple[float, float, Array]:
    """Drop a robot by 3 cm: deepest overlap (m), mean force while standing (N), joint positions at the end."""
    robot = standing(model, iterations=iterations)
    x, y, z = robot.base.position
    robot.body.set_base((x, y, z + 0.03), robot.base.orientation)
    robot.drive.reset()
    depth, force = 0.0, []
    for count in range(120):
        robot.advance(model.default_position, 1)
        depth = min([depth, *(c.distance for c in robot.body.contacts() if c.other == "ground")])
        if count >= 60:
            force.append(robot.foot_force[:, 2].sum())
    return -depth, float(np.mean(force)), robot.joint_position.copy()


@pytest.mark.parametrize("robot", ["g1", "icub", "simple_humanoid"])
def test_ten_iterations_are_enough(robot):
    """The default of 10 gives the contacts of 50: overlap, force and posture after a landing."""
    model = load_model(robot)
    depth, force, posture = _landing(model, 10)
    depth_50, force_50, posture_50 = _landing(model, 50)
    assert depth < depth_50 + 1e-3
    assert depth < 0.006  # 0.8 m/s into the ground in one 5 ms step
    assert force == pytest.approx(force_50, rel=0.03)
    assert posture == pytest.approx(posture_50, abs=0.02)


def test_a_fall_ends_the_episode():
    """Without power the G1 lies on the floor within two seconds, and the task says so once."""
    env = make("Stand", robot="g1", control="joint_torque", push_speed=(0.0, 0.0))
    env.reset(seed=0)
    quiet = np.zeros(env.action_space.shape or (), np.float32)
    _, reward, terminated, truncated, info = env.step(quiet)
    upright = reward
    while not terminated and env.steps < 100:
        _, reward, terminated, truncated, info = env.step(quiet)
    assert terminated and not truncated and info["failure"] == "fall" and not info["success"]
    robot = env.robot
    assert robot.touching or robot.projected_gravity[2] > -0.6 or robot.base.position[2] < 0.5
    assert reward < upright - 0.2
    env.close()

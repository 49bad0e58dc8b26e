"""Bodies without contacts move as textbooks say: free fall, momentum, energy, a pendulum, frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory import Mechanics, lone, mechanics, small_robot, speeds, step, tree_of

from training_ground.assets.catalog import load_model
from training_ground.envs import rotations
from training_ground.envs.robot import Robot
from training_ground.envs.world import Body, World

GRAVITY = 9.81
ROBOTS = ("g1", "talos", "icub")


def thrown(robot: str, timestep: float, seconds: float, effort: float) -> tuple[Mechanics, Mechanics]:
    """Throw a robot whose motors push and pull; what it has at the start and at the end."""
    body = lone(robot, gravity=GRAVITY, timestep=timestep, self_collision=False)
    body.set_base((0, 0, 50), (0, 0, 0, 1), (1.0, 0.5, 0.0), (0.3, 0.2, 0.1))
    body.set_joints(body.model.default_position.tolist())
    torque = np.random.default_rng(0).uniform(-effort, effort, len(body.joint_names)) * body.model.effort_limit
    before = mechanics(body)
    steps = round(seconds / timestep)
    step(body, torque, steps // 2)
    step(body, -torque, steps // 2)
    return before, mechanics(body)


@pytest.mark.parametrize("robot", ROBOTS)
def test_free_fall(robot):
    """Internal torques change neither the path of the centre of mass nor the horizontal momentum."""
    seconds, timestep = 0.3, 0.001
    before, after = thrown(robot, timestep, seconds, 0.01)
    acceleration = (after.momentum - before.momentum) / before.mass / seconds
    assert acceleration == pytest.approx([0, 0, -GRAVITY], abs=0.01)
    # The engine's semi-implicit Euler step falls g·t·dt/2 more than the parabola.
    drop = -0.5 * GRAVITY * seconds * (seconds + timestep)
    expected = before.centre + before.momentum / before.mass * seconds + [0, 0, drop]
    assert after.centre == pytest.approx(expected, abs=5e-4)


def test_errors_of_integration_shrink_with_the_timestep():
    """Angular momentum drifts by the integration's first order and by nothing else."""
    errors = []
    for timestep in (0.004, 0.002, 0.001):
        before, after = thrown("g1", timestep, 0.2, 0.01)
        errors.append(float(np.linalg.norm(after.spin - before.spin)))
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.1)
    assert errors[2] / errors[1] == pytest.approx(0.5, abs=0.1)
    assert errors[2] < 0.03 * float(np.linalg.norm(before.spin))


@pytest.mark.parametrize("robot", ROBOTS)
def test_no_energy_out_of_nothing(robot):
    """A passive robot that tumbles without gravity never has more kinetic energy than it was given."""
    body = lone(robot, timestep=0.005, self_collision=False)
    body.set_base((0, 0, 50), (0, 0, 0, 1), (1, 0, 0), (1.0, 0.5, 0.3))
    spins = np.random.default_rng(4).uniform(-1, 1, len(body.joint_names))
    body.set_joints(body.model.default_position.tolist(), spins.tolist())
    start = mechanics(body)
    energies = []
    for _ in range(40):
        step(body, count=5)
        energies.append(mechanics(body).energy)
    assert max(energies) < 1.02 * start.energy  # what 5 ms steps of first order make of a second
    assert energies[-1] > 0.9 * start.energy  # joints that reach their limits lose some
    assert mechanics(body).spin == pytest.approx(start.spin, abs=0.05 * float(np.linalg.norm(start.spin)))


PENDULUM = """<robot name="tiny">
<link name="stand"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0"
iyz="0"/></inertial></link><link name="rod"><inertial><origin xyz="0.03 0 -0.4" rpy="0.3 0.2 0.1"/><mass value="2"/>
<inertia ixx="0.02" iyy="0.03" izz="0.025" ixy="0.001" ixz="0.002" iyz="-0.001"/></inertial></link>
<link name="bob"><inertial><mass value="0.5"/>
<inertia ixx="0.001" iyy="0.001" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="hinge" type="revolute"><parent link="stand"/><child link="rod"/><axis xyz="0 1 0"/>
<limit lower="-3" upper="3" effort="10" velocity="10"/></joint>
<joint name="weld" type="fixed"><parent link="rod"/><child link="bob"/>
<origin xyz="-0.05 0.1 -0.6" rpy="0 0 1"/></joint>
</robot>"""
PENDULUM_SPEC = """base: stand
torso: stand
joints: [hinge]
actuators: [{match: ['*'], kp: 0, kd: 0, armature: 0.05}]
stances: [mounted]
"""


def test_pendulum(tmp_path):
    """A merged rod with a bob and a rotor swings with the period 2π √(I / m g l) (1 + θ² / 16)."""
    model = load_model(small_robot(tmp_path, PENDULUM, PENDULUM_SPEC))
    timestep, amplitude = 0.0005, 0.1
    body = World(timestep=timestep, gravity=GRAVITY).load(model, fixed=True)
    body.drive()
    turn = rotations.matrix(rotations.from_euler(0.3, 0.2, 0.1))
    own = (
        np.array(turn)
        @ np.array([[0.02, 0.001, 0.002], [0.001, 0.03, -0.001], [0.002, -0.001, 0.025]])
        @ np.array(turn).T
    )
    inertia = own[1, 1] + 2 * (0.03**2 + 0.4**2) + 0.001 + 0.5 * (0.05**2 + 0.6**2) + 0.05
    moment = 2 * np.array([0.03, -0.4]) + 0.5 * np.array([-0.05, -0.6])
    rest = math.atan2(moment[0], -moment[1])  # the angle at which the centre of mass hangs below the hinge
    period = 2 * math.pi * math.sqrt(inertia / (GRAVITY * float(np.hypot(*moment)))) * (1 + amplitude**2 / 16)
    body.set_joints([rest + amplitude])
    crossings, before = [], amplitude
    for count in range(round(3.2 * period / timestep)):
        step(body)
        angle = body.read_joints()[0][0] - rest
        if before > 0 >= angle:
            crossings.append((count + before / (before - angle)) * timestep)
        before = angle
    assert np.diff(crossings) == pytest.approx(period, rel=1e-3)


# ---- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("robot", ROBOTS)
def test_base_frame_is_the_link_frame(robot):
    """What is set as the base link's pose and velocity is read back, though the engine speaks of its centre of mass."""
    model = load_model(robot)
    world = World(gravity=0.0)
    robot_ = Robot(world, model)
    orientation = rotations.from_euler(0.3, -0.5, 1.2)
    robot_.body.set_joints(model.default_position.tolist())
    robot_.body.set_base((0.4, -0.2, 1.5), orientation, (0.1, 0.2, 0.3), (0.5, -0.4, 0.6))
    world.advance(0)
    robot_.read()
    base = robot_.base
    assert base.position == pytest.approx((0.4, -0.2, 1.5), abs=1e-12)
    assert rotations.angle_between(base.orientation, orientation) < 1e-7
    assert base.linear_velocity == pytest.approx((0.1, 0.2, 0.3), abs=1e-9)
    assert base.angular_velocity == pytest.approx((0.5, -0.4, 0.6), abs=1e-9)
    assert robot_.projected_gravity == pytest.approx(rotations.rotate_inverse(orientation, (0, 0, -1)), abs=1e-9)
    assert robot_.base_angular_velocity == pytest.approx(
        rotations.rotate_inverse(orientation, (0.5, -0.4, 0.6)), abs=1e-9
    )


@pytest.mark.parametrize("robot", ROBOTS)
def test_frames_are_where_kinematics_says(robot):
    """Every tracked frame, merged links included, at random joint angles and a turned base."""
    model, tree = load_model(robot), tree_of(robot)
    names = [name for name, frame in model.frames.items() if frame.link != model.base_link]
    robot_ = Robot(World(gravity=0.0), model, tracked=names)
    generator = np.random.default_rng(5)
    joints = generator.uniform(model.lower, model.upper)
    orientation = rotations.random_quaternion(generator)
    robot_.body.set_joints(joints.tolist())
    robot_.body.set_base((1, 2, 3), orientation)
    robot_.drive.read()
    robot_.read()
    poses = dict(zip(model.link_names, tree.poses(joints), strict=True))
    turn = np.array(rotations.matrix(orientation))
    for name in names:
        frame = model.frames[name]
        local = poses[frame.link].points(frame.position[None])[0]
        found = robot_.frame(name)
        assert found.position == pytest.approx(turn @ local + [1, 2, 3], abs=1e-7), name
        expected = turn @ poses[frame.link].rotation @ np.array(rotations.matrix(frame.orientation.tolist()))
        assert np.array(rotations.matrix(found.orientation)) == pytest.approx(expected, abs=1e-6), name


def test_velocities_are_the_change_of_poses():
    """Linear and angular velocity of base and feet against finite differences, while the robot tumbles."""
    model = load_model("g1")
    robot = Robot(World(timestep=0.0005, gravity=GRAVITY), model)
    robot.body.set_joints(model.default_position.tolist(), [0.5] * len(model.joint_names))
    robot.body.set_base((0, 0, 5), (0, 0, 0, 1), (1, 0, 0), (1.0, 2.0, -1.0))
    robot.drive.reset()

    def states():
        robot.read()
        return [robot.base, *robot.feet]

    robot.advance_torque(np.zeros(robot.count), 1)
    before = states()
    robot.advance_torque(np.zeros(robot.count), 1)
    for old, new in zip(before, states(), strict=True):
        moved = (np.array(new.position) - old.position) / 0.0005
        assert moved == pytest.approx(np.mean([old.linear_velocity, new.linear_velocity], axis=0), abs=0.02)
        turned = rotations.rotation_vector(rotations.multiply(new.orientation, rotations.conjugate(old.orientation)))
        assert np.array(turned) / 0.0005 == pytest.approx(new.angular_velocity, abs=0.05)


def test_push_changes_momentum_by_mass_times_velocity():
    model = load_model("g1")
    body = lone("g1")
    body.set_base((0, 0, 2), (0, 0, 0, 1), (0.1, 0, 0), (0.2, 0.1, 0))
    body.set_joints(model.default_position.tolist(), np.linspace(-1, 1, len(model.joint_names)).tolist())
    before = mechanics(body)
    body.add_base_velocity((0.3, -0.4, 0.0))
    after = mechanics(body)
    assert after.momentum - before.momentum == pytest.approx(model.mass * np.array([0.3, -0.4, 0]), abs=1e-6)
    assert after.spin == pytest.approx(before.spin, abs=1e-6)


def test_external_force_accelerates_the_whole():
    """A force at a link's point changes the total momentum by force × time."""
    body: Body = lone("g1")
    body.set_base((0, 0, 2), (0, 0, 0, 1))
    body.set_joints(body.model.default_position.tolist())
    body.apply_force(body.model.link_names[5], (30.0, 10.0, -20.0), (0.1, 0.0, 1.5))
    step(body)
    assert mechanics(body).momentum == pytest.approx(np.array([30, 10, -20]) * body.world.timestep, abs=1e-4)
    step(body)
    assert np.abs(mechanics(body).momentum).max() < 0.031  # for one step only


def test_joints_stop_at_their_limits():
    """A torque beyond the limit leaves a joint within a degree of it."""
    body = lone("g1", fixed=True, timestep=0.001, self_collision=False)
    body.set_joints(body.model.default_position.tolist())
    step(body, 0.05 * body.model.effort_limit, 3000)
    position = np.array(body.read_joints()[0])
    assert (position <= body.model.upper + 0.02).all()
    assert np.abs(speeds(body)).max() < 60

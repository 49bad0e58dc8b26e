"""What is drawn for an episode changes the physics by just that."""

from __future__ import annotations

import math

import numpy as np
import pybullet as engine
import pytest
from theory import mechanics

from training_ground.assets.catalog import load_model
from training_ground.envs import rotations
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make
from training_ground.envs.robot import Robot
from training_ground.envs.world import World


def loaded(robot: str = "g1", *, stance: str = "free", gravity: float = 0.0, ballast: bool = False) -> Robot:
    """A robot in its default pose, high in the air."""
    model = load_model(robot)
    robot_ = Robot(World(gravity=gravity), model, stance=stance, ballast=ballast)
    robot_.body.set_joints(model.default_position.tolist())
    robot_.body.set_base((0, 0, 3), (0, 0, 0, 1))
    robot_.drive.reset()
    return robot_


def inertias(robot: Robot) -> tuple[np.ndarray, np.ndarray]:
    """Masses (links) and principal moments (links, 3) as the engine has them."""
    numbers = range(-1, engine.getNumJoints(robot.body.uid, robot.world.client))
    info = [engine.getDynamicsInfo(robot.body.uid, i, robot.world.client) for i in numbers]
    return np.array([i[0] for i in info]), np.array([i[2] for i in info])


@pytest.mark.parametrize("robot", ["g1", "icub"])
def test_mass_scale_scales_inertias_alike(robot):
    """The engine recomputes inertias from the colliders where only a mass is given; ours must keep their ratio."""
    one = loaded(robot)
    mass, moments = inertias(one)
    one.randomise({"mass_scale": 1.2})
    assert inertias(one)[0] == pytest.approx(1.2 * mass, rel=1e-9)
    assert inertias(one)[1] == pytest.approx(1.2 * moments, rel=1e-9)
    one.randomise({"mass_scale": 0.9})
    assert inertias(one)[0] == pytest.approx(0.9 * mass, rel=1e-9)
    one.randomise({"mass_scale": 1.0})
    assert inertias(one)[1] == pytest.approx(moments, rel=1e-12)


def test_heavier_robot_accelerates_less():
    """The same torques on 1.25 times the mass give 0.8 times the acceleration."""
    speeds = []
    for scale in (1.0, 1.25):
        robot = loaded()
        robot.randomise({"mass_scale": scale})
        robot.advance_torque(np.linspace(-1, 1, robot.count), 1)
        speeds.append(robot.joint_velocity.copy())
    assert speeds[1] == pytest.approx(0.8 * speeds[0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("shift", [(0.02, -0.015, 0.01), (-0.02, 0.0, -0.02)])
def test_centre_of_mass_moves_by_what_was_drawn(shift):
    """The torso's centre of mass shifts in its frame; the total mass stays."""
    robot = loaded(ballast=True)
    model = robot.model
    before = mechanics(robot.body)
    robot.randomise({"centre_of_mass": [0.0, 0.0, 0.0]})
    assert mechanics(robot.body).centre == pytest.approx(before.centre, abs=1e-5)
    torso = model.frames[model.torso_frame].link
    share = inertias(robot)[0][robot.body.link_names.index(torso)] / model.mass
    robot.randomise({"centre_of_mass": list(shift)})
    after = mechanics(robot.body)
    assert after.mass == pytest.approx(before.mass, rel=1e-5)
    # The base is not turned, and the G1's torso is not turned against it in the default pose.
    assert (after.centre - before.centre) / share == pytest.approx(shift, abs=2e-4)


def test_ballast_itself_changes_nothing():
    """Points that carry no mass leave the motion as it was, but for rounding."""
    speeds = []
    for ballast in (False, True):
        robot = loaded(ballast=ballast)
        robot.advance_torque(np.linspace(-1, 1, robot.count), 5)
        speeds.append(robot.joint_velocity.copy())
    assert speeds[1] == pytest.approx(speeds[0], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_delay_is_whole_physics_steps(steps):
    """A changed target reaches the motor just so many physics steps later."""
    robot = loaded(stance="mounted")
    robot.randomise({"delay_s": steps * 0.005})
    robot.drive.reset()
    target = robot.model.default_position.copy()
    robot.advance(target, 10)
    quiet = float(np.abs(robot.joint_torque).max())
    target[-1] += 0.3
    torques = []
    for _ in range(6):
        robot.advance(target, 1)
        torques.append(abs(float(robot.joint_torque[-1])))
    late = next(i for i, torque in enumerate(torques) if torque > quiet + 0.1)
    assert late == steps


def test_motor_strength_and_gains_scale_the_torque():
    for name in ("motor_strength", "kp_scale"):
        torques = []
        for scale in (1.0, 0.8):
            robot = loaded(stance="mounted")
            robot.randomise({name: [scale] * robot.count})
            robot.drive.reset()
            robot.advance(robot.model.default_position + 0.02, 1)
            torques.append(robot.joint_torque.copy())
        assert torques[1] == pytest.approx(0.8 * torques[0], rel=1e-6), name


def test_joint_friction_brakes():
    """Coulomb friction takes its torque from a moving joint, and no more."""
    robot = loaded(stance="mounted")
    robot.randomise({"joint_friction": 0.2})
    robot.body.set_joints(robot.model.default_position.tolist(), [0.5] * robot.count)
    robot.advance_torque(np.zeros(robot.count), 1)
    nominal = robot.model.friction
    assert (robot.joint_torque < 0).all()
    assert (-robot.joint_torque <= nominal + 0.2 + 1e-9).all()
    assert -robot.joint_torque[0] == pytest.approx(nominal[0] + 0.2)


def test_ground_friction_is_the_drawn_one():
    """A robot that slides on its feet brakes with μ g."""
    model = load_model("icub")
    world = World()
    world.add_ground()
    robot = Robot(world, model)
    robot.place(model.default_position.tolist())
    robot.randomise({"friction": 0.05})
    robot.advance(model.default_position, 100)
    robot.body.add_base_velocity((0.0, 0.3, 0.0))
    before = mechanics(robot.body).momentum[1]
    robot.advance(model.default_position, 20)
    lost = (before - mechanics(robot.body).momentum[1]) / model.mass
    assert lost == pytest.approx(0.05 * 9.81 * 20 * 0.005, rel=0.1)


# ---- through the environment -----------------------------------------------------------------------------------------

EVERYTHING = {
    "friction": (0.4, 1.2),
    "mass_scale": (0.9, 1.1),
    "centre_of_mass": (0.0, 0.02),
    "gain_scale": (0.9, 1.1),
    "motor_strength": (0.9, 1.1),
    "delay_s": (0.0, 0.015),
    "joint_friction": (0.0, 0.1),
}


@pytest.fixture(scope="module")
def env():
    env = make("Stand", robot="g1", randomisation=EVERYTHING)
    yield env
    env.close()


def test_every_drawn_value_is_recorded(env: HumanoidEnv):
    first = env.reset(seed=1)[1]["randomisation"]
    second = env.reset(seed=2)[1]["randomisation"]
    names = {"friction", "mass_scale", "centre_of_mass", "kp_scale", "kd_scale", "motor_strength", "delay_s"}
    assert set(first) == names | {"joint_friction"}
    for name in first:
        assert first[name] != second[name], name
        assert np.isfinite(np.array(first[name])).all()
    assert 0.4 <= first["friction"] <= 1.2 and len(first["kp_scale"]) == 29 and len(first["centre_of_mass"]) == 3
    assert env.reset(seed=1)[1]["randomisation"] == first


def test_drawn_values_are_in_force(env: HumanoidEnv):
    drawn = env.reset(seed=5)[1]["randomisation"]
    masses, _ = inertias(env.robot)
    assert masses.sum() == pytest.approx(drawn["mass_scale"] * env.model.mass, rel=1e-5)
    parameters = env.robot.drive.actuator.parameters
    assert parameters.kp == pytest.approx(env.model.kp * drawn["kp_scale"])
    assert parameters.strength == pytest.approx(drawn["motor_strength"])
    assert parameters.delay == round(drawn["delay_s"] / 0.005)
    assert parameters.friction == pytest.approx(env.model.friction + drawn["joint_friction"])


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_each_range_alone(name):
    """One range at a time draws that value, differs between episodes, and changes the motion."""
    env = make("Stand", robot="g1", randomisation={name: EVERYTHING[name]})
    action = np.full(env.action_space.shape or (), 0.3, np.float32)
    ends = []
    for seed in (1, 2):
        _, info = env.reset(seed=seed)
        assert info["randomisation"]
        start = env.model.default_position  # the same start for both: only the drawn value differs
        env.robot.place(start.tolist())
        for _ in range(25):
            env.step(action)
            if env._ended:
                break
        ends.append(env.robot.joint_position.copy())
    assert np.abs(ends[0] - ends[1]).max() > 1e-7
    env.close()


def test_start_noise_is_bounded():
    env = make("Stand", robot="g1", start_joint_noise=0.1)
    widths = []
    for seed in range(20):
        env.reset(seed=seed)
        widths.append(np.abs(env.robot.joint_position - env.model.default_position))
    assert np.max(widths) <= 0.1 + 1e-9
    assert np.max(widths) > 0.09
    env.close()


# ---- inertial measurement unit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("robot", ["icub", "simple_humanoid"])
def test_imu_of_a_standing_robot_feels_gravity_upwards(robot):
    env = make("Stand", robot=robot, push_speed=(0.0, 0.0), start_joint_noise=0.0)
    env.reset(seed=0)
    quiet = np.zeros(env.action_space.shape or (), np.float32)
    for _ in range(100):
        env.step(quiet)
    readings = []
    for _ in range(25):
        env.step(quiet)
        readings.append(env.frame()["imu_linear_acceleration"])
    mean = np.mean(readings, axis=0)
    assert np.linalg.norm(mean) == pytest.approx(9.81, abs=0.05)
    frame = env.model.frames[env.model.imu_frame]
    turned = rotations.multiply(env.robot.imu_carrier.orientation, frame.orientation.tolist())
    assert mean / 9.81 == pytest.approx(rotations.rotate_inverse(turned, (0.0, 0.0, 1.0)), abs=0.02)
    assert np.linalg.norm(env.frame()["imu_angular_velocity"]) < 0.05
    env.close()


def test_imu_of_a_falling_robot_feels_nothing():
    env = make("Stand", robot="g1", control="joint_torque", push_speed=(0.0, 0.0))
    env.reset(seed=0)
    env.robot.body.set_base((0, 0, 1.7), (0, 0, 0, 1))
    env.robot.drive.reset()
    env.robot.read()
    env.observation.reset(env)
    for _ in range(5):
        env.step(np.zeros(env.action_space.shape or (), np.float32))
    assert np.linalg.norm(env.frame()["imu_linear_acceleration"]) < 0.5
    assert math.isclose(env.robot.base.linear_velocity[2], -9.81 * 0.1, rel_tol=0.05)
    env.close()

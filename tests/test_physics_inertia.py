"""The engine moves every robot as its mass matrix says: armature, merged links and principal frames included."""

from __future__ import annotations

import numpy as np
import pytest
from theory import Array, base_transform, base_twist, lone, mechanics, speeds, step, tree_of

from training_ground.assets.catalog import load_model, load_spec, robot_names
from training_ground.assets.compiler import compile_spec
from training_ground.assets.dynamics import gravity_force, mass_matrix
from training_ground.envs.world import Body, World


@pytest.fixture(params=robot_names())
def robot(request: pytest.FixtureRequest) -> str:
    return request.param


def random_position(robot: str, seed: int) -> Array:
    """Joint angles in the middle 80 % of each range, so that no limit acts."""
    model = load_model(robot)
    middle, half = (model.lower + model.upper) / 2, (model.upper - model.lower) / 2
    return middle + 0.8 * half * np.random.default_rng(seed).uniform(-1, 1, len(middle))


def measured(body: Body, position: Array) -> Array:
    """Joint columns of the inverse mass matrix, (6 + n, n): one step from rest under each unit torque, no gravity.

    The engine's own `calculateMassMatrix` refuses inertias with armature; this is what the simulation uses.
    """
    columns = []
    for torque in np.eye(len(position)):
        body.set_base((0, 0, 5), (0, 0, 0, 1))
        body.set_joints(position.tolist())
        step(body, torque)
        columns.append(np.concatenate([base_twist(body), speeds(body)]) / body.world.timestep)
    return np.array(columns).T


def test_mass_matrix(robot):
    body = lone(robot, self_collision=False)
    position = random_position(robot, 1)
    spread = np.eye(6 + len(position))
    spread[:6, :6] = base_transform(body)
    expected = np.linalg.inv(spread.T @ mass_matrix(tree_of(robot), position) @ spread)[:, 6:]
    turn = base_transform(body)[:3, :3]  # principal axes → base axes, here the world's
    expected[:6] = np.concatenate([turn @ expected[:3], turn @ expected[3:6]])
    wrong = np.abs(measured(body, position) - expected).max(axis=0) / np.abs(expected).max(axis=0)
    assert wrong.max() < 1e-6, body.joint_names[int(wrong.argmax())]


def test_gravity_pulls_a_mounted_robot_as_theory_says(robot):
    body = lone(robot, gravity=9.81, fixed=True, self_collision=False)
    position = random_position(robot, 3)
    body.set_joints(position.tolist())
    step(body, np.zeros(len(position)))
    matrix = mass_matrix(tree_of(robot), position)[6:, 6:]
    expected = np.linalg.solve(matrix, -gravity_force(tree_of(robot), position)[6:])
    assert speeds(body) / body.world.timestep == pytest.approx(expected, rel=1e-6, abs=1e-6 * np.abs(expected).max())


def test_holding_torques_hold(robot):
    """The gravity torques of the theory keep a mounted robot still."""
    body = lone(robot, gravity=9.81, fixed=True, self_collision=False)
    position = load_model(robot).default_position
    body.set_joints(position.tolist())
    step(body, gravity_force(tree_of(robot), position)[6:], 20)
    assert np.abs(speeds(body)).max() < 1e-6


def test_total_mass_and_centre(robot):
    model, tree = load_model(robot), tree_of(robot)
    body = lone(robot)
    body.set_base((0, 0, 0), (0, 0, 0, 1))
    body.set_joints(model.default_position.tolist())
    poses = tree.poses(model.default_position)
    moment = sum(b.inertia.mass * p.points(b.inertia.centre) for b, p in zip(tree.bodies, poses, strict=True))
    found = mechanics(body)
    assert found.mass == pytest.approx(model.mass, rel=1e-9)
    assert found.centre == pytest.approx(moment / model.mass, abs=1e-7)


def test_armature_adds_to_a_joints_inertia():
    """The mass matrix's entry of the last joint of a chain grows by exactly its armature."""
    entries = []
    for armature in (True, False):
        model = compile_spec(load_spec("g1"), armature=armature)
        body = World(timestep=0.001, gravity=0.0).load(model, fixed=True, self_collision=False)
        body.drive()
        entries.append(np.linalg.inv(measured(body, model.default_position)[6:])[-1, -1])
    assert entries[0] - entries[1] == pytest.approx(load_model("g1").armature[-1], rel=1e-5)

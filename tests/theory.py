"""What mechanics says of a robot in the engine: centre of mass, momentum, energy, and the compiled tree behind it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pybullet as engine
from numpy.typing import NDArray

from training_ground.assets.attaching import assembled
from training_ground.assets.catalog import load_model, load_spec
from training_ground.assets.compiler import actuators
from training_ground.assets.corrections import corrected
from training_ground.assets.poses import skew
from training_ground.assets.sources import find_files
from training_ground.assets.tree import Tree, build_tree
from training_ground.assets.urdf import read_urdf
from training_ground.envs.world import Body, World

Array = NDArray[np.float64]


@cache
def tree_of(robot: str) -> Tree:
    """The merged tree of a robot, armature included: the input of `assets/dynamics.py`."""
    spec = load_spec(robot)
    urdf = corrected(assembled(read_urdf(find_files(spec.source).urdf), spec), spec)
    rotors = {name: a.armature for name, a in zip(spec.joints, actuators(spec, urdf), strict=True)}
    return build_tree(urdf, spec, rotors)


def lone(robot: str, *, gravity: float = 0.0, fixed: bool = False, timestep: float = 0.001, **more) -> Body:
    """A robot in an empty world; its motors are off."""
    world = World(timestep=timestep, gravity=gravity)
    body = world.load(load_model(robot), fixed=fixed, **more)
    body.drive()
    return body


def step(body: Body, torques: Array | None = None, count: int = 1) -> None:
    """Simulate with constant joint torques (n), N·m."""
    for _ in range(count):
        if torques is not None:
            body.set_torques(torques.tolist())
        engine.stepSimulation(body.world.client)


def speeds(body: Body) -> Array:
    """Joint velocities (n), rad/s."""
    return np.array(body.read_joints()[1])


def base_twist(body: Body) -> Array:
    """(6,) angular, then linear velocity of the base's centre of mass, world frame."""
    linear, angular = engine.getBaseVelocity(body.uid, body.world.client)
    return np.array([*angular, *linear])


class Mechanics(NamedTuple):
    """mass: kg.  centre: (3,) m.  momentum: (3,) N·s.  spin: (3,) about the centre, N·m·s.  energy: kinetic, J."""

    mass: float
    centre: Array
    momentum: Array
    spin: Array
    energy: float


def _rotation(quaternion) -> Array:
    return np.array(engine.getMatrixFromQuaternion(quaternion)).reshape(3, 3)


def mechanics(body: Body) -> Mechanics:
    """Sum over the links, from the engine's own states, masses and principal moments."""
    client, uid = body.world.client, body.uid
    position, orientation = engine.getBasePositionAndOrientation(uid, client)
    linear, angular = engine.getBaseVelocity(uid, client)
    rows = [(-1, position, orientation, linear, angular)]
    for link in range(engine.getNumJoints(uid, client)):
        s = engine.getLinkState(uid, link, 1, 1, client)
        rows.append((link, s[0], s[1], s[6], s[7]))
    mass, centre, momentum, energy = 0.0, np.zeros(3), np.zeros(3), 0.0
    parts = []
    for link, x, q, v, w in rows:
        dynamics = engine.getDynamicsInfo(uid, link, client)
        m, turn = dynamics[0], _rotation(q)
        inertia = turn @ np.diag(dynamics[2]) @ turn.T
        x, v, w = np.array(x), np.array(v), np.array(w)
        mass, centre, momentum = mass + m, centre + m * x, momentum + m * v
        energy += 0.5 * m * v @ v + 0.5 * w @ inertia @ w
        parts.append((m, x, v, inertia @ w))
    centre /= mass
    spin = sum((m * np.cross(x - centre, v) + h for m, x, v, h in parts), np.zeros(3))
    return Mechanics(mass, centre, momentum, spin, float(energy))


def base_transform(body: Body) -> Array:
    """(6, 6) from the base's twist at its centre of mass along its principal axes to that at its link frame.

    The engine speaks of the first, `assets/dynamics.py` of the second; both angular before linear.
    """
    offset, turn = (np.array(engine.getDynamicsInfo(body.uid, -1, body.world.client)[i]) for i in (3, 4))
    rotation = _rotation(turn)
    result = np.zeros((6, 6))
    result[:3, :3] = rotation
    result[3:, 3:] = rotation
    result[3:, :3] = skew(offset) @ rotation  # v_origin = v_centre - ω × offset = v_centre + offset × ω
    return result


def small_robot(folder: Path, urdf: str, spec: str, name: str = "tiny") -> Path:
    """Write a URDF and its specification; `spec` holds what stands beside name, title, description and source."""
    (folder / f"{name}.urdf").write_text(urdf, encoding="utf-8")
    head = f"name: {name}\ntitle: {name}\ndescription: A robot of a test.\nsource: {{path: {name}.urdf}}\n"
    path = folder / f"{name}.yaml"
    path.write_text(head + spec, encoding="utf-8")
    return path

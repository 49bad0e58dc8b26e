"""Mass matrix and gravity forces of the merged tree, in plain numpy: a check on the engine and the source of effective
inertias.

The generalised velocity is (base angular 3, base linear 3, joints n), the base's part in the base frame at its origin.
Sums over bodies of JᵀIJ: slower than the composite-rigid-body algorithm and with nothing to get wrong; it runs once a
compilation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training_ground.assets.poses import Array, skew
from training_ground.assets.tree import Tree

GRAVITY = 9.81


def mass_matrix(tree: Tree, position: Array) -> Array:
    """Return the (6 + n, 6 + n) mass matrix at joint angles (n,); armature is in the bodies' inertias."""
    total = np.zeros((6 + len(tree.bodies) - 1,) * 2)
    for body, jacobian in zip(tree.bodies, _jacobians(tree, position), strict=True):
        total += jacobian.T @ body.inertia.spatial() @ jacobian
    return total


def gravity_force(tree: Tree, position: Array, up: Array | None = None) -> Array:
    """Return the (6 + n,) generalised force that holds the robot still against gravity of 9.81 m/s².

    Args:
        tree: The robot.
        position: (n,) joint angles, rad.
        up: (3,) unit vector away from the ground, in the base frame; z where None.
    """
    direction = np.array([0.0, 0.0, 1.0]) if up is None else up
    force = np.zeros(6 + len(tree.bodies) - 1)
    poses = tree.poses(position)
    for body, pose, jacobian in zip(tree.bodies, poses, _jacobians(tree, position), strict=True):
        weight = pose.rotation.T @ direction * (body.inertia.mass * GRAVITY)
        force += jacobian.T @ np.concatenate([np.cross(body.inertia.centre, weight), weight])
    return force


def standing_torque(tree: Tree, position: Array, soles: Sequence[tuple[str, Array]]) -> Array:
    """Return (n,) joint torques, N·m, that hold the robot still on its soles, the base's z axis upright.

    The ground carries the weight at the soles' corners by vertical forces; of all that keep the balance, the smallest
    ones (least squares), which share it as evenly as the centre of mass allows.

    Args:
        tree: The robot.
        position: (n,) joint angles, rad.
        soles: Link name and corners (k, 3) in the link's frame, m, of each foot.
    """
    gravity = gravity_force(tree, position)
    poses, jacobians = tree.poses(position), _jacobians(tree, position)
    names = [body.name for body in tree.bodies]
    columns = []
    for link, corners in soles:
        index = names.index(link)
        up = poses[index].rotation.T @ np.array([0.0, 0.0, 1.0])
        columns += [jacobians[index].T @ np.concatenate([np.cross(corner, up), up]) for corner in corners]
    push = np.array(columns).T
    force = np.linalg.lstsq(push[:6], gravity[:6], rcond=None)[0]
    return np.asarray(gravity[6:] - push[6:] @ force, dtype=float)


def effective_inertia(tree: Tree, position: Array, floating: bool = True) -> Array:
    """Return (n,) 1/(M⁻¹)ⱼⱼ, kg·m²: what one joint's motor feels while all else is free to move. Bounds for PD gains
    follow from it.

    Args:
        tree: The robot.
        position: (n,) joint angles, rad.
        floating: Whether the base is free to move too; False for robots that are always mounted.
    """
    matrix = mass_matrix(tree, position)
    inverse = np.linalg.inv(matrix)[6:, 6:] if floating else np.linalg.inv(matrix[6:, 6:])
    return np.asarray(1.0 / np.diag(inverse), dtype=float)


def _jacobians(tree: Tree, position: Array) -> list[Array]:
    """Return each body's (6, 6 + n) Jacobian: its spatial velocity (angular, linear at its origin) in its own frame."""
    poses = tree.poses(position)
    result = []
    for pose, chain in zip(poses, tree.ancestors(), strict=True):
        jacobian = np.zeros((6, 6 + len(tree.bodies) - 1))
        turn = pose.rotation.T
        jacobian[:3, :3] = turn
        jacobian[3:, 3:6] = turn
        jacobian[3:, :3] = -turn @ skew(pose.position)
        for index in chain:
            joint = tree.bodies[index].joint
            assert joint is not None
            axis = poses[index].rotation @ joint.axis
            if joint.type == "prismatic":
                jacobian[3:, 5 + index] = turn @ axis
                continue
            jacobian[:3, 5 + index] = turn @ axis
            jacobian[3:, 5 + index] = turn @ np.cross(axis, pose.position - poses[index].position)
        result.append(jacobian)
    return result


def gain_share(kp: Array, kd: Array, inertia: Array, timestep: float) -> Array:
    """Return (n,) what explicit PD motors use of their stability bound: (kp dt² + 2 kd dt) / 4 I, stable below 1.

    The bound is Jury's criterion for v' = v - dt (kp q + kd v) / I, q' = q + dt v'.

    Args:
        kp: (n,) N·m/rad.
        kd: (n,) N·m·s/rad.
        inertia: (n,) what each motor moves, kg·m², see `effective_inertia`.
        timestep: Physics step, s.
    """
    return (kp * timestep**2 + 2 * kd * timestep) / (4 * inertia)


def largest_timestep(kp: float, kd: float, inertia: float) -> float:
    """Return the physics step in s at which a motor's `gain_share` is 1."""
    return 4 * inertia / (kd + (kd**2 + 4 * inertia * kp) ** 0.5)

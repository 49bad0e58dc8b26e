"""Torques that hold a robot's joints against gravity, fast enough for every control step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training_ground.assets.dynamics import GRAVITY
from training_ground.assets.model import CompiledModel
from training_ground.assets.poses import Array
from training_ground.assets.urdf import read_urdf


def at_work(model: CompiledModel) -> CompiledModel:
    """Return the model whose default pose is its work pose, with what holds that against gravity."""
    change = model.work_position - model.default_position
    if not change.any():
        return model
    gravity = Gravity(model)
    heavier = gravity.torque(model.work_position) - gravity.torque(model.default_position)
    # Legs stay as they are, so that the ground's share in holding them does, too.
    return replace(
        model,
        default_position=model.work_position,
        hanging_torque=model.hanging_torque + heavier,
        standing_torque=model.standing_torque + heavier,
    )


class Gravity:
    """The weight that each joint of a robot carries.

    Args:
        model: The robot.
    """

    def __init__(self, model: CompiledModel) -> None:
        urdf = read_urdf(model.urdf)
        joints = [urdf.joints[name] for name in model.joint_names]
        links = [urdf.links[joint.child].inertia for joint in joints]
        self._parents = model.parents
        self._base = urdf.links[model.base_link].inertia
        self._slides = [joint.type == "prismatic" for joint in joints]
        self._still = [(joint.pose.rotation, joint.pose.position, joint.axis) for joint in joints]
        self._mass = np.array([inertia.mass for inertia in links])
        self._centre = np.array([inertia.centre for inertia in links])

    def torque(self, angles: Array, up: Array | None = None) -> Array:
        """Return (n) torques, N·m (N where a joint slides), that hold the joints still, the base held by something.

        Args:
            angles: (n) rad (m).
            up: (3,) unit vector away from the ground, in the base link's frame; z where absent.
        """
        up = np.array([0.0, 0.0, 1.0]) if up is None else up
        origins, axes, centres = self._place(angles)
        count = len(angles)
        mass = self._mass.copy()
        moment = mass[:, None] * centres
        for i in range(count - 1, -1, -1):  # what hangs on a joint hangs on those before it
            parent = self._parents[i] - 1
            if parent >= 0:
                mass[parent] += mass[i]
                moment[parent] += moment[i]
        weight = GRAVITY * up
        levers = moment - mass[:, None] * origins
        torque = (axes * np.cross(levers, weight)).sum(axis=1)
        slides = np.array(self._slides)
        torque[slides] = mass[slides] * (axes[slides] @ weight)
        return torque

    def centre(self, angles: Array) -> Array:
        """Return the centre of mass (3,) of the whole robot at joint angles (n), in the base link's frame, m."""
        moment = self._base.mass * self._base.centre + self._mass @ self._place(angles)[2]
        return moment / (self._base.mass + self._mass.sum())

    def inertia(self, angles: Array) -> Array:
        """Return (n) inertia about each joint's axis of all that it carries, every link a point at its centre of mass,
        kg·m² (mass, kg, where it slides).

        Args:
            angles: (n) rad (m).
        """
        origins, axes, centres = self._place(angles)
        count = len(angles)
        carried = np.eye(count, dtype=bool)
        for i in range(count - 1, -1, -1):
            if self._parents[i] > 0:
                carried[self._parents[i] - 1] |= carried[i]
        levers = np.cross(axes[:, None], centres[None] - origins[:, None])
        squares = np.where(np.array(self._slides)[:, None], 1.0, (levers * levers).sum(axis=2))
        return (carried * self._mass * squares).sum(axis=1)

    def potential(self, angles: Array, up: Array | None = None) -> float:
        """Return the potential energy of what the joints move, J, from the base link's height; arguments as above."""
        up = np.array([0.0, 0.0, 1.0]) if up is None else up
        return float(GRAVITY * self._mass @ (self._place(angles)[2] @ up))

    def _place(self, angles: Array) -> tuple[Array, Array, Array]:
        """Origins, joint axes and centres of mass (n, 3) of the links, in the base link's frame."""
        count = len(angles)
        turns, origins, axes = np.empty((count + 1, 3, 3)), np.empty((count + 1, 3)), np.empty((count, 3))
        turns[0], origins[0] = np.eye(3), 0.0
        sines, cosines = np.sin(angles).tolist(), np.cos(angles).tolist()
        for i, ((turn, place, axis), parent) in enumerate(zip(self._still, self._parents, strict=True)):
            still = turns[parent] @ turn
            axes[i] = along = still @ axis
            origins[i + 1] = origins[parent] + turns[parent] @ place
            if self._slides[i]:
                turns[i + 1] = still
                origins[i + 1] += angles[i] * along
                continue
            x, y, z = along.tolist()  # Rodrigues: the columns of the still frame turned about the axis
            cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
            turns[i + 1] = still + sines[i] * (cross @ still) + (1.0 - cosines[i]) * (cross @ (cross @ still))
        return origins[1:], axes, origins[1:] + np.einsum("nij,nj->ni", turns[1:], self._centre)

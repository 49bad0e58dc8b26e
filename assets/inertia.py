"""Spatial inertia of rigid bodies: merging, armature, principal frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np

from training_ground.assets.poses import Array, Pose, skew


@dataclass(frozen=True, eq=False)
class Inertia:
    """Inertia of a rigid body in some frame.

    Attributes:
        mass: kg.
        centre: (3,) centre of mass in the frame, m.
        matrix: (3, 3) rotational inertia about the centre of mass, along the frame's axes, kg·m².
    """

    mass: float = 0.0
    centre: Array = field(default_factory=lambda: np.zeros(3))
    matrix: Array = field(default_factory=lambda: np.zeros((3, 3)))

    def moved(self, pose: Pose) -> Inertia:
        """Return the inertia in the outer frame, in which this body's frame has `pose`."""
        return Inertia(self.mass, pose.points(self.centre), pose.rotation @ self.matrix @ pose.rotation.T)

    def __add__(self, other: Inertia) -> Inertia:
        """Join two bodies given in one frame (parallel-axis theorem)."""
        mass = self.mass + other.mass
        if mass == 0.0:
            return Inertia(0.0, np.zeros(3), self.matrix + other.matrix)
        centre = (self.mass * self.centre + other.mass * other.centre) / mass
        matrix = np.zeros((3, 3))
        for part in (self, other):
            offset = skew(part.centre - centre)
            matrix += part.matrix - part.mass * offset @ offset
        return Inertia(mass, centre, matrix)

    def with_armature(self, axis: Array, armature: float) -> Inertia:
        """Add a rotor's reflected inertia (kg·m²) about a unit joint axis.

        PyBullet has no joint armature (bullet3#2249); this is the usual emulation. The joint's own diagonal entry of
        the mass matrix grows by exactly `armature`; joints before it in the chain feel it too, along the part of their
        axis that is parallel.
        """
        return Inertia(self.mass, self.centre, self.matrix + armature * np.outer(axis, axis))

    def principal(self) -> tuple[Pose, Array]:
        """Return the principal inertial frame and its (3,) moments, kg·m².

        Of the 24 right-handed principal frames the one nearest to the frame's own axes: deterministic, and far from the
        ±90° pitch at which `rpy` degenerates.
        """
        _, vectors = np.linalg.eigh(0.5 * (self.matrix + self.matrix.T))
        best, nearest = np.eye(3), -np.inf
        for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
            candidate = vectors[:, order] * signs
            if np.linalg.det(candidate) > 0 and np.trace(candidate) > nearest + 1e-12:
                best, nearest = candidate, np.trace(candidate)
        moments = np.diag(best.T @ self.matrix @ best)
        return Pose(best, self.centre), moments

    def spatial(self) -> Array:
        """Return the (6, 6) spatial inertia about the frame's origin, angular part first (Featherstone 2008, eq.
        2.63)."""
        c = skew(self.centre)
        result = np.empty((6, 6))
        result[:3, :3] = self.matrix - self.mass * c @ c
        result[:3, 3:] = self.mass * c
        result[3:, :3] = -self.mass * c
        result[3:, 3:] = self.mass * np.eye(3)
        return result


def triangle_violation(matrix: Array) -> float:
    """Return by how much the largest principal moment exceeds the sum of the others, relative to it; ≤ 0 is physical.

    No body of positive density breaks the triangle inequality. Some published URDFs do, by rounding or by mistake.
    """
    moments = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    return float((moments[2] - moments[1] - moments[0]) / max(moments[2], 1e-300))

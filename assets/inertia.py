"""Spatial inertia of rigid bodies: merging, armature, principal frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np
import trimesh

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

    def scaled(self, factor: float) -> Inertia:
        """Return the inertia of the same body, its density `factor` times as high."""
        return Inertia(factor * self.mass, self.centre, factor * self.matrix)

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


def solid_inertia(shape: str, size: Sequence[float], density: float = 1.0) -> Inertia:
    """Return the inertia of a solid primitive about its centre, along its axes.

    Args:
        shape: box, sphere, cylinder or capsule (both along z).
        size: box: lengths along x, y, z; sphere: radius; cylinder and capsule: radius, length of the straight part; m.
        density: kg/m³; 1 gives the volume, m³, as mass.
    """
    if shape == "box":
        x, y, z = size
        mass = density * x * y * z
        moments = [mass * (a * a + b * b) / 12 for a, b in ((y, z), (x, z), (x, y))]
        return Inertia(mass, np.zeros(3), np.diag(moments))
    radius, length = size[0], size[1] if len(size) > 1 else 0.0
    ball = 0.0 if shape == "cylinder" else density * 4 / 3 * np.pi * radius**3
    rod = density * np.pi * radius**2 * length
    # A capsule's half balls have their centres of mass 3/8 of the radius beyond the ends of its cylinder.
    along = 0.5 * rod * radius**2 + 0.4 * ball * radius**2
    across = rod * (radius**2 / 4 + length**2 / 12)
    across += ball * (0.4 * radius**2 + length**2 / 4 + 3 / 8 * length * radius)
    return Inertia(ball + rod, np.zeros(3), np.diag([across, across, along]))


def hull_inertia(vertices: Array) -> Inertia:
    """Return the inertia of the convex hull of points (k, 3), m, in their frame, of 1 kg/m³."""
    hull = trimesh.convex.convex_hull(vertices)
    return Inertia(float(hull.volume), np.asarray(hull.center_mass), np.asarray(hull.moment_inertia))


def triangle_violation(matrix: Array) -> float:
    """Return by how much the largest principal moment exceeds the sum of the others, relative to it; ≤ 0 is physical.

    No body of positive density breaks the triangle inequality. Some published URDFs do, by rounding or by mistake.
    """
    moments = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    return float((moments[2] - moments[1] - moments[0]) / max(moments[2], 1e-300))

"""Rigid transforms: rotation matrices, roll-pitch-yaw, quaternions (xyzw)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotation_from_rpy(rpy: Array | tuple[float, float, float]) -> Array:
    """Return the (3, 3) rotation of a URDF `rpy` (rad): roll about x, then pitch about y, then yaw about z, all fixed
    axes."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(rpy), np.cos(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rpy_from_rotation(rotation: Array) -> Array:
    """Return the (3,) `rpy` of a rotation; exact to rounding at a pitch of ±90° as well.

    Yaw comes first and roll from what is left of the rotation, so that their errors cancel where they are not unique.
    """
    r = rotation
    yaw = np.arctan2(r[1, 0], r[0, 0])
    pitch = np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    s, c = np.sin(yaw), np.cos(yaw)
    roll = np.arctan2(s * r[0, 2] - c * r[1, 2], c * r[1, 1] - s * r[0, 1])
    return np.array([roll, pitch, yaw])


def rotation_about(axis: Array, angle: float) -> Array:
    """Return the (3, 3) rotation by `angle` (rad) about a unit axis (Rodrigues)."""
    k = skew(axis)
    return np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)


def quaternion_from_rotation(rotation: Array) -> Array:
    """Return the (4,) unit quaternion xyzw, w ≥ 0.

    The largest of the four components is found first and the others from it (Shepperd 1978): none is lost to rounding.
    """
    m = rotation
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    squares = np.array([m[0, 0], m[1, 1], m[2, 2], trace]) * 2.0 - trace + 1.0
    squares[3] = trace + 1.0
    best = int(np.argmax(squares))
    if best == 3:
        q = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]])
    else:
        j, k = (best + 1) % 3, (best + 2) % 3
        q = np.empty(4)
        q[best] = squares[best]
        q[j] = m[j, best] + m[best, j]
        q[k] = m[k, best] + m[best, k]
        q[3] = m[k, j] - m[j, k]
    q /= np.linalg.norm(q)
    return -q if q[3] < 0 else q


def rotation_from_quaternion(quaternion: Array) -> Array:
    """Return the (3, 3) rotation of a (4,) unit quaternion xyzw."""
    k = skew(quaternion[:3])
    return np.eye(3) + 2.0 * (quaternion[3] * k + k @ k)


def rotation_vector(rotation: Array) -> Array:
    """Return the (3,) axis times angle of a rotation, rad; the angle lies in [0, π]."""
    v = quaternion_from_rotation(rotation)
    length = float(np.linalg.norm(v[:3]))
    # The half angle from both sine and cosine: exact for small turns and for half turns.
    return v[:3] * (2.0 * np.arctan2(length, v[3]) / length) if length > 0.0 else np.zeros(3)


def rotation_vectors(rotations: Array) -> Array:
    """Return the (b, 3) rotation vectors of (b, 3, 3) rotations, as `rotation_vector` does for one."""
    m, trace = rotations, np.trace(rotations, axis1=1, axis2=2)
    # Each row is the quaternion times four of its own component; the largest is taken (Shepperd 1978).
    rows = np.empty((len(m), 4, 4))
    rows[:, :3, :3] = m + m.transpose(0, 2, 1)
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        rows[:, i, i] = 2.0 * m[:, i, i] - trace + 1.0
        rows[:, i, 3] = rows[:, 3, i] = m[:, k, j] - m[:, j, k]
    rows[:, 3, 3] = trace + 1.0
    q = rows[np.arange(len(m)), np.diagonal(rows, axis1=1, axis2=2).argmax(axis=1)]
    q *= np.where(q[:, 3] < 0.0, -1.0, 1.0)[:, None]
    length = np.linalg.norm(q[:, :3], axis=1)
    return q[:, :3] * (2.0 * np.arctan2(length, q[:, 3]) / np.maximum(length, 1e-300))[:, None]


def skew(v: Array) -> Array:
    """Return the (3, 3) matrix with `skew(v) @ u == cross(v, u)`."""
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


@dataclass(frozen=True, eq=False)
class Pose:
    """Pose of a frame in another: `point_in_outer = rotation @ point + position`."""

    rotation: Array = field(default_factory=lambda: np.eye(3))
    position: Array = field(default_factory=lambda: np.zeros(3))

    @classmethod
    def from_xyz_rpy(cls, xyz: Array, rpy: Array) -> Pose:
        """Read a URDF `<origin>` (m, rad)."""
        return cls(rotation_from_rpy(rpy), np.asarray(xyz, dtype=float))

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.rotation @ other.rotation, self.rotation @ other.position + self.position)

    def inverse(self) -> Pose:
        """Return the outer frame's pose in this one."""
        return Pose(self.rotation.T, -self.rotation.T @ self.position)

    def points(self, points: Array) -> Array:
        """Return (k, 3) points of this frame in the outer frame."""
        return points @ self.rotation.T + self.position

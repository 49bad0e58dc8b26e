"""Quaternions (xyzw) and rotation matrices: scalar code, since arrays of three cost more in numpy than in Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Quaternion = tuple[float, float, float, float]
Vector = tuple[float, float, float]


def multiply(a: Sequence[float], b: Sequence[float]) -> Quaternion:
    """Hamilton product a ∘ b of two quaternions (4,), xyzw: first b's rotation, then a's."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q: Sequence[float]) -> Quaternion:
    """Inverse of a unit quaternion (4,), xyzw."""
    return (-q[0], -q[1], -q[2], q[3])


def matrix(q: Sequence[float]) -> tuple[Vector, Vector, Vector]:
    """Rows of the rotation matrix of a unit quaternion (4,), xyzw."""
    x, y, z, w = q
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )


def rotate(q: Sequence[float], v: Sequence[float]) -> Vector:
    """Rotate the vector v (3,) by the unit quaternion q (4,), xyzw."""
    (a, b, c), (d, e, f), (g, h, i) = matrix(q)
    x, y, z = v
    return (a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z)


def rotate_inverse(q: Sequence[float], v: Sequence[float]) -> Vector:
    """Express the world vector v (3,) in the frame whose orientation is q (4,), xyzw."""
    (a, b, c), (d, e, f), (g, h, i) = matrix(q)
    x, y, z = v
    return (a * x + d * y + g * z, b * x + e * y + h * z, c * x + f * y + i * z)


def cross(a: Sequence[float], b: Sequence[float]) -> Vector:
    """Cross product of two vectors (3,)."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def from_euler(roll: float, pitch: float, yaw: float) -> Quaternion:
    """Quaternion xyzw of a rotation about fixed x, then y, then z (rad), as URDF's `rpy` has it."""
    cr, sr = math.cos(roll / 2), math.sin(roll / 2)
    cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
    cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def yaw(q: Sequence[float]) -> float:
    """Heading of a frame: the angle in rad of its x axis in the world's horizontal plane."""
    x, y, z, w = q
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def angle_between(a: Sequence[float], b: Sequence[float]) -> float:
    """Smallest rotation in rad from orientation a to orientation b (unit quaternions xyzw)."""
    x, y, z, w = multiply(conjugate(a), b)
    return 2 * math.atan2(math.sqrt(x * x + y * y + z * z), abs(w))


def rotation_vector(q: Sequence[float]) -> Vector:
    """Axis times angle in rad (3,) of a unit quaternion xyzw; the angle lies in [0, π]."""
    x, y, z, w = q
    if w < 0:
        x, y, z, w = -x, -y, -z, -w
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 if sine < 1e-9 else 2 * math.atan2(sine, w) / sine
    return (x * scale, y * scale, z * scale)


def random_quaternion(generator: np.random.Generator) -> Quaternion:
    """Uniformly random orientation (a normal 4-vector, normalised), xyzw."""
    x, y, z, w = generator.standard_normal(4).tolist()
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    return (x / norm, y / norm, z / norm, w / norm)

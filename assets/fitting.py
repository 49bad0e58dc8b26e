"""Fit boxes, capsules, spheres and small hulls to meshes.

A fit minimises the volume in which it and the mesh's convex hull differ. It does not enclose the mesh: enclosing shapes
are fatter than the robot, so that its thighs touch while it stands; the best fit errs as much inwards as outwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from training_ground.assets.poses import Array, Pose

HULL_VERTICES = 32
SOLE_CORNERS = 16
SOLE_DEPTH = 0.003
"""Height over a foot's lowest vertex up to which vertices belong to its sole, m."""
_GRID = 16
_STEPS = (0.08, 0.03, 0.01)
_MIN_SIZE = 0.002


@dataclass(frozen=True, eq=False)
class Collider:
    """A collision shape of a compiled link.

    Attributes:
        shape: box, sphere, cylinder, capsule (both along z) or hull.
        pose: In the link's frame.
        size: As in `urdf.Geometry`.
        vertices: (k, 3) of a hull, in the shape's frame, m.
        source: The URDF link it stems from.
        error: Volume of the difference over the hull's volume; 0 for what was kept.
    """

    shape: str
    pose: Pose
    size: tuple[float, ...] = ()
    vertices: Array = field(default_factory=lambda: np.zeros((0, 3)))
    source: str = ""
    error: float = 0.0

    def core(self) -> tuple[Array, float]:
        """Return points (k, 3) in the link's frame and a radius, m: the shape is all that lies within the radius of
        their hull.

        A cylinder's rims are taken as 16 points each.
        """
        if self.shape == "sphere":
            return self.pose.points(np.zeros((1, 3))), self.size[0]
        if self.shape == "capsule":
            half = 0.5 * self.size[1]
            return self.pose.points(np.array([[0.0, 0.0, -half], [0.0, 0.0, half]])), self.size[0]
        if self.shape == "box":
            corners = np.array(np.meshgrid(*[(-0.5 * s, 0.5 * s) for s in self.size], indexing="ij"))
            return self.pose.points(corners.reshape(3, -1).T), 0.0
        if self.shape == "cylinder":
            angle = np.arange(16) * np.pi / 8
            rim = np.column_stack([np.cos(angle) * self.size[0], np.sin(angle) * self.size[0], np.zeros(16)])
            half = np.array([0.0, 0.0, 0.5 * self.size[1]])
            return self.pose.points(np.vstack([rim - half, rim + half])), 0.0
        return self.pose.points(self.vertices), 0.0


def fit(points: Array, shape: str, up: Array | None = None) -> Collider:
    """Fit a shape to the convex hull of points (k, 3).

    Args:
        points: Vertices, m; in the frame in which the collider's pose is wanted.
        shape: box, capsule, sphere, hull, or auto: the one of the first three with the smallest error.
        up: (3,) unit vector away from the ground for a foot, whose hull then gets a flat sole.
    """
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):
        return _flat_box(points)
    if shape == "hull":
        return _small_hull(points[hull.vertices], hull, up)
    target = _Target(points[hull.vertices], hull)
    fits: list[Callable[[_Target], Collider]] = {
        "box": [_box], "capsule": [_capsule], "sphere": [_sphere], "auto": [_capsule, _box, _sphere]
    }[shape]  # fmt: skip
    return min((make(target) for make in fits), key=lambda c: c.error)


class _Target:
    """A hull to fit: its vertices, volume, centroid, candidate axes, and a grid of points that are inside or not."""

    def __init__(self, vertices: Array, hull: Any) -> None:
        self.vertices = vertices
        lower, upper = vertices.min(0), vertices.max(0)
        margin = 0.1 * (upper - lower)
        # Cell centres, symmetric about the middle: a mirrored mesh gives the mirrored fit.
        steps = (np.arange(_GRID) + 0.5) / _GRID
        axes = [low + (high - low) * steps for low, high in zip(lower - margin, upper + margin, strict=True)]
        self.grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        self.inside = _inside(self.grid, hull.equations)
        if not self.inside.any():
            self.inside = np.all(np.abs(self.grid - vertices.mean(0)) <= 0.5 * (upper - lower), axis=1)
        self.count = int(np.count_nonzero(self.inside))
        filled = self.grid[self.inside]
        self.volume = float(hull.volume)
        self.centre = filled.mean(0)
        _, vectors = np.linalg.eigh(np.cov(filled.T))
        if np.linalg.det(vectors) < 0:
            vectors[:, 0] *= -1
        self.axes = (np.eye(3), vectors)

    def error(self, inside: NDArray[np.bool_]) -> float:
        """Return the share of the hull's volume in which a shape with this membership of the grid differs from it."""
        return int(np.count_nonzero(inside != self.inside)) / self.count


def _inside(points: Array, equations: Array) -> NDArray[np.bool_]:
    """Return which points satisfy every half-space; a block of faces at a time, only for the points still in."""
    alive = np.arange(len(points))
    for start in range(0, len(equations), 64):
        block = equations[start : start + 64]
        alive = alive[(points[alive] @ block[:, :3].T + block[:, 3]).max(axis=1, initial=-np.inf) <= 0.0]
    result = np.zeros(len(points), dtype=bool)
    result[alive] = True
    return result


def _descend(error: Callable[[Array], float], start: Array, scale: float) -> tuple[Array, float]:
    """Minimise by trying each parameter a step up and down, steps in shares of `scale`: deterministic, needs no
    gradient."""
    best, value = start, error(start)
    for step in _STEPS:
        improved = True
        while improved:
            improved = False
            for index in range(len(start)):
                for sign in (-1.0, 1.0):
                    trial = best.copy()
                    trial[index] += sign * step * scale
                    found = error(trial)
                    if found < value - 1e-9:
                        best, value, improved = trial, found, True
    return best, value


def _box(target: _Target) -> Collider:
    best: Collider | None = None
    for axes in target.axes:
        grid, vertices = target.grid @ axes, target.vertices @ axes
        start = np.concatenate([vertices.min(0), vertices.max(0)])

        def error(p: Array, grid: Array = grid) -> float:
            return target.error(np.all((grid >= p[:3]) & (grid <= p[3:]), axis=1))

        found, value = _descend(error, start, float(np.ptp(vertices, axis=0).mean()))
        if best is None or value < best.error - 1e-9:
            size = np.maximum(found[3:] - found[:3], _MIN_SIZE)
            pose = Pose(axes, axes @ (0.5 * (found[:3] + found[3:])))
            best = Collider("box", pose, tuple(float(s) for s in size), error=value)
    assert best is not None
    return best


def _capsule(target: _Target) -> Collider:
    starts = []
    for axes, column in [(axes, column) for axes in target.axes for column in range(3)]:
        frame = axes[:, [(column + 1) % 3, (column + 2) % 3, column]]
        along = target.vertices @ frame[:, 2]
        low, high = float(along.min()), float(along.max())
        # The radius at which a cylinder of the hull's length has the hull's volume.
        radius = float(np.sqrt(target.volume / (np.pi * (high - low))))
        if high - low > 1.2 * radius:
            start = np.array([*(target.centre @ frame)[:2], low + 0.6 * radius, high - 0.6 * radius, radius])
            error = _capsule_error(target, target.grid @ frame)
            starts.append((error(start), len(starts), frame, start, error))
    best = _sphere(target)
    for _, _, frame, start, error in sorted(starts, key=lambda s: s[:2])[:2]:
        found, value = _descend(error, start, float(start[4]))
        if value < best.error - 1e-9 or best.shape == "sphere":
            centre = frame @ np.array([found[0], found[1], 0.5 * (found[2] + found[3])])
            size = (float(found[4]), max(float(found[3] - found[2]), 1e-4))
            best = Collider("capsule", Pose(frame, centre), size, error=value)
    return best


def _capsule_error(target: _Target, grid: Array) -> Callable[[Array], float]:
    """Return the error of a capsule along z: centre x, y, ends z, z, radius; the grid is in the capsule's axes."""
    x, y, z = grid.T.copy()

    def error(p: Array) -> float:
        if p[4] <= _MIN_SIZE or p[3] < p[2]:
            return np.inf
        return target.error((x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - np.clip(z, p[2], p[3])) ** 2 <= p[4] ** 2)

    return error


def _sphere(target: _Target) -> Collider:
    radius = float(np.cbrt(target.volume * 3 / (4 * np.pi)))

    def error(p: Array) -> float:
        return target.error(((target.grid - p[:3]) ** 2).sum(1) <= p[3] ** 2) if p[3] > _MIN_SIZE else np.inf

    found, value = _descend(error, np.array([*target.centre, radius]), radius)
    return Collider("sphere", Pose(position=found[:3]), (float(found[3]),), error=value)


def _flat_box(points: Array) -> Collider:
    """A mesh without volume (a decal, a plate of one layer) becomes a thin box along the link's axes."""
    lower, upper = points.min(0), points.max(0)
    size = np.maximum(upper - lower, _MIN_SIZE)
    return Collider("box", Pose(position=0.5 * (lower + upper)), tuple(float(s) for s in size))


def _small_hull(vertices: Array, hull: Any, up: Array | None) -> Collider:
    """Keep at most `HULL_VERTICES` vertices: a foot's sole, the extremes along axes and diagonals, then always the one
    that sticks out most.
    """
    sole = np.zeros((0, 3)) if up is None else _flat_sole(vertices, up)
    vertices = np.vstack([sole, vertices])
    axes = np.vstack([np.eye(3), -np.eye(3), np.array(np.meshgrid(*[(-1.0, 1.0)] * 3)).reshape(3, -1).T])
    extremes = (int(i) for i in np.argmax(vertices @ axes.T, axis=0))
    chosen = list(dict.fromkeys([*range(len(sole)), *extremes]))
    while len(chosen) < min(HULL_VERTICES, len(vertices)):
        try:
            current = ConvexHull(vertices[chosen])
        except QhullError:
            chosen.append(next(i for i in range(len(vertices)) if i not in chosen))
            continue
        outside = (vertices @ current.equations[:, :3].T + current.equations[:, 3]).max(axis=1)
        farthest = int(np.argmax(outside))
        if outside[farthest] < 1e-5 or farthest in chosen:
            break
        chosen.append(farthest)
    kept = vertices[sorted(chosen)]
    final = ConvexHull(kept)
    error = abs(1.0 - float(final.volume) / float(hull.volume))
    return Collider("hull", Pose(), vertices=kept[final.vertices], error=error)


def _flat_sole(vertices: Array, up: Array) -> Array:
    """Return the corners (k, 3) of a foot's sole, flattened: meshes are uneven by a millimetre, and a hull of few
    vertices would stand on three of them.
    """
    height = vertices @ up
    slab = vertices[height <= height.min() + SOLE_DEPTH]
    slab = slab - np.outer(slab @ up - height.min(), up)
    side = np.linalg.svd(up[None])[2][1:]
    angle = np.arange(SOLE_CORNERS) * (2.0 * np.pi / SOLE_CORNERS)
    directions = np.column_stack([np.cos(angle), np.sin(angle)]) @ side
    return slab[sorted({int(i) for i in np.argmax(slab @ directions.T, axis=0)})]

"""Collision shapes of the compiled links, by the specification's rules, and which pairs of links overlap at rest."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import numpy as np

from training_ground.assets.fitting import Collider, fit
from training_ground.assets.poses import Array, Pose
from training_ground.assets.spec import ColliderRule, Primitive, RobotSpec
from training_ground.assets.tree import Body, Tree
from training_ground.assets.urdf import Geometry, Link
from training_ground.configs.errors import AssetError

CONTACT_MARGIN = 0.002
"""Shapes nearer than this (m) at rest count as overlapping: the engine's own margins add up to about as much."""

MeshPoints = Callable[[Geometry], Array]


def body_colliders(body: Body, spec: RobotSpec, points: MeshPoints, up: Array | None = None) -> tuple[Collider, ...]:
    """Return the colliders of a body, in its frame.

    Args:
        body: Its members' geometry is used, each by the first rule that matches the member's name; `auto` where none
            does.
        spec: Its `colliders` are the rules.
        points: Returns a mesh's vertices (k, 3) in the geometry's frame, m.
        up: (3,) unit vector away from the ground, in the body's frame, if the body is a foot.
    """
    result = []
    for link, pose in body.members:
        result += [_primitive(shape, pose) for shape in spec.primitives if shape.link == link.name]
        rule = next((r for r in spec.colliders if any(fnmatchcase(link.name, m) for m in r.match)), None)
        rule = rule or ColliderRule(match=("*",), shape="auto")
        if rule.shape == "none":
            continue
        for geometry in link.visuals if rule.from_visual else link.collisions:
            result.append(_collider(link, pose @ geometry.pose, geometry, rule.shape, points, up))
    return tuple(result)


def _primitive(shape: Primitive, pose: Pose) -> Collider:
    placed = pose @ Pose.from_xyz_rpy(np.array(shape.position), np.array(shape.rpy))
    wanted = {"box": 3, "capsule": 2, "sphere": 1}[shape.shape]
    if len(shape.size) != wanted:
        raise AssetError(f"primitives: {shape.shape} of '{shape.link}' needs {wanted} sizes, has {list(shape.size)}")
    return Collider(shape.shape, placed, shape.size, source=shape.link)


def _collider(link: Link, pose: Pose, geometry: Geometry, shape: str, points: MeshPoints, up: Array | None) -> Collider:
    if geometry.shape == "mesh":
        found = fit(pose.points(points(geometry)), "hull" if shape == "keep" else shape, up)
        return Collider(found.shape, found.pose, found.size, found.vertices, link.name, found.error)
    kept = Collider(geometry.shape, pose, geometry.size, source=link.name)
    if shape in ("keep", "auto", geometry.shape):
        return kept
    if geometry.shape == "cylinder" and shape == "capsule":
        radius, length = geometry.size
        return Collider("capsule", pose, (radius, max(length - 2 * radius, 1e-4)), source=link.name)
    cloud, radius = kept.core()
    if radius:
        directions = np.random.default_rng(0).standard_normal((60, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        cloud = (cloud[:, None, :] + radius * directions[None]).reshape(-1, 3)
    found = fit(cloud, shape)
    return Collider(found.shape, found.pose, found.size, found.vertices, link.name, found.error)


def distance(a: Collider, pose_a: Pose, b: Collider, pose_b: Pose) -> float:
    """Return the distance of two colliders, m; overlapping cores give minus the sum of their radii, not the depth.

    The nearest points of two convex hulls are convex combinations of their vertices: a non-negative least-squares
    problem, in which heavily weighted rows make each combination's weights sum to 1.
    """
    from scipy.optimize import nnls

    (points_a, radius_a), (points_b, radius_b) = a.core(), b.core()
    points_a, points_b = pose_a.points(points_a), pose_b.points(points_b)
    heavy = 1e3
    matrix = np.zeros((5, len(points_a) + len(points_b)))
    matrix[:3, : len(points_a)], matrix[:3, len(points_a) :] = points_a.T, -points_b.T
    matrix[3, : len(points_a)], matrix[4, len(points_a) :] = heavy, heavy
    weights, _ = nnls(matrix, np.array([0.0, 0.0, 0.0, heavy, heavy]))
    gap = float(np.linalg.norm(matrix[:3] @ weights))
    return gap - radius_a - radius_b


def overlapping_pairs(
    tree: Tree, colliders: list[tuple[Collider, ...]], position: Array
) -> list[tuple[int, int, float]]:
    """Return (body, body, distance in m) of every pair that touches at joint angles (n,), parents and children left
    out."""
    poses = tree.poses(position)
    boxes = [_bounds(shapes, pose) for shapes, pose in zip(colliders, poses, strict=True)]
    result = []
    for i in range(len(poses)):
        for j in range(i + 1, len(poses)):
            if tree.bodies[j].parent == i or tree.bodies[i].parent == j or not colliders[i] or not colliders[j]:
                continue
            if np.any(boxes[i][0] > boxes[j][1] + CONTACT_MARGIN) or np.any(boxes[j][0] > boxes[i][1] + CONTACT_MARGIN):
                continue
            gap = min(distance(a, poses[i], b, poses[j]) for a in colliders[i] for b in colliders[j])
            if gap < CONTACT_MARGIN:
                result.append((i, j, gap))
    return result


def _bounds(shapes: tuple[Collider, ...], pose: Pose) -> tuple[Array, Array]:
    lower, upper = np.full(3, np.inf), np.full(3, -np.inf)
    for shape in shapes:
        points, radius = shape.core()
        placed = pose.points(points)
        lower, upper = np.minimum(lower, placed.min(0) - radius), np.maximum(upper, placed.max(0) + radius)
    return lower, upper


def lowest_points(shapes: tuple[Collider, ...], up: Array, tolerance: float = 0.005) -> Array:
    """Return the corners (k, 3) of the sole: the points of shapes within `tolerance` (m) of the lowest, hull of their
    projection.

    Args:
        shapes: Colliders of one link.
        up: (3,) unit vector away from the ground, in the link's frame.
        tolerance: Height over the lowest point up to which a point belongs to the sole, m.
    """
    cloud = np.vstack([points - radius * up for points, radius in (shape.core() for shape in shapes)])
    height = cloud @ up
    sole = cloud[height <= height.min() + tolerance]
    sole = sole - np.outer(sole @ up - height.min(), up)
    side = np.linalg.svd(up[None])[2][1:]
    flat = sole @ side.T
    if len(sole) < 3 or np.linalg.matrix_rank(flat - flat.mean(0), tol=1e-6) < 2:
        return sole
    from scipy.spatial import ConvexHull

    return sole[ConvexHull(flat).vertices]

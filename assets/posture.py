"""A default pose for an imported robot: knees a little bent, soles flat, the centre of mass over the feet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training_ground.assets.anatomy import Anatomy, Limb
from training_ground.assets.poses import Array
from training_ground.assets.tree import Tree

BEND = 0.4
"""Knee angle, rad."""
INSIDE = 0.05
"""Share of a joint's range that the pose keeps from its limits."""


def default_pose(tree: Tree, joints: Sequence[str], anatomy: Anatomy) -> tuple[dict[str, float], str]:
    """Return angles (rad) by joint, and how they were found.

    A leg with three joints that turn about y gets `BEND` at the knee; the hip is chosen so that the centre of mass
    is over the middle between the feet, the ankle so that the sole is flat. Everything else is at zero, or as near
    as its limits allow.

    Args:
        tree: The robot; joints in the order `joints`.
        joints: Names (n).
        anatomy: Its legs are used.
    """
    rest = np.array([_clear(tree, i, 0.0) for i in range(len(joints))])
    legs = [_pitch_joints(tree, joints, leg) for leg in anatomy.legs]
    if not legs or any(leg is None for leg in legs):
        reason = "no legs: zero, or as near as the limits allow"
        if anatomy.legs:
            reason = "a leg has not three joints about y in a row: zero, or as near as the limits allow"
        return _named(joints, rest), reason
    found = [leg for leg in legs if leg is not None]
    for bend, remark in ((BEND, ""), (-BEND, "; they bend backward, so the robot seems to look along -x")):
        pose, error = _bent(tree, rest, found, bend, anatomy.legs)
        if np.isfinite(error):
            reason = (
                f"knees bent by {BEND:g} rad, soles flat, centre of mass {1000 * error:.0f} mm off the feet's middle"
            )
            return _named(joints, pose), reason + remark
    return _named(joints, rest), "the limits allow no bent knees with flat soles: zero, or as near as the limits allow"


def _bent(
    tree: Tree, rest: Array, legs: list[list[tuple[int, float]]], bend: float, feet: Sequence[Limb]
) -> tuple[Array, float]:
    """Return the pose whose centre of mass is nearest to over the feet, and how far it is, m; infinite where none
    is allowed.
    """
    best, error = rest, np.inf
    for hip in np.linspace(-0.9, 0.9, 361):
        pose = rest.copy()
        for leg in legs:
            for (index, sign), angle in zip(leg, (hip, bend, -hip - bend), strict=True):
                pose[index] = sign * angle
        if any(abs(_clear(tree, i, pose[i]) - pose[i]) > 1e-9 for leg in legs for i, _ in leg):
            continue
        off = abs(_lead(tree, pose, feet))
        if off < error:
            best, error = pose, off
    return best, error


def _named(joints: Sequence[str], pose: Array) -> dict[str, float]:
    return {name: float(value) for name, value in zip(joints, pose, strict=True)}


def _clear(tree: Tree, index: int, angle: float) -> float:
    """Return the angle, moved inside the joint's limits where it is not."""
    joint = tree.bodies[index + 1].joint
    assert joint is not None
    if joint.type == "continuous" or joint.lower is None or joint.upper is None:
        return angle
    margin = INSIDE * (joint.upper - joint.lower)
    if joint.lower <= angle <= joint.upper and angle == 0.0:
        return angle
    return float(np.clip(angle, joint.lower + margin, joint.upper - margin))


def _pitch_joints(tree: Tree, joints: Sequence[str], leg: Limb) -> list[tuple[int, float]] | None:
    """Return index and sign about +y of a leg's hip, knee and ankle pitch; None where there are not three."""
    poses = tree.poses(np.zeros(len(joints)))
    found = []
    for name in leg.joints:
        index = list(joints).index(name)
        joint = tree.bodies[index + 1].joint
        assert joint is not None
        axis = poses[index + 1].rotation @ joint.axis
        if abs(axis[1]) > 0.95:
            found.append((index, float(np.sign(axis[1]))))
    return found if len(found) == 3 else None


def _lead(tree: Tree, pose: Array, legs: Sequence[Limb]) -> float:
    """Return how far the whole centre of mass is before those of the feet, which are over their soles, m."""
    poses = tree.poses(pose)
    masses = np.array([body.inertia.mass for body in tree.bodies])
    centres = np.array([p.points(b.inertia.centre[None])[0] for p, b in zip(poses, tree.bodies, strict=True)])
    names = [body.name for body in tree.bodies]
    feet = [names.index(leg.link) for leg in legs]
    support = np.mean([centres[i] for i in feet], axis=0)
    return float((masses @ centres / masses.sum() - support)[0])

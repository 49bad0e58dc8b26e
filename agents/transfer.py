"""Segments of a demonstration carried over to where things are now: the arithmetic of MimicGen.

Mandlekar et al. 2023, *MimicGen: A Data Generation System for Scalable Robot Learning using Human Demonstrations*
(CoRL; arXiv:2310.17596): what a hand did to an object it does again in the object's frame,
T_hand' = T_object' · T_object⁻¹ · T_hand.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from training_ground.assets.poses import Array, Pose, rotation_about, rotation_vector

_Z = np.array([0.0, 0.0, 1.0])


def aligned(pose: Pose, like: Pose, turns: int | Literal["any"]) -> Pose:
    """Return a pose turned about its own z, by what its symmetry leaves open, as near to another's rotation as it gets.

    Args:
        pose: Of something that looks the same after each of its turns.
        like: What it shall be turned like.
        turns: How many of them make a full one; `any` for what is round.
    """
    if turns == 1:
        return pose
    # The angle of a turn R is least where its trace 1 + 2 cos is largest: trace(Rz(a) M) with M = like^T pose.
    m = like.rotation.T @ pose.rotation
    angle = math.atan2(m[0, 1] - m[1, 0], m[0, 0] + m[1, 1])
    if turns != "any":
        share = 2.0 * math.pi / turns
        angle = share * round(angle / share)
    return Pose(pose.rotation @ rotation_about(_Z, angle), pose.position)


def carried_over(hand: Pose, source: Pose, now: Pose) -> Pose:
    """Return the hand's pose that is to a frame `now` what `hand` was to the frame at `source`."""
    return now @ source.inverse() @ hand


def regripped(held: Pose, held_now: Pose) -> Pose:
    """Return the change of the hand, in its own frame, that puts what it holds where it was held then.

    Args:
        held: The item in the hand's frame, in the demonstration.
        held_now: The same now.

    Returns:
        C, so that a hand at `hand @ C` has the item where a hand at `hand` had it.
    """
    return held @ held_now.inverse()


def apart(a: Pose, b: Pose) -> tuple[float, float]:
    """Distance in m and turn in rad between two poses."""
    return float(np.linalg.norm(a.position - b.position)), angle_between(a.rotation, b.rotation)


def angle_between(a: Array, b: Array) -> float:
    """Angle of the turn from one rotation to another, rad."""
    return float(np.linalg.norm(rotation_vector(a.T @ b)))

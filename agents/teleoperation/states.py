"""What a person is allowed in teleoperation, and how a hand stands to what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

from training_ground.assets.poses import Pose

FASTEST = 0.25
"""m/s of a hand: what robots are held to where people teach them by hand (ISO 10218-1:2011, 5.6.2)."""


@dataclass(frozen=True)
class Speeds:
    """The fastest that a person can ask for: m/s and rad/s of a hand, rad/s of a joint and of one of the trunk's."""

    hand: float = FASTEST
    turn: float = 1.5
    joint: float = 1.5
    trunk: float = 0.5


@dataclass(frozen=True, eq=False)
class HandState:
    """How a hand stands to what is asked of it.

    Attributes:
        target: Asked for, in the world; None while sliders move the arm's joints.
        planned: Where the joint angles that are asked of the arm would have it.
        distance: From there to the target, m.  angle: rad.
        lag: From there to where the hand is, m: what weight, and what stands in its way, keep it from.
        reach: `there`, `moving`, `out of reach`, or `sliders`.
        closed: Asked of the fingers: 0 open, 1 closed.
        pointing: Whether the index finger is stretched, and its tip is what the target is for.
    """

    target: Pose | None
    planned: Pose
    distance: float
    angle: float
    lag: float
    reach: str
    closed: float
    pointing: bool

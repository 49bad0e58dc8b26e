"""Stops: the joints are held where they are, and what the hands travel until all is still is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.gravity import Gravity
from training_ground.envs.robot import Robot
from training_ground.envs.rotations import Vector

Array = NDArray[np.float64]

SLOW = 0.02
"""m/s at which an object is at rest; of a slide, and of what a joint moves, within which it stands still."""
REACH, FINGER = 0.4, 0.04
"""m that an arm and a finger reach over their joint, for the speed in rad/s that this is."""
STILL_S = 0.2
"""s for which."""
LONGEST_S = 2.0
"""s after which a stop that has found no rest counts as over: an arm that is jammed may shake for ever."""


@dataclass
class Stop:
    """A stop under way.

    Attributes:
        cause: What it is for.
        emergency: Whether it lasts to the end of the episode.
        target: (n,) joint targets that brake and hold, rad.
        anchor: (n,) angles at which they hold, rad.
        gripping: (n,) whether a joint is a finger that holds what it pushes against.
        elapsed: s since the command.
        still: s for which the joints have been still.
        places: Where the hands were last, (3,) m each.
        paths: What each has travelled, m.
        time, distance: s until the robot came to rest, and m that the hand that went farthest travelled until then;
            None while it moves.
        way: What each had travelled when the robot last moved, m.
    """

    cause: str
    emergency: bool
    target: Array
    anchor: Array
    gripping: NDArray[np.bool_]
    places: list[Vector]
    paths: list[float]
    elapsed: float = 0.0
    still: float = 0.0
    time: float | None = None
    distance: float | None = None
    way: list[float] = field(default_factory=list)


class Brake:
    """Stops a robot and measures how.

    Args:
        robot: The robot.
        moving: Indices of joints that a stop leaves alone: legs that keep the balance.
    """

    def __init__(self, robot: Robot, moving: Sequence[int] | NDArray[np.int64] = ()) -> None:
        self._robot, model = robot, robot.model
        self._moving = np.isin(np.arange(len(model.joint_names)), moving)
        self._gravity = Gravity(model)
        self._gains = np.maximum(model.kp, 1e-9)
        fingers = {name for hand in model.hands for name in hand.fingers}
        self._fingers = np.array([name in fingers for name in model.joint_names])
        levers = np.where(self._fingers, FINGER, REACH)
        self._slow = np.where(np.isin(model.joint_names, model.sliding), SLOW, SLOW / levers)

    def stop(self, cause: str, commanded: Array, *, emergency: bool) -> Stop:
        """Return a stop that begins now.

        The joints' targets become the angles that they have, and what carries their weight on top; a joint on its way
        back from where it came to rest is held there. So motors brake and never push. Fingers that stand still keep
        what they were told, (n,) rad: they hold something, which must not be dropped.
        """
        places, here = self.hands(), self._robot.joint_position.copy()
        gripping = self._fingers & (np.abs(self._robot.joint_velocity) < self._slow)
        target = np.where(gripping, commanded, self._holding(here))
        return Stop(cause, emergency, target, here, gripping, places, [0.0] * len(places))

    def _holding(self, angles: Array) -> Array:
        """Targets (n,) that hold the joints at angles (n,), rad."""
        up = np.array([-g for g in self._robot.projected_gravity])
        model = self._robot.model
        return np.clip(angles + self._gravity.torque(angles, up) / self._gains, model.lower, model.upper)

    def _hold_what_returns(self, stop: Stop) -> None:
        position, velocity = self._robot.joint_position, self._robot.joint_velocity
        returning = (stop.anchor - position) * velocity > 0.0
        stop.anchor = np.where(returning, position, stop.anchor)
        stop.target = np.where(stop.gripping, stop.target, self._holding(stop.anchor))

    def hands(self) -> list[Vector]:
        """Where the hands are, (3,) m each."""
        return [self._robot.frame(hand.grip or hand.frame).position for hand in self._robot.model.hands]

    def watch(self, stop: Stop, dt: float) -> None:
        """Measure, after a control step of `dt` s, until the robot has been still for 0.2 s.

        Fingers that grip may shake.
        """
        stop.elapsed += dt
        if stop.time is not None:
            return
        self._hold_what_returns(stop)
        places = self.hands()
        stop.paths = [path + math.dist(a, b) for path, a, b in zip(stop.paths, stop.places, places, strict=True)]
        stop.places = places
        still = bool((self._moving | stop.gripping | (np.abs(self._robot.joint_velocity) < self._slow)).all())
        stop.still = stop.still + dt if still else 0.0
        if not still or stop.still <= dt:
            stop.way = list(stop.paths)  # up to here it still moved
        if stop.still >= STILL_S - 1e-9:
            stop.time, stop.distance = stop.elapsed - stop.still + dt, max(stop.way)

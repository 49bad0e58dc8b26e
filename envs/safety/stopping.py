"""Stops: the joints are held where they are, and what the hands travel until all is still is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.gravity import Gravity
from training_ground.envs.robot import Robot
from training_ground.envs.rotations import Vector

Array = NDArray[np.float64]

STILL = 0.05
"""rad/s (m/s of a slide) below which every joint must be for the robot to stand still: 2 to 3 cm/s of a hand on a
stretched arm, about the 2 cm/s at which an object is at rest."""
STILL_S = 0.2
"""s for which."""


@dataclass
class Stop:
    """A stop under way.

    Attributes:
        cause: What it is for.
        emergency: Whether it lasts to the end of the episode.
        target: (n,) joint targets that brake and hold, rad.
        elapsed: s since the command.
        still: s for which the joints have been still.
        places: Where the hands were last, (3,) m each.
        paths: What each has travelled, m.
        time, distance: s until the robot came to rest, and m that the hand that went farthest travelled until then; None
            while it moves.
    """

    cause: str
    emergency: bool
    target: Array
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
    """

    def __init__(self, robot: Robot) -> None:
        self._robot, model = robot, robot.model
        self._gravity = Gravity(model)
        self._gains = np.maximum(model.kp, 1e-9)
        fingers = {name for hand in model.hands for name in hand.fingers}
        self._fingers = np.array([name in fingers for name in model.joint_names])

    def stop(self, cause: str, commanded: Array, *, emergency: bool) -> Stop:
        """Return a stop that begins now.

        The joints' targets become the angles that they have, and what carries their weight on top: the motors brake with
        all their damping and come back to where the stop was asked for. Fingers keep what they were told, (n,) rad, so
        that nothing is dropped.
        """
        robot = self._robot
        up = np.array([-g for g in robot.projected_gravity])
        held = robot.joint_position + self._gravity.torque(robot.joint_position, up) / self._gains
        target = np.clip(np.where(self._fingers, commanded, held), robot.model.lower, robot.model.upper)
        places = self.hands()
        return Stop(cause, emergency, target, places, [0.0] * len(places))

    def hands(self) -> list[Vector]:
        """Where the hands are, (3,) m each."""
        return [self._robot.frame(hand.grip or hand.frame).position for hand in self._robot.model.hands]

    def watch(self, stop: Stop, dt: float) -> None:
        """Measure, after a control step of `dt` s, until the robot has been still for 0.2 s."""
        stop.elapsed += dt
        if stop.time is not None:
            return
        places = self.hands()
        stop.paths = [path + math.dist(a, b) for path, a, b in zip(stop.paths, stop.places, places, strict=True)]
        stop.places = places
        still = float(np.abs(self._robot.joint_velocity).max()) < STILL
        stop.still = stop.still + dt if still else 0.0
        if not still or stop.still <= dt:
            stop.way = list(stop.paths)  # up to here it still moved
        if stop.still >= STILL_S - 1e-9:
            stop.time, stop.distance = stop.elapsed - stop.still + dt, max(stop.way)

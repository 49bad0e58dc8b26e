"""Run: follow a velocity command that is too fast for a walk."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from training_ground.envs.randomisation import NonNegativeRange
from training_ground.envs.tasks.locomotion.walk import Range, Walk, WalkConfig

FASTEST = 0.75
"""Largest commanded speed over the square root of gravity times the base's standing height (a Froude number of 0.56):
2 m/s for a robot of the G1's size, less for a smaller one."""

SPEED_TOLERANCE = 0.25
"""m/s by which the mean velocity of a cycle may miss the command where the robot still runs as it is told."""


class RunConfig(WalkConfig):
    """Keyword arguments of Run."""

    forward_speed: Range = (0.8, 2.0)
    """Range of the command's velocity forward, m/s; for a small robot what it can do counts."""
    sideways_speed: Range = (-0.1, 0.1)
    """To the left, m/s."""
    turn_rate: Range = (-0.2, 0.2)
    """About the vertical, rad/s."""
    push_speed: NonNegativeRange = (0.2, 0.2)
    """Range of the velocity that a push gives the whole robot at once, m/s; its direction is uniform."""


class Run(Walk):
    """Run forward as commanded, in spite of pushes.

    Walk with faster commands and a faster clock: two steps take 2 time constants of a pendulum of the robot's height
    instead of 2.8, and each foot stands for 40 % of that, so that the robot may fly between its steps. Commands end at
    three quarters of the square root of gravity times the base's height. Observations and actions are Walk's.

    **Success** holds while the robot runs as told: its velocity, averaged over a cycle, is within 0.25 m/s of the
    command's, and it has not fallen. Reward and failure are Walk's.
    """

    id = "Run"
    instruction = "Run with the commanded velocity."
    phases = ("left", "right", "both", "flight")
    config_type = RunConfig
    period_share: ClassVar[float] = 2.0
    stance_share: ClassVar[float] = 0.4

    def draw_commands(self, generator: np.random.Generator, count: int) -> list[list[float]]:
        """Draw velocities forward and to the left, m/s, and about the vertical, rad/s: (count, 3)."""
        most = FASTEST * math.sqrt(self.env.world.gravity * self.env.model.default_height)
        return [[min(x, most), y, turn] for x, y, turn in super().draw_commands(generator, count)]

    def on_course(self, missed: float, astray: float) -> bool:
        """Whether the mean velocity is the commanded one."""
        return missed < SPEED_TOLERANCE

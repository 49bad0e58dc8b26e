"""Stairs: follow a velocity command up and down flights of stairs."""

from __future__ import annotations

import numpy as np

from training_ground.envs.randomisation import NonNegativeRange
from training_ground.envs.tasks.locomotion._uneven import UnevenConfig, UnevenWalk
from training_ground.envs.tasks.locomotion.walk import Range
from training_ground.envs.terrain import Slabs, Terrain, stairs

SLABS = Slabs(60, 0.3, 12.0)
"""A row of 59 treads."""

LOWEST, HIGHEST = 0.05, 0.17
"""m of a step at difficulty 0 and 1; the latter is that of common stairs."""

ASKEW = 0.2
"""rad at most between the robot's heading at the start and the stairs."""


class StairsConfig(UnevenConfig):
    """Keyword arguments of Stairs."""

    forward_speed: Range = (0.1, 0.4)
    """Range of the command's velocity forward, m/s."""
    sideways_speed: Range = (-0.05, 0.05)
    """To the left, m/s."""
    turn_rate: Range = (-0.05, 0.05)
    """About the vertical, rad/s."""
    push_speed: NonNegativeRange = (0.2, 0.2)
    """Range of the velocity that a push gives the whole robot at once, m/s; its direction is uniform."""


class Stairs(UnevenWalk):
    """Walk as commanded up and down stairs, in spite of pushes.

    Walk with flights of four to eight steps, 0.3 m deep and 5 to 17 cm high by `difficulty`, and platforms between
    them. The robot starts on a platform, at the top or at the bottom, and looks along the stairs up to 0.2 rad askew;
    there are flights ahead of it and behind it, within 9 m. Heights of the ground around the robot are observed; all
    other observations, and the actions, are Walk's. The stepping reference lifts the feet by half a step more than
    Walk's; the rest is to be learned.

    **Success**, reward and failure are Walk's; heights count from the ground below the base.
    """

    id = "Stairs"
    instruction = "Walk with the commanded velocity up and down the stairs."
    slabs = SLABS
    config_type = StairsConfig

    @property
    def rise(self) -> float:
        """Height of a step, m."""
        return LOWEST + self.config.difficulty * (HIGHEST - LOWEST)

    def step_height(self, height: float) -> float:
        """By which the reference lifts the feet of a robot whose base is so high, both m."""
        return self.config.step_height or height / 12 + self.rise / 2

    def terrain(self, generator: np.random.Generator, heading: float) -> Terrain:
        """Draw stairs that lead where the robot looks."""
        direction = heading + float(generator.uniform(-ASKEW, ASKEW))
        return stairs(generator, SLABS, self.rise, self.config.platform_length, direction)

"""Turn: follow a commanded turn rate on the spot."""

from __future__ import annotations

import math

import numpy as np

from training_ground.envs import rotations
from training_ground.envs.tasks.locomotion.walk import Range, Walk, WalkConfig

RETURN_GAIN = 1.0
"""1/s: commanded speed back to the spot over the distance from it."""

HEADING_TOLERANCE = 0.25
"""rad by which the heading may be off where the robot still turns as it is told."""

PLACE_TOLERANCE = 0.25
"""m from the spot at which it still turns on it."""


class TurnConfig(WalkConfig):
    """Keyword arguments of Turn."""

    forward_speed: Range = (-0.2, 0.2)
    """Bounds of the commanded velocity back to the spot, m/s."""
    sideways_speed: Range = (-0.2, 0.2)
    """The same to the left."""
    turn_rate: Range = (-1.0, 1.0)
    """Range of the command about the vertical, rad/s."""


class Turn(Walk):
    """Turn on the spot as commanded, in spite of pushes.

    Walk with a command that only turns: the commanded velocity is what leads back to where the robot started, 1/s
    times the distance, within bounds. Observations and actions are Walk's.

    **Success** holds while the robot turns as told: its heading is within 0.25 rad of the one commanded, it is within
    0.25 m of the spot, and it has not fallen. Reward and failure are Walk's.
    """

    id = "Turn"
    instruction = "Turn on the spot with the commanded rate."
    config_type = TurnConfig

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the episode's commands and pushes, and remember the spot."""
        super().reset(generator)
        self.state.values["spot"] = self.env.robot.base.position[:2]

    def _away(self) -> tuple[float, float]:
        x, y = self.state.values["spot"]
        px, py, _ = self.env.robot.base.position
        return x - px, y - py

    @property
    def command(self) -> list[float]:
        """Forward and to the left, m/s, back to the spot, and about the vertical, rad/s."""
        (dx, dy), heading, config = self._away(), rotations.yaw(self.env.robot.base.orientation), self.config
        c, s = RETURN_GAIN * math.cos(heading), RETURN_GAIN * math.sin(heading)
        low, high = config.forward_speed
        left, right = config.sideways_speed
        forward, sideways = min(max(c * dx + s * dy, low), high), min(max(c * dy - s * dx, left), right)
        return [forward, sideways, super().command[2]]

    def on_course(self, missed: float, astray: float) -> bool:
        """Whether heading and place are as commanded."""
        return abs(astray) < HEADING_TOLERANCE and math.hypot(*self._away()) < PLACE_TOLERANCE

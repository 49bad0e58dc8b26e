"""Pushes: sudden changes of the whole robot's velocity, drawn for an episode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training_ground.envs.channels import Channel

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

NONE = (0.0, 0.0)


@dataclass(frozen=True)
class Pushes:
    """An episode's pushes.

    Attributes:
        velocity: By control step: the change of the base's velocity along the world's x and y, m/s.
    """

    velocity: dict[int, tuple[float, float]]

    @classmethod
    def draw(
        cls, generator: np.random.Generator, env: HumanoidEnv, speed: tuple[float, float], interval_s: float
    ) -> Pushes:
        """Draw one push an interval, in uniformly random directions; the first comes within the first interval.

        Args:
            generator: The episode's own.
            env: Gives the length of the episode.
            speed: Range of a push, m/s.
            interval_s: s.
        """
        interval = max(1, round(interval_s / env.control_timestep))
        first = int(generator.integers(1, interval + 1))
        times = range(first, env.max_steps, interval)
        speeds = generator.uniform(*speed, len(times)).tolist()
        angles = generator.uniform(-math.pi, math.pi, len(times)).tolist()
        return cls({t: (v * math.cos(a), v * math.sin(a)) for t, v, a in zip(times, speeds, angles, strict=True)})

    def apply(self, env: HumanoidEnv) -> tuple[float, float]:
        """Push the robot where it is time to; return the change, m/s."""
        push = self.velocity.get(env.steps, NONE)
        if push != NONE:
            env.robot.body.add_base_velocity((*push, 0.0))
        return push


def push_channel() -> Channel:
    """Return the channel that records the push of a step."""
    return Channel(
        "push_velocity", (2,), "m/s", "world", "event", "Velocity change by a push before this step.", ("x", "y")
    )

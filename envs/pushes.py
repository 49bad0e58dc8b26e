"""Pushes: sudden changes of the whole robot's velocity, drawn for an episode, and how many were withstood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from training_ground.envs import rotations
from training_ground.envs.channels import Channel

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

NONE = (0.0, 0.0)
DIRECTIONS = ("front", "front_left", "left", "back_left", "back", "back_right", "right", "front_right")
"""Where a push sends the robot, as the robot sees it: eighths of a turn, counted to the left from straight ahead."""
SETTLED_S = 2.0
"""s for which the robot must not fall after the last push of an episode to have withstood it."""


@dataclass
class Pushes:
    """An episode's pushes; part of the task's state.

    Attributes:
        velocity: By control step: the change of the base's velocity along the world's x and y, m/s.
        last: The latest push as the robot saw it, forward and to the left, m/s; None before the first one.
        given: Control step of the latest push.
        withstood: By direction: pushes after which the robot was still up when the next one came.
    """

    velocity: dict[int, tuple[float, float]]
    last: tuple[float, float] | None = None
    given: int = 0
    withstood: list[int] = field(default_factory=lambda: [0] * len(DIRECTIONS))

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
            if self.last is not None:
                self.withstood[direction(self.last)] += 1
            heading = rotations.yaw(env.robot.base.orientation)
            c, s = math.cos(heading), math.sin(heading)
            self.last, self.given = (c * push[0] + s * push[1], c * push[1] - s * push[0]), env.steps
            env.robot.body.add_base_velocity((*push, 0.0))
        return push

    def metrics(self, env: HumanoidEnv) -> dict[str, float]:
        """Return what became of the pushes so far; nothing where there was none.

        Returns:
            `push_forward` and `push_left`, the latest push in the heading frame of the moment when it came, m/s; where
            the episode ended in a fall it is the one that felled the robot. For each of `DIRECTIONS` the number of
            pushes `withstood_*`: the next one found the robot up, or 2 s went by. A push that the episode's end leaves
            undecided is not counted.
        """
        if self.last is None:
            return {}
        counts = list(self.withstood)
        if env.outcome.failure is None and (env.steps - self.given) * env.control_timestep >= SETTLED_S:
            counts[direction(self.last)] += 1
        found = {"push_forward": self.last[0], "push_left": self.last[1]}
        return found | {f"withstood_{name}": float(count) for name, count in zip(DIRECTIONS, counts, strict=True)}


def direction(push: Sequence[float]) -> int:
    """Return the index in `DIRECTIONS` of a push forward and to the left."""
    return round(math.atan2(push[1], push[0]) / (2 * math.pi) * len(DIRECTIONS)) % len(DIRECTIONS)


def push_channel() -> Channel:
    """Return the channel that records the push of a step."""
    return Channel(
        "push_velocity", (2,), "m/s", "world", "event", "Velocity change by a push before this step.", ("x", "y")
    )

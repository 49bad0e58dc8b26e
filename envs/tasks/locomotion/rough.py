"""Rough: follow a velocity command over slopes, steps and blocks."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from training_ground.envs.tasks.locomotion._uneven import UnevenConfig, UnevenWalk
from training_ground.envs.tasks.locomotion.walk import Range
from training_ground.envs.terrain import KINDS, Slabs, Terrain

SLABS = Slabs(78, 0.6, 24.0)
"""Two rows of 39 treads: the ground is uneven for 12 m around the start."""

STEEPEST = math.radians(10)
"""rad of slope at difficulty 1."""

HIGHEST = 0.05
"""m of a step at difficulty 1."""

Kind = Literal["slopes", "steps", "blocks"]


class RoughConfig(UnevenConfig):
    """Keyword arguments of Rough."""

    forward_speed: Range = (0.0, 0.6)
    """Range of the command's velocity forward, m/s."""
    sideways_speed: Range = (-0.1, 0.1)
    """To the left, m/s."""
    turn_rate: Range = (-0.3, 0.3)
    """About the vertical, rad/s."""
    terrains: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("slopes", "steps", "blocks")
    """Kinds of ground; an episode has one of them."""


class Rough(UnevenWalk):
    """Walk as commanded over uneven ground, in spite of pushes.

    Walk on one of three kinds of ground, drawn with its direction for each episode: ramps up and down of at most 10°,
    parallel steps of at most 5 cm, or blocks that differ by at most 5 cm; `difficulty` scales angles and heights. The
    robot starts on a level platform; the ground is uneven for 12 m around it. Heights of the ground around the robot
    are observed; all other observations, and the actions, are Walk's.

    **Success**, reward and failure are Walk's; heights count from the ground below the base.
    """

    id = "Rough"
    instruction = "Walk with the commanded velocity over uneven ground."
    slabs = SLABS
    config_type = RoughConfig
    config: RoughConfig  # type: ignore[assignment]  # a narrower one

    def terrain(self, generator: np.random.Generator, heading: float) -> Terrain:
        """Draw a kind of ground, and one of that kind."""
        config = self.config
        kind = config.terrains[int(generator.integers(len(config.terrains)))]
        most = config.difficulty * (STEEPEST if kind == "slopes" else HIGHEST)
        return KINDS[kind](generator, SLABS, most, config.platform_length)

"""What a robot sees of the ground around it: heights at a grid of points that turns with its heading."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from training_ground.assets.model import Mirror
from training_ground.envs import rotations
from training_ground.envs.channels import Channel

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

AHEAD = tuple(round(0.1 * i - 0.3, 1) for i in range(11))
"""m before the base: a tread of 0.3 m is seen three times."""

BESIDE = 0.12
"""m to the left and to the right of the base: about where the feet are."""

_SIDES = ("left", "right")
_POINTS = tuple((a, b) for b in (BESIDE, -BESIDE) for a in AHEAD)


def scan_channel() -> Channel:
    """Return the channel of the scan: 11 points on the left, then 11 on the right."""
    names = tuple(f"{side}_{round(100 * x)}cm" for side in _SIDES for x in AHEAD)
    return Channel(
        "terrain_height",
        (len(names),),
        "m",
        "heading",
        "observation",
        "Height of the ground before and beside the base, over where the feet are when it stands on both.",
        names,
    )


def scan_mirror() -> Mirror:
    """Return the scan's mirror map: left and right change places."""
    n = len(AHEAD)
    return Mirror(np.concatenate([np.arange(n, 2 * n), np.arange(n)]), np.ones(2 * n))


def scan(env: HumanoidEnv) -> list[float]:
    """Height (22,) of the ground at each point, m, relative to that of the soles of a robot in its default pose."""
    (x, y, z), terrain = env.robot.base.position, env.terrain
    heading = rotations.yaw(env.robot.base.orientation)
    c, s, sole = math.cos(heading), math.sin(heading), z - env.model.default_height
    return [terrain.at(x + c * a - s * b, y + s * a + c * b) - sole for a, b in _POINTS]

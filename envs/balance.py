"""Whether a robot stands or has fallen: shared by every task of a free robot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from training_ground.envs.robot import Robot

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

FALL_TILT = 1.0
"""rad between the base's z axis and the vertical beyond which a robot has fallen (unitree_rl_gym stops at pitch 1)."""

FALL_HEIGHT = 0.6
"""Share of the base's standing height below which a robot has fallen."""


def tilt(robot: Robot) -> float:
    """Angle in rad between the base's z axis and the vertical."""
    x, y, z = robot.projected_gravity
    return math.atan2(math.hypot(x, y), -z)


def relative_height(env: HumanoidEnv) -> float:
    """Height of the base over its height in the default pose."""
    return env.robot.base.position[2] / env.model.default_height


def failure(env: HumanoidEnv) -> str | None:
    """`fall` where a free robot is too low, too tilted, or touches the ground with anything but its feet."""
    if env.stance != "free":
        return None
    fallen = relative_height(env) < FALL_HEIGHT or tilt(env.robot) > FALL_TILT or bool(env.robot.touching)
    return "fall" if fallen else None

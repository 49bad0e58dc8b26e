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
    """Height of the base over the ground, as a share of that in the default pose."""
    return env.base_height / env.model.default_height


def capture_distance(env: HumanoidEnv) -> float:
    """Horizontal distance in m from between the feet to the point over which the robot, as an inverted pendulum of its
    base's height, would come to rest: the capture point of Pratt et al. 2006 (Humanoids).
    """
    robot = env.robot
    (x, y, _), (vx, vy, _) = robot.base.position, robot.base.linear_velocity
    time = math.sqrt(max(env.base_height, 0.0) / env.world.gravity)
    feet = [foot.position for foot in robot.feet]
    dx = x + vx * time - sum(p[0] for p in feet) / len(feet)
    dy = y + vy * time - sum(p[1] for p in feet) / len(feet)
    return math.hypot(dx, dy)


def failure(env: HumanoidEnv, height: float = FALL_HEIGHT, lean: float = FALL_TILT) -> str | None:
    """`fall` where a free robot is too low, too tilted, or touches the ground with anything but its feet.

    Args:
        env: Where the robot is.
        height: Share of the standing height below which it has fallen.
        lean: rad of tilt beyond which it has fallen.
    """
    if env.stance != "free":
        return None
    return "fall" if fallen(env, height, lean) or env.robot.touching else None


def fallen(env: HumanoidEnv, height: float = FALL_HEIGHT, lean: float = FALL_TILT) -> bool:
    """Whether the robot is too low or too tilted, whatever it touches; arguments as above."""
    return relative_height(env) < height or tilt(env.robot) > lean

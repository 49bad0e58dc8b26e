"""From joint angles that are wanted to actions: what the motors' springs and dampers lack is added to their targets."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.gravity import Gravity
from training_ground.assets.poses import Array
from training_ground.envs.env import HumanoidEnv

INTEGRAL_LIMIT = 0.5
"""rad by which targets move on at most where a joint stands off what was wanted."""


class Servo:
    """Makes actions in control mode `joint_position` that bring every joint to an angle and hold it there.

    Args:
        env: Of the robot; its episode has begun.
        fingers: Indices of the fingers' joints. They push on what they hold: they have no business where they are told
            to be.
        gain: 1/s, of all joints or of each (n): how fast the targets move on where another joint stands off what was
            wanted.

    Attributes:
        integral: (n) rad by which they have moved on.
    """

    def __init__(self, env: HumanoidEnv, fingers: Collection[int], gain: float | Array) -> None:
        self._env, self._gain = env, gain
        count = len(env.model.joint_names)
        self.integral = np.zeros(count)
        self._corrected = np.array([i not in fingers for i in range(count)])
        self._gravity = Gravity(env.model)

    def correct(self, wanted: Array) -> None:
        """Look how far the joints are from the angles (n) that were wanted of them in the last control step, rad."""
        error = np.where(self._corrected, wanted - self._env.robot.joint_position, 0.0)
        change = self._gain * self._env.control_timestep * error
        self.integral = np.clip(self.integral + change, -INTEGRAL_LIMIT, INTEGRAL_LIMIT)

    def action(self, wanted: Array, before: Array) -> NDArray[np.float32]:
        """Return the action (m) for angles (n) that are wanted now and were wanted a control step before, rad."""
        env = self._env
        up = np.array([-g for g in env.robot.projected_gravity])
        # Damping brakes what moves; a target that runs ahead makes up for it, or hands would trail and then overshoot.
        speed = np.where(self._corrected, (wanted - before) / env.control_timestep, 0.0)
        ahead = (self._gravity.torque(wanted, up) + env.model.kd * speed) / env.model.kp
        target = wanted + ahead + self.integral
        offset = (target - env.action_origin)[env.driven]
        return np.clip(offset / env.action_scale, -1.0, 1.0).astype(np.float32)

"""How to visit a set of poses."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.arm import Arm, pose_of
from training_ground.agents.experts.expert import CannotReach, Expert, Steps
from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.assets.poses import Array

POSES = tuple(f"cube.p{i}" for i in range(1, 6))
GRAVITY = 9.81
"""m/s²."""
SPEED = 0.6
"""rad/s: mean speed of the fastest joint."""
IN_LINE = 0.9
"""Cosine of the angle between a shoulder's first and third axis beyond which they count as in line: about them both the
arm can hardly be held."""
EXACT = 1e-5
"""m and rad within which the joint angles of a pose are worked out."""


class PoseSet(Expert):
    """Work out joint angles for every pose once, as if it had been taught; go from one to the next, and wait there."""

    waist: ClassVar[bool] = True
    integral_gain: ClassVar[float] = 0.7

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Act as the procedure asks, and bear the weight of the tool as it should be."""
        action, env, arm = super().act(observation), self.env, self.arms[self.task.side]
        up = -np.array(env.robot.projected_gravity)
        rise = up @ arm.chain.jacobian(self.wanted[arm.joints])[1][:3]  # of the hand, m/rad
        torque = self.task.config.tool_mass * GRAVITY * rise
        own = np.searchsorted(env.driven, arm.joints)
        action[own] += torque / (env.model.kp[arm.joints] * env.action_scale[own])
        return np.clip(action, -1.0, 1.0)

    def procedure(self) -> Steps:
        """Visit the poses."""
        arm, task = self.arms[self.task.side], self.task
        taught = self.teach(arm)
        while not task.complete:
            goal, visits = task.goal, len(task.attained)
            way = arm.way(taught[goal], self.wanted)
            if way is None:
                raise CannotReach(f"waypoint '{goal}', {task.side} hand: no way leads there")
            yield from self.along(arm, way, SPEED)
            there = self.frame(goal)
            while len(task.attained) == visits:
                self.stay(arm, there, goal)
                yield

    def teach(self, arm: Arm) -> dict[str, Array]:
        """Return the joint angles of every pose, rad, in the same posture of the arm.

        Raises:
            CannotReach: No joint angles lead to one of them.
        """
        base, taught = pose_of(self.env.robot.base).inverse(), dict[str, Array]()
        arm.favourite = None
        self.clearance.look()
        for name in POSES:
            found, why = arm.search(self.frame(name), self.wanted)
            if not found:
                raise CannotReach(f"waypoint '{name}', {arm.hand.side} hand: {why}")
            easy = [one for one in found if in_line(arm, one.angles) < IN_LINE]
            near = (easy or sorted(found, key=lambda one: in_line(arm, one.angles)))[0].angles
            goal = base @ self.frame(name)
            arm.favourite = near if arm.favourite is None else arm.favourite
            there = solve(
                arm.chain, goal, near, posture=near, starts=1, position_tolerance=EXACT, orientation_tolerance=EXACT
            )
            taught[name] = there.angles
        return taught


def in_line(arm: Arm, angles: Array) -> float:
    """Return the cosine of the angle between a shoulder's first and third axis at joint angles (k), rad: 1 in line."""
    axes = arm.chain.jacobian(angles)[1][3:].T
    first = int(np.flatnonzero(arm.joints == arm.own[0])[0])
    return abs(float(axes[first] @ axes[first + 2]))

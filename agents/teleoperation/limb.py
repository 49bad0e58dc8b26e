"""One arm that follows a pose: a little of the way in each control step, within its joint limits, as near as it can."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.arm import WAIST, blend, pose_of
from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.assets.kinematics import arm as arm_chain
from training_ground.assets.model import HandModel
from training_ground.assets.poses import Array, Pose
from training_ground.envs.env import HumanoidEnv

RAMP_S = 0.25
"""s in which a hand gets from rest to its full speed, and from it to rest."""
SPEEDS_UP_S = 0.2
"""s in which a joint gets to its full speed at the soonest."""
ITERATIONS = 3
"""Of the inverse kinematics in a control step: its goal is some millimetres away."""
EXACT, TURNED = 1e-4, math.radians(0.05)
"""m and rad at which a pose is reached, in thought."""


class Limb:
    """An arm with its hand, and the trunk below it where that is asked for.

    Args:
        env: Of the robot.
        hand: At the arm's end.
        lower: (n) least angle of each joint, rad.
        upper: (n) largest.

    Attributes:
        own: Indices of the arm's joints, from the shoulder to the wrist, in the robot's arrays.
        trunk: Indices of the trunk's joints below it.
        fingers: Indices of the fingers' joints.
        frames: Frame of the robot by tool, `grip` and `tip`.
        tool: What is brought to a pose.
        pace: Share of the full speed at which it moves now.
    """

    def __init__(self, env: HumanoidEnv, hand: HandModel, lower: Array, upper: Array) -> None:
        self.hand, self._env = hand, env
        model = env.model
        self.frames = {"grip": hand.grip or hand.frame, "tip": hand.tip or hand.frame}
        self._alone = {tool: arm_chain(model, hand, frame) for tool, frame in self.frames.items()}
        self._whole = {tool: arm_chain(model, hand, frame, waist=True) for tool, frame in self.frames.items()}
        self.own: NDArray[np.int64] = self._alone["grip"].indices
        held = ~np.isin(self._whole["grip"].indices, self.own)
        self.trunk: NDArray[np.int64] = self._whole["grip"].indices[held]
        self.fingers: NDArray[np.int64] = np.array([model.joint_names.index(f) for f in hand.fingers], np.int64)
        for chain in [*self._alone.values(), *self._whole.values()]:
            chain.lower, chain.upper = lower[chain.indices], upper[chain.indices]
        for chain in self._whole.values():
            chain.lower[held] = np.maximum(chain.lower, chain.default - WAIST)[held]
            chain.upper[held] = np.minimum(chain.upper, chain.default + WAIST)[held]
        self.tool, self.pace = "grip", 0.0
        self._speed = np.zeros(len(model.joint_names))

    def use(self, tool: str) -> None:
        """Take the hand's `grip` or its `tip` as what is brought to a pose."""
        self.tool = tool

    def planned(self, wanted: Array) -> Pose:
        """Where the tool would be in the world with the robot's joints (n) at `wanted`, rad."""
        chain = self._whole[self.tool]
        return pose_of(self._env.robot.base) @ chain.pose(wanted[chain.indices])

    def step(self, wanted: Array, target: Pose, *, trunk: bool, speed: float, turn: float, joint_speed: Array) -> None:
        """Go on towards a pose for one control step; `wanted` (n), rad, is changed.

        Where it cannot be reached, the hand keeps turned as it should be and goes as near as that lets it.

        Args:
            wanted: Of all the robot's joints; within the limits before, it is within them afterwards.
            target: In the world.
            trunk: Whether the trunk comes along, `WAIST` from its default pose at most; else it stays as wanted.
            speed: Of the hand at most, m/s.
            turn: rad/s.
            joint_speed: (n) of each joint at most, rad/s.
        """
        dt, start = self._env.control_timestep, self.planned(wanted)
        _, apart, turned = blend(start, target, 1.0)
        left = max(apart / speed, turned / turn)
        harder = dt / RAMP_S
        # As fast as it can be for a step and still stop at the target.
        stopping = math.sqrt(harder**2 / 4.0 + 2.0 * left / RAMP_S) - harder / 2.0
        self.pace = min(1.0, self.pace + harder, stopping)
        share = min(1.0, self.pace * dt / left) if left > 0.0 else 1.0
        goal = blend(start, target, share)[0]
        chain = (self._whole if trunk else self._alone)[self.tool]
        now = wanted[chain.indices]
        # From the arm's own chain, which takes the trunk to be at its default pose, to where the trunk has it.
        carried = start @ chain.pose(now).inverse()
        found = solve(
            chain,
            carried.inverse() @ goal,
            now,
            position_tolerance=EXACT,
            orientation_tolerance=TURNED,
            starts=1,
            iterations=ITERATIONS,
        )
        # Where an arm is nearly stretched a little way of the hand is a long one of the joints, which must not jerk:
        # all are held back in the same measure, so that the hand stays on its line.
        fastest, change = joint_speed[chain.indices], (found.angles - now) / dt
        most = np.minimum(fastest, self._speed[chain.indices] + fastest * dt / SPEEDS_UP_S)
        change /= max(float((np.abs(change) / most).max()), 1.0)
        wanted[chain.indices] = now + change * dt
        self._speed[:] = 0.0
        self._speed[chain.indices] = np.abs(change)

    def rest(self) -> None:
        """Begin from rest the next time."""
        self.pace, self._speed[:] = 0.0, 0.0

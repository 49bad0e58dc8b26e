"""One arm of an expert: from poses in the world to joint angles, and back."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.clearance import Clearance
from training_ground.agents.experts.inverse_kinematics import Solution, attempts, solve
from training_ground.agents.experts.planning import plan
from training_ground.assets.kinematics import arm as arm_chain
from training_ground.assets.model import HandModel
from training_ground.assets.poses import Array, Pose, rotation_about, rotation_from_quaternion, rotation_vector
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.states import LinkState


class Arm:
    """An arm with its hand.

    Args:
        env: Of the robot.
        hand: At the arm's end.
        clearance: Tells what poses run into.

    Attributes:
        joints: Indices of the arm's joints, shoulder to wrist, in the robot's arrays.
        fingers: Indices of the fingers' joints.
    """

    def __init__(self, env: HumanoidEnv, hand: HandModel, clearance: Clearance) -> None:
        self.hand, self._env, self.clearance = hand, env, clearance
        self._chains = {"grip": arm_chain(env.model, hand, hand.grip or hand.frame)}
        self._chains["tip"] = arm_chain(env.model, hand, hand.tip or hand.frame)
        self.use("grip" if hand.grip else "tip")
        self.joints: NDArray[np.int64] = self.chain.indices
        self.fingers: NDArray[np.int64] = np.array([env.model.joint_names.index(f) for f in hand.fingers], np.int64)

    def use(self, tool: str) -> None:
        """Take another frame of the hand as what moves: `grip` or `tip`."""
        self.chain = self._chains[tool]
        self._frame = {"grip": self.hand.grip, "tip": self.hand.tip}[tool] or self.hand.frame

    def shoulder(self) -> Array:
        """Place (3,) of the arm's first joint in the world, m."""
        return self._base().points(self.chain.root[None])[0]

    def strain(self, angles: Array) -> float:
        """How far angles (k) are from the default pose at most, each as a share of its joint's range."""
        chain = self.chain
        return float((np.abs(angles - chain.default) / (chain.upper - chain.lower)).max())

    def _base(self) -> Pose:
        return pose_of(self._env.robot.base)

    def pose(self) -> Pose:
        """Where the grip frame is, in the world."""
        return pose_of(self._env.robot.frame(self._frame))

    def planned(self, wanted: Array) -> Pose:
        """Where it would be with the robot's joints (n) at `wanted`, rad."""
        return self._base() @ self.chain.pose(wanted[self.joints])

    def follow(self, goal: Pose, wanted: Array) -> Solution:
        """Find angles for a pose in the world next to those of `wanted` (n)."""
        near = wanted[self.joints]
        return solve(self.chain, self._base().inverse() @ goal, near, posture=near, starts=1)

    def search(self, goal: Pose, wanted: Array, *, touching: Collection[str] = ()) -> tuple[list[Solution], str]:
        """Find ways to hold a pose in the world that run into nothing, the most comfortable first.

        Args:
            goal: Of the frame that moves.
            wanted: (n) rad, of all the robot's joints.
            touching: Items that the robot may touch there.

        Returns:
            The solutions, and in words why there is none.
        """
        local, near = self._base().inverse() @ goal, wanted[self.joints]
        found: list[Solution] = []
        far, turned, why = np.inf, np.inf, ""
        for one in attempts(self.chain, local, near, posture=self.chain.default):
            if not one.reached:
                if one.position_error + one.orientation_error < far + turned:
                    far, turned = one.position_error, one.orientation_error
                continue
            if any(np.abs(one.angles - other.angles).max() < 0.1 for other in found):
                continue
            blocked = self.clearance.blocked(self._whole(one.angles, wanted), touching=touching)
            if blocked:
                why = blocked
            else:
                found.append(one)
        found.sort(key=lambda one: self.strain(one.angles) + 0.1 * float(np.abs(one.angles - near).max()))
        return found, why or f"the hand gets no nearer than {1000 * far:.0f} mm and {math.degrees(turned):.0f}°"

    def way(self, goal: Array, wanted: Array, *, touching: Collection[str] = ()) -> list[Array] | None:
        """Find corners of a way of the joints (k) from `wanted` to `goal` that runs into nothing."""

        def free(angles: Array) -> bool:
            return not self.clearance.blocked(self._whole(angles, wanted), touching=touching)

        chain = self.chain
        return plan(wanted[self.joints], goal, chain.lower, chain.upper, free, self._env.episode_seed)

    def _whole(self, angles: Array, wanted: Array) -> Array:
        whole = wanted.copy()
        whole[self.joints] = angles
        return whole

    def release(self, wanted: Array) -> None:
        """Have the fingers open."""
        if self.hand.open:
            wanted[self.fingers] = self.hand.open


def pose_of(state: LinkState) -> Pose:
    """Pose of a link's state."""
    return Pose(rotation_from_quaternion(np.array(state.orientation)), np.array(state.position))


def smooth(share: float) -> float:
    """Share of the way after a share of the time, with least jerk (Flash and Hogan 1985)."""
    return share**3 * (10.0 - 15.0 * share + 6.0 * share**2)


def blend(start: Pose, end: Pose, share: float) -> tuple[Pose, float, float]:
    """Return the pose at a share of the straight way, the way's length in m and its turn in rad."""
    shift, turn = end.position - start.position, rotation_vector(end.rotation @ start.rotation.T)
    angle = float(np.linalg.norm(turn))
    rotation = rotation_about(turn / angle, share * angle) @ start.rotation if angle > 1e-9 else end.rotation
    return Pose(rotation, start.position + share * shift), float(np.linalg.norm(shift)), angle

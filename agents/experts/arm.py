"""One arm of an expert: from poses in the world to joint angles, and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import partial

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

WAIST = 0.7
"""rad by which an arm makes the trunk turn or lean at most."""
_LOOK = 0.025
"""m between the places at which a straight way is looked at."""

_PACE = 0.15
"""m/s with which hands go along such ways: no joint may have to turn faster than its motor can for that, as where the
arm changes over from one way to hold a pose to another."""

APART, FAR_APART = 0.002, 0.012
"""m by which an arm, and a careful one, stays away from things on its way where it can: between the angles that are
tried, and where it trails, it comes nearer; hands stray by up to 10 mm on fast ways."""
BESIDE = 0.005
"""m by which a careful arm stays away from things where it comes down beside them."""
LEANING = 0.005
"""m by which what an arm leans on at the beginning of a way may reach into it."""


class Arm:
    """An arm with its hand.

    Args:
        env: Of the robot.
        hand: At the arm's end.
        clearance: Tells what poses run into.
        waist: Whether the trunk moves with the arm.
        careful: Whether ways keep off things where they can, with the fingers where they are and not where they are
            told to be: around what they hold they stand out farther.

    Attributes:
        joints: Indices of the arm's joints, from the waist or shoulder to the wrist, in the robot's arrays.
        own: The same without the waist's.
        fingers: Indices of the fingers' joints.
        favourite: Angles (k) near which it should be where a pose leaves the choice; None for its default pose.
    """

    def __init__(
        self, env: HumanoidEnv, hand: HandModel, clearance: Clearance, *, waist: bool = False, careful: bool = False
    ) -> None:
        self.hand, self._env, self.clearance, self._careful = hand, env, clearance, careful
        frames = {"grip": hand.grip or hand.frame, "tip": hand.tip or hand.frame}
        self._chains = {tool: arm_chain(env.model, hand, frame, waist=waist) for tool, frame in frames.items()}
        self._alone = arm_chain(env.model, hand)
        self.own, self._shoulder = self._alone.indices, self._alone.root
        for one in self._chains.values():  # farther than this a trunk only turns where an arm has no better way
            turned = ~np.isin(one.indices, self.own)
            one.lower[turned] = np.maximum(one.lower, one.default - WAIST)[turned]
            one.upper[turned] = np.minimum(one.upper, one.default + WAIST)[turned]
        self.use("grip" if hand.grip else "tip")
        self.favourite: Array | None = None
        self.joints: NDArray[np.int64] = self.chain.indices
        self._fastest = env.model.velocity_limit[self.joints]
        self.fingers: NDArray[np.int64] = np.array([env.model.joint_names.index(f) for f in hand.fingers], np.int64)

    def use(self, tool: str) -> None:
        """Take another frame of the hand as what moves: `grip` or `tip`."""
        self.chain = self._chains[tool]
        self._frame = {"grip": self.hand.grip, "tip": self.hand.tip}[tool] or self.hand.frame

    def shoulder(self) -> Array:
        """Place (3,) of the arm's first joint in the world, the trunk upright, m."""
        return self._base().points(self._shoulder[None])[0]

    def strain(self, angles: Array) -> float:
        """How far angles (k) are from the default pose at most, each as a share of its joint's range."""
        own = self.chain
        return float((np.abs(angles - own.default) / (own.upper - own.lower)).max())

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

    def hanging(self, wanted: Array) -> Array:
        """Angles of its own joints with which the hand is low beside the body, far enough from it to turn."""
        chain, near = self._alone, wanted[self.own]
        x, y, z = self._shoulder
        place = np.array([x, y + math.copysign(0.35 * chain.length, y), z - 0.7 * chain.length])
        goal = Pose(rotation_about(np.array([0.0, 1.0, 0.0]), 1.0) @ chain.pose(near).rotation, place)
        return solve(chain, goal, near, position_tolerance=0.03, orientation_tolerance=0.5, starts=1).angles

    def search(self, goal: Pose, wanted: Array, *, touching: Collection[str] = ()) -> tuple[list[Solution], str]:
        """Find ways to hold a pose in the world that run into nothing, the most comfortable first.

        Args:
            goal: Of the frame that moves.
            wanted: (n) rad, of all the robot's joints.
            touching: Items that the robot may touch there.

        Returns:
            The solutions, and in words why there is none.
        """
        return self.searches([goal], wanted, touching=touching)[0]

    def searches(
        self, goals: Sequence[Pose], wanted: Array, *, touching: Collection[str] = ()
    ) -> list[tuple[list[Solution], str]]:
        """As `search`, for several goals: faster than one after the other."""
        local, near = [self._base().inverse() @ goal for goal in goals], wanted[self.joints]
        ways = attempts(self.chain, local, near, posture=self.chain.default)
        if self.favourite is not None:
            liked = attempts(self.chain, local, self.favourite, posture=self.favourite, starts=1)
            ways = [[*first, *others] for first, others in zip(liked, ways, strict=True)]
        return [self._free(found, near, wanted, touching) for found in ways]

    def _free(
        self, ways: Sequence[Solution], near: Array, wanted: Array, touching: Collection[str]
    ) -> tuple[list[Solution], str]:
        """Of solutions take those that reach, differ and run into nothing, the most comfortable first."""
        found: list[Solution] = []
        far, turned, why = np.inf, np.inf, ""
        for one in ways:
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
        found.sort(key=lambda one: self._cost(one.angles, near))
        return found, why or f"the hand gets no nearer than {1000 * far:.0f} mm and {math.degrees(turned):.0f}°"

    def _cost(self, angles: Array, near: Array) -> float:
        if self.favourite is not None:
            return float(np.abs(angles - self.favourite).max())
        return self.strain(angles) + 0.1 * float(np.abs(angles - near).max())

    def straight(
        self, angles: Array, end: Pose, wanted: Array, *, touching: Collection[str] | None = ()
    ) -> tuple[Solution | None, str]:
        """Go on from angles (k) to a pose in the world on a straight line, in thought.

        Args:
            angles: rad.
            end: Of the frame that moves.
            wanted: (n) rad, of all the robot's joints.
            touching: Items that the robot may touch there; None where it may touch anything.

        Returns:
            The solution at the end, or None and in words what is in the way.
        """
        there = self._whole(angles, wanted)
        start = self.planned(there)
        count = max(1, math.ceil(blend(start, end, 1.0)[1] / _LOOK))
        found = None
        for i in range(count):
            found = self.follow(blend(start, end, (i + 1) / count)[0], there)
            if not found.reached:
                return None, f"the hand gets no nearer than {1000 * found.position_error:.0f} mm in a straight line"
            turned = np.abs(found.angles - there[self.joints])
            if (turned > self._fastest * _LOOK / _PACE).any():
                name = self.chain.joint_names[int((turned / self._fastest).argmax())]
                return None, f"{name} would have to turn by {turned.max():.1f} rad within {1000 * _LOOK:.0f} mm"
            there[self.joints] = found.angles
            apart = BESIDE if self._careful else 0.0
            blocked = "" if touching is None else self.clearance.blocked(there, touching=touching, apart=apart)
            if blocked:
                return None, blocked
        return found, ""

    def way(
        self, goal: Array, wanted: Array, *, touching: Collection[str] = (), carrying: tuple[str, Pose] | None = None
    ) -> list[Array] | None:
        """Find corners of a way of the joints (k) from `wanted` to `goal` that runs into nothing.

        Args:
            goal: rad.
            wanted: (n) rad, of all the robot's joints.
            touching: Items that the robot may touch on the way.
            carrying: An item in the hand, and the hand's pose in its frame: it must not run into anything either.
        """

        def blocked(angles: Array, slack: float, apart: float) -> bool:
            whole = self._whole(angles, wanted)
            carried = (carrying[0], self.planned(whole) @ carrying[1].inverse()) if carrying else None
            return bool(self.clearance.blocked(whole, touching=touching, slack=slack, apart=apart, carried=carried))

        start, lower, upper = wanted[self.joints], self.chain.lower, self.chain.upper
        for apart in (FAR_APART, APART, 0.0) if self._careful else (APART, 0.0):
            # Where the arm leans on something now, it must be allowed to leave.
            slack = LEANING if blocked(start, 0.0, apart) else 0.0
            if 0.0 < apart < slack:  # it would reach deeper into all else than without a distance
                continue
            hit = partial(blocked, slack=slack, apart=apart)
            way = plan(start, goal, lower, upper, lambda q, hit=hit: not hit(q), self._env.episode_seed)
            if way is not None:
                return way
        return None

    def _whole(self, angles: Array, wanted: Array) -> Array:
        whole = wanted.copy()
        whole[self.joints] = angles
        if self._careful:
            whole[self.fingers] = self._env.robot.joint_position[self.fingers]
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

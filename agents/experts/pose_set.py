"""How to visit a set of poses."""

from __future__ import annotations

from typing import ClassVar

from training_ground.agents.experts.arm import Arm, pose_of
from training_ground.agents.experts.expert import CannotReach, Expert, Steps
from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.assets.poses import Array

POSES = tuple(f"cube.p{i}" for i in range(1, 6))
SPEED = 1.0
"""rad/s: mean speed of the fastest joint."""
EXACT = 1e-5
"""m and rad within which the joint angles of a pose are worked out."""


class PoseSet(Expert):
    """Work out joint angles for every pose once, as if it had been taught; go from one to the next, and wait there."""

    waist: ClassVar[bool] = True

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
            while len(task.attained) == visits:
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
            near, goal = found[0].angles, base @ self.frame(name)
            arm.favourite = near if arm.favourite is None else arm.favourite
            exact = {"position_tolerance": EXACT, "orientation_tolerance": EXACT}
            taught[name] = solve(arm.chain, goal, near, posture=near, starts=1, **exact).angles
        return taught

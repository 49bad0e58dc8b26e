"""What experts do with mechanisms again and again: take hold, take along, let go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import numpy as np

from training_ground.agents.experts.arm import smooth
from training_ground.agents.experts.expert import CannotReach, Expert, Steps, around, back
from training_ground.agents.experts.mechanism import Mechanism
from training_ground.assets.poses import Pose, rotation_about

CLEAR = 0.1
"""m from which a hand comes to a handle, and to which it draws back."""
PATIENCE_S = 2.0
"""s without progress after which a mechanism is left where it is: so long does it take an arm to build up its force."""
HESITATES_S = 0.3
"""s without progress after which a hand pulls harder."""
SLIPPED_S = 0.5
"""s without touching a mechanism after which a hand has lost it."""
DOUBLING_S, MOST_LEADS = 0.5, 4.0
"""s in which the lead grows by what it was at first, and how many times that it becomes at most."""
OUTWARD = -0.1
"""Cosine between a hand's approach and the way of what it takes along; below it the way leads out of the hand."""
FINGERS_STILL = 6e-4
"""rad or m that fingers at rest move in a control step at most."""
FINGERS_REST_S = 0.1
"""s of rest after which they hold what they hold."""


class Operator(Expert):
    """An expert that operates mechanisms with one arm and its waist, the other arm out of the way."""

    waist: ClassVar[bool] = True

    def operate(
        self, side: str, mechanism: Mechanism, goal: float, grasps: Sequence[Pose], *, to: str, speed: float,
        lead: float,
    ) -> Steps:  # fmt: skip
        """Grasp a mechanism's handle, take it to a goal, let go and draw back.

        Args:
            side: Of the hand.
            mechanism: What is moved.
            goal: Its position, m or rad.
            grasps: Of the handle where it is now, in the world.
            to: What the handle is called.
            speed: m/s or rad/s.
            lead: m or rad, as `guide` has it.

        Raises:
            CannotReach: No grasp can be reached and comes along.
        """
        grasp = self.hook(side, grasps, mechanism, goal, to=to)
        yield from self.travel(side, back(grasp, CLEAR), to=f"before {to}")
        yield from self.move(side, grasp, to=to, speed=0.15)
        yield from self.settle(side, grasp)
        yield from self.close(side)
        yield from self.guide(side, mechanism, goal, to=f"way of {to}", speed=speed, lead=lead)
        self.ease(side)
        yield from self.open(side)
        yield from self.move(side, back(self.arms[side].pose(), CLEAR), to=f"away from {to}", speed=0.2)

    def hook(self, side: str, grasps: Sequence[Pose], mechanism: Mechanism, goal: float, *, to: str) -> Pose:
        """Return the grasp of a handle to which the arm comes most easily: of those that hold by the shape of the hand
        where there is one, else of those that the handle can be drawn out of.

        Raises:
            CannotReach: No grasp can be reached and comes along.
        """
        hooks, along = [grasp for grasp in grasps if not _outward(grasp, mechanism, goal)], (mechanism, goal)
        if 0 < len(hooks) < len(grasps):
            with suppress(CannotReach):
                return self.choose(side, hooks, to=to, clear=CLEAR, along=along)
        return self.choose(side, grasps, to=to, clear=CLEAR, along=along)

    def guide(self, side: str, mechanism: Mechanism, goal: float, *, to: str, speed: float, lead: float) -> Steps:
        """Move a mechanism with the hand that holds it, along whatever path its joint leaves it.

        The hand is told to be ahead of the mechanism by no more than a lead: it pulls no harder than it must, and does
        not run off where its hold slips. Where nothing moves the lead grows. It ends at the goal, where that does not
        help either, or where the hand has lost the mechanism.

        Args:
            side: Of the hand.
            mechanism: What it moves.
            goal: Its position, m or rad.
            to: What the way is called where it cannot be followed.
            speed: m/s or rad/s.
            lead: At first, m or rad.

        Raises:
            CannotReach: No joint angles lead on.
        """
        arm, start, step = self.arms[side], mechanism.position, speed * self.env.control_timestep
        held = mechanism.moved(arm.planned(self.wanted), 0.0)  # the hand's pose where the mechanism would be at zero
        way, best, still, ahead = math.copysign(1.0, goal - start), start, 0.0, start
        apart = 0.0
        moves, growth, most = 0.1 * lead, lead * self.env.control_timestep / DOUBLING_S, MOST_LEADS * lead
        while way * (goal - (now := mechanism.position)) > 0.0 and still < PATIENCE_S and apart < SLIPPED_S:
            apart = 0.0 if self.task.touches(mechanism.item, side) else apart + self.env.control_timestep
            still = 0.0 if way * (now - best) > moves else still + self.env.control_timestep
            best = now if still == 0.0 else best
            lead = min(lead + growth, most) if still > HESITATES_S else lead
            ahead = way * min(way * ahead + step, way * now + lead)
            self._follow(arm, mechanism.moved(held, now + ahead), to, last=False)
            yield

    def ease(self, side: str) -> None:
        """Have an arm be content with where it is: it pulls no more."""
        joints = self.arms[side].joints
        self.wanted[joints], self.servo.integral[joints] = self.env.robot.joint_position[joints], 0.0

    def close(self, side: str, seconds: float = 0.5) -> Steps:
        """Close a hand around what is between its fingers, and let slow ones come and build up their force."""
        yield from super().close(side, seconds)
        yield from self._rest(side)

    def open(self, side: str, seconds: float = 0.4) -> Steps:
        """Open a hand to the end."""
        yield from super().open(side, seconds)
        yield from self._rest(side)

    def _rest(self, side: str, longest: float = 1.5) -> Steps:
        fingers, rest, before = self.arms[side].fingers, 0.0, np.inf
        for _ in range(round(longest / self.env.control_timestep)):
            now = self.env.robot.joint_position[fingers].copy()
            rest = rest + self.env.control_timestep if np.abs(now - before).max() < FINGERS_STILL else 0.0
            if rest > FINGERS_REST_S:
                return
            before = now
            yield

    def hang(self, side: str, seconds: float = 1.0) -> Steps:
        """Lower the arm that has no work, out of the way of the other."""
        joints, goal = self.arms[side].own, self.arms[side].hanging(self.wanted)
        start, count = self.wanted[joints].copy(), max(1, round(seconds / self.env.control_timestep))
        for i in range(count):
            self.wanted[joints] = start + smooth((i + 1) / count) * (goal - start)
            yield


def _outward(grasp: Pose, mechanism: Mechanism, goal: float) -> bool:
    """Whether what is held goes out of the hand on its way to a goal, m or rad, against the hand's approach."""
    way = mechanism.moved(grasp, goal).position - grasp.position
    return float(grasp.rotation[:, 2] @ way) < OUTWARD * float(np.linalg.norm(way))


def about_bar(pose: Pose, *angles_deg: float, deep: float = 0.0) -> list[Pose]:
    """Return grasps of a bar along a pose's y: from its z, turned about y by angles (towards -x), either way round.

    Args:
        pose: In the world.
        angles_deg: From which sides.
        deep: How far the bar is inside of where the hand's tips meet, m.
    """
    axis = np.array([0.0, 1.0, 0.0])
    turned = [Pose(pose.rotation @ rotation_about(axis, angle), pose.position) for angle in np.radians(angles_deg)]
    return [back(one, -deep) for pose in turned for one in around(pose, 2)]

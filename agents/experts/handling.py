"""What experts do with parts again and again: pick up, bring over, set down."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Expert, Steps, around, back, raised
from training_ground.assets.poses import Array, Pose, rotation_about

UP = np.array([0.0, 0.0, 1.0])

GOLDEN = math.pi * (3.0 - math.sqrt(5.0))
"""rad from one place of the spiral to the next: they cover the plane evenly (Vogel 1979)."""
SPIRAL = 0.0006
"""m: how far out the first place is; the i-th is √i times as far."""
TURNS = 60
PRESS = 0.003
"""m below the hand that it is told to go while it presses."""
MOST_FORCE = 12.0
"""N on the hand at which it presses no more."""
SEATED = 0.003
"""m over its place at which a part has gone in."""


class Handler(Expert):
    """An expert that handles parts."""

    def pick(
        self, side: str, item: str, *, grasp: str = "grasp", ways: int = 2, lift: float = 0.12, tries: int = 3
    ) -> Steps:
        """Take a part by a frame of it and lift it; where it slips out, try again.

        Args:
            side: Of the hand.
            item: The part's name.
            grasp: The part's frame in which a hand grips.
            ways: How many turns of that frame about its z serve as well.
            lift: How high, m.
            tries: How often at most.

        Raises:
            CannotReach: The part cannot be reached, or was not in the hand after the last try.
        """
        for self.attempt in range(tries):
            yield from self.open(side)
            where = self.choose(side, around(self.frame(f"{item}.{grasp}"), ways), to=item, clear=lift)
            yield from self.travel(side, back(where, lift), to=f"above {item}")
            yield from self.move(side, where, to=item, speed=0.2)
            yield from self.settle(side, where)
            yield from self.close(side)
            floor = self.frame(item).position[2]
            yield from self.move(side, raised(where, lift), to=f"lifting {item}", speed=0.2)
            if self.frame(item).position[2] - floor > 0.5 * lift:
                return
        raise CannotReach(f"'{item}' was not in the {side} hand after {tries} tries")

    def bring(
        self, side: str, item: str, goals: Sequence[Pose], *, to: str, clear: float = 0.12, low: float = 0.002
    ) -> Steps:
        """Bring a held part over a place, set it down there, let go and draw back.

        Args:
            side: Of the hand.
            item: The part's name.
            goals: Poses of the part, in the world, one of which shall be reached.
            to: What the place is called.
            clear: How far before it the part stops first, m.
            low: From how high it is let go, m.
        """
        held = self._held(side, item)
        aim = self.choose(side, [goal @ held for goal in goals], to=to, clear=clear, touching=(item,))
        goal = aim @ held.inverse()
        yield from self.travel(side, back(aim, clear), to=f"before {to}", speed=0.8, touching=(item,))
        yield from self.settle(side, back(aim, clear))
        # What was shifted in the hand on the way is seen now, and made good.
        aim = raised(goal @ self._held(side, item), 0.3 * clear)
        yield from self.move(side, aim, to=to, speed=0.15)
        yield from self.settle(side, aim, longest=0.6)
        aim = goal @ self._held(side, item)
        yield from self.move(side, raised(aim, low), to=to, speed=0.08)
        yield from self._search(side, item, aim, goal)
        yield from self.open(side, 0.6)
        yield from self.move(side, back(self.arms[side].planned(self.wanted), clear), to=f"away from {to}", speed=0.2)

    def _search(self, side: str, item: str, aim: Pose, goal: Pose) -> Steps:
        """Press a part down softly on a spiral around where it belongs, until it has gone in or the spiral ends."""
        arm = self.arms[side]
        for i in range(TURNS):
            if self.frame(item).position[2] - goal.position[2] < SEATED:
                return
            far, angle = SPIRAL * math.sqrt(i), GOLDEN * i
            press = PRESS if self.force(side) < MOST_FORCE else 0.0
            place = aim.position + far * np.array([math.cos(angle), math.sin(angle), 0.0])
            place[2] = max(aim.position[2] - PRESS, min(place[2] + 0.02, arm.pose().position[2] - press))
            self._follow(arm, Pose(aim.rotation, place), "search", last=False)
            yield from self.wait(0.06)

    def level(self, item: str) -> Array:
        """Rotation of a part as it would be if it stood upright, turned about the vertical as it is."""
        x = self.frame(item).rotation[:, 0]
        yaw = math.atan2(x[1], x[0])
        return rotation_about(UP, yaw)

    def _held(self, side: str, item: str) -> Pose:
        """Pose of the hand as seen from the part."""
        return self.frame(item).inverse() @ self.arms[side].pose()

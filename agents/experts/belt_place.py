"""How to put parts onto a running belt at a pitch."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from training_ground.agents.experts.expert import Steps, around, raised, together
from training_ground.agents.experts.handling import Handling, from_above, upright
from training_ground.assets.poses import Array, Pose
from training_ground.envs.tasks.manipulation.belt_place import PARTS

LAG = 0.02
"""s by which a hand trails where it is told to be."""
OVER = 0.06
"""m over its place at which a part waits for its slot."""
AWAY = 0.09
"""m by which the hand lifts to leave a part between its fingers."""
HIGHER = 0.007
"""m over a part's grasp at which it is gripped."""
GAP = 0.004
"""m over the belt at which it lets go."""
OPENS_S = 0.3
"""s in which fingers open that have let go."""
WAYS = 8
"""Turns of a part, which is round, about its axis."""


class BeltPlace(Handling):
    """Part by part: grasp it, wait over the belt until its slot comes by, go down with the slot, let go, lift."""

    waist: ClassVar[bool] = True

    def procedure(self) -> Steps:
        """Place all parts."""
        side, before = self.nearest("tray"), ""
        yield from together(self.stand_aside(side), self.open(side))
        for part in PARTS:  # from the belt on, so that none is carried over another
            yield from self.pick(side, part, lambda part=part: self.grips(part), clear=0.12, lift=0.09)
            yield from self.lay(side, part, before)
            before = part

    def grips(self, part: str) -> list[Pose]:
        """Ways to grip a part from above, high enough for fingers that open to stay off the belt."""
        return from_above(self.frame(f"{part}.grasp").position + np.array([0.0, 0.0, HIGHER]))

    def lay(self, side: str, part: str, before: str) -> Steps:
        """Stand a part on the belt, a pitch behind the one before it; the first one at once."""
        place, grip = self.frame("belt.place").position, self.grip_in(side, part)
        ways = [goal @ grip for goal in around(upright(self.frame(part), place, 0.0), WAYS)]
        best = self.choose(side, ways, to="onto the belt", clear=OVER, touching=(part,))
        goal, held = best @ grip.inverse(), (part, grip)
        yield from self.travel(side, raised(best, OVER), to="over the belt", touching=(part,), then=best, carrying=held)
        slot = self.slot(before)
        while slot() < 0.0:
            yield
        hand = goal @ self.grip_in(side, part)  # anew: it slips and sags in the hand

        def at(height: float) -> Callable[[], Pose]:
            flow = self.flow()
            return lambda: raised(
                Pose(hand.rotation, hand.position + (slot() + LAG * self.task.belt_speed) * flow), height
            )

        yield from self.move(side, at(GAP), to="belt", speed=0.12)
        yield from together(self.follow(side, at(GAP), 0.2 + OPENS_S, to="belt"), self.open(side, OPENS_S))
        yield from self.move(side, at(AWAY), to="away from the belt", speed=0.3, exact=False)

    def flow(self) -> Array:
        """The way in which the belt runs, (3) in the world."""
        return self.frame("belt").rotation @ np.array([0.0, 1.0, 0.0])

    def slot(self, before: str) -> Callable[[], float]:
        """Tell how far down the belt from its place a part's slot is, m: a pitch behind the part before it."""
        task, start = self.task, self.task.run
        if not before:
            return lambda: task.run - start
        return lambda: task.along(before) - task.along("belt.place") - task.pitch

"""How to pass a part from hand to hand."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps, back
from training_ground.agents.experts.handling import Handling, turned, upright
from training_ground.assets.poses import Pose

TURNS = (0.0, 0.2, -0.2, 0.4, -0.4, 0.6, -0.6, 0.8, -0.8)
"""rad about the shaft by which a hand may come in beside straight from its side."""
MEETING = np.array([0.3, 0.0, -0.2])
"""m from between the shoulders to the foot of the part where it changes hands."""


class HandToHand(Handling):
    """Grasp the part low, bring it to the middle, grasp it high with the other hand, let go, put it down."""

    alone: ClassVar[bool] = False

    def procedure(self) -> Steps:
        """Pass the part."""
        giver = self.nearest("part")
        taker = "left" if giver == "right" else "right"
        yield from self.pick(giver, "part", lambda: self.sideways(f"part.low_{giver}"), at=f"low_{giver}", lift=0.1)
        yield from self.put_in_the_middle(giver)
        yield from self.take_over(giver, taker)
        mat = self.frame("target.middle").position
        yield from self.put(taker, "part", [upright(self.frame("part"), mat, turn) for turn in TURNS])

    def put_in_the_middle(self, giver: str) -> Steps:
        """Bring the part to where both hands reach it."""
        meeting = 0.5 * (self.arms["left"].shoulder() + self.arms["right"].shoulder()) + MEETING
        grip = self.grip_in(giver, "part")
        ways = [upright(self.frame("part"), meeting, turn) @ grip for turn in TURNS]
        goal = self.choose(giver, ways, to="meeting place", clear=0.0, touching=("part",))
        yield from self.travel(giver, goal, to="meeting place", touching=("part",))
        yield from self.settle(giver, goal)

    def take_over(self, giver: str, taker: str) -> Steps:
        """Grasp with the other hand before the first one lets go."""
        high = f"high_{taker}"
        yield from self.open(taker)
        grasp = self.choose(taker, self.sideways(f"part.{high}"), to="part", clear=0.1, touching=("part",))
        yield from self.travel(taker, back(grasp, 0.1), to="before part", touching=("part",), then=grasp)
        yield from self.move(taker, grasp, to="part", speed=0.15)
        yield from self.settle(taker, grasp)
        yield from self.close(taker)
        yield from self.open(giver)
        yield from self.withdraw(giver, to="away from part", distance=0.12)
        if not self.task.touches("part", taker):  # a smooth one may have slid deep into the hand, and stays there
            raise CannotReach(f"the part did not stay in the {taker} hand")

    def sideways(self, frame: str) -> list[Pose]:
        """Ways to grip at a frame, turned about the upright."""
        grasp = self.frame(frame)
        return [turned(grasp, turn) for turn in TURNS]

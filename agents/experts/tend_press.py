"""How to tend a press."""

from __future__ import annotations

from training_ground.agents.experts.expert import CannotReach, Steps, around, together
from training_ground.agents.experts.handling import Handling, upright
from training_ground.assets.poses import Pose

WAYS = 8
"""Turns of the blank, which is round, about its axis."""
LONGEST_S = 10.0
"""s for which the press may run."""


class TendPress(Handling):
    """Load with the one hand, press start with the other, wait, unload."""

    def procedure(self) -> Steps:
        """Mark the blank."""
        hand = self.nearest("part")
        other = "left" if hand == "right" else "right"
        yield from self.pick(hand, "part", self.grips)
        nest = upright(self.frame("part"), self.frame("press.nest").position, 0.0)
        yield from self.put(hand, "part", around(nest, WAYS), search=True)
        yield from self.retreat(hand)
        yield from self.press(other, "panel.start")
        yield from together(self.retreat(other), self.wait_for("done"))
        yield from self.pick(hand, "part", self.grips)
        yield from self.drop(hand, "part", self.frame(f"target.{hand}").position)

    def grips(self) -> list[Pose]:
        """Ways to grip the blank from above."""
        return around(self.frame("part.grasp"), WAYS)

    def wait_for(self, state: str) -> Steps:
        """Wait until the press says so.

        Raises:
            CannotReach: It does not.
        """
        for _ in range(round(LONGEST_S / self.env.control_timestep)):
            if self.task.press.state == state:
                return
            yield
        raise CannotReach(f"the press is '{self.task.press.state}', not '{state}', after {LONGEST_S:g} s")

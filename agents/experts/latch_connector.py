"""How to plug a latch connector in."""

from __future__ import annotations

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps, around, raised
from training_ground.agents.experts.handling import TRIES, Handling
from training_ground.assets.poses import Pose

WAYS = 8
"""Turns of the hand about the plug's head, which is round."""
UPON = 0.023
"""m over the bottom at which the plug's ridge stands upon the pawl."""
OVER = 0.017
"""m above that from which it is led into the socket's mouth."""
PUSHING, DEEPEST = 60.0, 0.06
"""N and m with and over which the hand pushes at most."""
IN = 0.008
"""m over the place where it stands upon the pawl from which on a plug has found its way into the socket."""


class LatchConnector(Handling):
    """Lead the plug into the socket until it stands upon the pawl, push until it clicks, pull, let go."""

    def procedure(self) -> Steps:
        """Plug in."""
        side = self.nearest("plug")
        yield from self.pick(side, "plug", lambda: around(self.frame("plug.grasp"), WAYS))
        upon = raised(self.frame("header.bottom"), UPON)
        for self.attempt in range(TRIES):
            yield from self.lower(side, "plug", [upon], over=0.05, gap=OVER, search=True)
            if self.frame("plug").position[2] - upon.position[2] < IN:
                break
        yield from self.push(side)
        yield from self.pull(side)
        yield from self.open(side, 0.6)
        yield from self.withdraw(side, to="away from plug")

    def push(self, side: str) -> Steps:
        """Push the plug down until it clicks.

        Raises:
            CannotReach: It does not.
        """
        down = np.array([0.0, 0.0, -1.0])

        def enough() -> bool:
            return self.task.clicked or self.force(side) > PUSHING

        yield from self.guarded(side, down, DEEPEST, to="push", speed=0.04, until=enough)
        if not self.task.clicked:
            raise CannotReach(f"the plug has not clicked at {self.force(side):.0f} N")

    def pull(self, side: str) -> Steps:
        """Grip the plug anew, as the hand has slid down on it, and pull upwards."""
        yield from self.open(side)
        grasp = Pose(self.arms[side].pose().rotation, self.frame("plug.grasp").position)
        yield from self.move(side, grasp, to="plug", speed=0.1, exact=False)
        yield from self.settle(side, grasp, within=0.004)
        yield from self.close(side)
        yield from self.guarded(
            side, np.array([0.0, 0.0, 1.0]), DEEPEST, to="pull", speed=0.04, until=lambda: self.task.pulled
        )
        yield from self.wait(0.2)

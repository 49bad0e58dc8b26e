"""How to open a drawer."""

from __future__ import annotations

from training_ground.agents.experts.expert import Steps, together
from training_ground.agents.experts.mechanism import Mechanism
from training_ground.agents.experts.operating import Operator, about_bar
from training_ground.envs.tasks.manipulation.open_drawer import OPEN

GOAL = OPEN + 0.025
TRIES = 3


class OpenDrawer(Operator):
    """Grasp the handle from the front or from above, pull the drawer along its slide, let go; again where it slips."""

    def procedure(self) -> Steps:
        """Open the drawer."""
        drawer, handle = Mechanism(self.task, self.task.moves), self.task.handle
        side = self.nearest(handle)
        yield from together(self.open(side), *(self.hang(other) for other in self.arms if other != side))
        while drawer.position < OPEN and self.attempt < TRIES:
            self.attempt += 1
            sides = (0, 25, 50, 75) if self.attempt == 1 else (50, 75, 90)  # from above it hardly slips out
            grasps = about_bar(self.frame(handle), *sides)
            yield from self.operate(side, drawer, GOAL, grasps, to="the handle", speed=0.2, lead=0.03)

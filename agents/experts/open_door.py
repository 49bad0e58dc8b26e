"""How to open a machine's door."""

from __future__ import annotations

from training_ground.agents.experts.expert import Steps, together
from training_ground.agents.experts.mechanism import Mechanism
from training_ground.agents.experts.operating import Operator, about_bar

TRIES = 3


class OpenDoor(Operator):
    """Grasp the bar of the door from whichever side suits, take it along its way, let go; again where it slips."""

    def procedure(self) -> Steps:
        """Open the door."""
        door, handle = Mechanism(self.task, self.task.moves), self.task.handle
        halfway = door.moved(self.frame(handle), 0.5 * door.spec.upper)
        side = self.nearest(halfway.position)
        yield from together(self.open(side), *(self.hang(other) for other in self.arms if other != side))
        while self.task.travel(self.task.moves) < self.task.wanted and self.attempt < TRIES:
            self.attempt += 1
            grasps = about_bar(self.frame(handle), -75, -50, -25, 0, 25, 50, 75, deep=0.02)
            yield from self.operate(side, door, 0.99 * door.spec.upper, grasps, to="the handle", speed=0.2, lead=0.05)

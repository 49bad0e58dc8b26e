"""How to turn a valve."""

from __future__ import annotations

from training_ground.agents.experts.expert import Steps, together
from training_ground.agents.experts.mechanism import Mechanism
from training_ground.agents.experts.operating import Operator, about_bar
from training_ground.envs.tasks.manipulation.turn_valve import LEVER, WITHIN

TRIES = 3


class TurnValve(Operator):
    """Grasp the lever from the front, lead it round to its angle, let go; again where it is not there."""

    def procedure(self) -> Steps:
        """Turn the lever."""
        lever, goal = Mechanism(self.task, LEVER), self.task.goal
        side = self.nearest("valve.grip")
        yield from together(self.open(side), *(self.hang(other) for other in self.arms if other != side))
        while abs(lever.position - goal) > 0.8 * WITHIN and self.attempt < TRIES:
            self.attempt += 1
            grasps = about_bar(self.frame("valve.grip"), -40, -20, 0, 20, 40)
            yield from self.operate(side, lever, goal, grasps, to="the lever", speed=0.6, lead=0.15)

"""How to visit a set of poses."""

from __future__ import annotations

from training_ground.agents.experts.expert import Expert, Steps

SPEED = 0.5
"""m/s from pose to pose."""


class PoseSet(Expert):
    """From pose to pose in a straight line; at each one wait until the next is shown."""

    def procedure(self) -> Steps:
        """Visit the poses."""
        side, task = self.task.side, self.task
        yield from self.travel(side, self.frame(task.goal), to=task.goal)
        while not task.complete:
            visits = len(task.attained)
            yield from self.move(side, self.frame(task.goal), to=task.goal, speed=SPEED)
            while len(task.attained) == visits:
                yield

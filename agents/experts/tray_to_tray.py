"""How to move a battery cell from tray to tray."""

from __future__ import annotations

import numpy as np

from training_ground.agents.experts.expert import Expert, Steps, around, back
from training_ground.assets.poses import Pose

UP = np.array([0.0, 0.0, 1.0])


class TrayToTray(Expert):
    """Grasp the cell from above, lift it out of its pocket, carry it over the slot, lower it, let go."""

    def procedure(self) -> Steps:
        """Move the cell."""
        slot = self.task.goal
        side = self.nearest("cell")
        yield from self.open(side)
        grasp = self.choose(side, around(self.frame("cell.grasp"), 8), to="cell", clear=0.12)
        yield from self.travel(side, back(grasp, 0.12), to="above the cell")
        yield from self.move(side, grasp, to="cell", speed=0.15)
        yield from self.settle(side, grasp)
        yield from self.close(side)
        held = self.frame("cell").inverse() @ self.arms[side].pose()
        over = self.frame(slot)
        over = Pose(self.frame("cell").rotation, over.position)
        goal = over @ held
        yield from self.move(side, raised(grasp, 0.12), to="above the tray", speed=0.15)
        yield from self.move(side, raised(goal, 0.12), to=f"above {slot}", speed=0.25)
        yield from self.settle(side, raised(goal, 0.12))
        yield from self.move(side, raised(goal, 0.002), to=slot, speed=0.1)
        yield from self.settle(side, goal)
        yield from self.open(side)
        yield from self.move(side, raised(goal, 0.12), to=f"away from {slot}", speed=0.15)


def raised(pose: Pose, height: float) -> Pose:
    """Return a pose higher up."""
    return Pose(pose.rotation, pose.position + height * UP)

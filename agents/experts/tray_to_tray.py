"""How to move a battery cell from tray to tray."""

from __future__ import annotations

from training_ground.agents.experts.expert import Steps, around
from training_ground.agents.experts.handling import Handling, upright

WAYS = 8
"""Turns of the cell, which is round, about its axis."""


class TrayToTray(Handling):
    """Grasp the cell from above, lift it out of its pocket, carry it over the slot, lower it, let go."""

    def procedure(self) -> Steps:
        """Move the cell."""
        side, slot = self.nearest("cell"), self.frame(self.task.goal).position
        yield from self.pick(side, "cell", lambda: around(self.frame("cell.grasp"), WAYS))
        goals = around(upright(self.frame("cell"), slot, 0.0), WAYS)
        yield from self.put(side, "cell", goals, over=0.12, search=True)

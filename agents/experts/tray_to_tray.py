"""How to move a battery cell from tray to tray."""

from __future__ import annotations

from training_ground.agents.experts.expert import Steps, around
from training_ground.agents.experts.handling import Handler
from training_ground.assets.poses import Pose


class TrayToTray(Handler):
    """Grasp the cell from above, lift it out of its pocket, carry it over the slot, lower it, let go."""

    def procedure(self) -> Steps:
        """Move the cell."""
        side, slot = self.nearest("cell"), self.task.goal
        yield from self.pick(side, "cell", ways=8)
        # The cell is round: any turn of it will do.
        upright = Pose(self.level("cell"), self.frame(slot).position)
        yield from self.bring(side, "cell", around(upright, 8), to=slot)

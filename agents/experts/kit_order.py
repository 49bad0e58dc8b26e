"""How to put together a kit."""

from __future__ import annotations

from training_ground.agents.experts.bin_pick import HALVES, BinPick
from training_ground.agents.experts.expert import Steps, around
from training_ground.agents.experts.handling import turned

WAYS = 8
"""Turns of a part that is round."""
ASKEW = (0.0, 0.2, -0.2)
"""rad by which a part may stand askew in its compartment."""


class KitOrder(BinPick):
    """Part by part: grasp it from above, lift it over the walls, set it down in its compartment."""

    def procedure(self) -> Steps:
        """Move the parts of the order."""
        side = self.nearest("source")
        for part in self.task.order:
            yield from self.pick(side, part, lambda part=part: self.grips(part))
            ways = around(self.frame(f"tray.{part}"), HALVES.get(part, WAYS))
            yield from self.put(side, part, [turned(way, turn) for turn in ASKEW for way in ways], over=0.12, gap=0.004)

"""How to put a pin into its hole."""

from __future__ import annotations

from training_ground.agents.experts.expert import Steps, around
from training_ground.agents.experts.handling import Handling, upright
from training_ground.envs.tasks.manipulation.peg_in_hole import DEPTH

WAYS = 8
"""Turns of the pin, which is round, about its axis."""


class PegInHole(Handling):
    """Grasp the pin by its head, lift it out, bring it over the hole, search with it until it goes in, let go."""

    def procedure(self) -> Steps:
        """Move the pin."""
        side = self.nearest("pin")
        yield from self.pick(side, "pin", lambda: around(self.frame("pin.grasp"), WAYS))
        goals = around(upright(self.frame("pin"), self.frame("block.bottom").position, 0.0), WAYS)
        yield from self.put(side, "pin", goals, over=0.1, gap=DEPTH + 0.002, search=True)

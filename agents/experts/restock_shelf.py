"""How to restock a shelf."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from training_ground.agents.experts.arm import Arm
from training_ground.agents.experts.bin_pick import BinPick
from training_ground.agents.experts.expert import Steps, around, together
from training_ground.assets.poses import Array

WAYS = 16
"""Turns about the upright in which a thing may stand in its slot."""
LIFT = 0.2
"""m by which things are lifted: over what may stand on the lower board."""
OVER = 0.06
"""m over its slot to which a thing comes first: hands that come in higher run into the upper board."""
PACE = 0.6
"""rad/s of the fastest joint on its way: faster hands stray into what they pass closely."""


class RestockShelf(BinPick):
    """Thing by thing, the lower board first: grasp it from above, lift it over the walls, stand it in its slot."""

    waist: ClassVar[bool] = True
    careful: ClassVar[bool] = True
    halves: ClassVar[dict[str, int]] = {"carton": 2}

    def procedure(self) -> Steps:
        """Move all things that have been delivered."""
        side = self.nearest("source")
        yield from together(self.stand_aside(side), self.open(side))
        for thing in self.order(side):
            yield from self.pick(side, thing, lambda thing=thing: self.grips(thing), lift=LIFT)
            yield from self.put(side, thing, around(self.frame(self.task.slot(thing)), WAYS), over=OVER, gap=0.003)

    def order(self, side: str) -> list[str]:
        """The things, those for the lower board first, of each board that for the farthest slot first: hands that come
        down between boards and things have nothing there to knock over."""
        away = 1.0 if side == "right" else -1.0

        def far(thing: str) -> tuple[float, float]:
            place = self.frame(self.task.slot(thing)).position
            return round(float(place[2]), 2), -away * float(place[1])

        return sorted((thing for thing in self.task.state.values["map"] if thing in self.task.things), key=far)

    def along(self, arm: Arm, way: Sequence[Array], speed: float, *, hand_speed: float = math.inf) -> Steps:
        """Move an arm's joints along the corners of a way, no faster than is safe beside what stands there."""
        yield from super().along(arm, way, min(speed, PACE), hand_speed=hand_speed)

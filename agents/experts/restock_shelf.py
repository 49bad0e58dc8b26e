"""How to restock a shelf."""

from __future__ import annotations

from typing import ClassVar

from training_ground.agents.experts.expert import Steps, around
from training_ground.agents.experts.handling import Handling, turned
from training_ground.assets.poses import Pose

HALVES = {"carton": 2}
"""Ways round in which a hand can grip the thing that is not round."""
WAYS = 8
"""Turns of a thing that is round."""
ASKEW = (0.0, 0.2, -0.2, 0.4, -0.4)
"""rad by which a thing may be gripped, or stand in its slot, askew."""


class RestockShelf(Handling):
    """Thing by thing, the farthest slot first: grasp it from above, lift it over the walls, stand it in its slot."""

    waist: ClassVar[bool] = True

    def procedure(self) -> Steps:
        """Move all things."""
        side = self.nearest("source")
        for thing in self.order(side):
            yield from self.pick(side, thing, lambda thing=thing: self.ways(self.frame(f"{thing}.grasp"), thing))
            goals = self.ways(self.frame(self.task.slot(thing)), thing)
            yield from self.put(side, thing, goals, over=0.1, gap=0.003)

    def order(self, side: str) -> list[str]:
        """The things, that for the upper board's farthest slot first: no arm reaches over what stands already."""
        away = 1.0 if side == "right" else -1.0

        def far(thing: str) -> tuple[float, float]:
            place = self.frame(self.task.slot(thing)).position
            return round(float(place[2]), 2), away * float(place[1])

        return sorted(self.task.state.values["map"], key=far, reverse=True)

    def ways(self, pose: Pose, thing: str) -> list[Pose]:
        """A pose of a thing or of a hand at it, in all turns about the vertical that will do."""
        if thing not in HALVES:
            return around(pose, WAYS)
        return [way for turn in ASKEW for way in around(turned(pose, turn), HALVES[thing])]

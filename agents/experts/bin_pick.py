"""How to take a part out of a tote."""

from __future__ import annotations

from typing import ClassVar

from training_ground.agents.experts.expert import Steps, around
from training_ground.agents.experts.handling import Handling, from_above, turned
from training_ground.assets.poses import Pose

HALVES = {"block": 2, "bar": 2}
"""Ways round in which a hand can grip the parts that are not round."""


class BinPick(Handling):
    """Grasp the part from above, lift it over the walls, let it go in the other tote."""

    waist: ClassVar[bool] = True
    halves: ClassVar[dict[str, int]] = HALVES

    def procedure(self) -> Steps:
        """Move the part that the task names."""
        part = self.task.goal
        side = self.nearest("source")

        def bring() -> Steps:
            yield from self.pick(side, part, lambda: self.grips(part))
            yield from self.drop(side, part, self.frame(f"target.{side}").position)

        yield from self.again(side, part, bring)

    def grips(self, part: str) -> list[Pose]:
        """Ways to grip a part from above."""
        if not self.stands(part):
            return self.across(part)
        grasp = self.frame(f"{part}.grasp")
        if part not in self.halves:
            return from_above(grasp.position)
        # Fingers turn a part that they do not meet squarely, and a little askew they miss the tote's walls.
        return [way for turn in (0.0, 0.2, -0.2) for way in around(turned(grasp, turn), self.halves[part])]

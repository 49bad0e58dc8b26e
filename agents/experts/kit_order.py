"""How to put together a kit."""

from __future__ import annotations

from training_ground.agents.experts.bin_pick import HALVES, BinPick
from training_ground.agents.experts.expert import Steps, around
from training_ground.agents.experts.handling import turned

WAYS = 8
"""Turns of a part that is round."""
ASKEW = (0.0, 0.2, -0.2)
"""rad by which a part may stand askew in its compartment."""
NEAR = 0.11
"""m from a part's grasp within which a hand first draws back before it turns to another."""


class KitOrder(BinPick):
    """Part by part: grasp it from above, lift it over the walls, set it down in its compartment."""

    def procedure(self) -> Steps:
        """Move the parts of the order, which is read again before each: it may have changed."""
        side, done = self.nearest("source"), set[str]()
        while True:
            part = next((part for part in self.task.order if part not in done), None)
            if part is None:
                yield
                continue
            yield from self.again(side, part, lambda part=part: self.bring(side, part))
            if part in self.task.order:
                done.add(part)

    def bring(self, side: str, part: str) -> Steps:
        """Put a part into its compartment, unless it is not ordered any more before the hand has it."""
        steps, done = self.pick(side, part, lambda: self.grips(part)), object()
        while part in self.task.order and next(steps, done) is not done:
            yield
        if part not in self.task.order:
            if self.task.grip_distance(f"{part}.grasp") < NEAR:
                yield from self.withdraw(side, to=f"away from {part}")
            return
        ways = around(self.frame(f"tray.{part}"), HALVES.get(part, WAYS))
        yield from self.put(side, part, [turned(way, turn) for turn in ASKEW for way in ways], over=0.12, gap=0.004)

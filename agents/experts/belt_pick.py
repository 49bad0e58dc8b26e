"""How to pick a part from a running belt."""

from __future__ import annotations

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps, back, raised, together
from training_ground.agents.experts.handling import TRIES, Handling, from_above
from training_ground.assets.poses import Array, Pose

LAG = 0.02
"""s by which a hand trails where it is told to be."""
NEEDED = 1.6
"""s that a grasp takes, from the hand's waiting place on."""
MARGIN = 0.08
"""m before the belt's end at which the part shall be lifted."""
FARTHEST = 0.3
"""m before the belt's end beyond which no hand waits: fast parts are met earlier, but not out of reach."""
OVER = 0.09
"""m over the belt where the hand waits and then lifts to."""


class BeltPick(Handling):
    """Wait over the belt, come down with the part as it passes, close, lift; let it go in the tote."""

    def procedure(self) -> Steps:
        """Move the part."""
        side = self.nearest("belt.end")
        for _ in range(TRIES):
            self.attempt += 1
            yield from self.catch(side)
            if self.holds(side, "part"):
                yield from self.drop(side, "part", self.frame(f"target.{side}").position)
                return
        raise CannotReach(f"the part was not in the {side} hand after {TRIES} grasps")

    def catch(self, side: str) -> Steps:
        """Try to grasp the part as it passes; a belt that stands must run first."""
        yield from self.open(side)
        while not self.task.belt_speed:
            yield
        flow = self.flow()
        ahead = flow / self.task.belt_speed
        before_end = min(MARGIN + NEEDED * self.task.belt_speed, FARTHEST)
        left = max(self.left(ahead) - before_end, 0.0)
        meeting = self.frame("part.grasp").position + left * ahead
        meet = self.choose(side, from_above(meeting), to="where the part is met", clear=OVER, touching=("part",))
        yield from self.travel(side, back(meet, OVER), to="over the belt", then=meet, grasping=("part",))
        while self.left(ahead) > before_end:
            yield

        def on_part() -> Pose:
            return Pose(meet.rotation, self.frame("part.grasp").position + LAG * self.flow())

        yield from self.move(side, on_part, to="part", speed=0.12)
        yield from together(self.follow(side, on_part, 0.4, to="part"), self.close(side, 0.35))
        lifted = raised(self.arms[side].planned(self.wanted), OVER)
        yield from self.move(side, lifted, to="over the belt", speed=0.25, exact=False)

    def flow(self) -> Array:
        """Velocity of the belt's surface (3) in the world, m/s."""
        return self.frame("belt").rotation @ np.array(self.task.place.things["belt"].carries)

    def left(self, ahead: Array) -> float:
        """How far the part is from the belt's end, m."""
        return float((self.frame("belt.end").position - self.frame("part.grasp").position) @ ahead)

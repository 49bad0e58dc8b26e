"""PegInHole: a pin out of its holder into a hole."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

DEPTH = 0.04
"""m of the hole."""
SEATED = 0.9
"""Share of it that the pin must be in."""
BESIDE = 0.01
"""m from the hole's middle within which a pin that is lower than the hole's rim is in it."""
MOST_FORCE = 20.0
"""N on a hand."""


class PegInHole(CellTask):
    """Take a locating pin out of its holder and put it into the hole of a block.

    Template 13 of the catalogue: a pin of 30 mm and 0.3 kg ± 10 %, a square hole that is 2 mm wider and 40 mm deep.
    Holder, block, mass and friction are drawn anew in each episode.

    **Success** holds once the pin has been in the hole for 90 % of its depth or more for 0.5 s, at rest, touched by
    nobody, the hand 5 cm away. The episode fails with `jam` when the hand meets more than 20 N, with `slip` when the
    pin lies on its side or below the bench's top.

    **Tiers.** `tight`: 1 mm. `flow`: on the other side. `disturbed`: a block that was knocked out of its place by up to
    3 cm and 40°, oily pins (friction 0.35 to 0.5), masses ±30 %.

    **Reward**, at most 1 a step: hand near the pin, pin lifted, pin near the hole, its depth, and the whole once done.
    """

    id = "PegInHole"
    instruction = "Put the pin into the hole of the block."
    cell = "pin_station"
    objects = ("pin",)
    places = ("block.bottom",)
    terms = ("reach", "lift", "place", "insert", "done")
    failures: ClassVar[tuple[str, ...]] = ("jam", "slip")
    phases = ("approach", "grasp", "lift", "carry", "insert", "release")
    episode_length_s = 20.0

    def reset(self, generator: np.random.Generator) -> None:
        """Remember how high the pin stands."""
        super().reset(generator)
        self.state.values["floor"] = self.place.frame("pin").position[2]

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        pin, hole = self.place.frame("pin"), self.place.frame("block.bottom")
        beside = math.hypot(pin.position[0] - hole.position[0], pin.position[1] - hole.position[1])
        depth = DEPTH - (pin.position[2] - hole.position[2]) if beside < BESIDE else 0.0
        lifted = pin.position[2] - self.state.values["floor"]
        lean = self.lean("pin")
        touched, apart = self.touches("pin"), self.grip_distance("pin.grasp")
        seated = depth >= SEATED * DEPTH
        success = self.done(seated and self.at_rest("pin") and not touched and apart > 0.05)
        failure = None
        if not touched and (lifted < -0.05 or lean > 1.0):
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "jam"
        if seated:
            phase = "release"
        elif not touched:
            phase = "approach"
        elif lifted < 0.005:
            phase = "grasp"
        elif beside > 0.03:
            phase = "lift" if lifted < 0.05 else "carry"
        else:
            phase = "insert"
        terms = {
            "reach": 0.1 * (1.0 if seated else near(max(apart - 0.04, 0.0), 0.2)),
            "lift": 0.2 * (1.0 if seated else min(max(lifted / 0.06, 0.0), 1.0)),
            "place": 0.2 * (1.0 if seated else near(math.hypot(beside, pin.position[2] - hole.position[2]), 0.1)),
            "insert": 0.2 * min(max(depth / (SEATED * DEPTH), 0.0), 1.0),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, phase)

"""BeltPick: a part from a running belt into a tote."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

MOST_FORCE = 40.0
"""N on a hand."""


class BeltPick(CellTask):
    """Pick a part from a running belt before it comes to the end, and put it into a tote.

    Template 9 of the catalogue: a can of 50 mm and 0.13 kg on a belt of 0.1 m/s ± 20 % that ends in front of the robot.
    Belt speed, place, mass and friction are drawn anew in each episode.

    **Success** holds once the part has been in the tote for 0.5 s, at rest, touched by nobody, the hand 5 cm away. The
    episode fails with `missed` when the part comes to the belt's end, with `slip` when it lies on the bench or on the
    floor, and with `over_force` when a hand meets more than 40 N.

    **Tiers.** `tight`: a can of 58 mm and 0.25 kg near the belt's edge. `flow`: 0.2 m/s. `disturbed`: 0.05 to
    0.15 m/s, slippery cans (friction 0.35 to 0.5) anywhere across the belt, masses ±30 %; in three episodes of five
    the belt stops once, for 0.5 to 2 s.

    **Reward**, at most 1 a step: hand near the part, part lifted, part near the tote, and the whole once done.
    """

    id = "BeltPick"
    instruction = "Pick the part from the running belt and put it into the tote."
    cell = "belt_station"
    objects = ("part.middle",)
    places = ("target.floor",)
    terms = ("reach", "lift", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("missed", "slip", "over_force")
    phases = ("approach", "grasp", "lift", "carry", "release")
    episode_length_s = 15.0

    def channels(self) -> tuple[Channel, ...]:
        """How fast the belt runs, besides."""
        return (*super().channels(), Channel("belt_speed", (), "m/s", "none", "observation", "Speed of the belt."))

    def values(self) -> dict[str, Any]:
        """How fast the belt runs, besides."""
        return {**super().values(), "belt_speed": self.belt_speed}

    @property
    def belt_speed(self) -> float:
        """m/s."""
        return math.hypot(*self.place.things["belt"].carries)

    def reset(self, generator: np.random.Generator) -> None:
        """Remember how high the part stands."""
        super().reset(generator)
        self.state.values["floor"] = self.place.frame("part").position[2]

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        part, end = self.place.frame("part"), self.place.frame("belt.end")
        lifted, there = part.position[2] - self.state.values["floor"], self.inside("part.middle", "target")
        touched, apart = self.touches("part"), self.grip_distance("part.middle")
        success = self.done(there and self.at_rest("part") and not touched and apart > 0.05)
        failure = None
        if not there and not touched and lifted < 0.02:
            if lifted < -0.02:
                failure = "slip"
            elif part.position[1] > end.position[1]:
                failure = "missed"
        if failure is None and self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        if there:
            phase = "release"
        elif not touched:
            phase = "approach"
        elif lifted < 0.01:
            phase = "grasp"
        else:
            phase = "lift" if lifted < 0.08 else "carry"
        terms = {
            "reach": 0.2 * (1.0 if there else near(max(apart - 0.04, 0.0), 0.2)),
            "lift": 0.2 * (1.0 if there else min(max(lifted / 0.1, 0.0), 1.0)),
            "place": 0.3 * (1.0 if there else near(self.distance("part.middle", "target.floor"), 0.2)),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, phase)

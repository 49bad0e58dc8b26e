"""HandToHand: a part taken with one hand, passed to the other and put down there."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

WITHIN = 0.005
"""m that the part may stand off the middle of the mat."""
UPRIGHT = math.radians(3.0)
"""rad that it may lean."""
LIFTED = 0.03
"""m over the bench at which the part is in the air."""
MOST_FORCE = 40.0
"""N on a hand."""


class HandToHand(CellTask):
    """Take a part with the hand on its side, pass it to the other hand in the air, put it down on the other side.

    Template 33 of the catalogue: a standing shaft of 30 mm with a foot, 0.25 kg. Part, mat, mass and friction are drawn
    anew in each episode.

    **Success** holds once the part has stood on the mat for 0.5 s, within 5 mm of its middle, upright, at rest, touched
    by nobody, the hand 5 cm away; before that it must have been in the air in one hand alone, in both, and in the
    other alone. The episode fails with `slip` when the part lies on its side or below the bench, and with `over_force`
    when a hand meets more than 40 N.

    **Tiers.** `tight`: a shaft of 36 mm and 0.35 kg that is 20 mm shorter. `flow`: from the left to the right.
    `disturbed`: slippery shafts (friction 0.4 to 0.5), masses ±30 %, both places farther off.

    **Reward**, at most 1 a step: hand near the part, part lifted, part passed, part near the mat, the whole once done.
    """

    id = "HandToHand"
    instruction = "Pass the part from one hand to the other and put it down on the mat."
    stances = ("mounted",)  # on its feet its hands sway, and begin beside the part
    cell = "handover_station"
    objects = ("part",)
    places = ("target.middle",)
    terms = ("reach", "lift", "pass", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("slip", "over_force")
    phases = ("approach", "grasp", "lift", "pass", "place", "release")
    episode_length_s = 20.0

    def reset(self, generator: np.random.Generator) -> None:
        """Remember how high the part stands; nobody has had it yet."""
        super().reset(generator)
        self.state.values.update(floor=self.place.frame("part").position[2], first="", passed=False)

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        state, part, mat = self.state.values, self.place.frame("part"), self.place.frame("target.middle")
        holding = [hand.side for hand in self.hands if self.touches("part", hand.side)]
        lifted = part.position[2] - state["floor"]
        if len(holding) == 1 and lifted > LIFTED:
            state["first"] = state["first"] or holding[0]
            state["passed"] = state["passed"] or holding[0] != state["first"]
        beside = math.hypot(part.position[0] - mat.position[0], part.position[1] - mat.position[1])
        lean = self.lean("part")
        stands = beside < WITHIN and abs(part.position[2] - mat.position[2]) < 0.003 and lean < UPRIGHT
        there, touched, apart = state["passed"] and stands, self.touches("part"), self.grip_distance("part.middle")
        success = self.done(there and self.at_rest("part") and not touched and apart > 0.05)
        failure = None
        if not touched and (lifted < -0.05 or lean > 1.0):
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        if there:
            phase = "release"
        elif state["passed"]:
            phase = "place"
        elif not holding:
            phase = "approach"
        elif lifted < 0.01:
            phase = "grasp"
        else:
            phase = "pass" if len(holding) > 1 else "lift"
        passed = state["passed"]
        terms = {
            "reach": 0.1 * (1.0 if passed else near(max(apart - 0.05, 0.0), 0.2)),
            "lift": 0.2 * (1.0 if passed else min(max(lifted / 0.1, 0.0), 1.0)),
            "pass": 0.2 * float(passed),
            "place": 0.2 * (near(self.distance("part", "target.middle"), 0.2) if passed else 0.0),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, phase)

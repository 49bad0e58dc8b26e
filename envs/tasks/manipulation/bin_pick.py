"""BinPick: the part that is asked for, out of one tote into another."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

PARTS = ("block", "round", "bar")
LIFTED = 0.08
"""m over its place from which a part that is not asked for counts as taken."""
MOST_FORCE = 40.0
"""N on a hand."""


class BinPick(CellTask):
    """Take one part out of a tote where different parts stand and lie, and put it into the other tote.

    Template 8 of the catalogue: a standing block of 32 mm, a standing cylinder of 50 mm and a lying block of 30 mm,
    0.08 to 0.2 kg; totes of 0.2 m × 0.3 m with walls of 80 mm. Totes, parts, masses and frictions are drawn anew for
    each episode; the channel `goal` says which part.

    **Success** holds once the part has been in the target tote for 0.5 s, it and no other, at rest, touched by nobody,
    the hand 5 cm away. The episode fails with `wrong_item` when another part is lifted by 8 cm or lies in the target
    tote, with `slip` when a part lies outside of both totes, and with `over_force` when a hand meets more than 40 N.

    **Tiers.** `tight`: a block of 48 mm and a cylinder of 58 mm, 0.2 and 0.4 kg. `flow`: the totes have changed sides,
    the parts their places. `disturbed`: totes that have been bumped, slippery parts (friction 0.35 to 0.5),
    masses ±30 %; in every second episode the fingers fail for 0.4 s when they have lifted something, and in every
    second one nothing is seen of the parts for 1 to 3 s: their channels repeat what they told last.

    **Reward**, at most 1 a step: hand near the part, part lifted, part near the target tote, and the whole once done.
    """

    id = "BinPick"
    instruction = "Put the part that is asked for into the other tote, and no other part."
    cell = "bin_station"
    objects = tuple(f"{name}.middle" for name in PARTS)
    places = ("target.floor",)
    terms = ("reach", "lift", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("wrong_item", "slip", "over_force")
    phases = ("approach", "grasp", "lift", "carry", "release")
    episode_length_s = 20.0

    def channels(self) -> tuple[Channel, ...]:
        """Which part, besides."""
        text = "1 for the part that is asked for."
        return (*super().channels(), Channel("goal", (len(PARTS),), "1", "none", "observation", text, PARTS))

    def values(self) -> dict[str, Any]:
        """Which part, besides."""
        return {**super().values(), "goal": [float(name == self.goal) for name in PARTS]}

    @property
    def asked(self) -> str:
        """The part by its name."""
        name = {"block": "standing block", "round": "cylinder", "bar": "lying block"}[self.goal]
        return f"Put the {name} into the other tote, and no other part."

    @property
    def goal(self) -> str:
        """The part that is asked for."""
        return PARTS[self.state.values["goal"]]

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the part."""
        super().reset(generator)
        self.state.values["goal"] = int(generator.integers(len(PARTS)))
        self.state.values["floor"] = {name: self.place.frame(name).position[2] for name in PARTS}

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        goal, floor = self.goal, self.state.values["floor"]
        lifted = {name: self.place.frame(name).position[2] - floor[name] for name in PARTS}
        there = {name: self.inside(f"{name}.middle", "target") for name in PARTS}
        touched, apart = self.touches(goal), self.grip_distance(f"{goal}.middle")
        away = self.distance(f"{goal}.middle", "target.floor")
        success = self.done(there[goal] and self.at_rest(goal) and not touched and apart > 0.05)
        failure = None
        if any(name != goal and (there[name] or lifted[name] > LIFTED) for name in PARTS):
            failure = "wrong_item"
        elif any(self._lost(name, lifted[name], there[name]) for name in PARTS):
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        if there[goal]:
            phase = "release"
        elif not touched:
            phase = "approach"
        elif lifted[goal] < 0.01:
            phase = "grasp"
        else:
            phase = "lift" if self.inside(f"{goal}.middle", "source") else "carry"
        terms = {
            "reach": 0.2 * (1.0 if there[goal] else near(max(apart - 0.04, 0.0), 0.2)),
            "lift": 0.2 * (1.0 if there[goal] else min(max(lifted[goal] / 0.1, 0.0), 1.0)),
            "place": 0.3 * (1.0 if there[goal] else near(away, 0.2)),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, phase)

    def _lost(self, name: str, lifted: float, there: bool) -> bool:
        """Whether a part lies on the bench or on the floor, and is not just falling out of a hand that fails."""
        if self.events.falls(name):
            return False
        return lifted < 0.05 and not there and not self.inside(f"{name}.middle", "source") and not self.touches(name)

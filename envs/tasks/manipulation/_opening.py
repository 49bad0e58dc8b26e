"""What tasks share in which something is opened by its handle: a drawer, a door."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from training_ground.envs.cell_task import SLOW, CellTask
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

WITHDRAWN = 0.05
"""m from the handle at which a hand has withdrawn."""
AJAR = 0.002
"""m or rad that what a catch holds may stand open at first: the catch pulls it shut."""


class Opening(CellTask):
    """Open something by its handle, let go of it, take the hand away.

    Class attributes:
        handle: Frame, as `item.frame`.
        moves: Joint, as `item.joint`, that opens from its lower limit on.
        wanted: Share of its travel that counts as open.
        most_force: N that a hand may pull with.
    """

    handle: ClassVar[str]
    moves: ClassVar[str]
    wanted: ClassVar[float]
    most_force: ClassVar[float]
    terms = ("near", "travel", "done")
    failures: ClassVar[tuple[str, ...]] = ("over_force",)
    phases = ("approach", "grasp", "pull", "release")
    episode_length_s = 20.0

    def reset(self, generator: np.random.Generator) -> None:
        """Leave it shut as somebody shut it."""
        super().reset(generator)
        item = self.moves.partition(".")[0]
        self.place.things[item].set_joints([float(generator.uniform(0.0, AJAR))])

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        item = self.moves.partition(".")[0]
        travel, speed = self.travel(self.moves), math.hypot(*self.place.frame(self.handle).linear_velocity)
        apart, touched = self.grip_distance(self.handle), self.touches(item)
        is_open = travel >= self.wanted
        failure = "over_force" if self.steady("force", self.largest_force()) > self.most_force else None
        success = self.done(is_open and speed < SLOW and apart > WITHDRAWN and not touched)
        phase = "release" if is_open else "pull" if travel > 0.05 else "grasp" if touched else "approach"
        terms = {
            "near": 0.2 * (1.0 if is_open else near(apart, 0.2)),
            "travel": 0.4 * min(max(travel / self.wanted, 0.0), 1.0),
            "done": 0.4 * float(success),
        }
        return Outcome(terms, success, failure, phase)

"""How to sort pipes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps
from training_ground.agents.experts.handling import Handling, turned
from training_ground.assets.poses import Pose

ASKEW = (0.0, 0.15, -0.15)
"""rad by which a hand may grip a pipe askew."""
OVER = 0.012
"""m over a window at which a pipe's middle is let go: the fingers stay out of it."""
TRIES = 2
"""Times that a pipe is brought to its window."""


class PipeSort(Handling):
    """Pipe by pipe: grasp it from above, across its length, and let it fall through its window, along it."""

    waist: ClassVar[bool] = True

    def procedure(self) -> Steps:
        """Sort them all."""
        side = self.nearest("source")
        for pipe in self.task.pipes:
            for _ in range(TRIES):
                yield from self.pick(side, pipe, lambda pipe=pipe: self.grips(pipe))
                mouth = self.frame(f"{self.task.window(pipe)}.mouth")
                turns = self.along_window(pipe, mouth)
                yield from self.drop(side, pipe, mouth.position, height=OVER, turns=turns, shifts=(0.0,))
                if self.task.there(pipe):
                    break
            else:
                raise CannotReach(f"'{pipe}' did not go into its window")

    def grips(self, pipe: str) -> list[Pose]:
        """Ways to grip a pipe that lies, from above."""
        return [turned(way, turn) for turn in ASKEW for way in self.across(pipe)]

    def along_window(self, pipe: str, mouth: Pose) -> list[float]:
        """Turns about the vertical, rad, that bring a pipe along its window, either end first."""
        axis, long = self.frame(pipe).rotation[:, 2], mouth.rotation[:, 1]
        turn = float(np.arctan2(long[1], long[0]) - np.arctan2(axis[1], axis[0]))
        return [(turn + end + np.pi) % (2 * np.pi) - np.pi for end in (0.0, np.pi)]

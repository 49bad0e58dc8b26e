"""How to sort pipes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps
from training_ground.agents.experts.handling import Handling, turned
from training_ground.assets.poses import Pose

ASKEW = (0.0, 0.12, -0.12)
"""rad by which a hand may grip a pipe askew, and a pipe come askew to its window."""
HEIGHT = 0.012
"""m over a window at which a pipe's middle is let go: the fingers stay out of it."""
OVER = 0.07
"""m above that, on the way there and back."""
WITHIN = 0.005
"""m of its place within which the hand rests before it lets go: a pipe that swings would catch on the walls."""
TRIES = 2
"""Times that a pipe is brought to its window."""


class PipeSort(Handling):
    """Pipe by pipe: grasp it from above, across its length, and let it fall through its window, along it."""

    waist: ClassVar[bool] = True

    def procedure(self) -> Steps:
        """Sort them all."""
        side = self.nearest("source")
        for pipe in self.task.pipes:
            yield from self.sort(side, pipe)

    def sort(self, side: str, pipe: str) -> Steps:
        """Bring a pipe to its window, once more if it did not fall in.

        Raises:
            CannotReach: It is still not in there.
        """
        for _ in range(TRIES):
            yield from self.pick(side, pipe, lambda: self.grips(pipe))
            mouth = self.frame(f"{self.task.window(pipe)}.mouth")
            turns = self.along_window(pipe, mouth)
            more = {"turns": turns, "shifts": (0.0,), "within": WITHIN}
            yield from self.drop(side, pipe, mouth.position, height=HEIGHT, over=OVER, **more)
            if self.task.there(pipe):
                return
        raise CannotReach(f"'{pipe}' is not in its window after {TRIES} tries")

    def grips(self, pipe: str) -> list[Pose]:
        """Ways to grip a pipe that lies, from above."""
        return [turned(way, turn) for turn in ASKEW for way in self.across(pipe)]

    def along_window(self, pipe: str, mouth: Pose) -> list[float]:
        """Turns about the vertical, rad, that bring a pipe along its window, either end first."""
        axis, long = self.frame(pipe).rotation[:, 2], mouth.rotation[:, 1]
        turn = float(np.arctan2(long[1], long[0]) - np.arctan2(axis[1], axis[0]))
        ends = [(turn + end + np.pi) % (2 * np.pi) - np.pi for end in (0.0, np.pi)]
        return [end + askew for askew in ASKEW for end in ends]

"""PipeSort: pipe pieces out of a tote, each through the window of its kind."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

PIPES = ("short", "long")
WINDOWS = ("near", "far")
MOST_FORCE = 40.0
"""N on a hand."""


class PipeSort(CellTask):
    """Take the pipe pieces out of a tote and let each fall through the sorting window of its kind.

    Template 24 of the catalogue: a short pipe of 50 mm × 80 mm and 0.25 kg, a long one of 42 mm × 120 mm and 0.2 kg;
    two windows of 85 mm × 200 mm, 70 mm deep, one behind the other. Which window takes which kind is drawn anew in each
    episode, as are poses, masses and frictions; the channel `goal` tells it.

    **Success** holds once each pipe has been in its window for 0.5 s, at rest, touched by nobody, the hands 5 cm away.
    The episode fails with `wrong_item` when a pipe is in the other kind's window, with `slip` when a pipe lies outside
    of tote and windows, and with `over_force` when a hand meets more than 40 N.

    **Tiers.** `tight`: windows of 66 mm × 150 mm. `flow`: tote and windows have changed sides, the pipes their places.
    `disturbed`: a tote and windows that were knocked out of their places by up to 2 cm and 0.12 rad, oily pipes
    (friction 0.35 to 0.5), masses ±30 %.

    **Reward**, at most 1 a step: hand near a pipe that is missing, share of the pipes that are sorted, and the whole
    once done.
    """

    id = "PipeSort"
    instruction = "Put each pipe piece through the sorting window of its kind."
    cell = "pipe_station"
    objects = tuple(f"{name}.middle" for name in PIPES)
    places = ("near.floor",)
    terms = ("reach", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("wrong_item", "slip", "over_force")
    phases = ("approach", "grasp", "lift", "carry", "release")
    episode_length_s = 35.0

    def channels(self) -> tuple[Channel, ...]:
        """Which kind goes where, besides."""
        text = "1 for the kind that the far window takes."
        return (*super().channels(), Channel("goal", (len(PIPES),), "1", "none", "observation", text, PIPES))

    def values(self) -> dict[str, Any]:
        """Which kind goes where, besides."""
        return {**super().values(), "goal": [float(self.window(name) == "far") for name in PIPES]}

    @property
    def pipes(self) -> tuple[str, ...]:
        """What is to be sorted."""
        return PIPES

    def window(self, pipe: str) -> str:
        """The window that takes a pipe."""
        return self.state.values["windows"][pipe]

    def there(self, pipe: str) -> bool:
        """Whether a pipe is in its window."""
        return self.inside(f"{pipe}.middle", self.window(pipe))

    def reset(self, generator: np.random.Generator) -> None:
        """Draw which window takes which kind."""
        super().reset(generator)
        windows = [WINDOWS[i] for i in generator.permutation(len(WINDOWS)).tolist()]
        self.state.values["windows"] = dict(zip(PIPES, windows, strict=True))
        self.state.values["floor"] = {name: self.place.frame(f"{name}.middle").position[2] for name in PIPES}

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        floor = self.state.values["floor"]
        height = {name: self.place.frame(f"{name}.middle").position[2] for name in PIPES}
        missing = [name for name in PIPES if not self.there(name)]
        touched = [name for name in PIPES if self.touches(name)]
        apart = {name: self.grip_distance(f"{name}.middle") for name in PIPES}
        still = all(self.at_rest(name) for name in PIPES)
        success = self.done(not missing and still and not touched and min(apart.values()) > 0.05)
        failure = None
        if any(self.inside(f"{name}.middle", other) for name in missing for other in WINDOWS):
            failure = "wrong_item"
        elif any(self._lost(name, height[name] - floor[name]) for name in missing if name not in touched):
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        if not missing or (touched and touched[0] not in missing):
            phase = "release"
        elif not touched:
            phase = "approach"
        elif height[touched[0]] - floor[touched[0]] < 0.01:
            phase = "grasp"
        else:
            phase = "lift" if self.inside(f"{touched[0]}.middle", "source") else "carry"
        reach = min((apart[name] for name in missing), default=0.0)
        terms = {
            "reach": 0.2 * near(max(reach - 0.04, 0.0), 0.2),
            "place": 0.5 * (1.0 - len(missing) / len(PIPES)),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, phase)

    def _lost(self, pipe: str, lifted: float) -> bool:
        """Whether a pipe that nobody holds lies on the bench or on the floor."""
        return lifted < 0.03 and not self.inside(f"{pipe}.middle", "source")

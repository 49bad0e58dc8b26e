"""TendPress: load a press, start it, take the part out."""

from __future__ import annotations

from typing import Any, ClassVar

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

STATES = ("idle", "running", "done", "stopped")
MOST_FORCE = 40.0
"""N on a hand."""


class TendPress(CellTask):
    """Put a blank into the nest of a marking press, press start, wait until it is marked, put it into the tote.

    Template 21 of the catalogue: a blank of 46 mm × 60 mm, 0.3 kg; a press whose ram comes for 2 s once the button is
    pressed while a blank is in the nest, and refuses otherwise. Press, holder, tote, blank and friction are drawn anew
    in each episode; the channel `machine` says what the press does.

    **Success** holds once the marked blank has been in the tote for 0.5 s, at rest, touched by nobody, the hand 5 cm
    away. The episode fails with `refused` when start is pressed and the press may not run, with `interrupted` when the
    blank is taken while it runs, with `slip` when the blank lies on the bench or on the floor, and with `over_force`
    when a hand meets more than 40 N.

    **Tiers.** `tight`: a blank of 48 mm and 0.4 kg, 1 mm of room on each side in the nest instead of 2. `flow`: the
    blank from the left, start on the right, a cycle of 4 s. `disturbed`: press and holder knocked out of their places
    by up to 2 cm, the press turned by up to 7° and the holder by up to 23°, slippery blanks (friction 0.35 to 0.5),
    masses ±30 %.

    **Reward**, at most 1 a step: hand near the blank, blank near the nest, blank marked, blank near the tote, and the
    whole once done.
    """

    id = "TendPress"
    instruction = "Load the press with the blank, start it, and put the marked blank into the tote."
    cell = "press_station"
    objects = ("part.middle", "press.nest")
    places = ("target.floor",)
    mechanisms = ("panel.start", "press.ram")
    terms = ("reach", "load", "mark", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("refused", "interrupted", "slip", "over_force")
    phases = ("approach", "load", "start", "wait", "unload", "release")
    episode_length_s = 40.0

    def channels(self) -> tuple[Channel, ...]:
        """What the press does, besides."""
        text = "1 for what the press does."
        return (*super().channels(), Channel("machine", (len(STATES),), "1", "none", "observation", text, STATES))

    def values(self) -> dict[str, Any]:
        """What the press does, besides."""
        return {**super().values(), "machine": [float(name == self.press.state) for name in STATES]}

    @property
    def press(self) -> Any:
        """State of the press."""
        return self.devices.machines["press"]

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        press, place = self.press, self.place.frame("part").position
        marked, running = press.cycles > 0, press.state == "running"
        loaded, there = self.devices.signals["loaded"], self.inside("part.middle", "target")
        touched, apart = self.touches("part"), self.grip_distance("part.middle")
        success = self.done(marked and there and self.at_rest("part") and not touched and apart > 0.05)
        failure = None
        if press.refused:
            failure = "refused"
        elif press.state == "stopped":
            failure = "interrupted"
        elif not touched and not there and place[2] < self.place.frame("holder").position[2] + 0.01:
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        if there:
            phase = "release"
        elif marked:
            phase = "unload"
        elif running:
            phase = "wait"
        elif loaded and apart > 0.05:
            phase = "start"
        else:
            phase = "load" if touched or loaded else "approach"
        ready = marked or running or loaded
        terms = {
            "reach": 0.1 * (1.0 if there else near(max(apart - 0.04, 0.0), 0.2)),
            "load": 0.2 * (1.0 if ready else near(self.distance("part", "press.nest"), 0.2)),
            "mark": 0.2 * float(marked),
            "place": 0.2 * (near(self.distance("part.middle", "target.floor"), 0.2) if marked else 0.0),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, phase)

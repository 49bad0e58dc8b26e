"""TrayToTray: a battery cell from one tray into a slot of another."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

SLOTS = 4
WITHIN = 0.002
"""m that the cell may stand off its slot's middle, beyond what the pocket leaves."""
DEPTH = 0.004
"""m that it may stand over the slot's floor."""
UPRIGHT = math.radians(3.0)
"""rad that it may lean."""


class TrayToTray(CellTask):
    """Take a battery cell out of one tray and put it into a given slot of another, plus pole up.

    Template 7 of the catalogue: a 4680 cell of 46 mm and 0.355 kg, pockets with 2 mm of room on each side. Trays,
    friction, mass and the slot are drawn anew in each episode; the channel `goal` says where the slot is.

    **Success** holds once the cell has stood in the slot for 0.5 s: within 3 mm of its middle and 4 mm of its floor,
    upright, at rest, and touched by nobody. The episode fails with `slip` when the cell lies below the bench's top, or
    on its side.

    **Tiers.** `tight`: pockets with 1 mm of room on each side. `flow`: from the left, out of a tray that is full.
    `disturbed`: trays knocked out of their places by up to 1.5 cm and 0.2 rad, slippery cells (friction 0.35 to 0.5),
    masses ±30 %; in every second episode somebody steps up to the other side of the bench for a second, and the safety
    monitor stops the robot meanwhile, or the episode fails with `unsafe`.

    **Reward**, at most 1 a step: hand near the cell, cell lifted, cell near the slot, and the whole once done.
    """

    id = "TrayToTray"
    instruction = "Take the battery cell out of its tray and put it into the marked slot of the other tray."
    cell = "tray_station"
    objects = ("cell", "target")
    terms = ("reach", "lift", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("slip",)
    phases = ("approach", "grasp", "lift", "carry", "insert", "release")
    episode_length_s = 15.0

    def channels(self) -> tuple[Channel, ...]:
        """Where the slot is, besides."""
        text = "Middle of the slot's floor."
        return (*super().channels(), Channel("goal", (3,), "m", "base", "observation", text, ("x", "y", "z")))

    def values(self) -> dict[str, Any]:
        """Where the slot is, besides."""
        return {**super().values(), "goal": self._in_base(self.seen(self.goal))[0]}

    @property
    def goal(self) -> str:
        """The slot's frame."""
        return f"target.slot_{self.state.values['slot']}"

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the slot."""
        super().reset(generator)
        self.state.values["slot"] = int(generator.integers(1, SLOTS + 1))
        self.state.values["floor"] = self.place.frame("cell").position[2]

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        cell, slot = self.place.frame("cell"), self.place.frame(self.goal)
        beside = math.hypot(cell.position[0] - slot.position[0], cell.position[1] - slot.position[1])
        above = cell.position[2] - slot.position[2]
        lean = self.lean("cell")
        touched, lifted = self.touches("cell"), cell.position[2] - self.state.values["floor"]
        inside = beside < 0.001 + WITHIN and abs(above) < DEPTH and lean < UPRIGHT
        success = self.done(inside and self.at_rest("cell") and not touched)
        fallen = not touched and (lifted < -0.05 or lean > 1.0)
        reach = min(math.dist(self.env.robot.frame(h.grip).position, cell.position) for h in self.hands if h.grip)
        if inside:
            phase = "release"
        elif not touched:
            phase = "approach"
        elif lifted < 0.005:
            phase = "grasp"
        elif beside > 0.03:
            phase = "lift" if lifted < 0.04 else "carry"
        else:
            phase = "insert"
        terms = {
            "reach": 0.2 * (1.0 if inside else near(max(reach - 0.06, 0.0), 0.2)),
            "lift": 0.2 * (1.0 if inside else min(max(lifted / 0.06, 0.0), 1.0)),
            "place": 0.3 * (1.0 if inside else near(math.hypot(beside, above), 0.1)),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, "slip" if fallen else None, phase)

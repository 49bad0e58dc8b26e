"""RestockShelf: things out of a tote, each into its slot of a shelf."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

THINGS = ("can", "carton", "bottle")
SLOTS = ("low_left", "low_right", "high_left", "high_right")
WITHIN = 0.015
"""m that a thing may stand off its slot's middle."""
DEPTH = 0.004
"""m that it may stand over the board."""
UPRIGHT = math.radians(3.0)
"""rad that it may lean."""
TIPPED = math.radians(45.0)
"""rad from which a thing that nobody holds counts as knocked over."""
NEARBY = 0.045
"""m from a slot's middle within which a thing is in that slot and in no other."""
MOST_FORCE = 40.0
"""N on a hand."""


class RestockShelf(CellTask):
    """Take a can, a carton and a bottle out of a tote and stand each in its slot of a shelf.

    Template 34 of the catalogue, at a bench: a can of 50 mm, a carton 36 mm thick and a bottle of 46 mm, 0.09 to
    0.16 kg; a stepped shelf with two slots side by side, 130 mm apart, on each of its boards, 0.93 m and 1.10 m
    over the floor. The slot map, three of the four slots, is drawn anew in each episode, as are tote, shelf, poses,
    masses and frictions; the channel `goal` says where each thing's slot is.

    **Success** holds once every thing has stood in its slot for 0.5 s: within 15 mm of its middle and 4 mm of the
    board, upright within 3°, at rest, touched by nobody, the hand 5 cm away. The episode fails with `knocked` when
    a thing that nobody holds leans by more than 45°, with `wrong_slot` when one has stood in another thing's or the
    spare slot for 0.5 s, with `slip` when one stands outside of tote and shelf, and with `over_force` when a hand
    meets more than 40 N.

    **Tiers.** `tight`: a can of 58 mm and 0.25 kg, a carton of 48 mm, a slim bottle (44 mm, 92 mm high); slots 100
    mm apart, a partition of 20 mm between them, a lip of 8 mm before each board. `flow`: tote and shelf have
    changed sides, can and carton their places. `disturbed`: tote and shelf knocked out of place by up to 20 mm and
    0.12 rad, oily things (friction 0.35 to 0.5), masses ±30 %; in every second episode one of the things has not been
    delivered, stands 6 m away, and success is with the two others.

    **Reward**, at most 1 a step: hand near a thing that is missing, share of the things in their slots with what is
    nearest to its slot counting in part, and the whole once done.
    """

    id = "RestockShelf"
    instruction = "Put the can, the carton and the bottle from the tote into their slots of the shelf."
    cell = "shelf_station"
    objects = tuple(f"{name}.middle" for name in THINGS)
    places = ("shelf",)
    spares = THINGS
    terms = ("reach", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("knocked", "wrong_slot", "slip", "over_force")
    phases = ("approach", "grasp", "carry", "release")
    episode_length_s = 60.0

    def channels(self) -> tuple[Channel, ...]:
        """The slot map, besides."""
        names = tuple(f"{name}_{axis}" for name in THINGS for axis in ("x", "y", "z"))
        text = "Middle of the slot of each thing."
        return (*super().channels(), Channel("goal", (len(names),), "m", "base", "observation", text, names))

    def values(self) -> dict[str, Any]:
        """The slot map, besides."""
        goal = [x for name in THINGS for x in self._in_base(self.seen(self.slot(name)))[0]]
        return {**super().values(), "goal": goal}

    @property
    def things(self) -> list[str]:
        """What has been delivered."""
        return [name for name in THINGS if name not in self.missing]

    def slot(self, name: str) -> str:
        """Frame of the slot of a thing."""
        return f"shelf.{self.state.values['map'][name]}"

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the slot map."""
        super().reset(generator)
        drawn = generator.choice(len(SLOTS), len(THINGS), replace=False).tolist()
        self.state.values["map"] = {name: SLOTS[i] for name, i in zip(THINGS, drawn, strict=True)}
        self.state.values["floor"] = {name: self.place.frame(name).position[2] for name in THINGS}

    def stands(self, name: str, slot: str, within: float) -> bool:
        """Whether a thing stands upright on a slot, within a distance in m of its middle."""
        thing, place = self.place.frame(name).position, self.place.frame(slot).position
        beside = math.hypot(thing[0] - place[0], thing[1] - place[1])
        return beside < within and abs(thing[2] - place[2]) < DEPTH and self.lean(name) < UPRIGHT

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        things = self.things
        there = [name for name in things if self.stands(name, self.slot(name), WITHIN)]
        missing = [name for name in things if name not in there]
        touched = [name for name in things if self.touches(name)]
        away = all(self.grip_distance(f"{name}.middle") > 0.05 for name in things)
        still = all(self.at_rest(name) for name in things)
        success = self.done(not missing and still and not touched and away)
        if not touched:
            phase = "release" if not missing else "approach"
        elif touched[0] in there:
            phase = "release"
        else:
            lifted = self.place.frame(touched[0]).position[2] - self.state.values["floor"][touched[0]]
            phase = "grasp" if lifted < 0.01 else "carry"
        reach = min((self.grip_distance(f"{name}.middle") for name in missing), default=0.0)
        nearest = min((self.distance(name, self.slot(name)) for name in missing), default=0.0)
        share = (len(there) + (0.5 * near(nearest, 0.2) if missing else 0.0)) / len(things)
        terms = {
            "reach": 0.2 * near(max(reach - 0.04, 0.0), 0.2),
            "place": 0.5 * share,
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, self._failure(touched), phase)

    def _failure(self, touched: list[str]) -> str | None:
        """What has gone wrong, if anything has."""
        loose = [name for name in self.things if name not in touched]
        if any(self.lean(name) > TIPPED for name in loose):
            return "knocked"
        others = {name: [f"shelf.{s}" for s in SLOTS if f"shelf.{s}" != self.slot(name)] for name in loose}
        wrong = any(self.stands(name, slot, NEARBY) for name in loose for slot in others[name])
        if self.held("wrong", wrong):
            return "wrong_slot"
        if any(self._lost(name) for name in loose):
            return "slip"
        return "over_force" if self.steady("force", self.largest_force()) > MOST_FORCE else None

    def _lost(self, name: str) -> bool:
        """Whether a thing is lower than the tote's floor, on the bench or under it."""
        return self.place.frame(name).position[2] < self.state.values["floor"][name] - 0.005

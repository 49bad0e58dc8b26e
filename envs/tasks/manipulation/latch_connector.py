"""LatchConnector: a plug into its socket until it clicks, and a pull to see that it holds."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

SEATED = 0.004
"""m over the bottom of the socket below which the plug is in: it has some play, and stands on the pawl 18 mm higher."""
SNAPPED = 0.0005
"""m that the pawl may stand back once it has snapped over the plug's ridge."""
MOUTH = 0.044
"""m over the bottom at which the plug comes into the socket."""
BESIDE = 0.006
"""m from the socket's middle within which a plug that is lower is in it."""
PULL = 10.0
"""N with which a hand must have pulled at a plug that stayed in."""
MOST_FORCE = 80.0
"""N on a hand."""


class LatchConnector(CellTask):
    """Take a plug out of its holder, press it into the socket of a latch connector until it clicks, and pull at it to
    see that it holds.

    Template 15 of the catalogue: a plug whose ridge pushes a pawl back on its slope, until the pawl snaps over it: a
    detent of some 30 N. Socket and holder, the plug's mass and friction are drawn anew in each episode.

    **Success** holds once the plug has been in the socket, the pawl over its ridge, for 0.5 s, at rest, after a hand
    pulled upwards at it with 10 N or more, touched by nobody, the hand 5 cm away. The episode fails with `over_force`
    when a hand meets more than 80 N, with `slip` when the plug lies on its side or below the bench's top.

    **Tiers.** `tight`: 0.5 mm of room around the plug instead of 0.8. `flow`: from the left, the connector the other
    way round. `disturbed`: a socket that was knocked askew by up to 3 cm and 29°, oily plugs (friction 0.35 to 0.5),
    masses ±30 %, sensors that may fail for a while.

    **Reward**, at most 1 a step: hand near the plug, plug lifted, plug near the socket, how far it is in, the pull, and
    the whole once done.
    """

    id = "LatchConnector"
    instruction = "Plug the connector in until it clicks, and pull at it to see that it holds."
    cell = "connector_station"
    objects = ("plug",)
    places = ("header.bottom",)
    mechanisms = ("header.pawl",)
    terms = ("reach", "lift", "place", "insert", "verify", "done")
    failures: ClassVar[tuple[str, ...]] = ("over_force", "slip")
    phases = ("approach", "grasp", "lift", "carry", "insert", "press", "verify", "release")
    episode_length_s = 30.0

    def reset(self, generator: np.random.Generator) -> None:
        """Remember how high the plug stands."""
        super().reset(generator)
        self.state.values |= {"floor": self.place.frame("plug").position[2], "pulled": False}

    @property
    def clicked(self) -> bool:
        """Whether the plug is in and the pawl has snapped over its ridge."""
        beside, height = self._from_bottom()
        return beside < BESIDE and height < SEATED and self.place.things["header"].joint_position["pawl"] < SNAPPED

    @property
    def pulled(self) -> bool:
        """Whether a hand has pulled at the plug since then, and it stayed."""
        return self.state.values["pulled"]

    def _from_bottom(self) -> tuple[float, float]:
        """How far the plug is beside the socket's middle and over its bottom, m."""
        plug, socket = (self.place.frame(name).position for name in ("plug", "header.bottom"))
        return math.hypot(plug[0] - socket[0], plug[1] - socket[1]), plug[2] - socket[2]

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        state, (beside, height), seated = self.state.values, self._from_bottom(), self.clicked
        touched, apart = self.touches("plug"), self.grip_distance("plug.grasp")
        pull = self.steady("pull", max(-self.hand_load(hand.side)[2] for hand in self.hands))
        state["pulled"] = seated and (state["pulled"] or (touched and pull > PULL))
        lifted, inside = self.place.frame("plug").position[2] - state["floor"], beside < BESIDE and height < MOUTH
        success = self.done(state["pulled"] and self.at_rest("plug") and not touched and apart > 0.05)
        failure = None
        if not touched and (lifted < -0.05 or self.lean("plug") > 1.0):
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        depth = min(max(1.0 - height / MOUTH, 0.0), 1.0) if inside else 0.0
        over = math.hypot(beside, max(height - MOUTH, 0.0))
        terms = {
            "reach": 0.1 * (1.0 if state["pulled"] else near(max(apart - 0.04, 0.0), 0.2)),
            "lift": 0.1 * (1.0 if inside else min(max(lifted / 0.06, 0.0), 1.0)),
            "place": 0.2 * (1.0 if inside else near(over, 0.1)),
            "insert": 0.2 * (1.0 if seated else 0.8 * depth),
            "verify": 0.1 * float(state["pulled"]),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, self._phase(seated, touched, lifted, beside, inside))

    def _phase(self, seated: bool, touched: bool, lifted: float, beside: float, inside: bool) -> str:
        if seated:
            return "release" if self.pulled else "verify"
        if inside:
            return "insert" if touched and self.grip_distance("plug.grasp") < 0.03 else "press"
        if not touched:
            return "approach"
        if lifted < 0.005:
            return "grasp"
        return "lift" if lifted < 0.05 and beside > 0.03 else "carry"

"""BeltPlace: parts from a tray onto a running belt, one pitch apart."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from training_ground.envs import rotations
from training_ground.envs.cell_task import SLOW, CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

PARTS = ("part_1", "part_2", "part_3")
PITCH = {"nominal": (0.7, 0.8), "tight": (0.7, 0.8), "flow": (1.15, 1.2), "disturbed": (0.75, 0.85)}
"""m from part to part, between which it is drawn, by tier."""
WITHIN = 0.02
"""m by which a distance may differ from the pitch."""
DEPTH = 0.004
"""m that a part may stand over the belt."""
UPRIGHT = math.radians(3.0)
"""rad that it may lean."""
SURGE, PERIOD_S = (0.3, 0.5), (2.0, 5.0)
"""Between which are drawn: the share by which the speed of a belt that surges swings, and the swing's period, s."""
MOST_FORCE = 40.0
"""N on a hand."""


class BeltPlace(CellTask):
    """Take three parts out of a tray and stand them on a running belt, one behind the other at a given pitch.

    Template 10 of the catalogue: cans of 50 mm and 0.13 kg in a tray, a conveyor of 160 mm × 3 m beside it that
    runs past the robot at 0.1 m/s ± 10 %. The pitch, 0.7 to 0.8 m, the speed, tray, masses and frictions are drawn
    anew in each episode; the channels `pitch` and `belt_speed` tell them.

    **Success** holds once all parts have ridden on the belt for 0.5 s, upright within 3°, slower than 0.02 m/s
    relative to it, touched by nobody, the hand 5 cm away, each distance between neighbours within the pitch ± 0.02
    m. The episode fails with `off_pitch` when neighbours that ride for 0.5 s are at another distance, with `missed`
    when a part comes to the belt's end before all is done, with `slip` when a part lies on its side or below the
    tray, and with `over_force` when a hand meets more than 40 N.

    **Tiers.** `tight`: slim bottles (44 mm, 92 mm high, 0.16 kg) onto a belt of 80 mm. `flow`: mirrored, 0.18 m/s,
    pitch 1.15 to 1.2 m. `disturbed`: a belt at 0.08 to 0.12 m/s that surges by 30 to 50 % every 2 to 5 s, pitch
    0.75 to 0.85 m, a tray knocked askew by up to 20 mm and 0.15 rad, oily cans (friction 0.35 to 0.5), masses ±30 %;
    in seven episodes of ten the belt stops once, for 1 to 4 s.

    **Reward**, at most 1 a step: hand near a part that is missing, share of the parts that ride on the belt, and the
    whole once done.
    """

    id = "BeltPlace"
    instruction = "Stand the parts from the tray on the running belt, one behind the other at the given pitch."
    cell = "line_station"
    objects = tuple(f"{name}.middle" for name in PARTS)
    places = ("tray",)
    terms = ("reach", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("off_pitch", "missed", "slip", "over_force")
    phases = ("approach", "grasp", "carry", "place", "release")
    episode_length_s = 40.0

    def channels(self) -> tuple[Channel, ...]:
        """Pitch and speed, besides."""
        role = "observation"
        return (
            *super().channels(),
            Channel("pitch", (), "m", "none", role, "Distance from part to part that is asked for."),
            Channel("belt_speed", (), "m/s", "none", role, "Speed of the belt."),
        )

    def values(self) -> dict[str, Any]:
        """Pitch and speed, besides."""
        return {**super().values(), "pitch": self.pitch, "belt_speed": self.belt_speed}

    @property
    def pitch(self) -> float:
        """m."""
        return self.state.values["pitch"]

    @property
    def belt_speed(self) -> float:
        """m/s."""
        return math.hypot(*self.place.things["belt"].carries)

    @property
    def run(self) -> float:
        """How far the belt has run since the episode began, m."""
        return self.state.values["run"]

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the pitch, and how the belt surges."""
        super().reset(generator)
        tier, state = self.config.tier, self.state.values
        state["pitch"] = float(generator.uniform(*PITCH[tier]))
        surges = tier == "disturbed"
        state["surge"] = float(generator.uniform(*SURGE)) if surges else 0.0
        state["period"] = float(generator.uniform(*PERIOD_S)) if surges else 1.0
        state["speed"], state["run"] = self.belt_speed, 0.0
        state["floor"] = {name: self.place.frame(name).position[2] for name in PARTS}

    def before_step(self) -> None:
        """A belt that surges changes its speed, unless an event has stopped it."""
        super().before_step()
        state, time = self.state.values, self.env.steps * self.env.control_timestep
        speed = state["speed"] * (1.0 + state["surge"] * math.sin(2.0 * math.pi * time / state["period"]))
        if self.events.stands("belt"):
            speed = 0.0
        if state["surge"]:
            self.place.things["belt"].carry((0.0, speed, 0.0))
        state["run"] += speed * self.env.control_timestep

    def along(self, name: str) -> float:
        """How far a frame is along the belt from its middle, m."""
        belt = self.place.frame("belt")
        offset = [a - b for a, b in zip(self.place.frame(name).position, belt.position, strict=True)]
        return rotations.rotate_inverse(belt.orientation, offset)[1]

    def rides(self, name: str) -> bool:
        """Whether a part stands on the belt and goes along with it, held by nobody."""
        part, belt = self.place.frame(name), self.place.frame("belt.end")
        flow = rotations.rotate(belt.orientation, self.place.things["belt"].carries)
        return (
            self.inside(f"{name}.middle", "belt")
            and abs(part.position[2] - belt.position[2]) < DEPTH
            and self.lean(name) < UPRIGHT
            and math.dist(part.linear_velocity, flow) < SLOW
            and not self.touches(name)
        )

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        riding = [name for name in PARTS if self.rides(name)]
        missing = [name for name in PARTS if name not in riding]
        gaps = [b - a for a, b in pairwise(sorted(self.along(name) for name in riding))]
        spaced = all(abs(gap - self.pitch) < WITHIN for gap in gaps)
        touched = [name for name in missing if self.touches(name)]
        apart = {name: self.grip_distance(f"{name}.middle") for name in PARTS}
        success = self.done(not missing and spaced and min(apart.values()) > 0.05)
        if touched:
            held = touched[0]
            if self.place.frame(held).position[2] - self.state.values["floor"][held] < 0.01:
                phase = "grasp"
            else:
                phase = "place" if self.inside(f"{held}.middle", "belt") else "carry"
        else:
            leaving = any(apart[name] < 0.05 for name in riding)
            phase = "release" if leaving or not missing else "approach"
        nearest = min((self.distance(name, "belt.place") for name in missing), default=0.0)
        share = (len(riding) + (0.5 * near(nearest, 0.2) if missing else 0.0)) / len(PARTS)
        terms = {
            "reach": 0.2 * near(max(min((apart[name] for name in missing), default=0.0) - 0.04, 0.0), 0.2),
            "place": 0.5 * share,
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, self._failure(riding, spaced), phase)

    def _failure(self, riding: list[str], spaced: bool) -> str | None:
        """What has gone wrong, if anything has."""
        end, floor = self.place.things["belt"].spec.frames["end"].at[1], self.state.values["floor"]
        loose = [name for name in PARTS if name not in riding and not self.touches(name)]
        if any(self.along(name) > end for name in loose):
            return "missed"
        if any(self.lean(name) > 1.0 or self.place.frame(name).position[2] < floor[name] - 0.005 for name in loose):
            return "slip"
        if self.held("off_pitch", not spaced):
            return "off_pitch"
        return "over_force" if self.steady("force", self.largest_force()) > MOST_FORCE else None

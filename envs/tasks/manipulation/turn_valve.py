"""TurnValve: a valve's lever, to the angle that is asked for."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

LEVER = "valve.lever"
GOALS = (math.radians(40.0), math.radians(85.0))
"""rad between which the angle lies that is asked for."""
WITHIN = math.radians(5.0)
"""rad off it that count as there."""
SLOW = 0.05
"""rad/s below which the lever is at rest."""
WITHDRAWN = 0.05
"""m from the lever at which the hand has withdrawn."""
MOST_FORCE = 80.0
"""N on a hand."""


class TurnValve(CellTask):
    """Turn a valve's lever from shut to the angle that is asked for, let go, and take the hand away.

    Template 3 of the catalogue: a quarter-turn valve of 1.5 N·m ± 50 %, a lever of 0.15 m that stands 60 mm off. Its
    pose, its friction and the angle (40° to 85°) are drawn anew in each episode; the channel `goal` gives the angle.

    **Success** holds once the lever has stood within 5° of the angle for 0.5 s, at rest, the hand 5 cm or more away
    from it and touching nothing of the valve. The episode fails with `over_force` when a hand meets more than 80 N.

    **Tiers.** `tight`: a lever of 0.12 m, 3 N·m ± 50 %. `flow`: on the other side, lower. `disturbed`: corroded (2.5 to
    4 times the torque), turned towards the robot by up to 0.4 rad.

    **Reward**, at most 1 a step: hand near the lever, the lever near its angle, and the whole once done.
    """

    id = "TurnValve"
    instruction = "Turn the valve's lever to the angle that is asked for, and let go of it."
    cell = "valve_station"
    objects = ("valve.grip",)
    mechanisms = (LEVER,)
    terms = ("near", "turn", "done")
    failures: ClassVar[tuple[str, ...]] = ("over_force",)
    phases = ("approach", "grasp", "turn", "release")
    episode_length_s = 20.0

    def channels(self) -> tuple[Channel, ...]:
        """Which angle, besides."""
        return (
            *super().channels(),
            Channel("goal", (), "rad", "none", "observation", "Angle that the lever shall have."),
        )

    def values(self) -> dict[str, Any]:
        """Which angle, besides."""
        return {**super().values(), "goal": self.goal}

    @property
    def asked(self) -> str:
        """The angle in degrees."""
        return f"Turn the valve's lever to {math.degrees(self.goal):.0f}°, and let go of it."

    @property
    def goal(self) -> float:
        """Angle that the lever shall have, rad."""
        return self.state.values["goal"]

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the angle; the valve is shut."""
        super().reset(generator)
        self.state.values["goal"] = float(generator.uniform(*GOALS))

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        valve = self.place.things["valve"]
        angle, speed = valve.joint_position["lever"], math.hypot(*valve.link("lever").angular_velocity)
        apart, touched = self.grip_distance("valve.grip"), self.touches("valve")
        there = abs(angle - self.goal) <= WITHIN
        failure = "over_force" if self.steady("force", self.largest_force()) > MOST_FORCE else None
        success = self.done(there and abs(speed) < SLOW and apart > WITHDRAWN and not touched)
        phase = "release" if there else "turn" if angle > 0.05 else "grasp" if touched else "approach"
        terms = {
            "near": 0.2 * (1.0 if there else near(apart, 0.2)),
            "turn": 0.4 * (1.0 if there else near(angle - self.goal, 0.5)),
            "done": 0.4 * float(success),
        }
        return Outcome(terms, success, failure, phase)

"""PressButton: one of the buttons of an operator panel."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

BUTTONS = ("start", "reset", "stop")
PRESSED = 0.8
"""Share of the travel at which a button counts as pressed."""
MOST_FORCE = 40.0
"""N that a hand may press with."""
WITHDRAWN = 0.05
"""m from the button at which the hand has withdrawn."""


class PressButton(CellTask):
    """Press one button of an operator panel, and no other, and take the hand away.

    Template 2 of the catalogue. Panel and button are drawn anew in each episode; the channel `goal` says which button.

    **Success** holds once the button has been pressed through 80 % of its travel, springs back, and the hand has been
    5 cm away from it for 0.5 s. The episode fails with `wrong_item` when another button is pressed, and with
    `over_force` when the hand presses with more than 40 N.

    **Tiers.** `tight`: buttons of 16 mm, 40 mm apart, where they are of 30 mm, 80 mm apart. `flow`: a panel that leans
    back by 0.5 rad, 2 cm higher, up to 15 cm to either side instead of 10. `disturbed`: stiff buttons (14 to 28 N
    instead of 8 to 16 N), the panel turned by up to 0.4 rad instead of 0.2.

    **Reward**, at most 1 a step: the tip near the button, the button's travel, and the whole once done.
    """

    id = "PressButton"
    instruction = "Press the button that is asked for, and take your hand away."
    cell = "operator_station"
    tool = "tip"
    objects = tuple(f"panel.{name}" for name in BUTTONS)
    mechanisms = tuple(f"panel.{name}" for name in BUTTONS)
    terms = ("near", "travel", "done")
    failures: ClassVar[tuple[str, ...]] = ("wrong_item", "over_force")
    phases = ("approach", "engage", "withdraw")
    episode_length_s = 8.0

    def channels(self) -> tuple[Channel, ...]:
        """Which button, besides."""
        text = "1 for the button that is to be pressed."
        return (*super().channels(), Channel("goal", (len(BUTTONS),), "1", "none", "observation", text, BUTTONS))

    def values(self) -> dict[str, Any]:
        """Which button, besides."""
        return {**super().values(), "goal": [float(name == self.goal) for name in BUTTONS]}

    @property
    def asked(self) -> str:
        """The button by its name and colour."""
        colour = {"start": "green", "reset": "blue", "stop": "red"}[self.goal]
        return f"Press the {colour} button ({self.goal}), and take your hand away."

    @property
    def goal(self) -> str:
        """The button that is to be pressed."""
        return BUTTONS[self.state.values["goal"]]

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the button."""
        super().reset(generator)
        self.state.values.update(goal=int(generator.integers(len(BUTTONS))), pressed=False)

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        state, goal = self.state.values, f"panel.{self.goal}"
        travel = min(max(self.travel(goal) / PRESSED, 0.0), 1.0)
        state["pressed"] = state["pressed"] or travel >= 1.0
        failure = None
        if any(name != goal and self.travel(name) >= PRESSED for name in self.mechanisms):
            failure = "wrong_item"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        apart = self.tip_distance(goal)
        success = self.done(state["pressed"] and travel < 0.5 and apart > WITHDRAWN)
        phase = "withdraw" if state["pressed"] else "engage" if travel > 0.1 else "approach"
        terms = {
            "near": 0.2 * (1.0 if state["pressed"] else near(apart, 0.2)),
            "travel": 0.3 * (1.0 if state["pressed"] else travel),
            "done": 0.5 * float(success),
        }
        return Outcome(terms, success, failure, phase)

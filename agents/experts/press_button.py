"""How to press a button."""

from __future__ import annotations

from typing import ClassVar

from training_ground.agents.experts.expert import CannotReach, Expert, Steps

TRIES = 4
HOLD_S = 0.24
"""s for which the button is held down: who looks, and who learns from it, sees it pressed before the hand leaves."""


class PressButton(Expert):
    """Point, come straight in front of the button, push until it is pressed, draw back; else try the other hand."""

    waist: ClassVar[bool] = True

    def procedure(self) -> Steps:
        """Press the button that the task names."""
        button = f"panel.{self.task.goal}"
        side = self.nearest(button)
        for self.attempt in range(TRIES):
            try:
                yield from self.press(side, button, hold=HOLD_S)
            except CannotReach:
                if self.attempt == TRIES - 1:
                    raise
            if self.task.state.values["pressed"]:
                return
            yield from self.retreat(side)
            side = "left" if side == "right" else "right"

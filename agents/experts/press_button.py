"""How to press a button."""

from __future__ import annotations

from training_ground.agents.experts.expert import Expert, Steps, around, back


class PressButton(Expert):
    """Point, come straight in front of the button, push until it is pressed, draw back."""

    def procedure(self) -> Steps:
        """Press the button that the task names."""
        button = f"panel.{self.task.goal}"
        side = self.nearest(button)
        yield from self.point(side)
        front = self.choose(side, around(self.frame(button), 12), to=button)
        yield from self.travel(side, back(front, 0.08), to=f"in front of {button}")
        yield from self.move(side, back(front, 0.02), to=f"close to {button}")
        yield from self.guarded(
            side, front.rotation[:, 2], 0.04, to=button, speed=0.04, until=lambda: self.task.travel(button) > 0.9
        )
        yield from self.move(side, back(front, 0.08), to=f"away from {button}")

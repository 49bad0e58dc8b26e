"""How to press a button."""

from __future__ import annotations

from training_ground.agents.experts.expert import CannotReach, Expert, Steps, around, back

TRIES = 4


class PressButton(Expert):
    """Point, come straight in front of the button, push until it is pressed, draw back; else try the other hand."""

    def procedure(self) -> Steps:
        """Press the button that the task names."""
        button = f"panel.{self.task.goal}"
        side = self.nearest(button)
        for self.attempt in range(TRIES):
            try:
                yield from self.press(side, button)
            except CannotReach:
                if self.attempt == TRIES - 1:
                    raise
            if self.task.state.values["pressed"]:
                return
            yield from self.away(side)
            side = "left" if side == "right" else "right"

    def press(self, side: str, button: str) -> Steps:
        """Press it once with one hand."""
        yield from self.point(side)
        front = self.choose(side, around(self.frame(button), 12), to=button)
        yield from self.travel(side, back(front, 0.08), to=f"in front of {button}")
        yield from self.move(side, back(front, 0.02), to=f"close to {button}")
        yield from self.settle(side, back(front, 0.02))

        def pressed() -> bool:
            return self.task.travel(button) > 0.9

        yield from self.guarded(side, front.rotation[:, 2], 0.04, to=button, speed=0.04, until=pressed)
        yield from self.move(side, back(front, 0.08), to=f"away from {button}")

    def away(self, side: str) -> Steps:
        """Take a hand out of the other one's way."""
        arm = self.arms[side]
        way = arm.way(arm.chain.default, self.wanted)
        if way is not None:
            yield from self.along(arm, way, 1.0)

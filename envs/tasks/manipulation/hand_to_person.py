"""HandToPerson: a tool held out to a person, and let go when they pull."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training_ground.configs.errors import SimulationError
from training_ground.envs.cell_task import CellConfig, CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.receiving import STATES, Receiver
from training_ground.envs.rewards import near
from training_ground.envs.safety.options import SafetyOptions
from training_ground.envs.task import Outcome

LIFTED = 0.05
"""m over the bench from which on the tool is held out."""
CLEAR = 0.08
"""m from the middle of the handle at which the robot's hand is out of the person's way."""
MOST_FORCE = 40.0
"""N on a hand."""


class HandToPersonConfig(CellConfig):
    """Keyword arguments of HandToPerson."""

    safety: SafetyOptions = SafetyOptions(stops=("contact",))
    """Of the safety monitor. Hands that meet keep no distance: here force is limited, not separation."""


class HandToPerson(CellTask):
    """Take a tool from the bench, hold it out to a person across it, let go when they pull.

    Template 32 of the catalogue: a tool of 0.3 kg that stands on its foot, a shaft below and a flat handle above. The
    person reaches for the handle when it has been within their reach for a while, at rest, upright, its narrow side
    across their hand (both to 20°) and the robot's hand 8 cm away from it. Their thumb and fingers hold it by friction,
    and they pull with 6 to 9 N, for 4 s at most. Tool, place and turn of the person, mass, friction, the pull and when
    it comes are drawn anew in each episode.

    **Success** holds once the person has had the tool in their hand for 0.5 s, drawn away by 8 cm and at rest, touched
    by no robot, its hand 8 cm away. The episode fails with `slip` when the tool falls, with `let_go` when the robot
    lets go before the person pulls, with `held_on` when it does not for 4 s, with `over_force` when a hand meets more
    than 40 N, and with `unsafe` when a part of the person's body bears more than its limit.

    **Tiers.** `tight`: a tool of 0.5 kg whose handle is shorter and broader, so that there is less room for two hands.
    `flow`: mirrored, and the tool stands askew, so that it must be turned to the person. `disturbed`: oily tools
    (friction 0.45 to 0.55), masses ±30 %, a person who looks up late, pulls with 5 to 10 N, and in every second
    episode draws back once before they take it.

    **Reward**, at most 1 a step: hand near the tool, tool lifted, tool near the person's hand and turned to it, person
    has it, the whole once done.
    """

    id = "HandToPerson"
    instruction = "Hand the tool to the person, handle first, and let go when they pull."
    stances = ("mounted",)  # on its feet its hands sway, and begin beside the tool
    cell = "counter_station"
    objects = ("tool", "tool.handle", "arm.palm")
    places = ("arm.front",)
    terms = ("reach", "lift", "present", "give", "done")
    failures: ClassVar[tuple[str, ...]] = ("slip", "let_go", "held_on", "over_force", "unsafe")
    phases = ("approach", "grasp", "lift", "present", "give", "release")
    episode_length_s = 20.0
    config_type = HandToPersonConfig

    def __init__(self, config: Any, env: Any) -> None:
        super().__init__(config, env)
        spec = self.place.spec.receiver
        if spec is None:
            raise SimulationError(f"cell '{self.place.spec.name}': nobody receives; task '{self.id}' needs a receiver")
        self.receiver = Receiver(spec, self.place)

    def channels(self) -> tuple[Channel, ...]:
        """What the person does, besides."""
        text = f"What the person does: {', '.join(f'{i} {name}' for i, name in enumerate(STATES))}."
        pull = "How hard the person pulls."
        return (
            *super().channels(),
            Channel("person_state", (), "1", "none", "state", text),
            Channel("person_pull", (), "N", "none", "state", pull),
        )

    def values(self) -> dict[str, Any]:
        """What the person does, besides."""
        state = float(STATES.index(self.receiver.state))
        return {**super().values(), "person_state": state, "person_pull": self.receiver.progress.pull}

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """How the person goes about it, besides."""
        return {**super().draw(generator), "receiver": self.receiver.draw(generator)}

    def reset(self, generator: np.random.Generator) -> None:
        """Remember how high the tool stands; the person's hand is drawn back."""
        super().reset(generator)
        self.receiver.reset()
        self.state.values.update(floor=self.place.frame("tool").position[2], pulled=0.0, pulling_s=0.0)

    def before_step(self) -> None:
        """The person goes on as well."""
        super().before_step()
        offered = self.lifted > LIFTED and self.touches("tool") and self.grip_distance("tool.handle") > CLEAR
        self.receiver.update(self.env.drawn["receiver"], self.env.control_timestep, offered=offered)

    @property
    def lifted(self) -> float:
        """How far the tool is over where it stood, m."""
        return self.place.frame("tool").position[2] - self.state.values["floor"]

    def save(self) -> Any:
        """How far the person has come, besides."""
        return super().save(), self.receiver.save()

    def restore(self, saved: Any) -> None:
        """Return to what `save` gave."""
        rest, progress = saved
        super().restore(rest)
        self.receiver.restore(progress)

    def metrics(self) -> dict[str, float]:
        """The hardest pull, N, for how long the robot held on to it, s, and whether the person drew back, besides."""
        state = self.state.values
        found = {"pull": state["pulled"], "held_on": state["pulling_s"]} if state["pulling_s"] else {}
        return {**super().metrics(), **found, "drawn_back": float(self.receiver.progress.hesitated)}

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        state, person, touched = self.state.values, self.receiver.state, self.touches("tool")
        if person == "pulls":
            state["pulled"] = max(state["pulled"], self.receiver.progress.pull)
            state["pulling_s"] += self.env.control_timestep * float(touched)
        has, lifted = person == "has" and not touched, self.lifted
        apart, handle = self.grip_distance("tool.middle"), self.grip_distance("tool.handle")
        success = self.done(has and self.receiver.holds() and self.at_rest("tool") and handle > CLEAR)
        if person == "has":
            phase = "release"
        elif person in ("grips", "pulls"):
            phase = "give"
        elif not touched:
            phase = "approach"
        elif lifted < 0.01:
            phase = "grasp"
        else:
            phase = "lift" if person == "waits" and not self.receiver.presented() else "present"
        given = person in ("pulls", "has")
        presented = near(self.distance("tool.handle", "arm.front"), 0.2) * (1.0 if self.receiver.presented() else 0.5)
        terms = {
            "reach": 0.1 * (1.0 if given else near(max(apart - 0.05, 0.0), 0.2)),
            "lift": 0.2 * (1.0 if given else min(max(lifted / 0.1, 0.0), 1.0)),
            "present": 0.2 * (1.0 if given else presented if lifted > LIFTED else 0.0),
            "give": 0.2 * float(has),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, self._failure(person, touched), phase)

    def _failure(self, person: str, touched: bool) -> str | None:
        """What has gone wrong, if anything has."""
        lost = not touched and not self.receiver.holds()
        if lost and (self.lean("tool") > 1.0 or self.lifted < -0.05):
            return "slip"
        if person == "grips" and not touched:
            return "let_go"
        if person == "gave_up":
            return "held_on"
        return "over_force" if self.steady("force", self.largest_force()) > MOST_FORCE else None

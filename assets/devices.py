"""Factory logic over objects: sensors that watch joints, and machines that run while their interlock allows it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training_ground.assets.mechanisms import UNLIMITED, Name
from training_ground.assets.objects import Share
from training_ground.assets.spec import Positive
from training_ground.configs.errors import unknown
from training_ground.configs.loading import StrictModel

Part = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]
"""`object.piece`: a piece, or the joint that moves it."""


class Sensor(StrictModel):
    """A signal that is true while a joint is where it should be: a button pressed, a door shut, a scale loaded."""

    joint: Part
    above: float | None = None
    """Lowest value at which it is true; no bound where absent."""
    below: float | None = None
    """Highest value at which it is true."""
    measure: Literal["travel", "position", "load"] = "travel"
    """`travel`: share of the way from the lower to the upper limit; `position`: m or rad; `load`: kg that lie on a
    scale, a piece that slides down on a spring."""

    @model_validator(mode="after")
    def _bounded(self) -> Sensor:
        bounds = [bound for bound in (self.above, self.below) if bound is not None]
        if not bounds:
            raise ValueError("above, below: at least one is needed")
        if bounds != sorted(bounds):
            raise ValueError(f"above = {self.above:g}, below = {self.below:g}: above must not exceed below")
        for bound in bounds:
            if self.measure == "travel" and not 0 <= bound <= 1:
                raise ValueError(f"a bound of {bound:g}: a share of the travel lies between 0 and 1")
        return self


class Move(StrictModel):
    """Where a motor brings a joint while its machine runs, m or rad, and otherwise."""

    to: float
    rest: float | None = None
    """Where it goes when the machine is done, and waits; where absent the motor lets go."""
    effort: Positive = UNLIMITED
    """N or N·m."""
    speed: Positive = UNLIMITED
    """m/s or rad/s."""


class Machine(StrictModel):
    """Runs for one cycle when its start signal comes, as long as everything that it needs is there."""

    start: Name
    """The signal whose rise starts it."""
    needs: tuple[Name, ...] = ()
    """Its interlock: signals without which it refuses to start, and stops."""
    cycle_s: Positive
    moves: dict[Part, Move] = Field(default_factory=dict)
    """By the joint that each moves."""
    lamp: Part | None = None
    """A piece that shows its state to cameras: grey idle, green running, white done, red stopped."""


class Light(StrictModel):
    """A piece that shines while a signal is true."""

    signal: Name
    colour: tuple[Share, Share, Share]
    """Red, green, blue."""


class DeviceSpec(StrictModel):
    """The sensors, machines and signal lights of a cell."""

    sensors: dict[Name, Sensor]
    """By the signal that each gives."""
    machines: dict[Name, Machine] = Field(default_factory=dict)
    lights: dict[Part, Light] = Field(default_factory=dict)
    """By the piece that shines."""

    @model_validator(mode="after")
    def _connected(self) -> DeviceSpec:
        moved: dict[str, str] = {}
        for name, machine in self.machines.items():
            if name in self.sensors:
                raise ValueError(f"'{name}' names a sensor and a machine")
            for signal in (machine.start, *machine.needs):
                if signal not in self.sensors:
                    raise ValueError(f"machine '{name}': {unknown('signal', signal, self.sensors)}")
            for joint in machine.moves:
                if joint in moved:
                    raise ValueError(f"joint '{joint}': machines '{moved[joint]}' and '{name}' both move it")
                moved[joint] = name
        for name, light in self.lights.items():
            if light.signal not in self.sensors:
                raise ValueError(f"light '{name}': {unknown('signal', light.signal, self.sensors)}")
        return self

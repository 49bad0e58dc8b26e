"""Sensors and machines at work: the factory logic of a cell, updated once a control step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training_ground.assets.devices import DeviceSpec, Machine, Sensor
from training_ground.assets.dynamics import GRAVITY
from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs.world.thing import Thing

LAMPS = {
    "idle": (0.35, 0.35, 0.35),
    "running": (0.1, 0.8, 0.2),
    "done": (0.95, 0.95, 0.9),
    "stopped": (0.9, 0.1, 0.1),
}
"""Colour (red, green, blue) of a machine's lamp by its state."""

DARK = (0.25, 0.25, 0.25)
"""Colour of a light that is off."""


@dataclass
class MachineState:
    """What a machine does: `state` is a key of `LAMPS`; `refused` counts starts that its interlock forbade."""

    state: str = "idle"
    elapsed_s: float = 0.0
    refused: int = 0
    cycles: int = 0


class Devices:
    """The sensors and machines of a cell.

    Args:
        spec: What there is.
        things: The objects by the names that the specification uses.

    Attributes:
        signals: What each sensor says.
        machines: What each machine does.

    Raises:
        SimulationError: An object, a joint or a piece that is not there, or a position beyond a joint's limits.
    """

    def __init__(self, spec: DeviceSpec, things: Mapping[str, Thing]) -> None:
        self.spec = spec
        self._things = things
        for sensor in spec.sensors.values():
            self._joint(sensor.joint)
        for name, machine in spec.machines.items():
            for joint, move in machine.moves.items():
                thing, piece = self._joint(joint)
                mechanism = thing.spec.mechanisms[piece]
                for field, position in (("to", move.to), ("rest", move.rest)):
                    if position is not None and not mechanism.lower <= position <= mechanism.upper:
                        raise SimulationError(
                            f"machine '{name}', moves, {joint}, {field} = {position:g}: must lie within "
                            f"{mechanism.lower:g} and {mechanism.upper:g}"
                        )
            if machine.lamp is not None:
                self._part(machine.lamp)
        for piece in spec.lights:
            self._part(piece)
        for name, sensor in spec.sensors.items():
            if sensor.measure == "load":
                self._require_scale(name, sensor)
        self.signals: dict[str, bool] = {}
        self.machines: dict[str, MachineState] = {}
        self.reset()

    def reset(self) -> None:
        """Start over with idle machines, their motors at rest; call it when the objects have been placed."""
        self.signals = self._sense()
        self.machines = {name: MachineState() for name in self.spec.machines}
        for name, machine in self.spec.machines.items():
            self._command(machine, self.machines[name].state)
        self._shine()

    def update(self, dt: float) -> None:
        """Read the sensors after a control step of `dt` seconds, and let every machine go on."""
        before, self.signals = self.signals, self._sense()
        for name, machine in self.spec.machines.items():
            now, state = self.machines[name], self.machines[name].state
            allowed = all(self.signals[signal] for signal in machine.needs)
            if state == "running":
                now.elapsed_s += dt
                if not allowed:
                    now.state = "stopped"
                elif now.elapsed_s >= machine.cycle_s - 1e-9:  # rounding must not add a control step
                    now.state = "done"
                    now.cycles += 1
            elif self.signals[machine.start] and not before[machine.start]:
                if allowed:
                    now.state, now.elapsed_s = "running", 0.0
                else:
                    now.refused += 1
                    now.state = "stopped" if state == "stopped" else "idle"
            if now.state != state:
                self._command(machine, now.state)
        if self.signals != before:
            self._shine()

    def values(self) -> dict[str, bool | str | int]:
        """Every signal; every machine's state by its name, and `<name>.refused` and `<name>.cycles`."""
        result: dict[str, bool | str | int] = dict(self.signals)
        for name, machine in self.machines.items():
            result |= {name: machine.state, f"{name}.refused": machine.refused, f"{name}.cycles": machine.cycles}
        return result

    def save(self) -> dict[str, Any]:
        """Plain data for `restore`; the motors are part of the world's own state."""
        return {
            "signals": dict(self.signals),
            "machines": {name: asdict(machine) for name, machine in self.machines.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to what `save` gave; the world must be restored too."""
        self.signals = dict(state["signals"])
        self.machines = {name: MachineState(**machine) for name, machine in state["machines"].items()}
        for name, machine in self.spec.machines.items():
            self._show(machine, self.machines[name].state)
        self._shine()

    def load(self, joint: str) -> float:
        """What lies on a scale, kg: what its spring carries more than the pan's own weight. `joint` as in a sensor."""
        thing, piece = self._joint(joint)
        mechanism, pan = thing.spec.mechanisms[piece], thing.spec.piece(piece)
        return mechanism.spring * (thing.joint_position[piece] - mechanism.rest) / GRAVITY - pan.mass

    def _sense(self) -> dict[str, bool]:
        return {name: self._true(sensor) for name, sensor in self.spec.sensors.items()}

    def _true(self, sensor: Sensor) -> bool:
        thing, piece = self._joint(sensor.joint)
        value = thing.joint_position[piece]
        if sensor.measure == "load":
            value = self.load(sensor.joint)
        elif sensor.measure == "travel":
            mechanism = thing.spec.mechanisms[piece]
            value = (value - mechanism.lower) / (mechanism.upper - mechanism.lower)
            value = min(max(value, 0.0), 1.0)  # the engine lets a joint a little beyond its limits
        return (sensor.above is None or value >= sensor.above) and (sensor.below is None or value <= sensor.below)

    def _command(self, machine: Machine, state: str) -> None:
        """Drive a machine's motors as its state wants, and show that."""
        for joint, move in machine.moves.items():
            thing, piece = self._joint(joint)
            mechanism = thing.spec.mechanisms[piece]
            here = min(max(thing.joint_position[piece], mechanism.lower), mechanism.upper)
            goal = {"running": move.to, "stopped": here}.get(state, move.rest)
            thing.drive_to(piece, goal, effort=move.effort, speed=move.speed)
        self._show(machine, state)

    def _show(self, machine: Machine, state: str) -> None:
        if machine.lamp is not None:
            thing, piece = self._part(machine.lamp)
            thing.paint(piece, LAMPS[state])

    def _shine(self) -> None:
        for name, light in self.spec.lights.items():
            thing, piece = self._part(name)
            thing.paint(piece, light.colour if self.signals[light.signal] else DARK)

    def _require_scale(self, name: str, sensor: Sensor) -> None:
        thing, piece = self._joint(sensor.joint)
        mechanism = thing.spec.mechanisms[piece]
        if mechanism.kind != "slide" or mechanism.direction[2] > -0.999 or not mechanism.spring or mechanism.friction:
            raise SimulationError(
                f"sensor '{name}': joint '{sensor.joint}' weighs nothing: a scale slides down (axis [0, 0, -1]) on a "
                "spring, without friction"
            )

    def _part(self, name: str) -> tuple[Thing, str]:
        owner, _, piece = name.partition(".")
        if owner not in self._things:
            raise SimulationError(f"'{name}': {unknown('object', owner, self._things)}")
        thing = self._things[owner]
        if piece not in thing.link_names:
            raise SimulationError(f"'{name}': {unknown('piece', piece, thing.link_names)}")
        return thing, piece

    def _joint(self, name: str) -> tuple[Thing, str]:
        thing, piece = self._part(name)
        if piece not in thing.joint_names:
            raise SimulationError(f"'{name}': {unknown('joint', piece, thing.joint_names)}")
        return thing, piece

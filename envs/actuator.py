"""The actuator model: what stands between a commanded target and the torque that a joint receives.

Per physics step and joint, with the command c = (target position, feedforward torque) of `delay` physics steps ago:

    wanted = kp · (target − q) − kd · q̇ + feedforward
    upper  = clip(saturation · effort · (1 − q̇ / velocity), 0, effort)
    lower  = clip(saturation · effort · (1 + q̇ / velocity), 0, effort)
    torque = strength · clip(wanted, −lower, upper) − clip(damping · q̇, −friction, friction)

The limits are a direct-current motor's torque-speed line: what drives the motion falls from `effort` to zero at the
speed `velocity`, what brakes it keeps the full `effort`. Coulomb friction is smoothed by a ramp and not by tanh,
because a ramp has the same bits in every mathematics library: `envs/_actuator.c` repeats `Actuator.compute`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.model import CompiledModel
from training_ground.configs.errors import SimulationError, unknown

Array = NDArray[np.float64]

FRICTION_SPEED = 0.05
"""Speed in rad/s at which a motor's Coulomb friction is fully there; higher for joints so light that it would shake
them."""

FRICTION_SHARE = 0.5
"""Share of a joint's momentum that the friction ramp may take in one physics step; at 2 explicit damping diverges."""

ROWS = ("kp", "kd", "effort", "stall", "slope", "strength", "friction", "damping", "torque", "total")
"""Rows of `Actuator.rows`, in the order of `enum row` in `_actuator.c`."""

MAX_DELAY = 32
"""Physics steps by which a command can lag."""

CHANGES = ("kp_scale", "kd_scale", "motor_strength", "joint_friction", "delay_s")
"""Drawn changes that `ActuatorParameters.randomised` knows."""

_LOWEST = {"velocity": 1e-6, "saturation": 1.0, "inertia": 1e-12}


@dataclass(frozen=True, eq=False)
class ActuatorParameters:
    """Actuators of a robot, one entry a joint; `randomised` or `dataclasses.replace` gives changed ones.

    Attributes:
        kp: (n,) N·m/rad.  kd: (n,) N·m·s/rad.
        effort: (n,) torque limit, N·m.
        velocity: (n,) speed at which the torque-speed line reaches zero, rad/s; infinity for none.
        saturation: (n,) stall torque over torque limit, at least 1.
        friction: (n,) Coulomb friction, N·m.
        inertia: (n,) that a torque on the joint alone feels, kg·m²; bounds the slope of the friction.
        strength: (n,) share of the motor's torque that arrives at the joint; 1 is the nominal motor.
        delay: Whole physics steps between a command and its effect.
        friction_speed: Speed at which friction has its full force, where the inertia allows so steep a slope, rad/s.

    Raises:
        SimulationError: A value is not finite, is negative, or an array has another length than kp.
    """

    kp: Array
    kd: Array
    effort: Array
    velocity: Array
    saturation: Array
    friction: Array
    inertia: Array
    strength: Array
    delay: int = 0
    friction_speed: float = FRICTION_SPEED

    def __post_init__(self) -> None:
        """Refuse what would give a NaN or a wrong torque later."""
        for field in fields(self)[:-2]:
            values = getattr(self, field.name)
            if np.shape(values) != np.shape(self.kp):
                raise SimulationError(f"{field.name}: shape {np.shape(values)}, but kp has {np.shape(self.kp)}")
            low = _LOWEST.get(field.name, 0.0)
            high = np.inf if field.name == "velocity" else np.finfo(float).max
            right = (values >= low) & (values <= high)
            if not right.all():
                joint = int(right.argmin())
                raise SimulationError(f"{field.name}[{joint}] = {values[joint]}: must be a number of at least {low:g}")
        if not self.friction_speed > 0:
            raise SimulationError(f"friction_speed = {self.friction_speed}: must be above 0")
        if self.delay < 0 or self.delay != int(self.delay):
            raise SimulationError(f"delay = {self.delay}: must be a whole number of physics steps, 0 or more")

    @classmethod
    def from_model(cls, model: CompiledModel) -> ActuatorParameters:
        """Nominal actuators of a compiled robot.

        A slide has no torque-speed line: without its motor's inertia, which the engine cannot have, the line would
        feed it energy at any physics step in use. Its controller keeps the speed, see `Drive.target_speed`.
        """
        return cls(
            kp=model.kp,
            kd=model.kd,
            effort=model.effort_limit,
            velocity=np.where(np.isin(model.joint_names, model.sliding), np.inf, model.velocity_limit),
            saturation=model.saturation,
            friction=model.friction,
            inertia=model.effective_inertia,
            strength=np.ones_like(model.kp),
        )

    def randomised(self, drawn: Mapping[str, Any], timestep: float) -> ActuatorParameters:
        """Return parameters with drawn changes; what is not drawn stays.

        Args:
            drawn: Any of `kp_scale`, `kd_scale` and `motor_strength` (factors), `joint_friction` (N·m, added) and
                `delay_s` (s, added and rounded to whole physics steps); a number or one a joint (n,).
            timestep: Physics step, s.

        Raises:
            SimulationError: An unknown name, or a value that makes a parameter invalid.
        """
        changes: dict[str, Any] = {}
        for name, value in drawn.items():
            if name == "kp_scale":
                changes["kp"] = self.kp * value
            elif name == "kd_scale":
                changes["kd"] = self.kd * value
            elif name == "motor_strength":
                changes["strength"] = self.strength * value
            elif name == "joint_friction":
                changes["friction"] = self.friction + value
            elif name == "delay_s":
                changes["delay"] = self.delay + round(float(value) / timestep)
            else:
                raise SimulationError(unknown("actuator change", name, CHANGES))
        return replace(self, **changes)


@dataclass(frozen=True, eq=False)
class ActuatorState:
    """What an actuator remembers from step to step; parameters are not among it."""

    command: Array
    history: Array
    line: NDArray[np.int64]
    torque: Array


class Actuator:
    """The actuators of one robot: parameters, the delay line and the arithmetic.

    Attributes:
        target: (n,) commanded joint positions, rad; write into it.
        feedforward: (n,) commanded torque that is added, N·m; write into it.
        torque: (n,) torque that `compute` gave last, N·m.  total: (n,) its sum since somebody set it to zero.
        command: (2, n) target and feedforward together.
        rows, history, line: (10, n), (max_delay + 1, 2, n), (3,): buffers that `_actuator.c` shares.

    Args:
        parameters: The robot's actuators.
        timestep: Physics step, s.
        max_delay: Longest delay that `configure` will accept, physics steps.
    """

    def __init__(self, parameters: ActuatorParameters, timestep: float, max_delay: int = MAX_DELAY) -> None:
        joints = len(parameters.kp)
        self.timestep = timestep
        self.rows: Array = np.zeros((len(ROWS), joints))
        self.command: Array = np.zeros((2, joints))
        self.history: Array = np.zeros((max_delay + 1, 2, joints))
        self.line: NDArray[np.int64] = np.array([0, 0, max_delay + 1], dtype=np.int64)  # cursor, delay, length
        self.target, self.feedforward = self.command
        self._kp, self._kd, self._strength = self.rows[0], self.rows[1], self.rows[5]
        self.torque, self.total = self.rows[8:]
        # The upper limit, the lower limit and the friction are clipped lines over the speed: all three at once.
        self._slope, self._offset, self._floor, self._ceiling, self._lines = np.zeros((5, 3, joints))
        self._damping_torque = np.zeros(joints)
        self.configure(parameters)

    def configure(self, parameters: ActuatorParameters) -> None:
        """Take other parameters of the same joints, as randomisation does at a reset.

        Raises:
            SimulationError: The delay is longer than `max_delay`, or the number of joints is another.
        """
        p = parameters
        if p.kp.shape != self.target.shape:
            raise SimulationError(f"kp: shape {p.kp.shape}, but the actuator has {self.target.shape}")
        if p.delay >= self.line[2]:
            raise SimulationError(f"delay = {p.delay}: must be at most {self.line[2] - 1} physics steps")
        stall = p.saturation * p.effort
        damping = np.minimum(p.friction / p.friction_speed, FRICTION_SHARE * p.inertia / self.timestep)
        self.rows[:8] = (p.kp, p.kd, p.effort, stall, stall / p.velocity, p.strength, p.friction, damping)
        self._slope[:] = -self.rows[4], -self.rows[4], damping
        self._offset[:] = stall, -stall, np.zeros_like(stall)
        self._floor[:] = np.zeros_like(stall), -p.effort, -p.friction
        self._ceiling[:] = p.effort, np.zeros_like(stall), p.friction
        self.line[1] = p.delay
        self.parameters = parameters

    def set_position_control(self, enabled: bool) -> None:
        """Switch the gains on, or to zero: then `feedforward` alone commands the motors."""
        self._kp[:] = self.parameters.kp if enabled else 0.0
        self._kd[:] = self.parameters.kd if enabled else 0.0

    def reset(self, target: Array) -> None:
        """Start over, as if `target` (n,) in rad had been commanded for ever, without feedforward."""
        self.target[:] = target
        self.feedforward[:] = 0.0
        self.torque[:] = 0.0
        self.total[:] = 0.0
        self.history[:] = self.command
        self.line[0] = 0

    def compute(self, position: Array, velocity: Array) -> Array:
        """Advance the delay line by one physics step and return the torque.

        Args:
            position: (n,) joint positions, rad.
            velocity: (n,) joint velocities, rad/s.

        Returns:
            (n,) N·m: the array `torque`, which the next call overwrites.
        """
        cursor, delay, length = self.line.tolist()
        history, torque, lines = self.history, self.torque, self._lines
        history[cursor] = self.command
        target, feedforward = history[cursor - delay]  # a negative index counts from the end: the line is a ring
        self.line[0] = (cursor + 1) % length

        np.multiply(self._slope, velocity, out=lines)
        np.add(lines, self._offset, out=lines)
        np.maximum(lines, self._floor, out=lines)
        np.minimum(lines, self._ceiling, out=lines)
        upper, lower, friction = lines

        np.subtract(target, position, out=torque)
        np.multiply(torque, self._kp, out=torque)
        np.subtract(torque, np.multiply(self._kd, velocity, out=self._damping_torque), out=torque)
        np.add(torque, feedforward, out=torque)
        np.maximum(torque, lower, out=torque)
        np.minimum(torque, upper, out=torque)
        np.multiply(torque, self._strength, out=torque)
        np.subtract(torque, friction, out=torque)
        np.add(torque, 0.0, out=torque)  # makes -0.0 a 0.0: which zero a minimum returns differs between processors
        self.total += torque
        return torque

    def save(self) -> ActuatorState:
        """Everything that `restore` needs to continue with the same bits, but for the parameters."""
        return ActuatorState(self.command.copy(), self.history.copy(), self.line.copy(), self.torque.copy())

    def restore(self, state: ActuatorState) -> None:
        """Return to what `save` gave."""
        self.command[:], self.history[:], self.line[:] = state.command, state.history, state.line
        self.torque[:] = state.torque

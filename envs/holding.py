"""What acts on an object's joint in place of its spring, damping and friction: a catch, a lock, a motor, or friction
that sticks.

Each is the joint's actuator with other numbers. A hold is stiff PD with a limit on its effort; a motor under way has a
derivative gain only and a commanded speed, and holds where it has arrived. Friction that sticks is a hold with the
friction as its effort; what gives way drags its place along, as a bristle does. Without it light joints would creep:
the actuator's friction is a ramp over the speed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training_ground.assets.mechanisms import UNLIMITED, Catch, Mechanism
from training_ground.configs.errors import SimulationError
from training_ground.envs.actuator import FRICTION_SHARE
from training_ground.envs.drive import Drive, Substeps

STIFFNESS, DAMPING = 0.5, 0.9
"""Gains of a hold in units of I/dt² and I/dt: 58 % of the stability bound, and an error falls to a third in each
physics step. Heavy things that hang on the joint only make it slower."""


@dataclass(frozen=True)
class Motor:
    """A joint's motor: where it goes, its limits, and where it should be by now (m, N, m/s or rad, N·m, rad/s)."""

    goal: float
    effort: float
    speed: float
    reference: float
    arrived: bool = False


class Holding:
    """Catches, locks and motors of one object; each list has one entry a joint. A lock goes before a motor, a motor
    before a catch.

    Args:
        name: The object's.
        joints: Its mechanisms by name, in the drive's order.
        drive: Has the parameters of the springs.
        substeps: Of the world.

    Attributes:
        caught: Catches that hold now.
        locked: Positions that are locked, m or rad.
        motors: Motors.
        stuck: Places where friction holds, m or rad.

    Raises:
        SimulationError: At the world's physics step a catch would be too soft for its width.
    """

    def __init__(self, name: str, joints: Mapping[str, Mechanism], drive: Drive, substeps: Substeps) -> None:
        self._joints, self._drive, self._substeps = list(joints.values()), drive, substeps
        self._own = own = drive.actuator.parameters
        self._kp = (STIFFNESS / substeps.timestep**2 * own.inertia).tolist()
        self._kd = (DAMPING / substeps.timestep * own.inertia).tolist()
        for i, (joint, mechanism) in enumerate(joints.items()):
            for catch in mechanism.catches:
                if catch.force > catch.width * self._kp[i]:
                    raise SimulationError(
                        f"'{name}', joint '{joint}', catch at = {catch.at:g}: force = {catch.force:g} and width = "
                        f"{catch.width:g}: at physics_timestep = {substeps.timestep:g} s it gives way by "
                        f"{catch.force / self._kp[i]:.2g} before it holds, which must be at most the width; lower "
                        "physics_timestep or force, widen it, or raise the piece's mass"
                    )
        self.caught: list[Catch | None] = [None] * len(joints)
        self.locked: list[float | None] = [None] * len(joints)
        self.motors: list[Motor | None] = [None] * len(joints)
        self.stuck: list[float | None] = [None] * len(joints)
        # A spring would go on acting while friction sticks, which a hold in its place does not.
        self._sticks = [joint.friction > 0.0 and joint.spring == 0.0 for joint in self._joints]
        if any(self._sticks) or any(mechanism.catches for mechanism in self._joints):
            substeps.after.append(self.look)

    def reset(self) -> None:
        """Unlock everything, stop every motor, and catch what stands in a catch."""
        count = len(self._joints)
        self.caught, self.locked, self.motors = [None] * count, [None] * count, [None] * count
        self.stuck = [None] * count
        self._apply()
        self.look()

    def save(self) -> tuple[Any, ...]:
        """Everything that `restore` needs beside the drive's own state."""
        return tuple(self.caught), tuple(self.locked), tuple(self.motors), tuple(self.stuck)

    def restore(self, state: tuple[Any, ...]) -> None:
        """Return to what `save` gave; the drive must be restored afterwards."""
        self.caught, self.locked, self.motors, self.stuck = (list(values) for values in state)
        self._require_prepare()
        self._apply()

    def resist(self, scale: float) -> None:
        """Scale the joints' own friction, by what their mechanisms say."""
        friction = np.array([joint.friction for joint in self._joints])
        self._own = replace(self._own, friction=scale * friction)
        self._apply()

    def lock(self, joint: int, on: bool) -> None:
        """Hold a joint where it is now, or let it go; what is locked already stays where it was locked."""
        here = self.locked[joint]
        if here is None:
            here = float(self._drive.position[joint])
        self.locked[joint] = here if on else None
        self._apply()
        self.look()

    def drive_to(self, joint: int, goal: float | None, effort: float, speed: float) -> None:
        """Give a joint a motor that goes to a position, or take it away."""
        now = self.motors[joint]
        if goal is None:
            self.motors[joint] = None
        else:
            start = now.reference if now else float(self._drive.position[joint])
            self.motors[joint] = Motor(goal, effort, speed, start)
            self.caught[joint] = None
        self._require_prepare()
        self._apply()
        self.look()

    def look(self) -> None:
        """See which catches hold by where the joints are now, and where friction sticks."""
        changed = False
        for i, joint in enumerate(self._joints):
            if self.locked[i] is not None or self.motors[i] is not None:
                self.stuck[i] = None
                continue
            position, now = float(self._drive.position[i]), self.caught[i]
            new = next((catch for catch in joint.catches if abs(position - catch.at) <= catch.width), None)
            # What holds is no spring: how far the gains let it give does not count against the width.
            if new is None and now and abs(position - now.at) <= now.width + now.force / self._kp[i]:
                new = now
            if new is not now:
                self.caught[i], changed = new, True
            before, self.stuck[i] = self.stuck[i], self._stick(i) if new is None and self._sticks[i] else None
            changed = changed or (before is None) != (self.stuck[i] is None)
            if self.stuck[i] is not None and before is not None:
                self._drive.actuator.target[i] = self.stuck[i]
        if changed:
            self._apply()

    def _stick(self, i: int) -> float | None:
        """Place where friction holds a joint; None where it slides too fast for that."""
        own, position = self._own, float(self._drive.position[i])
        friction = float(own.friction[i])
        ramp = max(own.friction_speed, friction * self._substeps.timestep / (FRICTION_SHARE * float(own.inertia[i])))
        if friction == 0.0 or abs(float(self._drive.velocity[i])) >= ramp:
            return None
        give, at = friction / self._kp[i], self.stuck[i]
        return position if at is None else min(max(at, position - give), position + give)

    def _require_prepare(self) -> None:
        if any(self.motors) and self._prepare not in self._substeps.before:
            self._substeps.before.append(self._prepare)

    def _prepare(self) -> None:
        """Command the motors for the advance that comes."""
        moved = [self._move(i, motor) for i, motor in enumerate(self.motors) if motor and self.locked[i] is None]
        if any(moved):
            self._apply()

    def _move(self, i: int, motor: Motor) -> bool:
        """Let a motor's reference go on, and command the speed that brings the joint there by the advance's end.

        What a load has slowed in one advance is added in the next, so that the speed comes out right under any load.

        Returns:
            Whether it arrived, or has been driven off.
        """
        time, position = self._substeps.duration, float(self._drive.position[i])
        stride = motor.speed * time
        if motor.arrived:
            if abs(motor.goal - position) <= stride + motor.effort * (time / self._kd[i] + 1.0 / self._kp[i]):
                return False
            motor = replace(motor, reference=position)
        elif motor.reference == motor.goal:
            self.motors[i] = replace(motor, arrived=True)
            return True
        # Only what its load explains is made up for, not what it lost when it started or stood before an obstacle.
        lag = abs(float(self._drive.actuator.torque[i])) / self._kd[i] * time
        near = position + min(max(motor.reference - position, -lag), lag)
        rest = motor.goal - near
        reference = motor.goal if abs(rest) <= stride else near + math.copysign(stride, rest)
        self._drive.actuator.feedforward[i] = self._kd[i] * (reference - position) / time
        self.motors[i] = replace(motor, reference=reference, arrived=False)
        return motor.arrived

    def _apply(self) -> None:
        """Give every joint's actuator the numbers of what acts on it."""
        own, actuator = self._own, self._drive.actuator
        kp, kd, effort, friction = own.kp.copy(), own.kd.copy(), own.effort.copy(), own.friction.copy()
        for i, joint in enumerate(self._joints):
            lock, motor, catch = self.locked[i], self.motors[i], self.caught[i]
            stuck = self.stuck[i]
            if lock is None and motor is None and catch is None and stuck is None:
                actuator.target[i], actuator.feedforward[i] = joint.rest, 0.0
                continue
            kp[i], kd[i], friction[i] = self._kp[i], self._kd[i], 0.0
            if lock is not None:
                effort[i], actuator.target[i], actuator.feedforward[i] = UNLIMITED, lock, 0.0
            elif motor is not None:
                effort[i], actuator.target[i] = motor.effort, motor.goal
                if motor.arrived:
                    actuator.feedforward[i] = 0.0
                else:  # `_move` commands its speed
                    kp[i] = 0.0
            elif catch is not None:
                effort[i], actuator.target[i], actuator.feedforward[i] = catch.force, catch.at, 0.0
            elif stuck is not None:
                effort[i], actuator.target[i], actuator.feedforward[i] = float(own.friction[i]), stuck, 0.0
        self._drive.set_parameters(replace(own, kp=kp, kd=kd, effort=effort, friction=friction))

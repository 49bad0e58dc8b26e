"""Physics substeps: the loop of state, torque and step, native where it can be, else in Python with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training_ground.envs.actuator import Actuator, ActuatorParameters, ActuatorState
from training_ground.envs.native import Stepper

Array = NDArray[np.float64]


class DrivenBody(Protocol):
    """What a drive asks of a body of the engine."""

    uid: int

    def degrees_of_freedom(self) -> list[int]:
        """Degree of freedom (n) of each actuated joint, counted from 0 after the base's."""
        ...

    def read_joints(self) -> tuple[Sequence[float], Sequence[float]]:
        """Joint positions (n), rad, and velocities (n), rad/s."""
        ...

    def read_frames(self, links: Sequence[int]) -> Sequence[Sequence[float]]:
        """Rows (13) of `Drive.frames`: the base's, then those of the links."""
        ...

    def set_torques(self, torques: Sequence[float]) -> None:
        """Set the joint torques (n), N·m, of the next physics step."""
        ...


@dataclass(frozen=True, eq=False)
class DriveState:
    """What `Drive.restore` needs beside the engine's own state."""

    actuator: ActuatorState
    position_control: bool
    torque: Array


class Drive:
    """The motors of one robot. Made by `Substeps.drive`; every array is refreshed in place.

    Attributes:
        actuator: The model that computes the torques.
        position: (n,) joint positions, rad.  velocity: (n,) joint velocities, rad/s.
        torque: (n,) joint torques, mean over the last advance, N·m.
        frames: (1 + links, 13) base, then the links asked for, world frame: position (m), orientation (xyzw), linear
            velocity (m/s), angular velocity (rad/s), of the **centre-of-mass principal frame**, as the engine has it.
        target_speed: (n,) how fast targets move at most, rad/s or m/s; None for as fast as they are commanded.
    """

    def __init__(self, substeps: Substeps, body: DrivenBody, parameters: ActuatorParameters, links: Sequence[int]):
        joints = len(parameters.kp)
        self.actuator = Actuator(parameters, substeps.timestep)
        self.position: Array = np.zeros(joints)
        self.velocity: Array = np.zeros(joints)
        self.torque: Array = np.zeros(joints)
        self.frames: Array = np.zeros((1 + len(links), 13))
        self.target_speed: Array | None = None
        self.body = body
        self.links = list(links)
        self._substeps = substeps
        self._position_control = True

    def advance(self, target: Array, substeps: int) -> None:
        """Simulate the world for `substeps` physics steps with joint targets (n), rad."""
        if not self._position_control:
            self._set_control(True)
            self.actuator.feedforward[:] = 0.0  # the torques of before have no say now
        if self.target_speed is not None and substeps:
            reach = self.target_speed * (substeps * self._substeps.timestep)
            target = np.clip(target, self.actuator.target - reach, self.actuator.target + reach)
        self.actuator.target[:] = target
        self._substeps.advance(substeps)

    def advance_torque(self, torque: Array, substeps: int) -> None:
        """Simulate the world for `substeps` physics steps with commanded torques (n), N·m, and no gains."""
        if self._position_control:
            self._set_control(False)
        self.actuator.feedforward[:] = torque
        self._substeps.advance(substeps)

    def read(self) -> None:
        """Refresh `position`, `velocity` and `frames`, after anything but an advance has changed the world."""
        self._substeps.advance(0)

    def set_parameters(self, parameters: ActuatorParameters) -> None:
        """Take other parameters from the next physics step on."""
        self.actuator.configure(parameters)
        self.actuator.set_position_control(self._position_control)

    def reset(self) -> None:
        """Forget every command, as if the present joint positions had been the target for ever; reads the state."""
        self.read()
        self.actuator.reset(self.position)
        self.torque[:] = 0.0

    def save(self) -> DriveState:
        """Everything that `restore` needs, but for the parameters and the engine's own state."""
        return DriveState(self.actuator.save(), self._position_control, self.torque.copy())

    def restore(self, state: DriveState) -> None:
        """Return to what `save` gave, and read the state; the engine must have been restored before."""
        self.actuator.restore(state.actuator)
        self._set_control(state.position_control)
        self.torque[:] = state.torque
        self.read()

    def _set_control(self, position: bool) -> None:
        self._position_control = position
        self.actuator.set_position_control(position)


class Substeps:
    """Advances one world and the drives in it.

    Args:
        timestep: Physics step, s.
        step: Advances the engine by one physics step.
        stepper: The native loop over the same engine, or None for Python.

    Attributes:
        before, after: Called before and after each advance, in order.
        each: Called after each physics step: for what the last one of an advance does not tell, such as the peak of a
            force. It costs a return to Python a step; where it is empty, nothing.
        duration: Length of the advance under way, s.
    """

    def __init__(self, timestep: float, step: Callable[[], None], stepper: Stepper | None = None) -> None:
        self.timestep = timestep
        self._step = step
        self._stepper = stepper
        self._drives: list[Drive] = []
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []
        self.each: list[Callable[[], None]] = []
        self.duration = 0.0

    @property
    def backend(self) -> str:
        """`native`, or `numpy` where the loop runs in Python."""
        return "numpy" if self._stepper is None else "native"

    def drive(self, body: DrivenBody, parameters: ActuatorParameters, links: Sequence[int] = ()) -> Drive:
        """Put actuators on a body, and read its state.

        Args:
            body: Its default motors must be off.
            parameters: One entry for each actuated joint (n).
            links: The engine's numbers of the links that `Drive.frames` shall have after the base.
        """
        drive = Drive(self, body, parameters, links)
        if self._stepper is not None:
            buffers = (drive.position, drive.velocity, drive.frames)
            self._stepper.add(body.uid, body.degrees_of_freedom(), drive.links, drive.actuator, *buffers)
        self._drives.append(drive)
        drive.reset()
        return drive

    def remove(self, drive: Drive) -> None:
        """Take the actuators off a body; must come before the engine removes the body."""
        self._drives.remove(drive)
        if self._stepper is not None:
            self._stepper.remove(drive.body.uid)

    def advance(self, substeps: int) -> None:
        """Simulate physics steps, each with fresh torques from every drive, then refresh every drive's arrays.

        With 0 it only reads.

        Raises:
            SimulationError: The engine gives no state of a body or of one of its links.
        """
        if substeps:
            self.duration = substeps * self.timestep
            for prepare in self.before:
                prepare()
            for drive in self._drives:
                drive.actuator.total.fill(0.0)
        if self.each:
            for _ in range(substeps):
                self._run(1)
                for look in self.each:
                    look()
        if not self.each or not substeps:
            self._run(substeps)
        if substeps:
            for drive in self._drives:
                np.divide(drive.actuator.total, substeps, out=drive.torque)
            for look in self.after:
                look()

    def _run(self, substeps: int) -> None:
        if self._stepper is not None:
            self._stepper.advance(substeps)
        else:
            self._advance_in_python(substeps)

    def _advance_in_python(self, substeps: int) -> None:
        for _ in range(substeps):
            for drive in self._drives:
                drive.position[:], drive.velocity[:] = drive.body.read_joints()
                drive.body.set_torques(drive.actuator.compute(drive.position, drive.velocity).tolist())
            self._step()
        for drive in self._drives:
            drive.position[:], drive.velocity[:] = drive.body.read_joints()
            drive.frames[:] = drive.body.read_frames(drive.links)

    def close(self) -> None:
        """Let go of the engine's client."""
        self._stepper = None

"""An object in a world: a part, a bench, a drawer, a belt."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training_ground.assets.dynamics import gain_share, largest_timestep
from training_ground.assets.objects import UNLIMITED, ObjectSpec
from training_ground.configs.errors import SimulationError
from training_ground.envs import rotations
from training_ground.envs.actuator import ActuatorParameters
from training_ground.envs.drive import Drive
from training_ground.envs.states import LinkState
from training_ground.envs.world.engine import engine
from training_ground.envs.world.solid import Solid

if TYPE_CHECKING:
    from training_ground.envs.world.scene import World

_FRICTION_SPEED = 1e-3
"""m/s or rad/s: what friction holds creeps no faster."""


class Thing(Solid):
    """An object in a world.

    Attributes:
        spec: What it is.
        drive: Springs, dampers and friction of its joints, and their state after the last advance; None where it has
            no joint. Positions in m or rad, forces in N or N·m, in the order of `joint_names`.
    """

    def __init__(
        self, world: World, spec: ObjectSpec, name: str, *, fixed: bool, visuals: bool, position: Sequence[float]
    ) -> None:
        self.spec = spec
        mechanisms = spec.mechanisms
        with tempfile.TemporaryDirectory() as folder:
            path = spec.write(Path(folder), visuals=visuals)
            super().__init__(world, path, name, spec.pieces[0].name, tuple(mechanisms), fixed=fixed, position=position)
        for piece in spec.pieces:
            self._set_surface(self._link(piece.name), piece.friction, piece.inertia().principal()[1].tolist())
        self._at_rest = (tuple(position), (0.0, 0.0, 0.0, 1.0))
        self._surface_speed = (0.0, 0.0, 0.0)
        self.drive: Drive | None = None
        if mechanisms:
            parameters = _parameters(spec)
            self._require_stable(parameters)
            self.drive = world.substeps.drive(self, parameters)

    @property
    def state(self) -> LinkState:
        """Pose and velocity of the base's frame now."""
        return self._frame_of(self.read_frames(())[0], 0)

    @property
    def joint_position(self) -> dict[str, float]:
        """Position of each joint after the last advance, m or rad."""
        return {} if self.drive is None else dict(zip(self.joint_names, self.drive.position.tolist(), strict=True))

    def place(self, position: Sequence[float], orientation: Sequence[float] = (0.0, 0.0, 0.0, 1.0)) -> None:
        """Put it somewhere, at rest, its joints where their springs leave them: (3,) m and (4,) xyzw."""
        self.set_base(position, orientation)
        self._at_rest = (tuple(position), tuple(orientation))
        if self.drive is not None:
            joints = self.spec.mechanisms.values()
            self.set_joints([min(max(joint.rest, joint.lower), joint.upper) for joint in joints])
            self.drive.reset()
            self.drive.actuator.reset(np.array([joint.rest for joint in joints]))

    def set_mass(self, scale: float = 1.0) -> None:
        """Scale mass and inertia of every piece that can move; 1 is the specification's."""
        for piece in self.spec.pieces[self.fixed :]:
            moments = [scale * moment for moment in piece.inertia().principal()[1].tolist()]
            engine.changeDynamics(
                self.uid,
                self._link(piece.name),
                mass=scale * piece.mass,
                localInertiaDiagonal=moments,
                physicsClientId=self._client,
            )

    def set_friction(self, friction: float | None = None) -> None:
        """Give every piece a Coulomb coefficient; None its own again."""
        for piece in self.spec.pieces:
            value = piece.friction if friction is None else friction
            engine.changeDynamics(self.uid, self._link(piece.name), lateralFriction=value, physicsClientId=self._client)

    def _require_stable(self, parameters: ActuatorParameters) -> None:
        """Refuse a spring or damper that would feed itself energy at the world's physics step."""
        timestep = self.world.timestep
        share = gain_share(parameters.kp, parameters.kd, parameters.inertia, timestep)
        i = int(share.argmax())
        if share[i] >= 1.0:
            kp, kd, inertia = (float(values[i]) for values in (parameters.kp, parameters.kd, parameters.inertia))
            raise SimulationError(
                f"'{self.name}', joint '{self.joint_names[i]}': spring = {kp:g} and damping = {kd:g} use "
                f"{share[i]:.0%} of the stability bound at physics_timestep = {timestep:g} s; lower physics_timestep "
                f"to less than {largest_timestep(kp, kd, inertia):.2g} s, lower them, or raise the piece's mass"
            )

    def save(self) -> tuple[Any, ...]:
        """What the engine does not know of it, for `restore`."""
        return self._at_rest, self._surface_speed, self.drive and self.drive.save()

    def restore(self, state: tuple[Any, ...]) -> None:
        """Return to what `save` gave; the engine must have been restored before."""
        self._at_rest, self._surface_speed, drive = state
        if self.drive is not None:
            self.drive.restore(drive)

    def carry(self, speed: Sequence[float] | None) -> None:
        """Let the surface of a fixed object carry what lies on it, as a conveyor belt does.

        Args:
            speed: (3,) m/s along the object's own axes; None stops it.
        """
        if not self.fixed:
            raise SimulationError(f"'{self.name}' is not fixed: only the surface of a fixed object can carry")
        if self._move_surface not in self.world.substeps.before:
            self.world.substeps.before.append(self._move_surface)
        self._surface_speed = (0.0, 0.0, 0.0) if speed is None else (speed[0], speed[1], speed[2])
        self._move_surface()

    def _move_surface(self) -> None:
        """Give the object its surface's speed; undo how far the engine, which knows no surfaces, has moved it."""
        position, orientation = self._at_rest
        self.set_base(position, orientation, rotations.rotate(orientation, self._surface_speed))


def _parameters(spec: ObjectSpec) -> ActuatorParameters:
    """A spring is a motor without limit that holds a target; a damper its derivative gain."""
    joints = list(spec.mechanisms.values())
    count = len(joints)
    inertia = []  # of the piece alone, what carries it standing still
    for piece in spec.pieces[1:]:
        joint, spatial = spec.mechanisms[piece.name], piece.inertia().spatial()
        inertia.append(piece.mass if joint.kind == "slide" else joint.direction @ spatial[:3, :3] @ joint.direction)
    return ActuatorParameters(
        kp=np.array([joint.spring for joint in joints]),
        kd=np.array([joint.damping for joint in joints]),
        effort=np.full(count, UNLIMITED),
        velocity=np.full(count, np.inf),
        saturation=np.ones(count),
        friction=np.array([joint.friction for joint in joints]),
        inertia=np.array(inertia),
        strength=np.ones(count),
        friction_speed=_FRICTION_SPEED,
    )

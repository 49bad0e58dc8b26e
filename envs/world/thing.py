"""An object in a world: a part, a bench, a drawer, a belt."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_ground.assets.mechanisms import UNLIMITED
from training_ground.assets.objects import ObjectSpec
from training_ground.assets.safety.regions import body_regions
from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs import mechanisms, rotations
from training_ground.envs.drive import Drive
from training_ground.envs.holding import Holding
from training_ground.envs.states import LinkState
from training_ground.envs.world.engine import engine
from training_ground.envs.world.solid import Solid

if TYPE_CHECKING:
    from training_ground.envs.world.scene import World


GEAR_ERP = 0.2
"""Share of what gears are apart that the engine takes back in a physics step."""


class Thing(Solid):
    """An object in a world.

    Attributes:
        spec: What it is.
        drive: Springs, dampers and friction of its joints, and their state after the last advance; None where it has
            no joint. Positions in m or rad, forces in N or N·m, in the order of `joint_names`.
        holding: Its catches, locks and motors; None where it has no joint.
    """

    def __init__(
        self, world: World, spec: ObjectSpec, name: str, *, fixed: bool, visuals: bool, position: Sequence[float]
    ) -> None:
        self.spec = spec
        joints = spec.mechanisms
        with tempfile.TemporaryDirectory() as folder:
            path = spec.write(Path(folder), visuals=visuals)
            super().__init__(world, path, name, spec.pieces[0].name, tuple(joints), fixed=fixed, position=position)
        for piece in spec.pieces:
            moments = piece.inertia().principal()[1].tolist()
            self._set_surface(self._link(piece.name), piece.friction, moments, piece.rolling)
            if piece.region is not None:
                self._set_compliance(self._link(piece.name), body_regions()[piece.region].stiffness)
        self._at_rest = (tuple(position), (0.0, 0.0, 0.0, 1.0))
        self._surface_speed = (0.0, 0.0, 0.0)
        self._offsets = [self._inertial_frame(link) for link in self._link_index.values()]
        self._frames = {
            name: (f.piece or self.link_names[0], f.at, rotations.from_euler(*f.rpy)) for name, f in spec.frames.items()
        }
        self._rows = {self.link_names[0]: 0}  # of the drive's frames, by piece
        self.drive: Drive | None = None
        self.holding: Holding | None = None
        if joints:
            parameters = mechanisms.parameters(spec, fixed)
            mechanisms.require_stable(name, spec, parameters, world.timestep)
            for piece, _, _ in self._frames.values():
                self._rows.setdefault(piece, len(self._rows))
            self.drive = world.substeps.drive(self, parameters, [self._link(piece) for piece in [*self._rows][1:]])
            self.holding = Holding(name, joints, self.drive, world.substeps)
            self._gear()

    @property
    def state(self) -> LinkState:
        """Pose and velocity of the base's frame now."""
        return self._frame_of(self.read_frames(())[0], self._offsets[0])

    @property
    def joint_position(self) -> dict[str, float]:
        """Position of each joint after the last advance, m or rad."""
        return {} if self.drive is None else dict(zip(self.joint_names, self.drive.position.tolist(), strict=True))

    @property
    def carries(self) -> tuple[float, float, float]:
        """Velocity of its surface along its own axes, m/s."""
        return self._surface_speed

    @property
    def caught(self) -> dict[str, float | None]:
        """Position of the catch that holds each joint after the last advance, m or rad; None where none does."""
        if self.holding is None:
            return {}
        return {n: c and c.at for n, c in zip(self.joint_names, self.holding.caught, strict=True)}

    def link(self, piece: str) -> LinkState:
        """Pose and velocity of a piece's frame: after the last advance where the object has a joint and the piece
        carries one of its frames, which costs nothing, else now."""
        link = self._link(piece)
        if self.drive is not None and piece in self._rows:
            row = self.drive.frames[self._rows[piece]].tolist()
        else:
            row = self.read_frames(() if link < 0 else [link])[-1]
        return self._frame_of(row, self._offsets[1 + link])

    def frame(self, name: str) -> LinkState:
        """Pose and velocity of one of the specification's frames, as fresh as `link` has it."""
        if name not in self._frames:
            raise SimulationError(unknown(f"frame of '{self.name}'", name, self._frames))
        piece, at, turned = self._frames[name]
        state = self.link(piece)
        arm = rotations.rotate(state.orientation, at)
        sweep = rotations.cross(state.angular_velocity, arm)
        (x, y, z), (u, v, w) = state.position, state.linear_velocity
        return LinkState(
            (x + arm[0], y + arm[1], z + arm[2]),
            rotations.multiply(state.orientation, turned),
            (u + sweep[0], v + sweep[1], w + sweep[2]),
            state.angular_velocity,
        )

    def place(self, position: Sequence[float], orientation: Sequence[float] = (0.0, 0.0, 0.0, 1.0)) -> None:
        """Put it somewhere, at rest, its joints where their springs leave them, without locks and motors: (3,) m and
        (4,) xyzw."""
        self.set_base(position, orientation)
        self._at_rest = (tuple(position), tuple(orientation))
        if self.drive is not None and self.holding is not None:
            joints = self.spec.mechanisms.values()
            rest = [min(max(joint.rest, joint.lower), joint.upper) for joint in joints]
            super().set_joints(self._geared(rest))
            self.drive.reset()
            self.holding.reset()

    def move(self, position: Sequence[float], orientation: Sequence[float], velocity: Sequence[float]) -> None:
        """Put a fixed object somewhere and let it go on with a velocity, (3,) m/s, as one on wheels that nothing stops.

        The engine moves it in the physics steps that follow; give its place again before every advance.
        """
        if not self.fixed:
            raise SimulationError(f"'{self.name}' is not fixed: what is free moves by itself")
        self.set_base(position, orientation, velocity)

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

    def set_resistance(self, scale: float = 1.0) -> None:
        """Scale the friction of every joint; 1 is the specification's."""
        if self.holding is not None:
            self.holding.resist(scale)

    def set_joints(self, position: Sequence[float], velocity: Sequence[float] | None = None) -> None:
        """Put the joints at positions (n), m or rad, with velocities (n) (zero where absent); what stands in a catch is
        caught, and what is geared to another follows that one, whatever is given for it."""
        super().set_joints(self._geared(position), None if velocity is None else self._geared(velocity))
        if self.drive is not None and self.holding is not None:
            self.drive.read()
            self.holding.look()

    def _geared(self, values: Sequence[float]) -> list[float]:
        """Positions or velocities (n) in which every joint that follows another does."""
        result = dict(zip(self.joint_names, values, strict=True))
        for name, joint in self.spec.mechanisms.items():
            if joint.follows is not None:
                result[name] = joint.follows.ratio * result[joint.follows.joint]
        return [result[name] for name in self.joint_names]

    def _gear(self) -> None:
        for name, joint in self.spec.mechanisms.items():
            if joint.follows is None:
                continue
            uid, lead, follower = self.uid, self._link(joint.follows.joint), self._link(name)
            gear = engine.createConstraint(
                uid, lead, uid, follower, engine.JOINT_GEAR, [0, 0, 1], [0, 0, 0], [0, 0, 0],
                physicsClientId=self._client,
            )  # fmt: skip
            # The engine keeps: position of the first + gearRatio × position of the second = 0.
            engine.changeConstraint(
                gear, gearRatio=-1.0 / joint.follows.ratio, maxForce=UNLIMITED, erp=GEAR_ERP,
                relativePositionTarget=0.0, physicsClientId=self._client,
            )  # fmt: skip

    def lock(self, joint: str, on: bool = True) -> None:
        """Hold a joint where it is now, whatever pulls, or let it go again: a finished join, a locked door.

        It gives way by the pull over 0.5 · inertia / (physics step)²: 1 kg by 1 mm under 125 N at 2 ms.
        """
        self._holding(joint).lock(self.joint_names.index(joint), on)

    def drive_to(
        self, joint: str, position: float | None, *, effort: float = UNLIMITED, speed: float = UNLIMITED
    ) -> None:
        """Let a motor bring a joint to a position and hold it there; spring, friction and catches have no say.

        It is commanded once an advance; over long ones a load sets it back.

        Args:
            joint: Its name.
            position: Within its limits, m or rad; None takes the motor away.
            effort: What it pushes or holds with at most, N or N·m.
            speed: m/s or rad/s.
        """
        holding = self._holding(joint)
        mechanism = self.spec.mechanisms[joint]
        if position is not None and not mechanism.lower <= position <= mechanism.upper:
            raise SimulationError(
                f"'{self.name}', joint '{joint}': position = {position:g} must lie within {mechanism.lower:g} and "
                f"{mechanism.upper:g}"
            )
        for field, value in (("effort", effort), ("speed", speed)):
            if not 0 < value <= UNLIMITED:
                raise SimulationError(
                    f"'{self.name}', joint '{joint}': {field} = {value:g} must be above 0 and at most {UNLIMITED:g}"
                )
        holding.drive_to(self.joint_names.index(joint), position, effort, speed)

    def _holding(self, joint: str) -> Holding:
        if self.holding is None or joint not in self.joint_names:
            raise SimulationError(unknown(f"joint of '{self.name}'", joint, self.joint_names))
        return self.holding

    def save(self) -> tuple[Any, ...]:
        """What the engine does not know of it, for `restore`."""
        return (
            self._at_rest,
            self._surface_speed,
            self.holding and self.holding.save(),
            self.drive and self.drive.save(),
        )

    def restore(self, state: tuple[Any, ...]) -> None:
        """Return to what `save` gave; the engine must have been restored before."""
        self._at_rest, self._surface_speed, holding, drive = state
        if self.drive is not None and self.holding is not None:
            self.holding.restore(holding)
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

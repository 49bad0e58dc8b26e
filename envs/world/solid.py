"""A body of the engine that was read from a URDF file: a robot, or an object with or without joints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs import rotations
from training_ground.envs.quiet import silent
from training_ground.envs.states import Contact, LinkState, Nearness
from training_ground.envs.world.engine import engine

if TYPE_CHECKING:
    from training_ground.envs.world.scene import World

InertialFrame = tuple[rotations.Vector, rotations.Quaternion, rotations.Quaternion]
"""A link's centre-of-mass frame in its link frame: position, orientation, and that orientation's inverse."""

_MOVING, _STATIC = (1, -1), (2, ~2)
"""The engine's own collision groups and masks: what moves meets everything, what is fixed only what moves."""


class Solid:
    """A body, its links and its joints by name.

    Args:
        world: The world that it comes into.
        path: The URDF.
        name: What the world's register calls it.
        base: Name of its first link.
        joint_names: Joints (n) in the order that every array shall have; others are left alone.
        fixed: Whether its base is fixed in the world.
        position: (3,) of the base's frame, m.
        self_collision: Whether its links collide with each other, but for neighbours.

    Attributes:
        uid: The engine's number.
        joint_names: As given.
        link_names: Links, the base first.

    Raises:
        SimulationError: The engine refuses the file.
    """

    def __init__(
        self,
        world: World,
        path: Path,
        name: str,
        base: str,
        joint_names: Sequence[str],
        *,
        fixed: bool,
        position: Sequence[float],
        self_collision: bool = False,
    ) -> None:
        self.world, self.name, self.fixed = world, name, fixed
        self._client = client = world.client
        flags = engine.URDF_USE_INERTIA_FROM_FILE
        if self_collision:
            flags |= engine.URDF_USE_SELF_COLLISION | engine.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
        try:
            with silent(1):
                self.uid: int = engine.loadURDF(
                    str(path), position, useFixedBase=fixed, flags=flags, physicsClientId=client
                )
        except engine.error as problem:
            raise SimulationError(f"'{name}': the engine refused {path}: {problem}") from problem
        info = [engine.getJointInfo(self.uid, j, client) for j in range(engine.getNumJoints(self.uid, client))]
        joints = {i[1].decode(): i for i in info}
        self._rigid = {-1}  # the base, and links that no joint moves against it
        for i in info:
            if i[2] == engine.JOINT_FIXED and i[16] in self._rigid:
                self._rigid.add(i[0])
        self._link_index = {base: -1, **{i[12].decode(): i[0] for i in info}}
        self.link_names = tuple(self._link_index)
        self.joint_names = tuple(joint_names)
        self._joint_index = [joints[joint][0] for joint in joint_names]
        self._dof = [joints[joint][4] - 6 for joint in joint_names]
        self._zeros = [0.0] * len(self._joint_index)
        links = self._link_index.values()
        self._colliding = [i for i in links if engine.getCollisionShapeData(self.uid, i, client)]
        self._offsets = [self._inertial_frame(-1)]
        if self._joint_index:
            # The engine brakes every joint with a motor of its own.
            engine.setJointMotorControlArray(
                self.uid, self._joint_index, engine.VELOCITY_CONTROL, forces=self._zeros, physicsClientId=client
            )
        world.register.enter(self.uid, name, self.link_names)

    def degrees_of_freedom(self) -> list[int]:
        """Degree of freedom (n) of each joint, counted from 0 after the base's six."""
        return self._dof

    def _inertial_frame(self, link: int) -> InertialFrame:
        dynamics = engine.getDynamicsInfo(self.uid, link, self._client)
        return dynamics[3], dynamics[4], rotations.conjugate(dynamics[4])

    def let_collide(self, on: bool) -> None:
        """Switch all collisions of the body on or off; with them goes all that the engine remembers of its contacts."""
        uid, client = self.uid, self._client
        for link in self._colliding:
            group, mask = (_STATIC if self.fixed and link in self._rigid else _MOVING) if on else (0, 0)
            engine.setCollisionFilterGroupMask(uid, link, group, mask, client)

    def _set_surface(self, link: int, friction: float, moments: Sequence[float], rolling: float = 0.0) -> None:
        """Take away the engine's defaults that nothing real has (damping, bounce), and give a link its moments of
        inertia, kg·m², which the URDF reader sets to zero where they break the triangle inequality; `rolling` in m."""
        engine.changeDynamics(
            self.uid,
            link,
            localInertiaDiagonal=moments,
            linearDamping=0.0,
            angularDamping=0.0,
            jointDamping=0.0,
            lateralFriction=friction,
            spinningFriction=0.0,
            rollingFriction=rolling,
            restitution=0.0,
            physicsClientId=self._client,
        )

    def _set_compliance(self, link: int, stiffness: float) -> None:
        """Let a link give way where it is touched, N/m at each point of contact, without damping: the engine integrates
        the spring implicitly, which takes more than enough."""
        engine.changeDynamics(
            self.uid, link, contactStiffness=stiffness, contactDamping=0.0, physicsClientId=self._client
        )

    def _link(self, name: str) -> int:
        try:
            return self._link_index[name]
        except KeyError:
            raise SimulationError(unknown(f"link of '{self.name}'", name, self._link_index)) from None

    # ---- reading -----------------------------------------------------------------------------------------------------

    def read_joints(self) -> tuple[list[float], list[float]]:
        """Joint positions (n) in rad and velocities (n) in rad/s, as lists: the hot loop pays for arrays only once."""
        states = engine.getJointStates(self.uid, self._joint_index, self._client)
        return [s[0] for s in states], [s[1] for s in states]

    def read_frames(self, links: Sequence[int]) -> list[list[float]]:
        """Centre-of-mass frames of the base and of links, rows (13) as `Drive.frames` has them."""
        position, orientation = engine.getBasePositionAndOrientation(self.uid, self._client)
        velocity, angular = engine.getBaseVelocity(self.uid, self._client)
        rows = [[*position, *orientation, *velocity, *angular]]
        if links:
            states = engine.getLinkStates(self.uid, links, 1, 1, self._client)
            rows += [[*s[0], *s[1], *s[6], *s[7]] for s in states]
        return rows

    def _frame_of(self, row: Sequence[float], offset: InertialFrame) -> LinkState:
        """A link's frame from its centre-of-mass frame (13), `offset` from it.

        The engine speaks of centres of mass and principal axes; here the fixed offset is taken out again.
        """
        x, y, z, a, b, c, d, vx, vy, vz, wx, wy, wz = row
        place, _, inverse = offset
        orientation = rotations.multiply((a, b, c, d), inverse)
        dx, dy, dz = rotations.rotate(orientation, place)
        # The velocity moves with the point that it is of: v_origin = v_centre - ω × (centre - origin).
        return LinkState(
            (x - dx, y - dy, z - dz),
            orientation,
            (vx - (wy * dz - wz * dy), vy - (wz * dx - wx * dz), vz - (wx * dy - wy * dx)),
            (wx, wy, wz),
        )

    def distance(self, other: Solid, *, within: float) -> float:
        """Distance to another body, m, negative where they reach into each other; infinity beyond `within`."""
        points = engine.getClosestPoints(self.uid, other.uid, within, physicsClientId=self._client)
        return min((point[8] for point in points), default=float("inf"))

    def nearest(self, other: Solid, *, within: float) -> list[Nearness]:
        """For each link that is nearer to another body than `within`, m, where it is nearest."""
        points: dict[int, tuple[Any, ...]] = {}
        for point in engine.getClosestPoints(self.uid, other.uid, within, physicsClientId=self._client):
            best = points.get(point[3])
            if best is None or point[8] < best[8]:
                points[point[3]] = point
        links = [link for link in points if link >= 0]
        states = engine.getLinkStates(self.uid, links, 1, 1, self._client) if links else ()
        motion = {link: (s[0], s[6], s[7]) for link, s in zip(links, states, strict=True)}
        if -1 in points:
            place, _ = engine.getBasePositionAndOrientation(self.uid, self._client)
            motion[-1] = (place, *engine.getBaseVelocity(self.uid, self._client))
        found = []
        for link, point in points.items():
            centre, linear, angular = motion[link]
            arm = [p - c for p, c in zip(point[5], centre, strict=True)]
            velocity = [v + w for v, w in zip(linear, rotations.cross(angular, arm), strict=True)]
            approach = -sum(v * n for v, n in zip(velocity, point[7], strict=True))  # the normal points at this body
            names = self.link_names[link + 1], other.link_names[point[4] + 1]
            found.append(Nearness(*names, point[8], approach))
        return found

    def pressed(self) -> dict[str, float]:
        """How hard each touched link is pressed after the last step, N: the sum of the normal forces, by name. What is
        pinched from two sides is pressed by both."""
        forces: dict[str, float] = {}
        uid, names = self.uid, self.link_names
        for c in engine.getContactPoints(uid, physicsClientId=self._client):
            if c[9] > 0.0:
                name = names[c[3] + 1]
                forces[name] = forces.get(name, 0.0) + c[9]
        return forces

    def contacts(self) -> list[Contact]:
        """Every contact point of this body after the last step."""
        names, links = self.world.register.names, self.world.register.links
        result = []
        for c in engine.getContactPoints(self.uid, physicsClientId=self._client):
            (nx, ny, nz), n, f1, (ax, ay, az), f2, (bx, by, bz) = c[7], c[9], c[10], c[11], c[12], c[13]
            force = (nx * n + ax * f1 + bx * f2, ny * n + ay * f1 + by * f2, nz * n + az * f1 + bz * f2)
            other = c[2]
            result.append(Contact(c[3] + 1, names[other], links[other][c[4] + 1], c[5], force, n, c[8]))
        return result

    def touch_forces(self) -> tuple[dict[str, list[float]], bool]:
        """What touches this body after the last step: the short form of `contacts` that every control step can afford.

        Returns:
            The force (3,) on each touched link by other bodies, N, world frame, by link name; and whether two of the
            body's own links touch.
        """
        forces: dict[str, list[float]] = {}
        own = False
        uid, names = self.uid, self.link_names
        for c in engine.getContactPoints(uid, physicsClientId=self._client):
            # The engine lists points some millimetres apart: they touch only where it has a force between them.
            if c[8] > 0.0 and c[9] == 0.0:
                continue
            if c[2] == uid:
                own = True
                continue
            n, f1, f2 = c[9], c[10], c[12]
            (nx, ny, nz), (ax, ay, az), (bx, by, bz) = c[7], c[11], c[13]
            name = names[c[3] + 1]
            sums = forces.get(name)
            if sums is None:
                sums = forces[name] = [0.0, 0.0, 0.0]
            sums[0] += nx * n + ax * f1 + bx * f2
            sums[1] += ny * n + ay * f1 + by * f2
            sums[2] += nz * n + az * f1 + bz * f2
        return forces, own

    def set_torques(self, torques: Sequence[float]) -> None:
        """Set the joint torques (n), N·m, of the next physics step; a list is faster than an array."""
        engine.setJointMotorControlArray(
            self.uid, self._joint_index, engine.TORQUE_CONTROL, forces=torques, physicsClientId=self._client
        )

    def set_joints(self, position: Sequence[float], velocity: Sequence[float] | None = None) -> None:
        """Put the joints at positions (n), rad, with velocities (n), rad/s (zero where absent)."""
        velocities = self._zeros if velocity is None else velocity
        engine.resetJointStatesMultiDof(
            self.uid,
            self._joint_index,
            [[q] for q in position],
            [[v] for v in velocities],
            self._client,
        )

    def set_base(
        self,
        position: Sequence[float],
        orientation: Sequence[float],
        linear_velocity: Sequence[float] = (0.0, 0.0, 0.0),
        angular_velocity: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Put the base link's frame at a pose and give it a velocity, world frame; arguments as in `LinkState`."""
        offset, local, _ = self._offsets[0]
        dx, dy, dz = rotations.rotate(orientation, offset)
        com = (position[0] + dx, position[1] + dy, position[2] + dz)
        turned = rotations.multiply(orientation, local)
        engine.resetBasePositionAndOrientation(self.uid, com, turned, self._client)
        cx, cy, cz = rotations.cross(angular_velocity, (dx, dy, dz))
        velocity = (linear_velocity[0] + cx, linear_velocity[1] + cy, linear_velocity[2] + cz)
        engine.resetBaseVelocity(self.uid, velocity, angular_velocity, self._client)

    def add_base_velocity(self, change: Sequence[float]) -> None:
        """Change the velocity (3,) of the whole robot, m/s, world frame: an instantaneous push."""
        velocity, angular = engine.getBaseVelocity(self.uid, self._client)
        new = [v + c for v, c in zip(velocity, change, strict=True)]
        engine.resetBaseVelocity(self.uid, new, angular, self._client)

    def paint(self, link: str, colour: Sequence[float]) -> None:
        """Give all shapes of a link a colour (3,), red, green and blue in [0, 1], that cameras see."""
        engine.changeVisualShape(self.uid, self._link(link), rgbaColor=[*colour, 1.0], physicsClientId=self._client)

    def apply_force(self, link: str, force: Sequence[float], point: Sequence[float]) -> None:
        """Apply a force (3,) in N at a world point (3,) in m to a link, for the next physics step."""
        engine.applyExternalForce(self.uid, self._link(link), force, point, engine.WORLD_FRAME, self._client)

"""The engine seam: the only file that imports pybullet.

What leaves this file speaks of bodies, links and joints by name, in SI units, world frame z up, quaternions xyzw, and
of link frames, never of the engine's centre-of-mass frames. A second engine takes this file's place.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.model import CompiledModel
from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs import ballast as ballast_points
from training_ground.envs import native, rotations
from training_ground.envs.actuator import ActuatorParameters
from training_ground.envs.drive import Drive, Substeps
from training_ground.envs.quiet import silent
from training_ground.envs.states import CameraImage, Contact, LinkState

with silent(2):  # it tells when it was built
    import pybullet as engine

Array = NDArray[np.float64]

ENGINE = "pybullet"
ENGINE_API: int = engine.getAPIVersion()


def actuator_backend() -> tuple[str, str | None]:
    """`native` or `numpy`: what computes the actuators in the substeps; and why it is not `native`."""
    problem = native.problem(engine.__file__, ENGINE_API)
    return ("numpy" if problem else "native"), problem


_MOVING, _STATIC = (1, -1), (2, ~2)
"""The engine's own collision groups and masks: what moves meets everything, what is fixed only what moves."""

_AWAY, _UNTURNED = (0.0, 0.0, -50.0), (0.0, 0.0, 0.0, 1.0)
"""Where a slab waits."""


class SavedState:
    """An exact state of a world; the engine forgets it when the last reference goes."""

    def __init__(self, client: int, world: weakref.finalize[..., Any]) -> None:
        self.id = engine.saveState(client)
        self.world = world
        self.laid = 0
        weakref.finalize(self, _remove_state, self.id, client, world)


def _remove_state(state: int, client: int, world: weakref.finalize[..., Any]) -> None:
    # A closed world's client number may belong to another world by now, and its states must stay.
    if world.alive:
        with contextlib.suppress(engine.error):
            engine.removeState(state, client)


def _disconnect(client: int, process: int) -> None:
    if process == os.getpid():  # a forked child must not close its parent's engine
        with contextlib.suppress(engine.error):
            engine.disconnect(client)


class World:
    """A simulated scene: gravity, a clock, bodies.

    Args:
        timestep: Length of one physics step, s.
        gravity: Downward acceleration, m/s².
        solver_iterations: Iterations of the contact solver in each step.

    Attributes:
        segments: What `CameraImage.segmentation` counts: (body name, link name) pairs.
    """

    def __init__(self, *, timestep: float = 0.005, gravity: float = 9.81, solver_iterations: int = 10) -> None:
        if not 1e-5 <= timestep <= 0.02:
            raise SimulationError(f"physics_timestep = {timestep}: must lie between 0.00001 and 0.02 s")
        self.timestep = timestep
        self.gravity = gravity
        self.solver_iterations = solver_iterations
        self.segments: list[tuple[str, str]] = []
        self.client: int = engine.connect(engine.DIRECT)
        self._close = weakref.finalize(self, _disconnect, self.client, os.getpid())
        self._names: dict[int, str] = {}
        self._links: dict[int, tuple[str, ...]] = {}
        self._segment_start: dict[int, int] = {}
        self._ground: list[int] = []
        self._slabs: list[int] = []
        self._laid = 0
        self._bodies: list[Body] = []
        self.substeps = Substeps(timestep, self._step, self._native_stepper())
        engine.setGravity(0.0, 0.0, -gravity, self.client)
        # Without deterministic pairs a restored state does not repeat bit for bit.
        engine.setPhysicsEngineParameter(
            fixedTimeStep=timestep,
            numSolverIterations=solver_iterations,
            deterministicOverlappingPairs=1,
            enableFileCaching=0,
            physicsClientId=self.client,
        )

    def close(self) -> None:
        """Free the engine's memory; the world cannot be used afterwards."""
        self.substeps.close()
        self._close()

    def advance(self, substeps: int) -> None:
        """Simulate physics steps, each robot driven by its motors, then refresh what the drives tell; 0 only reads."""
        self._require_open()
        self.substeps.advance(substeps)

    def _require_open(self) -> None:
        if not self._close.alive:
            raise SimulationError("the world is closed")

    def _step(self) -> None:
        engine.stepSimulation(self.client)

    def detect_contacts(self) -> None:
        """Find the contacts of bodies that were put somewhere, without simulating."""
        engine.performCollisionDetection(self.client)

    def _native_stepper(self) -> native.Stepper | None:
        if native.problem(engine.__file__, ENGINE_API):
            return None
        return native.Stepper(
            engine.__file__,
            lambda path, postfix: engine.loadPlugin(path, postfix, self.client),
            lambda plugin: engine.executePluginCommand(plugin, physicsClientId=self.client),
        )

    def save(self) -> SavedState:
        """Keep the exact state of all bodies, contacts included.

        The world goes on from the kept state as a later `restore` would, so that both continue with the same bits; a
        run in which nothing was saved may differ from it in the last ones.
        """
        self._require_open()
        state = SavedState(self.client, self._close)
        state.laid = self._laid
        self.restore(state)
        return state

    def restore(self, state: SavedState) -> None:
        """Return to a kept state, bit for bit.

        The engine remembers which links were near each other, and the order of its contacts, hence the last bits of
        what follows, depends on it: one episode in a hundred, and one return into the middle of an episode in thirty,
        did not repeat. A link whose collisions were off in between is new to the engine.

        Raises:
            SimulationError: The state is another world's, or the world is closed.
        """
        self._require_open()
        if state.world is not self._close:
            raise SimulationError("restore: the state was saved in another world")
        for body in self._bodies:
            body.let_collide(False)
        engine.restoreState(state.id, physicsClientId=self.client)
        for body in self._bodies:
            body.let_collide(True)
        engine.restoreState(state.id, physicsClientId=self.client)
        self._laid = state.laid

    def add_ground(self, *, friction: float = 1.0, visual: bool = False) -> None:
        """Add the plane z = 0.

        Args:
            friction: Coulomb coefficient between the ground and a robot.
            visual: Whether cameras see it.
        """
        shape = engine.createCollisionShape(engine.GEOM_PLANE, physicsClientId=self.client)
        ground: int = engine.createMultiBody(0, shape, physicsClientId=self.client)
        engine.changeDynamics(ground, -1, restitution=0.0, physicsClientId=self.client)
        # The engine draws a plane of its own, which hides the tiles and takes as long as all else together.
        engine.changeVisualShape(ground, -1, rgbaColor=[0, 0, 0, 0], physicsClientId=self.client)
        self._register(ground, "ground", ("ground",))
        self._ground.append(ground)
        self.set_ground_friction(friction)
        if visual:
            self._add_floor_tiles()

    def add_slabs(self, count: int, size: Sequence[float], *, visual: bool = False) -> None:
        """Add equal boxes of ground, size (3,) in m, that `lay` can put somewhere; they wait far below.

        Args:
            count: How many.
            size: Along their x, y and z axes, m.
            visual: Whether cameras see them.
        """
        half, client = [s / 2 for s in size], self.client
        shape = engine.createCollisionShape(engine.GEOM_BOX, halfExtents=half, physicsClientId=client)
        looks = [
            engine.createVisualShape(engine.GEOM_BOX, halfExtents=half, rgbaColor=[*grey, 1], physicsClientId=client)
            if visual
            else -1
            for grey in ((0.72, 0.72, 0.74), (0.84, 0.84, 0.86))
        ]
        for i in range(count):
            # As plain rigid bodies they cost a physics step less than as articulated ones without joints.
            slab = engine.createMultiBody(
                0, shape, looks[i % 2], _AWAY, useMaximalCoordinates=1, physicsClientId=client
            )
            engine.changeDynamics(slab, -1, restitution=0.0, lateralFriction=1.0, physicsClientId=client)
            self._register(slab, "ground", ("slab",))
            self._slabs.append(slab)
            self._ground.append(slab)

    def lay(self, poses: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
        """Put slabs at world poses: centre (3,), m, and orientation (4,); those that are not needed wait below.

        Raises:
            SimulationError: There are not so many.
        """
        if len(poses) > len(self._slabs):
            raise SimulationError(f"lay: {len(poses)} poses for {len(self._slabs)} slabs; add_slabs makes more")
        waiting = [(_AWAY, _UNTURNED)] * (self._laid - len(poses))
        for slab, (position, orientation) in zip(self._slabs, [*poses, *waiting], strict=False):
            engine.resetBasePositionAndOrientation(slab, position, orientation, self.client)
        self._laid = len(poses)

    def _add_floor_tiles(self, reach: int = 4) -> None:
        """Draw a chequered floor of 1 m tiles: a plain one hides every sliding foot."""
        for i in range(-reach, reach):
            for j in range(-reach, reach):
                grey = 0.78 if (i + j) % 2 else 0.90
                look = engine.createVisualShape(
                    engine.GEOM_BOX,
                    halfExtents=[0.5, 0.5, 0.005],
                    rgbaColor=[grey, grey, grey + 0.02, 1],
                    physicsClientId=self.client,
                )
                place = [i + 0.5, j + 0.5, -0.006]
                self._register(
                    engine.createMultiBody(0, -1, look, place, physicsClientId=self.client), "floor", ("tile",)
                )

    def set_ground_friction(self, friction: float) -> None:
        """Set the Coulomb coefficient between the ground and a robot (its links count as 1: the engine multiplies)."""
        if not self._ground:
            raise SimulationError("the world has no ground: call add_ground first")
        for ground in self._ground:
            engine.changeDynamics(ground, -1, lateralFriction=friction, physicsClientId=self.client)

    def add_marker(self, radius: float, colour: tuple[float, float, float, float]) -> Marker:
        """Add a sphere (radius in m, colour RGBA in [0, 1]) that cameras see and nothing touches."""
        look = engine.createVisualShape(
            engine.GEOM_SPHERE, radius=radius, rgbaColor=list(colour), physicsClientId=self.client
        )
        uid = engine.createMultiBody(0, -1, look, [0, 0, -10], physicsClientId=self.client)
        self._register(uid, "marker", ("marker",))
        return Marker(self.client, uid)

    def add_stand(self, height: float) -> None:
        """Add what holds a mounted robot: a column under the origin, height in m, that only cameras see."""
        look = engine.createVisualShape(
            engine.GEOM_CYLINDER,
            radius=0.035,
            length=height,
            rgbaColor=[0.35, 0.35, 0.38, 1],
            physicsClientId=self.client,
        )
        uid = engine.createMultiBody(0, -1, look, [0, 0, height / 2], physicsClientId=self.client)
        self._register(uid, "stand", ("column",))

    def load(
        self,
        model: CompiledModel,
        *,
        fixed: bool = False,
        visuals: bool = False,
        self_collision: bool = True,
        ballast: Sequence[ballast_points.Point] = (),
    ) -> Body:
        """Load a compiled robot.

        Args:
            model: From the compiler.
            fixed: Whether its base is fixed in the world (a robot on a stand).
            visuals: Whether cameras see its meshes; without them loading is faster.
            self_collision: Whether its links collide with each other, but for the model's disabled pairs.
            ballast: Points whose mass `Body.set_masses` and `Body.set_ballast` set.
        """
        return Body(self, model, fixed=fixed, visuals=visuals, self_collision=self_collision, ballast=ballast)

    def _register(self, uid: int, name: str, links: tuple[str, ...]) -> None:
        """Note a body's name and its links', in the engine's order with the base first."""
        self._names[uid] = name
        self._links[uid] = links
        self._segment_start[uid] = len(self.segments)
        self.segments.extend((name, link) for link in links)

    def camera(
        self,
        eye: Sequence[float],
        target: Sequence[float],
        *,
        width: int = 320,
        height: int = 240,
        field_of_view_deg: float = 50.0,
        up: Sequence[float] = (0.0, 0.0, 1.0),
        near: float = 0.05,
        far: float = 20.0,
        shadow: bool = False,
    ) -> CameraImage:
        """Take a picture with the engine's software renderer.

        Args:
            eye: (3,) position of the camera, m.
            target: (3,) point that the optical axis goes through, m.
            width: Pixels.
            height: Pixels.
            field_of_view_deg: Vertical angle of view, degrees.
            up: (3,) direction that is up in the picture.
            near: Nearest distance seen, m.
            far: Farthest distance seen, m.
            shadow: Whether the light casts shadows (slower).
        """
        self._require_open()
        view = engine.computeViewMatrix(list(eye), list(target), list(up))
        projection = engine.computeProjectionMatrixFOV(field_of_view_deg, width / height, near, far)
        _, _, rgba, buffer, mask = engine.getCameraImage(
            width,
            height,
            view,
            projection,
            lightDirection=[1.5, -1.0, 3.0],
            shadow=int(shadow),
            renderer=engine.ER_TINY_RENDERER,
            flags=engine.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX,
            physicsClientId=self.client,
        )
        rgb = np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[:, :, :3].copy()
        z = np.asarray(buffer, dtype=np.float32).reshape(height, width)
        depth = (far * near / (far - (far - near) * z)).astype(np.float32)
        return CameraImage(rgb, depth, self._segment(np.asarray(mask, dtype=np.int32).reshape(height, width)))

    def _segment(self, mask: NDArray[np.int32]) -> NDArray[np.int32]:
        """Turn the engine's body + link code into an index into `segments`."""
        codes, inverse = np.unique(mask, return_inverse=True)
        index = np.full(len(codes), -1, dtype=np.int32)
        for i, code in enumerate(codes.tolist()):
            if code >= 0:
                index[i] = self._segment_start[code & 0xFFFFFF] + (code >> 24)
        return index[inverse].reshape(mask.shape)


class Marker:
    """A sphere that only cameras see."""

    def __init__(self, client: int, uid: int) -> None:
        self._client = client
        self._uid = uid

    def move(self, position: Sequence[float]) -> None:
        """Put the marker at a world position (3,), m."""
        engine.resetBasePositionAndOrientation(self._uid, position, (0, 0, 0, 1), self._client)


class Body:
    """A robot in a world.

    Attributes:
        model: The compiled model it came from.
        joint_names: Joints (n) in the order of every array.
        link_names: Links, the base first.
    """

    def __init__(
        self,
        world: World,
        model: CompiledModel,
        *,
        fixed: bool,
        visuals: bool,
        self_collision: bool,
        ballast: Sequence[ballast_points.Point],
    ) -> None:
        self.world = world
        self.model = model
        self.fixed = fixed
        self.joint_names = model.joint_names
        self._client = world.client
        flags = engine.URDF_USE_INERTIA_FROM_FILE
        if self_collision:
            flags |= engine.URDF_USE_SELF_COLLISION | engine.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
        path = model.visual_urdf if visuals else model.urdf
        changed = ballast_points.with_ballast(path, ballast) if ballast else None
        try:
            with silent(1):
                self.uid: int = engine.loadURDF(
                    str(changed or path),
                    [0.0, 0.0, model.default_height],
                    useFixedBase=fixed,
                    flags=flags,
                    physicsClientId=self._client,
                )
        except engine.error as problem:
            raise SimulationError(f"robot '{model.name}': the engine refused {path}: {problem}") from problem
        finally:
            if changed:
                changed.unlink()
        info = [engine.getJointInfo(self.uid, j, self._client) for j in range(self._joint_count())]
        joints = {i[1].decode(): i for i in info}
        self._link_index = {model.base_link: -1, **{i[12].decode(): i[0] for i in info}}
        self.link_names = tuple(self._link_index)
        self._joint_index = [joints[name][0] for name in model.joint_names]
        self._dof = [joints[name][4] - 6 for name in model.joint_names]
        self._ballast_index = [self._link_index[f"ballast_{i}"] for i in range(len(ballast))]
        self._zeros = [0.0] * len(self._joint_index)
        links = self._link_index.values()
        self._colliding = [i for i in links if engine.getCollisionShapeData(self.uid, i, self._client)]
        world._register(self.uid, model.name, self.link_names)
        world._bodies.append(self)
        self._offsets = [self._inertial_frame(-1)]
        self._prepare(self_collision)
        info = {i: engine.getDynamicsInfo(self.uid, i, self._client) for i in links}
        self._inertias = {i: (values[0], values[2]) for i, values in info.items()}

    def drive(self, links: Sequence[str] = ()) -> Drive:
        """Give the robot its motors; `World.advance` computes them in every physics step.

        Args:
            links: Links whose state `link_state` shall know after each advance, beside the base.
        """
        self._read_links = {name: i for i, name in enumerate((self.model.base_link, *links))}
        numbers = [self._link(name) for name in links]
        self._offsets = [self._inertial_frame(number) for number in (-1, *numbers)]
        self._drive = self.world.substeps.drive(self, ActuatorParameters.from_model(self.model), numbers)
        return self._drive

    def degrees_of_freedom(self) -> list[int]:
        """Degree of freedom (n) of each joint, counted from 0 after the base's six."""
        return self._dof

    def _inertial_frame(self, link: int) -> tuple[rotations.Vector, rotations.Quaternion, rotations.Quaternion]:
        """A link's centre-of-mass frame in its link frame: position, orientation, and that orientation's inverse."""
        dynamics = engine.getDynamicsInfo(self.uid, link, self._client)
        return dynamics[3], dynamics[4], rotations.conjugate(dynamics[4])

    def let_collide(self, on: bool) -> None:
        """Switch all collisions of the body on or off; with them goes all that the engine remembers of its contacts."""
        uid, client = self.uid, self._client
        for link in self._colliding:
            group, mask = (_STATIC if self.fixed and link == -1 else _MOVING) if on else (0, 0)
            engine.setCollisionFilterGroupMask(uid, link, group, mask, client)

    def _joint_count(self) -> int:
        return engine.getNumJoints(self.uid, self._client)

    def _prepare(self, self_collision: bool) -> None:
        """Take away the engine's defaults that no robot has (damping, joint motors, bounce), and give back its inertia.

        The URDF reader sets an inertia to zero that breaks the triangle inequality, as a link with armature does.
        """
        moments = dict(zip(self.model.link_names, self.model.principal_inertia.tolist(), strict=True))
        for name, link in self._link_index.items():
            engine.changeDynamics(
                self.uid,
                link,
                localInertiaDiagonal=moments.get(name, [ballast_points.MASS * 1e-6] * 3),
                linearDamping=0.0,
                angularDamping=0.0,
                jointDamping=0.0,
                lateralFriction=1.0,
                spinningFriction=0.0,
                rollingFriction=0.0,
                restitution=0.0,
                physicsClientId=self._client,
            )
        engine.setJointMotorControlArray(
            self.uid,
            self._joint_index,
            engine.VELOCITY_CONTROL,
            forces=self._zeros,
            physicsClientId=self._client,
        )
        if self_collision:
            for a, b in self.model.disabled_collisions:
                first, second = self._link(a), self._link(b)
                engine.setCollisionFilterPair(self.uid, self.uid, first, second, 0, self._client)

    def _link(self, name: str) -> int:
        try:
            return self._link_index[name]
        except KeyError:
            raise SimulationError(unknown(f"link of robot '{self.model.name}'", name, self._link_index)) from None

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

    def link_state(self, name: str) -> LinkState:
        """State of a link's frame after the last `World.advance`: the base, or a link that `drive` was given.

        The engine speaks of centres of mass and principal axes; here the fixed offset is taken out again.
        """
        row = self._read_links[name]
        x, y, z, a, b, c, d, vx, vy, vz, wx, wy, wz = self._drive.frames[row].tolist()
        offset, _, inverse = self._offsets[row]
        orientation = rotations.multiply((a, b, c, d), inverse)
        dx, dy, dz = rotations.rotate(orientation, offset)
        # The velocity moves with the point that it is of: v_origin = v_centre - ω × (centre - origin).
        return LinkState(
            (x - dx, y - dy, z - dz),
            orientation,
            (vx - (wy * dz - wz * dy), vy - (wz * dx - wx * dz), vz - (wx * dy - wy * dx)),
            (wx, wy, wz),
        )

    def contacts(self) -> list[Contact]:
        """Every contact point of this body after the last step."""
        names, links = self.world._names, self.world._links
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

    # ---- writing -----------------------------------------------------------------------------------------------------

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

    def apply_force(self, link: str, force: Sequence[float], point: Sequence[float]) -> None:
        """Apply a force (3,) in N at a world point (3,) in m to a link, for the next physics step."""
        engine.applyExternalForce(self.uid, self._link(link), force, point, engine.WORLD_FRAME, self._client)

    def set_masses(self, scale: float = 1.0, link: str | None = None, shares: Sequence[float] = ()) -> None:
        """Scale the robot's masses, and move shares of one link's mass to the ballast points.

        Args:
            scale: Factor on the mass and the inertia of every link; 1 is the compiled model.
            link: The link that gives mass away.
            shares: (k,) fraction of that link's mass for each of the first ballast points; their sum is below 1.
        """
        for index, (mass, diagonal) in self._inertias.items():
            kept = 1.0 - sum(shares) if link is not None and index == self._link_index[link] else 1.0
            self._set_mass(index, mass * scale * kept, [d * scale for d in diagonal])
        for index, share in zip(self._ballast_index, shares, strict=False):
            mass = self._inertias[self._link_index[link or ""]][0] * scale * share + ballast_points.MASS
            self._set_mass(index, mass, [mass * 1e-6] * 3)

    def set_ballast(self, point: int, mass: float) -> None:
        """Set the mass of a ballast point, kg; `set_masses` takes it away again."""
        mass += ballast_points.MASS
        self._set_mass(self._ballast_index[point], mass, [mass * 1e-6] * 3)

    def _set_mass(self, index: int, mass: float, diagonal: list[float]) -> None:
        # The inertia must come with the mass, or the engine recomputes it from the colliders.
        engine.changeDynamics(self.uid, index, mass=mass, localInertiaDiagonal=diagonal, physicsClientId=self._client)

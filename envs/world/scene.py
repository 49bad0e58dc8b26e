"""A simulated scene."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence

from training_ground.assets.model import CompiledModel
from training_ground.assets.objects import ObjectSpec
from training_ground.configs.errors import SimulationError
from training_ground.envs import ballast as ballast_points
from training_ground.envs.drive import Substeps
from training_ground.envs.states import CameraImage
from training_ground.envs.world import scenery
from training_ground.envs.world.body import Body
from training_ground.envs.world.camera import take_picture
from training_ground.envs.world.engine import disconnect, engine, native_stepper
from training_ground.envs.world.register import Register
from training_ground.envs.world.saved import SavedState
from training_ground.envs.world.solid import Solid
from training_ground.envs.world.thing import Thing


class World:
    """A simulated scene: gravity, a clock, bodies.

    Args:
        timestep: Length of one physics step, s.
        gravity: Downward acceleration, m/s².
        solver_iterations: Iterations of the contact solver in each step.

    Attributes:
        register: What its bodies and their links are called.
    """

    def __init__(self, *, timestep: float = 0.005, gravity: float = 9.81, solver_iterations: int = 10) -> None:
        if not 1e-5 <= timestep <= 0.02:
            raise SimulationError(f"physics_timestep = {timestep}: must lie between 0.00001 and 0.02 s")
        self.timestep = timestep
        self.gravity = gravity
        self.solver_iterations = solver_iterations
        self.client: int = engine.connect(engine.DIRECT)
        self._close = weakref.finalize(self, disconnect, self.client, os.getpid())
        self.register = Register()
        self._ground = scenery.Ground(self.client, self.register)
        self._bodies: list[Solid] = []
        self._things: list[Thing] = []

        self.substeps = Substeps(timestep, self._step, native_stepper(self.client))
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

    @property
    def segments(self) -> list[tuple[str, str]]:
        """What `CameraImage.segmentation` counts: (body name, link name) pairs."""
        return self.register.segments

    def save(self) -> SavedState:
        """Keep the exact state of all bodies, contacts included.

        The world goes on from the kept state as a later `restore` would, so that both continue with the same bits; a
        run in which nothing was saved may differ from it in the last ones.
        """
        self._require_open()
        state = SavedState(self.client, self._close)
        state.laid = self._ground.laid
        state.things = [thing.save() for thing in self._things]
        self.restore(state)
        return state

    def forget_contacts(self) -> None:
        """Have the engine forget all that it remembers of contacts.

        Pairs of convex shapes keep the axis that last parted them, those of a robot's own links as well, and an episode
        must not depend on the one before.
        """
        for on in (False, True):
            for body in self._bodies:
                body.let_collide(on)

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
        if len(state.things) != len(self._things):
            raise SimulationError(
                f"restore: {len(self._things)} objects, but {len(state.things)} when the state was saved"
            )
        for body in self._bodies:
            body.let_collide(False)
        engine.restoreState(state.id, physicsClientId=self.client)
        for body in self._bodies:
            body.let_collide(True)
        engine.restoreState(state.id, physicsClientId=self.client)
        self._ground.laid = state.laid
        for thing, kept in zip(self._things, state.things, strict=True):
            thing.restore(kept)

    def add_ground(self, *, friction: float = 1.0, visual: bool = False) -> None:
        """Add the plane z = 0.

        Args:
            friction: Coulomb coefficient between the ground and a robot.
            visual: Whether cameras see it.
        """
        self._ground.add_plane(friction, visual)

    def add_slabs(self, count: int, size: Sequence[float], *, visual: bool = False) -> None:
        """Add equal boxes of ground, size (3,) in m, that `lay` can put somewhere; they wait far below.

        Args:
            count: How many.
            size: Along their x, y and z axes, m.
            visual: Whether cameras see them.
        """
        self._ground.add_slabs(count, size, visual)

    def lay(self, poses: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
        """Put slabs at world poses: centre (3,), m, and orientation (4,); those that are not needed wait below.

        Raises:
            SimulationError: There are not so many.
        """
        self._ground.lay(poses)

    def set_ground_friction(self, friction: float) -> None:
        """Set the Coulomb coefficient between the ground and a robot (its links count as 1: the engine multiplies)."""
        self._ground.set_friction(friction)

    def add_marker(self, radius: float, colour: tuple[float, float, float, float]) -> scenery.Marker:
        """Add a sphere (radius in m, colour RGBA in [0, 1]) that cameras see and nothing touches."""
        return scenery.Marker(self.client, self.register, radius, colour)

    def add_stand(self, top: Sequence[float]) -> None:
        """Add what holds a mounted robot: a column from the ground to a point (3,), m, that only cameras see."""
        scenery.add_stand(self.client, self.register, top)

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
        body = Body(self, model, fixed=fixed, visuals=visuals, self_collision=self_collision, ballast=ballast)
        self._bodies.append(body)
        return body

    def add(
        self,
        spec: ObjectSpec,
        position: Sequence[float] = (0.0, 0.0, 0.0),
        orientation: Sequence[float] = (0.0, 0.0, 0.0, 1.0),
        *,
        name: str | None = None,
        fixed: bool = False,
        visuals: bool = False,
    ) -> Thing:
        """Put an object somewhere.

        Args:
            spec: The object.
            position: (3,) of its base's frame, m.
            orientation: (4,) xyzw.
            name: What contacts and cameras call it; the object's own name where absent.
            fixed: Whether its base cannot move.
            visuals: Whether cameras see it.
        """
        thing = Thing(self, spec, name or spec.name, fixed=fixed, visuals=visuals, position=position)
        self._bodies.append(thing)
        self._things.append(thing)
        thing.place(position, orientation)
        return thing

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
        light: Sequence[float] = (1.5, -1.0, 3.0),
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
            light: (3,) direction towards the lamp, far away.
        """
        self._require_open()
        return take_picture(
            self.client,
            self.register,
            eye,
            target,
            width=width,
            height=height,
            field_of_view_deg=field_of_view_deg,
            up=up,
            near=near,
            far=far,
            shadow=shadow,
            light=light,
        )

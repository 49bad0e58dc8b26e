"""What stands around a robot and never moves by itself: the ground, slabs laid on it, markers, a stand."""

from __future__ import annotations

from collections.abc import Sequence

from training_ground.configs.errors import SimulationError
from training_ground.envs.world.engine import engine
from training_ground.envs.world.register import Register

_AWAY, _UNTURNED = (0.0, 0.0, -50.0), (0.0, 0.0, 0.0, 1.0)
"""Where a slab waits."""


class Ground:
    """The floor and what can be laid on it; methods as in `World`."""

    def __init__(self, client: int, register: Register) -> None:
        self._client, self._register = client, register
        self._parts: list[int] = []
        self._slabs: list[int] = []
        self.laid = 0

    def add_plane(self, friction: float, visual: bool) -> None:
        """Add the plane z = 0."""
        client = self._client
        shape = engine.createCollisionShape(engine.GEOM_PLANE, physicsClientId=client)
        ground: int = engine.createMultiBody(0, shape, physicsClientId=client)
        engine.changeDynamics(ground, -1, restitution=0.0, physicsClientId=client)
        # The engine draws a plane of its own, which hides the tiles and takes as long as all else together.
        engine.changeVisualShape(ground, -1, rgbaColor=[0, 0, 0, 0], physicsClientId=client)
        self._register.enter(ground, "ground", ("ground",))
        self._parts.append(ground)
        self.set_friction(friction)
        if visual:
            self._add_tiles()

    def add_slabs(self, count: int, size: Sequence[float], visual: bool) -> None:
        """Add boxes that `lay` can put somewhere."""
        half, client = [s / 2 for s in size], self._client
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
            self._register.enter(slab, "ground", ("slab",))
            self._slabs.append(slab)
            self._parts.append(slab)

    def lay(self, poses: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
        """Put slabs somewhere."""
        if len(poses) > len(self._slabs):
            raise SimulationError(f"lay: {len(poses)} poses for {len(self._slabs)} slabs; add_slabs makes more")
        waiting = [(_AWAY, _UNTURNED)] * (self.laid - len(poses))
        for slab, (position, orientation) in zip(self._slabs, [*poses, *waiting], strict=False):
            engine.resetBasePositionAndOrientation(slab, position, orientation, self._client)
        self.laid = len(poses)

    def set_friction(self, friction: float) -> None:
        """Set the Coulomb coefficient."""
        if not self._parts:
            raise SimulationError("the world has no ground: call add_ground first")
        for part in self._parts:
            engine.changeDynamics(part, -1, lateralFriction=friction, physicsClientId=self._client)

    def _add_tiles(self, reach: int = 4) -> None:
        """Draw a chequered floor of 1 m tiles: a plain one hides every sliding foot."""
        for i in range(-reach, reach):
            for j in range(-reach, reach):
                grey = 0.78 if (i + j) % 2 else 0.90
                look = engine.createVisualShape(
                    engine.GEOM_BOX,
                    halfExtents=[0.5, 0.5, 0.005],
                    rgbaColor=[grey, grey, grey + 0.02, 1],
                    physicsClientId=self._client,
                )
                place = [i + 0.5, j + 0.5, -0.006]
                tile = engine.createMultiBody(0, -1, look, place, physicsClientId=self._client)
                self._register.enter(tile, "floor", ("tile",))


class Marker:
    """A sphere that only cameras see; arguments as in `World.add_marker`."""

    def __init__(
        self, client: int, register: Register, radius: float, colour: tuple[float, float, float, float]
    ) -> None:
        look = engine.createVisualShape(
            engine.GEOM_SPHERE, radius=radius, rgbaColor=list(colour), physicsClientId=client
        )
        self._client = client
        self._uid: int = engine.createMultiBody(0, -1, look, [0, 0, -10], physicsClientId=client)
        register.enter(self._uid, "marker", ("marker",))

    def move(self, position: Sequence[float]) -> None:
        """Put the marker at a world position (3,), m."""
        engine.resetBasePositionAndOrientation(self._uid, position, (0, 0, 0, 1), self._client)


def add_stand(client: int, register: Register, top: Sequence[float]) -> None:
    """Add a column from the ground to a point (3,), m, that only cameras see."""
    x, y, height = top
    look = engine.createVisualShape(
        engine.GEOM_CYLINDER, radius=0.035, length=height, rgbaColor=[0.35, 0.35, 0.38, 1], physicsClientId=client
    )
    column = engine.createMultiBody(0, -1, look, [x, y, height / 2], physicsClientId=client)
    register.enter(column, "stand", ("column",))

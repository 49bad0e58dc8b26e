"""A factory cell in a world: its things by name, their frames, and where an episode puts them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from training_ground.assets.layout import Camera, CellSpec, Item, Walk
from training_ground.assets.library import load_part
from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs import rotations
from training_ground.envs.channels import Calibration
from training_ground.envs.states import LinkState
from training_ground.envs.world import Thing, World

OVERLAP = 0.001
"""m by which things may reach into each other before a layout is refused."""

STORE = (6.0, 0.0)
"""Where the parts and items that are not used in an episode stand, m along x and y: far from everything."""
BESIDE = 0.5
"""m from one of them to the next."""

NEAR, FAR = 0.05, 20.0
"""m between which cameras see."""

Place = tuple[rotations.Vector, rotations.Quaternion]


class Cell:
    """A cell in a world.

    Args:
        spec: Its layout.
        world: Where it is built.
        visuals: Whether cameras see it.

    Attributes:
        things: By the name of their item: what it is in this episode.
        persons: Those of them that are persons.

    Raises:
        AssetError: A part is unknown.
        SimulationError: Items overlap, also where one has walked to, or one stands on a frame that there is not.
    """

    def __init__(self, spec: CellSpec, world: World, *, visuals: bool = False) -> None:
        self.spec, self._world, self._visuals = spec, world, visuals
        self.things: dict[str, Thing] = {}
        self._choices: dict[str, tuple[Thing, Thing]] = {}
        for name, item in spec.items.items():
            part = load_part(item.part)
            self.things[name] = world.add(part, name=name, fixed=item.fixed, visuals=visuals)
            self._set(name, {})
            if item.faulty:
                other = world.add(load_part(item.faulty.part), name=f"{name}_faulty", fixed=item.fixed, visuals=visuals)
                self._choices[name] = self.things[name], other
        self._store()
        for frame in spec.reach:
            self.frame(frame)
        self.persons = tuple(thing for thing in self.things.values() if thing.spec.regions)
        self._walks = {name: item.walks for name, item in spec.items.items() if item.walks is not None}
        self.require_room()
        for name, walk in self._walks.items():
            self._set(name, {}, walk.to)
            self.require_room()
            self._set(name, {})

    def frame(self, name: str) -> LinkState:
        """State of a frame, world axes: `item` for an item's own, or `item.frame`.

        Raises:
            SimulationError: There is none.
        """
        item, _, frame = name.partition(".")
        if item not in self.things:
            raise SimulationError(unknown(f"item of cell '{self.spec.name}'", item, self.things))
        return self.things[item].frame(frame) if frame else self.things[item].state

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Take a picture (height, width, 3) with a camera now.

        Raises:
            SimulationError: There is none, or the cell was built without what cameras see.
        """
        if name not in self.spec.cameras:
            raise SimulationError(unknown(f"camera of cell '{self.spec.name}'", name, self.spec.cameras))
        if not self._visuals:
            raise SimulationError(f"camera '{name}' of cell '{self.spec.name}': sees nothing without visuals")
        camera = self.spec.cameras[name]
        stand = self.frame(camera.upon)
        eye, target = self._sight(camera)
        return self._world.camera(
            eye,
            target,
            width=camera.width,
            height=camera.height,
            field_of_view_deg=math.degrees(camera.field_of_view),
            near=NEAR,
            far=FAR,
            light=rotations.rotate(stand.orientation, camera.light),
        ).rgb

    def camera_pose(self, name: str) -> tuple[rotations.Vector, rotations.Quaternion]:
        """Where a camera's optical centre is in the world, m, and the quaternion xyzw that turns its axes, x to the
        right, y down and z along the view, into the world's."""
        eye, target = self._sight(self.spec.cameras[name])
        along = np.subtract(target, eye) / math.dist(target, eye)
        right = np.cross(along, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        turn = Rotation.from_matrix(np.stack([right, np.cross(along, right), along], axis=1)).as_quat(canonical=True)
        return tuple(map(float, eye)), tuple(map(float, turn))  # type: ignore[return-value]

    def calibration(self, name: str) -> Calibration:
        """Return what a camera's pictures mean, with its pose on what it stands on."""
        camera = self.spec.cameras[name]
        stand, (eye, turn) = self.frame(camera.upon), self.camera_pose(name)
        pixels = 0.5 * camera.height / math.tan(0.5 * camera.field_of_view)
        offset = [e - p for e, p in zip(eye, stand.position, strict=True)]
        relative = rotations.multiply(rotations.conjugate(stand.orientation), turn)
        # Measured: the renderer looks through a pixel's lower left corner.
        column, row = 0.5 * camera.width, 0.5 * camera.height - 1
        # Rounded, for the same camera must be the same channel wherever its stand was drawn.
        return Calibration(
            matrix=((pixels, 0.0, column), (0.0, pixels, row), (0.0, 0.0, 1.0)),
            frame=camera.upon,
            position=_rounded(rotations.rotate_inverse(stand.orientation, offset)),
            orientation=_rounded(relative if relative[3] >= 0 else [-q for q in relative]),
            near=NEAR,
            far=FAR,
        )

    def _sight(self, camera: Camera) -> tuple[list[float], list[float]]:
        """Optical centre and point looked at, world, m."""
        stand = self.frame(camera.upon)
        eye, target = (
            [p + m for p, m in zip(stand.position, rotations.rotate(stand.orientation, at), strict=True)]
            for at in (camera.at, camera.target)
        )
        return eye, target

    def draw(self, generator: np.random.Generator) -> dict[str, dict[str, Any]]:
        """Draw how each item differs in an episode: `shift` (3) in m, `yaw` in rad, `mass` as a factor, `friction`,
        `resistance` and `carries` as factors, `faulty`, and `sets_off`, s, of what walks in this episode."""
        drawn: dict[str, dict[str, Any]] = {}
        for name, item in self.spec.items.items():
            spread, one = item.spread, dict[str, Any]()
            if any(spread.position):
                one["shift"] = [float(generator.uniform(-half, half)) for half in spread.position]
            if spread.yaw:
                one["yaw"] = float(generator.uniform(-spread.yaw, spread.yaw))
            if spread.mass:
                one["mass"] = float(generator.uniform(1 - spread.mass, 1 + spread.mass))
            if spread.friction:
                one["friction"] = float(generator.uniform(*spread.friction))
            if spread.resistance:
                one["resistance"] = float(generator.uniform(*spread.resistance))
            if spread.carries:
                one["carries"] = float(generator.uniform(1 - spread.carries, 1 + spread.carries))
            if item.faulty:
                one["faulty"] = bool(generator.random() < item.faulty.chance)
            if item.walks and generator.random() < item.walks.chance:
                one["sets_off"] = float(generator.uniform(*item.walks.at_s))
            if one:
                drawn[name] = one
        return drawn

    def apply(self, drawn: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the parts that were drawn, with the mass and frictions that were; the others have their own again."""
        for name, choices in self._choices.items():
            self.things[name] = choices[drawn.get(name, {}).get("faulty", False)]
        for name, item in self.spec.items.items():
            one = drawn.get(name, {})
            if item.spread.mass:
                self.things[name].set_mass(one.get("mass", 1.0))
            if item.spread.friction:
                self.things[name].set_friction(one.get("friction"))
            if item.spread.resistance:
                self.things[name].set_resistance(one.get("resistance", 1.0))

    def place(self, drawn: Mapping[str, Mapping[str, Any]], missing: Collection[str] = ()) -> None:
        """Put everything where an episode has it, at rest; belts run, and items that it lacks are in the store."""
        self._world.forget_contacts()
        self._store(missing)
        for name in self.things:
            if name not in missing:
                self._set(name, drawn.get(name, {}))
        for name, item in self.spec.items.items():
            if any(item.carries):
                self.run(drawn, name, on=True)

    def run(self, drawn: Mapping[str, Mapping[str, Any]], belt: str, *, on: bool) -> None:
        """Let a belt run as it was drawn, or stand."""
        factor = drawn.get(belt, {}).get("carries", 1.0)
        self.things[belt].carry([factor * part for part in self.spec.items[belt].carries] if on else None)

    def _store(self, missing: Collection[str] = ()) -> None:
        """Put what is not used where it is in nobody's way."""
        for i, thing in enumerate([*self._unused(), *(self.things[name] for name in missing)]):
            thing.place((STORE[0], STORE[1] + i * BESIDE, 0.0))

    def _unused(self) -> list[Thing]:
        return [one for name, choices in self._choices.items() for one in choices if one is not self.things[name]]

    def walk(self, drawn: Mapping[str, Mapping[str, Any]], time: float, dt: float) -> None:
        """Send what walks through a control step: it is put where it is at `time`, s from the start of the episode,
        with the speed that brings it to where it is `dt` s later."""
        for name, walk in self._walks.items():
            one = drawn.get(name, {})
            if time + dt <= one.get("sets_off", math.inf):
                continue
            before, after = (_share(walk, self.spec.items[name], now - one["sets_off"]) for now in (time, time + dt))
            item = self.spec.items[name]
            line = [b - a for a, b in zip(item.at, walk.to, strict=True)]
            at = [a + before * part for a, part in zip(item.at, line, strict=True)]
            position, orientation = self._place_of(name, one, at)
            self.things[name].move(position, orientation, [(after - before) / dt * part for part in line])

    def _set(self, name: str, drawn: Mapping[str, Any], at: Sequence[float] | None = None) -> None:
        """Put an item where it was drawn, or at another place on what it stands on."""
        self.things[name].place(*self._place_of(name, drawn, at))

    def _place_of(self, name: str, drawn: Mapping[str, Any], at: Sequence[float] | None) -> Place:
        item = self.spec.items[name]
        position, orientation = self._stand(name, item)
        shift = [a + d for a, d in zip(at or item.at, drawn.get("shift", (0.0, 0.0, 0.0)), strict=True)]
        moved = rotations.rotate(orientation, shift)
        x, y, z = (p + m for p, m in zip(position, moved, strict=True))
        turned = rotations.multiply(
            rotations.from_euler(0.0, 0.0, drawn.get("yaw", 0.0)), rotations.from_euler(*item.rpy)
        )
        return (x, y, z), rotations.multiply(orientation, turned)

    def _stand(self, name: str, item: Item) -> Place:
        """Pose of the frame that an item stands on."""
        if item.upon is None:
            return (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)
        try:
            state = self.frame(item.upon)
        except SimulationError as problem:
            raise SimulationError(f"items.{name}.upon = '{item.upon}': {problem}") from problem
        return state.position, state.orientation

    def require_room(self) -> None:
        """Refuse a layout whose items reach into each other."""
        allowed = {frozenset(pair) for pair in self.spec.touching}
        for (a, first), (b, second) in combinations(self.things.items(), 2):
            depth = -first.distance(second, within=0.0)
            if depth > OVERLAP and frozenset((a, b)) not in allowed:
                raise SimulationError(
                    f"cell '{self.spec.name}': '{a}' and '{b}' overlap by {1000 * depth:.0f} mm; move one of them "
                    "(items.*.at), or list the pair under 'touching'"
                )


def _share(walk: Walk, item: Item, time: float) -> float:
    """Share of its way on which a walker is, `time` s after it has set off."""
    seconds = math.dist(item.at, walk.to) / walk.speed
    if walk.stays_s is not None and time > seconds + walk.stays_s:
        time = 2 * seconds + walk.stays_s - time
    return min(max(time / seconds, 0.0), 1.0)


def _rounded(values: Sequence[float]) -> Any:
    return tuple(round(float(value), 9) + 0.0 for value in values)

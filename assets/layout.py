"""The layout of a factory cell: what stands where, how it differs from episode to episode, and its tiers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from training_ground.assets.devices import DeviceSpec
from training_ground.assets.events import AnyEvent, require_fit
from training_ground.assets.files import is_path
from training_ground.assets.objects import Name
from training_ground.assets.receiving import ReceiverSpec
from training_ground.assets.spec import NonNegative, Positive, Vector3
from training_ground.configs.errors import AssetError, unknown
from training_ground.configs.loading import StrictModel, validate

SECTORS = {
    "automotive": "AU",
    "electronics": "EE",
    "equipment": "EQ",
    "materials": "RM",
    "consumer": "CG",
    "logistics": "LO",
    "health": "HC",
    "service": "SV",
}
"""Sectors of the national plan, and their codes in the template catalogue."""

Sector = Literal["automotive", "electronics", "equipment", "materials", "consumer", "logistics", "health", "service"]
Tier = Literal["nominal", "tight", "flow", "disturbed"]
TIERS: tuple[Tier, ...] = ("nominal", "tight", "flow", "disturbed")
VARIABLE = ("items", "shoulder_height", "touching", "workspace", "devices", "events", "receiver")
"""What of a cell a variation may lay anew."""


class Spread(StrictModel):
    """Half widths of the uniform draws by which an item differs from its place in each episode."""

    position: tuple[NonNegative, NonNegative, NonNegative] = (0.0, 0.0, 0.0)
    """Along x, y and z of what it stands on, m."""
    yaw: Annotated[float, Field(ge=0, le=math.pi)] = 0.0
    """rad."""
    mass: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of its mass."""
    friction: tuple[Positive, Positive] | None = None
    """Range of its Coulomb coefficient; the part's own where absent."""
    resistance: tuple[NonNegative, NonNegative] | None = None
    """Range of the factor on the friction of its joints."""
    carries: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the speed at which its surface carries."""


class Faulty(StrictModel):
    """An event: an item may be another part than it should be."""

    part: str
    """A file of `assets/parts`."""
    chance: Annotated[float, Field(gt=0, le=1)]
    """In each episode."""


class Walk(StrictModel):
    """How an item moves on a straight line at a constant speed, turned by nothing and stopped by nothing: a person who
    steps in, and perhaps back out again."""

    to: Vector3
    """Where it ends, in the same frame as `at`, m."""
    speed: Annotated[float, Field(gt=0, le=2.5)] = 1.6
    """m/s; 1.6 is how fast people walk up to machines (ISO 13855:2010, 6.2.3)."""
    at_s: tuple[NonNegative, NonNegative] = (0.0, 0.0)
    """Range from which the time is drawn at which it sets off, s from the start of the episode."""
    stays_s: NonNegative | None = None
    """s after which it goes back; it stays where absent."""
    chance: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the episodes in which it sets off at all."""

    @model_validator(mode="after")
    def _ordered(self) -> Walk:
        if self.at_s[0] > self.at_s[1]:
            raise ValueError(f"at_s = {list(self.at_s)}: the first number of a range must not exceed the second")
        return self


class Workspace(StrictModel):
    """A box that the hands should not leave, world frame."""

    low: Vector3
    high: Vector3
    """Opposite corners, m."""

    @model_validator(mode="after")
    def _ordered(self) -> Workspace:
        if any(a >= b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low = {list(self.low)}, high = {list(self.high)}: low must be below high on every axis")
        return self


class Item(StrictModel):
    """Something in a cell."""

    part: str
    """A file of `assets/parts`."""
    upon: str | None = None
    """What it stands on, as `item` or `item.frame`; where absent the floor, the robot at its origin looking along x."""
    at: Vector3 = (0.0, 0.0, 0.0)
    """Place of its frame on that, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Orientation of its frame on that, rad."""
    fixed: bool = False
    """Whether it is screwed down."""
    carries: Vector3 = (0.0, 0.0, 0.0)
    """Velocity of its surface along its own axes, m/s: a conveyor belt, which must be fixed."""
    walks: Walk | None = None
    """How it moves by itself; it must be fixed, stand on the floor and carry nothing."""
    spread: Spread = Spread()
    faulty: Faulty | None = None
    """The part that it may be instead, by chance."""

    @model_validator(mode="after")
    def _belts_are_fixed(self) -> Item:
        if any(self.carries) and not self.fixed:
            raise ValueError(f"carries = {list(self.carries)}: only the surface of an item that is 'fixed' can carry")
        return self

    @model_validator(mode="after")
    def _walkers_are_fixed(self) -> Item:
        if self.walks is not None and (not self.fixed or any(self.carries) or self.upon is not None):
            raise ValueError("walks: only an item that is 'fixed', on the floor, and does not carry can move by itself")
        return self


class Camera(StrictModel):
    """A camera that stands fixed in a cell, with a lamp of its own."""

    upon: str
    """What it stands on, as `item` or `item.frame`."""
    at: Vector3
    """Of its optical centre on that, m."""
    target: Vector3
    """Point on that, m, through which its optical axis goes; z is up in its pictures."""
    width: Annotated[int, Field(ge=16, le=640)] = 160
    height: Annotated[int, Field(ge=16, le=640)] = 160
    field_of_view: Annotated[float, Field(gt=0, lt=math.pi)] = 0.9
    """Vertical, rad."""
    rate: Positive = 5.0
    """Pictures a second in an observation; one can be triggered at any time."""
    light: Vector3 = (1.5, -1.0, 3.0)
    """Direction towards the lamp, along the axes of what it stands on."""

    @model_validator(mode="after")
    def _looks_somewhere(self) -> Camera:
        if math.dist(self.at, self.target) < 0.01:
            raise ValueError(f"target = {list(self.target)}: must be 1 cm or more from at = {list(self.at)}")
        return self


class CellSpec(StrictModel):
    """A cell: `assets/cells/<name>.yaml`."""

    name: Name
    title: str
    sectors: Annotated[tuple[Sector, ...], Field(min_length=1)]
    items: Annotated[dict[Name, Item], Field(min_length=1, max_length=200)]
    shoulder_height: Annotated[float, Field(ge=0.5, le=2.0)] = 1.25
    """Height of a mounted robot's shoulders over the floor, m: its stand is as high as that takes."""
    reach: tuple[str, ...] = ()
    """Frames, as `item.frame`, that a hand must get to wherever they are drawn."""
    touching: tuple[tuple[str, str], ...] = ()
    """Pairs of items that overlap by design."""
    workspace: Workspace | None = None
    """Where the hands should stay; anywhere where absent."""
    devices: DeviceSpec = DeviceSpec(sensors={})
    """Sensors and machines; they speak of `item.joint`."""
    cameras: dict[Name, Camera] = Field(default_factory=dict)
    events: dict[Name, AnyEvent] = Field(default_factory=dict)
    """What may happen in an episode, beside parts that are faulty and who walks."""
    receiver: ReceiverSpec | None = None
    """Who takes something out of the robot's hand, if anybody does."""
    tiers: dict[Tier, dict[str, Any]] = Field(default_factory=dict)
    """What of this file is different in a tier, laid over it key by key."""

    @model_validator(mode="after")
    def _stands_on_something(self) -> CellSpec:
        before: list[str] = []
        for name, item in self.items.items():
            if item.upon is not None and item.upon.partition(".")[0] not in before:
                raise ValueError(f"items.{name}.upon: {unknown('item before it', item.upon.partition('.')[0], before)}")
            before.append(name)
        for pair in self.touching:
            for name in pair:
                if name not in self.items:
                    raise ValueError(f"touching: {unknown('item', name, self.items)}")
        for frame in self.reach:
            if frame.partition(".")[0] not in self.items:
                raise ValueError(f"reach: {unknown('item', frame.partition('.')[0], self.items)}")
        for name, camera in self.cameras.items():
            if camera.upon.partition(".")[0] not in self.items:
                raise ValueError(f"cameras.{name}.upon: {unknown('item', camera.upon.partition('.')[0], self.items)}")
        require_fit(self.events, self.items, self.cameras)
        if self.receiver is not None:
            self.receiver.require_fit(self.items)
        return self

    def tier(self, name: Tier, variation: Mapping[str, Any] | None = None) -> CellSpec:
        """Return the cell of a tier.

        Args:
            name: Of the tier.
            variation: What is different from it once more, laid over it key by key. It may add items and not take one
                away, for the task counts on them, and names parts that are installed: it may come from a stranger.

        Raises:
            AssetError: The cell has no such tier, or what it or the variation says does not fit.
        """
        if name != "nominal" and name not in self.tiers:
            raise AssetError(f"cell '{self.name}' has no tier '{name}'. It has: {', '.join(['nominal', *self.tiers])}")
        where = f"cell '{self.name}', tier '{name}'"
        plain = _laid_over(self.model_dump(exclude={"tiers"}), self.tiers.get(name, {}))
        tier = validate(CellSpec, plain, where, AssetError)
        if not variation:
            return tier
        where += ", varied"
        for key in variation:
            if key not in VARIABLE:
                raise AssetError(f"{where}: {unknown('key of a variation', str(key), VARIABLE)}")
        varied = validate(CellSpec, _laid_over(tier.model_dump(exclude={"tiers"}), variation), where, AssetError)
        for item in tier.items:
            if item not in varied.items:
                raise AssetError(f"{where}: items.{item} = null: an item cannot be taken away, the task counts on it")
        for key, item in varied.items.items():
            for part in (item.part, *([item.faulty.part] if item.faulty else [])):
                if is_path(part):
                    raise AssetError(f"{where}: items.{key}: part = '{part}': must be the name of a part, not a path")
        return varied


def _laid_over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the keys of `above` in their place, mappings key by key; None takes a key away."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _laid_over(result[key], value)
        else:
            result[key] = value
    return result

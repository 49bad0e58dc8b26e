"""Uneven ground: rows of equal slabs on the plane z = 0, whose height is known everywhere without asking the engine.

Each row is a profile along one direction; where rows cross, the higher one counts. Slabs have flat tops and upright
risers, which a heightfield with its triangles has not, and for another terrain they are only moved: no shape of the
engine's is built anew.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training_ground.envs import rotations

Array = NDArray[np.float64]
Pose = tuple[rotations.Vector, rotations.Quaternion]

THICKNESS = 2.0
"""m of a slab: its lower side stays out of sight."""

LEVEL = 1e-6
"""m above the plane below which a level slab is left out: a foot must not touch both."""

FOOTPRINT = 0.15
"""m: half the side of the square under the base over which its height above the ground is a mean."""

_CORNERS = ((0.0, 0.0), *((dx, dy) for dx in (FOOTPRINT, -FOOTPRINT) for dy in (FOOTPRINT, -FOOTPRINT)))


class Slabs(NamedTuple):
    """The slabs that a world has for its terrains.

    Attributes:
        number: How many.
        width: Across a row's direction of travel, m: one tread.
        span: Along the edges, m.
    """

    number: int
    width: float
    span: float


@dataclass(frozen=True, eq=False)
class Row:
    """Slabs side by side.

    Attributes:
        direction: Of u, along which the height changes, rad about the vertical; v is to its left.
        edges: (k + 1,) u where the slabs begin and, at last, where the last one ends, m.
        height: (k,) of each slab's surface where it begins, m.
        slope: (k,) of each slab, tangent.
        span: The row lies in |v| ≤ span / 2, m.
    """

    direction: float
    edges: Array
    height: Array
    slope: Array
    span: float

    def __call__(self, x: Array, y: Array) -> Array:
        """Height at world points, m; 0 beside the row."""
        c, s = self._axis
        u, v = c * x + s * y, c * y - s * x
        i = np.searchsorted(self.edges, u, "right") - 1
        inside = (i >= 0) & (i < len(self.height)) & (np.abs(v) <= self.span / 2)
        i = np.clip(i, 0, len(self.height) - 1)
        return np.where(inside, self.height[i] + self.slope[i] * (u - self.edges[i]), 0.0)

    @functools.cached_property
    def _axis(self) -> tuple[float, float]:
        return math.cos(self.direction), math.sin(self.direction)

    @functools.cached_property
    def _lists(self) -> tuple[list[float], list[float], list[float]]:
        return self.edges.tolist(), self.height.tolist(), self.slope.tolist()

    def at(self, x: float, y: float) -> float:
        """Height at one world point, m: as a call gives it."""
        (c, s), (edges, height, slope) = self._axis, self._lists
        u = c * x + s * y
        i = bisect_right(edges, u) - 1
        if not 0 <= i < len(height) or abs(c * y - s * x) > self.span / 2:
            return 0.0
        return height[i] + slope[i] * (u - edges[i])

    def poses(self) -> list[Pose]:
        """Centre (3,), m, and orientation (4,) of each slab that is not level with the plane below."""
        found: list[Pose] = []
        middle = (self.edges[:-1] + self.edges[1:]) / 2
        heights = self.height + self.slope * np.diff(self.edges) / 2
        c, s = self._axis
        for u, z, slope in zip(middle.tolist(), heights.tolist(), self.slope.tolist(), strict=True):
            if abs(z) < LEVEL and slope == 0.0:
                continue
            turned = rotations.from_euler(0.0, -math.atan(slope), self.direction)
            dx, dy, dz = rotations.rotate(turned, (0.0, 0.0, -THICKNESS / 2))
            found.append(((c * u + dx, s * u + dy, z + dz), turned))
        return found


@dataclass(frozen=True, eq=False)
class Terrain:
    """What the ground is like in an episode.

    Attributes:
        kind: Name, for the record.
        rows: Of slabs; none is the plane z = 0.
    """

    kind: str = "flat"
    rows: tuple[Row, ...] = ()

    def height(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Height of the ground at world points, m; shaped like x and y."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        total = np.zeros(np.broadcast_shapes(x.shape, y.shape))
        for row in self.rows:
            np.maximum(total, row(x, y), out=total)
        return total

    def at(self, x: float, y: float) -> float:
        """Height of the ground at one world point, m: as `height` gives it, sooner up to some fifty points."""
        return max([0.0, *[row.at(x, y) for row in self.rows]])

    def under(self, x: float, y: float) -> float:
        """Mean height of the ground under a base at a world point, m: a robot on stairs stands on two steps at once."""
        if not self.rows:
            return 0.0
        return sum(self.at(x + dx, y + dy) for dx, dy in _CORNERS) / len(_CORNERS)

    def poses(self) -> list[Pose]:
        """Where the slabs lie."""
        return [pose for row in self.rows for pose in row.poses()]


FLAT = Terrain()


def _row(slabs: Slabs, direction: float, angles: Array, rises: Array) -> Row:
    """A row of slabs one after the other, the middle one centred on the origin, the lowest point at height 0.

    Args:
        slabs: Gives width and span.
        direction: rad.
        angles: (k,) by which each slab goes up, rad; k is odd.
        rises: (k,) step up to each slab from the one before it, m.
    """
    run = slabs.width * np.cos(angles)
    middle = len(angles) // 2
    edges = np.concatenate([[0.0], np.cumsum(run)])
    edges -= (edges[middle] + edges[middle + 1]) / 2
    climb = run * np.tan(angles)
    height = np.cumsum(rises) + np.concatenate([[0.0], np.cumsum(climb)[:-1]])
    height -= min(height.min(), (height + climb).min())
    return Row(direction, edges, height, np.tan(angles), slabs.span)


def _platform(count: int, width: float, length: float) -> slice:
    """Slabs of a row of `count` that form a level platform of at least `length`, m, around the origin."""
    if length <= 0:
        return slice(0, 0)
    beside = math.ceil(max(0.0, length / width - 1) / 2 - 1e-9)
    return slice(max(0, count // 2 - beside), count // 2 + beside + 1)


def _half(slabs: Slabs) -> int:
    """Slabs of a row that leaves as many for another one: an odd number."""
    return (slabs.number // 2 - 1) // 2 * 2 + 1


def slopes(generator: np.random.Generator, slabs: Slabs, steepest: float, platform: float) -> Terrain:
    """Ramps up and down by turns, each of two to five slabs and at most `steepest`, rad, in a random direction."""
    count, angles = _half(slabs), []
    sign = float(generator.choice([-1.0, 1.0]))
    while len(angles) < count:
        angles += [sign * float(generator.uniform(0.3, 1.0)) * steepest] * int(generator.integers(2, 6))
        sign = -sign
    drawn = np.array(angles[:count])
    drawn[_platform(count, slabs.width, platform)] = 0.0
    return Terrain("slopes", (_row(slabs, _direction(generator), drawn, np.zeros(count)),))


def steps(generator: np.random.Generator, slabs: Slabs, highest: float, platform: float) -> Terrain:
    """Parallel steps up and down by at most `highest`, m, in a random direction."""
    count = _half(slabs)
    rises = generator.uniform(-highest, highest, count)
    level = _platform(count, slabs.width, platform)
    rises[level.start + 1 : level.stop] = 0.0
    return Terrain("steps", (_row(slabs, _direction(generator), np.zeros(count), rises),))


def blocks(generator: np.random.Generator, slabs: Slabs, highest: float, platform: float) -> Terrain:
    """Rectangles of random heights that differ by at most `highest`, m: two rows of steps that cross."""
    count = _half(slabs)
    first, level = _direction(generator), _platform(count, slabs.width, platform)
    rows = []
    for direction in (first, first + math.pi / 2):
        height = generator.uniform(0.0, highest, count)
        height[level] = height[count // 2]
        rows.append(_row(slabs, direction, np.zeros(count), np.diff(height, prepend=height.min())))
    return Terrain("blocks", tuple(rows))


KINDS: dict[str, Callable[[np.random.Generator, Slabs, float, float], Terrain]] = {
    "slopes": slopes, "steps": steps, "blocks": blocks,
}  # fmt: skip


def _direction(generator: np.random.Generator) -> float:
    return float(generator.uniform(-math.pi, math.pi))


def stairs(
    generator: np.random.Generator,
    slabs: Slabs,
    rise: float,
    platform: float,
    direction: float,
    flight: tuple[int, int] = (4, 8),
) -> Terrain:
    """Flights of stairs up and down, with platforms between them, ahead of the origin and behind it.

    Args:
        generator: Draws whether the origin is at the top or at the bottom, and the steps of each flight.
        slabs: One for each tread; its width is the run.
        rise: Of one step, m.
        platform: Least length of a platform, m.
        direction: Along which the stairs lead, rad.
        flight: Fewest and most steps.
    """
    count = slabs.number // 2 * 2 - 1
    level = _platform(count, slabs.width, max(platform, slabs.width))
    wide = level.stop - level.start
    top = int(generator.integers(*flight, endpoint=True)) * int(generator.integers(2))
    levels = np.full(count, top)
    levels[level.stop :] = _flights(generator, count - level.stop, wide, top, flight)
    levels[: level.start] = _flights(generator, level.start, wide, top, flight)[::-1]
    height = rise * levels
    return Terrain("stairs", (_row(slabs, direction, np.zeros(count), np.diff(height, prepend=height.min())),))


def _flights(
    generator: np.random.Generator, count: int, platform: int, top: int, flight: tuple[int, int]
) -> NDArray[np.int64]:
    """Level (count,) of each tread from a platform at level `top` on; flights that do not fit are left out."""
    levels = [*range(top - 1, 0, -1), *([0] * platform)] if top else []
    while True:
        n = int(generator.integers(*flight, endpoint=True))
        both = [*range(1, n), *([n] * platform), *range(n - 1, 0, -1), *([0] * platform)]
        if len(levels) + len(both) > count:
            return np.array([*levels, *([0] * count)][:count])
        levels += both

"""Joints of objects: what slides or turns against a spring, damping and friction, and clicks into catches."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from training_ground.assets.poses import Array
from training_ground.assets.spec import NonNegative, Positive, Vector3
from training_ground.configs.loading import StrictModel

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

UNLIMITED = 1e6
"""N, N·m, m/s or rad/s: no mechanism of ours comes near."""


class Catch(StrictModel):
    """A place where a joint clicks in: a latch, a detent, a door's snap, one position of a selector.

    While it holds, the mechanism's spring, damping and friction have no say: `force` is the whole of what a pull must
    overcome, weight included.
    """

    at: float
    """m or rad."""
    force: Positive
    """What it holds against in both directions, N or N·m."""
    width: Positive
    """Distance from `at` within which it catches, m or rad; it lets go farther out by what the hold itself gives under
    `force`, at most the width again. It is looked at once an advance: what crosses twice the width in one control step
    flies past."""


class Follows(StrictModel):
    """What a joint is geared to: a nut to its screw, a rack to its pinion, a wheel to another."""

    joint: Name
    """Of the same object; called as the piece that it moves."""
    ratio: float
    """Its position is this times that joint's: a screw's lead over 2π (m/rad), a rack's pitch radius, -1 for two equal
    gears."""

    @model_validator(mode="after")
    def _geared(self) -> Follows:
        if self.ratio == 0.0 or not math.isfinite(self.ratio):
            raise ValueError(f"ratio = {self.ratio:g}: must be finite and not zero")
        return self


class Mechanism(StrictModel):
    """A joint on which a piece slides (m, N) or turns (rad, N·m)."""

    kind: Literal["slide", "turn"]
    axis: Vector3
    """In the piece's frame; its length does not matter."""
    at: Vector3 = (0.0, 0.0, 0.0)
    """Origin of the piece's frame in its parent's where the joint is at zero, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Orientation of the piece's frame in its parent's, rad."""
    lower: float
    upper: float
    """Limits, m or rad."""
    spring: NonNegative = 0.0
    """Stiffness, N/m or N·m/rad."""
    rest: float = 0.0
    """Where the spring has no tension, m or rad; beyond a limit it is preloaded."""
    damping: NonNegative = 0.0
    """N·s/m or N·m·s/rad."""
    friction: NonNegative = 0.0
    """Coulomb friction, N or N·m."""
    catches: tuple[Catch, ...] = ()
    follows: Follows | None = None

    @model_serializer(mode="wrap")
    def _brief(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A scenario is known by a hash over what is written here, and stays the same one where nothing follows.
        return {key: value for key, value in write(self).items() if key != "follows" or value is not None}

    @property
    def direction(self) -> Array:
        """The axis as a unit vector."""
        return np.array(self.axis) / math.hypot(*self.axis)

    @model_validator(mode="after")
    def _possible(self) -> Mechanism:
        if self.lower >= self.upper:
            raise ValueError(f"lower = {self.lower:g}, upper = {self.upper:g}: lower must be below upper")
        if math.hypot(*self.axis) < 1e-6:
            raise ValueError(f"axis = {list(self.axis)}: must not be zero")
        for catch in self.catches:
            if not self.lower <= catch.at <= self.upper:
                raise ValueError(f"catch at = {catch.at:g}: must lie within {self.lower:g} and {self.upper:g}")
        for one, other in pairwise(sorted(self.catches, key=lambda catch: catch.at)):
            if other.at - one.at <= one.width + other.width:
                raise ValueError(f"catches at = {one.at:g} and {other.at:g}: their widths overlap")
        return self

"""Regions of a person's body: the contact that each bears, read from `body_regions.yaml` and checked."""

from __future__ import annotations

import importlib.resources
import math
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from training_ground.assets.spec import Positive
from training_ground.configs.errors import AssetError, unknown
from training_ground.configs.loading import StrictModel, load_yaml, validate

Region = Literal[
    "skull", "face", "neck", "back", "chest", "abdomen", "pelvis", "upper_arm", "lower_arm", "hand", "thigh",
    "lower_leg",
]  # fmt: skip
REGIONS: tuple[Region, ...] = get_args(Region)

TRANSIENT_S = 0.5
"""s after which a contact is no longer transient (ISO/TS 15066:2016, 3.4 and 3.5: quasi-static contact is clamping that
lasts, and its measurement begins after 0.5 s: DGUV FB HM-080, ISO/PAS 5672:2023)."""


class Figure(StrictModel):
    """A number and where it comes from."""

    value: Positive
    source: str
    """A key of `sources`."""
    note: str = ""


class Multiple(StrictModel):
    """What a transient contact may have over one that lasts; None where it may have nothing."""

    value: Annotated[float, Field(ge=1)] | None
    source: str
    note: str = ""


class Spots(StrictModel):
    """The limits of a region's most and least sensitive spots."""

    least: Positive
    most: Positive
    source: str
    note: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> Spots:
        if self.least > self.most:
            raise ValueError(f"least = {self.least:g}, most = {self.most:g}: least must not exceed most")
        return self


class BodyRegion(StrictModel):
    """One region; the properties have SI units."""

    title: str
    force_n: Figure
    pressure_n_per_cm2: Spots
    transient: Multiple
    stiffness_n_per_mm: Figure
    mass_kg: Figure

    @property
    def force(self) -> float:
        """Limit of the force of a contact that lasts, N."""
        return self.force_n.value

    @property
    def transient_force(self) -> float:
        """Limit of the force in the first 0.5 s of a contact, N; no higher where a transient one is not allowed for."""
        return self.force * (self.transient.value or 1.0)

    @property
    def stiffness(self) -> float:
        """Spring constant, N/m."""
        return 1000.0 * self.stiffness_n_per_mm.value

    @property
    def mass(self) -> float:
        """Effective mass behind the spring, kg."""
        return self.mass_kg.value

    def impact_force(self, speed: float, mass: float, *, clamped: bool = False) -> float:
        """Return the peak force of an impact, N: v·sqrt(μK) with 1/μ = 1/m_region + 1/mass (ISO/TS 15066:2016, A.3).

        Args:
            speed: Of the robot against the person, m/s.
            mass: Effective mass of the robot, kg: half of what moves, and the load.
            clamped: Whether the region cannot give way, as between the robot and a wall: its own mass then is endless.
        """
        reduced = mass if clamped else 1.0 / (1.0 / self.mass + 1.0 / mass)
        return speed * math.sqrt(reduced * self.stiffness)

    def permitted_speed(self, mass: float, *, clamped: bool = False) -> float:
        """Return the speed whose impact has the limit of a transient contact, m/s; arguments as for `impact_force`."""
        return self.transient_force / self.impact_force(1.0, mass, clamped=clamped)


class BodyRegions(StrictModel):
    """The whole table."""

    sources: dict[str, Annotated[str, Field(min_length=10)]]
    regions: dict[Region, BodyRegion]

    @model_validator(mode="after")
    def _complete(self) -> BodyRegions:
        missing = [name for name in REGIONS if name not in self.regions]
        if missing:
            raise ValueError(f"regions: {', '.join(missing)} missing")
        for name, region in self.regions.items():
            for field in BodyRegion.model_fields:
                figure = getattr(region, field)
                if isinstance(figure, (Figure, Multiple, Spots)) and figure.source not in self.sources:
                    raise ValueError(f"regions.{name}.{field}: {unknown('source', figure.source, self.sources)}")
        return self


def read_regions(path: Path) -> BodyRegions:
    """Read a table.

    Raises:
        AssetError: It is malformed, lacks a region, or a figure names no source.
    """
    return validate(BodyRegions, load_yaml(path, AssetError), str(path), AssetError)


@lru_cache(maxsize=1)
def body_regions() -> dict[Region, BodyRegion]:
    """Return the regions by name, as `body_regions.yaml` has them."""
    folder = importlib.resources.files("training_ground.assets.safety")
    return read_regions(Path(str(folder)) / "body_regions.yaml").regions

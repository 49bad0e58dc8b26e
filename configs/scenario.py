"""The schema of the scenario catalogue: a file says with which robots a task template is played."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from training_ground.configs.loading import StrictModel, load_yaml, validate
from training_ground.configs.presets import ROOT

FOLDER = ROOT / "scenarios"
RESERVED = ("robot", "tier")

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class ScenarioFile(StrictModel):
    """`configs/scenarios/<name>.yaml`: one template. What its task and its cell say themselves is not said again."""

    template: str
    """Task in a factory cell, such as `PegInHole`."""
    robots: Names
    """By name; the first is the reference."""
    tiers: Names | None = None
    """All that the cell has where absent."""
    without: tuple[str, ...] = ()
    """Scenarios that are left out, as `tier/robot`."""
    sectors: Names | None = None
    """The cell's where absent."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the environment, beside robot and tier."""

    @model_validator(mode="after")
    def _robot_and_tier_have_their_own_place(self) -> ScenarioFile:
        for name in RESERVED:
            if name in self.env:
                raise ValueError(f"env.{name} = {self.env[name]!r}: say it under '{name}s'")
        return self


def scenario_files(folder: Path = FOLDER) -> dict[str, ScenarioFile]:
    """Read every file of the catalogue, by name, sorted.

    Raises:
        ConfigError: A file is no YAML mapping, or does not follow the schema.
    """
    return {path.stem: validate(ScenarioFile, load_yaml(path), str(path)) for path in sorted(folder.glob("*.yaml"))}

"""The schema of `configs/sample`: a small dataset that one command makes, and what its card says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from training_ground.configs.loading import StrictModel, load_yaml, validate
from training_ground.configs.presets import preset_path

VERB = "sample"

Line = Annotated[str, Field(min_length=1, max_length=500)]


class SampleFile(StrictModel):
    """`configs/sample/<name>.yaml`: one dataset."""

    task: str
    """Such as `Stand`."""
    policy: str
    """As `tg record --policy` takes it."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the environment, over those that the policy was made for."""
    episodes: Annotated[int, Field(ge=1, le=1000)]
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1_000_000
    """Of the first episode."""
    title: Line
    description: Annotated[str, Field(min_length=1, max_length=5000)]
    limits: tuple[Line, ...] = ()
    """What a user must know, a sentence each."""
    licence: str = "CC-BY-4.0"
    creators: tuple[Line, ...] = ("training-ground",)
    version: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")] = "1.0.0"

    @property
    def about(self) -> dict[str, Any]:
        """What a card says."""
        return self.model_dump(include={"title", "description", "limits", "licence", "creators", "version"})


def load_sample(name_or_path: str | Path) -> tuple[str, SampleFile]:
    """Read a sample's short name and what is in it.

    Raises:
        ConfigError: There is none of that name, or it does not follow the schema.
    """
    path = preset_path(VERB, name_or_path)
    return path.stem, validate(SampleFile, load_yaml(path), str(path))

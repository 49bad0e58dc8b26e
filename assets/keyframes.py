"""A motion of one robot as key poses in time: `assets/motions/<robot>_<what>.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from training_ground.assets.objects import Name
from training_ground.assets.spec import Positive
from training_ground.configs.loading import StrictModel


class KeyPose(StrictModel):
    """Where joints shall be, and how long the way there takes."""

    seconds: Positive
    """From the pose before, s; before the first there is the default pose, and after the last it comes again."""
    joints: dict[str, float] = Field(default_factory=dict)
    """Angles in rad, by name or by pattern, of joints that are not at their default."""


class MotionSpec(StrictModel):
    """Motions of one robot that belong together, such as getting up from the back and from the front."""

    name: Name
    robot: str
    """A robot's name."""
    motions: Annotated[dict[Name, Annotated[tuple[KeyPose, ...], Field(min_length=1)]], Field(min_length=1)]
    return_s: Positive
    """From the last pose to the default one, s."""

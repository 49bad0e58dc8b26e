"""What the walks over uneven ground have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from training_ground.assets.model import Mirror
from training_ground.envs.channels import Channel
from training_ground.envs.scan import scan, scan_channel, scan_mirror
from training_ground.envs.tasks.locomotion.walk import Walk, WalkConfig


class UnevenConfig(WalkConfig):
    """Keyword arguments of every walk over uneven ground."""

    difficulty: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How uneven the ground is: 1 is what the task is about, less is for a curriculum."""
    platform_length: Annotated[float, Field(ge=0)] = 1.2
    """Least length of the level platform on which the robot starts, m; 0 for none."""


class UnevenWalk(Walk):
    """A walk that observes the ground: Walk's channels, then the heights around the robot."""

    adjustable = (*Walk.adjustable, "difficulty")
    config: UnevenConfig  # type: ignore[assignment]  # a narrower one

    def channels(self) -> tuple[Channel, ...]:
        """Walk's, and the heights of the ground."""
        return (*super().channels(), scan_channel())

    def mirror(self) -> dict[str, Mirror]:
        """Walk's, and the heights of the ground."""
        return {**super().mirror(), "terrain_height": scan_mirror()}

    def values(self) -> dict[str, Any]:
        """Walk's, and the heights of the ground."""
        return {**super().values(), "terrain_height": scan(self.env)}

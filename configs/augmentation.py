"""The schema of `configs/augment`: how demonstrations of a task are cut into segments, each seen from a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from training_ground.configs.errors import ConfigError, unknown
from training_ground.configs.loading import StrictModel, load_yaml, validate
from training_ground.configs.presets import preset_names, preset_path

VERB = "augment"

Frame = Annotated[str, Field(pattern=r"^(\{goal\}|[a-z][a-z0-9_]*)(\.(\{goal\}|[a-z][a-z0-9_]*))?$")]
"""A frame of the cell, as `item` or `item.frame`; `{goal}` stands for what the episode asks for."""
Turns = Annotated[int, Field(ge=1, le=360)] | Literal["any"]


class SegmentSpec(StrictModel):
    """What a hand does around one moment, as seen from a frame of the cell."""

    frame: Frame
    """What the motion is about: a part that is grasped, a place where one is put."""
    at: str
    """The phase with whose beginning the hand is there."""
    until: str | None = None
    """The phase with whose beginning it has done; to the end of the episode where absent."""
    held: Frame | None = None
    """What the hand holds when it comes: that is brought the way it went, however it lies in the hand now."""


class AugmentFile(StrictModel):
    """`configs/augment/<name>.yaml`: one task."""

    task: str
    segments: Annotated[tuple[SegmentSpec, ...], Field(min_length=1, max_length=100)]
    symmetry: dict[str, Turns] = Field(default_factory=dict)
    """By item, how many turns about the z axis of its frames come to the same; `any` of what is round."""

    @model_validator(mode="after")
    def _only_the_last_has_no_end(self) -> AugmentFile:
        for i, segment in enumerate(self.segments[:-1]):
            if segment.until is None:
                raise ValueError(f"segments.{i}.until is missing: only the last segment goes on to the end")
        return self

    def turns(self, frame: str) -> int | Literal["any"]:
        """How many turns about its z a frame, `item` or `item.frame`, leaves open; 1 where none."""
        return self.symmetry.get(frame.partition(".")[0], 1)


def load_augment(task: str, name_or_path: str | Path | None = None) -> AugmentFile:
    """Read how a task is cut.

    Args:
        task: Such as `TrayToTray`.
        name_or_path: A file of `configs/augment`, or a path; the file that names the task where absent.

    Raises:
        ConfigError: There is none, it is of another task, or does not follow the schema.
    """
    if name_or_path is not None:
        path = preset_path(VERB, name_or_path)
        found = validate(AugmentFile, load_yaml(path), str(path))
        if found.task != task:
            raise ConfigError(f"{path}: task = '{found.task}', but the episodes are of '{task}'")
        return found
    for path in (preset_path(VERB, name) for name in preset_names(VERB)):
        data = load_yaml(path)
        if data.get("task") == task:
            return validate(AugmentFile, data, str(path))
    known = [str(load_yaml(preset_path(VERB, name)).get("task")) for name in preset_names(VERB)]
    raise ConfigError(unknown("segments for task", task, known) + "; or give the path of a YAML file")

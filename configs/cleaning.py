"""The schema of `configs/clean`: operations that clean a dataset, in the order in which they are applied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from training_ground.configs.errors import ConfigError, unknown
from training_ground.configs.loading import StrictModel, load_yaml, validate
from training_ground.configs.presets import preset_path

VERB = "clean"


class TrimIdle(StrictModel):
    """Cut off what is idle at the beginning and the end."""

    keep_s: Annotated[float, Field(ge=0)] = 0.2
    """How much of it is left, s."""
    speed: Annotated[float, Field(gt=0)] = 0.02
    """Joint speed below which a joint rests, rad/s."""
    action: Annotated[float, Field(gt=0)] = 0.01
    """Change of an action below which it holds still, in its unit."""


class CutGaps(StrictModel):
    """Keep the longest piece between gaps in time."""

    periods: Annotated[float, Field(gt=1)] = 1.5
    """A longer time between two rows is a gap."""


class Repair(StrictModel):
    """Fill short runs of NaN in observations and states, between values that were recorded."""

    rows: Annotated[int, Field(ge=1, le=1000)] = 3
    """Longest run that is filled."""


class Resample(StrictModel):
    """Keep every n-th row, counted from the last one."""

    every: Annotated[int, Field(ge=2, le=1000)]


class Drop(StrictModel):
    """Leave out episodes."""

    when: Literal["quality_fail", "no_success", "cut_off"]
    preset: str = "default"
    """Limits for `quality_fail`: a name in configs/quality, or a YAML file."""


class Deduplicate(StrictModel):
    """Leave out episodes whose content an earlier one has."""

    distance: Annotated[float, Field(gt=0)] | None = None
    """Also those whose joints, from an equal start, stay nearer to an earlier one's than this (rms), rad."""


Operation = TrimIdle | CutGaps | Repair | Resample | Drop | Deduplicate

OPERATIONS: dict[str, type[Operation]] = {
    "trim_idle": TrimIdle,
    "cut_gaps": CutGaps,
    "repair": Repair,
    "resample": Resample,
    "drop": Drop,
    "deduplicate": Deduplicate,
}


class CleaningFile(StrictModel):
    """`configs/clean/<name>.yaml`: each operation is its parameters and, under `do`, its name."""

    operations: Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=100)]


def name_of(operation: Operation) -> str:
    """Return an operation's name."""
    return next(name for name, kind in OPERATIONS.items() if kind is type(operation))


def parse_operation(data: dict[str, Any], where: str, error: type[Exception] = ConfigError) -> Operation:
    """Turn `{do: trim_idle, keep_s: 0.5}` into an operation.

    Raises:
        error: There is no such operation, or a parameter is unknown or not allowed; the nearest name is offered.
    """
    name = data.get("do")
    if name not in OPERATIONS:
        raise error(f"{where}: do: {unknown('operation', name, OPERATIONS)}")
    return validate(OPERATIONS[name], {k: v for k, v in data.items() if k != "do"}, f"{where} ({name})", error)


def load_cleaning(name_or_path: str | Path) -> tuple[str, tuple[Operation, ...]]:
    """Return a preset's short name and its operations.

    Raises:
        ConfigError: There is none, or it does not follow the schema.
    """
    path = preset_path(VERB, name_or_path)
    found = validate(CleaningFile, load_yaml(path), str(path))
    operations = tuple(parse_operation(d, f"{path}: operations.{i}") for i, d in enumerate(found.operations))
    if sum(isinstance(operation, Resample) for operation in operations) > 1:
        raise ConfigError(f"{path}: operations: resample stands there twice; give one factor")
    return path.stem, operations

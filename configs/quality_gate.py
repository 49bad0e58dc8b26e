"""The schema of `configs/quality`: the limits that a dataset's episodes are held against."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from training_ground.configs.errors import ConfigError, unknown
from training_ground.configs.loading import StrictModel, load_yaml, validate
from training_ground.configs.presets import preset_names, preset_path

VERB = "quality"
MEASURES_VERSION = 1
"""Goes up where a measure comes to give another value for the same episode: verdicts from before are stale then."""


class Limit(StrictModel):
    """What one measure may be; at least one of the fields is given."""

    warn_below: float | None = None
    warn_above: float | None = None
    fail_below: float | None = None
    fail_above: float | None = None
    outlier: Annotated[float, Field(gt=0)] | None = None
    """Warn where an episode is further than so many robust standard deviations from the median of all."""

    @model_validator(mode="after")
    def _in_order(self) -> Limit:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError(
                "says nothing: give at least one of warn_below, warn_above, fail_below, fail_above, outlier"
            )
        if self.warn_above is not None and self.fail_above is not None and self.warn_above > self.fail_above:
            raise ValueError(f"warn_above = {self.warn_above:g} must not be above fail_above = {self.fail_above:g}")
        if self.warn_below is not None and self.fail_below is not None and self.warn_below < self.fail_below:
            raise ValueError(f"warn_below = {self.warn_below:g} must not be below fail_below = {self.fail_below:g}")
        return self


class QualityFile(StrictModel):
    """`configs/quality/<name>.yaml`: limits by the name of a measure. A measure without one is reported, not judged."""

    episode: dict[str, Limit] = Field(default_factory=dict)
    dataset: dict[str, Limit] = Field(default_factory=dict)


def load_quality(
    name_or_path: str | Path, episode: Collection[str], dataset: Collection[str]
) -> tuple[str, QualityFile]:
    """Return a preset's short name and its limits.

    Args:
        name_or_path: A file of `configs/quality`, or a path.
        episode, dataset: Names of the measures that there are.

    Raises:
        ConfigError: There is none, or it does not follow the schema or names a measure that there is not.
    """
    path = preset_path(VERB, name_or_path)
    found = validate(QualityFile, load_yaml(path), str(path))
    for level, given, known in (("episode", found.episode, episode), ("dataset", found.dataset, dataset)):
        for name, limit in given.items():
            if name not in known:
                raise ConfigError(f"{path}: {level}: {unknown('measure', name, known)}")
            if level == "dataset" and limit.outlier is not None:
                raise ConfigError(f"{path}: dataset.{name}.outlier: a dataset has nothing to be an outlier of")
    return path.stem, found


def limits_sha256(limits: QualityFile) -> str:
    """Return a hash of what decides about the verdict on an episode: its limits, and the version of the measures."""
    given = {name: limit.model_dump(exclude_none=True) for name, limit in limits.episode.items()}
    text = json.dumps({"version": MEASURES_VERSION, "episode": given}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def preset_hashes() -> dict[str, str]:
    """Return the hash of each preset as it is now, by name."""
    paths = {name: preset_path(VERB, name) for name in preset_names(VERB)}
    return {name: limits_sha256(validate(QualityFile, load_yaml(path), str(path))) for name, path in paths.items()}

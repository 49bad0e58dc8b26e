"""Older versions of the written form: each is read by steps of one version, in memory; files are never rewritten.

A step changes JSON, of `dataset.json` and of an episode's metadata. It never changes columns: an episode's content
hash names its values for ever, and they are read bit for bit whatever version wrote them. A store may hold episodes of
several versions, each of which says its own; new ones are written in the current one.

To change the written form: raise `SCHEMA_VERSION`, add the step from the old version here, and keep a small store that
the old code wrote in `tests/data/`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training_ground.configs.errors import DatasetError, short
from training_ground.configs.loading import validate
from training_ground.datasets.schema import (
    FORMAT,
    SCHEMA_VERSION,
    DatasetSchema,
    EpisodeMetadata,
    canonical_json,
    check_version,
)

Data = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """From one version to the next.

    Attributes:
        dataset: Returns `dataset.json` as the next version has it; may change what it is given.
        episode: The same for an episode's metadata; `schema_sha256` and `content_sha256` are not its to change.
        fingerprint: `DatasetSchema.fingerprint` as the old version computed it, from its `dataset.json`.
        says: What changed, one sentence for people.
    """

    dataset: Callable[[Data], Data]
    episode: Callable[[Data], Data]
    fingerprint: Callable[[Data], str]
    says: str


STEPS: dict[int, Step] = {}
"""By the version that a step begins with. Version 1 is the first there is."""


def oldest() -> int:
    """Return the oldest version that can be read: steps lead from it to today's without a gap."""
    version = SCHEMA_VERSION
    while version - 1 in STEPS:
        version -= 1
    return version


def read_description(data: Data, where: str) -> DatasetSchema:
    """Turn the content of a `dataset.json` of any known version into the schema of today.

    Raises:
        DatasetError: It is of another format, the version is not known, or something in it is wrong.
    """
    if data.get("format") != FORMAT:
        raise DatasetError(f"{where}: format = {short(data.get('format'))}, not '{FORMAT}'")
    version = check_version(data, where, oldest())
    earlier: dict[int, str] = {}
    while version < SCHEMA_VERSION:
        step = STEPS[version]
        earlier[version] = _run(step.fingerprint, data, where, version)
        data = _run(step.dataset, data, where, version)
        version += 1
        data["schema_version"] = version
    return validate(DatasetSchema, data, where, DatasetError).remember(earlier)


def read_metadata(data: Data, where: str) -> tuple[EpisodeMetadata, int]:
    """Turn an episode's metadata of any known version into those of today; also return the version that they had.

    Raises:
        DatasetError: The version is not known, or something in it is wrong.
    """
    written = check_version(data, where, oldest())
    for version in range(written, SCHEMA_VERSION):
        data = _run(STEPS[version].episode, data, where, version)
        data["schema_version"] = version + 1
    return validate(EpisodeMetadata, data, where, DatasetError), written


def fingerprint_1(data: Data) -> str:
    """Return what `DatasetSchema.fingerprint` of version 1 gives, from the content of its `dataset.json`.

    The step from 1 to 2 will need it when there is one; until then a test holds it against the method.
    """
    optional = {"components": [], "dtype": "float32", "rate": None}
    channels = [{**optional, **channel} for channel in data["channels"]]
    kept = {
        "schema_version": 1,
        "channels": [c | {"rate": None if c["rate"] is None else float(c["rate"])} for c in channels],
        "control_rate": float(data["control_rate"]),
        "joint_names": data["joint_names"],
        "model_hash": data["model_hash"],
    }
    return hashlib.sha256(canonical_json(kept, "dataset.json")).hexdigest()


def _run(function: Callable[[Data], Any], data: Data, where: str, version: int) -> Any:
    # A stranger's file may lack anything that a step takes for granted.
    try:
        return function(copy.deepcopy(data))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
        raise DatasetError(f"{where}: does not follow schema_version {version}: {problem!r}") from problem

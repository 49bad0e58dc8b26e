"""What a measure is, and what all of them read from an episode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.schema import ACTION, ChannelSchema, DatasetSchema

Array = NDArray[np.float64]

ANGLES, SPEEDS = ("joint_angle", "joint_position"), ("joint_speed", "joint_velocity")
"""Channels that hold where all joints are, and how fast they move; the truth first."""
FARTHEST = 1e6
"""A limit of a joint beyond this is none that a robot has; a file may say anything."""
REST_SPEED = 0.02
"""Joint speed below which a joint is said to rest, rad/s."""


@dataclass(frozen=True)
class Measure:
    """One number that says something about an episode, or about a dataset.

    Attributes:
        name: Snake case, unique.
        unit: SI, `1` for a pure number.
        text: What it is, in a sentence.
        blind: What it cannot see.
        source: Where the formula comes from; empty where it is plain counting.
    """

    name: str
    unit: str
    text: str
    blind: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A measure's value for one episode or dataset.

    Attributes:
        value: The number; None where it cannot be measured.
        note: Where the value was found (channel, row, joint), or why there is none.
    """

    value: float | None
    note: str = ""


def reading(value: float, note: str = "") -> Reading:
    """Return a reading; values that are not finite measure nothing (`non_finite_share` counts them)."""
    return Reading(float(value), note) if math.isfinite(value) else Reading(None, "values are not finite")


def flat(episode: Episode, name: str) -> Array:
    """Return a column of numbers as (rows, n) float64."""
    return episode.columns[name].astype(np.float64).reshape(episode.length + 1, -1)


def first_of(episode: Episode, names: tuple[str, ...]) -> Array | None:
    """Return the first of some columns that the episode has, (rows, n); None where it has none of them."""
    return next((flat(episode, name) for name in names if name in episode.columns), None)


def labels_of(schema: DatasetSchema, name: str) -> list[str]:
    """Return a name for each number of a channel's flattened sample."""
    channel = next(c for c in schema.channels if c.name == name)
    size = math.prod(channel.shape)
    names = list(channel.components)
    return names if len(names) == size else [f"{name}[{i}]" for i in range(size)]


def actions_of(episode: Episode) -> Array:
    """Return the actions that were applied, (T, n): the last row has none."""
    return flat(episode, ACTION)[:-1]


def float_channels(schema: DatasetSchema, *roles: str) -> list[str]:
    """Return the channels of floating-point numbers that have one of the roles; videos hold whole numbers, and are not
    decoded to be measured."""
    floats = (c for c in schema.channels if c.dtype.startswith("float") and c.storage is None)
    return [c.name for c in floats if c.role in roles]


def unit_width(channel: ChannelSchema) -> int:
    """Return how many numbers of a channel make a unit vector: 4 of an orientation, 3 of a direction, else 0."""
    if channel.unit != "1" or not channel.dtype.startswith("float") or not channel.shape:
        return 0
    if channel.name.endswith("orientation") and channel.shape[-1] % 4 == 0:
        return 4
    return 3 if channel.name == "projected_gravity" else 0


def start_of(episode: Episode, schema: DatasetSchema) -> Array:
    """Return how everything stood in the first row: all floating-point observations and states, (n,)."""
    names = float_channels(schema, "observation", "state")
    first = [episode.columns[name][0].astype(np.float64).reshape(-1) for name in names]
    return np.concatenate(first or [np.zeros(0)])


def joint_limits(schema: DatasetSchema) -> dict[str, Array]:
    """Return the robot's limits, each (joints,): `lower` and `upper` rad, `velocity` rad/s, `effort` N·m.

    They stand in `environment.joint_limits` of the description; what is missing or malformed there is left out.
    """
    given: Any = schema.environment.get("joint_limits")
    found = {}
    for key in ("lower", "upper", "velocity", "effort"):
        values = given.get(key) if isinstance(given, dict) else None
        if not isinstance(values, list) or len(values) != len(schema.joint_names):
            continue
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < FARTHEST for v in values):
            found[key] = np.array(values, dtype=np.float64)
    return found

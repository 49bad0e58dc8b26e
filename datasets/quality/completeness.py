"""Completeness: whether everything that should be in an episode is there."""

from __future__ import annotations

import numpy as np

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import (
    ANGLES,
    REST_SPEED,
    SPEEDS,
    Measure,
    Reading,
    first_of,
    float_channels,
    reading,
)
from training_ground.datasets.schema import DatasetSchema

SENSORS = (*ANGLES, *SPEEDS, "imu_angular_velocity", "imu_linear_acceleration", "base_angular_velocity")

MEASURES = (
    Measure("length_s", "s", "Length of the episode.", "Whether the task can be done in that time."),
    Measure(
        "complete_end",
        "1",
        "1 where the episode ran to its own end, 0 where it was cut off.",
        "An end that came too early because the environment was set up wrongly.",
    ),
    Measure(
        "non_finite_share",
        "1",
        "Share of floating-point values that are NaN or infinite.",
        "A missing value that was filled with a number, such as 0.",
    ),
    Measure(
        "repeated_share",
        "1",
        "Share of rows in which a sensor repeats its last sample bit for bit while joints move; the worst sensor.",
        "A sensor that never changes at all: it is taken for one that has nothing to report.",
    ),
)


def measure(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    """Measure one episode."""
    ended = "terminated" if episode.metadata.terminated else "truncated" if episode.metadata.truncated else "cut off"
    return {
        "length_s": reading(episode.length / schema.control_rate, f"{episode.length} steps"),
        "complete_end": reading(float(episode.metadata.complete), ended),
        "non_finite_share": _non_finite(episode, schema),
        "repeated_share": _repeated(episode, schema),
    }


def _non_finite(episode: Episode, schema: DatasetSchema) -> Reading:
    bad, total, where = 0, 0, ""
    for name in float_channels(schema, "observation", "state", "action", "reward", "event", "picture"):
        values = episode.columns[name].reshape(episode.length + 1, -1)
        wrong = ~np.isfinite(values)
        if wrong.any() and not where:
            where = f"{name}, first in row {int(np.argmax(wrong.any(axis=1)))}"
        bad, total = bad + int(wrong.sum()), total + values.size
    return reading(bad / max(total, 1), where)


def _repeated(episode: Episode, schema: DatasetSchema) -> Reading:
    speed = first_of(episode, SPEEDS)
    if speed is None:
        return Reading(None, "there is no channel of joint speeds")
    slower = {c.name for c in schema.channels if c.rate is not None and c.rate < schema.control_rate}
    moving = (np.abs(speed).max(axis=1) > REST_SPEED)[1:]
    worst, where = 0.0, ""
    for name in SENSORS:
        if name not in episode.columns or name in slower:
            continue
        values = episode.columns[name].reshape(episode.length + 1, -1)
        same = (values[1:] == values[:-1]).all(axis=1)
        share = float((same & moving).mean())
        if not same.all() and share > worst:
            worst, where = share, f"{name}, first in row {int(np.argmax(same & moving)) + 1}"
    return reading(worst, where)

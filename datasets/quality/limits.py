"""Units and limits: whether numbers are ones that the robot and the declared units allow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import (
    Array,
    Measure,
    Reading,
    actions_of,
    flat,
    joint_limits,
    reading,
    unit_width,
)
from training_ground.datasets.schema import ACTION, DatasetSchema

SATURATED = 0.99
"""Share of a limit from which on a value counts as saturated."""
_ROBOT = "Limits of the compiled robot, `environment.joint_limits` of dataset.json"

MEASURES = (
    Measure(
        "joint_limit_excess",
        "rad",
        "How far a joint went beyond its position limits; the worst joint.",
        "Wrong angles within the limits. Sliding joints count in m.",
        _ROBOT,
    ),
    Measure("joint_speed_ratio", "1", "Largest joint speed over the motor's limit.", "Impacts between rows.", _ROBOT),
    Measure("joint_torque_ratio", "1", "Largest motor torque over its limit.", "Peaks between rows.", _ROBOT),
    Measure(
        "torque_saturation_share",
        "1",
        f"Share of rows in which a motor gives more than {SATURATED:.0%} of its torque; the worst motor.",
        "Whether the motor was meant to push as hard as it can.",
        _ROBOT,
    ),
    Measure(
        "action_excess",
        "1",
        "How far actions of unit 1 lie outside of [-1, 1].",
        "Actions in other units: their range is not declared.",
    ),
    Measure(
        "action_saturation_share",
        "1",
        f"Share of action values of unit 1 that lie beyond {SATURATED:.0%} of the range.",
        "Whether a hand is meant to be told to close all the way.",
    ),
    Measure(
        "unit_norm_error",
        "1",
        "How far orientations and the direction of gravity are from unit length; the worst.",
        "A wrong order of a quaternion's numbers.",
    ),
)


def measure(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    """Measure one episode."""
    readings = _joints(episode, schema) | {"unit_norm_error": _unit_norms(episode, schema)}
    unit = next(c.unit for c in schema.channels if c.name == ACTION)
    if unit != "1":
        missing = Reading(None, f"actions are in {unit}")
        return readings | {"action_excess": missing, "action_saturation_share": missing}
    actions = np.abs(actions_of(episode))
    row = int(np.argmax(actions.max(axis=1)))
    return readings | {
        "action_excess": reading(max(float(actions.max()) - 1, 0.0), f"row {row}"),
        "action_saturation_share": reading(_mean(actions >= SATURATED, actions)),
    }


def _mean(hit: NDArray[np.bool_], values: Array) -> float:
    return float(hit.mean()) if np.isfinite(values).all() else float("nan")


def _joints(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    limits, names = joint_limits(schema), schema.joint_names

    def columns(name: str, *needed: str) -> Array | None:
        there = name in episode.columns and all(key in limits for key in needed)
        values = flat(episode, name) if there else None
        return values if values is not None and values.shape[1] == len(names) else None

    def worst(values: Array) -> Reading:
        row, joint = np.unravel_index(int(np.argmax(values)), values.shape)
        return reading(float(values.max()), f"{names[joint]}, row {row}")

    missing = Reading(None, "the dataset does not hold the robot's limits, or not the channel")
    result = dict.fromkeys([m.name for m in MEASURES[:4]], missing)
    if (angle := columns("joint_angle", "lower", "upper")) is not None:
        excess = np.maximum(limits["lower"] - angle, angle - limits["upper"])
        result["joint_limit_excess"] = worst(np.maximum(excess, 0))
    if (speed := columns("joint_speed", "velocity")) is not None:
        result["joint_speed_ratio"] = worst(np.abs(speed) / limits["velocity"])
    if (torque := columns("joint_torque", "effort")) is not None:
        ratio = np.abs(torque) / limits["effort"]
        result["joint_torque_ratio"] = worst(ratio)
        share = (ratio >= SATURATED).mean(axis=0)
        joint = int(np.argmax(share))
        result["torque_saturation_share"] = reading(_mean((ratio >= SATURATED)[:, joint], ratio), names[joint])
    return result


def _unit_norms(episode: Episode, schema: DatasetSchema) -> Reading:
    worst, where, found = 0.0, "", False
    for channel in schema.channels:
        width = unit_width(channel)
        if not width:
            continue
        vectors = flat(episode, channel.name).reshape(episode.length + 1, -1, width)
        error = np.abs(np.linalg.norm(vectors, axis=2) - 1).max(axis=1)
        found = True
        if not error.max() <= worst:
            worst, where = float(error.max()), f"{channel.name}, row {int(np.argmax(error))}"
    return reading(worst, where) if found else Reading(None, "no channel holds unit vectors")

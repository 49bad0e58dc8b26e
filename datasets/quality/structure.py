"""Structure: whether states fit each other and the actions, which no score of actions alone can tell.

Between two rows a joint moves at speeds between those of the two rows. What it moved must fit that, whatever the robot.
"""

from __future__ import annotations

import numpy as np

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.clock import GAP_PERIODS
from training_ground.datasets.quality.measure import (
    ANGLES,
    SPEEDS,
    Array,
    Measure,
    Reading,
    actions_of,
    first_of,
    flat,
    labels_of,
    reading,
)
from training_ground.datasets.schema import ACTION, TIMESTAMP, DatasetSchema

PAIRS = tuple(zip(ANGLES, SPEEDS, strict=True))
MOVING = 0.4
"""Joint speed above which a row counts, rad/s: light joints under stiff gains tremble between rows, and the instant at
which their speed is taken says little of how they creep."""
CLIPPED = 0.98
"""Quantile to which differences of angles and speeds are clipped: one jump is not a wrong unit."""
FEW = 10
"""Rows below which nothing is said."""
LAGS = range(1, 11)
"""Steps after which an action may show in the state."""

MEASURES = (
    Measure(
        "velocity_mismatch",
        "1",
        "Angles against speeds: 1 − 2⟨m, v⟩ / (‖m‖² + ‖v‖²) of what a joint moved in each step and its mean speed "
        "there, the largest differences clipped; 0 where they agree, 1 where they have nothing to do with each other, "
        "2 where they are opposite; the worst joint.",
        "Angles and speeds that are wrong alike; a joint that moves slowly; whether speeds are wrong, or between rows "
        "others.",
    ),
    Measure(
        "state_jump",
        "rad",
        "Largest angle that a joint moved between two rows beyond what its speeds allow.",
        "A jump whose speeds were recorded to match. Stops and impacts within a step count a little.",
    ),
    Measure(
        "action_response",
        "1",
        f"Correlation of an action with its joint's angle or speed, the best of the {LAGS[-1]} steps that follow; "
        "median over joints.",
        "Two joints of many that were swapped; actions too small to tell; joints that hold against a load.",
    ),
)


def measure(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    """Measure one episode."""
    mismatch = jump = Reading(None, "there are no channels of joint angles and speeds")
    for angles, speeds in PAIRS:
        if angles in episode.columns and speeds in episode.columns:
            one, two = _pair(episode, schema, angles, speeds)
            mismatch, jump = _larger(mismatch, one), _larger(jump, two)
    return {"velocity_mismatch": mismatch, "state_jump": jump, "action_response": _response(episode, schema)}


def _larger(one: Reading, two: Reading) -> Reading:
    return two if one.value is None or (two.value is not None and two.value > one.value) else one


def _pair(episode: Episode, schema: DatasetSchema, angles: str, speeds: str) -> tuple[Reading, Reading]:
    angle, speed = flat(episode, angles), flat(episode, speeds)
    if angle.shape != speed.shape:
        nothing = Reading(None, f"{angles} and {speeds} differ in shape")
        return nothing, nothing
    if not (np.isfinite(angle).all() and np.isfinite(speed).all()):
        nothing = Reading(None, "values are not finite")
        return nothing, nothing
    seconds = np.diff(episode.columns[TIMESTAMP])[:, None] / 1e9
    moved = np.diff(angle, axis=0) / seconds
    least, most = np.minimum(speed[:-1], speed[1:]), np.maximum(speed[:-1], speed[1:])
    excess = np.maximum(np.maximum(least - moved, moved - most), 0)
    # Over a gap in time nothing is known of the speeds between; `gap` sees it.
    apart = np.where(seconds <= GAP_PERIODS / schema.control_rate, excess * seconds, 0.0)
    row, joint = np.unravel_index(int(np.argmax(apart)), apart.shape)
    names = labels_of(schema, angles)
    jump = reading(float(apart.max()), f"{angles} of {names[joint]}, row {row + 1}")
    mean = (speed[:-1] + speed[1:]) / 2
    fast = np.maximum(np.abs(moved), np.maximum(np.abs(least), np.abs(most))) > MOVING
    worst = reading(0.0)
    for index in range(angle.shape[1]):
        rows = np.flatnonzero(fast[:, index])
        if len(rows) >= FEW:
            m, v = moved[rows, index], mean[rows, index]
            bound = np.quantile(np.abs(m - v), CLIPPED)
            m = v + np.clip(m - v, -bound, bound)
            share = 1 - 2 * float(m @ v) / max(float(m @ m + v @ v), 1e-12)
            worst = _larger(worst, reading(share, f"{angles} against {speeds} of {names[index]}"))
    return worst, jump


def _response(episode: Episode, schema: DatasetSchema) -> Reading:
    actions, names = actions_of(episode), labels_of(schema, ACTION)
    angle, speed = first_of(episode, ANGLES), first_of(episode, SPEEDS)
    joints = list(schema.joint_names)
    driven = [(i, joints.index(name)) for i, name in enumerate(names) if name in joints]
    if angle is None or speed is None or angle.shape[1] != len(joints) or speed.shape[1] != len(joints) or not driven:
        return Reading(None, "actions do not name joints whose angles and speeds are there")
    if episode.length < FEW + LAGS[-1]:
        return Reading(None, f"shorter than {FEW + LAGS[-1]} steps")
    index = np.array(driven)
    best = np.zeros(len(driven))
    for values in (angle[:, index[:, 1]], speed[:, index[:, 1]]):
        for lag in LAGS:
            best = np.maximum(best, np.abs(_correlation(actions[: len(values) - lag, index[:, 0]], values[lag:])))
    varied = np.ptp(actions[:, index[:, 0]], axis=0) > 1e-3
    if not varied.any():
        return Reading(None, "actions do not change")
    least = index[varied][int(np.argmin(best[varied])), 0]
    return reading(float(np.median(best[varied])), f"least {names[least]}")


def _correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation of each column of `a` with that of `b`, 0 where one does not change."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 1e-12)

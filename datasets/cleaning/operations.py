"""Operations that change one episode. What cannot honestly be made good again is left as it is.

Nothing is invented: not a row, not an action, a reward, an event, a label or a time. Only a short run of missing
observations or states between recorded ones is filled, and marked.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.cleaning import CutGaps, Repair, Resample, TrimIdle
from training_ground.configs.errors import DatasetError
from training_ground.datasets.cleaning.draft import Draft, Dropped
from training_ground.datasets.cleaning.pictures import some_rows
from training_ground.datasets.quality.activity import idle_rows
from training_ground.datasets.quality.labels import SUCCESS
from training_ground.datasets.quality.measure import unit_width
from training_ground.datasets.schema import (
    IS_LAST,
    POLICY_OBSERVATION,
    REWARD,
    TIMESTAMP,
    ChannelSchema,
    DatasetSchema,
)


def trim_idle(draft: Draft, parameters: TrimIdle) -> Draft:
    """Cut off what is idle at both ends, `keep_s` of it excepted.

    Raises:
        Dropped: Nothing else is in the episode.
        DatasetError: There is no channel of joint speeds.
    """
    idle = idle_rows(draft.episode, parameters.speed, parameters.action)
    if idle is None:
        raise DatasetError(
            "trim_idle: the dataset has no channel joint_speed or joint_velocity; take operations without it (--preset)"
        )
    if idle.all():
        raise Dropped("nothing happens in it")
    keep = round(parameters.keep_s * draft.schema.control_rate)
    start, end = int(np.argmin(idle)), int(np.argmin(idle[::-1]))
    return draft.cut(max(0, start - keep), len(idle) - 1 - max(0, end - keep))


def cut_gaps(draft: Draft, parameters: CutGaps) -> Draft:
    """Keep the longest piece that has no gap in time; the first one of several that are as long."""
    times = draft.episode.columns[TIMESTAMP]
    wide = np.flatnonzero(np.diff(times) * draft.schema.control_rate / 1e9 > parameters.periods)
    firsts, lasts = [0, *(wide + 1).tolist()], [*wide.tolist(), len(times) - 1]
    longest = int(np.argmax(np.subtract(lasts, firsts)))
    return draft.cut(firsts[longest], lasts[longest])


def repair(draft: Draft, parameters: Repair) -> Draft:
    """Fill runs of at most `rows` values that are not finite, linearly in time, between finite ones.

    Orientations are brought back to unit length. Not filled: runs at the beginning or the end, longer ones, whole turns
    (angles more than π apart), what a policy saw, actions, rewards and events.
    """
    columns, filled = dict(draft.episode.columns), dict(draft.filled)
    for channel in draft.schema.channels:
        if channel.role not in ("observation", "state") or not channel.dtype.startswith("float"):
            continue
        if channel.storage is not None:
            continue  # a video holds nothing that is not finite
        if channel.name == POLICY_OBSERVATION:
            continue  # it is what was seen, and nothing was seen there
        values, mask = _filled(columns[channel.name], columns[TIMESTAMP], parameters.rows, channel)
        if mask.any():
            columns[channel.name] = values
            filled[channel.name] = mask | filled.get(channel.name, np.zeros_like(mask))
    if filled.keys() == draft.filled.keys():
        return draft
    made = draft.changed(columns, draft.rows, slice(None), {})
    return Draft(made.episode, made.schema, made.rows, filled)


def _filled(
    column: NDArray[Any], times: NDArray[np.int64], longest: int, channel: ChannelSchema
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values = column.reshape(len(column), -1).astype(np.float64)
    missing = ~np.isfinite(values)
    mask = np.zeros_like(missing)
    angle = channel.unit == "rad"
    for component in np.flatnonzero(missing.any(axis=0)).tolist():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing[:, component].astype(np.int8), [0]])))
        for first, end in edges.reshape(-1, 2).tolist():
            if first == 0 or end == len(values) or end - first > longest:
                continue
            around = values[[first - 1, end], component]
            if angle and abs(around[1] - around[0]) > math.pi:
                continue
            rows = slice(first, end)
            values[rows, component] = np.interp(times[rows], times[[first - 1, end]], around)
            mask[rows, component] = True
    width = unit_width(channel)
    if width:
        vectors, touched = values.reshape(len(values), -1, width), mask.reshape(len(mask), -1, width).any(axis=2)
        vectors[touched] /= np.linalg.norm(vectors[touched], axis=1, keepdims=True)
    result = column.copy()
    flat = result.reshape(len(result), -1)
    flat[mask] = values[mask].astype(column.dtype)
    return result, mask


def resample(draft: Draft, parameters: Resample) -> Draft:
    """Keep every n-th row, counted from the last one, so that the end stays what it was.

    The action of a row is the mean of those that were applied until the next row that is kept, its reward the sum of
    those since the row before; events count where they happened since then. The first T mod n rows are lost.

    Raises:
        Dropped: Not even one step is left.
    """
    every = parameters.every
    last = len(draft.rows) - 1
    if last // every < 1:
        raise Dropped(f"{last} steps are fewer than one of {every}")
    draft = draft.cut(last % every, last)
    count = (len(draft.rows) - 1) // every
    kept = slice(0, None, every)
    columns = {name: some_rows(values, kept) for name, values in draft.episode.columns.items()}
    roles = {REWARD: "reward"} | {c.name: c.role for c in draft.schema.channels}
    for name, values in draft.episode.columns.items():
        role = roles.get(name, "")
        if role not in ("action", "reward", "event") or not isinstance(values, np.ndarray):
            continue
        # (count, every, *shape): of actions the rows from one that is kept to the next, of outcomes those after it.
        before = values[:-1].reshape(count, every, *values.shape[1:])
        after = values[1:].reshape(count, every, *values.shape[1:])
        if role == "action":
            columns[name][:-1] = before.astype(np.float64).mean(axis=1).astype(values.dtype)
        elif role == "reward":
            columns[name][1:] = after.astype(np.float64).sum(axis=1).astype(values.dtype)
        elif role == "event" and name != SUCCESS:
            columns[name][1:] = after.any(axis=1) if values.dtype == np.bool_ else after.sum(axis=1)
    columns[IS_LAST][:] = False
    columns[IS_LAST][-1] = True
    made = draft.changed(columns, draft.rows[kept], kept, {"length": count})
    return Draft(made.episode, resampled_schema(draft.schema, every), made.rows, made.filled)


def resampled_schema(schema: DatasetSchema, every: int) -> DatasetSchema:
    """Return the description of a dataset of which every n-th row is kept.

    Raises:
        DatasetError: It cannot be resampled: actions that add up, or a channel faster than the rows.
    """
    options = schema.environment.get("options")
    control = options.get("control") if isinstance(options, dict) else None
    if control == "joint_delta":
        raise DatasetError(f"resample: control = '{control}': actions that add up do not fit one step any more")
    rate = schema.control_rate / every
    faster = [c.name for c in schema.channels if c.rate is not None and c.rate > schema.control_rate]
    if faster:
        raise DatasetError(f"resample: channels with several samples a row: {', '.join(faster)}")
    whole = [c.name for c in schema.channels if c.role == "action" and not c.dtype.startswith("float")]
    if whole:
        raise DatasetError(f"resample: actions that are no floating-point numbers have no mean: {', '.join(whole)}")
    channels = tuple(
        c.model_copy(update={"rate": None}) if c.rate is not None and c.rate > rate else c for c in schema.channels
    )
    return schema.model_copy(update={"control_rate": rate, "channels": channels})

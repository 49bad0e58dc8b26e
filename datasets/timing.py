"""Several rates in one file: how many samples of a channel stand in a row, and when each of them was taken.

A row stands for one control step. A channel of k times that rate has k samples a row along its first axis, oldest
first. A slower one repeats its last sample. Where samples do not come on the grid of steps (a real sensor), a channel
`<name>.age_ns` beside it says how old each one was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError, unknown

if TYPE_CHECKING:
    from training_ground.datasets.schema import ChannelSchema, DatasetSchema

AGE = ".age_ns"
"""Ending of the name of a channel that holds ages, ns at the row's time, int64."""
TIMESTAMP = "timestamp_ns"
_SECOND = 1e9
_MOST = 1e12
"""Ratio of rates beyond which nothing changes any more; numbers from a file may be anything."""


def samples_a_row(rate: float | None, control_rate: float) -> int:
    """Return k for a channel of k times the control rate; 1 for one of the control rate and for slower ones.

    Raises:
        ValueError: A faster rate is no whole multiple of the control rate.
    """
    if rate is None or rate <= control_rate * (1 + 1e-6):
        return 1
    ratio = min(rate / control_rate, _MOST)
    times = round(ratio)
    if abs(ratio - times) > 1e-6 * times:
        raise ValueError(f"rate = {rate:g}: above the control rate it must be a whole multiple of {control_rate:g}")
    return times


def rows_a_sample(rate: float | None, control_rate: float) -> int:
    """Return n for a slower channel, which is new in every n-th row; 1 for the others.

    A camera can only be asked at a step: n is the whole number nearest to the ratio of the rates, a half to the even.
    """
    return 1 if rate is None or rate >= control_rate else max(1, round(min(control_rate / rate, _MOST)))


def check_rates(channels: Sequence[ChannelSchema], control_rate: float) -> None:
    """Refuse channels whose shape does not fit their rate, and ages of nothing.

    Raises:
        ValueError: The message names the channel, its value and what is allowed.
    """
    by_name = {channel.name: channel for channel in channels}
    for channel in channels:
        try:
            count = samples_a_row(channel.rate, control_rate)
        except ValueError as problem:
            raise ValueError(f"channel '{channel.name}': {problem}") from problem
        if count > 1 and channel.shape[:1] != (count,):
            raise ValueError(
                f"channel '{channel.name}': rate = {channel.rate:g} is {count} samples a row, "
                f"so its shape {list(channel.shape)} must begin with {count}, oldest first"
            )
        if not channel.name.endswith(AGE):
            continue
        of = by_name.get(channel.name.removesuffix(AGE))
        if of is None:
            raise ValueError(f"channel '{channel.name}': there is no channel '{channel.name.removesuffix(AGE)}'")
        times = samples_a_row(of.rate, control_rate)
        shape = (times,) if times > 1 else ()
        if (channel.dtype, channel.unit, channel.shape) != ("int64", "ns", shape):
            given = f"{channel.dtype} in {channel.unit} of shape {list(channel.shape)}"
            raise ValueError(f"channel '{channel.name}': is {given}, must be int64 in ns of shape {list(shape)}")


def sample_times(name: str, columns: Mapping[str, NDArray[Any]], schema: DatasetSchema) -> NDArray[np.int64]:
    """Return when the samples of a channel were taken, ns on the episode's clock.

    Args:
        name: A channel.
        columns: An episode's columns; `timestamp_ns` must be among them, and the channel's ages where it has any.
        schema: The store's.

    Returns:
        (rows,), or (rows, k) where there are k samples a row. Samples of an action are of the step that follows the
        row; all others of the time up to it.

    Raises:
        DatasetError: There is no such channel.
    """
    by_name = {channel.name: channel for channel in schema.channels}
    if name not in by_name:
        raise DatasetError(unknown("channel", name, by_name))
    channel, times = by_name[name], columns[TIMESTAMP]
    count = samples_a_row(channel.rate, schema.control_rate)
    if name + AGE in by_name:
        ages = columns[name + AGE]
        return (times[:, None] if ages.ndim > 1 else times) - ages
    if count > 1:
        step = _SECOND / schema.control_rate / count
        places = np.arange(count) - (0 if channel.role == "action" else count - 1)
        return times[:, None] + np.rint(places * step).astype(np.int64)
    every = rows_a_sample(channel.rate, schema.control_rate)
    if every == 1:
        return times
    # By the clock and not by the row: whoever trims the beginning keeps the grid.
    steps = np.rint(times * (schema.control_rate / _SECOND)).astype(np.int64)
    return np.rint((steps - steps % every) * (_SECOND / schema.control_rate)).astype(np.int64)


def new_rows(name: str, columns: Mapping[str, NDArray[Any]], schema: DatasetSchema) -> NDArray[np.bool_]:
    """Return (rows,) whether a row holds a sample of a channel that the row before did not; True in the first.

    Raises:
        DatasetError: There is no such channel.
    """
    times = sample_times(name, columns, schema)
    newest = times if times.ndim == 1 else times.max(axis=1)
    return np.concatenate([[True], np.diff(newest) > 0])


def stale_changes(columns: Mapping[str, NDArray[Any]], schema: DatasetSchema) -> list[str]:
    """Say which channels change in a row in which they are not new, and which ages are negative."""
    problems = []
    names = {channel.name for channel in schema.channels}
    for channel in schema.channels:
        # Of a video, the frame that a row shows: to see that a picture is the same it need not be decoded.
        values = getattr(columns[channel.name], "numbers", columns[channel.name])
        if channel.name.endswith(AGE) and (values < 0).any():
            row = int(np.argmax((values.reshape(len(values), -1) < 0).any(axis=1)))
            problems.append(f"channel '{channel.name}' is negative, first in row {row}")
        slow = rows_a_sample(channel.rate, schema.control_rate) > 1 or channel.name + AGE in names
        if not slow or channel.role == "action":
            continue
        for row in np.flatnonzero(~new_rows(channel.name, columns, schema)):
            if values[row].tobytes() != values[row - 1].tobytes():
                problems.append(f"channel '{channel.name}' changes in row {int(row)}, in which it is not new")
                break
    return problems

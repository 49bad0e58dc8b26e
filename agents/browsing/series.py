"""A channel of an episode as a plot needs it: the lowest and the highest value in each stretch that is a pixel wide."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.report.motion import pack
from training_ground.configs.errors import AgentError, unknown
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.looking import picture_channels
from training_ground.datasets.schema import REWARD, TIMESTAMP, ChannelSchema, DatasetSchema
from training_ground.datasets.timing import sample_times, samples_a_row

MAX_COMPONENTS = 64
"""Components of one answer; the others are asked for with `first`."""
MAX_BUCKETS = 4000

REWARD_CHANNEL = ChannelSchema(
    name=REWARD, shape=(), unit="1", frame="none", role="reward", description="Reward of the step.", dtype="float64"
)


def plotted_channels(schema: DatasetSchema) -> dict[str, ChannelSchema]:
    """Return the channels that can be plotted by name: all but pictures, and the reward in any case."""
    pictures = set(picture_channels(schema))
    found = {channel.name: channel for channel in schema.channels if channel.name not in pictures}
    return found if REWARD in found else {**found, REWARD: REWARD_CHANNEL}


def sample_shape(channel: ChannelSchema, control_rate: float) -> tuple[int, ...]:
    """Return the shape of one sample, also of a channel that has several a row."""
    return channel.shape[1:] if samples_a_row(channel.rate, control_rate) > 1 else channel.shape


def component_names(channel: ChannelSchema, control_rate: float, first: int = 0) -> list[str]:
    """Return the names of up to `MAX_COMPONENTS` numbers of a sample, in the order of memory; "" for a single one."""
    shape = sample_shape(channel, control_rate)
    names = []
    for index in range(first, min(first + MAX_COMPONENTS, math.prod(shape))):
        parts = [str(i) for i in np.unravel_index(index, shape)] if shape else []
        if channel.components and parts:
            parts[-1] = channel.components[int(parts[-1])]
        names.append(" ".join(parts))
    return names


def series(
    episode: Episode,
    schema: DatasetSchema,
    name: str,
    *,
    first: int = 0,
    start: float = 0.0,
    end: float | None = None,
    buckets: int = 600,
) -> dict[str, Any]:
    """Return a stretch of a channel as plain data, at most two numbers a bucket and component.

    Args:
        episode, schema: What was recorded.
        name: One of `plotted_channels`.
        first: The first component of the answer, which has up to `MAX_COMPONENTS`.
        start, end: The stretch, s; `end` is the episode's where absent. A sample more on each side is kept, so that
            lines reach the plot's edge.
        buckets: How many stretches to sum up; all samples are returned where there are not more than twice as many.

    Returns:
        `time` (k,), `low` and `high` (components, k) as base64 of little-endian float32, NaN where nothing is finite;
        `high` is empty where every sample is there. `span`: what each component covers in the whole episode.

    Raises:
        AgentError: There is no such channel or component.
    """
    known = plotted_channels(schema)
    if name not in known:
        raise AgentError(unknown("channel", name, known))
    channel, total = known[name], math.prod(sample_shape(known[name], schema.control_rate))
    if not 0 <= first < total:
        raise AgentError(f"channel '{name}': first = {first}; there are {total} components, from 0")
    times, values = _samples(episode, schema, name, total)
    values = values[:, first : first + MAX_COMPONENTS].astype(np.float64)
    broken = ~np.isfinite(values)
    values[broken] = np.nan
    with np.errstate(all="ignore"):
        span = np.nan_to_num(np.fmax.reduce(values) - np.fmin.reduce(values), posinf=0.0)
        inside = np.flatnonzero((times >= start) & (times <= (times[-1] if end is None else end)))
        low, high = (inside[0], inside[-1] + 1) if len(inside) else (0, 0)
        kept = slice(max(low - 1, 0), high + 1)
        time, least, most = _reduced(times[kept], values[kept], min(max(buckets, 1), MAX_BUCKETS))
        return {
            "channel": name,
            "unit": channel.unit,
            "frame": channel.frame,
            "description": channel.description,
            "components": component_names(channel, schema.control_rate, first),
            "first": first,
            "total": total,
            "points": len(time),
            "samples": len(times),
            "time": pack(time, "f4"),
            "low": pack(least.T, "f4"),
            "high": pack(most.T, "f4"),
            "span": span.tolist(),
            "not_finite": int(broken.sum()),
        }


def _samples(
    episode: Episode, schema: DatasetSchema, name: str, width: int
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return times (m,) in s, and samples (m, width) in their order."""
    columns, channels = episode.columns, plotted_channels(schema)
    declared = any(channel.name == name for channel in schema.channels)
    times = sample_times(name, columns, schema) if declared else columns[TIMESTAMP]
    seconds = np.asarray(times, np.float64).reshape(-1) * 1e-9
    values = columns[name].reshape(len(seconds), width)
    if channels[name].role == "action":  # the last row has no action
        kept = slice(0, -samples_a_row(channels[name].rate, schema.control_rate))
        seconds, values = seconds[kept], values[kept]
    if np.any(np.diff(seconds) < 0):  # ages say that samples came out of order
        order = np.argsort(seconds, kind="stable")
        return seconds[order], values[order]
    return seconds, values


def _reduced(
    times: NDArray[np.float64], values: NDArray[np.float64], buckets: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return times (k,), least and most (k, n) of each bucket; no `most` where nothing was summed up."""
    if len(times) <= 2 * buckets:
        return times, values, values[:0]
    edges = np.linspace(0, len(times), buckets + 1).astype(int)[:-1]
    return times[edges], np.fmin.reduceat(values, edges), np.fmax.reduceat(values, edges)


def phase_spans(phases: NDArray[Any], most: int = 500) -> list[dict[str, Any]]:
    """Return runs of a text column as `first`, `last` (rows, both included) and `name`, without nameless ones.

    Args:
        phases: (rows,) texts.
        most: Runs after which the others are left out.
    """
    changes = np.flatnonzero(phases[1:] != phases[:-1]) + 1
    bounds = [0, *changes.tolist(), len(phases)][: most + 1]
    return [{"first": a, "last": b - 1, "name": str(phases[a])} for a, b in itertools.pairwise(bounds) if phases[a]]

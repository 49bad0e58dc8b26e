"""Which feature of LeRobot holds which channel, and what none of them holds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.formats._common import losses, observed
from training_ground.datasets.formats._lerobot_video import cameras, left_out
from training_ground.datasets.provenance import component_names
from training_ground.datasets.schema import ACTION, POLICY_OBSERVATION, REWARD, DatasetSchema
from training_ground.datasets.store import Store
from training_ground.envs.channels import Channel

DONE = "next.done"


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        name: LeRobot's key.
        channels: Channels whose flattened samples it holds one after the other; empty for `next.done`.
        dtype: numpy dtype name.
        names: A name for each number; None where there is one number.
        next: Whether a frame holds the row after it, where the outcome of the frame's action stands.
    """

    name: str
    channels: tuple[str, ...]
    dtype: str
    size: int
    names: list[str] | None
    next: bool = False

    def values(self, episode: Episode) -> NDArray[Any]:
        """Return the values of an episode's T frames, (T, size)."""
        count = episode.length
        if self.name == DONE:
            return (np.arange(count) == count - 1)[:, None]
        rows = slice(1, None) if self.next else slice(None, -1)
        parts = [episode.columns[name][rows].reshape(count, -1) for name in self.channels]
        return np.concatenate(parts, axis=1).astype(self.dtype, copy=False)


def features_of(schema: DatasetSchema) -> list[Feature]:
    """Return the features of a dataset; LeRobot's own bookkeeping and videos excepted."""
    elsewhere = {channel.name for channel in cameras(schema)} | set(left_out(schema))
    channels = [channel.channel() for channel in schema.channels if channel.name not in elsewhere]
    seen = [channel.channel() for channel in observed(schema) if channel.name not in elsewhere]
    features = []
    if seen:
        names = [n for c in seen for n in (c.components if c.name == POLICY_OBSERVATION else component_names(c))]
        features.append(_make("observation.state", seen, names, "float32"))
    for channel in channels:
        if channel in seen:
            continue
        names = list(channel.components) or component_names(channel)
        names = names if len(names) == channel.size else component_names(channel)
        dtype = "float32" if channel.dtype == "float16" else channel.dtype
        if channel.name == ACTION:
            features.append(_make(ACTION, [channel], names, dtype))
        elif channel.role in ("reward", "event"):
            dtype = "float32" if channel.name == REWARD else dtype
            name = f"next.{channel.name}"
            name = f"next.{channel.role}.{channel.name}" if name == DONE else name
            features.append(_make(name, [channel], names, dtype, next=True))
        else:
            features.append(_make(f"state.{channel.name}", [channel], names, dtype))
    if all(channel.name != REWARD for channel in channels):
        features.append(Feature(f"next.{REWARD}", (REWARD,), "float32", 1, None, next=True))
    features.append(Feature(DONE, (), "bool", 1, None, next=True))
    return features


def losses_of(store: Store, phases: Collection[str], uneven: int) -> tuple[str, ...]:
    """Say what a reader of the LeRobot dataset will not find in it.

    Args:
        store: What is exported.
        phases: Names that occur.
        uneven: How many episodes do not begin at 0 or have gaps in their clock.
    """
    schema = store.schema
    gone = {channel.name for channel in cameras(schema)} | set(left_out(schema))
    channels = [channel.channel() for channel in schema.channels if channel.name not in gone]
    seen = next((f.channels for f in features_of(schema) if f.name == "observation.state"), ())
    deep = [c.name for c in channels if len(c.shape) > 1]
    mixed = [c.name for c in channels if c.name in seen and c.dtype != "float32"]
    wide = [c.name for c in channels if c.dtype == "float64" and c.name not in (REWARD, *seen)]
    short = [c.name for c in channels if c.dtype == "float16" and c.name not in seen]
    said = [
        "the last row of each episode (T + 1 rows become T frames): the state in which it ended",
        "time in nanoseconds: a timestamp is float32 seconds, frame_index / fps",
        *losses(store, "meta/training_ground.json"),
        "what is known of an episode besides its task: see the columns training_ground/… of meta/episodes",
        "which of terminated and truncated ended an episode: next.done is either; training_ground/terminated tells",
        "float64 reward: next.reward is float32; rewards, events and phase of the reset",
    ]
    if uneven:
        said.append(f"the clock of {uneven} episodes, which begins later or has gaps: frames stand at equal distances")
    if mixed:
        said.append(f"observation.state is float32, what went into it of another type is rounded: {', '.join(mixed)}")
    if wide:
        said.append(f"float64 is in the files, but LeRobot hands it out as float32: {', '.join(wide)}")
    if deep:
        said.append(f"shapes with more than one axis, flattened: {', '.join(deep)}")
    if left_out(schema):
        said.append(f"left out, for LeRobot has no place for depth: {', '.join(left_out(schema))}")
    if short:
        said.append(f"float16, widened to float32: {', '.join(short)}")
    if set(phases) - {""}:
        said.append("phases are subtasks there, named in meta/subtasks.parquet")
    return tuple(said)


def _make(name: str, channels: list[Channel], names: list[str], dtype: str, next: bool = False) -> Feature:
    size = sum(channel.size for channel in channels)
    return Feature(name, tuple(c.name for c in channels), dtype, size, names if size > 1 else None, next)

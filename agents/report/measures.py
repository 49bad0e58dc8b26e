"""What is read from recorded episodes for the page: heights, tilts, pushes, torques over limits, foot forces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.model import CompiledModel
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.schema import TIMESTAMP, EpisodeMetadata

Array = NDArray[np.float64]
QUANTILES = (0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Push:
    """A push: when, s, and the velocity that it gave, m/s in the world."""

    time: float
    velocity: tuple[float, float]

    @property
    def speed(self) -> float:
        """m/s."""
        return float(np.hypot(*self.velocity))


@dataclass(frozen=True, eq=False)
class Measures:
    """One episode.

    Attributes:
        number: In the store.
        metadata: As recorded.
        time: (T + 1,) s.
        height: (T + 1,) of the base, m.
        tilt: (T + 1,) of the base from upright, degrees.
        position: (T + 1, 3) of the base, m.  orientation: (T + 1, 4) xyzw.
        joints: (T + 1, n) rad.
        torque: (T + 1, n) N·m.
        foot_force: (T + 1, feet) vertical, N; no columns where the robot has no feet.
        pushes: In order.
    """

    number: int
    metadata: EpisodeMetadata
    time: Array
    height: Array
    tilt: Array
    position: Array
    orientation: Array
    joints: Array
    torque: Array
    foot_force: Array
    pushes: tuple[Push, ...]

    @property
    def success(self) -> bool:
        """Whether the task's success predicate held at the end."""
        return bool(self.metadata.success)

    @property
    def result(self) -> str:
        """In a word."""
        return "standing" if self.success else self.metadata.failure or "no success"

    @property
    def seconds(self) -> float:
        """Length, s."""
        return float(self.time[-1])


def measure(episode: Episode) -> Measures:
    """Read an episode's columns."""
    columns = episode.columns
    time = np.asarray(columns[TIMESTAMP], float) * 1e-9
    position = np.asarray(columns["base_position"], float)
    orientation = np.asarray(columns["base_orientation"], float)
    x, y = orientation[:, 0], orientation[:, 1]
    rows = len(time)
    force = (
        np.asarray(columns["foot_force"], float).reshape(rows, -1, 3)
        if "foot_force" in columns
        else np.zeros((rows, 0, 3))
    )
    return Measures(
        number=episode.number if episode.number is not None else -1,
        metadata=episode.metadata,
        time=time,
        height=position[:, 2],
        tilt=np.degrees(np.arccos(np.clip(1 - 2 * (x * x + y * y), -1, 1))),
        position=position,
        orientation=orientation,
        joints=np.asarray(columns["joint_angle"], float),
        torque=np.asarray(columns["joint_torque"], float),
        foot_force=force[:, :, 2],
        pushes=_pushes(columns.get("push_velocity"), time),
    )


def _pushes(velocity: Any, time: Array) -> tuple[Push, ...]:
    """A push stands in the row after the step that it came before."""
    if velocity is None:
        return ()
    rows = np.flatnonzero(np.any(velocity != 0, axis=1))
    return tuple(Push(float(time[max(row - 1, 0)]), (float(velocity[row][0]), float(velocity[row][1]))) for row in rows)


@dataclass(frozen=True)
class JointLoad:
    """How much of its torque limit a joint used over all episodes: median, 95 % quantile and largest share."""

    joint: str
    limit: float
    median: float
    high: float
    most: float


def joint_loads(episodes: Sequence[Measures], model: CompiledModel) -> list[JointLoad]:
    """Return every joint's use of its torque limit, in the model's order."""
    shares = np.abs(np.concatenate([m.torque[1:] for m in episodes])) / model.effort_limit
    quantiles = np.quantile(shares, QUANTILES, axis=0)
    return [
        JointLoad(name, float(limit), *(float(q) for q in quantiles[:, i]))
        for i, (name, limit) in enumerate(zip(model.joint_names, model.effort_limit, strict=True))
    ]


def hardest(episodes: Sequence[Measures]) -> Measures:
    """Return the success that was tilted farthest, or the longest episode where there is no success."""
    won = [m for m in episodes if m.success]
    if won:
        return max(won, key=lambda m: float(m.tilt.max()))
    return max(episodes, key=lambda m: m.seconds)


def hardest_push(episode: Measures, window_s: float = 2.0) -> Push | None:
    """Return the push after which the robot tilted farthest within `window_s`."""

    def tilt_after(push: Push) -> float:
        inside = (episode.time >= push.time) & (episode.time <= push.time + window_s)
        return float(episode.tilt[inside].max(initial=0.0))

    return max(episode.pushes, key=tilt_after, default=None)

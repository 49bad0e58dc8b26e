"""Replay: simulate a recorded episode again from its seed, arguments and actions, and compare every bit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.frames import Frames
from training_ground.datasets.plain_env import INTERFACE, PlainEnv, declared, declaring, make_again, told
from training_ground.datasets.provenance import describe, make_schema
from training_ground.datasets.recorder import EpisodeBuffer, name_difference
from training_ground.datasets.schema import ACTION, IMPORTED, DatasetSchema, canonical_json

MakeEnv = Callable[..., gymnasium.Env[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """The first place where a channel differs.

    Attributes:
        channel: Column's name.
        step: Row t.
        component: Index in the flattened sample.
        recorded, replayed: The two values there.
        largest: Largest absolute difference over the whole episode; NaN where the channel is no number.
    """

    channel: str
    step: int
    component: int
    recorded: Any
    replayed: Any
    largest: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, channel '{self.channel}'[{self.component}]: recorded {self.recorded!r}, "
            f"replayed {self.replayed!r} (largest difference {self.largest:.3g})"
        )


@dataclass(frozen=True)
class ReplayReport:
    """How a replay went.

    Attributes:
        number: The episode's number in its store; None where it has none.
        seed: Its seed.
        steps: Steps recorded.
        channels: Channels compared.
        differences: One entry a channel that differs, the earliest step first.
        notes: What differs without being a value: length, ending, package versions.
    """

    number: int | None
    seed: int
    steps: int
    channels: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    identical: bool

    @property
    def first(self) -> Difference | None:
        """The earliest difference."""
        return self.differences[0] if self.differences else None


class Replayer:
    """Replays episodes of one dataset; an environment is kept for the episodes that follow with the same arguments.

    Args:
        schema: The dataset's.
        make: Makes an environment from an id and keyword arguments; where absent, `envs.registration.make`, and for
            datasets of environments that declare no channels `plain_env.make_again`, which makes few.
        own_robots: Whether to load a robot's specification from the path that an episode names, where it is none that
            ships: a dataset of a stranger should not choose which files are read.
    """

    def __init__(self, schema: DatasetSchema, make: MakeEnv | None = None, *, own_robots: bool = False) -> None:
        self._schema = schema
        self._make = make or _maker(schema, own_robots)
        self._env: gymnasium.Env[Any, Any] | None = None
        self._key = b""

    def __enter__(self) -> Replayer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the environment."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def replay(self, episode: Episode) -> ReplayReport:
        """Simulate an episode again and compare every channel, bit for bit.

        Raises:
            DatasetError: The episode was recorded with another model, or other channels; the message lists the
                difference. Or it was imported, and there is no environment to replay it in; or it was cleaned, and its
                rows are no longer those that follow from its seed.
            SimulationError: The environment refuses the recorded arguments.
        """
        _check_recorded(episode)
        env = self._environment(episode)
        notes = [*_version_notes(episode, describe(env))]
        columns, terminated, truncated = _simulate(env, self._schema, episode)
        rows = len(columns[ACTION])
        same_end = (terminated, truncated) == (episode.metadata.terminated, episode.metadata.truncated)
        if rows != episode.length + 1:
            notes.insert(0, f"ended after {rows - 1} steps, recorded {episode.length}")
        if not same_end:
            notes.insert(0, f"ended with terminated={terminated}, truncated={truncated}; recorded otherwise")
        lossy = sorted(name for name, storage in self._schema.videos().items() if not storage.lossless)
        if lossy:
            notes.append(f"not compared, for they are stored with loss: {', '.join(lossy)}")
        compared = [name for name in episode.columns if name not in lossy]
        found = [compare(name, episode.columns[name], columns[name]) for name in compared]
        differences = tuple(sorted((d for d in found if d is not None), key=lambda d: d.step))
        identical = not differences and same_end and rows == episode.length + 1
        seed = episode.metadata.seed
        return ReplayReport(episode.number, seed, episode.length, len(found), differences, tuple(notes), identical)

    def _environment(self, episode: Episode) -> gymnasium.Env[Any, Any]:
        metadata = episode.metadata
        if metadata.env_id.startswith(IMPORTED):
            raise DatasetError(
                f"episode {episode.number}: was imported ({metadata.env_id.removeprefix(IMPORTED)}); it was not "
                "recorded in an environment of the training ground, and cannot be replayed in one"
            )
        key = canonical_json([metadata.env_id, metadata.kwargs], "kwargs")
        if self._env is None or key != self._key:
            self.close()
            self._env, self._key = declared(self._make(metadata.env_id, **metadata.kwargs)), key
        _check_model(episode, self._schema, self._env)
        return self._env


def replay(episode: Episode, schema: DatasetSchema, make: MakeEnv | None = None) -> ReplayReport:
    """Replay one episode; see `Replayer`."""
    with Replayer(schema, make) as replayer:
        return replayer.replay(episode)


def compare(name: str, recorded: NDArray[Any], replayed: NDArray[Any]) -> Difference | None:
    """Return the first difference in bits between two columns; None where the rows that both have are equal."""
    rows = min(len(recorded), len(replayed))
    if isinstance(recorded, Frames):
        return _compare_frames(name, recorded, replayed)
    a, b = recorded[:rows].reshape(rows, -1), replayed[:rows].reshape(rows, -1)
    if a.dtype.kind in "OU":
        unequal = a != b
    else:
        size = a.dtype.itemsize
        bits = [np.ascontiguousarray(x).view(np.uint8).reshape(rows, -1, size) for x in (a, b)]
        unequal = (bits[0] != bits[1]).any(axis=-1)
    if not unequal.any():
        return None
    step, component = (int(i) for i in np.argwhere(unequal)[0])
    largest = math.nan
    if a.dtype.kind in "fiub":
        gaps = np.abs(a.astype(float) - b.astype(float))
        largest = float(np.nanmax(gaps)) if not np.isnan(gaps).all() else math.nan
    return Difference(name, step, component, _item(a, step, component), _item(b, step, component), largest)


def _compare_frames(name: str, recorded: Any, replayed: Any) -> Difference | None:
    """Compare picture by picture: a video is never in memory."""
    first: Difference | None = None
    for row, (a, b) in enumerate(zip(recorded, replayed, strict=False)):
        unchanged = row and (recorded.numbers[row], replayed.numbers[row]) == (
            recorded.numbers[row - 1],
            replayed.numbers[row - 1],
        )
        found = None if unchanged else compare(name, a[None], b[None])
        if found is not None:
            largest = found.largest if first is None else max(first.largest, found.largest)
            first = dataclasses.replace(first or found, step=row if first is None else first.step, largest=largest)
    return first


def _item(values: NDArray[Any], row: int, column: int) -> Any:
    value = values[row, column]
    return value.item() if hasattr(value, "item") else value


def _simulate(
    env: gymnasium.Env[Any, Any], schema: DatasetSchema, episode: Episode
) -> tuple[dict[str, NDArray[Any]], bool, bool]:
    base = declaring(env)
    metadata, buffer = episode.metadata, EpisodeBuffer(schema)
    observation, info = env.reset(seed=metadata.seed, options=metadata.options)
    buffer.add(base.frame(), observation, phase=str(told(base, info).get("phase") or ""))
    terminated = truncated = False
    for row in episode.columns[ACTION][:-1]:
        action = base.as_action(row) if isinstance(base, PlainEnv) else row
        observation, reward, terminated, truncated, info = env.step(action)
        buffer.add(base.frame(), observation, float(reward), str(told(base, info).get("phase") or ""))
        if terminated or truncated:
            break
    return buffer.columns(), bool(terminated), bool(truncated)


def _check_recorded(episode: Episode) -> None:
    """Refuse rows that are no longer those that follow from the seed: what was cut off before them is not here."""
    changed = [step for step in episode.metadata.cleaned if not step.as_recorded]
    if changed:
        where = f"episode {episode.number}" if episode.number is not None else "episode"
        raise DatasetError(
            f"{where}: was cleaned and does not follow from its seed any more: {changed[-1]}. Replay the dataset that "
            "it was cleaned from; cleaning.clean.check_cleaned compares that with this one"
        )


def _check_model(episode: Episode, schema: DatasetSchema, env: gymnasium.Env[Any, Any]) -> None:
    description, metadata = describe(env), episode.metadata
    where = f"episode {episode.number}" if episode.number is not None else "episode"
    now = make_schema(env)
    if description["model_hash"] != metadata.model_hash:
        known = name_difference("joints", now.joint_names, schema.joint_names) or ["joint names are the same"]
        known += _version_notes(episode, description) or ["package versions are the same"]
        raise DatasetError(
            f"{where}: recorded with model {metadata.model_hash[:12]} of robot '{metadata.robot}', which is compiled "
            f"as {description['model_hash'][:12]} here: {'; '.join(known)}. Its specification, URDF or compiler changed"
        )
    columns, recorded = now.columns(), schema.columns()
    if columns != recorded:
        known = name_difference("channels", columns, recorded)
        known += [f"channel '{n}' changed" for n in columns if recorded.get(n, columns[n]) != columns[n]]
        raise DatasetError(
            f"{where}: the environment's channels have changed since it was recorded: {'; '.join(known)}"
        )


def _version_notes(episode: Episode, description: dict[str, Any]) -> list[str]:
    recorded, now = episode.metadata.versions, description.get("versions", {})
    return [
        f"{name} {recorded.get(name, 'unknown')} when recorded, {now.get(name, 'unknown')} now"
        for name in sorted({*recorded, *now})
        if recorded.get(name) != now.get(name)
    ]


def _maker(schema: DatasetSchema, own_robots: bool) -> MakeEnv:
    if schema.environment.get("interface") == INTERFACE:
        return partial(make_again, schema.environment.get("wrappers"))
    return _make if own_robots else _make_shipped


def _make_shipped(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    from training_ground.assets.catalog import robot_names

    robot = kwargs.get("robot")
    if robot is not None and robot not in robot_names():
        raise DatasetError(
            f"robot = {str(robot)[:200]!r} is none that ships: the dataset would choose which file is read here; if it "
            "is yours, allow it with own_robots (`tg replay --own-robots`)"
        )
    return _make(env_id, **kwargs)


def _make(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    # Not gymnasium.make: there an id may name a module to import, and a file must not choose what code runs.
    from training_ground.envs.registration import make

    return make(env_id, **kwargs)

"""The recorder: wraps an environment and writes each episode when it ends."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_EPISODE_BYTES, Episode
from training_ground.datasets.files import make_folder
from training_ground.datasets.layout import MEDIA
from training_ground.datasets.media import Recording
from training_ground.datasets.provenance import (
    as_stored,
    code_commit,
    config_hash,
    describe,
    make_kwargs,
    make_schema,
    plain,
)
from training_ground.datasets.schema import (
    IS_LAST,
    PHASE,
    POLICY_OBSERVATION,
    REWARD,
    TEXT,
    TIMESTAMP,
    DatasetSchema,
    EpisodeMetadata,
    PolicyInfo,
)
from training_ground.datasets.store import DESCRIPTION, Store
from training_ground.datasets.video_schema import VideoStorage

FIRST_CAPACITY = 1024

Expand = Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]


class EpisodeBuffer:
    """Rows of an episode that is still running, in arrays that double when they are full; videos go to files at once.

    Args:
        schema: What the rows have.
        folder: Where the files are written, a store's `media`; where absent, the system's folder for temporary ones.
        expand: Works out the channels that frames leave out from what they have besides channels, all rows at once.
    """

    def __init__(self, schema: DatasetSchema, folder: Path | None = None, expand: Expand | None = None) -> None:
        self.rows = 0
        self._expand = expand
        self._schema, self._folder = schema, folder or Path(tempfile.gettempdir())
        self._videos: dict[str, Recording] = {}
        self._columns = {n: c for n, c in schema.columns().items() if n not in schema.videos()}
        self._capacity = 0
        self._arrays: dict[str, NDArray[Any]] = {}
        self._period_ns = 1e9 / schema.control_rate
        self._actions = [c.name for c in schema.channels if c.role == "action"]
        self._own_reward = REWARD in self._columns and all(c.name != REWARD for c in schema.channels)
        self._observed = [c.name for c in schema.channels if c.role == "observation"]
        self._own_observation = POLICY_OBSERVATION in self._columns
        given = {TIMESTAMP, IS_LAST, PHASE, *self._actions}
        given |= {REWARD} if self._own_reward else set()
        given |= {POLICY_OBSERVATION} if self._own_observation else set()
        self._ungiven = [name for name in self._columns if name not in given]
        self._copied = self._ungiven
        self._raw: dict[str, NDArray[Any]] = {}
        self._grow()

    def clear(self) -> None:
        """Begin an episode."""
        self.rows = 0
        for video in self._videos.values():
            video.abandon()
        self._videos = {}

    def add(self, frame: dict[str, Any], observation: Any, reward: float = 0.0, phase: str = "") -> None:
        """Add a row: the frame after a reset or a step; its action goes to the row before, where it was applied."""
        row, arrays = self.rows, self._arrays
        if row == self._capacity:
            self._grow()
            arrays = self._arrays
        if row == 0:
            self._begin(frame)
        for name in self._copied:
            arrays[name][row] = frame[name]
        for name, values in self._raw.items():
            values[row] = frame[name]
        for name, video in self._videos.items():
            video.add(frame[name])
        if row:
            for name in self._actions:
                arrays[name][row - 1] = frame[name]
        if self._own_reward:
            arrays[REWARD][row] = reward
        if self._own_observation:
            arrays[POLICY_OBSERVATION][row] = self._flat(observation)
        arrays[PHASE][row] = phase
        self.rows = row + 1

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the rows so far as an episode's columns; valid until the next `clear`, which must come next."""
        if self._expand is not None and self._raw:
            found = self._expand({name: values[: self.rows] for name, values in self._raw.items()})
            for name in set(self._ungiven).difference(self._copied):
                self._arrays[name][: self.rows] = found[name]
        result: dict[str, Any] = {name: array[: self.rows] for name, array in self._arrays.items()}
        videos, self._videos = self._videos, {}
        result |= {name: video.finish() for name, video in videos.items()}
        result[TIMESTAMP][:] = np.rint(np.arange(self.rows) * self._period_ns)
        result[IS_LAST][:] = False
        result[IS_LAST][-1] = True
        for name in self._actions:
            result[name][-1] = 0
        return result

    def _begin(self, frame: dict[str, Any]) -> None:
        """Prepare for an episode whose frames are like this first one."""
        self._copied = [name for name in self._ungiven if name in frame or self._expand is None]
        if self._expand is not None:
            raw = {name: np.asarray(value) for name, value in frame.items() if name not in self._schema.columns()}
            self._raw = {name: np.zeros((self._capacity, *value.shape), value.dtype) for name, value in raw.items()}
        described, rate = self._schema.columns(), self._schema.control_rate
        for name, storage in self._schema.videos().items():
            self._videos[name] = Recording(self._folder, described[name], storage, rate)

    def _flat(self, observation: Any) -> NDArray[np.float32]:
        if not isinstance(observation, dict):
            return observation
        return np.concatenate([observation[name].reshape(-1) for name in self._observed if name in observation])

    def _grow(self) -> None:
        capacity = max(FIRST_CAPACITY, 2 * self._capacity)
        width = sum(column.row_bytes for column in self._columns.values())
        if self._capacity * width > MAX_EPISODE_BYTES:
            raise DatasetError(f"the episode is longer than a file may hold ({self.rows} rows of {width} bytes)")
        for name, column in self._columns.items():
            kind = object if column.dtype == TEXT else column.dtype
            array = np.zeros((capacity, *column.shape), dtype=kind)
            array[: self.rows] = self._arrays[name][: self.rows] if self.rows else 0
            self._arrays[name] = array
        self._raw = {name: np.concatenate([values, np.zeros_like(values)]) for name, values in self._raw.items()}
        self._capacity = capacity


class Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Writes every episode of an environment to a store, whole, at its end.

    An episode that is cut off (by another `reset`, `close`, Ctrl-C or an error) is dropped, unless `keep_partial`: then
    it is written with neither `terminated` nor `truncated`. A reset without a seed gets one drawn from the last seed
    given, so that every episode can be begun again.

    Args:
        env: An environment of the training ground, or any that declares `channels`, `frame()` and `describe()`.
        store: Where to write; None keeps nothing but the last episode, in `episode`.
        policy: Who acts.
        keep_partial: Write episodes that were cut off.

    Attributes:
        written: Numbers of the episodes written so far.
        dropped: How many episodes were cut off and not written.
        episode: The last episode that ended (its arrays are valid until the next `reset`).

    Raises:
        DatasetError: The environment does not fit the store; the message lists the difference.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        store: Store | None,
        *,
        policy: PolicyInfo | str = "unknown",
        keep_partial: bool = False,
    ) -> None:
        super().__init__(env)
        self.store = store
        self.policy = PolicyInfo(name=policy) if isinstance(policy, str) else policy
        self.keep_partial = keep_partial
        self.written: list[int] = []
        self.dropped = 0
        self.episode: Episode | None = None
        self.schema = make_schema(env)
        folder = None
        if store is not None:
            self.schema = as_stored(self.schema, store.schema)
            check_fit(self.schema, store.schema, str(store.path))
            folder = make_folder(store.path / MEDIA) if self.schema.videos() else None
        self._fingerprint = self.schema.fingerprint()
        self._base: Any = env.unwrapped
        # What is copied at once need not be made an array first; shapes are checked by `frame` at each reset.
        raw = hasattr(self._base, "raw_frame") and hasattr(self._base, "expand")
        self._frame = self._base.raw_frame if raw else self._base.frame
        self._description = describe(env)
        self._config_hash = config_hash(self._description)
        self._buffer = EpisodeBuffer(self.schema, folder, self._base.expand if raw else None)
        self._seeds = np.random.default_rng()
        self._start: dict[str, Any] = {}
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; one that was running is cut off."""
        self.cut_off()
        if seed is None:
            seed = int(self._seeds.integers(2**31))
        else:
            self._seeds = np.random.default_rng([seed, 2])
        started = time.time_ns()
        observation, info = self.env.reset(seed=seed, options=options)
        self._start = {
            "seed": int(info.get("seed", seed)),
            "options": plain(options),
            "randomisation": plain(info.get("randomisation", {})),
            "started_ns": started,
            "cameras": plain(self._base.camera_poses()) if hasattr(self._base, "camera_poses") else {},
        }
        self._buffer.clear()
        self._base.frame()  # checks the shapes
        self._buffer.add(self._frame(), observation, phase=str(info.get("phase") or ""))
        self._running = True
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Advance by one step; at the episode's end it is written before this returns.

        Raises:
            DatasetError: It could not be written; what was written before is not touched.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._running:
            self._buffer.add(self._frame(), observation, float(reward), str(info.get("phase") or ""))
            if terminated or truncated:
                self._finish(bool(terminated), bool(truncated), info)
            else:
                self._info = info
        return observation, reward, terminated, truncated, info

    def cut_off(self) -> None:
        """End the episode that is running, if one is, as `reset` would: dropped, or kept where `keep_partial` is set.

        Steps that follow are not recorded.
        """
        if self._running and self._buffer.rows > 1 and self.keep_partial:
            self._finish(False, False, self._info)
        elif self._running:
            self.dropped += 1
            self._buffer.clear()
        self._running = False

    def close(self) -> None:
        """Cut off what is running and close the environment."""
        self.cut_off()
        super().close()

    def _finish(self, terminated: bool, truncated: bool, info: dict[str, Any]) -> None:
        self._running = False
        description = self._description
        success, failure = info.get("success"), info.get("failure")
        metadata = EpisodeMetadata(
            env_id=str(description.get("env_id", "")),
            kwargs=make_kwargs(description),
            policy=self.policy,
            instruction=str(info.get("instruction") or description.get("instruction", "")),
            length=self._buffer.rows - 1,
            terminated=terminated,
            truncated=truncated,
            success=None if success is None else bool(success),
            failure=None if failure is None else str(failure),
            robot=description["robot"],
            model_hash=description["model_hash"],
            config_hash=self._config_hash,
            schema_sha256=self._fingerprint,
            code_commit=code_commit(),
            versions={str(k): str(v) for k, v in description.get("versions", {}).items()},
            ended_ns=time.time_ns(),
            **self._start,
        )
        episode = Episode(metadata, self._buffer.columns())
        if self.store is not None:
            number = self.store.append(episode)
            self.written.append(number)
            episode = Episode(metadata, episode.columns, number)
        self.episode = episode


PICTURES = {"lossless": VideoStorage(), "lossy": VideoStorage(quality=18), "raw": None}
"""How pictures may be kept: as video that loses nothing, as video that loses a little, or in the episode file."""


def open_or_create(path: Path, env: gymnasium.Env[Any, Any], pictures: str = "lossless") -> Store:
    """Open the store at `path` if it fits the environment; make one where there is none.

    Args:
        path: The store's folder.
        env: What will be recorded.
        pictures: How a new store keeps pictures, one of `PICTURES`.

    Raises:
        DatasetError: What is there is no store, or one of other robots or channels.
    """
    base: Any = env.unwrapped
    storage = {
        channel.name: PICTURES[pictures] for channel in getattr(base, "channels", ()) if channel.role == "picture"
    }
    schema = make_schema(env, storage)
    if not (path / DESCRIPTION).exists():
        return Store.create(path, schema)
    store = Store.open(path)
    check_fit(schema, store.schema, str(path))
    return store


def check_fit(schema: DatasetSchema, stored: DatasetSchema, where: str) -> None:
    """Refuse to mix episodes that do not fit together.

    Raises:
        DatasetError: Robot, model, joints, channels or rate differ; the message lists the difference.
    """
    schema = as_stored(schema, stored)
    if schema.fingerprint() != stored.fingerprint():
        found = "; ".join(differences(schema, stored))
        raise DatasetError(f"{where}: the environment does not fit this dataset: {found}")


def differences(schema: DatasetSchema, stored: DatasetSchema) -> list[str]:
    """Say what makes two schemas unfit for one store, in which `stored` is what the dataset has."""
    differences = []
    if schema.robot != stored.robot:
        differences.append(f"robot '{schema.robot}', the dataset has '{stored.robot}'")
    differences += [
        *name_difference("joints", schema.joint_names, stored.joint_names),
        *name_difference("channels", [c.name for c in schema.channels], [c.name for c in stored.channels]),
    ]
    if schema.control_rate != stored.control_rate:
        differences.append(f"control rate {schema.control_rate:g} Hz, the dataset has {stored.control_rate:g} Hz")
    if schema.model_hash != stored.model_hash:
        differences.append(f"model {schema.model_hash[:12]}, the dataset has {stored.model_hash[:12]}")
    by_name = {c.name: c for c in stored.channels}
    differences += [
        f"channel '{c.name}' is declared differently" for c in schema.channels if by_name.get(c.name, c) != c
    ]
    return differences


def name_difference(kind: str, ours: Any, theirs: Any) -> list[str]:
    """Say how two lists of names differ; nothing where they are equal."""
    ours, theirs = list(ours), list(theirs)
    if ours == theirs:
        return []
    new, gone = [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
    if not new and not gone:
        at = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
        return [f"{kind} stand in another order, first at {at}: '{ours[at]}', recorded '{theirs[at]}'"]
    return [f"{kind}: new here: {', '.join(new[:5]) or 'none'}; only recorded: {', '.join(gone[:5]) or 'none'}"]

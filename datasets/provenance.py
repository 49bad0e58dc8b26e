"""Where an episode comes from: code, configuration and environment."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets.plain_env import DECLARED, PlainEnv, declaring
from training_ground.datasets.schema import (
    POLICY_OBSERVATION,
    ChannelSchema,
    DatasetSchema,
    canonical_json,
    parse_json,
    plain,
)
from training_ground.datasets.video_schema import VideoStorage
from training_ground.envs.channels import Channel


@functools.cache
def code_commit() -> str | None:
    """Return the commit of this code, `+dirty` where tracked files differ from it; None outside a git repository."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def describe(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """Return what an environment says of itself as plain data; of one that says nothing, what Gymnasium knows.

    Raises:
        DatasetError: It lacks one of `DECLARED`, cannot be recorded, or says something that JSON cannot hold.
    """
    base = declaring(env)
    missing = [name for name in DECLARED if not hasattr(base, name)]
    if missing:
        raise DatasetError(f"environment {type(base).__name__}: cannot be recorded: it has no {', '.join(missing)}")
    where = f"description of {type(base).__name__}"
    return parse_json(canonical_json(plain(base.describe()), where), where)


def make_kwargs(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that make the described environment again."""
    return dict(description.get("options", {}))


def config_hash(description: Mapping[str, Any]) -> str:
    """Return the sha256 of what was asked for: environment id, arguments and physics; wrappers where there are any."""
    asked = {key: description.get(key) for key in ("env_id", "options", "physics")}
    asked |= {"wrappers": description["wrappers"]} if description.get("wrappers") else {}
    return hashlib.sha256(canonical_json(asked, "configuration")).hexdigest()


def make_schema(env: gymnasium.Env[Any, Any], videos: Mapping[str, VideoStorage | None] | None = None) -> DatasetSchema:
    """Return the schema of a store for episodes of `env`.

    It has the environment's channels. Where observations are noisy it also has `policy_observation`, the flat
    observation as the policy saw it, for the other channels hold the truth.

    Args:
        env: What will be recorded.
        videos: How channels are stored: None in the episode file itself, else as a video. Those that are not named:
            pictures as videos that lose nothing, the rest in the file.

    Raises:
        DatasetError: The environment declares no channels, or its description lacks something.
    """
    description = describe(env)
    base = declaring(env)
    channels: list[Channel] = list(base.channels)
    if make_kwargs(description).get("noise") is not None and not isinstance(base, PlainEnv):
        channels.append(_policy_observation(channels))
    required = ("robot", "model_hash", "joint_names", "control_rate")
    missing = [key for key in required if key not in description]
    if missing:
        raise DatasetError(f"description of {type(base).__name__}: lacks {', '.join(missing)}")
    data = {
        **{key: description[key] for key in required},
        "instruction": description.get("instruction", ""),
        "channels": [_with_storage(channel, dict(videos or {})) for channel in channels],
        "environment": description,
        "created_ns": time.time_ns(),
    }
    return validate(DatasetSchema, data, f"channels of {type(base).__name__}", DatasetError)


def as_stored(schema: DatasetSchema, stored: DatasetSchema) -> DatasetSchema:
    """Return an environment's schema with pictures stored as in a store, and described as far as there."""
    known = {channel.name: channel for channel in stored.channels}

    def adapt(channel: ChannelSchema) -> ChannelSchema:
        there = known.get(channel.name, channel)
        calibration = None if there.calibration is None else channel.calibration
        return channel.model_copy(update={"storage": there.storage, "calibration": calibration})

    return schema.model_copy(update={"channels": tuple(adapt(channel) for channel in schema.channels)})


def _with_storage(channel: Channel, videos: Mapping[str, VideoStorage | None]) -> dict[str, Any]:
    standard = VideoStorage() if channel.role == "picture" and channel.dtype == "uint8" else None
    storage = videos.get(channel.name, standard)
    return channel.to_json() | ({} if storage is None else {"storage": storage})


def component_names(channel: Channel) -> list[str]:
    """Return a name for each number of a channel's flattened sample, such as `joint_position.left_knee_joint`."""
    if not channel.shape:
        return [channel.name]
    last = channel.components or tuple(str(i) for i in range(channel.shape[-1]))
    leading = channel.size // channel.shape[-1]
    prefixes = [channel.name] if leading == 1 else [f"{channel.name}.{i}" for i in range(leading)]
    return [f"{prefix}.{name}" for prefix in prefixes for name in last]


def _policy_observation(channels: list[Channel]) -> Channel:
    names = [name for c in channels if c.role == "observation" for name in component_names(c)]
    text = "Flat observation as the policy saw it: with noise, latency and dropout."
    return Channel(POLICY_OBSERVATION, (len(names),), "mixed", "none", "observation", text, tuple(names))

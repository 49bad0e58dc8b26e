"""Minari 0.5.4, hdf5 layout, written and read without Minari; checked with the real one (`make minari`).

| in an episode's group | what |
|---|---|
| `observations/<channel>` | what a policy may see, T + 1 rows; `policy_observation` alone where they are noisy |
| `actions` | action applied between t and t + 1, T rows |
| `rewards`, `terminations`, `truncations` | outcome of that step, T rows |
| `infos/<channel>` | every other channel, T + 1 rows; `infos/phase` is UTF-8 bytes, `infos/timestamp_ns` the time |
| attributes `training_ground`, `reset_reward` | the episode's whole metadata, JSON; reward of row 0 |

`data/training_ground.json` is the schema with units and frames. Spaces are always written out: without them Minari
makes the environment that a file names, and with it whatever code the file chose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import ExportReport, check_finite, complete_episodes, new_folder
from training_ground.datasets.formats._common import check_last_action, losses, phases, shown, write_json
from training_ground.datasets.formats._hdf5_own import METADATA, RESET_REWARD
from training_ground.datasets.formats._hdf5_writing import new_hdf5, write_rows
from training_ground.datasets.formats._minari_reader import DATA_FILE, METADATA_FILE, OWN_FILE, import_
from training_ground.datasets.schema import (
    ACTION,
    IS_LAST,
    PHASE,
    POLICY_OBSERVATION,
    REWARD,
    ChannelSchema,
    DatasetSchema,
)
from training_ground.datasets.store import Store

__all__ = ["export", "import_"]

VERSION = "0.5.4"
_NAME = re.compile(r"[-_A-Za-z0-9]+-v\d{1,9}", re.ASCII)


def export(store: Store, path: Path, numbers: Sequence[int], progress: Callable[[int], None]) -> ExportReport:
    """Write episodes as a Minari dataset; see `datasets.export.export`.

    Args:
        store, numbers, progress: As there.
        path: The dataset's folder, a name that ends in `-v0`, `-v1`…; Minari finds it where `MINARI_DATASETS_PATH` is
            the folder above.

    Raises:
        DatasetError: The name is none that Minari finds, a value is not finite, or no episode is complete.
    """
    if not _NAME.fullmatch(path.name):
        raise DatasetError(
            f"{path}: Minari finds only folders with names such as 'stand-v0': letters, digits, -, _, -v0"
        )
    kept, skipped = complete_episodes(store, numbers)
    seen = shown(store.schema)
    frames, largest, policies = 0, 0.0, set()
    with new_folder(path) as folder:
        data = folder / "data"
        data.mkdir()
        with new_hdf5(data / DATA_FILE) as (file, check):
            for index, number in enumerate(kept):
                episode = store.read(number)
                check_finite(episode)
                check_last_action(episode, "Minari")
                _write(file.create_group(f"episode_{index}"), index, episode, store.schema, seen)
                check()
                frames += episode.length
                largest = max(largest, float(np.abs(episode.columns[ACTION].astype(float)).max()))
                policies.add(episode.metadata.policy.name)
                progress(number)
        write_json(data / OWN_FILE, store.schema.model_dump(mode="json"))
        described = {
            "total_episodes": len(kept),
            "total_steps": frames,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "observation_space": json.dumps({"type": "Dict", "subspaces": {c.name: _box(c) for c in seen}}),
            "action_space": json.dumps(_box(_channel(store.schema, ACTION), 1 if largest <= 1 else None)),
            "dataset_id": path.name,
            "minari_version": VERSION,
            "dataset_size": round(sum(f.stat().st_size for f in data.iterdir()) / 1e6, 1),
            "algorithm_name": ", ".join(sorted(policies)),
            "description": store.schema.instruction,
        }
        write_json(data / METADATA_FILE, described)
    return ExportReport("minari", path, len(kept), frames, _losses(store, seen, largest), skipped)


def _write(group: Any, index: int, episode: Episode, schema: DatasetSchema, seen: list[ChannelSchema]) -> None:
    metadata, columns, count = episode.metadata, episode.columns, episode.length
    group.attrs.update({"id": index, "seed": metadata.seed, "total_steps": count})
    group.attrs.update({"policy": metadata.policy.name, "instruction": episode.instruction})
    if episode.success is not None:
        group.attrs["success"] = episode.success
    group.attrs[METADATA] = json.dumps(metadata.model_dump(mode="json"), ensure_ascii=False)
    observations = group.create_group("observations")
    for channel in seen:
        values = columns[channel.name]
        write_rows(observations, channel.name, values.astype(np.uint8) if values.dtype == bool else values)
    group["actions"] = columns[ACTION][:-1]
    group["rewards"] = columns[REWARD][1:].astype(np.float64)
    group.attrs[RESET_REWARD] = float(columns[REWARD][0])
    last = np.arange(count) == count - 1
    group["terminations"], group["truncations"] = last & metadata.terminated, last & metadata.truncated
    infos = group.create_group("infos")
    given = {c.name for c in seen} | {ACTION, REWARD, PHASE, IS_LAST}
    for name in schema.columns():
        if name not in given:
            write_rows(infos, name, columns[name])
    infos[PHASE] = phases(episode)


def _box(channel: ChannelSchema, bound: float | None = None) -> dict[str, Any]:
    """Return a Gymnasium Box as Minari writes it; its bounds are those of the type where none are given."""
    dtype = "uint8" if channel.dtype == "bool" else channel.dtype
    if bound is not None:
        low, high = -bound, bound
    elif dtype.startswith("float"):
        low, high = -np.inf, np.inf
    else:
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        high = 1 if channel.dtype == "bool" else high

    def full(value: float) -> Any:
        return np.full(channel.shape, value, object).tolist()

    return {"type": "Box", "dtype": dtype, "shape": list(channel.shape), "low": full(low), "high": full(high)}


def _channel(schema: DatasetSchema, name: str) -> ChannelSchema:
    return next(channel for channel in schema.channels if channel.name == name)


def _losses(store: Store, seen: list[ChannelSchema], largest: float) -> tuple[str, ...]:
    schema, flags = store.schema, [c.name for c in seen if c.dtype == "bool"]
    said = [
        "the environment: without env_spec recover_environment() fails; an episode's `training_ground` names it",
        *losses(store, "data/training_ground.json"),
        f"control rate ({schema.control_rate:g} Hz): infos/timestamp_ns has the time in ns",
        "hashes: Minari checks none, damage is not noticed",
    ]
    if any(c.name == POLICY_OBSERVATION for c in seen):
        said.append("the truth behind noisy observations is in infos, not in observations")
    if largest > 1:
        said.append(f"bounds of actions: they reach {largest:g}, so the action space is unbounded")
    if flags:
        said.append(f"bool observations are uint8, 0 and 1: {', '.join(flags)}")
    return tuple(said)

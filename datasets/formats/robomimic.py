"""robomimic's HDF5 layout, written and read without robomimic; checked with the real one (`make robomimic`).

| in `dataset.hdf5` | what |
|---|---|
| `data/demo_i/obs/<channel>`, `next_obs/<channel>` | what a policy sees at t and t + 1; one number is a vector of one |
| `data/demo_i/actions` | action applied between t and t + 1, divided by a power of two where it leaves [-1, 1] |
| `data/demo_i/rewards`, `dones` | outcome of that step; `dones` where the episode ended by itself, not by time |
| `data/demo_i/training_ground/<channel>` | every other channel, T + 1 rows; robomimic does not look there |
| `mask/train`, `mask/valid` | names of demos, split by environment and seed |
| attributes `training_ground` | the schema (at `data`) and each episode's whole metadata, JSON |
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import ExportReport, check_finite, complete_episodes, new_folder
from training_ground.datasets.formats._common import check_last_action, losses, phases, shown
from training_ground.datasets.formats._hdf5_own import METADATA, RESET_REWARD
from training_ground.datasets.formats._hdf5_writing import new_hdf5, write_rows
from training_ground.datasets.formats._robomimic_reader import OWN, import_
from training_ground.datasets.schema import ACTION, IS_LAST, PHASE, REWARD, DatasetSchema, EpisodeMetadata
from training_ground.datasets.store import Store

__all__ = ["export", "import_"]

FILE = "dataset.hdf5"
VALID_SHARE = 0.1
_GYM = 2  # robomimic's number for environments that are Gym's


def export(store: Store, path: Path, numbers: Sequence[int], progress: Callable[[int], None]) -> ExportReport:
    """Write episodes as `dataset.hdf5` in a folder; see `datasets.export.export`.

    Raises:
        DatasetError: A value is not finite, or no episode is complete.
    """
    kept, skipped = complete_episodes(store, numbers)
    scale, dtype = _action_form(store, kept)
    groups, frames = [], 0
    with new_folder(path) as folder, new_hdf5(folder / FILE) as (file, check):
        data = file.create_group("data")
        for index, number in enumerate(kept):
            episode = store.read(number)
            check_finite(episode)
            check_last_action(episode, "robomimic")
            _write(data.create_group(f"demo_{index}"), episode, store.schema, scale, dtype)
            check()
            groups.append(group_hash(episode.metadata))
            frames += episode.length
            progress(number)
        data.attrs["total"] = frames
        first = store.metadata(kept[0])
        arguments = {"env_name": first.env_id, "env_type": _GYM, "env_kwargs": first.kwargs}
        data.attrs["env_args"] = json.dumps({"env_version": first.versions.get("training-ground", ""), **arguments})
        data.attrs["control_rate"] = store.schema.control_rate
        data.attrs["action_scale"] = scale
        data.attrs["action_scaling"] = "action as recorded = actions * action_scale, a power of two for each component"
        data.attrs[OWN] = json.dumps(store.schema.model_dump(mode="json"), ensure_ascii=False)
        valid = in_valid(groups)
        for name, chosen in (("train", ~valid), ("valid", valid)):
            if chosen.any():
                names = [f"demo_{index}" for index in np.flatnonzero(chosen)]
                file[f"mask/{name}"] = np.array(names, dtype=np.bytes_)
    said = _losses(store, scale, int(valid.sum()), len(kept))
    return ExportReport("robomimic", path, len(kept), frames, said, skipped)


def group_hash(metadata: EpisodeMetadata) -> str:
    """Return what keeps episodes together in a split: environment and seed; an augmented one goes with its source."""
    seed = metadata.seed if metadata.origin is None else metadata.origin.seed
    return hashlib.sha256(f"{metadata.env_id}\0{seed}".encode()).hexdigest()


def in_valid(groups: Sequence[str]) -> NDArray[np.bool_]:
    """Return which episodes are for validation: those whose group's hash is in the lowest tenth.

    An episode's side does not depend on the others, but where none would be there: then the lowest group is. One group
    alone is all for training.
    """
    limit = int(VALID_SHARE * 16**8)
    chosen = np.array([int(group[:8], 16) < limit for group in groups])
    if len(set(groups)) > 1 and (not chosen.any() or chosen.all()):
        chosen = np.array([group == min(groups) for group in groups])
    return chosen if len(set(groups)) > 1 else np.zeros(len(groups), bool)


def _action_form(store: Store, numbers: Sequence[int]) -> tuple[NDArray[np.float64], np.dtype[Any]]:
    """Return the smallest powers of two, at least one, that bring every action into [-1, 1], (n,), and a dtype.

    A power of two only moves the exponent: the recorded action comes back in every bit. Where it would leave the
    exponents that the recorded type has, and for whole numbers, actions are float64.
    """
    largest: Any = 0.0
    smallest: Any = np.inf
    dtype = np.dtype(np.float64)
    for number in numbers:
        values = store.read(number).columns[ACTION]
        sizes = np.abs(values.reshape(len(values), -1).astype(np.float64))
        largest = np.maximum(largest, sizes.max(axis=0))
        smallest = np.minimum(smallest, np.where(sizes > 0, sizes, np.inf).min(axis=0))
        dtype = values.dtype
    powers = [math.frexp(value)[1] - (math.frexp(value)[0] == 0.5) if math.isfinite(value) else 0 for value in largest]
    scale = np.array([2.0 ** max(0, power) for power in powers])
    narrow = dtype.kind != "f" or np.any((smallest / scale < np.finfo(dtype).tiny) & (scale > 1))
    return scale, np.dtype(np.float64) if narrow else dtype


def _write(
    group: Any, episode: Episode, schema: DatasetSchema, scale: NDArray[np.float64], dtype: np.dtype[Any]
) -> None:
    metadata, columns, count = episode.metadata, episode.columns, episode.length
    group.attrs["num_samples"] = count
    group.attrs[METADATA] = json.dumps(metadata.model_dump(mode="json"), ensure_ascii=False)
    now, then, rest = (group.create_group(name) for name in ("obs", "next_obs", OWN))
    seen = {channel.name for channel in shown(schema)}
    for name in sorted(seen):
        values = _at_least_vectors(columns[name])
        write_rows(now, name, values, last=count)
        write_rows(then, name, values, first=1)
    actions = columns[ACTION][:-1].reshape(count, -1)
    group["actions"] = (actions / scale).astype(dtype)
    group["rewards"] = columns[REWARD][1:].astype(np.float64)
    group.attrs[RESET_REWARD] = float(columns[REWARD][0])
    group["dones"] = ((np.arange(count) == count - 1) & metadata.terminated).astype(np.int64)
    for name in schema.columns():
        if name not in {*seen, ACTION, REWARD, PHASE, IS_LAST}:
            write_rows(rest, name, columns[name])
    rest[PHASE] = phases(episode)


def _at_least_vectors(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, None] if values.ndim == 1 else values


def _losses(store: Store, scale: NDArray[np.float64], valid: int, total: int) -> tuple[str, ...]:
    scaled = int((scale > 1).sum())
    said = [
        "`states`: no state that a simulator could be set to is recorded; `tg replay` starts from seed and actions",
        "the environment: env_args names it, but robomimic cannot make it without a wrapper of its own",
        *losses(store, "the attribute training_ground of /data"),
        "the simulator's truth, events, phases and reward terms: robomimic ignores the group training_ground",
        "whether an episode was truncated: dones is 0 at its last step then, as where it goes on",
        "hashes: robomimic checks none, damage is not noticed",
    ]
    if scaled:
        said.append(
            f"{scaled} components of actions left [-1, 1] and are divided: multiply by the attribute action_scale"
        )
    if not valid:
        said.append("mask/valid: all episodes are of one environment and seed, which a split must not part")
    else:
        said.append(
            f"mask/valid has {valid} of {total} episodes, split by environment and seed, not by the store's splits"
        )
    return tuple(said)

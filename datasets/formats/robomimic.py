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
from training_ground.datasets.formats._robomimic_reader import OWN, import_
from training_ground.datasets.formats.minari import encoded_phases, observed
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
    import h5py

    kept, skipped = complete_episodes(store, numbers)
    scale = _action_scale(store, kept)
    groups, frames = [], 0
    with new_folder(path) as folder, h5py.File(folder / FILE, "w") as file:
        data = file.create_group("data")
        for index, number in enumerate(kept):
            episode = store.read(number)
            check_finite(episode)
            _write(data.create_group(f"demo_{index}"), episode, store.schema, scale)
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
    losses = _losses(store.schema, scale, int(valid.sum()), len(kept))
    return ExportReport("robomimic", path, len(kept), frames, losses, skipped)


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


def _action_scale(store: Store, numbers: Sequence[int]) -> NDArray[np.float64]:
    """Return the smallest powers of two, at least one, that bring every action into [-1, 1]; (n,) one a component.

    A power of two only moves the exponent: the recorded action comes back in every bit.
    """
    largest: Any = 0.0
    for number in numbers:
        values = store.read(number).columns[ACTION]
        largest = np.maximum(largest, np.abs(values.reshape(len(values), -1).astype(np.float64)).max(axis=0))
    powers = [math.frexp(value)[1] - (math.frexp(value)[0] == 0.5) if math.isfinite(value) else 0 for value in largest]
    return np.array([2.0 ** max(0, power) for power in powers])


def _write(group: Any, episode: Episode, schema: DatasetSchema, scale: NDArray[np.float64]) -> None:
    metadata, columns, count = episode.metadata, episode.columns, episode.length
    group.attrs["num_samples"] = count
    group.attrs[OWN] = json.dumps(metadata.model_dump(mode="json"), ensure_ascii=False)
    now, then, rest = (group.create_group(name) for name in ("obs", "next_obs", OWN))
    seen = {channel.name for channel in observed(schema)}
    for name in sorted(seen):
        values = _at_least_vectors(columns[name])
        now[name], then[name] = values[:-1], values[1:]
    actions = columns[ACTION][:-1].reshape(count, -1)
    dtype = actions.dtype if actions.dtype.kind == "f" else np.dtype(np.float64)
    group["actions"] = (actions / scale).astype(dtype)
    group["rewards"] = columns[REWARD][1:].astype(np.float64)
    group["dones"] = ((np.arange(count) == count - 1) & metadata.terminated).astype(np.int64)
    for name in schema.columns():
        if name not in {*seen, ACTION, REWARD, PHASE, IS_LAST}:
            rest[name] = columns[name]
    rest[PHASE] = encoded_phases(episode)


def _at_least_vectors(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, None] if values.ndim == 1 else values


def _losses(schema: DatasetSchema, scale: NDArray[np.float64], valid: int, total: int) -> tuple[str, ...]:
    scaled = int((scale > 1).sum())
    rates = [c.name for c in schema.channels if c.rate is not None and c.rate != schema.control_rate]
    said = [
        "`states`: no state that a simulator could be set to is recorded; `tg replay` starts from seed and actions",
        "the environment: env_args names it, but robomimic cannot make it without a wrapper of its own",
        "units, frames and descriptions of channels: see the attribute training_ground of /data",
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
    if rates:
        said.append(f"rates other than the control rate: {', '.join(rates)}")
    return tuple(said)

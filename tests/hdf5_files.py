"""HDF5 files as other programs write them: what tests of imports read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")


def minari(path: Path, change: Callable[[Any], None] | None = None, episodes: int = 2, **metadata: Any) -> Path:
    """A dataset as Minari's DataCollector writes it: nested observations, discrete actions, infos."""
    (path / "data").mkdir(parents=True)
    box = {"type": "Box", "dtype": "float64", "shape": [3], "low": [-np.inf] * 3, "high": [np.inf] * 3}
    pair = {"type": "Tuple", "subspaces": [box, {"type": "Discrete", "dtype": "int64", "start": 0, "n": 5}]}
    text = {"type": "Text", "max_length": 9, "min_length": 1, "charset": "abc"}
    space = {"type": "Dict", "subspaces": {"Desired Goal": box, "pair": pair, "words": text}}
    with h5py.File(path / "data/main_data.hdf5", "w") as file:
        for index in range(episodes):
            steps = 4 + index
            group = file.create_group(f"episode_{index}", track_order=True)
            group.attrs.update({"id": index, "total_steps": steps})
            rows = np.arange(3.0 * (steps + 1)).reshape(-1, 3)
            group["observations/Desired Goal"], group["observations/pair/_index_0"] = rows, -rows.astype(">f8")
            group["observations/pair/_index_1"] = np.arange(steps + 1)
            group["observations/words"] = ["abc"] * (steps + 1)
            group.create_dataset("actions", data=np.arange(steps), maxshape=(None,), chunks=True, compression="gzip")
            group["rewards"] = np.arange(steps, dtype="f4")
            group["terminations"] = np.arange(steps) == steps - 1
            group["truncations"] = np.zeros(steps, bool)
            group["infos/speed"], group["infos/TimeLimit.truncated"] = np.ones(steps + 1), np.ones(steps, bool)
            if index:
                group["infos/only here"] = np.ones(steps + 1)
        if change is not None:
            change(file)
    described = {
        "total_episodes": episodes,
        "data_format": "hdf5",
        "dataset_id": "others/pick-v0",
        "minari_version": "0.5.4",
        "observation_space": json.dumps(space),
        "action_space": json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": 9}),
        **metadata,
    }
    described = {key: value for key, value in described.items() if value is not None}
    (path / "data/metadata.json").write_text(json.dumps(described))
    return path


def robomimic_file(path: Path, change: Callable[[Any], None] | None = None, **attributes: Any) -> Path:
    """A file as robomimic's conversion scripts write it."""
    with h5py.File(path, "w") as file:
        arguments = {"env_name": "Lift", "env_type": 1, "env_kwargs": {"control_freq": 20}, "env_version": "1.4.1"}
        file.create_group("data").attrs.update({"total": 9, "env_args": json.dumps(arguments), **attributes})
        for index in range(2):
            group, steps = file.create_group(f"data/demo_{index}"), 4 + index
            rows = np.arange(2.0 * (steps + 1)).reshape(-1, 2)
            group.attrs.update({"num_samples": steps, "model_file": "<mujoco/>"})
            group["obs/object"], group["next_obs/object"] = rows[:-1], rows[1:]
            group["obs/agentview_image"] = np.full((steps, 4, 4, 3), index, "u1")
            group["actions"], group["rewards"] = np.full((steps, 7), 0.5), np.arange(steps, dtype=float)
            group["dones"] = (np.arange(steps) == steps - 1).astype("i8")
            group["states"] = rows[:-1]
        file["mask/train"] = np.array([b"demo_0"])
        if change is not None:
            change(file)
    return path

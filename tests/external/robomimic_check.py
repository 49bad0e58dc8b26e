"""Open an export with the real robomimic and compare every value with the store.

Runs in an environment of its own (`make robomimic`), without training_ground.

    python robomimic_check.py STORE EXPORT
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_store import read_store, same


def sequence_dataset(path: Path, keys: list[str], **options: Any) -> Any:
    """Open a file as robomimic's training does; it prints while it opens."""
    from robomimic.utils.dataset import SequenceDataset

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return SequenceDataset(str(path), obs_keys=keys, dataset_keys=["actions", "rewards", "dones"], **options)


def main(store: Path, export: Path) -> None:
    """Run every check; an AssertionError says what is wrong."""
    import h5py
    import robomimic
    import robomimic.utils.obs_utils as obs_utils

    path = export / "dataset.hdf5"
    schema, episodes = read_store(store, cut_off=False)
    roles = {c["name"]: c["role"] for c in schema["channels"]}
    noisy = [n for n in roles if n == "policy_observation"]
    keys = noisy or [n for n in roles if roles[n] == "observation"]
    pictures = [n for n in roles if roles[n] == "picture"]
    with contextlib.redirect_stdout(io.StringIO()):
        kinds = {"low_dim": keys, "rgb": pictures, "depth": [], "scan": []}
        obs_utils.initialize_obs_utils_with_obs_specs({"obs": kinds})
    with h5py.File(path) as opened:
        file: Any = opened
        scale = np.array(file["data"].attrs["action_scale"])
        environment = json.loads(file["data"].attrs["env_args"])
        masks = list(file.get("mask", {}))
    assert environment["env_name"] == episodes[0][0]["env_id"] and environment["env_kwargs"] == episodes[0][0]["kwargs"]

    dataset = sequence_dataset(path, [*keys, *pictures])  # with next_obs, as offline learners open it
    assert len(dataset) == sum(m["length"] for m, _ in episodes) and dataset.n_demos == len(episodes)
    compared, index = 0, 0
    for metadata, columns in episodes:
        for t in range(metadata["length"]):
            item = dataset[index]
            for key in (*keys, *pictures):
                for when, row in (("obs", t), ("next_obs", t + 1)):
                    wanted = columns[key][row].reshape(-1)
                    compared += same(item[when][key].reshape(-1), wanted, f"seed {metadata['seed']}, {t}, {key}")
            assert np.array_equal(item["actions"][0] * scale, columns["action"][t].reshape(-1)), (metadata["seed"], t)
            assert np.abs(item["actions"]).max() <= 1
            assert item["rewards"].item() == np.float32(columns["reward"][t + 1])
            assert bool(item["dones"].item()) == (metadata["terminated"] and t == metadata["length"] - 1)
            index, compared = index + 1, compared + len(scale) + 2
    print(f"robomimic {robomimic.__version__}: {len(episodes)} demos, {len(dataset)} samples, {compared} numbers equal")

    sides = {}
    for side in masks:
        chosen = sequence_dataset(path, keys, filter_by_attribute=side, seq_length=10, hdf5_cache_mode="all")
        seeds = {episodes[int(demo.removeprefix("demo_"))][0]["seed"] for demo in chosen.demos}
        sides[side] = (chosen, seeds)
    if len(sides) == 2:
        assert not sides["train"][1] & sides["valid"][1], "a seed stands on both sides"
        assert sides["train"][0].n_demos + sides["valid"][0].n_demos == len(episodes)
    training = sides["train"][0]
    batch = next(iter(torch.utils.data.DataLoader(training, batch_size=8, shuffle=True)))
    assert batch["actions"].shape == (8, 10, len(scale)), batch["actions"].shape
    normalised = sequence_dataset(path, keys, hdf5_normalize_obs=True).get_obs_normalization_stats()
    assert set(normalised) == set(keys) and all(np.isfinite(n["mean"]).all() for n in normalised.values())
    counts = {side: opened.n_demos for side, (opened, _) in sides.items()}
    print(f"batches of 10-step sequences {tuple(batch['actions'].shape)}; demos by mask {json.dumps(counts)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

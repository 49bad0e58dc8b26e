"""Open an export with the real TensorFlow Datasets and compare every value with the store; write one as others do.

Runs in an environment of its own (`make rlds`), without training_ground: the store is read here with pyarrow and
`dataset.json` alone, as anybody else would read it.

    python rlds_check.py STORE EXPORT       compare an export with the store that it was made from
    python rlds_check.py --write FOLDER     write an RLDS dataset with TFDS itself, to be imported
    python rlds_check.py --imported STORE   compare that with the store that it was imported into
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", NO_GCE_CHECK="true", TFDS_DATA_DIR="/nonexistent")

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from plain_store import read_store, same

logging.set_verbosity(logging.ERROR)  # TFDS warns of its own deprecated names


def expected(schema: dict[str, Any], metadata: dict[str, Any], columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what each step must hold, from the store and RLDS' definition alone; written apart from the exporter."""
    rows = len(columns["is_last"])
    noisy = "policy_observation" in columns
    index = np.arange(rows)
    wanted = {
        "is_first": index == 0,
        "is_last": index == rows - 1,
        "is_terminal": (index == rows - 1) & metadata["terminated"],
        "discount": np.where(index >= rows - (2 if metadata["terminated"] else 1), 0, 1).astype("f4"),
        "language_instruction": np.array([metadata["instruction"].encode()] * rows, object),
        "phase": np.array([phase.encode() for phase in columns["phase"]], object),
        "timestamp_ns": columns["timestamp_ns"],
    }
    roles = {c["name"]: c["role"] for c in schema["channels"]}
    for name, values in columns.items():
        role = roles.get(name)
        # The reward of a step is what its action led to: a row later in the store. Nothing follows the last step.
        later = (
            np.concatenate([values[1:], np.zeros_like(values[:1])]) if name == "reward" or role == "reward" else values
        )
        if name == "reward":
            wanted["reward"] = later
        elif role == "reward":
            wanted[f"reward_terms/{name}"] = later
        elif name == "action":
            wanted["action"] = values
        elif name == "policy_observation" or role == "picture" or (role == "observation" and not noisy):
            wanted[f"observation/{name}"] = values
        elif role == "event":
            wanted[f"events/{name}"] = values
        elif role is not None:
            wanted[f"state/{name}"] = values
    return wanted


def flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return a nested dict with paths as keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{path}{key}/") if isinstance(value, dict) else {f"{path}{key}": value}
    return found


def all_steps(episode: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return every step of an episode that TFDS read, stacked, by path."""
    rows = [flat(step) for step in tfds.as_numpy(episode["steps"])]
    return {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0]}


def compare(store: Path, export: Path) -> None:
    """Compare every value of every step, bit for bit."""
    schema, episodes = read_store(store)
    builder = tfds.builder_from_directory(str(export))
    config = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(split="train", shuffle_files=False, read_config=config)
    assert builder.info.splits["train"].num_examples == len(episodes)
    compared = steps = 0
    for (metadata, columns), episode in zip(episodes, dataset, strict=True):
        found = all_steps(episode)
        wanted = expected(schema, metadata, columns)
        assert set(found) == set(wanted), set(found) ^ set(wanted)
        for name, values in wanted.items():
            compared += same(found[name], values, name)
        steps += len(columns["is_last"])
        told = {key: value.numpy() for key, value in flat(episode["episode_metadata"]).items()}
        assert json.loads(told["metadata"]) == metadata and told["seed"] == metadata["seed"]
        assert told["success"] == {None: -1, False: 0, True: 1}[metadata["success"]]
        assert told["reset/reward"] == columns["reward"][0]
    versions = f"tensorflow-datasets {tfds.__version__}, tensorflow {tf.__version__}"
    print(f"{versions}: {len(episodes)} episodes, {steps} steps, {compared} values equal in bits")
    if export.name == builder.info.version:
        named = tfds.load(builder.name, data_dir=str(export.parent.parent), split="train[:1]")
        assert len(named) == 1, "the folder cannot be had by name"
    # What imitation learning on RLDS does: episodes into transitions, batched.
    flattened = dataset.flat_map(lambda e: e["steps"]).filter(lambda s: not s["is_last"])
    batch = next(iter(flattened.shuffle(1000).batch(8)))
    assert batch["action"].shape == (8, *episodes[0][1]["action"].shape[1:])
    document = builder.info.features["steps"].feature["observation"]
    print(f"observations {sorted(document)[:3]}…, a batch of actions {tuple(batch['action'].shape)}")


def made(number: int) -> list[dict[str, Any]]:
    """Return the steps of an episode as others have them: pictures, an action of two parts, a reward of float32."""
    random, steps = np.random.default_rng(number), []
    for t in range(5 + number):
        steps.append(
            {
                "observation": {
                    "image": random.integers(0, 256, (8, 6, 3), np.uint8),
                    "proprio": random.normal(size=7).astype("f4"),
                    "count": np.int64(-3 * t),
                    "exact": random.normal(size=(2, 2)),
                },
                "action": {"arm": random.normal(size=6).astype("f4"), "gripper": np.float32(t)},
                "reward": np.float32(t),
                "discount": np.float32(1),
                "is_first": t == 0,
                "is_last": t == 4 + number,
                "is_terminal": t == 4 + number and number % 2 == 0,
                "language_instruction": f"put it there {number}",
            }
        )
    return steps


def write(folder: Path) -> None:
    """Write a dataset with TFDS' own writer, in the form of Open X-Embodiment."""
    f = tfds.features
    step = {
        "observation": {
            "image": f.Image(shape=(8, 6, 3), dtype=np.uint8, encoding_format="png"),
            "proprio": f.Tensor(shape=(7,), dtype=np.float32),
            "count": f.Scalar(dtype=np.int64),
            "exact": f.Tensor(shape=(2, 2), dtype=np.float64, encoding="zlib"),
        },
        "action": {"arm": f.Tensor(shape=(6,), dtype=np.float32), "gripper": f.Scalar(dtype=np.float32)},
        **{name: f.Scalar(dtype=np.float32) for name in ("reward", "discount")},
        **{name: f.Scalar(dtype=np.bool_) for name in ("is_first", "is_last", "is_terminal")},
        "language_instruction": f.Text(),
    }
    features = f.FeaturesDict({"steps": f.Dataset(step), "episode_metadata": {"file_path": f.Text()}})
    folder.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="theirs", version=tfds.core.Version("0.1.0"), data_dir=str(folder), module_name="made"
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=2)
    writer.initialize_splits(["train"])
    for number in range(3):
        writer.add_examples({"train": [{"steps": made(number), "episode_metadata": {"file_path": f"{number}"}}]})
    writer.close_all()


def imported(store: Path) -> None:
    """Compare a store with the dataset that `write` wrote."""
    _, episodes = read_store(store)
    assert len(episodes) == 3
    for number, (metadata, columns) in enumerate(episodes):
        steps = made(number)
        assert metadata["env_id"] == "imported:rlds" and metadata["instruction"] == f"put it there {number}"
        assert metadata["terminated"] == (number % 2 == 0) and metadata["length"] == len(steps) - 1
        for name in ("image", "proprio", "count", "exact"):
            values = np.stack([step["observation"][name] for step in steps])
            same(columns[f"observation.{name}"], values, name)
        action = np.stack([np.append(s["action"]["arm"], s["action"]["gripper"]) for s in steps]).astype("f4")
        assert columns["action"][:-1].tobytes() == action[:-1].tobytes() and not columns["action"][-1].any()
        assert columns["reward"].tolist() == [0.0, *(float(s["reward"]) for s in steps[:-1])]
    print(f"{len(episodes)} episodes that TFDS wrote were imported, every value equal in bits")


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]))
    elif sys.argv[1] == "--imported":
        imported(Path(sys.argv[2]))
    else:
        compare(Path(sys.argv[1]), Path(sys.argv[2]))

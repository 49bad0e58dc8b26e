"""RLDS as TensorFlow Datasets stores it, without TensorFlow; checked in CI with the real one (`make rlds`).

An episode of T steps has T + 1 RLDS steps. As RLDS defines them (its README, "Dataset Format"), step t holds

| feature | what |
|---|---|
| `observation/<channel>` | what the policy saw, row t |
| `action` | action applied to that observation, row t |
| `reward`, `reward_terms/<channel>` | what came of it, row t + 1 |
| `discount` | 0 where that action ended the episode for good, else 1 |
| `is_first`, `is_last`, `is_terminal` | at step 0; at step T; at step T unless the episode was truncated or cut off |
| `state/<channel>`, `events/<channel>`, `phase`, `timestamp_ns` | row t |

At the last step action, reward and discount mean nothing, and are zeros. Rewards at row 0, which no action led to, are
in `episode_metadata/reset`, and with the metadata there everything can be had back bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import ExportReport, new_folder
from training_ground.datasets.formats import _rlds_features as features
from training_ground.datasets.formats._common import losses, write_json
from training_ground.datasets.formats._rlds_example import encode_example, text_array
from training_ground.datasets.formats._rlds_features import Leaf
from training_ground.datasets.formats._rlds_import import import_folder
from training_ground.datasets.formats._tfrecord import MAX_RECORD_BYTES, write_record
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import DatasetSchema, canonical_json
from training_ground.datasets.store import Store

SHARD_BYTES = 256 << 20
"""A shard is full when it has so many; each holds one episode at least."""
SCHEMA_FILE = "training_ground.json"
VERSION = "1.0.0"
_IS_VERSION = re.compile(r"\d+\.\d+\.\d+")


def export(store: Store, path: Path, numbers: Sequence[int], progress: Callable[[int], None]) -> ExportReport:
    """Write episodes as an RLDS dataset that `tfds.builder_from_directory` opens; see `datasets.export.export`.

    A folder named `<name>/<version>`, such as `stand/1.0.0`, can be had by name: `tfds.load("stand", data_dir=…)`.

    Raises:
        DatasetError: An episode is larger than a protobuf message may be (2 GiB).
    """
    path = path.absolute()
    versioned = _IS_VERSION.fullmatch(path.name) is not None
    name = re.sub(r"\W", "_", (path.parent if versioned else path).name, flags=re.ASCII).lower() or "dataset"
    name = name if name[0].isalpha() else f"d_{name}"
    leaves, frames = features.column_leaves(store.schema), 0
    reset = features.reset_leaves(leaves)
    with new_folder(path) as folder:
        shards = _Shards(folder, name)
        for number in numbers:
            episode = store.read(number)
            example = encode_example([*_steps(episode, leaves), *_of_episode(episode, reset)])
            if len(example) > MAX_RECORD_BYTES:
                raise DatasetError(f"episode {number}: takes {len(example)} bytes, a record holds {MAX_RECORD_BYTES}")
            shards.add(example)
            frames += episode.length
            progress(number)
        shards.close()
        declared = features.declare([*leaves, *features.DERIVED, *features.EPISODE, *reset])
        write_json(folder / "features.json", declared)
        write_json(folder / "dataset_info.json", _info(store.schema, name, path.name if versioned else VERSION, shards))
        write_json(folder / SCHEMA_FILE, store.schema.model_dump(mode="json"))
    return ExportReport("rlds", path, len(numbers), frames, _losses(store))


def import_(path: Path, out: Path, progress: Callable[[int], None], rate: float | None = None) -> ImportReport:
    """Read an RLDS dataset into a new store at `out`, which appears complete or not at all.

    What `export` wrote comes back bit for bit. From datasets of others come observations, actions, rewards and the
    task; the report says what was left out or assumed.

    Args:
        path: A folder with `features.json`, `dataset_info.json` and TFRecord shards.
        out: A folder that does not exist.
        progress: Called with the number of each episode that is done.
        rate: Steps a second in a dataset of others, which RLDS does not say; 1 where absent.

    Raises:
        DatasetError: Something is missing, damaged or larger than allowed, or there is no action.
    """
    return import_folder(path, out, progress, rate, SCHEMA_FILE)


def _steps(episode: Episode, leaves: list[Leaf]) -> list[tuple[Leaf, NDArray[Any]]]:
    """Return every feature of the steps with its T + 1 values."""
    rows = episode.length + 1
    values = []
    for leaf in leaves:
        assert leaf.column is not None
        column = episode.columns[leaf.column]
        if leaf.next:
            column = np.concatenate([column[1:], np.zeros_like(column[:1])])
        values.append((leaf, column))
    last = np.arange(rows) == rows - 1
    discount = np.ones(rows, np.float32)
    discount[-1] = 0
    discount[-2] = 0 if episode.metadata.terminated else 1
    derived = (
        discount,
        np.arange(rows) == 0,
        last,
        last & episode.metadata.terminated,
        text_array(episode.instruction, rows),
    )
    return values + list(zip(features.DERIVED, derived, strict=True))


def _of_episode(episode: Episode, reset: list[Leaf]) -> list[tuple[Leaf, NDArray[Any]]]:
    m = episode.metadata
    number = -1 if episode.number is None else episode.number
    success = -1 if episode.success is None else int(episode.success)
    own = canonical_json(m.model_dump(mode="json"), "episode metadata").decode()
    texts = (episode.failure or "", m.env_id, m.policy.name, m.content_sha256, own)
    values = [*(np.array([n], np.int64) for n in (number, m.seed, success)), *(text_array(text) for text in texts)]
    first = [(leaf, episode.columns[leaf.column][:1]) for leaf in reset if leaf.column is not None]
    return [*zip(features.EPISODE, values, strict=True), *first]


class _Shards:
    """Writes records to files of bounded size, and names them when it is known how many there are."""

    def __init__(self, folder: Path, name: str) -> None:
        self.lengths: list[int] = []
        self.bytes = 0
        self._folder, self._name, self._size = folder, name, 0
        self._stream: Any = None

    def add(self, record: bytes) -> None:
        """Write a record, in the next shard where this one is full."""
        if self._stream is None or self._size >= SHARD_BYTES:
            self._end()
            self._stream = (self._folder / f"shard-{len(self.lengths)}").open("wb")
            self.lengths.append(0)
            self._size = 0
        written = write_record(self._stream, record)
        self._size += written
        self.bytes += written
        self.lengths[-1] += 1

    def close(self) -> None:
        """End the last shard and give all their names."""
        self._end()
        for index in range(len(self.lengths)):
            final = f"{self._name}-train.tfrecord-{index:05d}-of-{len(self.lengths):05d}"
            (self._folder / f"shard-{index}").rename(self._folder / final)

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _info(schema: DatasetSchema, name: str, version: str, shards: _Shards) -> dict[str, Any]:
    split = {
        "name": "train",
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "shardLengths": [str(length) for length in shards.lengths],
        "numBytes": str(shards.bytes),
    }
    text = f"{schema.instruction} Robot {schema.robot}, {schema.control_rate:g} steps a second.".strip()
    return {"name": name, "version": version, "description": text, "fileFormat": "tfrecord", "splits": [split]}


def _losses(store: Store) -> tuple[str, ...]:
    said = [
        "rewards lie one step earlier, as RLDS defines them; those of row 0 are in episode_metadata/reset",
        "the control rate: RLDS has none; timestamp_ns says when each step was",
        "float64 is stored as bytes, which TFDS gives back exactly and readers without features.json see raw",
        "whether an episode was truncated or cut off: is_terminal is 0 for both; episode_metadata/metadata tells",
        "random access within an episode: a reader takes an episode as a whole",
        *losses(store, "training_ground.json; in features.json they are words"),
    ]
    if any(channel.role == "picture" for channel in store.schema.channels):
        said.append("pictures are PNG there, one a step: lossless, larger than video")
    odd = [c.name for c in store.schema.channels if c.dtype == "uint64"]
    if odd:
        said.append(f"uint64 is stored as int64 with the same bits, and turned back by TFDS: {', '.join(odd)}")
    return tuple(said)

"""RLDS folders read back: our own bit for bit, those of others as far as they say what they are."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets.episode_file import MAX_EPISODE_BYTES, Episode
from training_ground.datasets.export import new_folder
from training_ground.datasets.files import open_regular, read_regular
from training_ground.datasets.formats import _rlds_features as features
from training_ground.datasets.formats._imported import (
    Source,
    make_metadata,
    own_episode,
    own_losses,
    without_further_loss,
)
from training_ground.datasets.formats._rlds_example import count_numbers, decode_leaf, split_example, stored_bytes
from training_ground.datasets.formats._rlds_features import Leaf
from training_ground.datasets.formats._tfrecord import read_records
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import (
    ACTION,
    IS_LAST,
    MAX_SAMPLE_BYTES,
    PHASE,
    REWARD,
    TIMESTAMP,
    DatasetSchema,
    EpisodeMetadata,
    check_version,
    parse_json,
)
from training_ground.datasets.store import MAX_DESCRIPTION_BYTES, Store

MAX_JSON_BYTES = 16 << 20
MAX_RECORD_BYTES = 1 << 30
"""Largest episode that is read, encoded."""
MAX_STEPS = 10_000_000
MAX_SHARDS = 100_000
ASSUMED_RATE = 1.0
"""Steps a second of an episode of others where none is given: RLDS does not say."""
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,250}", re.ASCII)
_STEP_FLAGS = {"steps/is_first", "steps/is_last", "steps/is_terminal"}

Example = dict[str, tuple[int, memoryview]]


def import_folder(
    path: Path, out: Path, progress: Callable[[int], None], rate: float | None, schema_file: str
) -> ImportReport:
    """Read an RLDS folder; see `rlds.import_`."""
    raw = read_regular(path / "features.json", MAX_JSON_BYTES)
    where = str(path / "features.json")
    leaves, refused = features.parse_features(parse_json(raw, where), where)
    shards = _shards(path)
    missing = sorted({"steps/is_first", "steps/is_last"} - set(leaves))
    if missing:
        raise DatasetError(f"{where}: is no RLDS dataset: it has no {', '.join(missing)}")
    own = (path / schema_file).exists() or (path / schema_file).is_symlink()
    if own and rate is not None:
        raise DatasetError(f"rate = {rate:g}: {path / schema_file} says itself how many steps a second there are")
    reader: _Own | _Foreign = _Own(path / schema_file, leaves) if own else _Foreign(path, leaves, refused, raw, rate)
    episodes = frames = 0
    skipped: list[str] = []
    with new_folder(out) as folder:
        store = Store.create(folder, reader.schema)
        for number, (name, example) in enumerate(_examples(shards)):
            episode = reader.episode(example, number, name)
            if isinstance(episode, str):
                skipped.append(f"{name}: {episode}")
            else:
                store.append(episode)
                episodes, frames = episodes + 1, frames + episode.length
            progress(number)
    return ImportReport("rlds", out, episodes, frames, reader.losses(), tuple(skipped))


def _shards(path: Path) -> list[tuple[Path, int]]:
    """Return the files of all splits in order, and how many records each says to have."""
    where = str(path / "dataset_info.json")
    info = parse_json(read_regular(path / "dataset_info.json", MAX_JSON_BYTES), where)
    found = []
    try:
        kind = str(info.get("fileFormat") or "tfrecord").lower()
        if kind != "tfrecord":
            raise ValueError(f"fileFormat '{kind[:50]}', must be tfrecord")
        for split in info["splits"]:
            template = str(split.get("filepathTemplate") or _TEMPLATE)
            parts = {"{DATASET}": str(info["name"]), "{SPLIT}": str(split["name"]), "{FILEFORMAT}": kind}
            lengths = [int(length) for length in split.get("shardLengths") or ()]
            if len(found) + len(lengths) > MAX_SHARDS or any(length < 0 for length in lengths):
                raise ValueError(f"splits: shardLengths: {MAX_SHARDS} of 0 or more are allowed")
            for index, length in enumerate(lengths):
                number = {"{SHARD_INDEX}": f"{index:05d}", "{SHARD_X_OF_Y}": f"{index:05d}-of-{len(lengths):05d}"}
                file = template
                for mark, value in (parts | number).items():
                    file = file.replace(mark, value)
                if not _NAME.fullmatch(file):
                    raise ValueError(f"splits: name or filepathTemplate: '{file[:100]}' is no plain file name")
                found.append((path / file, length))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as problem:
        raise DatasetError(f"{where}: is no description of a TFDS dataset: {problem}") from problem
    return found


def _examples(shards: list[tuple[Path, int]]) -> Iterator[tuple[str, Example]]:
    for path, length in shards:
        with open_regular(path, 1 << 50) as stream:
            found = 0
            for record in read_records(stream, path.stat().st_size, str(path), MAX_RECORD_BYTES):
                name = f"{path}: record {found}"
                yield name, split_example(record, name)
                found += 1
        if found != length:
            raise DatasetError(f"{path}: has {found} records, dataset_info.json says {length}")


def _decode(example: Example, leaves: list[Leaf], name: str) -> dict[str, NDArray[Any]]:
    """Return the values of an episode by key; whether they fit is known before memory is taken."""
    rows = count_numbers(example, "steps/is_first", MAX_STEPS, name)
    size = rows * sum(stored_bytes(leaf) for leaf in leaves if leaf.key.startswith("steps/"))
    if size > MAX_EPISODE_BYTES or any(stored_bytes(leaf) > MAX_SAMPLE_BYTES for leaf in leaves):
        raise DatasetError(f"{name}: would need {size} bytes of memory, more than the {MAX_EPISODE_BYTES} allowed")
    return {x.key: decode_leaf(example, x, rows if x.key.startswith("steps/") else 1, name) for x in leaves}


class _Own:
    """Episodes that `export` wrote."""

    def __init__(self, path: Path, leaves: dict[str, Leaf]) -> None:
        data = parse_json(read_regular(path, MAX_DESCRIPTION_BYTES), str(path))
        check_version(data, str(path))
        self._exported = validate(DatasetSchema, data, str(path), DatasetError)
        self.schema = without_further_loss(self._exported)
        self._steps = features.column_leaves(self.schema)
        self._reset = features.reset_leaves(self._steps)
        self._leaves = [*self._steps, *features.DERIVED, *features.EPISODE, *self._reset]
        wanted = {(x.key, x.dtype, x.shape, x.kind) for x in self._leaves}
        declared = {(x.key, x.dtype, x.shape, x.kind) for x in leaves.values()}
        if wanted != declared:
            odd = sorted({x[0] for x in wanted ^ declared})
            raise DatasetError(f"{path}: does not fit the features.json beside it: {', '.join(odd[:5])}")

    def episode(self, example: Example, number: int, name: str) -> Episode:
        """Return an episode with the bits that it was exported with."""
        values = _decode(example, self._leaves, name)
        raw = str(values["episode_metadata/metadata"][0]).encode()
        metadata = validate(EpisodeMetadata, parse_json(raw, name), f"{name}: metadata", DatasetError)
        rows = len(values["steps/is_first"])
        columns: dict[str, NDArray[Any]] = {IS_LAST: np.arange(rows) == rows - 1}
        for leaf in self._steps:
            assert leaf.column is not None
            column = values[leaf.key]
            if leaf.next:
                column = np.concatenate([values[f"episode_metadata/reset/{leaf.column}"], column[:-1]])
            columns[leaf.column] = column
        return own_episode(metadata, columns, self._exported, name)

    def losses(self) -> tuple[str, ...]:
        """Say what is not in the store."""
        return own_losses(self._exported)


class _Foreign:
    """Episodes of others: observations, actions, rewards and the task."""

    def __init__(self, path: Path, leaves: dict[str, Leaf], refused: list[str], raw: bytes, rate: float | None) -> None:
        self._refused, self._instructions = refused, 0
        self._rate, self._given = (ASSUMED_RATE, False) if rate is None else (rate, True)
        texts = [x.key for x in leaves.values() if x.kind == "text"]
        self._instruction = next((key for key in texts if key.endswith("language_instruction")), None)
        odd = [key for key in _STEP_FLAGS if key in leaves and (leaves[key].kind != "list" or leaves[key].shape)]
        if odd or ("steps/reward" in leaves and leaves["steps/reward"].kind == "text"):
            raise DatasetError(
                f"{path / 'features.json'}: {', '.join(odd) or 'steps/reward'}: must be one number a step"
            )
        given = {*_STEP_FLAGS, "steps/reward", self._instruction}
        others = [x for x in leaves.values() if x.key not in given and x.key.startswith("steps/")]
        self._actions = [x for x in others if x.key == "steps/action" or x.key.startswith("steps/action/")]
        self._actions = sorted((x for x in self._actions if x.kind != "text"), key=lambda x: x.key)
        if not self._actions:
            raise DatasetError(f"{path / 'features.json'}: has no action that is numbers")
        self._texts = [key for key in texts if key != self._instruction]
        kept = [x for x in others if x.kind != "text" and x not in self._actions]
        self._channels = {_column_name(x.key): x for x in kept}
        if len(self._channels) != len(kept) or ACTION in self._channels:
            raise DatasetError(f"{path / 'features.json'}: two features would have the same name in a store")
        keys = _STEP_FLAGS | {"steps/reward", self._instruction}
        self._leaves = [*self._actions, *kept, *(leaves[k] for k in keys if k in leaves)]
        self._rest = [k for k in leaves if not k.startswith("steps/") and k != self._instruction]
        self._odd_actions = 0
        digest = hashlib.sha256(raw).hexdigest()
        self._source = Source("rlds", "", path.resolve().name[:255] or "rlds", digest, {})
        self.schema = self._make_schema(path, digest)

    def _make_schema(self, path: Path, digest: str) -> DatasetSchema:
        where = str(path / "features.json")

        def channel(name: str, leaf: Leaf, role: str) -> dict[str, Any]:
            told = {"unit": "unknown", "frame": "unknown", "description": f"{leaf.key} of an RLDS dataset."}
            return {"name": name, "shape": leaf.shape, "dtype": leaf.dtype, "role": role, **told}

        size = sum(int(np.prod(leaf.shape, dtype=int)) for leaf in self._actions)
        single = self._actions[0]
        several = len(self._actions) > 1
        listed = [channel(ACTION, Leaf("steps/action", "float32", (size,)) if several else single, "action")]
        if several:
            listed[0]["components"] = [name for leaf in self._actions for name in _names(leaf)]
        for column, leaf in self._channels.items():
            seen = leaf.key.startswith("steps/observation/") or leaf.key == "steps/observation"
            picture = leaf.kind in ("png", "jpeg")
            listed.append(channel(column, leaf, "picture" if picture and seen else "observation" if seen else "state"))
        data = {
            "robot": "unknown",
            "model_hash": digest,
            "joint_names": [],
            "control_rate": self._rate,
            "channels": listed,
            "environment": {"imported": "rlds", "source": path.resolve().name},
            "created_ns": time.time_ns(),
        }
        return validate(DatasetSchema, data, where, DatasetError)

    def episode(self, example: Example, number: int, name: str) -> Episode | str:
        """Return an episode, or why it was left out."""
        values = _decode(example, self._leaves, name)
        rows = len(values["steps/is_first"])
        first, last = np.arange(rows) == 0, np.arange(rows) == rows - 1
        if rows < 2:
            return f"has {rows} steps, 2 make an episode"
        if np.any(values["steps/is_first"] != first) or np.any(values["steps/is_last"] != last):
            return "is_first is not set at its first step alone, or is_last not at its last"
        action = [values[leaf.key].reshape(rows, -1) for leaf in self._actions]
        dtype = next(c.dtype for c in self.schema.channels if c.name == ACTION)
        joined = np.concatenate(action, axis=1).astype(dtype).reshape(rows, *self.schema.columns()[ACTION].shape)
        self._odd_actions += bool(np.any(joined[-1]))
        joined[-1] = 0
        reward = np.zeros(rows)
        if "steps/reward" in values:
            reward[1:] = values["steps/reward"].reshape(rows, -1)[:-1].sum(axis=1)
        text = values[self._instruction].tolist() if self._instruction is not None else [""]
        self._instructions += len(set(text)) > 1
        terminal = values.get("steps/is_terminal", last)
        columns = {
            TIMESTAMP: np.round(np.arange(rows) * (1e9 / self._rate)).astype(np.int64),
            IS_LAST: last,
            PHASE: np.array([""] * rows, dtype=object),
            REWARD: reward,
            ACTION: joined,
            **{column: values[leaf.key] for column, leaf in self._channels.items()},
        }
        facts = {"seed": number, "instruction": str(text[0])[:10_000]}
        metadata = make_metadata(self._source, self.schema, f"record {number}", rows - 1, bool(terminal[-1]), facts, "")
        return Episode(metadata, columns)

    def losses(self) -> tuple[str, ...]:
        """Say what is not in the store, or was assumed."""
        said = [
            f"RLDS has no rate: {self._rate:g} steps a second are {'as given' if self._given else 'assumed'}",
            "robot, joints, units and frames: not said there, 'unknown' here; such episodes cannot be replayed",
            *self._refused,
        ]
        if len(self._actions) > 1:
            said.append(f"the action is {len(self._actions)} features there, one channel of float32 here")
        if self._odd_actions:
            said.append(f"the last step's action, by RLDS invalid, is not zero in {self._odd_actions} episodes")
        if self._instructions:
            said.append(f"the instruction changes within {self._instructions} episodes: the first one is kept")
        if self._texts:
            said.append(f"texts: {', '.join(self._texts[:20])}")
        if self._rest:
            said.append(f"what belongs to an episode as a whole: {', '.join(self._rest[:20])}")
        return tuple(said)


def _column_name(key: str) -> str:
    """Return a channel's name for a feature's path."""
    name = key.removeprefix("steps/").removeprefix("observation/").lower()
    name = re.sub(r"[^a-z0-9_.]", "_", name.replace("/", "."))[:120]
    name = name if name[:1].isalpha() else f"x_{name}"
    return name if name not in (TIMESTAMP, IS_LAST, PHASE, REWARD) else f"{name}_rlds"


def _names(leaf: Leaf) -> list[str]:
    own, size = leaf.key.removeprefix("steps/action/")[:200], int(np.prod(leaf.shape, dtype=int))
    return [own] if size == 1 else [f"{own}.{i}" for i in range(size)]

"""RLDS folders read back: our own bit for bit, those of others as far as they say what they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_EPISODE_BYTES, Episode
from training_ground.datasets.files import open_regular, read_regular
from training_ground.datasets.formats import _imported, _own
from training_ground.datasets.formats import _rlds_features as features
from training_ground.datasets.formats._rlds_example import count_numbers, decode_leaf, split_example, stored_bytes
from training_ground.datasets.formats._rlds_features import Leaf
from training_ground.datasets.formats._rlds_foreign import Foreign
from training_ground.datasets.formats._tfrecord import MAX_RECORD_BYTES, read_records
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import MAX_SAMPLE_BYTES, parse_json
from training_ground.datasets.store import MAX_DESCRIPTION_BYTES

MAX_JSON_BYTES = 16 << 20
MAX_STEPS = 10_000_000
MAX_SHARDS = 100_000
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,250}", re.ASCII)

Example = dict[str, tuple[int, memoryview]]


def import_folder(
    path: Path, out: Path, progress: Callable[[int], None], rate: float | None, schema_file: str
) -> ImportReport:
    """Read an RLDS folder; see `rlds.import_`."""
    raw = read_regular(path / "features.json", MAX_JSON_BYTES)
    where = str(path / "features.json")
    leaves, refused = features.parse_features(parse_json(raw, where), where)
    shards, splits = _shards(path)
    missing = sorted({"steps/is_first", "steps/is_last"} - set(leaves))
    if missing:
        raise DatasetError(f"{where}: is no RLDS dataset: it has no {', '.join(missing)}")
    digest = _imported.files_sha256(path, [path / "features.json", path / "dataset_info.json", *(f for f, _ in shards)])
    own = path / schema_file
    if own.exists() or own.is_symlink():
        _own.refuse_rate(rate, str(own))
        reader: _Own | Foreign = _Own(own, leaves)
    else:
        reader = Foreign(path, leaves, refused, digest, rate, splits)
    found = (
        reader.episode(_decode(example, reader.leaves, f"{path / name}"), number, name)
        for number, (name, example) in enumerate(_examples(shards))
    )
    written = _imported.write_store(out, reader.schema, found, progress)
    return ImportReport("rlds", out, written.episodes, written.frames, reader.losses(), written.skipped, digest)


def _shards(path: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """Return the files of all splits in order with how many records each says to have, and the splits' names."""
    where = str(path / "dataset_info.json")
    info = parse_json(read_regular(path / "dataset_info.json", MAX_JSON_BYTES), where)
    found, splits = [], []
    try:
        kind = str(info.get("fileFormat") or "tfrecord").lower()
        if kind != "tfrecord":
            raise ValueError(f"fileFormat '{kind[:50]}', must be tfrecord")
        for split in info["splits"]:
            template = str(split.get("filepathTemplate") or _TEMPLATE)
            parts = {"{DATASET}": str(info["name"]), "{SPLIT}": str(split["name"]), "{FILEFORMAT}": kind}
            splits.append(str(split["name"])[:100])
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
    return found, splits


def _examples(shards: list[tuple[Path, int]]) -> Iterator[tuple[str, Example]]:
    for path, length in shards:
        with open_regular(path, 1 << 50) as stream:
            found = 0
            for record in read_records(stream, path.stat().st_size, str(path), MAX_RECORD_BYTES):
                yield f"{path.name}: record {found}", split_example(record, f"{path}: record {found}")
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
        self._exported = _own.read_schema(read_regular(path, MAX_DESCRIPTION_BYTES), str(path))
        self.schema = _own.without_further_loss(self._exported)
        self._steps = features.column_leaves(self.schema)
        self.leaves = [*self._steps, *features.DERIVED, *features.EPISODE, *features.reset_leaves(self._steps)]
        wanted = {(x.key, x.dtype, x.shape, x.kind) for x in self.leaves}
        declared = {(x.key, x.dtype, x.shape, x.kind) for x in leaves.values()}
        if wanted != declared:
            odd = sorted({x[0] for x in wanted ^ declared})
            raise DatasetError(f"{path}: does not fit the features.json beside it: {', '.join(odd[:5])}")

    def episode(self, values: dict[str, NDArray[Any]], number: int, name: str) -> Episode:
        """Return an episode with the bits that it was exported with."""
        metadata = _own.read_metadata(str(values["episode_metadata/metadata"][0]), f"{name}: metadata")
        columns = _own.ended(len(values["steps/is_first"]))
        for leaf in self._steps:
            assert leaf.column is not None
            column = values[leaf.key]
            if leaf.next:
                column = np.concatenate([values[f"episode_metadata/reset/{leaf.column}"], column[:-1]])
            columns[leaf.column] = column
        return _own.episode(metadata, columns, self._exported, name)

    def losses(self) -> tuple[str, ...]:
        """Say what is not in the store."""
        return _own.losses(self._exported)

"""What `data_fuzz.py` tries of a store: a sample with every kind of file, and a loader a kind.

Where a hash guards a file, damage is found before the file is parsed. But whoever makes a file can make its hash: such
files are tried twice, as they are, and with hashes made again after the damage, which is what the parsers see.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _fuzz import Loader
from _fuzz_damage import cut, flipped, json_damaged, numbered, spliced

from training_ground.configs.errors import DatasetError
from training_ground.datasets import (
    about,
    annotations,
    array_build,
    arrays,
    derived,
    episode_file,
    manifest,
    signing,
    split,
    trash,
    trust,
)
from training_ground.datasets.curation import make, plan_copy
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.frames import Frames
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label
from training_ground.datasets.lineage import read_lineage
from training_ground.datasets.remote.cache import Cache
from training_ground.datasets.remote.store import RemoteStore
from training_ground.datasets.schema import DatasetSchema, EpisodeMetadata
from training_ground.datasets.store import Store

STEPS = 5
SIDE = 16
derived.WORTH_KEEPING = 1  # a sample is small, and its index shall be tried all the same


def _channel(name: str, shape: list[int], dtype: str, role: str = "state", **more: Any) -> dict[str, Any]:
    kept = {"name": name, "shape": shape, "unit": "1", "frame": "none", "role": role, "description": "A channel."}
    return {**kept, "dtype": dtype, **more}


def _schema() -> DatasetSchema:
    depth = {"codec": "ffv1", "keyframe_interval": 1, "depth_step": 0.001}
    channels = [
        _channel("state", [3], "float32", "observation"),
        _channel("action", [2], "float32", "action"),
        _channel("touch", [], "bool"),
        _channel("camera", [SIDE, SIDE, 3], "uint8", "picture", storage={"keyframe_interval": 2}),
        _channel("depth", [SIDE, SIDE], "float32", storage=depth),
    ]
    common = {"robot": "none", "model_hash": "00" * 32, "joint_names": [], "control_rate": 50.0, "created_ns": 1}
    return DatasetSchema.model_validate({**common, "channels": channels, "environment": {"env_id": "Made-v0"}})


def _episode(schema: DatasetSchema, seed: int) -> Episode:
    draw, rows = np.random.default_rng(seed), STEPS + 1
    last = np.arange(rows) == STEPS
    columns: dict[str, Any] = {
        "timestamp_ns": np.arange(rows) * 20_000_000,
        "is_last": last,
        "phase": np.array(["reach"] * 3 + ["grasp"] * (rows - 3), object),
        "reward": draw.normal(size=rows),
        "state": draw.normal(size=(rows, 3)).astype(np.float32),
        "action": np.where(last[:, None], 0, draw.normal(size=(rows, 2))).astype(np.float32),
        "touch": draw.random(rows) < 0.5,
        "camera": draw.integers(0, 255, (rows, SIDE, SIDE, 3), np.uint8),
        "depth": np.round(draw.uniform(0, 5, (rows, SIDE, SIDE)), 3).astype(np.float32),
    }
    metadata = EpisodeMetadata.model_validate(
        {
            **{"env_id": "Made-v0", "kwargs": {"tier": "nominal"}, "seed": seed, "policy": {"name": "random"}},
            **{"length": STEPS, "terminated": False, "truncated": True, "success": True, "robot": "none"},
            **{"model_hash": "00" * 32, "config_hash": "00" * 32, "schema_sha256": schema.fingerprint()},
            **{"started_ns": 1, "ended_ns": 2, "randomisation": {"friction": 0.5}, "versions": {"made": "1"}},
        }
    )
    return Episode(metadata, columns)


@functools.cache
def _made() -> Path:
    """Return a folder, made once: `store`, signed by `key`, with every kind of file, and a proof of episode 0."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path, schema = folder / "store", _schema()
    first = Store.create(folder / "first", schema)
    first.extend(_episode(schema, seed) for seed in range(3))
    store, _ = make(plan_copy(first), path)
    label(Index.open(store), {0: {"success": False, "tags": ["a", "b"], "note": "n"}, 1: {"failure": "fall"}}, "me")
    split.create(store, split.new("main", "seed", [("train", 0.5), ("test", 0.5)]))
    about.update(path, title="Made", licence="CC0-1.0", creators=["Somebody"], limits=["None."])
    trash.remove(store, [2], "not needed")
    array_build.refresh(store)
    shutil.rmtree(path / "index", ignore_errors=True)
    signing.make_key(folder / "key")
    trust.sign_store(store, folder / "key", signing.read_private_key(folder / "key"))
    (folder / "proof.json").write_bytes(trust.episode_proof(path, 0))
    return folder


@functools.cache
def _keys() -> list[bytes]:
    return signing.read_public_keys(_made() / "key.pub")


def _store(folder: Path) -> None:
    shutil.copytree(_made() / "store", folder, dirs_exist_ok=True)


def _only(*names: str) -> Callable[[Path], None]:
    """Return what copies files of what was made, by name."""

    def copy(folder: Path) -> None:
        for name in names:
            shutil.copy(_made() / name, folder / Path(name).name)

    return copy


# ---- what is read ----------------------------------------------------------------------------------------------------


def _description(folder: Path) -> Any:
    schema = Store.open(folder).schema
    return schema.fingerprint(), schema.model_dump(mode="json")


def _plain(values: Any) -> Any:
    return values.tolist() if values.dtype == object else values.tobytes()


def _whole(episode: Episode) -> Any:
    """Return metadata and all values of an episode."""
    values = {}
    for name, column in episode.columns.items():
        if isinstance(column, Frames):
            column.check()
        values[name] = _plain(np.asarray(column))
    return episode.metadata.model_dump(mode="json"), values


def _first(folder: Path) -> Any:
    return _whole(Store.open(folder).read(0))


def _first_metadata(folder: Path) -> Any:
    return Store.open(folder).metadata(0).model_dump(mode="json")


def _indexed(folder: Path) -> Any:
    index = Index.open(Store.open(folder))
    if index.problems:
        raise DatasetError(index.problems[0])
    return index.episodes.to_pydict(), index.records.to_pydict()


def _annotation(folder: Path) -> Any:
    return [record.model_dump() for record in annotations.read_file(folder / "annotation_000000.json")]


def _trusted(folder: Path) -> Any:
    report = trust.check(folder, _keys())
    if not report.verified:
        raise DatasetError(report.problems[0])
    return report.statement, report.files, report.unsigned


def _manifest(folder: Path) -> Any:
    return manifest.read(folder)


def _proved(folder: Path) -> Any:
    return trust.check_episode(folder / "episode_000000.parquet", folder / "proof.json", _keys())


def _split(folder: Path) -> Any:
    store = Store.open(folder)
    return [split.read(store, name) for name in split.names(store)]


def _trash(folder: Path) -> Any:
    store = Store.open(folder)
    lying = [(one.number, one.reason, one.removed_ns) for one in trash.trashed(store)]
    trash.remove(store, [0], "damaged")
    trash.restore(store)
    trash.remove(store, [1])
    trash.purge(store)
    return lying, store.episodes(), sorted(store.media_names())


def _view(folder: Path) -> Any:
    views = [arrays.View.open(path) for path in sorted((folder / "arrays").iterdir())]
    for view in views:
        problems = view.verify()
        if problems:
            raise DatasetError(problems[0])
    return [
        (view.manifest.model_dump(), {name: values.tobytes() for name, values in view.columns.items()})
        for view in views
    ]


def _copied(folder: Path) -> Any:
    store, notes = make(plan_copy(Store.open(folder)), folder / "copy")
    files = {str(path.relative_to(store.path)): path for path in sorted(store.path.rglob("*")) if path.is_file()}
    kept = {name: path for name, path in files.items() if not name.startswith(("dataset", "lineage"))}
    return {name: path.read_bytes() for name, path in kept.items()}, len(notes)


def _verified(folder: Path) -> Any:
    report = Store.open(folder).verify()
    if report.problems:
        raise DatasetError(report.problems[0])
    return report.rows, report.notes


def _unsigned(folder: Path) -> None:
    _store(folder)
    for name in (manifest.MANIFEST, signing.SIGNATURE):  # what has a hash there is refused before it is parsed
        (folder / name).unlink()


def _remote(folder: Path) -> Any:
    store = RemoteStore.open(f"file://{folder}", cache=Cache(folder / "cache"))
    columns = store.columns(0, ["state", "phase"])
    return {name: _plain(values) for name, values in columns.items()}, _whole(store.read(0))


# ---- damage with hashes made again -----------------------------------------------------------------------------------

_RAW = (flipped, numbered, spliced, cut)


def _sealed_again(data: bytes) -> bytes:
    at = data.rfind(b"sha256:") + 7
    if at < 7 or at + 64 > len(data):
        return data
    blank = data[:at] + b"0" * 64 + data[at + 64 :]
    return blank[:at] + hashlib.sha256(blank).hexdigest().encode() + blank[at + 64 :]


def _episode_path(folder: Path) -> Path:
    return folder / "episodes" / "episode_000000.parquet"


def _bytes_of_episode(folder: Path, draw: random.Random) -> None:
    path = _episode_path(folder)
    path.write_bytes(_sealed_again(draw.choice(_RAW)(path.read_bytes(), draw)))


def _written(table: pa.Table, raw: bytes, groups: int | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        seal = b"sha256:" + b"0" * 64
        writer.add_key_value_metadata({episode_file.METADATA_KEY: raw, episode_file.SEAL_KEY: seal})
        writer.write_table(table, row_group_size=groups)
    return _sealed_again(sink.getvalue().to_pybytes())


def _parts(folder: Path) -> tuple[pa.Table, bytes]:
    file = pq.ParquetFile(_episode_path(folder))
    raw = file.metadata.metadata[episode_file.METADATA_KEY]
    return file.read().replace_schema_metadata(None), raw


def _metadata_of_episode(folder: Path, draw: random.Random) -> None:
    table, raw = _parts(folder)
    _episode_path(folder).write_bytes(_written(table, json_damaged(raw, draw)))


def _columns_of_episode(folder: Path, draw: random.Random) -> None:
    """Columns of another type, number, order or length than the metadata say."""
    table, raw = _parts(folder)
    name, kind = draw.choice(table.column_names), draw.randrange(7)
    place = table.column_names.index(name)
    rows = draw.choice((1, 2, 1000, 3_000_000))
    others = (pa.nulls(len(table), pa.string()), pa.array(range(len(table))), pa.array([b"x"] * len(table)))
    others += (pa.array([["a"]] * len(table)), pa.array([b"\0" * 12] * len(table), pa.binary(12)))
    if kind == 0:
        table = table.drop_columns([name])
    elif kind == 1:
        table = table.append_column(draw.choice(("extra", name)), draw.choice(others))
    elif kind == 2:
        table = table.set_column(place, name, draw.choice(others))
    elif kind == 3:
        table = table.select(table.column_names[::-1])
    elif kind == 4:
        table = table.slice(0, draw.randrange(len(table)))
    elif kind == 5:  # little on the disk, much in memory
        table = table.take(pa.array(np.zeros(rows, np.int64)))
        if draw.random() < 0.5:
            column = table.column_names.index("phase")
            text = pa.array(["x" * draw.choice((300, 20_000))])
            codes = pa.array(np.zeros(rows, np.int32))
            table = table.set_column(column, "phase", pa.DictionaryArray.from_arrays(codes, text))
        raw = json.dumps(json.loads(raw) | {"length": rows - 1}).encode()
    data = _written(table, raw, groups=2 if kind == 6 else None)
    _episode_path(folder).write_bytes(data)


def _named_again(folder: Path, draw: random.Random) -> None:
    """Damage a video, and let the episode name what it is now."""
    table, raw = _parts(folder)
    metadata = json.loads(raw)
    channel = draw.choice(("camera", "depth"))
    media = metadata["media"][channel]
    path = folder / "media" / f"{media['sha256']}.mkv"
    data = draw.choice(_RAW)(path.read_bytes(), draw)
    if draw.random() < 0.1:
        other = metadata["media"]["depth" if channel == "camera" else "camera"]
        data = (folder / "media" / f"{other['sha256']}.mkv").read_bytes()
    media |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "media" / f"{media['sha256']}.mkv").write_bytes(data)
    _episode_path(folder).write_bytes(_written(table, json.dumps(metadata).encode()))


def _index_again(folder: Path, draw: random.Random) -> None:
    """Damage the index of this very folder, and give the part the name that its bytes ask for."""
    Index.open(Store.open(folder))
    parts = sorted((folder / "index").glob("*.parquet"))
    path = draw.choice(parts)
    data = draw.choice(_RAW)(path.read_bytes(), draw)
    if draw.random() < 0.8:
        stem = path.stem.rpartition("_")[0]
        path.unlink()
        path = path.with_name(f"{stem}_{hashlib.sha256(data).hexdigest()[:16]}.parquet")
    path.write_bytes(data)


def _view_again(folder: Path, draw: random.Random) -> None:
    """Damage a file of a training view, and let its manifest name what it is now."""
    path = next((folder / "arrays").iterdir())
    data = json.loads((path / "manifest.json").read_text())
    kind = draw.choice(("columns", "statistics"))
    name = draw.choice(sorted(data[kind]))
    file = path / kind / f"{name}.npy"
    file.write_bytes(draw.choice(_RAW)(file.read_bytes(), draw))
    data[kind][name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(data))


def _link_of_folder(folder: Path, draw: random.Random) -> None:
    """A link in the place of one of the store's folders."""
    name = draw.choice([entry.name for entry in os.scandir(folder) if entry.is_dir()])
    moved = folder.parent / "elsewhere"
    shutil.rmtree(moved, ignore_errors=True)
    (folder / name).rename(moved)
    (folder / name).symlink_to(moved)


_EPISODE = "episodes/episode_000000.parquet"
_AGAIN = {"bytes": _bytes_of_episode, "metadata": _metadata_of_episode, "columns": _columns_of_episode}
_FOLDERS = {"link of a folder": _link_of_folder}
_PROOF = ("proof.json", f"store/{_EPISODE}")

LOADERS = (
    Loader("dataset.json", _store, _description, "dataset.json"),
    Loader("episode", _store, _first, _EPISODE, sealed=True),
    Loader("episode, sealed again", _store, _first, "", special=_AGAIN),
    Loader("episode's metadata", _store, _first_metadata, _EPISODE, special=_AGAIN),
    Loader("video", _store, _first, "media/*", sealed=True),
    Loader("video, named again", _store, _first, "", special={"video": _named_again}),
    Loader("annotation", _only("store/annotations/annotation_000000.json"), _annotation),
    Loader("index and labels", _store, _indexed, "annotations/*", special={"part": _index_again, **_FOLDERS}),
    Loader("split", _store, _split, "splits/*", special=_FOLDERS),
    Loader("lineage", _store, read_lineage, "lineage/*", special=_FOLDERS),
    Loader("trash", _store, _trash, "trash/*", special=_FOLDERS),
    Loader("training view", _store, _view, "arrays/*/**/*", special={"hashed again": _view_again}),
    Loader("manifest", _store, _manifest, "manifest.json"),
    Loader("signed store", _store, _trusted, special=_FOLDERS, sealed=True),
    Loader("proof", _only(*_PROOF), _proved, sealed=True),
    Loader("public key", _only("key.pub"), lambda folder: signing.read_public_keys(folder / "key.pub")),
    Loader("about.json", _only("store/about.json"), about.read, "about.json"),
    Loader("remote store", _unsigned, _remote, _EPISODE, special={**_AGAIN, "video": _named_again}),
    Loader("verify", _store, _verified, special={**_AGAIN, "video": _named_again, **_FOLDERS}),
    Loader("copy", _store, _copied, special={**_AGAIN, "video": _named_again, **_FOLDERS}),
)

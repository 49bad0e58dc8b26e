"""What `data_fuzz.py` tries of formats of others: our own exports, and datasets as others write them.

Flipped bits are found by checksums where a format has them, so there is also damage behind them: records and chunks
changed and sealed again, tables and HDF5 files rewritten by their own libraries with what no writer would write.
"""

from __future__ import annotations

import encodings.ascii  # noqa: F401 (a codec that errors ask for)
import functools
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _fuzz import Loader
from _fuzz_damage import HOSTILE_JSON, Mutation, flipped, numbered, spliced
from _fuzz_hdf5 import HDF5, STEPS, minari_sample, robomimic_sample

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export
from training_ground.datasets.formats import _tfrecord
from training_ground.datasets.importing import import_
from training_ground.datasets.schema import DatasetSchema, EpisodeMetadata
from training_ground.datasets.store import Store

SIDE = 16
shutil._use_fd_functions = False  # type: ignore[attr-defined] (what is removed has its whole name in audit events)
HOSTILE_TEXTS = ("../../x", "/etc/passwd", "\x1b[2J", "A" * 100_000, "", "os:makedirs", "{}", "\0")
HOSTILE_NUMBERS = (-1, 0, 1, 7, 2**31, 2**40, 2**62, -(2**63))


def _channel(name: str, shape: list[int], dtype: str, role: str = "state", **more: Any) -> dict[str, Any]:
    kept = {"name": name, "shape": shape, "unit": "1", "frame": "none", "role": role, "description": "A channel."}
    return {**kept, "dtype": dtype, **more}


def _write(folder: Path) -> None:
    """Write a store, and what each format makes of it."""
    channels = [
        _channel("state", [3], "float32", "observation", components=["a", "b", "c"]),
        _channel("action", [2], "float32", "action"),
        _channel("touch", [], "bool"),
        _channel("exact", [2, 2], "float64"),
        _channel("done", [], "bool", "event"),
        _channel("camera", [SIDE, SIDE, 3], "uint8", "picture", storage={"keyframe_interval": 2}),
    ]
    common = {"robot": "none", "model_hash": "00" * 32, "joint_names": [], "control_rate": 50.0, "created_ns": 1}
    schema = DatasetSchema.model_validate({**common, "channels": channels, "environment": {"env_id": "Made-v0"}})
    store = Store.create(folder / "store", schema)
    rows, last = STEPS + 1, np.arange(STEPS + 1) == STEPS
    for seed in range(2):
        draw = np.random.default_rng(seed)
        columns: dict[str, Any] = {
            "timestamp_ns": np.arange(rows) * 20_000_000,
            "is_last": last,
            "phase": np.array(["reach"] * 3 + ["grasp"] * (rows - 3), object),
            "reward": draw.normal(size=rows),
            "state": draw.normal(size=(rows, 3)).astype(np.float32),
            "action": np.where(last[:, None], 0, 2 * draw.normal(size=(rows, 2))).astype(np.float32),
            "touch": draw.random(rows) < 0.5,
            "exact": draw.normal(size=(rows, 2, 2)),
            "done": last,
            "camera": np.repeat(draw.integers(0, 255, (rows, 1, 1, 3), np.uint8), SIDE, 1).repeat(SIDE, 2),
        }
        metadata = EpisodeMetadata.model_validate(
            {
                **{"env_id": "Made-v0", "kwargs": {"tier": "nominal"}, "seed": seed, "policy": {"name": "random"}},
                **{"length": STEPS, "terminated": False, "truncated": True, "success": True, "robot": "none"},
                **{"model_hash": "00" * 32, "config_hash": "00" * 32, "schema_sha256": schema.fingerprint()},
                **{"started_ns": 1, "ended_ns": 2, "instruction": "Do it.", "randomisation": {"friction": 0.5}},
            }
        )
        store.append(Episode(metadata, columns))
    for format in ("minari", "robomimic", "rlds", "mcap", "lerobot"):
        export(store, folder / f"{format}-v0", format)


@functools.cache
def _made() -> Path:
    """Return a folder with the store and its exports, made once, by another process.

    Encoders leave threads behind, and what forks must have none.
    """
    folder = tempfile.mkdtemp(prefix="fuzz-formats-")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, __file__, folder], check=True, env=environment, stdout=subprocess.DEVNULL)
    return Path(folder)


@functools.cache
def _hashes() -> frozenset[str]:
    store = Store.open(_made() / "store")
    return frozenset(store.metadata(number).content_sha256 for number in store.episodes())


def _own(format: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        # Into the folder itself: what links may be in is the dataset, not what it is in.
        shutil.copytree(_made() / f"{format}-v0", folder, dirs_exist_ok=True)

    return make


def _read(format: str, *, sealed: bool = False) -> Callable[[Path], Any]:
    """Return what imports a sample; every value of a sealed one is one that was exported."""

    def read(folder: Path) -> Any:
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        report = import_(folder, format, out)
        store = Store.open(out)
        found = [store.read(number) for number in store.episodes()]
        hashes = [episode.metadata.content_sha256 for episode in found]
        ours = [e.metadata.content_sha256 for e in found if e.metadata.imported is None]  # else the mark was damaged
        if sealed and not _hashes().issuperset(ours):
            raise AssertionError("an export that was changed was read")
        shutil.rmtree(out)
        return hashes, [(e.metadata.instruction, e.metadata.terminated) for e in found], report.skipped

    return read


# ---- RLDS ------------------------------------------------------------------------------------------------------------


def _resealed(folder: Path, draw: random.Random) -> None:
    """Change the inside of a record, with checksums that match again."""
    path = draw.choice(sorted(folder.rglob("*.tfrecord-*")))
    raw, sink, at = path.read_bytes(), io.BytesIO(), 0
    while at < len(raw):
        (length,) = struct.unpack_from("<Q", raw, at)
        data = raw[at + 12 : at + 12 + length]
        _tfrecord.write_record(sink, draw.choice((flipped, numbered, spliced))(data, draw))
        at += 16 + length
    path.write_bytes(sink.getvalue())


def _long(folder: Path, draw: random.Random) -> None:
    """Claim a length, with a checksum that matches."""
    path = draw.choice(sorted(folder.rglob("*.tfrecord-*")))
    raw = path.read_bytes()
    head = struct.pack("<Q", draw.choice((0, 1, len(raw) - 16, len(raw), 2**31, 2**40, 2**63, 2**64 - 1)))
    path.write_bytes(head + struct.pack("<I", _tfrecord.masked(_tfrecord.crc32c(head))) + raw[12:])


def _outside(folder: Path, draw: random.Random) -> None:
    """Name a shard that lies outside."""
    path = next(folder.rglob("dataset_info.json"))
    data = json.loads(path.read_text())
    text = draw.choice(("../../canary", "/etc/hostname", "{DATASET}/../..", "\0", "x" * 300, "{SPLIT.__class__}"))
    (data if draw.random() < 0.5 else data["splits"][0])["name"] = text
    data["splits"][0]["filepathTemplate"] = draw.choice((text, "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"))
    path.write_text(json.dumps(data))


RLDS: dict[str, Mutation] = {"resealed": _resealed, "long": _long, "outside": _outside}


def _foreign_rlds(folder: Path) -> None:
    """Write our export as if others had: nothing says that it is ours."""
    _own("rlds")(folder)
    (folder / "training_ground.json").unlink()


# ---- MCAP ------------------------------------------------------------------------------------------------------------


def _unpacked(folder: Path, draw: random.Random) -> None:
    """Change a file whose chunks are unpacked and without checksums."""
    from mcap.data_stream import RecordBuilder
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader, get_chunk_data_stream
    from mcap.writer import MCAP0_MAGIC

    path = draw.choice(sorted(folder.rglob("*.mcap")))
    builder = RecordBuilder()
    for record in StreamReader(io.BytesIO(path.read_bytes()), emit_chunks=True).records:
        if isinstance(record, Chunk):
            inside, size = get_chunk_data_stream(record)
            data = draw.choice((flipped, numbered, spliced))(inside.read(size), draw)
            record = Chunk("", data, record.message_end_time, record.message_start_time, 0, len(data))
        record.write(builder)
    path.write_bytes(MCAP0_MAGIC + builder.end() + MCAP0_MAGIC)


def _chunk(folder: Path, draw: random.Random) -> None:
    """Put a chunk that unpacks to much, or says so, at the beginning."""
    import lz4.frame
    import zstandard
    from mcap.data_stream import RecordBuilder
    from mcap.records import Chunk
    from mcap.writer import MCAP0_MAGIC

    path = draw.choice(sorted(folder.rglob("*.mcap")))
    name, pack = draw.choice((("zstd", zstandard.compress), ("lz4", lz4.frame.compress), ("", bytes)))
    data, builder = pack(bytes(draw.choice((0, 100, 1 << 24)))), RecordBuilder()
    Chunk(name, data, 0, 0, 0, draw.choice((0, 100, 1 << 24, 1 << 40, 2**64 - 1))).write(builder)
    path.write_bytes(MCAP0_MAGIC + builder.end() + path.read_bytes()[len(MCAP0_MAGIC) :])


MCAP: dict[str, Mutation] = {"unpacked": _unpacked, "chunk": _chunk}


# ---- LeRobot ---------------------------------------------------------------------------------------------------------


def _table(folder: Path, draw: random.Random) -> None:
    """Write a table again with another value, type, length or column."""
    path = draw.choice(sorted(folder.rglob("*.parquet")))
    table = pq.read_table(path)
    at = draw.randrange(table.num_columns)
    field, values = table.schema.field(at), table.column(at).to_pylist()
    kind = draw.randrange(7)
    if kind == 0:
        table = table.remove_column(at)
    elif kind == 1:
        table = table.append_column(draw.choice((field.name, "extra", "../x")), table.column(at))
    elif kind == 2:
        table = table.slice(draw.choice((0, 1)), draw.choice((0, 1, 3)))
    elif kind == 3:
        table = pa.concat_tables([table] * draw.choice((2, 50)))
    elif kind == 4:
        table = table.set_column(at, field.name, pa.array([None] * len(values), field.type))
    elif kind == 5:
        other = draw.choice((HOSTILE_TEXTS, HOSTILE_NUMBERS, (np.nan, 1e300, -1.0), ([1.0], [], [0.0] * 5)))
        table = table.set_column(at, field.name, pa.array([draw.choice(other) for _ in values]))
    else:
        values[draw.randrange(len(values))] = _like(values[0], draw)
        table = table.set_column(at, field.name, pa.array(values))
    pq.write_table(table, path, row_group_size=draw.choice((1, 3, 100)))


def _like(value: Any, draw: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw.choice(HOSTILE_NUMBERS)
    if isinstance(value, float):
        return draw.choice((np.nan, np.inf, -1.0, 1e9, 1e300))
    if isinstance(value, str):
        return draw.choice((*HOSTILE_TEXTS, *(text for text in HOSTILE_JSON if len(text) < 1000)))
    return value[:-1] if isinstance(value, list) else value


def _endless(folder: Path, draw: random.Random) -> None:
    """Write a table of very many rows that takes next to no room."""
    path = draw.choice(sorted(folder.rglob("*.parquet")))
    table, rows = pq.read_table(path).slice(0, 1), draw.choice((100_000, 400_000))
    arrays = []
    for column in table.columns:
        plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        arrays.append(pa.array(np.zeros(rows), column.type) if plain else pa.nulls(rows, column.type))
    pq.write_table(pa.Table.from_arrays(arrays, names=table.column_names), path, compression="zstd")


def _video(folder: Path, draw: random.Random) -> None:
    """Put something else in the place of a video, or another video."""
    path = draw.choice(sorted(folder.rglob("*.mp4")))
    if draw.random() < 0.5:
        lists = (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", b"ffconcat version 1.0\nfile /etc/hostname\n", b"<svg/>", b"")
        path.write_bytes(draw.choice(lists))
        return
    import av

    side, frames = draw.choice((2, 16, 64, 512)), draw.choice((1, 3, 200))
    with av.open(str(path), "w", format="mp4") as file:
        stream: Any = file.add_stream(draw.choice(("libx264", "mpeg4", "mjpeg")), rate=draw.choice((1, 50, 1000)))
        stream.height = stream.width = side
        stream.pix_fmt = "yuvj420p" if stream.codec_context.name == "mjpeg" else "yuv420p"
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


LEROBOT: dict[str, Mutation] = {"table": _table, "endless": _endless, "video": _video}


def _foreign_lerobot(folder: Path) -> None:
    _own("lerobot")(folder)
    (folder / "meta/training_ground.json").unlink()


def _loader(name: str, make: Callable[[Path], None], special: dict[str, Mutation], *, sealed: bool = False) -> Loader:
    format = name.split()[0]
    # What is compiled in C raises its exceptions by compiling a line that looks at the frame.
    raised = ("compile", "exec", "code.__new__")
    return Loader(name, make, _read(format, sealed=sealed), special=special, allowed=raised)


LOADERS = (
    _loader("minari of ours", _own("minari"), HDF5, sealed=True),
    _loader("minari", minari_sample, HDF5),
    _loader("robomimic of ours", _own("robomimic"), HDF5, sealed=True),
    _loader("robomimic", robomimic_sample, HDF5),
    _loader("rlds of ours", _own("rlds"), RLDS, sealed=True),
    _loader("rlds", _foreign_rlds, RLDS),
    _loader("mcap of ours", _own("mcap"), MCAP, sealed=True),
    _loader("lerobot of ours", _own("lerobot"), LEROBOT),
    _loader("lerobot", _foreign_lerobot, LEROBOT),
)

if __name__ == "__main__":
    _write(Path(sys.argv[1]))

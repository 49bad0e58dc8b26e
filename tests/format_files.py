"""Stores and files that tests of formats share: every kind of channel, datasets as others write them, and mutations."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_env
import numpy as np

from training_ground.datasets.formats import _protobuf as wire
from training_ground.datasets.formats import _rlds_features as features
from training_ground.datasets.formats import _tfrecord as tfrecord
from training_ground.datasets.formats import mcap, rlds
from training_ground.datasets.formats._rlds_example import encode_example
from training_ground.datasets.formats._rlds_features import Leaf
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.envs.channels import Channel

IMPORTERS: dict[str, Callable[..., Any]] = {"rlds": rlds.import_, "mcap": mcap.import_}


class Env(fake_env.FakeEnv):
    """With a camera and numbers of every kind; what the robot tools draw is among them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        n, kinds = len(self.joints), ("int8", "uint16", "int64", "uint64", "float16")
        self.channels += (
            Channel("camera_head", (4, 5, 3), "1", "none", "picture", "RGB.", ("r", "g", "b"), "uint8"),
            Channel("joint_angle", (n,), "rad", "joint", "state", "Angles.", self.joints, "float64"),
            Channel("base_position", (3,), "m", "world", "state", "Place.", ("x", "y", "z"), "float64"),
            Channel("base_orientation", (4,), "1", "world", "state", "Turn.", ("x", "y", "z", "w"), "float64"),
            *(Channel(f"as_{kind}", (2,), "1", "none", "state", "Numbers.", (), kind) for kind in kinds),
        )

    def frame(self) -> dict[str, Any]:
        random = np.random.default_rng([self.seed, self.count])
        values = {c.name: random.normal(size=c.shape) * 100 for c in self.channels}
        with np.errstate(invalid="ignore"):
            frame = {c.name: values[c.name].astype(c.dtype).reshape(c.shape) for c in self.channels}
        frame["as_uint64"] = np.array([2**64 - 1 - self.count, self.count], np.uint64)
        return frame | {"action": self.action}


def record(path: Path, seeds: Any = range(4), **options: Any) -> Store:
    env = Env(**options)
    store = Store.create(path, make_schema(env))
    recorder = Recorder(env, store, policy="random", keep_partial=True)
    fake_env.play(recorder, seeds)
    recorder.reset(seed=99)
    recorder.step(np.ones(3, np.float32))
    recorder.close()
    return store


class Whole(fake_env.FakeEnv):
    """With what LeRobot holds otherwise: float64 and a flag among the observations, an event `done`, a camera."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.channels += (
            Channel("wide", (), "m", "none", "observation", "A distance.", (), "float64"),
            Channel("flag", (), "1", "none", "observation", "A flag.", (), "bool"),
            Channel("half", (2,), "1", "none", "state", "Numbers.", (), "float16"),
            Channel("done", (), "1", "none", "event", "The end.", (), "bool"),
            Channel("camera_head", (16, 20, 3), "1", "none", "picture", "RGB.", ("r", "g", "b"), "uint8"),
        )

    def frame(self) -> dict[str, Any]:
        listed, self.channels = self.channels, self.channels[:-5]
        frame = super().frame()
        self.channels = listed
        rows, columns = np.mgrid[0:16, 0:20]
        picture = np.stack([8 * rows + self.count, 8 * columns, 0 * rows + 20 * self.seed], axis=-1).astype(np.uint8)
        frame |= {"wide": np.float64(self.position[0] / 3), "flag": np.bool_(self.count % 2)}
        frame |= {"half": self.position[:2].astype(np.float16), "done": np.bool_(self.count == 3)}
        return {**frame, "camera_head": picture}


def record_all(path: Path, seeds: Any) -> Store:
    """Record episodes of `Whole`."""
    env = Whole()
    store = Store.create(path, make_schema(env))
    recorder = Recorder(env, store, policy="random")
    fake_env.play(recorder, seeds)
    return store


def import_(name: str, path: Path, out: Path) -> Any:
    return IMPORTERS[name](path, out, lambda number: None)


def theirs(folder: Path, change: Callable[[list[Leaf], list[Any]], None] | None = None, shards: int = 1) -> Path:
    """Write an RLDS dataset as others do: nested actions, no channels of ours."""
    folder.mkdir(parents=True)
    leaves = [
        Leaf("steps/observation/proprio", "float32", (2,)),
        Leaf("steps/observation/image", "uint8", (4, 5, 3), "png"),
        Leaf("steps/observation/packed", "int32", (2,), "zlib"),
        Leaf("steps/action/arm", "float64", (2,), "bytes"),
        Leaf("steps/action/gripper", "int64"),
        Leaf("steps/reward", "float32"),
        *features.DERIVED,
        Leaf("episode_metadata/file", "text", kind="text"),
    ]
    random = np.random.default_rng(0)
    t = np.arange(6)
    values: list[Any] = [
        random.normal(size=(6, 2)).astype("f4"),
        random.integers(0, 256, (6, 4, 5, 3), np.uint8),
        random.integers(-9, 9, (6, 2), np.int32),
        random.normal(size=(6, 2)),
        t - 3,
        t.astype("f4"),
        *(np.ones(6, "f4"), t == 0, t == 5, t == 5, np.array(["go"] * 6, object)),
        np.array(["a"], object),
    ]
    if change is not None:
        change(leaves, values)
    pairs = list(zip(leaves, values, strict=True))
    data = _with_zlib(encode_example([pair for pair in pairs if pair[0].kind != "zlib"]), values[2])
    for index in range(shards):
        with (folder / f"theirs-train.tfrecord-{index:05d}-of-{shards:05d}").open("wb") as stream:
            tfrecord.write_record(stream, data)
    (folder / "features.json").write_text(json.dumps(features.declare(leaves)))
    split = {"name": "train", "shardLengths": ["1"] * shards, "numBytes": "0"}
    (folder / "dataset_info.json").write_text(json.dumps({"name": "theirs", "version": "1.0.0", "splits": [split]}))
    return folder


def _with_zlib(data: bytes, values: Any) -> bytes:
    """Add what our writer does not write: protobuf joins the two halves of an Example."""
    rows = values if isinstance(values, list) else [zlib.compress(row.tobytes()) for row in values]
    feature = wire.field(1, b"".join(wire.field(1, row) for row in rows))
    entry = wire.field(1, "steps/observation/packed") + wire.field(2, feature)
    return data + wire.field(1, wire.field(1, entry))

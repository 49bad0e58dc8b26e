"""RLDS and MCAP: what stands in the files (read with Google's protobuf), back bit for bit, and files from strangers."""

from __future__ import annotations

import io
import json
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export, formats
from training_ground.datasets.formats import _protobuf as wire
from training_ground.datasets.formats import _rlds_features as features
from training_ground.datasets.formats import _tfrecord as tfrecord
from training_ground.datasets.formats import mcap, rlds
from training_ground.datasets.formats._mcap_import import MAX_CHUNK_BYTES
from training_ground.datasets.formats._rlds_example import encode_example, split_example
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
    for seed in seeds:
        recorder.reset(seed=seed)
        generator, done = np.random.default_rng(seed), False
        while not done:
            _, _, terminated, truncated, _ = recorder.step(generator.uniform(-1, 1, 3).astype(np.float32))
            done = terminated or truncated
    recorder.reset(seed=99)
    recorder.step(np.ones(3, np.float32))
    recorder.close()
    return store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("made")
    store = record(folder / "data")
    for name in IMPORTERS:
        export(store, folder / name, name)
    return store, {name: folder / name for name in IMPORTERS}


def import_(name: str, path: Path, out: Path) -> Any:
    return IMPORTERS[name](path, out, lambda number: None)


# ---- bytes -----------------------------------------------------------------------------------------------------------


def test_checksums_are_those_of_rfc_3720_at_every_length(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tfrecord.crc32c(b"123456789") == 0xE3069283
    assert tfrecord.crc32c(bytes(32)) == 0x8A9136AA and tfrecord.crc32c(b"\xff" * 32) == 0x62A8AB43
    table, data = tfrecord._byte_table(), np.random.default_rng(0).integers(0, 256, 70_000, np.uint8).tobytes()
    lengths, state = {*range(0, 700), 4096, 4097, 65_537, 70_000}, 0xFFFFFFFF
    for length in range(len(data) + 1):
        if length in lengths:
            assert tfrecord.crc32c(data[:length]) == state ^ 0xFFFFFFFF, length
        state = table[(state ^ data[length % 70_000]) & 0xFF] ^ state >> 8
    whole = tfrecord.crc32c(data)
    for at_once in (257, 4096, 10_001):
        monkeypatch.setattr(tfrecord, "_AT_ONCE", at_once)
        assert tfrecord.crc32c(data) == whole


@pytest.mark.parametrize(
    "numbers", [[0, 1, 127, 128, 300], [-1, 2**63 - 1, -(2**63), 5], [True, False], [2**64 - 1, 2**35]]
)
def test_varints_come_back(numbers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_BLOCK", 16)
    dtype = np.uint64 if max(numbers) > 2**63 else None
    values = np.array(numbers * 20, dtype)
    data = wire.varints(values)
    assert data == b"".join(wire.varint(int(n) % 2**64) for n in numbers * 20)
    found = wire.parse_varints(memoryview(data), len(values), "x")
    assert np.array_equal(found, values.astype(np.int64).view(np.uint64) if dtype is None else values)
    for bad in (data + b"\x80", b"\x80" * 11 + b"\x01", b"\x80" * 40 + b"\x01"):
        with pytest.raises(DatasetError, match=r"cut short|longer than 64 bits"):
            wire.parse_varints(memoryview(bad), 1000, "x")
    with pytest.raises(DatasetError, match="more than 3 numbers"):
        wire.parse_varints(memoryview(data), 3, "x")


# ---- RLDS ------------------------------------------------------------------------------------------------------------


def google_example() -> Any:
    """The class `tf.train.Example`, made by Google's protobuf from its definition."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    for name, kind in (("BytesList", 12), ("FloatList", 2), ("Int64List", 3)):
        file.message_type.add(name=name).field.add(name="value", number=1, label=3, type=kind)
    feature = file.message_type.add(name="Feature")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), start=1):
        feature.field.add(name=name, number=number, label=1, type=11, type_name=f".t.{name}")
    features_ = file.message_type.add(name="Features")
    entry = features_.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=1, type=9)
    entry.field.add(name="value", number=2, label=1, type=11, type_name=".t.Feature")
    features_.field.add(name="feature", number=1, label=3, type=11, type_name=".t.Features.FeatureEntry")
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, label=1, type=11, type_name=".t.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


def records(path: Path) -> list[bytes]:
    found = []
    for file in sorted(path.glob("*.tfrecord-*")):
        found += tfrecord.read_records(io.BytesIO(file.read_bytes()), file.stat().st_size, file.name)
    return found


def test_both_are_found_by_their_files() -> None:
    assert {"rlds", "mcap"} <= set(formats())


def test_steps_mean_what_rlds_says(made: tuple[Store, dict[str, Path]]) -> None:
    store, paths = made
    example = google_example()
    for number, raw in zip(store.episodes(), records(paths["rlds"]), strict=True):
        episode, found = store.read(number), example.FromString(raw).features.feature
        columns, rows = episode.columns, episode.length + 1
        step = {key.removeprefix("steps/"): value for key, value in found.items()}

        def numbers(key: str, step: Any = step) -> list[Any]:
            return list(step[key].FloatList.value or step[key].Int64List.value)

        assert numbers("action") == columns["action"].reshape(-1).tolist()
        assert numbers("observation/joint_position") == columns["joint_position"].reshape(-1).tolist()
        rewards = [struct.unpack("<d", value)[0] for value in step["reward"].BytesList.value]
        assert rewards == [*columns["reward"][1:], 0.0], "a step's reward is what its action led to"
        assert numbers("reward_terms/reward_upright") == [*columns["reward_upright"][1:], 0.0]
        assert numbers("is_first") == [1] + [0] * (rows - 1) and numbers("is_last") == [0] * (rows - 1) + [1]
        ended = episode.metadata.terminated
        assert numbers("is_terminal") == [0] * (rows - 1) + [int(ended)]
        assert numbers("discount") == [1.0] * (rows - 2) + [0.0 if ended else 1.0, 0.0]
        assert [b.decode() for b in step["phase"].BytesList.value] == columns["phase"].tolist()
        assert set(step["language_instruction"].BytesList.value) == {b"Keep three joints at zero."}
        assert [v % 2**64 for v in numbers("state/as_uint64")] == columns["as_uint64"].reshape(-1).tolist()
        told = json.loads(found["episode_metadata/metadata"].BytesList.value[0])
        assert told == episode.metadata.model_dump(mode="json")
    assert {m.complete for m in map(store.metadata, store.episodes())} == {True, False}


def test_an_rlds_folder_is_described_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlds, "SHARD_BYTES", 30_000)
    store = record(tmp_path / "data", range(4))
    out = tmp_path / "stand" / "2.0.1"
    report = export(store, out, "rlds")
    info = json.loads((out / "dataset_info.json").read_text())
    (split,) = info["splits"]
    lengths = [int(length) for length in split["shardLengths"]]
    assert info["name"] == "stand" and info["version"] == "2.0.1" and sum(lengths) == 5 == report.episodes
    files = [out / f"stand-train.tfrecord-{i:05d}-of-{len(lengths):05d}" for i in range(len(lengths))]
    assert len(lengths) > 1 and sorted(out.glob("*tfrecord*")) == files
    assert int(split["numBytes"]) == sum(file.stat().st_size for file in files)
    declared = json.loads((out / "features.json").read_text())["featuresDict"]["features"]["steps"]["sequence"]
    position = declared["feature"]["featuresDict"]["features"]["observation"]["featuresDict"]["features"]
    assert position["joint_position"]["tensor"] == {
        "shape": {"dimensions": ["3"]},
        "dtype": "float32",
        "encoding": "none",
    }
    assert "Unit rad, frame joint" in position["joint_position"]["description"]
    assert position["camera_head"]["image"]["encodingFormat"] == "png"
    assert any("rewards lie one step earlier" in line for line in report.losses)


def test_only_what_the_policy_saw_is_an_observation(made: tuple[Store, dict[str, Path]]) -> None:
    noisy = make_schema(Env(noise={"scale": 0.1}))
    for schema, seen in ((made[0].schema, {"joint_position", "joint_velocity"}), (noisy, {"policy_observation"})):
        leaves = features.column_leaves(schema)
        found = {x.column for x in leaves if x.key.startswith("steps/observation/")}
        assert found == seen | {"camera_head"}
        assert {x.column for x in leaves} | {"is_last"} == set(schema.columns())


@pytest.mark.parametrize("name", IMPORTERS)
@pytest.mark.parametrize("noise", [None, {"scale": 0.1}])
def test_our_own_come_back_bit_for_bit(tmp_path: Path, name: str, noise: Any) -> None:
    store = record(tmp_path / "data", [0, 1], noise=noise)
    numbers = [2, 0]  # not in order, and not all
    export(store, tmp_path / "out", name, episodes=numbers)
    report = import_(name, tmp_path / "out", tmp_path / "back")
    back = Store.open(tmp_path / "back")
    order = numbers if name == "rlds" else sorted(numbers)
    assert report.episodes == 2 and back.verify().ok
    assert [back.file(i).read_bytes() for i in range(2)] == [store.file(n).read_bytes() for n in order]


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


def test_rlds_of_others_is_read_as_far_as_it_says_what_it_is(tmp_path: Path) -> None:
    kept: list[Any] = []
    source = theirs(tmp_path / "theirs", lambda leaves, values: kept.extend(values), shards=2)
    report = import_("rlds", source, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert store.verify().ok and report.episodes == 2 and report.frames == 10
    metadata, columns = store.read(1).metadata, store.read(1).columns
    assert (metadata.env_id, metadata.instruction, metadata.length, metadata.terminated) == (
        "imported:rlds",
        "go",
        5,
        True,
    )
    assert np.array_equal(columns["proprio"], kept[0]) and np.array_equal(columns["image"], kept[1])
    assert np.array_equal(columns["packed"], kept[2])
    action = np.concatenate([kept[3], kept[4][:, None]], axis=1).astype("f4")
    assert np.array_equal(columns["action"][:-1], action[:-1]) and not columns["action"][-1].any()
    assert columns["reward"].tolist() == [0, 0, 1, 2, 3, 4]
    roles = {c.name: (c.role, c.components) for c in store.schema.channels}
    assert roles["action"][1] == ("arm.0", "arm.1", "gripper") and roles["image"][0] == "picture"
    text = "\n".join(report.losses)
    for part in ("no rate", "not zero in 2 episodes", "episode_metadata/file", "2 features there, one channel"):
        assert part in text


# ---- MCAP ------------------------------------------------------------------------------------------------------------


def test_mcap_messages_describe_themselves(made: tuple[Store, dict[str, Path]]) -> None:
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from mcap.reader import make_reader

    store, paths = made
    episode = store.read(1)
    columns, found = episode.columns, dict[str, list[Any]]()
    with (paths["mcap"] / "episode_000001.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        for schema, channel, message in reader.iter_messages():
            assert schema is not None and channel.message_encoding == schema.encoding == "protobuf"
            if channel.topic not in found:
                pool = descriptor_pool.DescriptorPool()
                for file in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
                    pool.Add(file)
                kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
                found[channel.topic] = [channel.metadata, schema.data, kind]
            value = found[channel.topic][2].FromString(message.data)
            found[channel.topic].append((message.log_time, message.sequence, value))
        (told,) = [m.metadata for m in reader.iter_metadata()]
        (attached,) = list(reader.iter_attachments())
    assert json.loads(told["json"]) == episode.metadata.model_dump(mode="json") and told["failure"] == "fall"
    assert json.loads(attached.data) == store.schema.model_dump(mode="json")
    metadata, schema, _, *rows = found["/joint_position"]
    assert metadata["unit"] == "rad" and metadata["frame"] == "joint" and b"Unit: rad. Frame: joint." in schema
    times = [episode.metadata.started_ns + int(t) for t in columns["timestamp_ns"]]
    assert [time for time, _, _ in rows] == times
    assert [v.right_knee_joint for _, _, v in rows] == columns["joint_position"][:, 1].tolist()
    assert [list(v.values) for _, _, v in found["/base_pose"][3:]] == columns["base_pose"].reshape(-1, 4).tolist()
    assert [v.value for _, _, v in found["/counter"][3:]] == columns["counter"].tolist()
    assert [time for time, _, _ in found["/action"][3:]] == times[:-1], "the last row has no action"
    assert [v.value for _, _, v in found["/phase"][3:]][:3] == ["", "stand", "recover"]
    image = found["/camera_head"][5][2]
    assert (image.width, image.height, image.step, image.encoding) == (5, 4, 15, "rgb8")
    assert image.data == columns["camera_head"][2].tobytes()
    time, _, joints = found["/joint_states"][4]
    assert joints.timestamp.seconds * 10**9 + joints.timestamp.nanos == time == times[1]
    assert [j.name for j in joints.joints] == list(store.schema.joint_names)
    assert [j.position for j in joints.joints] == columns["joint_angle"][1].tolist()
    assert not joints.joints[0].HasField("velocity")
    transform = found["/tf"][3][2]
    assert (transform.parent_frame_id, transform.child_frame_id) == ("world", "base")
    assert [transform.rotation.x, transform.rotation.w] == columns["base_orientation"][0][[0, 3]].tolist()


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def _set(key: str, value: Any) -> Callable[[list[Leaf], list[Any]], None]:
    def change(leaves: list[Leaf], values: list[Any]) -> None:
        values[[leaf.key for leaf in leaves].index(key)] = value

    return change


def _declared(old: Any, new: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = (path / "features.json").read_text()
        assert old in text
        (path / "features.json").write_text(text.replace(old, new))

    return change


def _described(**new: Any) -> Callable[[Path], None]:
    return lambda path: _rewrite(path / "dataset_info.json", new)


def _rewrite(path: Path, new: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | new))


def _shard(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        (file,) = path.glob("*.tfrecord-*")
        file.write_bytes(change(file.read_bytes()))

    return apply


def _length(claimed: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        head = struct.pack("<Q", claimed)
        return head + struct.pack("<I", tfrecord.masked(tfrecord.crc32c(head))) + data[12:]

    return change


def _linked(path: Path) -> None:
    (file,) = path.glob("*.tfrecord-*")
    file.rename(path / "elsewhere")
    file.symlink_to(path / "elsewhere")


BAD_FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no features": (lambda path: (path / "features.json").unlink(), "cannot be read"),
    "not JSON": (lambda path: (path / "features.json").write_text("{" * 5000), "malformed JSON"),
    "huge shape": (_declared('"4", "5", "3"', '"40000", "50000", "3"'), "a sample is larger than 67108864 bytes"),
    "huger shape": (_declared('"4", "5", "3"', '"4", "9999999999999", "3"'), "wrong or missing: shape"),
    "other shape": (_declared('"4", "5", "3"', '"5", "4", "3"'), r"a picture is \(4, 5, 'RGB'\)"),
    "traversal": (_described(name="../../etc"), "is no plain file name"),
    "template": (
        _described(splits=[{"name": "train", "shardLengths": [1], "filepathTemplate": "/etc/passwd"}]),
        "filepathTemplate: '/etc/passwd' is no plain file name",
    ),
    "other format": (_described(fileFormat="riegeli"), "fileFormat 'riegeli', must be tfrecord"),
    "too few": (_described(splits=[{"name": "train", "shardLengths": [7]}]), "has 1 records, dataset_info.json says 7"),
    "link": (_linked, "is a symbolic link"),
    "huge record": (_shard(_length(1 << 60)), "says that it has 1152921504606846976 bytes"),
    "cut short": (_shard(lambda data: data[:-30]), "says that it has"),
    "bit flip": (_shard(lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:]), "checksum of its data"),
    "bit flip in length": (_shard(lambda data: bytes([data[0] ^ 1]) + data[1:]), "checksum of its length"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_rlds_from_strangers_is_refused(tmp_path: Path, case: str) -> None:
    change, message = BAD_FOLDERS[case]
    source = theirs(tmp_path / "theirs")
    change(source)
    with pytest.raises(DatasetError, match=message):
        import_("rlds", source, tmp_path / "store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["theirs"]


BAD_VALUES: dict[str, tuple[Callable[[list[Leaf], list[Any]], None], str]] = {
    "too few": (_set("steps/observation/proprio", np.zeros((5, 2), "f4")), "has 10 numbers, 12 are expected"),
    "too many": (_set("steps/action/gripper", np.zeros(700, int)), "more than 6 numbers"),
    "another type": (_set("steps/action/gripper", np.zeros(6, "f4")), "of another type"),
    "zlib bomb": (_set("steps/observation/packed", [zlib.compress(bytes(10**6))] * 6), "has 9 bytes, 8 are expected"),
    "no zlib": (_set("steps/observation/packed", [b"nonsense"] * 6), "is damaged"),
    "too wide": (_set("steps/is_last", np.arange(6) - 2), "numbers that are no bool"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_examples_that_lie_are_refused(tmp_path: Path, case: str) -> None:
    change, message = BAD_VALUES[case]
    with pytest.raises(DatasetError, match=message):
        import_("rlds", theirs(tmp_path / "theirs", change), tmp_path / "store")


def test_odd_episodes_are_left_out_and_nothing_is_imported_by_name(tmp_path: Path) -> None:
    source = theirs(tmp_path / "theirs", _set("steps/is_first", np.zeros(6, bool)))
    report = import_("rlds", source, tmp_path / "store")
    assert report.episodes == 0 and "is_first is not set" in report.skipped[0]
    source = theirs(tmp_path / "code")
    (tmp_path / "tg_evil.py").write_text("raise SystemExit(3)")
    sys.path.insert(0, str(tmp_path))
    try:
        _declared("tensorflow_datasets.core.features.text_feature.Text", "tg_evil.Text")(source)
        report = import_("rlds", source, tmp_path / "store2")
    finally:
        sys.path.remove(str(tmp_path))
    assert report.episodes == 1 and "tg_evil" not in sys.modules
    assert any("features of class Text" in line for line in report.losses)


def chunk_file(path: Path, data: bytes, size: int, compression: str) -> None:
    """Write an MCAP file whose only chunk says of itself what is given."""
    from mcap.records import Chunk
    from mcap.writer import MCAP0_MAGIC, RecordBuilder

    builder = RecordBuilder()
    Chunk(compression, data, 0, 0, 0, size).write(builder)
    path.write_bytes(MCAP0_MAGIC + builder.end())


def test_mcap_from_strangers_is_refused(tmp_path: Path, made: tuple[Store, dict[str, Path]]) -> None:
    import lz4.frame
    import zstandard
    from mcap.writer import Writer

    bomb, file = bytes(1 << 28), tmp_path / "x.mcap"

    def refused(message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            import_("mcap", file, tmp_path / "store")
        assert not (tmp_path / "store").exists()

    chunk_file(file, zstandard.compress(bomb), 1 << 28, "zstd")
    refused(f"unpacks to 268435456 bytes, {MAX_CHUNK_BYTES} are allowed")
    for name, packed in (("zstd", zstandard.compress(bomb)), ("lz4", lz4.frame.compress(bomb))):
        chunk_file(file, packed, 100, name)
        refused("a chunk's length or checksum does not match")
    chunk_file(file, b"\x05" + struct.pack("<Q", 1 << 62) + b"\0" * 8, 17, "")
    refused("is no MCAP file, or is damaged|a record claims")
    chunk_file(file, b"abc", 3, "bz2")
    refused("compression 'bz2', allowed are zstd, lz4 and none")
    for raw in (
        b"",
        b"\x89MCAP0\r\n",
        b"nothing of the kind",
        made[1]["mcap"].joinpath("episode_000000.mcap").read_bytes()[:-900],
    ):
        file.write_bytes(raw)
        refused("is no MCAP file, or is damaged|a record claims")
    with file.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        writer.add_message(writer.register_channel("/x", "json", 0), 0, b"{}", 0)
        writer.finish()
    refused("was not written by training-ground")
    file.unlink()
    file.symlink_to(made[1]["mcap"] / "episode_000000.mcap")
    refused("symbolic link")


def test_times_before_1970_are_refused(tmp_path: Path, made: tuple[Store, dict[str, Path]]) -> None:
    store = Store.create(tmp_path / "data", made[0].schema)
    episode = made[0].read(0)
    early = {**episode.columns, "timestamp_ns": episode.columns["timestamp_ns"] - 10**9}
    store.append(Episode(episode.metadata.model_copy(update={"started_ns": 0}), early))
    with pytest.raises(DatasetError, match="began at -1000000000 ns since 1970"):
        export(store, tmp_path / "out", "mcap")


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """Flip bits, cut, repeat, or write a number of extreme size somewhere."""
    raw, kind = bytearray(data), random.integers(4)
    at = int(random.integers(len(raw)))
    if kind == 0:
        for _ in range(int(random.integers(1, 9))):
            raw[int(random.integers(len(raw)))] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del raw[at : at + int(random.integers(1, len(raw)))]
    elif kind == 2:
        raw[at:at] = raw[at : at + 50]
    else:
        raw[at : at + 8] = struct.pack("<Q", (2**31, 2**32 - 1, 2**62, 2**64 - 1, 0)[random.integers(5)])
    return bytes(raw)


def resealed(data: bytes, random: np.random.Generator) -> bytes:
    """Change the inside of the first TFRecord of a file, with checksums that match."""
    (length,) = struct.unpack("<Q", data[:8])
    inside = mutate(data[12 : 12 + length], random)
    sink = io.BytesIO()
    tfrecord.write_record(sink, inside)
    return sink.getvalue() + data[12 + length + 4 :]


def unpacked_mcap(data: bytes) -> bytes:
    """Return an MCAP file with its chunks unpacked and without checksums: mutations reach what is inside."""
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader, get_chunk_data_stream
    from mcap.writer import MCAP0_MAGIC, RecordBuilder

    builder = RecordBuilder()
    for record in StreamReader(io.BytesIO(data), emit_chunks=True).records:
        if isinstance(record, Chunk):
            inside, size = get_chunk_data_stream(record)
            record = Chunk("", inside.read(size), record.message_end_time, record.message_start_time, 0, size)
        record.write(builder)
    return MCAP0_MAGIC + builder.end() + MCAP0_MAGIC


def fuzz(folder: Path, exports: dict[str, Path], trials: int, seed: int) -> tuple[int, int]:
    """Import mutated files; return how many were tried and how many were refused. Only DatasetError may be raised."""
    random, refused, tried = np.random.default_rng(seed), 0, 0
    other = theirs(folder / "theirs")
    for trial in range(trials):
        shutil.rmtree(folder / "store", ignore_errors=True)
        name = ("rlds", "rlds", "mcap", "mcap")[trial % 4]
        source = other if trial % 4 == 0 else exports[name]
        file = sorted(p for p in source.iterdir())[int(random.integers(len(list(source.iterdir()))))]
        whole = file.read_bytes()
        data = unpacked_mcap(whole) if trial % 4 == 2 else whole
        data = resealed(data, random) if "tfrecord" in file.name and random.random() < 0.8 else mutate(data, random)
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for sibling in source.iterdir():
            if sibling != file and name == "rlds":
                (work / sibling.name).hardlink_to(sibling)
        (work / file.name).write_bytes(data)
        tried += 1
        try:
            import_(name, work, folder / "store")
        except DatasetError:
            refused += 1
            assert not (folder / "store").exists()
        left = {p.name for p in folder.iterdir()}
        assert left <= {"theirs", "work", "store"}, left
    return tried, refused


def test_mutated_files_raise_nothing_but_dataset_errors(tmp_path: Path, made: tuple[Store, dict[str, Path]]) -> None:
    tried, refused = fuzz(tmp_path, made[1], 60, seed=1)
    assert tried == 60 and refused > 30


@pytest.mark.slow
def test_many_mutated_files(tmp_path: Path, made: tuple[Store, dict[str, Path]]) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried, refused = fuzz(tmp_path, made[1], 1500, seed=2)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert tried == 1500 and refused > 700 and grown < 300 << 10, (refused, grown)


def test_split_example_of_nonsense_is_refused() -> None:
    for raw in (b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0a\x02\x0a\x7f"):
        with pytest.raises(DatasetError, match="is damaged"):
            split_example(raw, "x")

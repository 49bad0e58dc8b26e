"""RLDS: checksums and wire format, what steps mean (read with Google's protobuf), and folders from strangers."""

from __future__ import annotations

import io
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_files import IMPORTERS, Env, import_, record, theirs

from training_ground.configs.errors import DatasetError
from training_ground.datasets.export import export, formats
from training_ground.datasets.formats import _protobuf as wire
from training_ground.datasets.formats import _rlds_features as features
from training_ground.datasets.formats import _tfrecord as tfrecord
from training_ground.datasets.formats import rlds
from training_ground.datasets.formats._rlds_example import split_example
from training_ground.datasets.formats._rlds_features import Leaf
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("made")
    store = record(folder / "data")
    for name in IMPORTERS:
        export(store, folder / name, name)
    return store, {name: folder / name for name in IMPORTERS}


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
    assert np.array_equal(columns["observation.proprio"], kept[0])
    assert np.array_equal(columns["observation.image"], kept[1])
    assert np.array_equal(columns["observation.packed"], kept[2])
    action = np.concatenate([kept[3], kept[4][:, None]], axis=1)
    assert action.dtype == columns["action"].dtype == "float64", "whole numbers beside float64 lose nothing in it"
    assert np.array_equal(columns["action"][:-1], action[:-1]) and not columns["action"][-1].any()
    assert columns["reward"].tolist() == [0, 0, 1, 2, 3, 4]
    roles = {c.name: (c.role, c.components) for c in store.schema.channels}
    assert roles["action"][1] == ("arm.0", "arm.1", "gripper") and roles["observation.image"][0] == "picture"
    text = "\n".join(report.losses)
    for part in (
        "no rate",
        "2 episodes have an action at the last step",
        "episode_metadata/file",
        "one channel of float64",
    ):
        assert part in text


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


BAD_FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no features": (lambda path: (path / "features.json").unlink(), "cannot be read"),
    "not JSON": (lambda path: (path / "features.json").write_text("{" * 5000), "malformed JSON"),
    "huge shape": (_declared('"4", "5", "3"', '"40000", "50000", "3"'), "a sample is larger than 67108864 bytes"),
    "huger shape": (_declared('"4", "5", "3"', '"4", "9999999999999", "3"'), "wrong or missing: shape"),
    "other shape": (_declared('"4", "5", "3"', '"5", "4", "3"'), r"a picture is \(4, 5, 'RGB'\)"),
    "endless shape": (_declared('["4", "5", "3"]', "[4, 5, 1e400]"), "wrong or missing"),
    "flags of text": (_declared('"dtype": "bool"', '"dtype": "string"'), "must be one number a step"),
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
    assert any("features of class 'Text'" in line for line in report.losses)
    source = theirs(tmp_path / "odd")
    _declared('"dtype": "int32"', '"dtype": "int7"')(source)
    report = import_("rlds", source, tmp_path / "store3")
    assert any("packed: numbers of type 'int7'" in line for line in report.losses)


def test_split_example_of_nonsense_is_refused() -> None:
    for raw in (b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0a\x02\x0a\x7f"):
        with pytest.raises(DatasetError, match="is damaged"):
            split_example(raw, "x")

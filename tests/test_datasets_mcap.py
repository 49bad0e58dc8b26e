"""MCAP: messages read with Google's protobuf from the schemas in the file, and files from strangers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from format_files import import_, record

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export
from training_ground.datasets.formats._mcap_import import MAX_CHUNK_BYTES
from training_ground.datasets.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("made")
    store = record(folder / "data")
    for name in ("mcap",):
        export(store, folder / name, name)
    return store, {name: folder / name for name in ("mcap",)}


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


def chunk_file(path: Path, data: bytes, size: int, compression: str) -> None:
    """Write an MCAP file whose only chunk says of itself what is given."""
    from mcap.data_stream import RecordBuilder
    from mcap.records import Chunk
    from mcap.writer import MCAP0_MAGIC

    builder = RecordBuilder()
    Chunk(compression, data, 0, 0, 0, size).write(builder)
    path.write_bytes(MCAP0_MAGIC + builder.end())


def test_mcap_from_strangers_is_refused(tmp_path: Path, made: tuple[Store, dict[str, Path]]) -> None:
    import lz4.frame
    import zstandard
    from mcap.writer import Writer

    bomb, file = bytes(MAX_CHUNK_BYTES + 1), tmp_path / "x.mcap"

    def refused(message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            import_("mcap", file, tmp_path / "store")
        assert not (tmp_path / "store").exists()

    chunk_file(file, zstandard.compress(bomb), len(bomb), "zstd")
    refused(f"unpacks to {len(bomb)} bytes, {MAX_CHUNK_BYTES} are allowed")
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

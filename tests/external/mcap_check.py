"""Open an export with the real MCAP reader and Foxglove's own message classes, and compare every value with the store.

Runs in an environment of its own (`make mcap`), without training_ground: the store is read here with pyarrow and
`dataset.json` alone, as anybody else would read it; messages are decoded by Google's protobuf from the file's schemas.

    python mcap_check.py STORE EXPORT
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import mcap
import numpy as np
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.JointStates_pb2 import JointStates
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf import descriptor_pb2
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from plain_store import read_store, same

JOINT_CHANNELS = {"position": "joint_angle", "velocity": "joint_speed", "effort": "joint_torque"}


def read_mcap(path: Path) -> tuple[dict[str, list[tuple[int, Any]]], dict[str, Any], Any, Any, int]:
    """Return a file's decoded messages by topic, its channels by topic, metadata, attachment, and how many messages."""
    topics: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    channels: dict[str, Any] = {}
    with path.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()], validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        last = 0
        for schema, channel, message, value in reader.iter_decoded_messages(log_time_order=False):
            assert message.log_time >= last, f"{path}: messages are not in the order of time"
            last = message.log_time
            topics[channel.topic].append((message.log_time, value))
            channels[channel.topic] = (channel, schema)
        (metadata,) = list(reader.iter_metadata())
        (attachment,) = list(reader.iter_attachments())
        assert sum(map(len, topics.values())) == summary.statistics.message_count
        return topics, channels, metadata, attachment, summary.statistics.message_count


def values_of(message: Any) -> list[Any]:
    """Return the numbers of a message of ours in the order of its fields."""
    fields = message.DESCRIPTOR.fields
    if len(fields) == 1 and fields[0].name == "values":
        return list(message.values)
    return [getattr(message, field.name) for field in fields]


def compare(name: str, schema: dict[str, Any], metadata: dict[str, Any], columns: Any, path: Path) -> int:
    """Compare one file with its episode, bit for bit; return how many values were compared."""
    topics, channels, told, attachment, _ = read_mcap(path)
    assert json.loads(told.metadata["json"]) == metadata and json.loads(attachment.data) == schema
    times = [metadata["started_ns"] + int(t) for t in columns["timestamp_ns"]]
    declared = {c["name"]: c for c in schema["channels"]}
    compared, own = 0, set()
    for column, values in columns.items():
        if column in ("timestamp_ns", "is_last"):
            continue
        messages = topics[f"/{column}"]
        own.add(f"/{column}")
        if column == "phase":
            changes = [i for i, phase in enumerate(values) if i == 0 or phase != values[i - 1]]
            assert [(times[i], values[i]) for i in changes] == [(t, m.value) for t, m in messages], f"{name}: phase"
            compared += len(values)
            continue
        rows = len(times) - (column == "action")
        assert [t for t, _ in messages] == times[:rows], f"{name}: times of {column}"
        channel, message_schema = channels[f"/{column}"]
        if column in declared:
            assert channel.metadata["unit"] == declared[column]["unit"], column
            comment = descriptor_pb2.FileDescriptorSet.FromString(message_schema.data).file[-1].source_code_info
            pictured = message_schema.name == "foxglove.RawImage"
            assert pictured or f"Unit: {declared[column]['unit']}." in comment.location[0].leading_comments
        if message_schema.name == "foxglove.RawImage":
            found = [RawImage.FromString(m.SerializeToString()) for _, m in messages]
            assert [m.data for m in found] == [v.tobytes() for v in values], f"{name}: {column}"
        else:
            found = np.array([values_of(m) for _, m in messages], values.dtype).reshape(-1, *values.shape[1:])
            same(found, values[:rows], f"{name}: {column}")
        compared += values[:rows].size
    assert set(topics) - own <= {"/tf", "/joint_states"}, set(topics) - own
    return compared + compare_drawn(schema, columns, topics, times)


def compare_drawn(schema: dict[str, Any], columns: Any, topics: Any, times: list[int]) -> int:
    """Compare what 3D views read, decoded by Foxglove's own classes."""
    compared = 0
    if "base_position" in columns:
        for row, (time, value) in enumerate(topics["/tf"]):
            message = FrameTransform.FromString(value.SerializeToString())
            assert message.timestamp.ToNanoseconds() == time == times[row]
            place, turn = message.translation, message.rotation
            assert [place.x, place.y, place.z] == columns["base_position"][row].tolist()
            assert [turn.x, turn.y, turn.z, turn.w] == columns["base_orientation"][row].tolist()
            compared += 7
    if "joint_angle" in columns:
        for row, (time, value) in enumerate(topics["/joint_states"]):
            message = JointStates.FromString(value.SerializeToString())
            assert message.timestamp.ToNanoseconds() == time
            assert [joint.name for joint in message.joints] == schema["joint_names"]
            for key, column in JOINT_CHANNELS.items():
                assert {joint.HasField(key) for joint in message.joints} == {column in columns}, key
                if column not in columns:
                    continue
                found = [getattr(joint, key) for joint in message.joints]
                assert found == columns[column][row].astype(float).tolist(), key
                compared += len(found)
    return compared


def main(store: Path, export: Path) -> None:
    """Run every check; an AssertionError says what is wrong."""
    schema, episodes = read_store(store)
    files, names = sorted(export.glob("*.mcap")), sorted(path.stem for path in (store / "episodes").glob("*.parquet"))
    assert [file.stem for file in files] == names
    pairs = zip(files, episodes, strict=True)
    compared = sum(compare(file.stem, schema, *episode, file) for file, episode in pairs)
    topics = read_mcap(files[0])[1]
    print(f"mcap {mcap.__version__}: {len(files)} files, {len(topics)} topics, {compared} values equal in bits")
    known = sorted({s.name for _, s in topics.values() if s.name.startswith("foxglove.")})
    print(f"drawn by Foxglove: {', '.join(known) or 'nothing'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

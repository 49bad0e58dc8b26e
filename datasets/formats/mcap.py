"""MCAP, one file an episode, as Foxglove and other robotics tools open it; checked in CI with its reader (`make mcap`).

| topic | message |
|---|---|
| `/<channel>` | protobuf, schema in the file; a field a component, or one field `values`; at the time of row t |
| `/action` | the action applied from row t on: the last row has none |
| `/<picture>` | `foxglove.RawImage` |
| `/phase` | its name, when it changes |
| `/joint_states`, `/tf` | `foxglove.JointStates` and `foxglove.FrameTransform`, made from channels, for 3D views |

Times are nanoseconds since 1970: the wall clock at the episode's start plus the time in the episode. A metadata record
holds all that is known of the episode, an attachment is `dataset.json`: with both, `import_` gives the episode back bit
for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import ExportReport, new_folder
from training_ground.datasets.formats import _mcap_messages as messages
from training_ground.datasets.formats import _protobuf as wire
from training_ground.datasets.formats._common import losses
from training_ground.datasets.formats._mcap_import import EPISODE_RECORD, import_files, is_picture
from training_ground.datasets.frames import Frames
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import (
    ACTION,
    IS_LAST,
    PHASE,
    TIMESTAMP,
    ChannelSchema,
    DatasetSchema,
    canonical_json,
)
from training_ground.datasets.store import DESCRIPTION, Store

if TYPE_CHECKING:
    from mcap.writer import Writer

JOINT_CHANNELS = {"position": "joint_angle", "velocity": "joint_speed", "effort": "joint_torque"}
"""Channel that holds each field of `foxglove.JointState`, one number a joint of the robot."""
_ENCODINGS = {1: "mono8", 3: "rgb8", 4: "rgba8"}


def export(store: Store, path: Path, numbers: Sequence[int], progress: Callable[[int], None]) -> ExportReport:
    """Write episodes as a folder of MCAP files, `episode_000000.mcap` and so on; see `datasets.export.export`.

    Raises:
        DatasetError: An episode begins before 1970.
        ModuleNotFoundError: The extra `formats` is not installed.
    """
    from mcap.writer import Writer

    frames = 0
    with new_folder(path) as folder:
        for number in numbers:
            episode = store.read(number)
            with (folder / f"episode_{number:06d}.mcap").open("wb") as stream:
                writer = Writer(stream)
                writer.start(library="training-ground")
                _write(writer, episode, store.schema)
                writer.finish()
            frames += episode.length
            progress(number)
    return ExportReport("mcap", path, len(numbers), frames, _losses(store))


def import_(path: Path, out: Path, progress: Callable[[int], None]) -> ImportReport:
    """Read MCAP files that `export` wrote into a new store at `out`, which appears complete or not at all.

    Files of others are refused: MCAP says when each message was, not which is an action, what belongs to one step, or
    where an episode begins.

    Args:
        path: A folder of `.mcap` files, or one file.
        out: A folder that does not exist.
        progress: Called with the number of each episode that is done.

    Raises:
        DatasetError: A file was not written by `export`, is damaged or larger than allowed.
        ModuleNotFoundError: The extra `formats` is not installed.
    """
    return import_files(path, out, progress)


def _write(writer: Writer, episode: Episode, schema: DatasetSchema) -> None:
    metadata = episode.metadata
    times = (episode.columns[TIMESTAMP].astype(object) + metadata.started_ns).tolist()
    if times[0] < 0 or times[-1] >= 1 << 63:
        raise DatasetError(f"episode {episode.number}: began at {times[0]} ns since 1970; MCAP has no time before that")
    text = canonical_json(metadata.model_dump(mode="json"), "episode metadata").decode()
    plain = {"seed": metadata.seed, "success": episode.success, "failure": episode.failure, "env_id": metadata.env_id}
    plain |= {"policy": metadata.policy.name, "instruction": episode.instruction}
    told = {key: str(value) for key, value in plain.items() if value is not None}
    writer.add_metadata(EPISODE_RECORD, {"json": text, **told})
    described = canonical_json(schema.model_dump(mode="json"), DESCRIPTION)
    writer.add_attachment(schema.created_ns, times[0], DESCRIPTION, "application/json", described)
    topics = [(channel, iter(rows)) for channel, rows in _topics(writer, episode, schema, times)]
    for row, time in enumerate(times):
        for channel, rows in topics:
            data = next(rows)
            if data is not None:
                writer.add_message(channel, time, data, time, row)


Rows = Iterable[bytes | None]
"""Messages of the rows in order; pictures are made when their turn comes."""


def _topics(writer: Writer, episode: Episode, schema: DatasetSchema, times: list[int]) -> Iterator[tuple[int, Rows]]:
    """Yield each topic's channel in the file, and its message at every row."""
    channels = {channel.name: channel for channel in schema.channels}
    images = messages.foxglove_schema("RawImage")
    drawn = any(is_picture(c) or c.name in ("joint_angle", "base_position") for c in schema.channels)
    stamps = [messages.timestamp(time) for time in times] if drawn else []
    for column in schema.columns().values():
        channel, values = channels.get(column.name), episode.columns[column.name]
        rows: Rows
        if column.name in (TIMESTAMP, IS_LAST):
            continue  # the messages' own times, and the file's end
        if column.name == PHASE:
            phases = values.tolist()
            rows = [wire.field(1, p) if p != b else None for p, b in zip(phases, [None, *phases], strict=False)]
        elif is_picture(channel):
            rows = _images(values, stamps)
        else:
            layout = messages.layout(column, channel.components if channel else ())
            rows = _numbers(layout, values)
            if column.name == ACTION and not np.ascontiguousarray(values[-1:]).view(np.uint8).any():
                rows = [*[*rows][:-1], None]
        kind = images if is_picture(channel) else messages.schema_of(column, channel)
        yield _register(writer, f"/{column.name}", *kind, _told(channel)), rows
    for name, rows in _derived(episode, schema, stamps):
        topic = "/tf" if name == "FrameTransform" else "/joint_states"
        if topic[1:] in schema.columns():
            continue  # the name is a channel's own
        yield _register(writer, topic, *messages.foxglove_schema(name), {"derived": "true"}), rows


def _register(writer: Writer, topic: str, name: str, descriptor: bytes, told: dict[str, str]) -> int:
    schema = writer.register_schema(name, "protobuf", descriptor)
    return writer.register_channel(topic, "protobuf", schema, told)


def _told(channel: ChannelSchema | None) -> dict[str, str]:
    """What the declaration says of a channel, as the metadata of its topic."""
    if channel is None:
        return {}
    said = {"unit": channel.unit, "frame": channel.frame, "role": channel.role, "dtype": channel.dtype}
    said |= {"shape": str(list(channel.shape)), "description": channel.description}
    return said | ({"components": ", ".join(channel.components)} if channel.components else {})


def _numbers(layout: messages.Layout, values: Any) -> Iterator[bytes | None]:
    """Yield a message a row; of a video, such as depth, only a few rows are in memory."""
    block = 16 if isinstance(values, Frames) else len(values)
    for first in range(0, len(values), block):
        for row in layout.messages(values[first : first + block]):
            yield row.tobytes()


def _images(values: Any, stamps: list[bytes]) -> Iterator[bytes | None]:
    height, width, depth = values.shape[1:]
    head = b"".join(
        wire.tag(number, wire.FIXED32) + size.to_bytes(4, "little")
        for number, size in ((2, width), (3, height), (5, width * depth))
    )
    head += wire.field(4, _ENCODINGS[depth])
    for stamp, image in zip(stamps, values, strict=True):
        yield stamp + head + wire.field(6, image.tobytes())


def _derived(episode: Episode, schema: DatasetSchema, stamps: list[bytes]) -> Iterator[tuple[str, list[bytes | None]]]:
    """Yield the messages that Foxglove draws: joints of the robot, and where its base is."""
    columns, count = episode.columns, len(schema.joint_names)
    found = {n: columns[c] for n, c in JOINT_CHANNELS.items() if c in columns and columns[c].shape[1:] == (count,)}
    if "position" in found and count:
        yield "JointStates", _joint_states(found, schema.joint_names, stamps)
    place, turn = columns.get("base_position"), columns.get("base_orientation")
    if place is not None and turn is not None and place.shape[1:] == (3,) and turn.shape[1:] == (4,):
        names = wire.field(2, "world") + wire.field(3, "base")
        yield "FrameTransform", _framed([_doubles(4, place), _doubles(5, turn)], [s + names for s in stamps])


def _joint_states(found: dict[str, NDArray[Any]], names: Sequence[str], stamps: list[bytes]) -> list[bytes | None]:
    numbers = dict(messages.JOINT_FIELDS)
    parts = []
    for joint, name in enumerate(names):
        inner = [_tagged(numbers[key], values[:, joint]) for key, values in found.items()]
        own = np.frombuffer(wire.field(1, name), np.uint8)
        size = len(own) + sum(part.shape[1] for part in inner)
        head = np.frombuffer(wire.tag(2, wire.BYTES) + wire.varint(size), np.uint8)
        parts += [np.tile(np.concatenate([head, own]), (len(stamps), 1)), *inner]
    return _framed(parts, stamps)


def _doubles(number: int, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a message field that holds a message of doubles, (rows, bytes)."""
    inner = [_tagged(i + 1, values[:, i]) for i in range(values.shape[1])]
    head = np.frombuffer(wire.tag(number, wire.BYTES) + wire.varint(sum(p.shape[1] for p in inner)), np.uint8)
    return np.concatenate([np.tile(head, (len(values), 1)), *inner], axis=1)


def _tagged(number: int, values: NDArray[Any]) -> NDArray[np.uint8]:
    head = np.frombuffer(wire.tag(number, wire.FIXED64), np.uint8)
    raw = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    return np.concatenate([np.tile(head, (len(values), 1)), raw], axis=1)


def _framed(parts: list[NDArray[np.uint8]], heads: list[bytes]) -> list[bytes | None]:
    rows = np.concatenate(parts, axis=1)
    return [head + row.tobytes() for head, row in zip(heads, rows, strict=True)]


def _losses(store: Store) -> tuple[str, ...]:
    channels = store.schema.channels
    said = [
        "no time is lost, but it is put on the wall clock: row t is at the episode's start plus its timestamp",
        "steps: rows are messages of many topics with the same time and sequence number",
        "whole and natural numbers of 8 and 16 bits and float16 lie in fields of 32 bits: protobuf has nothing smaller",
        "fields named after components have characters other than letters, digits and _ replaced",
        *losses(store, "the attachment dataset.json; beside a topic they are words"),
    ]
    if any(channel.name == "base_position" for channel in channels):
        said.append("the base link's name: /tf calls it 'base', whatever the URDF calls it")
    if any(is_picture(channel) for channel in channels):
        said.append("pictures are raw there: lossless, much larger than video")
    return tuple(said)

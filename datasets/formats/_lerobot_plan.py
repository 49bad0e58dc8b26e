"""Which channel of a store holds which feature of a LeRobotDataset: as our export said, or as the names suggest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from training_ground.configs.errors import DatasetError
from training_ground.datasets.formats import _imported
from training_ground.datasets.formats._imported import Rows, Source
from training_ground.datasets.formats._lerobot_features import DONE, features_of
from training_ground.datasets.formats._lerobot_layout import BOOKKEEPING, Declared, Info
from training_ground.datasets.formats._lerobot_video import cameras
from training_ground.datasets.schema import ACTION, DTYPES, IS_LAST, PHASE, REWARD, TIMESTAMP, ChannelSchema, Column
from training_ground.datasets.video_schema import VideoStorage

NEXT_REWARD, NEXT_SUCCESS = "next.reward", "next.success"


@dataclass(frozen=True)
class Piece:
    """Numbers of a feature, and the column that they become.

    Attributes:
        feature: LeRobot's key.
        first, last: Which numbers of its flattened sample; `last` is not one of them.
        rows: Whether a frame holds the row before or after its step.
        column: Name, dtype and shape in the store.
        acts: Whether it is an action, of which the last row has none.
    """

    feature: str
    first: int
    last: int
    rows: Rows
    column: Column
    acts: bool = False


@dataclass(frozen=True)
class Plan:
    """What is read, and what is not.

    Attributes:
        numbers: Columns of numbers.
        pictures: Features that are pictures, by the channel's name.
        channels: What the store declares.
        unread: A sentence for each feature that is left out.
    """

    numbers: tuple[Piece, ...]
    pictures: dict[str, Declared]
    channels: tuple[ChannelSchema, ...]
    unread: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """The features that are numbers, once each."""
        return list(dict.fromkeys(piece.feature for piece in self.numbers))


def make_plan(source: Source, info: Info, path: Path) -> Plan:
    """Return what is read of a dataset.

    Raises:
        DatasetError: There is no action; or it carries a schema of ours that its features are not those of.
    """
    return _own_plan(source, info, path) if source.own else _foreign_plan(source, info, path)


def _own_plan(source: Source, info: Info, path: Path) -> Plan:
    assert source.own is not None
    where = f"{path}: does not fit the meta/training_ground.json beside it"
    columns, numbers = source.own.columns(), []
    acts = {c.name for c in source.own.channels if c.role == "action"}
    for feature in features_of(source.own):
        found = info.features.get(feature.name)
        if found is None or (found.kind, math.prod(found.shape)) != (feature.dtype, feature.size):
            raise DatasetError(f"{where}: feature '{feature.name}' must be {feature.size} {feature.dtype}")
        first = 0
        for name in feature.channels:
            last = first + math.prod(columns[name].shape)
            rows: Rows = "after" if feature.next else "before"
            numbers.append(Piece(feature.name, first, last, rows, columns[name], name in acts))
            first = last
    pictures = {}
    for channel in cameras(source.own):
        key = f"observation.images.{channel.name}"
        found = info.features.get(key)
        if found is None or (found.kind, found.shape) != ("video", channel.shape):
            raise DatasetError(f"{where}: feature '{key}' must be a video of {channel.shape}")
        pictures[channel.name] = found
    there = {piece.column.name for piece in numbers} | set(pictures)
    kept = [c for c in source.own.channels if c.name in there]
    channels = tuple(c.model_copy(update={"storage": VideoStorage()}) if c.name in pictures else c for c in kept)
    known = {piece.feature for piece in numbers} | {f.key for f in pictures.values()} | {DONE, *BOOKKEEPING}
    added = tuple(f"'{key}': was added to the export" for key in info.features if key not in known)
    return Plan(tuple(numbers), pictures, channels, added)


def _foreign_plan(source: Source, info: Info, path: Path) -> Plan:
    taken = {TIMESTAMP, IS_LAST, PHASE, REWARD, ACTION}
    numbers: list[Piece] = []
    pictures: dict[str, Declared] = {}
    channels: list[ChannelSchema] = []
    unread = []
    for key, feature in info.features.items():
        if key in BOOKKEEPING or key == DONE:
            continue
        shape = () if feature.shape == (1,) else feature.shape
        if feature.kind in ("video", "image"):
            problem = _no_picture(feature, info)
            if problem:
                unread.append(f"'{key}': {problem}")
                continue
            name = _imported.channel_name(key, taken)
            channel = _imported.make_channel(source, key, name, "uint8", _picture_shape(feature), "picture")
            channels.append(channel.model_copy(update={"storage": VideoStorage()}))
            pictures[name] = feature
            taken.add(name)
            continue
        if feature.kind not in DTYPES:
            unread.append(f"'{key}': is of type {feature.kind!r}")
            continue
        rows: Rows = "after" if key.startswith("next.") else "before"
        if key == NEXT_REWARD and not shape:
            numbers.append(Piece(key, 0, 1, rows, Column(REWARD, "float64")))
            continue
        name = ACTION if key == ACTION else _imported.channel_name(key, taken)
        role = _role(key)
        names = feature.names if shape and len(feature.names) == shape[-1] else ()
        channels.append(_imported.make_channel(source, key, name, feature.kind, shape, role, names))
        taken.add(name)
        numbers.append(Piece(key, 0, math.prod(shape), rows, Column(name, feature.kind, shape), role == "action"))
    if ACTION not in {channel.name for channel in channels}:
        raise DatasetError(f"{path / 'meta/info.json'}: has no feature 'action' that is numbers")
    return Plan(tuple(numbers), pictures, tuple(channels), tuple(unread))


def _role(key: str) -> str:
    if key == ACTION or key.startswith(f"{ACTION}."):
        return "action"
    if key.startswith("next."):
        return "reward" if key.startswith(NEXT_REWARD) else "event"
    return "observation" if key.startswith("observation.") or key == "observation" else "state"


def _picture_shape(feature: Declared) -> tuple[int, ...]:
    """Return (height, width, channels), which LeRobot's own recordings and converted ones order differently."""
    first = feature.names[:1] in (("channels",), ("channel",), ("c",)) or (not feature.names and feature.shape[0] == 3)
    return (*feature.shape[1:], feature.shape[0]) if first else feature.shape


def _no_picture(feature: Declared, info: Info) -> str:
    if len(feature.shape) != 3 or _picture_shape(feature)[-1] != 3:
        return f"pictures of shape {feature.shape}; (height, width, 3) is read"
    about = info.data["features"][feature.key].get("info") or info.data["features"][feature.key].get("video_info")
    depth = isinstance(about, dict) and about.get("video.is_depth_map") is True
    return "depth in a video" if depth else ""

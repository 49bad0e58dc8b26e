"""The written form of a dataset: `dataset.json`, the metadata of an episode, and the columns that follow from both."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from pydantic import Field

from training_ground.configs.errors import DatasetError, short
from training_ground.configs.loading import StrictModel
from training_ground.datasets.cleaned import CleaningStep
from training_ground.datasets.timing import check_rates
from training_ground.datasets.video_schema import CalibrationSchema, CameraPose, Media, VideoStorage, brief
from training_ground.envs.channels import Channel, Role

SCHEMA_VERSION = 1
"""Version of `dataset.json` and of episodes' metadata that is written; `datasets/migrations.py` reads older ones."""

FORMAT = "training-ground-dataset"

DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
TIMESTAMP, IS_LAST, REWARD, PHASE = "timestamp_ns", "is_last", "reward", "phase"
POLICY_OBSERVATION = "policy_observation"
"""Channel of what a policy saw, where that is not the truth."""
ACTION = "action"
TEXT = "text"
"""dtype of the one column that holds text (`phase`)."""

FRAME_NUMBER = "int32"
"""dtype of the column that stands for a video."""
IMPORTED = "imported:"
"""What `env_id` begins with where no environment of ours made the episode; the format's name follows."""

MAX_SAMPLE_BYTES = 64 << 20
"""Largest sample of one channel, bytes."""
MAX_VALUES = 10_000_000
"""Most values in one JSON file: in memory each may take a hundred bytes, and on the disk two."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,127}$")]
Text = Annotated[str, Field(max_length=10_000)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
Count = Annotated[int, Field(ge=0, le=2**62)]


@dataclass(frozen=True)
class Column:
    """One column of an episode: `dtype` is a numpy dtype name or `text`, `shape` that of one row."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, decoded (text counts as 8: a pointer)."""
        return math.prod(self.shape) * (8 if self.dtype == TEXT else np.dtype(self.dtype).itemsize)


class ChannelSchema(StrictModel):
    """A channel as `dataset.json` holds it; see `envs/channels.py` for the meaning of the fields.

    Attributes:
        calibration: Of the camera; None, and not written, where the channel is no picture.
        storage: As a video; None, and not written, where the samples stand in the episode file itself.
    """

    name: Name
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=100_000)], ...], Field(max_length=4)]
    unit: Annotated[str, Field(max_length=64)]
    frame: Annotated[str, Field(max_length=64)]
    role: Role
    description: Text
    components: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=100_000)] = ()
    dtype: str = "float32"
    rate: Annotated[float, Field(gt=0)] | None = None
    calibration: CalibrationSchema | None = None
    storage: VideoStorage | None = None

    @pydantic.model_serializer(mode="wrap")
    def _brief(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return brief(write(self), ("calibration", "storage"))

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> ChannelSchema:
        if self.dtype not in DTYPES:
            raise ValueError(f"channel '{self.name}': dtype '{self.dtype}' is none of {', '.join(DTYPES)}")
        if math.prod(self.shape) * np.dtype(self.dtype).itemsize > MAX_SAMPLE_BYTES:
            raise ValueError(f"channel '{self.name}': a sample is larger than {MAX_SAMPLE_BYTES} bytes")
        if self.name in (TIMESTAMP, IS_LAST, PHASE):
            raise ValueError(f"channel '{self.name}': the name is taken by a column of every episode")
        if self.storage is not None:
            problem = self.storage.problem(self.dtype, self.shape)
            if self.role == "action" or self.name in (REWARD, POLICY_OBSERVATION):
                problem = "actions, rewards and observations are no video"
            if problem:
                raise ValueError(f"channel '{self.name}', {self.dtype} {self.shape}: storage: {problem}")
        self.channel()
        return self

    def channel(self) -> Channel:
        """Return the declaration that the rest of the code works with."""
        return Channel.from_json(self.model_dump(exclude={"storage"}))


class DatasetSchema(StrictModel):
    """What every episode of a store has in common: `dataset.json`.

    Attributes:
        control_rate: Rows a second.
        model_hash: Hash of the compiled robot; an episode of another model is refused.
        joint_names: Joints in the order of every joint array.
        instruction: The task in words, as a language-conditioned policy would be told it.
        environment: `env.unwrapped.describe()` when the store was made.
        created_ns: Wall clock, ns since 1970.
    """

    format: Literal["training-ground-dataset"] = FORMAT
    schema_version: int = SCHEMA_VERSION
    robot: Text
    model_hash: Hash
    joint_names: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=10_000)]
    control_rate: Annotated[float, Field(gt=0, le=1e6)]
    instruction: Text = ""
    channels: Annotated[tuple[ChannelSchema, ...], Field(min_length=1, max_length=10_000)]
    environment: dict[str, Any]
    created_ns: Count
    _earlier: dict[int, str] = pydantic.PrivateAttr(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _unique(self) -> DatasetSchema:
        names = [channel.name for channel in self.channels]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"channels declared twice: {', '.join(twice)}")
        if not any(channel.name == ACTION and channel.role == "action" for channel in self.channels):
            raise ValueError("there is no channel 'action' with the role 'action'")
        check_rates(self.channels, self.control_rate)
        return self

    def columns(self) -> dict[str, Column]:
        """Return the columns of an episode file by name, in order."""
        listed = [Column(TIMESTAMP, "int64"), Column(IS_LAST, "bool"), Column(PHASE, TEXT)]
        if all(channel.name != REWARD for channel in self.channels):
            listed.append(Column(REWARD, "float64"))
        listed += [Column(channel.name, channel.dtype, channel.shape) for channel in self.channels]
        return {column.name: column for column in listed}

    def videos(self) -> dict[str, VideoStorage]:
        """Return how the channels that are videos are stored, by name."""
        return {c.name: c.storage for c in self.channels if c.storage is not None}

    def stored_columns(self) -> dict[str, Column]:
        """Return the columns as a file holds them: of a video, the number of the frame that each row shows."""
        videos = self.videos()
        return {n: Column(n, FRAME_NUMBER) if n in videos else column for n, column in self.columns().items()}

    def fingerprint(self, version: int = SCHEMA_VERSION) -> str:
        """Return the sha256 of what decides whether an episode fits: columns, rate, joints, model, version.

        Args:
            version: Schema version of an episode; older ones know the description as it was in their time.

        Raises:
            DatasetError: The description never was of that version.
        """
        if version != SCHEMA_VERSION:
            if version not in self._earlier:
                raise DatasetError(f"schema_version = {version}: older than the dataset.json beside it")
            return self._earlier[version]
        data = self.model_dump(include={"schema_version", "channels", "control_rate", "joint_names", "model_hash"})
        return hashlib.sha256(canonical_json(data, "dataset.json")).hexdigest()

    @property
    def older(self) -> bool:
        """Whether the `dataset.json` that it was read from is of an older version than this code writes."""
        return bool(self._earlier)

    def remember(self, earlier: dict[int, str]) -> DatasetSchema:
        """Return a copy that knows the fingerprints that older versions gave it."""
        copy = self.model_copy()
        copy._earlier = dict(earlier)
        return copy


class PolicyInfo(StrictModel):
    """Who acted: a name, the sha256 of the bundle where there is one, and the person where there was one."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    hash: Hash | None = None
    operator: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @pydantic.model_serializer(mode="wrap")
    def _brief(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Versions from before there were operators read all that had none.
        return {key: value for key, value in write(self).items() if key != "operator" or value is not None}


class PlacedSegment(StrictModel):
    """A piece of a demonstration, and where it went.

    Attributes:
        frame, source_frame: What it is seen from, here and in the demonstration: `item` or `item.frame` of the cell.
        source_rows: First and last row of the demonstration.
        row: Row of this episode with which it begins.
    """

    frame: Text
    source_frame: Text
    source_rows: tuple[Count, Count]
    row: Count


class Origin(StrictModel):
    """The demonstration that an episode was made from.

    Attributes:
        episode: Its number in its own store.
        seed, policy, content_sha256: As its metadata has them.
        segments: What of it was done again.
    """

    episode: Count
    seed: Count
    policy: PolicyInfo
    content_sha256: Hash
    segments: Annotated[tuple[PlacedSegment, ...], Field(max_length=1000)]


class Imported(StrictModel):
    """The file of another program that an episode was read from.

    Attributes:
        format, version: Such as `minari` and what the file says of its version; empty where it says nothing.
        name: The file's name, without its folder.
        sha256: Of the whole file; of several files, over their names and hashes.
        episode: What the episode is called there.
    """

    format: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(max_length=100)] = ""
    name: Annotated[str, Field(max_length=255)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    episode: Annotated[str, Field(max_length=255)]


class EpisodeMetadata(StrictModel):
    """What is known of one episode besides its rows; JSON in the file's key-value metadata.

    Attributes:
        env_id, kwargs, options, seed: All that it takes to begin the episode again, with `options` those of `reset`.
        length: Steps T; the file has T + 1 rows.
        terminated, truncated: As the last step said; both False in an episode that was cut off by hand.
        success, failure: As the task said at the end; `failure` is a kind such as `fall`.
        randomisation: Values drawn at reset.
        model_hash, config_hash: Compiled robot; environment id, arguments and physics.
        schema_sha256: `DatasetSchema.fingerprint()` of the store that it was written for.
        content_sha256: sha256 over names, types, shapes and values of all columns, whatever the encoding.
        code_commit: Commit of the code, `+dirty` with local changes, None where it was not run from a repository.
        started_ns, ended_ns: Wall clock, ns since 1970.
        origin: Where the episode is an augmented one, what it was made from; else None, and not written.
        media: Files of the channels that are videos, by channel; not written where there are none.
        cameras: Where each camera stood in the world when the episode began, by channel; not written where there are
            none.
        imported: Where another program wrote the episode, the file that it was read from; else None, and not written.
            `env_id` is then `imported:<format>`, and nothing replays it.
        cleaned: What was done to the rows since they were recorded, in order; not written where empty.
    """

    schema_version: int = SCHEMA_VERSION
    env_id: Text
    kwargs: dict[str, Any]
    options: dict[str, Any] | None = None
    seed: Count
    policy: PolicyInfo
    instruction: Text = ""
    length: Annotated[int, Field(ge=1, le=100_000_000)]
    terminated: bool
    truncated: bool
    success: bool | None = None
    failure: Text | None = None
    randomisation: dict[str, Any] = Field(default_factory=dict)
    robot: Text
    model_hash: Hash
    config_hash: Hash
    schema_sha256: Hash
    content_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    code_commit: Annotated[str, Field(max_length=100)] | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    started_ns: Count
    ended_ns: Count
    origin: Origin | None = None
    media: Annotated[dict[Name, Media], Field(max_length=1000)] = Field(default_factory=dict)
    cameras: Annotated[dict[Name, CameraPose], Field(max_length=1000)] = Field(default_factory=dict)
    imported: Imported | None = None
    cleaned: Annotated[tuple[CleaningStep, ...], Field(max_length=1000)] = ()

    @pydantic.model_serializer(mode="wrap")
    def _without_what_is_empty(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Readers that do not know a key refuse it.
        return brief(write(self), ("origin", "media", "cameras", "imported", "cleaned"))

    @property
    def complete(self) -> bool:
        """Whether the episode ran to its own end."""
        return self.terminated or self.truncated

    @property
    def as_recorded(self) -> bool:
        """Whether the rows are those that were recorded, all of them and unchanged."""
        return all(step.as_recorded for step in self.cleaned)


def plain(value: Any) -> Any:
    """Return `value` with numpy's numbers and arrays, and tuples, as plain ones."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def canonical_json(data: Any, where: str) -> bytes:
    """Return `data` as UTF-8 JSON with sorted keys and no blanks, the form that hashes are taken of.

    Raises:
        DatasetError: Something in `data` is no plain data, or not finite.
    """
    try:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as problem:
        raise DatasetError(f"{where}: cannot be written as JSON: {problem}") from problem


def parse_json(raw: bytes, where: str) -> dict[str, Any]:
    """Read a JSON object; NaN, infinity, keys given twice and more than `MAX_VALUES` values are refused.

    Raises:
        DatasetError: It is no such object; the message says why.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return result

    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if values > MAX_VALUES:
        raise DatasetError(f"{where}: holds about {values} values, more than the {MAX_VALUES} allowed in a JSON file")
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
        if _SURROGATE.search(raw):  # only an escape can stand for half a letter, which nothing could write again
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise DatasetError(f"{where}: malformed JSON: {problem}") from problem
    if not isinstance(data, dict):
        raise DatasetError(f"{where}: the top level must be an object, not {type(data).__name__}")
    return data


def check_version(data: dict[str, Any], where: str, oldest: int = SCHEMA_VERSION) -> int:
    """Return the schema version, before anything else is looked at.

    Args:
        data: What the file says.
        where: Named first in an error, such as the file's path.
        oldest: Oldest version that can be read.

    Raises:
        DatasetError: The version is missing, no number, or none of those from `oldest` to `SCHEMA_VERSION`.
    """
    version = data.get("schema_version")
    if type(version) is not int or not oldest <= version <= SCHEMA_VERSION:
        newer = type(version) is int and version > SCHEMA_VERSION
        remedy = (
            "; it was written by a newer training-ground: update with pip install -U training-ground" if newer else ""
        )
        reads = f"{oldest} to {SCHEMA_VERSION}" if oldest < SCHEMA_VERSION else f"{SCHEMA_VERSION}"
        raise DatasetError(f"{where}: schema_version = {short(version)}, this code reads {reads}{remedy}")
    return version

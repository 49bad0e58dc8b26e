"""Read the files of a policy bundle strictly: nothing in them is run, imported or allocated beyond fixed caps."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import Field

from training_ground.agents.chunks import ChunkSpec
from training_ground.agents.clock import ClockSpec
from training_ground.agents.machine import Machine
from training_ground.agents.memory import places_of
from training_ground.agents.network_specs import KINDS, AnyNetwork
from training_ground.agents.signature import Signature
from training_ground.configs.errors import AgentError
from training_ground.configs.loading import StrictModel

SCHEMA_VERSION = 1
ONNX_FILE = "policy.onnx"
MAX_BYTES = {
    "manifest.json": 64_000,
    "spec.json": 1_000_000,
    "policy.safetensors": 256_000_000,
    "golden.safetensors": 16_000_000,
    ONNX_FILE: 260_000_000,
    "card.md": 1_000_000,
    "evaluation.json": 64_000_000,
}
"""Every file that a bundle may hold and the most bytes that it may have; checked before it is read."""

REQUIRED = ("policy.safetensors", "spec.json", "golden.safetensors")
MAX_WEIGHTS = MAX_BYTES["policy.safetensors"] // 4

Model = TypeVar("Model", bound=pydantic.BaseModel)
Json = None | bool | int | float | str | list[Any] | dict[str, Any]


class NormaliserSpec(StrictModel):
    """clip((observation - mean) / sqrt(variance + epsilon), -clip, clip), the statistics in float64."""

    clip: Annotated[float, Field(gt=0)]
    epsilon: Annotated[float, Field(gt=0)]


class Origin(StrictModel):
    """Another policy that a training needed: the one whose actor it began with, or its teacher."""

    name: str
    hash: str
    """sha256 of its bundle."""
    steps: int | None
    """Environment steps of its own training and of what came before; None where unknown."""


class DataOrigin(StrictModel):
    """Episodes that a policy learned from."""

    dataset: str
    """Its path, as the configuration names it."""
    episodes: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    """Control steps in them whose actions were learned."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Over the content hashes of these episodes, in the order of their numbers."""


class Provenance(StrictModel):
    """Where the weights come from."""

    algorithm: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    steps: Annotated[int, Field(ge=0)] | None
    """Environment steps of training; None where unknown."""
    seconds: Annotated[float, Field(ge=0)] | None
    """Wall-clock time of training, s; None where unknown."""
    seed: int | None
    """None where unknown."""
    commit: str
    created: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    config: dict[str, Json]
    """The resolved training configuration."""
    machine: Machine | None = None
    """Where it was trained; None in bundles that are older than this field."""
    began_from: Origin | None = None
    data: tuple[DataOrigin, ...] | None = None
    """Of policies that learned from recorded episodes; `steps` are those of the episodes then."""
    teacher: Origin | None = None
    """Of distilled policies."""

    @property
    def all_steps(self) -> int | None:
        """Environment steps of training, and of the policies that it went through before; None where unknown."""
        if self.began_from is None:
            return self.steps
        before = self.began_from.steps
        return None if self.steps is None or before is None else self.steps + before


class BundleSpec(StrictModel):
    """`spec.json`: what the weights are for."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    network: AnyNetwork
    chunk: ChunkSpec | None = None
    """How the network's actions are carried out where it gives several at once; None where it gives one."""
    clock: ClockSpec | None = None
    """What the network is told of the time, behind the observation; None where nothing."""
    remembered: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Channels of which it is told the largest that they have been since the episode's beginning, behind the clock."""
    normaliser: NormaliserSpec
    env: Signature
    env_kwargs: dict[str, Json]
    """Keyword arguments of the environment that the policy was trained in; information, never used to load anything."""
    provenance: Provenance

    @property
    def inputs(self) -> int:
        """Numbers that the network is given: the observation, and behind it the clock's and what is remembered.

        An AgentError says that what is remembered is no channel.
        """
        told = len(places_of(self.env, self.remembered)) + (0 if self.clock is None else self.clock.size)
        return self.env.observation_size + told

    @property
    def outputs(self) -> int:
        """Numbers that the network gives: an action, or a chunk of them one after the other."""
        return self.env.action_size * (1 if self.chunk is None else self.chunk.horizon)

    @property
    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Lowest and highest of each of them; None where actions have no bounds."""
        bounds = self.env.bounds
        if bounds is None or self.chunk is None:
            return bounds
        low, high = (np.tile(bound, self.chunk.horizon) for bound in bounds)
        return low, high


class FileEntry(StrictModel):
    """One file of the bundle as the manifest names it."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(StrictModel):
    """`manifest.json`: every file of the bundle."""

    schema_version: Literal[1]
    files: dict[str, FileEntry]


def read_capped(path: Path, cap: int | None = None) -> bytes:
    """Return a file's bytes if it is a regular file no larger than its cap.

    Args:
        path: The file.
        cap: Most bytes; where absent, of the bundle's file of that name.

    Raises:
        AgentError: It is missing, no regular file, or too large.
    """
    cap = MAX_BYTES[path.name] if cap is None else cap
    try:
        if not path.is_file():
            raise AgentError(f"{path}: missing, or no regular file")
        size = path.stat().st_size
        if size > cap:
            raise AgentError(f"{path}: {size} bytes, more than the {cap} that are allowed")
        with path.open("rb") as stream:
            data = stream.read(cap + 1)
    except OSError as problem:
        raise AgentError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    if len(data) > cap:
        raise AgentError(f"{path}: grew beyond {cap} bytes while it was read")
    return data


def read_json(path: Path, data: bytes, model: type[Model]) -> Model:
    """Return `data` as `model`; duplicate keys, unknown keys, NaN and numbers written as text are refused."""
    try:
        json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        return model.model_validate_json(data, strict=True)
    except pydantic.ValidationError as problem:
        lines = [f"{_where(error['loc'])}: {error['msg']}" for error in problem.errors()[:3]]
        raise AgentError(f"{path}: {'; '.join(lines)}") from problem
    except RecursionError as problem:
        raise AgentError(f"{path}: nested too deep") from problem
    except ValueError as problem:
        raise AgentError(f"{path}: damaged JSON: {problem}") from problem


def _where(place: tuple[int | str, ...]) -> str:
    """Where in a file something is wrong; pydantic puts a network's kind in between."""
    return ".".join(str(part) for part in place if part not in KINDS) or "top level"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"the key '{next(k for k in keys if keys.count(k) > 1)}' stands twice")
    return dict(pairs)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def read_tensors(
    path: Path, data: bytes, expected: dict[str, tuple[type[np.generic], tuple[int, ...]]]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file that holds exactly `expected`, all finite.

    Args:
        path: Named in errors.
        data: The file's bytes.
        expected: dtype and shape by key.

    Raises:
        AgentError: A key, dtype or shape differs, or a value is not finite; the message names the array.
    """
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as problem:
        raise AgentError(f"{path}: damaged or no safetensors file: {problem}") from problem
    missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    if missing or extra:
        raise AgentError(f"{path}: missing arrays: {missing or 'none'}; arrays that do not belong: {extra or 'none'}")
    for key, (dtype, shape) in expected.items():
        array = arrays[key]
        if array.dtype != dtype:
            raise AgentError(f"{path}: '{key}' is {array.dtype}, not {np.dtype(dtype)}")
        if array.shape != shape:
            raise AgentError(f"{path}: '{key}' has shape {list(array.shape)}, not {list(shape)}")
        if not np.isfinite(array).all():
            raise AgentError(f"{path}: '{key}' holds values that are not finite")
    return arrays


def read_files(folder: Path, leave_out: Sequence[str] = ()) -> tuple[Manifest, dict[str, bytes]]:
    """Read a bundle's manifest and the files it names; sizes and sha256 are checked.

    Args:
        folder: The bundle.
        leave_out: Files that are not read.

    Raises:
        AgentError: A file is missing, damaged, too large, or has no place in a bundle.
    """
    path = folder / "manifest.json"
    manifest = read_json(path, read_capped(path), Manifest)
    missing = [name for name in REQUIRED if name not in manifest.files]
    extra = sorted(manifest.files.keys() - MAX_BYTES.keys() | manifest.files.keys() & {"manifest.json"})
    if missing or extra:
        raise AgentError(
            f"{path}: missing entries: {missing or 'none'}; entries with no place in a bundle: {extra or 'none'}"
        )
    contents: dict[str, bytes] = {}
    for name, entry in manifest.files.items():
        if name in leave_out:
            continue
        data = read_capped(folder / name)
        if len(data) != entry.bytes:
            raise AgentError(
                f"{folder / name}: {len(data)} bytes where the manifest says {entry.bytes}: truncated or changed"
            )
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise AgentError(f"{folder / name}: its sha256 is not the manifest's: the file was changed or damaged")
        contents[name] = data
    return manifest, contents

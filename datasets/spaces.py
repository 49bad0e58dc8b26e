"""Gymnasium's spaces as channels: one for each part of an observation, one for the whole action."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.formats._imported import UNKNOWN, channel_name
from training_ground.datasets.schema import ACTION, DTYPES
from training_ground.envs.channels import Channel, Role

ALLOWED = "allowed are Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"
OBSERVATION = "observation"
SMALLEST_PICTURE = 32
"""Boxes (H, W, 3) uint8 of fewer pixels a side are numbers, such as the cells of a grid, and no picture."""
MAX_AXES, MAX_AXIS = 4, 100_000
"""What a store can hold of one sample."""
MAX_BOUNDS = 1000
"""Most bounds of a Box that are written one by one."""

_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@dataclass(frozen=True)
class Part:
    """A part of a space that is no Dict or Tuple.

    Attributes:
        path: Keys of the Dicts and numbers of the Tuples that lead to it; empty where it is the whole space.
        label: What it is called in an error, such as `observation['arm'][0]`.
        dtype, shape: Of one sample.
    """

    path: tuple[Any, ...]
    label: str
    space: spaces.Space[Any]
    dtype: str
    shape: tuple[int, ...]

    def read(self, value: Any) -> NDArray[Any]:
        """Return this part of a sample as an array of the space's type and shape, a copy.

        Floating-point numbers of another type are rounded to the space's.

        Raises:
            DatasetError: There is no such part, it has another shape, or its values are not of the space's type.
        """
        try:
            for key in self.path:
                value = value[key]
            given = np.asarray(value)
            kept = given.astype(self.dtype)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as problem:
            raise DatasetError(f"{self.label}: is not what its space promises: {problem!r}") from problem
        if given.shape != self.shape:
            raise DatasetError(f"{self.label}: has shape {given.shape}, its space says {self.shape}")
        if given.dtype != kept.dtype and kept.dtype.kind != "f" and not np.array_equal(given, kept):
            raise DatasetError(f"{self.label}: {given.dtype.name} values do not fit its space, which is {self.dtype}")
        return kept


def parts_of(space: spaces.Space[Any], label: str, path: tuple[Any, ...] = ()) -> tuple[Part, ...]:
    """Return the parts of a space that hold numbers, in its order.

    Raises:
        DatasetError: There are none, or one is of a kind or size that a store cannot hold; the message names it.
    """
    below: Iterator[tuple[Any, spaces.Space[Any]]] | None = None
    if isinstance(space, spaces.Dict):
        below = iter(space.spaces.items())
    elif isinstance(space, spaces.Tuple):
        below = iter(enumerate(space.spaces))
    if below is not None:
        found = tuple(p for key, sub in below for p in parts_of(sub, f"{label}[{key!r}]", (*path, key)))
        if not found:
            raise DatasetError(f"{label}: is an empty {type(space).__name__}: there is nothing to record")
        return found
    if not isinstance(space, _NUMBERS):
        raise DatasetError(f"{label}: is a {type(space).__name__} space, which cannot be recorded; {ALLOWED}")
    dtype, shape = np.dtype(space.dtype or object).name, tuple(int(n) for n in space.shape or ())
    if dtype not in DTYPES:
        raise DatasetError(f"{label}: holds {dtype}; allowed are {', '.join(DTYPES)}")
    if len(shape) > MAX_AXES or not all(1 <= n <= MAX_AXIS for n in shape):
        raise DatasetError(f"{label}: has shape {shape}; allowed are at most {MAX_AXES} axes of 1 to {MAX_AXIS}")
    return (Part(path, label, space, dtype, shape),)


def observation_channels(parts: tuple[Part, ...]) -> tuple[Channel, ...]:
    """Return a channel for each part: `observation`, or `observation.<key>` for those of a Dict or Tuple."""
    channels: list[Channel] = []
    for part in parts:
        text = ".".join(str(key) for key in (OBSERVATION, *part.path))
        name = channel_name(text, {channel.name for channel in channels})
        role: Role = "picture" if _is_picture(part) else "observation"
        channels.append(_channel(name, part.shape, part.dtype, role, f"{part.label}: {_kind(part.space)}."))
    return tuple(channels)


def _is_picture(part: Part) -> bool:
    large = len(part.shape) == 3 and part.shape[2] == 3 and min(part.shape[:2]) >= SMALLEST_PICTURE
    return large and part.dtype == "uint8" and isinstance(part.space, spaces.Box)


def _kind(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Discrete):
        return f"a choice, {space.start} to {space.start + space.n - 1}"
    if isinstance(space, spaces.MultiDiscrete):
        return f"choices of up to {int(np.max(space.nvec))}"
    return "flags, 0 or 1" if isinstance(space, spaces.MultiBinary) else "numbers"


def _channel(
    name: str, shape: tuple[int, ...], dtype: str, role: Role, text: str, components: tuple[str, ...] = ()
) -> Channel:
    return Channel(name, shape, UNKNOWN, UNKNOWN, role, text[:1000], components, dtype)


class Actions:
    """An action space as the one channel `action`.

    A Dict or Tuple becomes a vector of all its numbers, in the type that holds each of them, named by its parts.

    Attributes:
        channel: Its declaration.

    Raises:
        DatasetError: A part of the space cannot be recorded.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self._space, self._parts = space, parts_of(space, ACTION)
        first = self._parts[0]
        self._whole = not first.path
        if self._whole:
            self.channel = _channel(ACTION, first.shape, first.dtype, "action", f"action: {_kind(first.space)}.")
            return
        dtype = np.result_type(*(part.dtype for part in self._parts)).name
        names = tuple(name for part in self._parts for name in _component_names(part))
        text = f"{type(space).__name__} action, the numbers of its {len(self._parts)} parts one after the other."
        self.channel = _channel(ACTION, (len(names),), dtype, "action", text, names)

    def encode(self, action: Any) -> NDArray[Any]:
        """Return an action as the channel holds it, a copy.

        Raises:
            DatasetError: It is none of the space's kind.
        """
        if self._whole:
            return self._parts[0].read(action)
        values = [part.read(action).reshape(-1) for part in self._parts]
        return np.concatenate(values).astype(self.channel.dtype)

    def decode(self, row: NDArray[Any]) -> Any:
        """Return the action that `encode` gave this row of."""
        sizes = [math.prod(part.shape) for part in self._parts]
        pieces = np.split(row.reshape(-1), np.cumsum(sizes)[:-1])
        found = {
            part.path: piece.astype(part.dtype).reshape(part.shape)[()]
            for part, piece in zip(self._parts, pieces, strict=True)
        }

        def build(space: spaces.Space[Any], path: tuple[Any, ...]) -> Any:
            if isinstance(space, spaces.Dict):
                return {key: build(sub, (*path, key)) for key, sub in space.spaces.items()}
            if isinstance(space, spaces.Tuple):
                return tuple(build(sub, (*path, index)) for index, sub in enumerate(space.spaces))
            return found[path]

        return build(self._space, ())


def _component_names(part: Part) -> list[str]:
    name = ".".join(str(key) for key in part.path)[:200]
    return [name] if not part.shape else [f"{name}.{index}" for index in range(math.prod(part.shape))]


def to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """Return a space as plain data: its bounds are there only, and not in the channels.

    A bound is one number where all are alike, `"inf"` where it is infinite, and null where more than `MAX_BOUNDS`
    differ.
    """
    told: dict[str, Any] = {"type": type(space).__name__}
    if isinstance(space, spaces.Dict):
        return told | {"subspaces": {str(key): to_json(sub) for key, sub in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return told | {"subspaces": [to_json(sub) for sub in space.spaces]}
    told |= {"dtype": np.dtype(space.dtype or object).name, "shape": list(space.shape or ())}
    if isinstance(space, spaces.Box):
        told |= {"low": _bounds(space.low), "high": _bounds(space.high)}
    elif isinstance(space, spaces.Discrete):
        told |= {"n": int(space.n), "start": int(space.start)}
    elif isinstance(space, spaces.MultiDiscrete):
        told |= {"n": _bounds(space.nvec), "start": _bounds(space.start)}
    return told


def _bounds(values: NDArray[Any]) -> Any:
    if values.size and (values == values.flat[0]).all():
        values = values.reshape(-1)[0]
    elif values.size > MAX_BOUNDS:
        return None

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value if math.isfinite(value) else str(value)

    return plain(values.tolist())

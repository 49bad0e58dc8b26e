"""Minari's spaces, parsed by hand from their JSON, and the pictures that Minari keeps as JPEG."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import MAX_EPISODE_BYTES
from training_ground.datasets.formats import _hdf5

SMALLEST_PICTURE = 32
"""Minari keeps uint8 boxes as JPEG from this height and width on."""


@dataclass(frozen=True)
class SpacePart:
    """A part of a space that is no Dict or Tuple: shape of a sample, None for text; `picture` where Minari sees one."""

    shape: tuple[int, ...] | None
    picture: bool = False


def read_spaces(metadata: dict[str, Any], where: str) -> dict[str, SpacePart]:
    """Return the parts of the observation and action space by the path of their array in an episode.

    A space that is not there has no parts: in old files the arrays speak for themselves, and the environment that such
    a file names is never made.

    Raises:
        DatasetError: A space is no JSON text, or not of a kind that Minari writes.
    """
    found: dict[str, SpacePart] = {}
    for top, key in (("observations", "observation_space"), ("actions", "action_space")):
        if key not in metadata:
            continue
        if not isinstance(metadata[key], str):
            raise DatasetError(f"{where}: {key} must be a text with JSON, not {type(metadata[key]).__name__}")
        try:
            space = json.loads(metadata[key])
        except (ValueError, RecursionError) as problem:
            raise DatasetError(f"{where}: {key}: malformed JSON: {problem}") from problem
        found |= _parts(space, f"{where}: {key}", top)
    return found


def _parts(space: Any, where: str, path: str, depth: int = 0) -> dict[str, SpacePart]:
    if depth > _hdf5.MAX_DEPTH or not isinstance(space, dict):
        raise DatasetError(f"{where}: '{path}' must be an object, nested at most {_hdf5.MAX_DEPTH} deep")
    kind, below = space.get("type"), space.get("subspaces")
    if kind in ("Dict", "Tuple"):
        if not isinstance(below, dict if kind == "Dict" else list):
            raise DatasetError(f"{where}: '{path}' is a {kind} without subspaces")
        items = below.items() if isinstance(below, dict) else ((f"_index_{i}", s) for i, s in enumerate(below))
        return {k: v for key, sub in items for k, v in _parts(sub, where, f"{path}/{key}", depth + 1).items()}
    if kind == "Text":
        return {path: SpacePart(None)}
    if kind == "Discrete":
        return {path: SpacePart(())}
    if kind != "Box":
        raise DatasetError(f"{where}: '{path}' is a {kind!r}; Minari writes Box, Discrete, Text, Dict and Tuple")
    shape = space.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n <= 2**31 for n in shape):
        raise DatasetError(f"{where}: '{path}' has the shape {shape!r}, must be a list of whole numbers")
    return {path: SpacePart(tuple(shape), _is_picture(space, shape))}


def _is_picture(space: dict[str, Any], shape: list[int]) -> bool:
    large = len(shape) in (2, 3) and min(shape[:2]) >= SMALLEST_PICTURE
    return large and space.get("dtype") == "uint8" and _all(space.get("low"), 0) and _all(space.get("high"), 255)


def _all(bounds: Any, value: int, depth: int = 0) -> bool:
    if isinstance(bounds, list):
        return depth < 3 and all(_all(part, value, depth + 1) for part in bounds)
    return bounds == value


def read_pictures(group: Any, path: str, shape: tuple[int, ...], where: str) -> NDArray[np.uint8]:
    """Decode a dataset of JPEG files, one a row, into (rows, *shape).

    Raises:
        DatasetError: One is no JPEG file of this size, or all together are larger than an episode may be.
    """
    from PIL import Image

    rows = _hdf5.byte_rows(group, path, where)
    count = next(rows)
    if count * math.prod(shape) > MAX_EPISODE_BYTES:
        raise DatasetError(f"{where}/{path}: would need more than the {MAX_EPISODE_BYTES} bytes allowed")
    result = np.empty((count, *shape), np.uint8)
    for index, raw in enumerate(rows):
        try:
            with Image.open(io.BytesIO(raw), formats=["JPEG"]) as image:
                size = (image.height, image.width, *((len(image.getbands()),) if len(shape) == 3 else ()))
                if size != shape:  # said by its first bytes: nothing is unpacked yet
                    raise ValueError(f"is {size}, the space says {shape}")
                result[index] = np.asarray(image)
        except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as problem:
            raise DatasetError(f"{where}/{path}: row {index} is no JPEG picture: {problem}") from problem
    return result

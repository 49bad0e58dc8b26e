"""Which feature of RLDS holds which column, and how `features.json` declares it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training_ground.configs.errors import DatasetError
from training_ground.datasets.formats._common import observed
from training_ground.datasets.schema import (
    ACTION,
    DTYPES,
    IS_LAST,
    PHASE,
    REWARD,
    TEXT,
    TIMESTAMP,
    DatasetSchema,
)

_CLASSES = "tensorflow_datasets.core.features."
_DICT, _DATASET = _CLASSES + "features_dict.FeaturesDict", _CLASSES + "dataset_feature.Dataset"
_TENSORS = {_CLASSES + "tensor_feature.Tensor", _CLASSES + "feature.Tensor", _CLASSES + "scalar.Scalar"}
_TEXT, _IMAGE = _CLASSES + "text_feature.Text", _CLASSES + "image_feature.Image"
_STRINGS = {"string", "object"}
MAX_LEAVES = 10_000
MAX_DEPTH = 20
MAX_SIDE = 1 << 31

Kind = str
"""How a value is stored: `list` of numbers, `bytes` (raw), `zlib` (raw, packed), `png`, `jpeg` or `text`."""


@dataclass(frozen=True)
class Leaf:
    """One value of each step, or of the episode.

    Attributes:
        key: Path in the Example, such as `steps/observation/joint_position`.
        dtype: numpy dtype name, or `text`.
        shape: Of one value.
        kind: How it is stored.
        column: Column of the store that it holds; None for what follows from others.
        next: Whether step t holds row t + 1, where the outcome of its action stands.
        doc: A sentence with unit and frame.
    """

    key: str
    dtype: str
    shape: tuple[int, ...] = ()
    kind: Kind = "list"
    column: str | None = None
    next: bool = False
    doc: str = ""


def column_leaves(schema: DatasetSchema) -> list[Leaf]:
    """Return the leaves that hold the columns of an episode (`is_last` has its own)."""
    channels = {channel.name: channel for channel in schema.channels}
    seen = {channel.name for channel in observed(schema)}
    leaves = []
    for column in schema.columns().values():
        name, doc, kind = column.name, "", "bytes" if column.dtype == "float64" else "list"
        if name == IS_LAST:
            continue
        channel = channels.get(name)
        if name in (TIMESTAMP, PHASE, REWARD):
            key, kind = name, "text" if column.dtype == TEXT else kind
        else:
            assert channel is not None
            folder = {"picture": "observation", "reward": "reward_terms", "event": "events"}.get(channel.role, "state")
            folder = "observation" if name in seen else folder  # the truth behind a noisy observation is state
            key = ACTION if name == ACTION else f"{folder}/{name}"
        if channel is not None:
            parts = f", components {', '.join(channel.components)}" if channel.components else ""
            doc = f"{channel.description} Unit {channel.unit}, frame {channel.frame}{parts}."
            if channel.role == "picture" and column.dtype == "uint8" and len(column.shape) == 3:
                kind = "png" if column.shape[-1] in (1, 3, 4) else kind
        later = name == REWARD or (channel is not None and channel.role == "reward")
        leaves.append(Leaf(f"steps/{key}", column.dtype, column.shape, kind, name, later, doc))
    return leaves


DERIVED = (
    Leaf("steps/discount", "float32", doc="0 for the step whose action ended the episode for good, else 1."),
    Leaf("steps/is_first", "bool"),
    Leaf("steps/is_last", "bool", doc="Its action, reward, reward terms and discount mean nothing."),
    Leaf("steps/is_terminal", "bool", doc="Last step of an episode that ended for good and was not cut off."),
    Leaf("steps/language_instruction", TEXT, kind="text"),
)
EPISODE = (
    Leaf("episode_metadata/number", "int64", doc="Number in the store that it was exported from."),
    Leaf("episode_metadata/seed", "int64"),
    Leaf("episode_metadata/success", "int64", doc="1, 0, or -1 where the task did not say."),
    Leaf("episode_metadata/failure", TEXT, kind="text", doc="Kind of failure, or empty."),
    Leaf("episode_metadata/env_id", TEXT, kind="text"),
    Leaf("episode_metadata/policy", TEXT, kind="text"),
    Leaf("episode_metadata/content_sha256", TEXT, kind="text"),
    Leaf("episode_metadata/metadata", TEXT, kind="text", doc="All that is known of the episode, JSON."),
)


def reset_leaves(leaves: list[Leaf]) -> list[Leaf]:
    """Return the leaves that hold what a reset gave for values that steps hold one row later."""
    return [
        Leaf(f"episode_metadata/reset/{x.column}", x.dtype, x.shape, x.kind, x.column, doc="Row 0, before any action.")
        for x in leaves
        if x.next
    ]


def declare(leaves: list[Leaf]) -> dict[str, Any]:
    """Return the content of `features.json`."""
    tree: dict[str, Any] = {}
    for leaf in leaves:
        *folders, name = leaf.key.split("/")
        at = tree
        for folder in folders:
            at = at.setdefault(folder, {})
        at[name] = leaf
    return _feature(tree, "")


def _feature(node: dict[str, Any] | Leaf, name: str) -> dict[str, Any]:
    if isinstance(node, dict):
        inner = {key: _feature(node[key], key if not name else f"{name}/{key}") for key in sorted(node)}
        own = {"pythonClassName": _DICT, "featuresDict": {"features": inner}}
        return {"pythonClassName": _DATASET, "sequence": {"feature": own, "length": "-1"}} if name == "steps" else own
    said = {"description": node.doc} if node.doc else {}
    shape = {"dimensions": [str(length) for length in node.shape]}
    if node.kind == "text":
        return {"pythonClassName": _TEXT, "text": {}, **said}
    if node.kind in ("png", "jpeg"):
        image = {"shape": shape, "dtype": node.dtype, "encodingFormat": node.kind}
        return {"pythonClassName": _IMAGE, "image": image, **said}
    encoding = "none" if node.kind == "list" else node.kind
    tensor = {"shape": shape, "dtype": node.dtype, "encoding": encoding}
    return {"pythonClassName": _CLASSES + "tensor_feature.Tensor", "tensor": tensor, **said}


def parse_features(data: dict[str, Any], where: str) -> tuple[dict[str, Leaf], list[str]]:
    """Return the leaves that a `features.json` declares, and a sentence for each that cannot be read here.

    Class names are compared with a list; nothing is imported (TFDS imports the module that the file names).

    Raises:
        DatasetError: It is no FeaturesDict with a Dataset `steps`, or nested or long beyond reason.
    """
    leaves: dict[str, Leaf] = {}
    refused: list[str] = []
    try:
        top = data["featuresDict"]["features"]
        steps = top["steps"]["sequence"]["feature"]
        if data["pythonClassName"] != _DICT or top["steps"]["pythonClassName"] != _DATASET:
            raise KeyError("pythonClassName")
        _walk(steps, "steps", leaves, refused, 0)
        for key, value in top.items():
            if key != "steps":
                _walk(value, key, leaves, refused, 0)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as problem:
        text = "must be a FeaturesDict with a Dataset 'steps' in the form of tfds 4.5 or newer"
        raise DatasetError(f"{where}: {text}; wrong or missing: {problem}") from problem
    return leaves, refused


def _walk(node: Any, key: str, leaves: dict[str, Leaf], refused: list[str], depth: int) -> None:
    if depth > MAX_DEPTH or len(leaves) + len(refused) > MAX_LEAVES or len(key) > 1000:
        raise ValueError(f"more than {MAX_LEAVES} features, or more than {MAX_DEPTH} levels, at '{key[:100]}'")
    kind = node["pythonClassName"]
    if kind == _DICT:
        for name, inner in node["featuresDict"]["features"].items():
            if "/" in name or not name.isprintable():
                raise ValueError(f"feature {name[:100]!r} has a '/' or a sign that cannot be printed in its name")
            _walk(inner, f"{key}/{name}", leaves, refused, depth + 1)
        return
    read: Callable[[Any, str], Leaf | str] = _tensor if kind in _TENSORS else _image if kind == _IMAGE else _other
    leaf = Leaf(key, TEXT, kind="text") if kind == _TEXT else read(node, key)
    if isinstance(leaf, str):
        refused.append(f"{key}: {leaf}")
    else:
        leaves[key] = leaf


def _tensor(node: Any, key: str) -> Leaf | str:
    tensor = node["tensor"]
    dtype, encoding = str(tensor["dtype"]), str(tensor.get("encoding") or "none").lower()
    if dtype in _STRINGS:
        return Leaf(key, TEXT, kind="text") if not _shape(tensor) else "a tensor of texts"
    if dtype not in DTYPES:
        return f"numbers of type {dtype[:50]!r}"
    shape = _shape(tensor)
    if shape is None or encoding not in ("none", "bytes", "zlib"):
        return f"shape not fixed, or encoding {encoding[:50]!r}"
    return Leaf(key, dtype, shape, "list" if encoding == "none" else encoding)


def _image(node: Any, key: str) -> Leaf | str:
    image = node["image"]
    shape, kind = _shape(image), str(image.get("encodingFormat") or "").lower()
    if shape is None or len(shape) != 3 or shape[-1] not in (1, 3, 4):
        return "pictures whose size is not fixed"
    if str(image.get("dtype") or "uint8") != "uint8" or kind not in ("png", "jpeg"):
        return f"pictures of type {str(image.get('dtype'))[:50]!r}, encoding {kind[:50]!r}"
    return Leaf(key, "uint8", shape, kind)


def _other(node: Any, key: str) -> str:
    return f"features of class {str(node['pythonClassName']).rpartition('.')[2][:50]!r}"


def _shape(node: Any) -> tuple[int, ...] | None:
    """Return a shape; None where a length is not fixed."""
    sides = tuple(int(side) for side in (node.get("shape") or {}).get("dimensions") or ())
    if len(sides) > 8 or any(side > MAX_SIDE for side in sides):
        raise ValueError(f"shape {sides[:8]}")
    return sides if all(side > 0 for side in sides) else None

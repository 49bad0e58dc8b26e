"""Minari datasets of others into a store: spaces are parsed by hand, nothing is made or run; see `minari.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import read_regular
from training_ground.datasets.formats import _hdf5, _imported
from training_ground.datasets.formats._imported import Part, Source
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import ACTION, IS_LAST, PHASE, REWARD, TIMESTAMP, DatasetSchema, parse_json

DATA_FILE, METADATA_FILE, OWN_FILE = "main_data.hdf5", "metadata.json", "training_ground.json"
MAX_METADATA_BYTES = 16 << 20
_ID = re.compile(r"[-_\w]+(/[-_\w]+)*", re.ASCII)
_EPISODE = re.compile(r"episode_(0|[1-9]\d{0,8})", re.ASCII)
_RESULTS = ("rewards", "terminations", "truncations")

Layout = dict[str, tuple[str, tuple[int, ...], int]]
"""What an episode has: path → dtype, shape of a sample, rows more than steps."""


@dataclass
class _Scan:
    """What all episodes have in common, found without reading their values."""

    names: list[str]
    layout: Layout
    unread: set[str]
    differing: set[str]


def import_(path: Path, out: Path, progress: Callable[[int], None], rate: float | None = None) -> ImportReport:
    """Read a Minari dataset (hdf5) into a new store; see `datasets.importing.import_`.

    Raises:
        DatasetError: It is no such dataset, damaged or hostile, or its episodes have different observations or actions.
    """
    folder = _data_folder(path)
    where = str(folder / METADATA_FILE)
    metadata = parse_json(read_regular(folder / METADATA_FILE, MAX_METADATA_BYTES), where)
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise DatasetError(f"{where}: data_format = {metadata['data_format']!r}; only 'hdf5' is read")
    identifier = metadata.get("dataset_id")
    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        raise DatasetError(
            f"{where}: dataset_id = {identifier!r}; it must be names of letters, digits, - and _ with / between"
        )
    own = folder / OWN_FILE
    source = Source(
        "minari",
        str(metadata.get("minari_version", ""))[:100],
        path.resolve().name[:255],
        _hdf5.file_sha256(folder / DATA_FILE),
        metadata,
        _imported.parse_own(read_regular(own, MAX_METADATA_BYTES), str(own)) if own.exists() else None,
    )
    with _hdf5.open_hdf5(folder / DATA_FILE) as file:
        where = str(folder / DATA_FILE)
        scan = _scan(file, where)
        dropped = _check_spaces(metadata, scan.layout, str(folder / METADATA_FILE))
        parts, actions = _parts(source, scan.layout)
        hertz = rate or (source.own.control_rate if source.own else 1.0)
        text = source.own.instruction if source.own else str(metadata.get("description") or "")
        schema = _imported.make_schema(source, [p.channel for p in parts], hertz, text)
        episodes = (_episode(file, name, source, schema, parts, actions, where) for name in scan.names)
        total, frames = _imported.write_store(out, schema, episodes, progress)
    losses = _losses(source, scan, parts, actions, dropped, rate)
    return ImportReport("minari", out, total, frames, losses, (), source.sha256)


def _data_folder(path: Path) -> Path:
    for folder in (path / "data", path):
        if (folder / METADATA_FILE).is_file() and not folder.is_symlink():
            return folder
    raise DatasetError(f"{path}: is no Minari dataset: there is no data/{METADATA_FILE}")


def _scan(file: Any, where: str) -> _Scan:
    names = [name for name in _hdf5.names_in(file, where) if _EPISODE.fullmatch(name)]
    names.sort(key=lambda name: int(name.removeprefix("episode_")))
    if not names:
        raise DatasetError(f"{where}: has no episode")
    first: Layout = {}
    unread, differing = set[str](), set[str]()
    for name in names:
        group = _hdf5.member(file, name, where, "group")
        found, left = _layout(_hdf5.leaves(group, f"{where}/{name}"), f"{where}/{name}")
        unread |= left
        first = first or found
        for key in {*first, *found}:
            if first.get(key) == found.get(key):
                continue
            if not key.startswith("infos/"):
                here, before = found.get(key, "not there as numbers"), first.get(key, "not there as numbers")
                raise DatasetError(f"{where}/{name}/{key}: is {here}, in the episodes before {before}")
            differing.add(key)
            first.pop(key, None)
    return _Scan(names, first, unread, differing)


def _layout(leaves: dict[str, _hdf5.Leaf], where: str) -> tuple[Layout, set[str]]:
    """Return an episode's layout, and the paths of what is not read."""
    for name in _RESULTS:
        if name not in leaves or len(leaves[name].shape) != 1 or leaves[name].dtype in ("", "S"):
            raise DatasetError(f"{where}: has no one-dimensional '{name}'")
    steps = leaves["rewards"].shape[0]
    if steps < 1:
        raise DatasetError(f"{where}: has no step")
    found: Layout = {}
    unread = set()
    for key, leaf in leaves.items():
        top = key.partition("/")[0]
        extra = leaf.shape[0] - steps if leaf.shape else -1
        wanted = {"observations": (1,), "infos": (0, 1)}.get(top, (0,))
        if top not in ("observations", "actions", "infos", *_RESULTS) or (
            top == "infos" and (not leaf.dtype or extra not in wanted)
        ):
            unread.add(key)
        elif not leaf.dtype or (leaf.dtype == "S" and top != "infos"):
            unread.add(key)  # text and pictures of varying length; the spaces tell which
        elif extra not in wanted:
            raise DatasetError(f"{where}/{key}: has shape {leaf.shape} in an episode of {steps} steps")
        else:
            found[key] = (leaf.dtype, leaf.shape[1:], extra)
    return found, unread


def _check_spaces(metadata: dict[str, Any], layout: Layout, where: str) -> set[str]:
    """Compare the spaces with the arrays, and take out of the layout what is no array of numbers; return its paths."""
    dropped = set()
    for top, key in (("observations", "observation_space"), ("actions", "action_space")):
        if key not in metadata:
            continue  # older versions: the arrays speak for themselves, and the env_spec is never made
        if not isinstance(metadata[key], str):
            raise DatasetError(f"{where}: {key} must be a text with JSON, not {type(metadata[key]).__name__}")
        try:
            space = json.loads(metadata[key])
        except (ValueError, RecursionError) as problem:
            raise DatasetError(f"{where}: {key}: malformed JSON: {problem}") from problem
        for path, shape in _space_shapes(space, f"{where}: {key}", top).items():
            found = layout.get(path)
            picture = shape is not None and len(shape) == 3 and metadata.get("jpeg_encoding", True)
            if found is not None and found[1] == shape:
                continue
            if shape is not None and not picture:
                held = "is not there as numbers" if found is None else f"has samples of shape {found[1]}"
                raise DatasetError(f"{where}: {key} says that '{path}' has shape {shape}, but it {held}")
            layout.pop(path, None)
            dropped.add(path)
    return dropped


def _space_shapes(space: Any, where: str, path: str, depth: int = 0) -> dict[str, tuple[int, ...] | None]:
    """Return the shape of each part of a Gymnasium space that Minari wrote as JSON; None for text."""
    if depth > _hdf5.MAX_DEPTH or not isinstance(space, dict):
        raise DatasetError(f"{where}: '{path}' must be an object, nested at most {_hdf5.MAX_DEPTH} deep")
    kind, below = space.get("type"), space.get("subspaces")
    if kind in ("Dict", "Tuple"):
        if not isinstance(below, dict if kind == "Dict" else list):
            raise DatasetError(f"{where}: '{path}' is a {kind} without subspaces")
        items = below.items() if isinstance(below, dict) else ((f"_index_{i}", s) for i, s in enumerate(below))
        return {k: v for key, sub in items for k, v in _space_shapes(sub, where, f"{path}/{key}", depth + 1).items()}
    if kind == "Text":
        return {path: None}
    given = {"Box": space.get("shape"), "Discrete": [], "MultiBinary": space.get("n"), "MultiDiscrete": None}
    if kind not in given:
        raise DatasetError(f"{where}: '{path}' is a {kind!r}; allowed: Dict, Tuple, Text, {', '.join(given)}")
    shape = given[kind]
    if kind == "MultiDiscrete":
        shape = list(np.shape(space.get("nvec", [])))
    shape = [shape] if isinstance(shape, int) else shape
    if not isinstance(shape, list) or not all(isinstance(n, int) and 0 <= n <= 2**31 for n in shape):
        raise DatasetError(f"{where}: '{path}' has the shape {shape!r}, must be a list of whole numbers")
    return {path: tuple(shape)}


def _parts(source: Source, layout: Layout) -> tuple[list[Part], list[str]]:
    """Return the channels, and the paths of the arrays that make up an action."""
    taken = {TIMESTAMP, IS_LAST, PHASE, REWARD, ACTION}
    actions = [path for path in layout if path.partition("/")[0] == "actions"]
    if not actions:
        raise DatasetError(f"{source.name}: has no actions that are numbers")
    parts = []
    for path, (dtype, shape, extra) in layout.items():
        top, _, key = path.partition("/")
        if top not in ("observations", "infos") or dtype == "S" or (source.own and key == TIMESTAMP):
            continue
        name = f"observation.{key}" if top == "observations" else f"info.{key}"
        role = "observation" if top == "observations" else "state"
        name = _imported.channel_name(name if key else "observation", taken)
        channel = _imported.make_channel(source, key or "observations", name, dtype, shape, role)
        taken.add(channel.name)
        parts.append(Part(path, "every" if extra else "after", channel))
    dtype, shape, _ = layout[actions[0]]
    names: list[str] = []
    if len(actions) > 1:
        sizes = {path: int(np.prod(layout[path][1])) for path in actions}
        dtype, shape = np.result_type(*(layout[path][0] for path in actions)).name, (sum(sizes.values()),)
        names = [f"{path.partition('/')[2]}.{i}"[:256] for path, size in sizes.items() for i in range(size)]
    channel = _imported.make_channel(source, ACTION, ACTION, dtype, shape, "action", names)
    return [*parts, Part("actions", "before", channel)], actions


def _episode(
    file: Any, name: str, source: Source, schema: DatasetSchema, parts: list[Part], actions: list[str], where: str
) -> Episode:
    group = _hdf5.member(file, name, where, "group")
    where = f"{where}/{name}"
    rewards = _hdf5.read(group, "rewards", where)
    steps = len(rewards)
    terminated = bool(_hdf5.read(group, "terminations", where)[-1])
    columns = {}
    for part in parts[:-1]:
        columns[part.channel.name] = _imported.in_rows(_hdf5.read(group, part.path, where), part.rows)
    flat = [_hdf5.read(group, path, where) for path in actions]
    action = flat[0] if len(flat) == 1 else np.concatenate([a.reshape(steps, -1) for a in flat], axis=1)
    columns[ACTION] = _imported.in_rows(action, "before")
    columns[REWARD] = _imported.in_rows(rewards, "after")
    facts = _facts(group, int(name.removeprefix("episode_")), source, where)
    carried = str(_hdf5.attribute(group, "training_ground", where) or "") if source.own else ""
    given = {}
    if source.own:
        given = {
            "timestamps": _hdf5.read(group, f"infos/{TIMESTAMP}", where),
            "phases": _hdf5.read(group, f"infos/{PHASE}", where),
        }
    columns |= _imported.bookkeeping(steps, schema.control_rate, **given)
    metadata = _imported.make_metadata(source, schema, name, steps, terminated, facts, carried)
    return Episode(metadata, _imported.fitted(columns, schema.columns()))


def _facts(group: Any, number: int, source: Source, where: str) -> dict[str, Any]:
    seed = _hdf5.attribute(group, "seed", where)
    success = _hdf5.attribute(group, "success", where)
    seed = int(seed) if isinstance(seed, str) and seed.isdecimal() and len(seed) < 19 else seed
    name = str(source.metadata.get("algorithm_name") or _imported.UNKNOWN)[:1000]
    return {
        "seed": seed if isinstance(seed, int) and 0 <= seed <= 2**62 else number,
        "success": success if isinstance(success, bool) else None,
        "policy": {"name": name},
        "versions": {"minari": source.version},
    }


def _losses(
    source: Source, scan: _Scan, parts: list[Part], actions: list[str], dropped: set[str], rate: float | None
) -> tuple[str, ...]:
    said = []
    if source.own is None:
        said += [
            "units and frames: Minari has none, each channel says 'unknown'",
            "the robot: model and joint names are unknown, and no environment can replay the episodes",
            "an episode without a seed has its number for one; times of recording are 0",
        ]
        said += ["steps a second: Minari does not say, 1 is assumed; --rate sets it"] if rate is None else []
    if len(actions) > 1:
        said.append(f"actions of several parts are one vector: {', '.join(actions)}")
    unread = sorted(scan.unread | dropped)
    unread += [path for path, (dtype, _, _) in scan.layout.items() if dtype == "S" and not source.own]
    if unread:
        said.append(f"not read (text, JPEG pictures, unknown members): {', '.join(unread[:10])}")
    if scan.differing:
        said.append(f"not in every episode alike, left out: {', '.join(sorted(scan.differing)[:10])}")
    late = [part.path for part in parts if part.rows == "after"]
    if late:
        said.append(f"have no value at the reset, zeros stand there: {', '.join(late[:10])}")
    return tuple(said)

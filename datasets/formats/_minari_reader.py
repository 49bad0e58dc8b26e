"""Minari datasets of others into a store: spaces are parsed by hand, nothing is made or run; see `minari.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.configs.errors import DatasetError, short
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import read_regular
from training_ground.datasets.formats import _hdf5, _hdf5_own, _imported, _own
from training_ground.datasets.formats._common import shown
from training_ground.datasets.formats._imported import Part, Source
from training_ground.datasets.formats._minari_spaces import SpacePart, read_pictures, read_spaces
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import ACTION, IS_LAST, PHASE, REWARD, TIMESTAMP, Column, DatasetSchema, parse_json

DATA_FILE, METADATA_FILE, OWN_FILE = "main_data.hdf5", "metadata.json", "training_ground.json"
MAX_METADATA_BYTES = 32 << 20
_ID = re.compile(r"[-_\w]+(/[-_\w]+)*", re.ASCII)
_NO_NUMBERS = ("", "S", _hdf5.BYTES)
_RESULTS = ("rewards", "terminations", "truncations")

Layout = dict[str, tuple[str, tuple[int, ...], int]]
"""What an episode has: path → dtype (or `JPEG`), shape of a sample, rows more than steps."""
JPEG = "jpeg"


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
        raise DatasetError(f"{where}: data_format = {short(metadata['data_format'])}; only 'hdf5' is read")
    identifier = metadata.get("dataset_id")
    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        raise DatasetError(
            f"{where}: dataset_id = {short(identifier)}; it must be names of letters, digits, - and _ with / between"
        )
    own, digest = folder / OWN_FILE, _hdf5.file_sha256(folder / DATA_FILE)
    where = str(folder / DATA_FILE)
    if own.exists() or own.is_symlink():
        _own.refuse_rate(rate, str(own))
        exported = _own.read_schema(read_regular(own, MAX_METADATA_BYTES), str(own))
        with _hdf5.open_hdf5(folder / DATA_FILE) as file:
            found = _hdf5_own.episodes(
                file, _hdf5.numbered(file, "episode", where), exported, _own_reader(exported), np.ones(1), where
            )
            written = _imported.write_store(out, _own.without_further_loss(exported), found, progress)
        return ImportReport("minari", out, written.episodes, written.frames, _own.losses(exported), (), digest)
    version = str(metadata.get("minari_version", ""))[:100]
    source = Source("minari", version, path.resolve().name[:255], digest, metadata)
    with _hdf5.open_hdf5(folder / DATA_FILE) as file:
        spaces = read_spaces(metadata, str(folder / METADATA_FILE))
        packed = bool(metadata.get("jpeg_encoding", True))
        pictures = {k: s.shape for k, s in spaces.items() if packed and s.picture and s.shape is not None}
        scan = _scan(file, pictures, where)
        _check_spaces(spaces, scan.layout, where)
        parts, actions = _parts(source, scan.layout)
        text = str(metadata.get("description") or "")
        schema = _imported.make_schema(source, [p.channel for p in parts], rate or 1.0, text)
        episodes = (_episode(file, name, source, schema, parts, actions, pictures, where) for name in scan.names)
        written = _imported.write_store(out, schema, episodes, progress)
    losses = _losses(scan, parts, actions, rate)
    return ImportReport("minari", out, written.episodes, written.frames, losses, (), digest)


def _own_reader(exported: DatasetSchema) -> _hdf5_own.Read:
    seen = {channel.name for channel in shown(exported)}

    def read(group: Any, column: Column, where: str) -> Any:
        return _hdf5.read(group, f"{'observations' if column.name in seen else 'infos'}/{column.name}", where)

    return read


def _data_folder(path: Path) -> Path:
    for folder in (path / "data", path):
        if (folder / METADATA_FILE).is_file() and not folder.is_symlink():
            return folder
    raise DatasetError(f"{path}: is no Minari dataset: there is no data/{METADATA_FILE}")


def _scan(file: Any, pictures: dict[str, tuple[int, ...]], where: str) -> _Scan:
    names = _hdf5.numbered(file, "episode", where)
    first: Layout = {}
    seen = set[int]()
    unread, differing = set[str](), set[str]()
    for name in names:
        group = _hdf5.member(file, name, where, "group")
        found, left = _layout(_hdf5.leaves(group, f"{where}/{name}", seen), pictures, f"{where}/{name}")
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


def _layout(leaves: dict[str, _hdf5.Leaf], pictures: dict[str, tuple[int, ...]], where: str) -> tuple[Layout, set[str]]:
    """Return an episode's layout, and the paths of what is not read."""
    for name in _RESULTS:
        if name not in leaves or len(leaves[name].shape) != 1 or leaves[name].dtype in _NO_NUMBERS:
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
            top == "infos" and (leaf.dtype in ("", _hdf5.BYTES) or extra not in wanted)
        ):
            unread.add(key)
        elif key in pictures and top == "observations" and extra == 1 and leaf.dtype in ("uint8", _hdf5.BYTES):
            found[key] = (JPEG, pictures[key], extra)
        elif leaf.dtype in _NO_NUMBERS and not (leaf.dtype == "S" and top == "infos"):
            unread.add(key)
        elif extra not in wanted:
            raise DatasetError(f"{where}/{key}: has shape {leaf.shape} in an episode of {steps} steps")
        else:
            found[key] = (leaf.dtype, leaf.shape[1:], extra)
    return found, unread


def _check_spaces(spaces: dict[str, SpacePart], layout: Layout, where: str) -> None:
    """Refuse arrays that contradict the spaces; text is in the spaces and not in the layout.

    Raises:
        DatasetError: One has another shape, or is missing.
    """
    for path, part in spaces.items():
        found = layout.get(path)
        if part.shape is None or (found is not None and found[1] == part.shape):
            continue
        held = "is not there as numbers" if found is None else f"has samples of shape {found[1]}"
        raise DatasetError(f"{where}: its space says that '{path}' has shape {part.shape}, but it {held}")


def _parts(source: Source, layout: Layout) -> tuple[list[Part], list[str]]:
    """Return the channels, and the paths of the arrays that make up an action."""
    taken = {TIMESTAMP, IS_LAST, PHASE, REWARD, ACTION}
    actions = [path for path in layout if path.partition("/")[0] == "actions"]
    if not actions:
        raise DatasetError(f"{source.name}: has no actions that are numbers")
    parts = []
    for path, (dtype, shape, extra) in layout.items():
        top, _, key = path.partition("/")
        if top not in ("observations", "infos") or dtype == "S":
            continue
        name = f"observation.{key}" if top == "observations" else f"info.{key}"
        role = "observation" if top == "observations" else "state"
        role = "picture" if dtype == JPEG and shape[2:] == (3,) else role
        dtype = "uint8" if dtype == JPEG else dtype
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
    file: Any,
    name: str,
    source: Source,
    schema: DatasetSchema,
    parts: list[Part],
    actions: list[str],
    pictures: dict[str, tuple[int, ...]],
    where: str,
) -> Episode:
    group = _hdf5.member(file, name, where, "group")
    where = f"{where}/{name}"
    rewards = _hdf5.read(group, "rewards", where)
    steps = len(rewards)
    terminated = bool(_hdf5.read(group, "terminations", where)[-1])
    columns = {}
    for part in parts[:-1]:
        if part.path in pictures:
            values = read_pictures(group, part.path, pictures[part.path], where)
        else:
            values = _hdf5.read(group, part.path, where)
        columns[part.channel.name] = _imported.in_rows(values, part.rows)
    flat = [_hdf5.read(group, path, where) for path in actions]
    action = flat[0] if len(flat) == 1 else np.concatenate([a.reshape(steps, -1) for a in flat], axis=1)
    columns[ACTION] = _imported.in_rows(action, "before")
    columns[REWARD] = _imported.in_rows(rewards, "after")
    facts = _facts(group, int(name.removeprefix("episode_")), source, where)
    columns |= _imported.bookkeeping(steps, schema.control_rate)
    metadata = _imported.make_metadata(source, schema, name, steps, terminated, facts)
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


def _losses(scan: _Scan, parts: list[Part], actions: list[str], rate: float | None) -> tuple[str, ...]:
    said = [
        "units and frames: Minari has none, each channel says 'unknown'",
        "the robot: model and joint names are unknown, and no environment can replay the episodes",
        "an episode without a seed has its number for one; times of recording are 0",
        "truncations: an episode that neither terminated nor was truncated counts as truncated",
    ]
    said += ["steps a second: Minari does not say, 1 is assumed; --rate sets it"] if rate is None else []
    if len(actions) > 1:
        said.append(f"actions of several parts are one vector: {', '.join(actions)}")
    unread = sorted(scan.unread)
    unread += [path for path, (dtype, _, _) in scan.layout.items() if dtype == "S"]
    if unread:
        said.append(f"not read (text, unknown members): {', '.join(unread[:10])}")
    if scan.differing:
        said.append(f"not in every episode alike, left out: {', '.join(sorted(scan.differing)[:10])}")
    packed = [path for path, (dtype, _, _) in scan.layout.items() if dtype == JPEG]
    if packed:
        said.append(
            f"pictures were JPEG in the file, which loses detail; kept as they unpack: {', '.join(packed[:10])}"
        )
    late = [part.path for part in parts if part.rows == "after"]
    if late:
        said.append(f"have no value at the reset, zeros stand there: {', '.join(late[:10])}")
    return tuple(said)

"""robomimic's HDF5 files of others into a store; see `robomimic.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.formats import _hdf5, _hdf5_own, _imported, _own
from training_ground.datasets.formats._common import shown
from training_ground.datasets.formats._imported import Part, Source
from training_ground.datasets.importing import ImportReport
from training_ground.datasets.schema import ACTION, IS_LAST, PHASE, REWARD, TIMESTAMP, Column, DatasetSchema, parse_json

OWN = "training_ground"
"""Attribute and group with what robomimic has no place for."""
_KNOWN = ("actions", "rewards", "dones", "states")

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""What a demo has: path → dtype, shape of a sample."""


def import_(path: Path, out: Path, progress: Callable[[int], None], rate: float | None = None) -> ImportReport:
    """Read a robomimic file into a new store; see `datasets.importing.import_`.

    Args:
        path: The file, or a folder with `dataset.hdf5` in it.
        out, progress, rate: As there.

    Raises:
        DatasetError: It is no such file, damaged or hostile, or its demos have different observations or actions.
    """
    path = path / "dataset.hdf5" if path.is_dir() else path
    where = f"{path}: data"
    digest = _hdf5.file_sha256(path)
    with _hdf5.open_hdf5(path) as file:
        data = _hdf5.member(file, "data", str(path), "group")
        if data is None:
            raise DatasetError(f"{path}: has no group 'data'; it is no robomimic file")
        arguments = parse_json(str(_hdf5.attribute(data, "env_args", where) or "{}").encode(), f"{where}: env_args")
        own = _hdf5.attribute(data, OWN, where)
        if own is not None:
            _own.refuse_rate(rate, f"{where}: {OWN}")
            exported = _own.read_schema(str(own), f"{where}: {OWN}")
            scale = _action_scale(data, exported.columns()[ACTION].shape, where)
            found = _hdf5_own.episodes(
                data, _hdf5.numbered(data, "demo", where), exported, _own_reader(exported), scale, where
            )
            written = _imported.write_store(out, _own.without_further_loss(exported), found, progress)
            return ImportReport("robomimic", out, written.episodes, written.frames, _own.losses(exported), (), digest)
        version, name = str(arguments.get("env_version") or "")[:100], path.resolve().name[:255]
        source = Source("robomimic", version, name, digest, {"env_args": arguments})
        names, layout, unread = _scan(data, where)
        parts = _parts(source, layout)
        said = rate or _control_rate(arguments)
        schema = _imported.make_schema(source, [p.channel for p in parts], said or 1.0, "")
        episodes = (_episode(data, name, source, schema, parts, layout, where) for name in names)
        written = _imported.write_store(out, schema, episodes, progress)
    losses = _losses(layout, unread, said)
    return ImportReport("robomimic", out, written.episodes, written.frames, losses, (), digest)


def _own_reader(exported: DatasetSchema) -> _hdf5_own.Read:
    seen = {channel.name for channel in shown(exported)}

    def read(group: Any, column: Column, where: str) -> Any:
        if column.name not in seen:
            return _hdf5.read(group, f"{OWN}/{column.name}", where)
        now, then = (_hdf5.read(group, f"{top}/{column.name}", where) for top in ("obs", "next_obs"))
        if now.shape != then.shape or now.dtype != then.dtype or not now.ndim:
            raise DatasetError(f"{where}: is {now.shape} in obs, {then.shape} in next_obs")
        return np.concatenate([now, then[-1:]])

    return read


def _scan(data: Any, where: str) -> tuple[list[str], Layout, set[str]]:
    """Return the demos, what each has, and the paths of what is not read."""
    names = _hdf5.numbered(data, "demo", where)
    first: Layout = {}
    seen = set[int]()
    unread = set[str]()
    for name in names:
        group = _hdf5.member(data, name, where, "group")
        found = {}
        leaves = _hdf5.leaves(group, f"{where}/{name}", seen)
        if "actions" not in leaves or leaves["actions"].dtype in ("", "S", _hdf5.BYTES) or not leaves["actions"].shape:
            raise DatasetError(f"{where}/{name}: has no 'actions' that are numbers")
        steps = leaves["actions"].shape[0]
        if steps < 1:
            raise DatasetError(f"{where}/{name}: has no step")
        for key, leaf in leaves.items():
            top = key.partition("/")[0]
            if (top not in ("obs", "next_obs") and key not in _KNOWN) or leaf.dtype in ("", _hdf5.BYTES):
                unread.add(key)
            elif not leaf.shape or leaf.shape[0] != steps:
                raise DatasetError(f"{where}/{name}/{key}: has shape {leaf.shape} in a demo of {steps} steps")
            elif leaf.dtype == "S":
                unread.add(key)
            else:
                found[key] = (leaf.dtype, leaf.shape[1:])
        first = first or found
        if found != first:
            key = min(k for k in {*first, *found} if first.get(k) != found.get(k))
            here, before = found.get(key, "not there as numbers"), first.get(key, "not there as numbers")
            raise DatasetError(f"{where}/{name}/{key}: is {here}, in the demos before {before}")
    return names, first, unread


def _parts(source: Source, layout: Layout) -> list[Part]:
    taken = {TIMESTAMP, IS_LAST, PHASE, REWARD, ACTION}
    parts = []
    for path, (dtype, shape) in layout.items():
        top, _, key = path.partition("/")
        if top not in ("obs", "states"):
            continue
        name = _imported.channel_name(f"observation.{key}" if top == "obs" else path, taken)
        picture = top == "obs" and dtype == "uint8" and shape[2:] == (3,)
        role = "picture" if picture else "observation" if top == "obs" else "state"
        parts.append(Part(path, "before", _imported.make_channel(source, key or path, name, dtype, shape, role)))
        taken.add(name)
    dtype, shape = layout["actions"]
    return [*parts, Part("actions", "before", _imported.make_channel(source, ACTION, ACTION, dtype, shape, "action"))]


def _action_scale(data: Any, shape: tuple[int, ...], where: str) -> Any:
    with _hdf5.damage_named(f"{where}: attribute 'action_scale'"):
        identifier = data.attrs.get_id("action_scale") if "action_scale" in data.attrs else None
        if identifier is None or identifier.shape != (math.prod(shape),) or identifier.dtype != np.float64:
            raise DatasetError(f"{where}: attribute 'action_scale' must be {math.prod(shape)} float64 numbers")
        scale = np.asarray(data.attrs["action_scale"])
    if not np.isfinite(scale).all() or (scale < 1).any():
        raise DatasetError(f"{where}: attribute 'action_scale' must be numbers from 1 on")
    return scale


def _control_rate(arguments: dict[str, Any]) -> float | None:
    """Return the steps a second that robosuite's arguments name."""
    kwargs = arguments.get("env_kwargs")
    found = kwargs.get("control_freq") if isinstance(kwargs, dict) else None
    return float(found) if isinstance(found, (int, float)) and 0 < found <= 1e6 else None


def _episode(
    data: Any, name: str, source: Source, schema: DatasetSchema, parts: list[Part], layout: Layout, where: str
) -> Episode:
    group = _hdf5.member(data, name, where, "group")
    where = f"{where}/{name}"
    columns = {}
    for part in parts[:-1]:
        values = _hdf5.read(group, part.path, where)
        later = part.path.replace("obs", "next_obs", 1)
        last = (_hdf5.read(group, later, where) if later != part.path and later in layout else values)[-1]
        columns[part.channel.name] = _imported.in_rows(values, part.rows, last)
    actions = _hdf5.read(group, "actions", where)
    columns[ACTION] = _imported.in_rows(actions, "before")
    steps = len(actions)
    rewards = _hdf5.read(group, "rewards", where) if "rewards" in layout else np.zeros(steps)
    dones = _hdf5.read(group, "dones", where) if "dones" in layout else np.zeros(steps)
    columns[REWARD] = _imported.in_rows(rewards.reshape(steps, -1)[:, 0], "after")
    columns |= _imported.bookkeeping(steps, schema.control_rate)
    facts = {"seed": int(name.removeprefix("demo_"))}
    terminated = bool(dones.reshape(steps, -1)[-1].any())
    metadata = _imported.make_metadata(source, schema, name, steps, terminated, facts)
    return Episode(metadata, _imported.fitted(columns, schema.columns()))


def _losses(layout: Layout, unread: set[str], rate: float | None) -> tuple[str, ...]:
    said = [
        "units and frames: robomimic has none, each channel says 'unknown'",
        "the robot: model and joint names are unknown, and no environment can replay the episodes",
        "seeds: a demo has its number for one; times of recording are 0",
        "dones: a demo whose last one is 0 counts as truncated",
        "masks: the file's splits are not read",
    ]
    said += [] if rate else ["steps a second: the file does not say, 1 is assumed; --rate sets it"]
    missing = [k for k in layout if k.startswith("obs/") and f"next_{k}" not in layout]
    kept = [*missing, *(["states"] if "states" in layout else [])]
    if kept:
        said.append(f"the last row is the one before again, the file has none: {', '.join(kept[:10])}")
    said += [f"{name}: not in the file, zeros" for name in ("rewards", "dones") if name not in layout]
    if unread:
        said.append(f"not read: {', '.join(sorted(unread)[:10])}")
    return tuple(said)

"""Robots by name: the files of `assets/robots`, of installed plugins, or a path."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from training_ground.assets.cache import stamp
from training_ground.assets.compiler import compile_spec
from training_ground.assets.files import asset_files, find_asset, is_path
from training_ground.assets.locking import locked_spec
from training_ground.assets.model import CompiledModel
from training_ground.assets.spec import RobotSpec
from training_ground.configs.errors import AssetError
from training_ground.configs.loading import load_yaml, validate


def robot_files() -> dict[str, Path]:
    """Return every robot's specification file by name: ours, then those of plugins; errors as `asset_files`."""
    return asset_files("robot")


def robot_names() -> list[str]:
    """Return the names of all robots, sorted."""
    return sorted(robot_files())


def load_spec(name_or_path: str | Path) -> RobotSpec:
    """Read a robot's specification by name, or from a YAML file; relative paths in it are made absolute.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that is no specification.
    """
    path = find_asset("robot", name_or_path)
    try:
        return _read(path, *stamp(path))
    except OSError as problem:
        raise AssetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem


@lru_cache(maxsize=64)
def _read(path: Path, size: int, modified_ns: int) -> RobotSpec:
    """Read a specification; the file's size and time of change are in the key, so an edit is seen."""
    del size, modified_ns
    spec = validate(RobotSpec, load_yaml(path, AssetError), str(path), AssetError)
    if path.stem != spec.name:
        raise AssetError(f"{path}: name is '{spec.name}'; it must be the file's name, '{path.stem}'")
    attached = tuple(
        held.model_copy(update={"object": str((path.parent / held.object).resolve())}) if is_path(held.object) else held
        for held in spec.attached
    )
    spec = spec.model_copy(update={"attached": attached})
    if spec.source.path is None:
        return spec
    source = spec.source.model_copy(update={"path": str((path.parent / spec.source.path).resolve())})
    return spec.model_copy(update={"source": source})


def load_model(
    name_or_path: str | Path, *, visuals: bool = False, moving: Collection[str] | None = None
) -> CompiledModel:
    """Return a robot's compiled model, compiled now or read from the cache.

    Args:
        name_or_path: A robot's name, or the path of a specification.
        visuals: Kept for callers that will draw: the files are made in either case.
        moving: Joints that stay where the others are locked at the default pose; all of them where absent.

    Raises:
        AssetError: Unknown robot, or anything wrong with its specification, URDF or meshes; the message names the file.
    """
    del visuals
    spec = load_spec(name_or_path)
    try:
        model = compile_spec(spec)
        if moving is None or set(moving) >= set(model.joint_names):
            return model
        return compile_spec(locked_spec(spec, model, moving))
    except AssetError as problem:
        raise AssetError(f"robot {spec.name}: {problem}") from problem

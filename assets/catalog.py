"""Robots by name: the files of `assets/robots`, of installed plugins, or a path."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from training_ground.assets.cache import stamp
from training_ground.assets.compiler import compile_spec
from training_ground.assets.locking import locked_spec
from training_ground.assets.model import CompiledModel
from training_ground.assets.spec import RobotSpec
from training_ground.configs.errors import AssetError, unknown
from training_ground.configs.loading import load_yaml, validate

PLUGIN_GROUP = "training_ground.plugins"


def robot_files() -> dict[str, Path]:
    """Return every robot's specification file by name: ours, then those of plugins.

    A plugin is an entry point in the group `training_ground.plugins` that names a package; its folder `robots` is
    walked.

    Raises:
        AssetError: A plugin cannot be imported, or has a robot of a name that is taken.
    """
    folders = [("training-ground", Path(str(importlib.resources.files("training_ground.assets.robots"))))]
    for entry in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        try:
            folders.append((entry.name, Path(str(importlib.resources.files(entry.module))) / "robots"))
        except (ImportError, TypeError) as problem:
            raise AssetError(f"plugin '{entry.name}': cannot be imported: {problem}") from problem
    result: dict[str, Path] = {}
    for owner, folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if path.stem in result:
                raise AssetError(f"plugin '{owner}': the robot name '{path.stem}' is taken by {result[path.stem]}")
            result[path.stem] = path
    return result


def robot_names() -> list[str]:
    """Return the names of all robots, sorted."""
    return sorted(robot_files())


def load_spec(name_or_path: str | Path) -> RobotSpec:
    """Read a robot's specification by name, or from a YAML file; a relative `source.path` is made absolute.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that is no specification.
    """
    path = _find(name_or_path)
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
    if spec.source.path is None:
        return spec
    source = spec.source.model_copy(update={"path": str((path.parent / spec.source.path).resolve())})
    return spec.model_copy(update={"source": source})


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        return Path(name_or_path)
    ours = Path(str(importlib.resources.files("training_ground.assets.robots"))) / f"{text}.yaml"
    if text.isidentifier() and ours.is_file():
        return ours
    files = robot_files()
    if text not in files:
        raise AssetError(unknown("robot", text, files))
    return files[text]


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

"""Parts, cells and motions by name: files of `assets/parts`, `assets/cells` and `assets/motions`, those of installed
plugins, or a path."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from training_ground.assets.cache import stamp
from training_ground.assets.files import asset_files, find_asset
from training_ground.assets.keyframes import MotionSpec
from training_ground.assets.layout import CellSpec
from training_ground.assets.objects import ObjectSpec
from training_ground.configs.errors import AssetError
from training_ground.configs.loading import load_yaml, validate

Spec = TypeVar("Spec", ObjectSpec, CellSpec, MotionSpec)


def part_names() -> list[str]:
    """Return the names of all parts, sorted."""
    return sorted(asset_files("part"))


def cell_names() -> list[str]:
    """Return the names of all cells, sorted."""
    return sorted(asset_files("cell"))


def load_part(name_or_path: str | Path) -> ObjectSpec:
    """Read a part by name, or from a YAML file.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that describes no object.
    """
    return _load(find_asset("part", name_or_path), ObjectSpec)


def load_cell(name_or_path: str | Path) -> CellSpec:
    """Read a cell by name, or from a YAML file.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that is no cell.
    """
    return _load(find_asset("cell", name_or_path), CellSpec)


def motion_names() -> list[str]:
    """Return the names of all files of motions, sorted."""
    return sorted(asset_files("motion"))


def load_motions(name_or_path: str | Path) -> MotionSpec:
    """Read a robot's motions by the name of their file, or from a YAML file.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that holds no motions.
    """
    return _load(find_asset("motion", name_or_path), MotionSpec)


def _load(path: Path, model: type[Spec]) -> Spec:
    try:
        return _read(path, model, *stamp(path))
    except OSError as problem:
        raise AssetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem


@lru_cache(maxsize=256)
def _read(path: Path, model: type[Spec], size: int, modified_ns: int) -> Spec:
    """Read a file; its size and time of change are in the key, so an edit is seen."""
    del size, modified_ns
    spec = validate(model, load_yaml(path, AssetError), str(path), AssetError)
    if path.stem != spec.name:
        raise AssetError(f"{path}: name is '{spec.name}'; it must be the file's name, '{path.stem}'")
    return spec

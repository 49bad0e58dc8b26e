"""Parts by name: the objects of `assets/parts`, of installed plugins, or a path."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from training_ground.assets.cache import stamp
from training_ground.assets.files import asset_files, find_asset
from training_ground.assets.objects import ObjectSpec
from training_ground.configs.errors import AssetError
from training_ground.configs.loading import load_yaml, validate


def part_names() -> list[str]:
    """Return the names of all parts, sorted."""
    return sorted(asset_files("part"))


def load_part(name_or_path: str | Path) -> ObjectSpec:
    """Read a part by name, or from a YAML file.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that describes no object.
    """
    path = find_asset("part", name_or_path)
    try:
        return _read(path, *stamp(path))
    except OSError as problem:
        raise AssetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem


@lru_cache(maxsize=64)
def _read(path: Path, size: int, modified_ns: int) -> ObjectSpec:
    """Read a part; the file's size and time of change are in the key, so an edit is seen."""
    del size, modified_ns
    part = validate(ObjectSpec, load_yaml(path, AssetError), str(path), AssetError)
    if path.stem != part.name:
        raise AssetError(f"{path}: name is '{part.name}'; it must be the file's name, '{path.stem}'")
    return part

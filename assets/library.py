"""Parts and cells by name: the files of `assets/parts` and `assets/cells`, those of installed plugins, or a path."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from training_ground.assets.cache import stamp
from training_ground.assets.layout import CellSpec
from training_ground.assets.objects import ObjectSpec
from training_ground.configs.errors import AssetError, unknown
from training_ground.configs.loading import load_yaml, validate

PLUGIN_GROUP = "training_ground.plugins"

Spec = TypeVar("Spec", ObjectSpec, CellSpec)


def part_names() -> list[str]:
    """Return the names of all parts, sorted."""
    return sorted(_files("parts"))


def cell_names() -> list[str]:
    """Return the names of all cells, sorted."""
    return sorted(_files("cells"))


def load_part(name_or_path: str | Path) -> ObjectSpec:
    """Read a part by name, or from a YAML file.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that is no part.
    """
    return _load("parts", name_or_path, ObjectSpec)


def load_cell(name_or_path: str | Path) -> CellSpec:
    """Read a cell by name, or from a YAML file.

    Raises:
        AssetError: Unknown name (the nearest is offered), or a file that is no cell.
    """
    return _load("cells", name_or_path, CellSpec)


def _load(kind: str, name_or_path: str | Path, model: type[Spec]) -> Spec:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        path = Path(name_or_path)
    else:
        files = _files(kind)
        if text not in files:
            raise AssetError(unknown(kind.removesuffix("s"), text, files))
        path = files[text]
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


def _files(kind: str) -> dict[str, Path]:
    """Files by name: ours, then those in the folder `kind` of each plugin, which cannot replace one of ours."""
    folders = [("training-ground", Path(str(importlib.resources.files(f"training_ground.assets.{kind}"))))]
    for entry in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        try:
            folders.append((entry.name, Path(str(importlib.resources.files(entry.module))) / kind))
        except (ImportError, TypeError) as problem:
            raise AssetError(f"plugin '{entry.name}': cannot be imported: {problem}") from problem
    result: dict[str, Path] = {}
    for owner, folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if path.stem in result:
                raise AssetError(f"plugin '{owner}': the name '{path.stem}' is taken by {result[path.stem]}")
            result[path.stem] = path
    return result

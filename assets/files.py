"""Specifications by name: YAML files of ours, of installed plugins, or at a path."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from pathlib import Path

from training_ground.configs.errors import AssetError, unknown

PLUGIN_GROUP = "training_ground.plugins"


def asset_files(kind: str) -> dict[str, Path]:
    """Return every file of a kind by name: ours, then those of plugins.

    A plugin is an entry point in the group `training_ground.plugins` that names a package; its folder called as ours is
    walked.

    Args:
        kind: `robot`, `part`, `cell` or `motion`; the folder has the plural.

    Raises:
        AssetError: A plugin cannot be imported, or has a file of a name that is taken.
    """
    folders = [("training-ground", _our_folder(kind))]
    for entry in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        try:
            folders.append((entry.name, Path(str(importlib.resources.files(entry.module))) / f"{kind}s"))
        except (ImportError, TypeError) as problem:
            raise AssetError(f"plugin '{entry.name}': cannot be imported: {problem}") from problem
    result: dict[str, Path] = {}
    for owner, folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if path.stem in result:
                raise AssetError(f"plugin '{owner}': the {kind} name '{path.stem}' is taken by {result[path.stem]}")
            result[path.stem] = path
    return result


def find_asset(kind: str, name_or_path: str | Path) -> Path:
    """Return the file of a name, or the path that was given.

    Raises:
        AssetError: Unknown name; the nearest is offered.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or is_path(text):
        return Path(name_or_path)
    ours = _our_folder(kind) / f"{text}.yaml"
    if text.isidentifier() and ours.is_file():
        return ours
    files = asset_files(kind)
    if text not in files:
        raise AssetError(unknown(kind, text, files))
    return files[text]


def is_path(text: str) -> bool:
    """Return whether a text is a path and no name."""
    return text.endswith((".yaml", ".yml")) or "/" in text


def _our_folder(kind: str) -> Path:
    return Path(str(importlib.resources.files(f"training_ground.assets.{kind}s")))

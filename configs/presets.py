"""Presets: YAML files in `configs/<verb>/`, found by name or by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training_ground.configs.errors import ConfigError, unknown
from training_ground.configs.loading import load_yaml

ROOT = Path(__file__).resolve().parent


def preset_names(verb: str) -> list[str]:
    """Return the presets of a verb such as `train`."""
    return sorted(path.stem for path in (ROOT / verb).glob("*.yaml"))


def preset_path(verb: str, name_or_path: str | Path) -> Path:
    """Return the file of a preset.

    Raises:
        ConfigError: There is no preset of that name and no such file; the nearest name is offered.
    """
    text = str(name_or_path)
    if text in preset_names(verb):
        return ROOT / verb / f"{text}.yaml"
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or "/" in text:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; presets by name: {', '.join(preset_names(verb)) or 'none'}")
        return path
    raise ConfigError(unknown(f"{verb} preset", text, preset_names(verb)) + ", or the path of a YAML file")


def load_preset(verb: str, name_or_path: str | Path) -> tuple[str, dict[str, Any]]:
    """Return a preset's short name and what its YAML says.

    Raises:
        ConfigError: It does not exist or is no YAML mapping.
    """
    path = preset_path(verb, name_or_path)
    return path.stem, load_yaml(path)

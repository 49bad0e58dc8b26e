"""Presets: YAML files in `configs/<verb>/`, found by name or by path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from training_ground.configs.errors import ConfigError, unknown
from training_ground.configs.loading import apply_overrides, load_yaml

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


def for_robot(data: dict[str, Any], overrides: Sequence[str], where: str) -> dict[str, Any]:
    """Return a preset's content with what it says under `robots` for the robot that is asked for, without the rest.

    Args:
        data: What its YAML says.
        overrides: Dotted; one of them may name the robot.
        where: Named first in an error.

    Raises:
        ConfigError: `robots` is no mapping of robots to mappings.
    """
    data = dict(data)
    own = data.pop("robots", {})
    if not isinstance(own, dict) or not all(isinstance(changes, dict) for changes in own.values()):
        raise ConfigError(f"{where}: robots: must map the names of robots to what differs for them")
    env = apply_overrides(data, overrides).get("env")
    kwargs = env.get("kwargs") if isinstance(env, dict) else None
    robot = str(kwargs.get("robot", "")) if isinstance(kwargs, dict) else ""
    return _over(data, own.get(PurePath(robot).stem, {}))


def _over(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Lay nested mappings over others."""
    result = dict(data)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def load_preset(verb: str, name_or_path: str | Path) -> tuple[str, dict[str, Any]]:
    """Return a preset's short name and what its YAML says.

    Raises:
        ConfigError: It does not exist or is no YAML mapping.
    """
    path = preset_path(verb, name_or_path)
    return path.stem, load_yaml(path)

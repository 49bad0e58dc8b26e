"""What a search varies: settings by their dotted names, each with a range or with choices.

| written | means |
|---|---|
| `0.9..0.999` | a number between these |
| `log:1e-5..1e-3` | the same, drawn evenly over orders of magnitude |
| `int:2..10`, `int-log:16..256` | the same for whole numbers |
| `[64, 128, [256, 128]]` | one of these, any YAML |
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training_ground.configs.errors import ConfigError
from training_ground.configs.loading import apply_overrides

FORMS = "0.9..0.999, log:1e-5..1e-3, int:2..10, int-log:16..256 or [a, b, c]"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"(?:(log|int|int-log):)?\s*({NUMBER})\s*\.\.\s*({NUMBER})")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    whole: bool = False
    logarithmic: bool = False


@dataclass(frozen=True)
class Choices:
    """Some values, as JSON texts: what is chosen is then plain data in every file."""

    texts: tuple[str, ...]


Space = Mapping[str, Range | Choices]


def parse_space(given: Mapping[str, Any], where: str) -> dict[str, Range | Choices]:
    """Return a search space from what a YAML file or the command line says.

    Raises:
        ConfigError: It is empty, or a range or list of choices is not written as above.
    """
    if not given:
        raise ConfigError(f"{where}: nothing to search; give a setting and its range, such as ppo.gamma: 0.9..0.999")
    return {str(key): _parse(str(key), value, where) for key, value in given.items()}


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Return what options such as `ppo.learning_rate=log:1e-5..1e-3` say, to be read by `parse_space`.

    Raises:
        ConfigError: One has no `=`, or its value is malformed YAML.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not all(key.split(".")):
            raise ConfigError(f"--search '{text}': write it as dotted.key=range, the range as {FORMS}")
        found[key] = apply_overrides({}, [f"value={value}"])["value"]
    return found


def _parse(key: str, value: Any, where: str) -> Range | Choices:
    if isinstance(value, list):
        if len(value) < 2:
            raise ConfigError(f"{where}: {key} = {value}: give at least two choices")
        return Choices(tuple(json.dumps(choice) for choice in value))
    match = RANGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f"{where}: {key} = {value!r}: write a range or choices as {FORMS}")
    kind, low, high = match[1] or "", float(match[2]), float(match[3])
    if not low < high:
        raise ConfigError(f"{where}: {key} = {value}: {low:g} must be less than {high:g}")
    if "log" in kind and low <= 0:
        raise ConfigError(f"{where}: {key} = {value}: a logarithmic range must begin above 0")
    if "int" in kind and not (low.is_integer() and high.is_integer()):
        raise ConfigError(f"{where}: {key} = {value}: whole numbers are needed")
    return Range(low, high, "int" in kind, "log" in kind)


def suggest(space: Space, trial: Any) -> dict[str, Any]:
    """Return a value for each setting, drawn by an Optuna trial."""
    drawn: dict[str, Any] = {}
    for key, part in space.items():
        if isinstance(part, Choices):
            drawn[key] = json.loads(trial.suggest_categorical(key, list(part.texts)))
        elif part.whole:
            drawn[key] = trial.suggest_int(key, int(part.low), int(part.high), log=part.logarithmic)
        else:
            drawn[key] = trial.suggest_float(key, part.low, part.high, log=part.logarithmic)
    return drawn


def corners(space: Space) -> list[dict[str, Any]]:
    """Return points that together touch both ends of each range and each choice, to be checked before a search."""
    values = {
        key: [json.loads(text) for text in part.texts]
        if isinstance(part, Choices)
        else [int(end) if part.whole else end for end in (part.low, part.high)]
        for key, part in space.items()
    }
    first = {key: options[0] for key, options in values.items()}
    return [first, *({**first, key: option} for key, options in values.items() for option in options[1:])]


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """Return values as dotted overrides."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]

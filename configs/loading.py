"""Read YAML into typed models: no code, no duplicate keys, unknown keys refused with the nearest name."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from training_ground.configs.errors import ConfigError, short, unknown

Model = TypeVar("Model", bound=pydantic.BaseModel)

MAX_BYTES = 4_000_000
MAX_PROBLEM = 600
"""Letters that an error says of one key."""


class StrictModel(pydantic.BaseModel):
    """A pydantic model that refuses unknown keys and non-finite numbers, and never changes once read."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses a key given twice, which YAML would let the second one win."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys: set[Hashable] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable) and key in keys:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", key_node.start_mark)
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_yaml(path: Path, error: type[Exception] = ConfigError) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file.
        error: The exception type of the calling layer.

    Raises:
        error: The file is missing, too large, no YAML, or its top level is no mapping; the message says where.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise error(f"{path}: larger than {MAX_BYTES} bytes; a specification is a small file")
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 text") from problem
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise error(f"{path}{where}: malformed YAML: {getattr(problem, 'problem', None) or problem}") from problem
    if not isinstance(data, dict):
        raise error(f"{path}: the top level must be a mapping of keys, not {type(data).__name__}")
    return data


def _allowed_keys(model: type[pydantic.BaseModel], location: Sequence[int | str]) -> list[str]:
    """Keys that `model` allows at the parent of `location`, following nested models where it can."""
    current: Any = model
    for part in location[:-1]:
        field = getattr(current, "model_fields", {}).get(part) if isinstance(part, str) else None
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, pydantic.BaseModel)]
        if nested:
            current = nested[0]
    return list(getattr(current, "model_fields", {}))


def validate(model: type[Model], data: dict[str, Any], where: str, error: type[Exception] = ConfigError) -> Model:
    """Turn plain data into `model`.

    Args:
        model: The typed schema.
        data: What the YAML said.
        where: Named first in an error, such as the file's path.
        error: The exception type of the calling layer.

    Raises:
        error: The first three problems, each with its dotted key, the value and what is allowed.
    """
    try:
        return model.model_validate(data)
    except UnicodeError as problem:  # half of a surrogate pair, which JSON can spell
        raise error(f"{where}: holds a text that is no text: {problem}") from problem
    except pydantic.ValidationError as problem:
        lines = []
        for item in problem.errors()[:3]:
            key = ".".join(str(part)[:100] for part in item["loc"])
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                lines.append(unknown("key", key, _allowed_keys(model, item["loc"])))
            elif item["type"] == "missing":
                lines.append(f"the key '{key}' is missing")
            else:  # a check of several keys together names them itself
                lines.append(f"{key} = {short(item['input'])}: {message}" if key else message)
        cut = [line if len(line) <= MAX_PROBLEM else f"{line[:MAX_PROBLEM]}…" for line in lines]
        raise error(f"{where}: {'; '.join(cut)}") from problem


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `data` with dotted overrides such as `ppo.learning_rate=1e-4` applied.

    The value is read as YAML (`true`, `[1, 2]`, `0.5`, `g1`), or from the YAML file that stands behind an `@`. Whether
    the key exists is for the schema to say.

    Raises:
        ConfigError: An override has no `=`, an empty key, steps into a value that is no mapping, or names a file that
            cannot be read.
    """
    result = _copy(data)
    for override in overrides:
        key, separator, text = override.lstrip("-").partition("=")
        parts = key.split(".")
        if not separator or not all(parts):
            raise ConfigError(f"override '{override}': write it as dotted.key=value")
        try:
            file = Path(text[1:]) if text.startswith("@") else None
            value = load_yaml(file) if file else yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
        except yaml.YAMLError as problem:
            raise ConfigError(f"override '{override}': the value is malformed YAML") from problem
        if isinstance(value, str):
            value = _number(value)
        target = result
        for part in parts[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise ConfigError(f"override '{override}': '{part}' holds a value, not a mapping")
        target[parts[-1]] = value
    return result


def _number(text: str) -> str | float:
    """YAML 1.1 reads `1e-4` as text; people mean the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _copy(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    return list(data) if isinstance(data, list) else data

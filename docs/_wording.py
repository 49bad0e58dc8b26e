"""How the page of results says things: shares, intervals, conditions, tables that more than one section has."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from typing import Any

import _evaluations as files
import _generate
from _evaluations import Estimate, Result

from training_ground.assets.catalog import load_spec, robot_names
from training_ground.configs.errors import TrainingGroundError
from training_ground.envs.options import EnvOptions
from training_ground.envs.pushes import DIRECTIONS
from training_ground.envs.registration import task

SPACE = "\u00a0"
"""Does not break a line."""


def robot(name: str) -> str:
    """Its title, for a robot of the catalogue."""
    return load_spec(name).title if name in robot_names() else name


def task_name(env_id: str) -> str:
    """`TrainingGround/Stand-v0` is Stand."""
    return env_id.rpartition("/")[2].split("-v")[0]


def anchor(title: str) -> str:
    """What a link to a heading says, on the site and where the Markdown is read."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def rate(results: Sequence[Result]) -> str:
    """Successes of episodes, the share and its interval."""
    k, n, low, high = files.success(results)
    return f"{k} of {n}: {percent(k / n)} ({percent(low)} to {percent(high)})" if n else "no episode"


def origin(made: dict[str, Any]) -> str:
    """With which policy a training began, and how many samples that had seen; empty where it began from scratch."""
    before = made.get("began_from")
    if before is None:
        return ""
    count = "an unknown number" if before["steps"] is None else f"{before['steps'] / 1e6:.1f} million"
    return f", after {count} of `{before['name']}`"


def percent(share: float) -> str:
    """A share in %, with one digit where there is one."""
    text = f"{100 * share:.1f}"
    return f"{text.removesuffix('.0')}{SPACE}%"


def option(value: Any) -> str:
    """An option's value as people read it; a range of one number is that number."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value):
        return f"{value[0]:g}" if value[0] == value[1] else f"{value[0]:g} to {value[1]:g}"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else f"`{json.dumps(value)}`"


def minutes(made: dict[str, Any]) -> str:
    """Time of a training."""
    return "unknown" if made["seconds"] is None else f"{made['seconds'] / 60:.0f} min"


def estimate(found: Estimate | None, factor: float) -> str:
    """A mean and its interval in a unit of `factor`."""
    if found is None:
        return "–"
    mean, low, high = (f"{factor * value + 0.0:.3g}" for value in found)
    return f"{mean} ({low} to {high})".replace("-", "−")


def share(withstood: int, decided: int) -> str:
    """A share and what it is a share of."""
    return f"{100 * withstood / decided:.0f}{SPACE}% of {decided}" if decided else "–"


def directions(columns: Sequence[tuple[str, list[tuple[int, int]]]]) -> str:
    """A row a direction, a column for each set of pushes as `files.pushes` gives them."""
    rows = []
    for index, name in enumerate(DIRECTIONS):
        rows.append((name.replace("_", " "), *(share(*found[index]) for _, found in columns)))
    total = [tuple(map(sum, zip(*found, strict=True))) for _, found in columns]
    rows.append(("**all**", *(f"**{share(*pair)}**" for pair in total)))
    text = "The direction is the one in which the push sends the robot, as the robot sees it."
    return _generate.table(("sent to its", *(label for label, _ in columns)), rows) + "\n" + text


def conditions(result: Result, without: str | None = None) -> str:
    """The task's own options, and those of the environment that are not at their default."""
    options = result.options
    try:
        own: Any = task(result.data["env_id"]).config_type
    except TrainingGroundError:
        own = EnvOptions
    usual = EnvOptions().model_dump(mode="json")
    rows = []
    for key, value in options.items():
        if key in ("robot", "stance", "visuals") or key == without:
            continue
        kind = own if key in own.model_fields else EnvOptions
        if (kind is own or value != usual.get(key)) and value is not None:
            rows.append((f"`{key}`", option(value), _generate.field_text(kind, key)))
    seeds = [record["seed"] for record in result.episodes]
    rows.append(("evaluation seeds", f"{min(seeds)} to {max(seeds)}" if seeds else "none", "never used in training"))
    return _generate.table(("condition", "value", ""), rows).rstrip()


def purpose(result: Result) -> str:
    """What counts as a success, from the task's own documentation."""
    try:
        text = inspect.getdoc(task(result.data["env_id"])) or ""
    except TrainingGroundError:
        return "A task from outside the training ground."
    found = re.search(r"^\*\*Success\*\*.*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(found[0].split()) if found else text.partition("\n")[0]


def value_text(value: Any) -> str:
    """A value of a swept option."""
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)

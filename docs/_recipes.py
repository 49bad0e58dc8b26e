"""The commands that make a result again: training, as a preset and what differs from it, and evaluation."""

from __future__ import annotations

import json
import shlex
from typing import Any

from _evaluations import UNIMPORTANT, Curve, Result

from training_ground.agents.policy import shipped_name
from training_ground.agents.seeds import EVALUATION_SEEDS
from training_ground.agents.training import resolve
from training_ground.configs.presets import load_preset, preset_names


def preset_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the preset from which a resolved configuration differs least, and what differs, by dotted key."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    mine = flat({k: v for k, v in config.items() if k not in UNIMPORTANT})
    for name in preset_names("train"):
        robot = config["env"].get("kwargs", {}).get("robot")
        own = [f"env.kwargs.robot={robot}"] if robot else []
        preset = resolve(load_preset("train", name)[1], name, own).model_dump(mode="json")
        if preset["env"]["id"] != config["env"]["id"]:
            continue
        theirs = flat({k: v for k, v in preset.items() if k not in UNIMPORTANT})
        other = {key: value for key, value in mine.items() if theirs.get(key) != value}
        found.append((len(other) + len(theirs.keys() - mine.keys()), name, other))
    return min(found)[1:] if found else None


def flat(data: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found |= flat(value, f"{above}{key}.")
        else:
            found[above + key] = value
    return found


def training_command(result: Result) -> str | None:
    """Return the `tg train` line; None for a policy that was not learned, or from no preset."""
    preset = None if result.training is None else preset_of(result.training["config"])
    if preset is None:
        return None
    name, other = preset
    robot = other.pop("env.kwargs.robot", None)
    seed = result.seed if result.seed is not None else 0
    words = ["tg", "train", name, "--robot", robot or result.robot, f"--seed={seed}", "--name", run_name(result)]
    return _lines([*words, *(f"--{key}={_value(value)}" for key, value in sorted(other.items()))])


def run_name(result: Result) -> str:
    """Return the name of the run in the commands."""
    return f"{shipped_name(result.data['env_id'], result.robot)}_seed_{result.seed}"


def policy_word(result: Result) -> str:
    """Return how `tg eval` is told the policy."""
    if result.shipped or result.training is None:
        return result.data["policy"]
    return f"runs/{run_name(result)}"


def evaluation_command(result: Result, curve: Curve | None = None) -> str:
    """Return the `tg eval` line that measures a policy again; for a curve, at all its values."""
    words = ["tg", "eval", "--policy", policy_word(result)]
    own: dict[str, Any] = {}
    if result.training is None:
        words += ["--task", result.data["env_id"].rpartition("/")[2].split("-v")[0], "--robot", result.robot]
        own["robot"] = result.robot
    else:
        config = result.training["config"]
        own = {**config["env"].get("kwargs", {}), **config.get("eval", {}).get("kwargs", {})}
    swept = None if curve is None else curve.option
    for key, value in flat(result.data["kwargs"]).items():
        if key != swept and flat(own).get(key) != value:
            words += ["--set", f"{key}={_value(value)}"]
    if curve is not None:
        words += ["--sweep", f"{curve.option}={','.join(_value(value) for value in curve.values)}"]
    words += ["--episodes", str(result.data["summary"]["requested"])]
    first = min((record["seed"] for record in result.episodes), default=EVALUATION_SEEDS.start)
    if first != EVALUATION_SEEDS.start:
        words += ["--seed", str(first)]
    if result.path.startswith("docs/"):
        words += ["--out", result.path]
    return _lines(words)


def _lines(words: list[str], most: int = 96) -> str:
    """Join the words of a command, quoted for a shell, in lines that are not too long for a page."""
    chunks: list[str] = []
    for word in map(shlex.quote, words):
        if chunks and not word.lstrip("'").startswith("-"):
            chunks[-1] += f" {word}"
        else:
            chunks.append(word)
    lines = chunks[:1]
    for chunk in chunks[1:]:
        if len(lines[-1]) + len(chunk) < most:
            lines[-1] += f" {chunk}"
        else:
            lines.append(f"    {chunk}")
    return " \\\n".join(lines)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

"""The page of results: it is what the files give, shows every training seed, and names commands that exist."""

from __future__ import annotations

import copy
import importlib
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training_ground.agents.training import resolve
from training_ground.cli.main import tg
from training_ground.configs.errors import AgentError
from training_ground.configs.presets import load_preset

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
page: Any = importlib.import_module("_results")
recipes: Any = importlib.import_module("_recipes")
evaluations: Any = importlib.import_module("_evaluations")

OPTIONS = {
    "robot": "g1",
    "stance": "free",
    "forward_speed": [-0.3, 0.8],
    "push_speed": [0.4, 0.4],
    "episode_length_s": 9.0,
}


def test_the_page_is_what_the_files_give():
    built = page.build()
    pictures = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs/images/results").glob("*.svg")}
    assert pictures == built.keys() - {"results.md"}, "run `make results`"
    for name, text in built.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"docs/{name}: run `make results`"


def evaluation(seed: int, successes: int, *, policy: str | None = None, **options: Any) -> dict[str, Any]:
    """An output of `tg eval --out`: ten episodes, of which the last ones fall after a push to the left."""
    config = resolve(load_preset("train", "walk")[1], "walk", [f"seed={seed}", "ppo.epochs=7"]).model_dump(mode="json")
    metrics = {"slip": 0.1 * (seed + 1), "steps_left": 12.0, "steps_right": 8.0, "reward/slip": 1.0}
    metrics |= {"push_forward": 0.0, "push_left": 0.4, "withstood_front": 1.0, "withstood_left": 2.0}
    metrics |= {f"withstood_{name}": 0.0 for name in ("front_left", "back_left", "back", "back_right", "right")}
    metrics["withstood_front_right"] = 0.0
    return {
        "policy": "walk_g1",
        "policy_hash": policy or f"{seed:064d}",
        "env_id": "TrainingGround/Walk-v0",
        "kwargs": {**config["env"]["kwargs"], **config["eval"]["kwargs"], **options},
        "environment": {"robot": "g1", "options": {**copy.deepcopy(OPTIONS), **options}},
        "training": {
            "steps": 4_000_000,
            "seconds": 3600.0,
            "seed": seed,
            "commit": "0123456789abcdef",
            "config": config,
            "machine": {"processor": "Abacus", "cores": 3},
        },
        "summary": {"requested": 10},
        "episodes": [
            {"seed": 1_000_000 + i, "success": i < successes, "failure": None if i < successes else "fall"}
            | {"metrics": metrics}
            for i in range(10)
        ],
    }


@pytest.fixture
def root(tmp_path: Path) -> Callable[..., Path]:
    def write(**files: Any) -> Path:
        (tmp_path / "docs" / "results").mkdir(parents=True)
        for name, data in files.items():
            (tmp_path / "docs" / "results" / f"{name}.json").write_text(json.dumps(data))
        return tmp_path

    return write


def test_every_training_seed_is_shown_and_pooled(root: Callable[..., Path]):
    text = page.build(root(b=evaluation(1, 9), a=evaluation(0, 10), c=evaluation(2, 5)))["results.md"].replace(
        "\u00a0", " "
    )
    assert "[Walk, Unitree G1: preset `walk`](#walk-unitree-g1-preset-walk) | 3 | 24 of 30: 80 %" in text
    rows = [line for line in text.splitlines() if "Abacus, 3 cores" in line]
    assert [row.split(" | ")[0] for row in rows] == ["| 0", "| 1", "| 2"] and "9 of 10: 90 %" in rows[1]
    assert "| **all together** |  |  |  |  | **24 of 30: 80 % (62.7 % to 90.5 %)** | 6 |" in text
    assert "| slip | m/s | 0.1 (0.1 to 0.1) | 0.2 (0.2 to 0.2) | 0.3 (0.3 to 0.3) | 0.2 (" in text
    assert "| asymmetry of steps | % | 40 (40 to 40) |" in text and "reward/slip" not in text
    assert "| left | 91 % of 66 |" in text and "| back | – |" in text, "6 of the pushes to the left felled it"
    assert "| `forward_speed` | -0.3 to 0.8 |" in text and "| `push_speed` | 0.4 |" in text
    assert "`episode_length_s` | 9" in text and "`stance`" not in text
    assert "tg train walk --robot g1 --seed=2 --name walk_g1_seed_2 --ppo.epochs=7\n" in text
    assert "tg eval --policy runs/walk_g1_seed_2 --episodes 10 --out docs/results/c.json\n" in text


def test_other_conditions_stand_apart_and_a_policy_is_not_told_twice(root: Callable[..., Path]):
    harder = evaluation(0, 3, push_speed=[0.9, 0.9])
    folder = root(a=evaluation(0, 10), b=harder)
    text = page.build(folder)["results.md"]
    assert "## Walk, Unitree G1: preset `walk`, `push_speed` 0.4\n" in text
    assert "## Walk, Unitree G1: preset `walk`, `push_speed` 0.9\n" in text
    assert "--set 'push_speed=[0.9,0.9]'" in text
    (folder / "docs" / "results" / "c.json").write_text(json.dumps(harder))
    with pytest.raises(AgentError, match=r"b\.json and docs/results/c\.json hold the same policy"):
        page.build(folder)
    (folder / "docs" / "results" / "c.json").write_text("{}")
    with pytest.raises(AgentError, match=r"c\.json: no output of `tg eval --out`: policy, env_id"):
        page.build(folder)


def test_curves_of_two_seeds_share_a_picture(root: Callable[..., Path]):
    speeds = [0.3, 1.0]

    def curve(seed: int) -> dict[str, Any]:
        parts = [evaluation(seed, 10 - round(5 * v) - seed, push_speed=[v, v]) for v in speeds]
        return {"option": "push_speed", "values": speeds, "evaluations": parts}

    built = page.build(root(a=curve(0), b=curve(1)))
    text = built["results.md"].replace("\u00a0", " ")
    (name,) = built.keys() - {"results.md"}
    assert f"![Success over push_speed]({name})" in text
    assert "| 1 | 5 of 10: 50 % (23.7 % to 76.3 %) | 4 of 10: 40 %" in text and "9 of 20: 45 %" in text
    drawing = ET.fromstring(built[name])
    lines = list(drawing.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 2 and len(list(drawing.iter("{http://www.w3.org/2000/svg}circle"))) == 4
    assert "--sweep push_speed=0.3,1.0 --episodes 10" in text


def test_the_commands_exist():
    """Every option that a recipe writes is one of the verb's own."""
    result = evaluations.Result("docs/results/a.json", evaluation(0, 1), evaluation(0, 1)["training"], False)
    for line in (recipes.training_command(result), recipes.evaluation_command(result)):
        words = line.replace("\\\n", " ").split()
        command: Any = tg.get_command(None, words[1])  # pyright: ignore[reportArgumentType]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--") and "=" not in word} <= known
    preset = resolve(load_preset("train", "stand")[1], "stand").model_dump(mode="json")
    assert recipes.preset_of(preset) == ("stand", {})

"""The same run with several seeds: all of them are reported, and what is unfinished goes on."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from training_ground.agents import repeats, training
from training_ground.agents.statistics import interquartile_mean, two_level_interval, wilson_interval
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")

PRESET: dict[str, Any] = {
    "env": {"id": "fake_tasks:Fake/Point-v0", "kwargs": {"robot": "point"}},
    "ppo": {"rollout_steps": 32, "minibatches": 2, "epochs": 1},
    "network": {"hidden": [8]},
    "eval": {"episodes": 3},
    "total_steps": 64,
    "workers": 1,
    "envs_per_worker": 2,
}


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    fake_agents.install(monkeypatch)
    path = tmp_path / "point.yaml"
    path.write_text(yaml.safe_dump(PRESET))
    return path


def test_seeds_are_read() -> None:
    assert repeats.parse_seeds("3") == [0, 1, 2]
    assert repeats.parse_seeds("7, 3") == [7, 3]
    for text, message in (("0,x", "0,1,2"), ("4,4", "stands twice"), ("0", "allowed: 1 to"), ("-1,2", "0,1,2")):
        with pytest.raises(AgentError, match=message):
            repeats.parse_seeds(text)


def test_the_interval_is_as_wide_as_the_seeds_differ() -> None:
    generator = np.random.default_rng(0)
    alike = [generator.normal(10, 1, 50).tolist() for _ in range(5)]
    apart = [[value + 10 * k for value in group] for k, group in enumerate(alike)]
    for groups, widest, least in ((alike, 1.0, 0.1), (apart, 60.0, 15.0)):
        low, high = two_level_interval(groups, interquartile_mean)
        assert least < high - low < widest
        assert low < interquartile_mean([x for group in groups for x in group]) < high
    assert two_level_interval(apart, interquartile_mean) == two_level_interval(apart, interquartile_mean)
    assert all(math.isnan(x) for x in two_level_interval([[]], interquartile_mean))


def test_every_seed_is_trained_and_reported(preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("stable_baselines3")
    root = tmp_path / "runs"
    assert main(["train", str(preset), "--seeds", "4,2", "--runs", str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["group"] == "point_point_001" and [run["seed"] for run in told["runs"]] == [2, 4]
    summaries = [run["evaluation"] for run in told["runs"]]
    pooled = told["pooled"]
    assert pooled["successes"] == sum(s["successes"] for s in summaries) and pooled["episodes"] == 6
    assert pooled["wilson_95"] == list(wilson_interval(pooled["successes"], 6))
    low, high = pooled["return_bootstrap_95"]
    assert low <= pooled["return_interquartile_mean"] <= high
    seeds = [yaml.safe_load((root / f"point_point_001_seed{s}" / "config.yaml").read_text())["seed"] for s in (2, 4)]
    assert seeds == [2, 4]

    # What is finished is left alone; the other goes on, and the report is the same.
    shutil.rmtree(root / "point_point_001_seed4" / "bundle")
    before = (root / "point_point_001_seed2" / "bundle" / "manifest.json").stat().st_mtime_ns
    assert main(["train", "--resume", str(root / "point_point_001"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["pooled"] == pooled
    assert (root / "point_point_001_seed2" / "bundle" / "manifest.json").stat().st_mtime_ns == before

    assert main(["train", str(preset), "--seeds", "2", "--name", "point_point_001", "--runs", str(root)]) == 2
    assert "continue them with --resume" in capsys.readouterr().err
    assert main(["train", "--resume", "point_point_001", "--runs", str(root)]) == 0
    assert "all 2 of 2 seeds: success" in capsys.readouterr().out


def test_a_seed_that_fails_is_reported_and_keeps_none_back(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def resume(folder: Path, *_: Any, **__: Any) -> None:
        tried.append(folder.name)
        if folder.name.endswith("seed1"):
            raise AgentError("weights have diverged")

    def finished(folder: Path, config: Any) -> Any:
        summary = {"successes": 2, "episodes": 3, "wilson_95": [0.2, 0.9], "return_mean": 5.0}
        done = folder.name in tried and not folder.name.endswith("seed1")
        return repeats.SeedRun(config.seed, folder, 64, 1.0, summary, [4.0, 5.0, 6.0]) if done else None

    monkeypatch.setattr(training, "resume", resume)
    monkeypatch.setattr(repeats, "finished", finished)
    assert main(["train", str(preset), "--seeds", "3", "--name", "x", "--runs", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert tried == ["x_seed0", "x_seed1", "x_seed2"]
    assert [run["error"] for run in told["runs"]] == [None, "weights have diverged", None]
    assert (told["pooled"]["seeds"], told["pooled"]["evaluated"], told["pooled"]["episodes"]) == (3, 2, 6)

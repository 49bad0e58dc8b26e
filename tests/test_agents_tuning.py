"""A search for settings: what is searched, what is tried, and how it goes on; training itself is played here."""

from __future__ import annotations

import builtins
import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from training_ground.agents import repeats, search_space, training, tuning
from training_ground.agents.seeds import VALIDATION_SEEDS
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError, ConfigError

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")

PRESET: dict[str, Any] = {
    "env": {"id": "fake_tasks:Fake/Point-v0", "kwargs": {"robot": "point"}},
    "ppo": {"rollout_steps": 32, "minibatches": 2, "epochs": 1},
    "network": {"hidden": [8]},
    "total_steps": 5000,
    "workers": 1,
    "envs_per_worker": 2,
}
SPACE = {"ppo.learning_rate": "log:1e-5..1e-1", "ppo.epochs": "int:1..10", "network.hidden": [[8], [16, 16]]}


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    fake_agents.install(monkeypatch)
    path = tmp_path / "point.yaml"
    path.write_text(yaml.safe_dump(PRESET))
    return path


class Played:
    """Stands in for training: a run's return grows to a height that its settings decide, best at a rate of 1e-3.

    Attributes:
        runs: Names of the runs that were trained, in order.
        stop_at: Number of the run that Ctrl-C ends half-way; None for none.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[str] = []
        self.stop_at: int | None = None
        self.broken: set[int] = set()
        monkeypatch.setattr(training, "resume", self.resume)
        monkeypatch.setattr(repeats, "finished", self.finished)
        self._done: dict[str, float] = {}

    @staticmethod
    def height(config: Any) -> float:
        return -abs(math.log10(config.ppo.learning_rate) + 3) + 0.01 * config.seed

    def resume(self, folder: Path, *, report: Any) -> None:
        self.runs.append(folder.name)
        config: Any = training.resolve(yaml.safe_load((folder / "config.yaml").read_text()), "played")
        (folder / "checkpoints").mkdir(exist_ok=True)
        if len(self.runs) - 1 in self.broken:
            raise AgentError("weights have diverged")
        for tenth in range(1, 11):
            if len(self.runs) - 1 == self.stop_at and tenth == 5:
                raise KeyboardInterrupt
            share = tenth / 10
            report({"steps": int(share * config.total_steps), "return_mean": 10 * share * (5 + self.height(config))})
        self._done[str(folder)] = self.height(config)

    def finished(self, folder: Path, config: Any) -> Any:
        if str(folder) not in self._done:
            return None
        assert config.eval.seed == VALIDATION_SEEDS.start and config.eval.episodes == 7 and config.total_steps == 1000
        return repeats.SeedRun(config.seed, folder, 1000, 1.0, {"return_mean": self._done[str(folder)]})


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    pytest.importorskip("optuna")
    return Played(monkeypatch)


BUDGET: dict[str, Any] = {"steps": 1000, "episodes": 7, "objective": "return_mean"}


def test_ranges_are_read_and_refused() -> None:
    given = search_space.parse_options(
        ["ppo.gamma=0.9..0.999", "ppo.epochs=int-log:2..16", "network.hidden=[[8], [9]]"]
    )
    space = search_space.parse_space(given, "--search")
    assert space == {
        "ppo.gamma": search_space.Range(0.9, 0.999),
        "ppo.epochs": search_space.Range(2, 16, whole=True, logarithmic=True),
        "network.hidden": search_space.Choices(("[8]", "[9]")),
    }
    assert {point["ppo.epochs"] for point in search_space.corners(space)} == {2, 16}
    for given, message in (
        ({}, "nothing to search"),
        ({"a": "0.9"}, "write a range or choices"),
        ({"a": 0.9}, "write a range or choices"),
        ({"a": "2..1"}, "2 must be less than 1"),
        ({"a": "log:0..1"}, "must begin above 0"),
        ({"a": "int:1..2.5"}, "whole numbers"),
        ({"a": [1]}, "at least two choices"),
        ({"a": "__import__('os')..3"}, "write a range or choices"),
    ):
        with pytest.raises(ConfigError, match=message):
            search_space.parse_space(given, "space.yaml")
    with pytest.raises(ConfigError, match=r"dotted\.key=range"):
        search_space.parse_options(["ppo.gamma"])


def test_a_search_is_checked_before_it_begins(preset: Path, tmp_path: Path, played: Played) -> None:
    for space, message in (
        ({"ppo.learning_rat": "log:1e-5..1e-3"}, "did you mean 'learning_rate'"),
        ({"ppo.gamma": "0.9..1.1"}, "ppo.gamma = 1.1"),
        ({"eval.seed": "int:1000000..1000009"}, "cannot be searched"),
        ({"total_steps": "int:10..20"}, "cannot be searched"),
    ):
        with pytest.raises(ConfigError, match=message):
            tuning.start(preset, space, root=tmp_path / "runs", **BUDGET)
    with pytest.raises(ConfigError, match="objective"):
        tuning.start(preset, SPACE, root=tmp_path / "runs", objective="speed")
    assert not played.runs and not (tmp_path / "runs").exists()


def test_a_search_finds_and_goes_on_as_if_it_had_not_stopped(preset: Path, tmp_path: Path, played: Played) -> None:
    told: list[dict[str, Any]] = []
    whole = tuning.start(preset, SPACE, root=tmp_path, name="whole", report=told.append, trials=12, seeds=2, **BUDGET)
    assert [t["trial"] for t in whole["trials"]] == list(range(12))
    best = whole["best"]
    assert best["value"] == max(t["value"] for t in whole["trials"] if t["value"] is not None) > -1.0
    assert best["values"] == pytest.approx([best["value"] - 0.005, best["value"] + 0.005])
    assert {t["state"] for t in whole["trials"]} == {"complete", "pruned"}
    assert sum("trial" in record for record in told) == 12 and not list((tmp_path / "whole").rglob("checkpoints"))

    # The best settings are a preset, with the original's length and seeds.
    config: Any = training.resolve(yaml.safe_load((tmp_path / "whole" / "best.yaml").read_text()), "best")
    assert config.total_steps == 5000 and config.eval.seed == 1_000_000
    assert config.ppo.learning_rate == best["settings"]["ppo.learning_rate"]
    assert list(config.network.hidden) == best["settings"]["network.hidden"]

    # Stopped in the middle of a run and, in the journal, in the middle of a line.
    played.runs.clear()
    played.stop_at = 8
    with pytest.raises(KeyboardInterrupt):
        tuning.start(preset, SPACE, root=tmp_path, name="stopped", trials=12, seeds=2, **BUDGET)
    played.stop_at = None
    interrupted = played.runs[-1]
    with (tmp_path / "stopped" / "study.jsonl").open("a") as stream:
        stream.write('{"op_code": 8, "tr')
    again = tuning.resume(Path("stopped"), root=tmp_path)
    assert played.runs[9] == interrupted, "the run that was interrupted goes on under its own name"
    assert len(again["trials"]) == 12 and again["best"]["value"] > -1.0
    settings = [t["settings"] for t in again["trials"]]
    assert settings[:5] == [t["settings"] for t in whole["trials"]][:5]
    assert len(tuning.resume(tmp_path / "stopped", trials=13)["trials"]) == 13
    with pytest.raises(AgentError, match="unknown search 'stoped': did you mean 'stopped'"):
        tuning.resume(Path("stoped"), root=tmp_path)
    for path in tmp_path.rglob("*"):
        assert path.suffix in ("", ".yaml", ".jsonl"), path
    for line in (tmp_path / "whole" / "study.jsonl").read_text().splitlines():
        json.loads(line)


def test_the_best_preset_keeps_what_was_found_for_a_robot_of_its_own(
    preset: Path, tmp_path: Path, played: Played
) -> None:
    own = {"point": {"ppo": {"learning_rate": 0.5}, "network": {"initial_std": 0.1}}}
    preset.write_text(yaml.safe_dump({**PRESET, "robots": own}))
    tuning.start(preset, SPACE, root=tmp_path, name="own", trials=3, **BUDGET)
    data = yaml.safe_load((tmp_path / "own" / "best.yaml").read_text())
    read: Any = training.resolve(data, "best.yaml")
    assert read.network.initial_std == 0.1 and read.ppo.learning_rate == data["ppo"]["learning_rate"] != 0.5


def test_a_trial_that_fails_is_told(preset: Path, tmp_path: Path, played: Played) -> None:
    played.broken = {1}
    summary = tuning.start(preset, SPACE, root=tmp_path, name="x", trials=3, **BUDGET)
    assert [t["state"] for t in summary["trials"]] == ["complete", "fail", "complete"]
    assert summary["trials"][1]["error"] == "weights have diverged"


def test_the_missing_extra_is_named(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genuine = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "optuna":
            raise ModuleNotFoundError("No module named 'optuna'", name="optuna")
        return genuine(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["tune", str(preset), "--search", "ppo.gamma=0.9..0.99", "--runs", str(tmp_path / "runs")]) == 2
    assert "pip install 'training-ground[tune]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_search_with_real_runs(preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    pytest.importorskip("stable_baselines3")
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump({"ppo.learning_rate": "log:1e-4..1e-2"}))
    arguments = ["--space", str(space), "--trials", "2", "--steps", "128", "--episodes", "3", "--name", "s"]
    assert main(["tune", str(preset), *arguments, "--runs", str(tmp_path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [t["state"] for t in summary["trials"]] == ["complete"] * 2
    evaluation = json.loads((tmp_path / "s" / "trial_0000_seed0" / "bundle" / "evaluation.json").read_text())
    assert [e["seed"] for e in evaluation["episodes"]] == [2_000_000, 2_000_001, 2_000_002]
    assert main(["tune", "--resume", "s", "--trials", "3", "--runs", str(tmp_path)]) == 0
    assert "best settings:" in capsys.readouterr().out

"""The deadline monitor: what it counts is right, and it changes nothing unless it is told to."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from training_ground.agents.deadline import BINS, DeadlineMonitor, Timing
from training_ground.agents.evaluation import evaluate
from training_ground.agents.policy import load_policy
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")

SEEDS = range(1_000_000, 1_000_004)


class Counting:
    """Acts with the number of the call; the clock below makes calls as long as `seconds` says."""

    name = "counting"

    def __init__(self, seconds: list[float]) -> None:
        self.seconds, self.time, self.calls = seconds, 0.0, 0

    def reset(self, env: Any) -> None:
        self.calls = 0

    def act(self, observation: Any) -> np.ndarray:
        self.time += self.seconds[self.calls]
        self.calls += 1
        return np.full(2, self.calls, np.float32)

    def clock(self) -> float:
        return self.time


def acted(seconds: list[float], on_miss: Any) -> tuple[list[float], Timing]:
    policy = Counting(seconds)
    monitor = DeadlineMonitor(policy, rate=50.0, on_miss=on_miss, clock=policy.clock)
    return [float(monitor.act(np.zeros(4))[0]) for _ in seconds], monitor.timing


def test_misses_are_counted_and_answered_as_told() -> None:
    seconds = [0.03, 0.001, 0.021, 0.05, 0.002]
    actions, timing = acted(seconds, "report")
    assert actions == [1, 2, 3, 4, 5]
    assert (timing.misses, timing.calls, timing.worst_s, timing.worst_step) == (3, 5, pytest.approx(0.05), 3)
    # An episode's first answer is used however late; then the last one that was sent stands.
    assert acted(seconds, "hold")[0] == [1, 2, 2, 2, 5]
    with pytest.raises(AgentError, match="policy 'counting', step 0: act took 30 ms, the deadline is 20 ms"):
        acted(seconds, "raise")
    wrong: Any = "panic"
    with pytest.raises(AgentError, match="report, hold, raise"):
        DeadlineMonitor(load_policy("zero"), on_miss=wrong)
    with pytest.raises(AgentError, match="rate = 0"):
        DeadlineMonitor(load_policy("zero"), rate=0.0)


def test_quantiles_are_those_of_the_times_and_memory_is_bounded() -> None:
    times = np.random.default_rng(0).lognormal(-8, 1.5, 20_000)
    timing = Timing(0.02)
    for step, seconds in enumerate(times):
        timing.add(float(seconds), step)
    for share in (0.5, 0.99, 1.0):
        exact = float(np.quantile(times, share, method="inverted_cdf"))
        assert exact <= timing.quantile(share) <= 1.024 * exact
    assert timing.misses == (times > 0.02).sum() and timing.worst_step == int(times.argmax())
    for seconds in (0.0, 1e-12, 1e9):
        timing.add(seconds, 0)
    assert len(timing.counts) <= BINS and timing.quantile(1.0) == 1e9


def test_an_evaluation_reports_over_its_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env_id = fake_agents.install(monkeypatch)
    with closing(gymnasium.make(env_id, disable_env_checker=True)) as env:
        policy = fake_agents.make_bundle(tmp_path / "bundle", env)
    plain = evaluate(policy, env_id, {"length": 9}, SEEDS, workers=0)
    timed = evaluate(DeadlineMonitor(policy), env_id, {"length": 9}, SEEDS, workers=2)
    assert [r.to_json() for r in timed.episodes] == [r.to_json() for r in plain.episodes]
    assert (timed.policy, timed.policy_hash, timed.runtime) == (plain.policy, plain.policy_hash, "numpy")
    data = json.loads(json.dumps(timed.to_json(), allow_nan=False))
    report = data["deadline"]
    assert report["deadline_ms"] == 20.0 and report["calls"] == sum(r.steps for r in plain.episodes)
    assert 0 < report["p50_ms"] <= report["p99_ms"] <= report["max_ms"]
    assert report["worst"]["seed"] in SEEDS and report["worst"]["step"] < 9
    assert "deadline" not in plain.to_json()
    # A policy without a rate of its own takes the environment's.
    other = evaluate(DeadlineMonitor(load_policy("zero")), env_id, {"rate": 100.0}, SEEDS[:1], workers=0)
    assert other.to_json()["deadline"]["deadline_ms"] == pytest.approx(10.0)


def test_tg_eval_tells_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("onnxruntime")
    env_id = fake_agents.install(monkeypatch)
    with closing(gymnasium.make(env_id, disable_env_checker=True)) as env:
        fake_agents.make_bundle(tmp_path / "bundle", env)
    arguments = ["eval", "--policy", str(tmp_path / "bundle"), "--task", env_id, "--episodes", "2", "--workers", "0"]
    arguments += ["--runtime", "onnx", "--deadline", "report"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "deadline 20 ms: " in out and "p99" in out
    assert main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["runtime"] == "onnx" and data["deadline"]["calls"] == sum(e["steps"] for e in data["episodes"])

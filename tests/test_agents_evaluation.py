"""Evaluations: the same for any number of processes, unseen seeds only, nothing finished lost, nothing hangs."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from training_ground.agents.bundle import load_bundle
from training_ground.agents.evaluation import Evaluation, evaluate
from training_ground.agents.export import add_evaluation, card
from training_ground.agents.machine import Machine
from training_ground.agents.policy import load_policy
from training_ground.agents.sweep import Sweep, set_option, sweep
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError, SimulationError

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")

SEEDS = range(1_000_000, 1_000_006)


@pytest.fixture(autouse=True)
def env_id(monkeypatch: pytest.MonkeyPatch) -> Any:
    yield fake_agents.install(monkeypatch)
    assert not multiprocessing.active_children(), "a worker was left behind"


def test_result_does_not_depend_on_the_processes(env_id: str) -> None:
    alone = evaluate(load_policy("random"), env_id, {"length": 9}, SEEDS, workers=0)
    spread = evaluate(load_policy("random"), env_id, {"length": 9}, reversed(SEEDS), workers=2)
    assert [r.to_json() for r in alone.episodes] == [r.to_json() for r in spread.episodes]
    assert spread.complete and [r.seed for r in spread.episodes] == list(SEEDS)
    assert all(r.steps == 9 and r.seconds == pytest.approx(0.18) for r in spread.episodes)
    assert len({r.total_reward for r in spread.episodes}) == len(SEEDS)


def test_summary_and_json(env_id: str) -> None:
    result = evaluate(load_policy("zero"), env_id, {"length": 5}, range(1_000_000, 1_000_040), workers=0)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    summary = data["summary"]
    # The point does not move: success is a start with both |x| < .5, probability 1/4.
    expected = [r["seed"] for r in data["episodes"] if max(map(abs, r["randomisation"]["start"])) < 0.5]
    assert summary["successes"] == len(expected) and 2 <= len(expected) <= 20
    low, high = summary["wilson_95"]
    assert low < summary["success_rate"] < high
    assert data["environment"]["options"]["length"] == 5
    assert summary["metrics"].keys() == {"reward/near", "reward/effort"}
    assert summary["return_mean"] == pytest.approx(5 * summary["metrics"]["reward/near"])
    empty = Evaluation("zero", None, env_id, {}, 3)
    assert empty.summary()["success_rate"] is None and json.dumps(empty.to_json(), allow_nan=False)


def test_seen_seeds_bad_kwargs_and_foreign_bundles_are_refused(env_id: str, tmp_path: Path) -> None:
    zero = load_policy("zero")
    with pytest.raises(AgentError, match="seed 3 lies in the range that training uses"):
        evaluate(zero, env_id, {}, [3])
    with pytest.raises(AgentError, match="workers = -1"):
        evaluate(zero, env_id, {}, SEEDS, workers=-1)
    with pytest.raises(AgentError, match="task 'nowhere:Stand-v0'"):
        evaluate(zero, "nowhere:Stand-v0", {}, SEEDS, workers=0)
    with pytest.raises(SimulationError, match="did you mean 'Stand'"):
        evaluate(zero, "TrainingGround/Stadn-v0", {}, SEEDS, workers=0)
    with pytest.raises(AgentError, match="unknown robot 'g1'"):
        evaluate(zero, env_id, {"robot": "g1"}, SEEDS, workers=1)
    policy = fake_agents.make_bundle(tmp_path / "b", gymnasium.make(env_id, disable_env_checker=True))
    with pytest.raises(AgentError, match="'turn' only in the environment"):
        evaluate(policy, env_id, {"joints": ("slide_x_joint", "turn")}, SEEDS, workers=1)


def test_a_dead_worker_is_named_and_finished_episodes_are_seen(env_id: str) -> None:
    seen: list[int] = []
    with pytest.raises(AgentError, match=r"seed 100000\d: evaluation worker \d was ended by SIGKILL"):
        evaluate(load_policy("zero"), env_id, {"trouble": "die"}, SEEDS, 2, lambda e, r: seen.append(r.seed))
    assert not seen


def test_a_hanging_worker_is_ended(env_id: str) -> None:
    with pytest.raises(AgentError, match="gave no answer"):
        evaluate(load_policy("zero"), env_id, {"trouble": "hang"}, SEEDS, workers=1, timeout_s=1.0)


def test_a_failing_environment_and_nan_rewards_say_where(env_id: str) -> None:
    with pytest.raises(AgentError, match="evaluation worker 0: the simulation diverged at step 5"):
        evaluate(load_policy("zero"), env_id, {"trouble": "raise"}, SEEDS, workers=1)
    with pytest.raises(AgentError, match="seed 1000000, step 5: the reward is nan"):
        evaluate(load_policy("zero"), env_id, {"trouble": "nan"}, SEEDS, workers=0)


def test_interrupt_reaches_the_caller_with_what_is_done(env_id: str) -> None:
    kept: list[Evaluation] = []

    def interrupt(result: Evaluation, _: Any) -> None:
        kept.append(result)
        if len(result.episodes) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(load_policy("zero"), env_id, {}, SEEDS, 2, interrupt)
    assert len(kept[-1].episodes) == 3 and not kept[-1].complete
    assert kept[-1].summary()["complete"] is False


def test_card(env_id: str, tmp_path: Path) -> None:
    policy = fake_agents.make_bundle(tmp_path / "b", gymnasium.make(env_id, disable_env_checker=True))
    result = evaluate(policy, env_id, {"length": 10}, SEEDS, workers=0)
    add_evaluation(tmp_path / "b", result)
    text = (tmp_path / "b" / "card.md").read_text()
    assert f"{result.summary()['successes']} of 6" in text and "1000000 to 1000005" in text
    assert result.to_json()["training"]["steps"] == 1 and result.to_json()["training"]["machine"] is None
    made = policy.spec.provenance.model_copy(update={"machine": Machine(processor="Abacus", cores=3)})
    assert "on 3 cores (Abacus)" in card(policy.spec.model_copy(update={"provenance": made}), result)
    assert load_bundle(tmp_path / "b").hash == policy.hash, "a card does not change what the policy does"
    (tmp_path / "b" / "card.md").write_text(text.replace("6", "9"))
    with pytest.raises(AgentError, match=r"card\.md"):
        load_bundle(tmp_path / "b")


def test_sweep_meets_the_same_seeds_at_every_value(env_id: str) -> None:
    seen: list[tuple[int, int]] = []

    def tell(result: Sweep, record: Any) -> None:
        assert not result.complete or (len(result.evaluations), record.seed) == (2, SEEDS[-1])
        seen.append((result.evaluations[-1].kwargs["length"], record.seed))

    result = sweep(load_policy("random"), env_id, {}, "length", [4, 9], SEEDS, 0, tell)
    assert seen == [(length, seed) for length in (4, 9) for seed in SEEDS] and result.complete
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["option"] == "length" and data["values"] == [4, 9]
    assert [{e["steps"] for e in part["episodes"]} for part in data["evaluations"]] == [{4}, {9}]
    with pytest.raises(AgentError, match="the value 4 stands twice"):
        sweep(load_policy("zero"), env_id, {}, "length", [4, 5, 4], SEEDS, 0)


def test_a_swept_number_is_both_ends_of_a_range() -> None:
    stand, given = "TrainingGround/Stand-v0", {"robot": "g1_legs"}
    assert set_option(stand, given, "push_speed", 0.7) == {**given, "push_speed": [0.7, 0.7]}
    assert set_option(stand, given, "push_speed", [0, 1])["push_speed"] == [0, 1]
    assert set_option(stand, given, "fall_height", 0.7)["fall_height"] == 0.7
    friction = set_option(stand, given, "randomisation.friction", 0.5)
    assert friction["randomisation"] == {"friction": [0.5, 0.5]} and given == {"robot": "g1_legs"}
    with pytest.raises(SimulationError, match="did you mean 'push_speed'"):
        set_option(stand, given, "push_sped", 1)
    with pytest.raises(SimulationError, match=r"push_speed\.0 = -1"):
        set_option(stand, given, "push_speed", -1)


def test_eval_sweeps_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "curve.json"
    words = ["eval", "--policy", "zero", "--task", "Stand", "--robot", "g1_legs", "--episodes", "1", "--workers", "0"]
    words += ["--set", "episode_length_s=0.1", "--sweep", "push_speed=0,1.5"]
    assert main([*words, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "push_speed" in printed and "1.5" in printed
    data = json.loads(out.read_text())
    assert [part["kwargs"]["push_speed"] for part in data["evaluations"]] == [[0, 0], [1.5, 1.5]]
    assert main([*words[:-1], "push_speed"]) == 2
    assert "KEY=V1,V2" in capsys.readouterr().err

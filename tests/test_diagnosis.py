"""What is said of a run that has stalled: one synthetic run for each sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from training_ground.agents import training
from training_ground.agents.diagnosis import RULES, Watch, judge

HEALTHY: dict[str, Any] = {
    "return_mean": 50.0,
    "length_mean": 400.0,
    "success_rate": 0.2,
    "failures": {"fall": 0.5},
    "kl": 0.01,
    "std": 0.3,
    "learning_rate": 3e-4,
    "explained_variance": 0.8,
    "clip_fraction": 0.1,
    "metrics": {"reward/upright": 0.3, "reward/progress": 0.2},
}


def config(algorithm: str = "ppo", *overrides: str) -> Any:
    data = {"env": {"id": "Stand"}, "algorithm": algorithm, "total_steps": 1000}
    return training.resolve(data, "test", overrides)


def run(count: int = 60, **changes: Any) -> list[dict[str, Any]]:
    """Records whose values are constant, or follow a function of the share of the run that is done."""

    def value(given: Any, share: float) -> Any:
        return given(share) if callable(given) else given

    return [{k: value(v, i / (count - 1)) for k, v in {**HEALTHY, **changes}.items()} for i in range(count)]


OFF_POLICY: dict[str, Any] = {
    "kl": None,
    "explained_variance": None,
    "clip_fraction": None,
    "actor_loss": 0.1,
    "critic_loss": 0.01,
    "entropy_coefficient": 0.05,
}


@pytest.mark.parametrize(
    ("cause", "of", "changes", "parts"),
    [
        ("exploration", config(), {"std": 0.012}, ("0.012", "ppo.entropy")),
        ("exploration", config("sac"), {**OFF_POLICY, "std": 0.02}, ("sac.target_entropy",)),
        ("noise", config(), {"std": lambda x: 0.4 + 2 * x}, ("drowns", "ppo.entropy")),
        ("small_steps", config(), {"kl": 1e-4, "learning_rate": 1e-5}, ("floor of 1e-05", "ppo.target_kl")),
        ("small_steps", config(), {"kl": 1e-4, "learning_rate": 2e-3}, ("ceiling", "ppo.learning_rate_range")),
        ("small_steps", config("ppo", "ppo.adapt_learning_rate=false"), {"kl": 1e-4}, ("ppo.adapt_learning_rate",)),
        ("large_steps", config(), {"kl": 0.2, "learning_rate": 1e-5}, ("KL 0.20", "ppo.learning_rate_range")),
        ("clipped", config(), {"clip_fraction": 0.6}, ("60%", "ppo.epochs")),
        ("critic_diverges", config("tqc"), {**OFF_POLICY, "critic_loss": lambda x: 10 ** (4 * x)}, ("tqc.tau",)),
        ("temperature", config("sac"), {**OFF_POLICY, "entropy_coefficient": 4.0}, ("sac.target_entropy",)),
        ("temperature", config("sac", "sac.entropy=2"), {**OFF_POLICY, "entropy_coefficient": 2.0}, ("auto",)),
        ("value_function", config(), {"explained_variance": 0.02}, ("0.02", "ppo.critic_learning_rate")),
        (
            "early_failure",
            config(),
            {"failures": {"fall": 0.97, "collision": 0.03}, "length_mean": 20.0},
            ("97% of the episodes end by 'fall' after 0.4 s", "env.kwargs.start_joint_noise"),
        ),
        (
            "one_term",
            config(),
            {"metrics": {"reward/upright": 0.5, "reward/progress": 0.004, "reward/effort": -0.1}},
            ("'upright' brings 99%", "'progress' has never risen", "env.kwargs"),
        ),
        ("unknown", config(), {"count": 120}, ("stayed at 50 for 40 records", "envs_per_worker")),
    ],
)
def test_each_cause_has_its_sentence(cause: str, of: Any, changes: dict[str, Any], parts: tuple[str, ...]) -> None:
    verdict = judge(run(**changes), of, 50.0)
    assert verdict.stalled and verdict.cause == cause
    for part in parts:
        assert part in verdict.text, verdict.text


def test_every_rule_is_tested() -> None:
    marks: Any = test_each_cause_has_its_sentence
    tested = {case[0] for case in marks.pytestmark[0].args[1]}
    assert tested == {*RULES, "unknown"}


def test_the_settings_that_are_named_exist() -> None:
    """An advice that cannot be followed is none."""
    import re

    text = (Path(training.__file__).parent / "diagnosis.py").read_text()
    known = {"ppo": config(), "tqc": config("tqc"), "network": config(), "normalisation": config()}
    for group, key in re.findall(r"\b(ppo|tqc|network|normalisation)\.([a-z_]+)", text):
        assert hasattr(getattr(known[group], group), key), f"{group}.{key}"
    for key in re.findall(r"\{w\.name\}\.([a-z_]+)", text):
        assert hasattr(config("sac").sac, key) and hasattr(config("tqc").tqc, key), key


def test_a_run_that_learns_is_left_alone() -> None:
    rising = run(return_mean=lambda x: 10 + 40 * x, std=0.01)
    assert not judge(rising, config(), 50.0).stalled and "rose from" in judge(rising, config(), 50.0).text
    assert not judge(run(success_rate=0.99, std=0.01), config(), 50.0).stalled
    assert "Too early" in judge(run(15, std=0.01), config(), 50.0).text
    # Before its first update an off-policy run has nothing to be judged by.
    assert "Too early" in judge(run(**{**OFF_POLICY, "actor_loss": None}), config("sac"), 50.0).text
    # A length below a second counts only where the control rate is known.
    short = {"failures": {"fall": 1.0}, "length_mean": 20.0}
    assert judge(run(120, **short), config()).cause == "unknown"


def test_returns_that_go_up_and_down_on_their_way_are_no_stall() -> None:
    waves = run(600, return_mean=lambda x: 100 * x + 8 * math.sin(150 * x))
    watch = Watch(config(), 50.0)
    assert not any(watch.see(record) for record in waves)
    # Nor is one that stays because the task gets harder.
    harder = run(120, level=lambda x: x)
    assert "from level 0.50 to 0.84" in judge(harder, config()).text
    flat = run(600, return_mean=lambda x: 50 + 8 * math.sin(150 * x))
    watch = Watch(config(), 50.0)
    told = [i for i, record in enumerate(flat) if watch.see(record)]
    assert told and told[0] < 200


def test_each_change_is_told_once() -> None:
    watch = Watch(config(), 50.0)
    said = [watch.see(record) for record in run(80, clip_fraction=0.6)]
    assert [v.cause for v in said if v is not None] == ["clipped"]
    assert said[19] is not None, "told as soon as it can be known"
    # Another cause joins; then the run moves on, and stalls once more.
    told = [watch.see(record) for record in run(60, std=0.01, clip_fraction=0.6)]
    assert [v.cause for v in told if v is not None] == ["exploration"]
    moving = [watch.see(record) for record in run(60, return_mean=lambda x: 50 + 200 * x)]
    assert not any(moving)
    again = [watch.see(record) for record in run(60, return_mean=250.0, clip_fraction=0.6)]
    assert "clipped" in [v.cause for v in again if v is not None]


def test_a_run_on_disk_is_judged(tmp_path: Path) -> None:
    from training_ground.cli.main import main

    folder = tmp_path / "stuck"
    folder.mkdir()
    data = config("ppo", "env.kwargs.robot=g1_legs").model_dump(mode="json")
    (folder / "config.yaml").write_text(yaml.safe_dump(data))
    records = run(failures={"fall": 1.0}, length_mean=15.0)
    lines = [json.dumps({**record, "steps": 64 * i}) for i, record in enumerate(records)]
    (folder / "progress.jsonl").write_text("\n".join(lines) + '\n{"steps": 99')
    verdict = training.diagnose(Path("stuck"), root=tmp_path)
    assert verdict.cause == "early_failure" and "after 0.3 s" in verdict.text
    assert main(["train", "--diagnose", "stcuk", "--runs", str(tmp_path)]) == 2

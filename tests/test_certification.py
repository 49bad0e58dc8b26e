"""The product test: verdicts follow from intervals, a killed run goes on, the same test gives the same numbers."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from training_ground.agents.certification.checking import check, sign_result
from training_ground.agents.certification.intervals import poisson_interval, quantile_interval, time_between
from training_ground.agents.certification.judging import judge, judgeable, overall, reasons
from training_ground.agents.certification.metrics import METRICS, QUANTITIES, REPORTED, Setting, metric_results
from training_ground.agents.certification.plan import make_plan
from training_ground.agents.certification.result import MetricResult, Result, Trial, read_result
from training_ground.agents.certification.run import prepare, run
from training_ground.agents.policy import load_policy
from training_ground.agents.statistics import interquartile_mean, two_level_interval
from training_ground.cli.main import main
from training_ground.configs.certification import Protocol, load_protocol
from training_ground.configs.errors import AgentError, ConfigError
from training_ground.configs.presets import preset_names
from training_ground.datasets.signing import make_key, read_private_key, read_public_keys
from training_ground.envs.registration import make
from training_ground.envs.robot import Robot

ROOT = Path(__file__).parent.parent
SMALL = """
title: A small one
scenarios: {stand: {task: Stand, env: {robot: g1_legs, episode_length_s: 0.3, push_speed: [0, 0]}}}
seeds: {count: 8}
sweeps: {friction: {values: [0.5], seeds: 3}, motor_loss: {values: [2], seeds: 3}}
thresholds: {success: {at_least: 0.5}, on_ice: {metric: success, sweep: friction, at_least: 0.99}}
"""


@pytest.fixture()
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def certify(*arguments: Any) -> int:
    return main(["certify", *map(str, arguments)])


# ---- verdicts and intervals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "at_least", "at_most", "verdict"),
    [
        (0.90, 0.97, 0.90, None, "pass"),  # the bound itself is allowed
        (0.8999, 0.97, 0.90, None, "inconclusive"),
        (0.80, 0.90, 0.90, None, "inconclusive"),  # it may be just that
        (0.80, 0.8999, 0.90, None, "fail"),
        (None, 5.0, 3.0, None, "inconclusive"),
        (4.0, None, 3.0, None, "pass"),
        (None, None, 3.0, None, "inconclusive"),
        (0.0, 0.02, None, 0.02, "pass"),
        (0.0, 0.0201, None, 0.02, "inconclusive"),
        (0.02, 0.1, None, 0.02, "inconclusive"),
        (0.0201, 0.1, None, 0.02, "fail"),
        (0.0, 0.0, None, 0.0, "pass"),
        (5.0, None, None, 6.0, "inconclusive"),
        (7.0, None, None, 6.0, "fail"),
    ],
)
def test_a_verdict_follows_from_the_interval(low, high, at_least, at_most, verdict):
    assert judge(low, high, at_least, at_most) == verdict


def test_one_failure_decides_and_what_was_not_measured_is_no_pass(small: Path):
    assert overall(["pass", "fail", "inconclusive"]) == "fail"
    assert overall(["pass", "inconclusive"]) == "inconclusive"
    assert overall(["pass", "pass"]) == "pass" and overall([]) == "inconclusive"
    protocol = load_protocol(small, ["thresholds.over_force.at_most=0.1"], judgeable(), QUANTITIES)[1]
    good = metric("success", threshold="success", verdict="pass"), metric("success", threshold="on_ice", verdict="pass")
    verdicts, lines = reasons([("stand/nominal", one) for one in good], protocol)
    assert verdicts == ["pass", "pass", "inconclusive"]
    assert lines == ["over_force: inconclusive: nothing was measured that it is about"]


def metric(name: str, **changes: Any) -> MetricResult:
    data = {"value": 1.0, "low": 0.9, "high": 1.0, "interval": "wilson", "confidence": 0.95, "n": 9}
    return MetricResult(name=name, tag="decision", unit="1", **{**data, **changes})


def test_exact_intervals_have_known_values():
    # Garwood's interval: 3.689 without an event, 4.795 to 18.390 for ten.
    assert poisson_interval(0) == pytest.approx((0.0, 3.6889), abs=1e-4)
    assert poisson_interval(10) == pytest.approx((4.7954, 18.3904), abs=1e-4)
    # To claim 10 h between interventions takes 30 clean hours; 2T / χ²(0.95; 6) = 2 · 100 / 12.592 for two.
    assert time_between(30.0, 0) == (pytest.approx(10.0, abs=0.02), None)
    assert time_between(100.0, 2)[0] == pytest.approx(200 / 12.592, rel=1e-4)
    # The median of 20 lies between the 6th and the 15th value; the 95th percentile of 71 has no upper end.
    assert quantile_interval(range(1, 21), 0.5) == (6, 15)
    assert quantile_interval(range(71), 0.95)[1] is None and quantile_interval(range(72), 0.95)[1] == 71
    assert quantile_interval([], 0.5) == (None, None)


@pytest.mark.parametrize("mean", [0.3, 1.0, 4.0, 20.0])
def test_a_poisson_interval_covers_what_it_says(mean: float):
    counts = range(200)
    covered = sum(poisson.pmf(k, mean) for k in counts if poisson_interval(k)[0] <= mean <= poisson_interval(k)[1])
    assert covered >= 0.95
    bounds = [time_between(mean, k)[0] for k in counts]  # mean time 1, observed for `mean`
    assert sum(poisson.pmf(k, mean) for k in counts if bounds[k] <= 1.0) >= 0.95


def test_a_quantile_interval_covers_what_it_says():
    generator = np.random.default_rng(0)
    for share, count in ((0.5, 25), (0.95, 100)):
        truth = -math.log(1 - share)
        draws = [quantile_interval(generator.exponential(size=count).tolist(), share) for _ in range(800)]
        covered = np.mean([low is not None and high is not None and low <= truth <= high for low, high in draws])
        assert covered >= 0.94  # three deviations of the simulation below 0.95 + what ranks cannot hit exactly


@pytest.mark.slow
def test_the_bootstrap_of_an_interquartile_mean_covers_what_it_says():
    generator, covered, repeats = np.random.default_rng(0), 0, 300
    for _ in range(repeats):
        low, high = two_level_interval([generator.normal(size=50).tolist()], interquartile_mean, samples=500)
        covered += low <= 0.0 <= high
    assert covered / repeats >= 0.90  # a percentile bootstrap of 50 is somewhat too narrow


# ---- metrics ---------------------------------------------------------------------------------------------------------


def trial(seed: int, **changes: Any) -> Trial:
    data = {"success": True, "success_any": True, "failure": None, "steps": 50, "seconds": 1.0, "total_reward": 2.0}
    return Trial(seed=seed, **{**data, **changes})


def measured(trials: list[Trial], **setting: Any) -> dict[str, MetricResult]:
    given = {"takt_s": None, "failure_kinds": ("fall",), "confidence": 0.95, "resamples": 200, **setting}
    return {one.name: one for one in metric_results(trials, Setting(**given))}


def test_metrics_of_trials_made_by_hand():
    fallen = {"success": False, "failure": "fall", "success_any": False}
    trials = [
        trial(1, cycle_time=3.0, energy=10.0), trial(2, cycle_time=5.0, energy=30.0),
        trial(3, energy=20.0, **fallen), trial(4, energy=0.0, success=False),
    ]  # fmt: skip
    found = measured(trials, takt_s=4.0)
    assert found["success"].value == 0.5 and found["success_any"].value == 0.75
    assert found["takt_misses"].value == 0.75  # who fails misses the takt as well
    assert found["falls_per_1000_cycles"].value == 250.0
    low, high = poisson_interval(1)
    assert found["falls_per_1000_cycles"].low == pytest.approx(250 * low)
    assert found["falls_per_1000_cycles"].high == pytest.approx(250 * high)
    assert found["time_between_interventions"].value == 2.0
    assert found["time_between_interventions"].low == pytest.approx(2 * 4.0 / 12.592, rel=1e-4)
    assert found["time_between_interventions"].confidence == pytest.approx(0.9)
    assert found["cycle_time_median"].value == 4.0 and found["cycle_time_median"].low is None
    assert found["energy"].value == 15.0 and found["energy_per_success"].value == 30.0
    assert "contact_violations" not in found and "over_force" not in found and "stop_time_p95" not in found
    none = measured([trial(1, success=False)], takt_s=4.0)
    assert none["cycle_time_p95"].value is None and none["cycle_time_p95"].n == 0
    assert "energy" not in none and "energy_per_success" not in none


def test_a_bootstrap_of_few_trials_decides_nothing():
    few, many = (measured([trial(i, energy=10.0 + i) for i in range(n)]) for n in (9, 10))
    assert few["energy"].low is few["energy"].high is few["return"].low is few["energy_per_success"].low is None
    assert 10.0 < many["energy"].low < many["energy"].value == 14.5 < many["energy"].high < 19.0  # type: ignore[operator]
    assert many["return"].low == many["return"].high == 2.0


def test_pose_errors_are_measured_as_in_iso_9283():
    errors = [((0.003, 0.0, 0.0),), ((0.001, 0.0, 0.0),), ((0.002, 0.0, 0.0),)]
    found = measured([trial(i, pose_errors=e) for i, e in enumerate(errors)])
    assert found["pooled_pose_accuracy"].value == pytest.approx(0.002)
    distances = np.array([0.001, 0.001, 0.0])
    assert found["pooled_pose_repeatability"].value == pytest.approx(distances.mean() + 3 * distances.std(ddof=1))


def test_a_stop_that_finds_no_rest_is_beyond_every_limit():
    stops = [trial(i, emergency_stops=1, stop_time=0.2 if i else None) for i in range(3)]
    assert [QUANTITIES["stop_time"](t) for t in stops] == [math.inf, 0.2, 0.2]
    assert measured(stops)["stop_time_p95"].n == 3 and measured(stops)["stop_time_p95"].value is None
    assert QUANTITIES["stop_time"](trial(1, emergency_stops=0)) is None


def test_people_and_defects():
    trials = [
        trial(i, contact_steps=i % 2, separation_steps=0, protective_stops=2, metrics=counts)
        for i, counts in enumerate([{"defective": 2.0, "rejected": 1.0, "caught": 1.0}] * 4)
    ]
    found = measured(trials)
    assert found["contact_violations"].value == 0.5 and found["separation_violations"].value == 0.0
    assert found["protective_stops_per_1000_cycles"].value == 2000.0
    assert found["defect_f1"].low < 2 / 3 < found["defect_f1"].high  # type: ignore[operator]
    assert found["defect_f1"].value == pytest.approx(2 * 1 / 3) and found["defect_f1"].tag == "perception"
    assert found["contact_violations"].tag == "cooperation"


# ---- the run ---------------------------------------------------------------------------------------------------------


def stable(path: Path) -> dict[str, Any]:
    """A result without what the wall clock says."""
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "session"}


def test_twice_is_the_same_and_processes_do_not_matter(small: Path, tmp_path: Path):
    test = prepare(small, "random")
    first = run(test, tmp_path / "a", workers=0)
    second = run(prepare(small, "random"), tmp_path / "b", workers=1)
    assert first.identity == second.identity
    assert stable(tmp_path / "a/result.json") == stable(tmp_path / "b/result.json")
    assert len({t.total_reward for t in first.conditions[0].trials}) == 8
    ids = [c.id for c in first.conditions]
    assert ids == ["stand/nominal", "stand/nominal/friction=0.5", "stand/nominal/motor_loss=2"]
    assert all(len(t.lost_motors) == 2 for t in first.conditions[2].trials)
    assert [t.seed for t in first.conditions[1].trials] == [1_000_000, 1_000_001, 1_000_002]
    assert read_result(tmp_path / "a/result.json") == first


def test_a_run_goes_on_where_it_was_cut_off(small: Path, tmp_path: Path):
    whole = run(prepare(small, "zero"), tmp_path / "a", workers=0)
    lines = (tmp_path / "a/trials.jsonl").read_bytes().splitlines(keepends=True)
    cut = tmp_path / "b/trials.jsonl"
    cut.parent.mkdir()
    # In another order, and the last one torn: what it was is done again.
    cut.write_bytes(b"".join([lines[0], *reversed(lines[4:9])]) + lines[2][: len(lines[2]) // 2])
    played: list[int] = []
    again = run(prepare(small, "zero"), cut.parent, 0, on_trial=lambda line: played.append(line.trial.seed))
    assert len(played) == 14 - 5 and again.session.resumed == 5
    assert stable(tmp_path / "a/result.json") == stable(tmp_path / "b/result.json")
    assert again.identity == whole.identity


def test_a_folder_of_another_test_and_a_damaged_one_are_refused(small: Path, tmp_path: Path):
    run(prepare(small, "zero", ["seeds.count=1", "sweeps={}", "thresholds={success: {at_least: 0.5}}"]), tmp_path, 0)
    with pytest.raises(AgentError, match=r"of another test: protocol, configs differ"):
        run(prepare(small, "zero"), tmp_path, 0)
    file = tmp_path / "trials.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"steps":', b'"stepz":'))
    overrides = ["seeds.count=1", "sweeps={}", "thresholds={success: {at_least: 0.5}}"]
    with pytest.raises(AgentError, match=r"line 2"):
        run(prepare(small, "zero", overrides), tmp_path, 0)


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_instant_ends_with_the_same_file(small: Path, tmp_path: Path):
    run(prepare(small, "zero"), tmp_path / "whole", workers=0)
    code = "import sys; from training_ground.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "certify", str(small), "--policy", "zero", "--out", str(tmp_path / "cut")]
    generator = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    file, seen = tmp_path / "cut/trials.jsonl", 0
    for _ in range(3):
        process = subprocess.Popen([*command, "--workers", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not file.exists() or file.stat().st_size <= seen):
            time.sleep(0.01)
        time.sleep(float(generator.uniform(0, 0.1)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen = file.stat().st_size
    result = run(prepare(small, "zero"), tmp_path / "cut", workers=0)
    assert stable(tmp_path / "cut/result.json") == stable(tmp_path / "whole/result.json")
    assert result.session.resumed > 0


def test_a_policy_that_does_nothing_fails_at_walking(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = ["--seeds.count=12", "--sweeps={}", "--scenarios.walk.env.locked=[arms]"]
    assert certify("walk_g1", "--policy", "zero", "--out", tmp_path, "--workers", 0, "--json", *given) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["verdict"] == "fail" and any("success: fail" in line for line in data["reasons"])
    assert data["conditions"][0]["failures"] == {"fall": 12}


def test_exit_status_of_what_passes_and_of_what_is_open(small: Path, tmp_path: Path):
    asked = "--thresholds={{success: {{at_least: {}}}}}"
    assert certify(small, "--policy", "zero", "--out", tmp_path / "a", "--workers", 0, asked.format(0.5)) == 0
    assert certify(small, "--policy", "zero", "--out", tmp_path / "b", "--workers", 0, asked.format(0.95)) == 3


def test_a_policy_does_not_choose_how_hard_it_is_tested():
    protocol = load_protocol("stand_g1", ["sweeps={}"], judgeable(), QUANTITIES)[1]
    policy: Any = load_policy("stand_g1")
    kwargs = make_plan(protocol, policy).conditions[0].kwargs
    assert policy.spec.env_kwargs["push_interval_s"] == 2.5 and kwargs["push_interval_s"] == 5.0
    assert kwargs["driven"] == policy.spec.env_kwargs["driven"]


@pytest.mark.slow
def test_the_red_button_is_pressed_in_a_cell(tmp_path: Path):
    given = ["seeds.count=1", "tiers={nominal: {}}", "sweeps={}", "emergency_stop.seeds=3"]
    asked = "thresholds={success: {at_least: 0.1}, stop_time_p95: {at_most: 1}}"
    result = run(prepare("press_button", "expert", [*given, asked]), tmp_path, workers=0)
    stops = result.conditions[1]
    assert stops.id == "press/nominal/emergency_stop"
    assert all(t.failure == "unsafe" and t.emergency_stops == 1 for t in stops.trials)
    assert all(t.stop_time is not None and 0 < t.stop_time < 1 and 1 < t.seconds < 4 for t in stops.trials)
    assert {m.name for m in stops.metrics} == {"stop_time_p95", "stop_distance_p95", "limit.stop_time"}
    assert result.conditions[0].trials[0].hand_force == pytest.approx(14.5, abs=3)


def test_reach_has_pose_errors(tmp_path: Path):
    path = tmp_path / "reach.yaml"
    stand = "Stand, env: {robot: g1_legs, episode_length_s: 0.3, push_speed: [0, 0]}"
    path.write_text(SMALL.replace(stand, "Reach, env: {robot: g1, episode_length_s: 0.1}"))
    given = ["seeds.count=2", "sweeps={}", "thresholds={success: {at_least: 0.9}}"]
    result = run(prepare(path, "zero", given), tmp_path, 0)
    names = {m.name for m in result.conditions[0].metrics}
    assert {"pooled_pose_accuracy", "pooled_pose_repeatability"} <= names
    assert all(len(t.pose_errors) == 2 for t in result.conditions[0].trials)
    assert "falls_per_1000_cycles" not in names  # it is mounted


def test_who_makes_the_simulation_diverge_has_failed(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    advance = Robot.advance

    def break_off(self: Robot, target: Any, substeps: int) -> None:
        advance(self, target, substeps)
        if self.model.name == "g1_legs" and self.joint_position[0] < limit:
            self.body.set_base((math.nan, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
            self.read()

    test = prepare(small, "zero", ["sweeps={}", "seeds.count=4", "thresholds={success: {at_least: 0.5}}"])
    limit = -math.inf
    whole = run(test, tmp_path / "a", workers=0)
    monkeypatch.setattr(Robot, "advance", break_off)
    limit = math.inf
    broken = run(test, tmp_path / "b", workers=0)
    assert whole.conditions[0].failures == {} and broken.conditions[0].failures == {"diverged": 4}


# ---- protocols -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("seeds.cuont=3", ("seeds.cuont", "did you mean 'count'")),
        ("seeds.first=999999", ("seeds.first", "1000000")),
        ("seeds.count=0", ("seeds.count = 0",)),
        ("thresholds.sucess.at_least=0.5", ("metric 'sucess'", "did you mean 'success'")),
        ("thresholds.deadline_misses.at_most=0", ("deadline_misses", "not judged")),
        ("thresholds.success.at_most=0.5", ("exactly one of at_least and at_most",)),
        ("thresholds={}", ("thresholds",)),
        ("thresholds.on_ice.sweep=frictoin", ("thresholds.on_ice.sweep", "did you mean 'friction'")),
        ("thresholds.on_ice.value=0.7", ("thresholds.on_ice.value = 0.7", "0.5")),
        ("thresholds.on_ice.tier=tihgt", ("tier 'tihgt'", "nominal")),
        ("sweeps.frction.values=[1]", ("axis 'frction'", "did you mean 'friction'")),
        ("sweeps.friction.values=[1, 1]", ("stands twice",)),
        ("sweeps.friction.tiers=[flow]", ("sweeps.friction.tiers", "nominal")),
        ("limits.hand_fource={at_most: 1, source: me}", ("quantity 'hand_fource'", "did you mean 'hand_force'")),
        ("limits.hand_force={at_most: 1}", ("limits.hand_force.source",)),
        ("confidence=1.5", ("confidence = 1.5",)),
        ("resamples=9000; seeds.count=9000", ("resamples = 9000", "at most 4444")),
        ("emergency_stop={at_s: [3, 1]}", ("at_s", "must not exceed")),
    ],
)
def test_a_wrong_protocol_is_refused(small: Path, override: str, parts: tuple[str, ...]):
    with pytest.raises(ConfigError) as caught:
        load_protocol(small, override.split("; "), judgeable(), QUANTITIES)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("scenarios.stand.task=Stnd", ("Stnd", "did you mean 'Stand'")),
        ("scenarios.stand.env.push_sped=1", ("stand/nominal", "did you mean 'push_speed'")),
        ("sweeps.friction.values=[-1]", ("sweeps.friction, value -1",)),
        ("sweeps.unseen_parts.values=[tight]", ("sweeps.unseen_parts",)),
        ("emergency_stop={}", ("no safety monitor",)),
        ("tiers={nominal: {}, windy: {}}", ("tiers.windy: is the same as 'nominal'",)),
    ],
)
def test_what_an_environment_refuses_is_told_before_the_first_trial(small: Path, override: str, parts: tuple[str, ...]):
    with pytest.raises(Exception) as caught:
        prepare(small, "zero", [override])
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_bad_input_is_one_line_and_status_2(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for arguments, part in (
        (["stand_g2", "--policy", "zero", "--out", tmp_path], "did you mean 'stand_g1'"),
        ([small, "--policy", "zreo", "--out", tmp_path], "did you mean 'zero'"),
        ([small, "--policy", "zero"], "--out DIR"),
        ([small, "--out", tmp_path], "--policy NAME"),
        ([], "give a protocol"),
        (["--verify", tmp_path / "none.json"], "missing"),
        ([small, "--policy", "zero", "--out", tmp_path, "--key", tmp_path / "none.pem"], "none.pem"),
    ):
        assert certify(*arguments) == 2
        error = capsys.readouterr().err
        assert part in error and error.count("\n") == 1, error


def test_every_shipped_protocol_can_be_read():
    for name in preset_names("certify"):
        protocol = load_protocol(name, [], judgeable(), QUANTITIES)[1]
        assert isinstance(protocol, Protocol) and protocol.seeds.count == 200


def test_the_documentation_names_every_metric_and_quantity_and_its_protocol_is_one(tmp_path: Path):
    text = (ROOT / "docs/certify.md").read_text(encoding="utf-8")
    example = tmp_path / "example.yaml"
    example.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    assert set(load_protocol(example, [], judgeable(), QUANTITIES)[1].sweeps) == {"mass", "motor_loss", "stiffer"}
    assert [name for name in (*METRICS, *QUANTITIES, *REPORTED) if f"`{name}`" not in text] == []


# ---- signatures ------------------------------------------------------------------------------------------------------


def test_a_signed_result_shows_every_change(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    public, _ = make_key(tmp_path / "key.pem")
    other, _ = make_key(tmp_path / "other.pem")
    asked = "--thresholds={success: {at_least: 0.5}}"
    key = ["--key", tmp_path / "key.pem"]
    assert certify(small, "--policy", "zero", "--out", tmp_path, "--workers", 0, *key, asked, "--sweeps={}") == 0
    path = tmp_path / "result.json"
    signed = path.read_bytes()
    assert certify(small, "--policy", "zero", "--out", tmp_path, "--workers", 0, asked, "--sweeps={}") == 0
    assert path.read_bytes() == signed  # it was finished: its session and its signature stay
    assert certify("--verify", path, "--key", public) == 0
    assert certify("--verify", path, "--key", other) == 1
    assert "none of the keys" in capsys.readouterr().out
    good, trusted = path.read_text(), read_public_keys(public)
    data = json.loads(good)
    del data["conditions"][0]["trials"][3]
    path.write_text(json.dumps(data))
    assert "stand/nominal: the seeds are not those of the protocol" in check(path, trusted).problems
    data = json.loads(good)
    data["conditions"][0]["trials"][0]["success"] = False
    path.write_text(json.dumps(data))
    told = " ".join(check(path, trusted).problems)
    for part in ("success: does not follow from the trials", "identity", "changed after it was signed", "failures"):
        assert part in told
    # Who changes the session alone, or signs anew, is found by the signature alone.
    data = json.loads(good)
    data["session"]["seconds"] = 1.0
    path.write_text(json.dumps(data))
    assert check(path).problems == ("result.sig: is of another file: the result was changed after it was signed",)
    sign_result(path, read_private_key(tmp_path / "other.pem"))
    assert check(path).problems == () and not check(path, trusted).verified


def test_a_verdict_that_does_not_follow_is_found(tmp_path: Path):
    path = tmp_path / "result.json"
    data = json.loads((ROOT / "tests/data/certification/stand_g1.json").read_text())
    assert Result.model_validate_json(json.dumps(data)).verdict == "inconclusive"
    path.write_text(json.dumps(data))
    assert check(path).problems == ()
    path.write_text(json.dumps({**data, "conditions": data["conditions"][:-1]}))
    assert check(path).problems == ("stand/nominal/motor_loss=1: is missing",)
    path.write_text(json.dumps({**data, "verdict": "pass"}))
    assert check(path).problems[0] == "verdict: does not follow from the metrics"
    path.write_text(json.dumps({**data, "protocol": {**data["protocol"], "sha256": "0" * 64}}))
    assert check(path).problems[0].startswith("protocol.sha256")


# ---- motors that fail ------------------------------------------------------------------------------------------------


def test_lost_motors_give_no_torque_and_follow_from_the_seed():
    env = make("Stand", robot="g1_legs", randomisation={"lost_motors": (1, 3), "motor_strength": (0.9, 0.9)})
    drawn = [env.reset(seed=seed)[1]["randomisation"] for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1] and len({tuple(d["lost_motors"]) for d in drawn}) == 4
    env.step(np.ones(12, np.float32))
    lost, torque = drawn[4]["lost_motors"], np.abs(env.robot.joint_torque)
    resisting = 0.2  # N·m: what friction and damping of a joint that nothing drives come to
    assert 1 <= len(lost) <= 3 and (torque[lost] < resisting).all() and (np.delete(torque, lost) > resisting).any()
    strength = env.robot.drive.actuator.parameters.strength
    assert np.delete(strength, lost) == pytest.approx(0.9) and (strength[lost] == 0).all()
    env.close()

"""The quality gate: good recordings pass, and each planted fault is seen by the measures for it and no other."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import planted
import pytest
from scipy.integrate import quad

from training_ground.cli.main import main
from training_ground.configs.errors import ConfigError, DatasetError
from training_ground.configs.quality_gate import Limit
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label
from training_ground.datasets.quality import report as reports
from training_ground.datasets.quality.activity import idle_rows
from training_ground.datasets.quality.collection import Collection
from training_ground.datasets.quality.gate import DATASET, EPISODE, check, judge, load_limits, measure_episode
from training_ground.datasets.quality.smoothness import groups, log_dimensionless_jerk, spectral_arc_length
from training_ground.datasets.schema import DatasetSchema
from training_ground.datasets.store import Store

LIMITS = load_limits()[1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return planted.record(tmp_path_factory.mktemp("quality") / "good", range(0, 20, 2))


def seen(episode: Episode, schema: DatasetSchema) -> set[str]:
    return {reason.measure for reason in judge(measure_episode(episode, schema), LIMITS.episode)}


def test_good_recordings_pass(store: Store) -> None:
    report = check(store, LIMITS, "default", replay=2, make=planted.make)
    assert report.verdict == "pass" and report.count("pass") == 10 and not report.reasons
    matches = {e.number: e.readings["replay_match"].value for e in report.episodes if "replay_match" in e.readings}
    assert matches == {0: 1.0, 9: 1.0}
    unmeasured = {name for name, r in report.episodes[0].readings.items() if r.value is None}
    assert unmeasured == {"person_mismatch", "nearest_distance"}
    assert {m.name for m in EPISODE} == {*report.episodes[0].readings}
    assert {m.name for m in DATASET} == {*report.readings}


@pytest.mark.parametrize("fault", planted.FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_seen_by_its_measure_alone(store: Store, fault: planted.Fault) -> None:
    for number in (0, 7):
        assert seen(planted.planted(store.read(number), fault), store.schema) == planted.FAULTS[fault]


def test_a_joint_that_creeps_may_tremble_between_rows(store: Store) -> None:
    """What it moved and its speed at one instant of its tremble have little to do with each other."""

    def creep(columns: planted.Columns) -> None:
        rows = np.arange(len(columns["action"]))
        columns["joint_angle"][:, 0] = columns["joint_position"][:, 0] = 0.002 * rows  # 0.1 rad/s
        columns["joint_speed"][:, 0] = 0.1 - 0.25 * (rows % 7 > 1)

    assert "velocity_mismatch" not in seen(planted.planted(store.read(0), creep), store.schema)


def test_a_change_in_the_last_bit_is_seen_by_the_simulator_alone(store: Store, tmp_path: Path) -> None:
    forged = Store.create(tmp_path / "forged", store.schema)

    def nudge(columns: planted.Columns) -> None:
        columns["joint_angle"][70, 0] = np.nextafter(columns["joint_angle"][70, 0], 9)

    forged.append(planted.planted(store.read(0), nudge))
    assert check(forged, LIMITS).verdict == "pass"
    report = check(forged, LIMITS, replay=1, make=planted.make)
    assert [reason.measure for reason in report.episodes[0].reasons] == ["replay_match"]
    assert report.verdict == "fail" and "channel 'joint_angle'[0]" in str(report.episodes[0].reasons[0])


def test_what_needs_other_episodes(store: Store, tmp_path: Path) -> None:
    mixed = Store.create(tmp_path / "mixed", store.schema)
    for episode in store:
        mixed.append(episode)

    def shake(columns: planted.Columns) -> None:
        columns["joint_speed"] += np.random.default_rng(0).normal(0, 0.15, columns["joint_speed"].shape)

    def nearly(columns: planted.Columns) -> None:
        columns["joint_angle"][5:] += 1e-5

    mixed.append(store.read(3))  # 10: a copy
    mixed.append(planted.planted(store.read(4), nearly))  # 11: nearly one
    mixed.append(planted.planted(store.read(5), shake))  # 12
    raw = bytearray(mixed.file(2).read_bytes())
    raw[len(raw) // 2] ^= 1
    mixed.file(2).write_bytes(raw)
    label(Index.open(mixed), {0: {"success": True}, 1: {"success": False}}, "ann")
    label(Index.open(mixed), {1: {"success": True}}, "a net", "model")  # what a person said last is what counts
    found = check(mixed, LIMITS)
    reasons = {e.number: {r.measure for r in e.reasons} for e in found.episodes if e.reasons}
    assert reasons[2] == {"readable"} and reasons[1] == {"person_mismatch"} and 0 not in reasons
    assert reasons[10] == {"duplicate", "nearest_distance"} and reasons[11] == {"nearest_distance"}
    assert "jerk_rms" in reasons[12]
    assert [r.measure for r in found.reasons] == ["duplicate_share"]
    assert found.episodes[10].readings["duplicate"].note == "of episode 3"
    assert found.readings["distinct_start_share"].value == pytest.approx(10 / 12)


def test_a_dataset_recorded_from_one_start_is_noticed(store: Store, tmp_path: Path) -> None:
    same = Store.create(tmp_path / "same", store.schema)
    for factor in (1.0, 0.9, 0.8):

        def slower(columns: planted.Columns, factor: float = factor) -> None:
            columns["joint_torque"] *= factor
            columns["joint_torque"][0] = 0

        same.append(planted.planted(store.read(0), slower))
    found = check(same, LIMITS)
    assert "distinct_start_share" in {r.measure for r in found.reasons}


# ---- formulas against published and analytic values ------------------------------------------------------------------


def minimum_jerk(seconds: float, rate: float) -> np.ndarray:
    t = np.arange(round(seconds * rate) + 1) / rate / seconds
    return 30 * t**2 * (1 - t) ** 2 / seconds


def test_spectral_arc_length_of_a_gaussian_is_the_analytic_one() -> None:
    """The spectrum of exp(−t²/2σ²) is exp(−ω²σ²/2), cut where it is 0.05: with x = ω/ωc it is exp(−x² ln 20)."""
    c = math.log(20)
    exact = -quad(lambda x: math.hypot(1, 2 * c * x * math.exp(-c * x * x)), 0, 1)[0]
    for sigma in (0.1, 0.3):
        t = np.arange(-3, 3, 0.005)
        assert spectral_arc_length(np.exp(-((t / sigma) ** 2) / 2), 200) == pytest.approx(exact, abs=2e-3)


def test_spectral_arc_length_does_not_depend_on_size_duration_or_rest() -> None:
    """The properties for which the authors chose it; one smooth reach is known to come to about −1.4."""
    one = spectral_arc_length(minimum_jerk(1.0, 100), 100)
    assert one == pytest.approx(-1.41, abs=0.03)
    assert spectral_arc_length(7 * minimum_jerk(1.0, 100), 100) == pytest.approx(one)
    assert spectral_arc_length(minimum_jerk(3.0, 100), 100) == pytest.approx(one, abs=0.01)
    rest = np.zeros(80)
    assert spectral_arc_length(np.concatenate([rest, minimum_jerk(1.0, 100), rest]), 100) == pytest.approx(
        one, abs=0.01
    )
    # Two reaches with a rest between are less smooth than one, three less than two.
    movement = np.concatenate([minimum_jerk(1.0, 100), np.zeros(50)])
    two, three = (spectral_arc_length(np.tile(movement, n), 100) for n in (2, 3))
    assert three < two < one - 0.3


def test_dimensionless_jerk_of_the_smoothest_movement_is_the_analytic_one() -> None:
    """720 / 1.875² = 204.8 for the movement of least jerk, whatever its size and duration."""
    for seconds, size in ((1.0, 1.0), (4.0, 0.2)):
        value = log_dimensionless_jerk(size * minimum_jerk(seconds, 500), 500)
        assert value == pytest.approx(-math.log(204.8), abs=0.02)


def test_joints_are_grouped_by_name() -> None:
    names = [
        "left_hip_yaw_joint",
        "arm_right_3_joint",
        "left_hand_thumb_1_joint",
        "waist_yaw_joint",
        "wheel",
        "gripper_left",
    ]
    assert groups(names) == {
        "left leg": [0], "right arm": [1], "left hand": [2, 5], "trunk": [3], "joints": [4]
    }  # fmt: skip


def test_idle_rows_are_those_in_which_nothing_is_done_and_nothing_moves(store: Store) -> None:
    columns = {name: values.copy() for name, values in store.read(0).columns.items()}
    columns["joint_speed"][:20] = 0
    columns["action"][:20] = columns["action"][0]
    columns["action"][10] += 0.5  # done between rows 10 and 11, and undone after it
    idle = idle_rows(Episode(store.read(0).metadata, columns))
    assert idle is not None
    assert np.flatnonzero(idle[:20]).tolist() == [*range(9), *range(12, 19)]


# ---- limits, report, command -----------------------------------------------------------------------------------------


def test_limits_are_strict_and_name_what_is_near(tmp_path: Path) -> None:
    for text, message in (
        ("episode: {jiter: {warn_above: 1}}", "unknown measure 'jiter': did you mean 'jitter'?"),
        ("episode: {jitter: {warn_abov: 1}}", "did you mean 'warn_above'?"),
        ("episode: {jitter: {warn_above: 2, fail_above: 1}}", "warn_above = 2 must not be above fail_above = 1"),
        ("episode: {jitter: {}}", "says nothing"),
        ("dataset: {episodes: {outlier: 3}}", "nothing to be an outlier of"),
        ("episodes: {}", "did you mean 'episode'?"),
    ):
        path = tmp_path / "limits.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as problem:
            load_limits(path)
        assert message in str(problem.value), text
    with pytest.raises(ConfigError, match=r"did you mean 'default'"):
        load_limits("defalt")


def test_what_cannot_be_measured_is_said_and_not_judged(store: Store) -> None:
    without = store.schema.model_copy(update={"environment": {"joint_limits": {"lower": "x"}, "phases": 3}})
    readings = measure_episode(store.read(0), without)
    assert readings["joint_limit_excess"].value is None and "does not hold the robot's limits" in str(readings)
    assert readings["unknown_phases"].value is None
    assert judge(readings, {"joint_limit_excess": Limit(fail_above=-1)}) == ()


def test_the_command_says_why_and_exits_with_a_failure(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Store.create(tmp_path / "bad", store.schema)
    bad.append(store.read(0))
    bad.append(planted.planted(store.read(1), planted.degrees))
    page = tmp_path / "quality.md"
    assert main(["data", "check", str(bad.path), "--markdown", str(page)]) == 1
    said = capsys.readouterr().out
    assert "fail: episode 1: joint_limit_excess = " in said and "allowed at most 0.3 (" in said
    assert "warn: " not in said
    assert said.splitlines()[-1].endswith("fail by preset 'default' (2 episodes: 1 pass, 0 warn, 1 fail)")
    assert "| episode 1 | fail | velocity_mismatch |" in page.read_text()
    assert main(["data", "check", str(bad.path), "--episode", "0", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["verdict"] == "pass" and [e["number"] for e in data["episodes"]] == [0]
    assert all(measure["unit"] and measure["text"] and measure["blind"] for measure in data["measures"])
    assert main(["data", "check", str(bad.path), "--episode", "7"]) == 2
    assert "there is no episode 7" in capsys.readouterr().err


def test_text_from_a_file_cannot_break_the_page(store: Store, tmp_path: Path) -> None:
    bad = Store.create(tmp_path / "bad", store.schema)
    episode = store.read(0)
    columns = {**episode.columns, "phase": episode.columns["phase"].copy()}
    columns["phase"][5] = "a | b\n# c"
    bad.append(Episode(episode.metadata, columns))
    page = reports.markdown(check(bad, LIMITS))
    row = next(line for line in page.splitlines() if "unknown_phases" in line)
    assert row.count("|") == 7 and "a / b # c" in row


def test_an_empty_store_is_no_good_dataset(store: Store, tmp_path: Path) -> None:
    report = check(Store.create(tmp_path / "empty", store.schema), LIMITS)
    assert report.verdict == "fail" and [r.measure for r in report.reasons] == ["episodes"]
    with pytest.raises(DatasetError, match="there is no episode 3"):
        check(Store.open(tmp_path / "empty"), LIMITS, episodes=[3])


def test_no_value_that_a_file_may_hold_stops_the_gate(store: Store) -> None:
    """What a stranger writes is measured or not, and never an error or a warning."""
    generator = np.random.default_rng(0)
    strange = np.array([np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, 0.0, 1.0])
    environments = [
        {"joint_limits": {"lower": [10**400] * 3, "velocity": [0] * 3, "effort": [-1] * 3}, "phases": []},
        {"joint_limits": [1], "phases": ["stand", 3]},
        {"joint_limits": {"upper": [True] * 3}, "phases": {"stand": 1}, "options": 5},
    ]
    for trial in range(60):
        environment = environments[trial % 3]
        schema = store.schema.model_copy(update={"environment": environment, "control_rate": 10.0 ** (trial % 13 - 6)})

        def spoil(columns: planted.Columns, trial: int = trial) -> None:
            rows = (2, 3, 25, 151)[trial % 4]
            for name in columns:
                columns[name] = columns[name][:rows]
                if columns[name].dtype.kind == "f":
                    where = generator.random(columns[name].shape) < (0.02, 0.3, 1.0)[trial // 4 % 3]
                    with np.errstate(over="ignore"):
                        columns[name][where] = generator.choice(strange, where.sum()).astype(columns[name].dtype)

        episode = planted.planted(store.read(trial % 3), spoil)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            readings = measure_episode(episode, schema) | Collection(schema).add(episode)
        assert all(r.value is None or math.isfinite(r.value) for r in readings.values())


@pytest.mark.slow
def test_faults_in_a_recording_of_a_real_robot_are_seen(tmp_path: Path) -> None:
    """The G1 walks; what is planted is seen, and what else is seen belongs to the same family."""
    path = tmp_path / "walk"
    record = ["record", "Walk", "--robot", "g1", "--policy", "walk_g1", "--episodes", "1", "--out", str(path)]
    assert main([*record, "--set", "episode_length_s=4"]) == 0
    store = Store.open(path)
    assert check(store, LIMITS, replay=1).verdict == "pass"
    also = {"action_response", "state_jump"}
    for fault, expected in planted.FAULTS.items():
        if fault is planted.actions_backwards:
            continue  # a gait looks the same backwards
        found = seen(planted.planted(store.read(0), fault), store.schema)
        assert expected <= found and found - expected <= also, fault.__name__

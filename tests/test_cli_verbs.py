"""`tg envs`, `tg doctor` and `tg bench`: what they print, their exit status, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training_ground.cli import doctor, main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main.main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_envs_list_names_robots_and_stances(capsys):
    status, out, _ = run(capsys, "envs", "list", "--robot", "g1", "--robot", "g1_legs", "--json")
    found = {item["env_id"]: item["robots"] for item in json.loads(out)["envs"]}
    assert status == 0
    assert found["TrainingGround/Stand-v0"] == {"g1": ["free"], "g1_legs": ["free"]}
    assert set(found["TrainingGround/Reach-v0"]["g1"]) == {"free", "mounted"}


def test_envs_show_declares_every_channel(capsys):
    status, out, _ = run(capsys, "envs", "show", "stand", "--robot", "g1_legs", "--set", "push_speed=[0,0]", "--json")
    data = json.loads(out)
    assert status == 0 and data["env_id"] == "TrainingGround/Stand-v0" and data["options"]["push_speed"] == [0, 0]
    assert data["action_size"] == len(data["joint_names"]) == 12
    assert all(channel["unit"] and channel["frame"] and channel["description"] for channel in data["channels"])
    status, out, _ = run(capsys, "envs", "show", "stand", "--robot", "g1_legs")
    assert status == 0 and "projected_gravity" in out and "rad/s" in out


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["show", "Stnd"], "'Stand'"),
        (["shwo"], "'show'"),
        (["show", "stand", "--robot", "g1_leg"], "'g1_legs'"),
        (["show", "stand", "--control", "joint_torques"], "joint_torque"),
        (["show", "stand", "--stance", "mounted"], "free"),
        (["show", "stand", "--set", "push_sped=[0,1]"], "'push_speed'"),
        (["show", "stand", "--set", "push_speed"], "dotted.key=value"),
    ],
)
def test_envs_refuses_bad_input_in_one_line(arguments: list[str], nearest: str, capsys):
    status, out, err = run(capsys, "envs", *arguments)
    assert status == 2 and nearest in err and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1


def test_doctor_finds_this_installation_sound(capsys):
    status, out, _ = run(capsys, "doctor", "--json")
    data = json.loads(out)
    assert status == 0 and data["ok"]
    names = {check["name"] for check in data["checks"]}
    assert {
        "base packages",
        "extra train",
        "physics engine",
        "actuator",
        "catalogue",
        "cache",
        "disk",
        "video",
    } <= names


def test_doctor_reports_what_is_broken_and_goes_on(capsys, monkeypatch, tmp_path: Path):
    def engine() -> doctor.Check:
        raise ImportError("libsomething.so: not found")

    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TG_CACHE", str(blocked))
    monkeypatch.setattr(doctor, "CHECKS", (engine, doctor._cache, doctor._disk))
    status, out, _ = run(capsys, "doctor")
    assert status == 1
    assert "libsomething.so" in out and "set TG_CACHE" in out and "2 of 3 checks failed" in out


SCRIPTS = {
    "good": (
        "import json, sys\n"
        "print(json.dumps({'targets': [{'what': 'x', 'value': len(sys.argv), 'at_least': 1, 'met': True}]}))"
    ),
    "missed": 'print(\'{"targets": [{"what": "y", "value": 2.0, "at_most": 1, "unit": "ms", "met": false}]}\')',
    "crash": "raise ValueError('no engine')",
    "silent": "",
    "_helper": "raise SystemExit(9)",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def test_bench_gathers_json_and_fails_on_a_missed_target(folder: Path, capsys):
    out_file = folder / "deep" / "bench.json"
    status, out, _ = run(capsys, "bench", "--folder", str(folder), "--quick", "--json", "--out", str(out_file))
    data = json.loads(out)
    assert status == 1 and not data["all_met"]
    assert list(data["results"]) == ["crash", "good", "missed", "silent"]
    assert data["results"]["good"]["targets"][0]["value"] == 2  # --quick was passed on
    assert "no engine" in data["results"]["crash"]["error"]
    assert json.loads(out_file.read_text())["results"] == data["results"]


def test_bench_runs_what_is_named(folder: Path, capsys):
    status, out, _ = run(capsys, "bench", "good", "--folder", str(folder))
    assert status == 0 and "good" in out and "missed" not in out
    status, out, _ = run(capsys, "bench", "missed", "--folder", str(folder))
    assert status == 1 and "2 ms" in out and "≤ 1" in out


def test_bench_refuses_unknown_names_and_empty_folders(folder: Path, capsys, tmp_path_factory):
    status, _, err = run(capsys, "bench", "god", "--folder", str(folder))
    assert status == 2 and "did you mean 'good'" in err
    status, _, err = run(capsys, "bench", "--folder", str(tmp_path_factory.mktemp("empty")))
    assert status == 2 and "holds no benchmarks" in err

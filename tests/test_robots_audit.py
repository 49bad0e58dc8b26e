"""The audit: every shipped robot passes it, and each kind of mistake fails the right row with a name and a remedy."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from humanoid_urdf import humanoid_urdf, write_humanoid

from training_ground.assets.audit import AuditRow, theory_rows
from training_ground.assets.catalog import load_model, load_spec, robot_names
from training_ground.assets.compiler import compile_spec
from training_ground.assets.guessing import guess_spec
from training_ground.assets.model import CompiledModel
from training_ground.assets.spec import RobotSpec
from training_ground.cli.main import main
from training_ground.cli.robots import command

pytest.importorskip("pinocchio")

from training_ground.assets.reference import Reference
from training_ground.envs.audit import audit_robot, contact_rows, dynamics_rows


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> RobotSpec:
    """The specification of the humanoid of boxes."""
    folder = tmp_path_factory.mktemp("boxes")
    spec, _ = guess_spec(write_humanoid(folder), folder / "boxes.yaml")
    return _spec(spec, source={"path": str(folder / "box_humanoid.urdf")})


def _spec(boxes: RobotSpec, **changes: Any) -> RobotSpec:
    return RobotSpec.model_validate({**boxes.model_dump(), **changes})


def _rows(spec: RobotSpec, model: CompiledModel | None = None) -> dict[str, AuditRow]:
    model = model or compile_spec(spec)
    rows = theory_rows(spec, model, Reference(spec, armature=model.armature), np.random.default_rng(0))
    rows += list(contact_rows(model))
    return {row.check: row for row in rows if row.verdict == "fail"} | {
        f"{row.check} passes": row for row in rows if row.verdict != "fail"
    }


def _with_actuators(boxes: RobotSpec, joint: str, **changes: float) -> RobotSpec:
    """Give one joint's group of twins other numbers."""
    groups = [g.model_dump() | (changes if joint in g.match else {}) for g in boxes.actuators]
    return _spec(boxes, actuators=groups)


@pytest.mark.parametrize("name", robot_names())
def test_every_robot_passes(name: str) -> None:
    rows = audit_robot(name, configurations=3)
    assert [(row.check, row.value, row.detail) for row in rows if row.verdict == "fail"] == []
    checks = {row.check for row in rows}
    assert {"mass matrix", "mass matrix with armature", "gravity", "link positions", "acceleration in motion"} <= checks


@pytest.mark.parametrize("name", robot_names())
def test_every_robot_says_where_it_comes_from(name: str) -> None:
    spec = load_spec(name)
    assert spec.source.licence != "unknown"
    model = load_model(name)
    assert model.mirror is not None
    assert model.hands or model.feet


def test_the_humanoid_of_boxes_passes(boxes: RobotSpec) -> None:
    overlaps = {"links that overlap, not listed"}  # its boxes are not fitted, and its pairs are listed by `import`
    assert {check for check in _rows(boxes) if not check.endswith(" passes")} <= overlaps


def test_too_much_damping_names_the_joint_and_the_remedy(boxes: RobotSpec) -> None:
    group = next(g for g in boxes.actuators if "left_ankle" in g.match)
    failed = _rows(_with_actuators(boxes, "left_ankle", kd=20 * group.kd))
    row = failed["PD stability, one joint"]
    assert re.search(r"(left|right)_ankle: kd [\d.]+ exceeds [\d.]+ at 5 ms .*lower kd or raise armature", row.detail)
    assert row.value is not None and row.limit is not None and row.value > row.limit
    assert "PD stability, default pose" in failed


def test_too_much_stiffness_is_told_from_too_much_damping(boxes: RobotSpec) -> None:
    failed = _rows(_with_actuators(boxes, "left_ankle", kp=1e5))
    assert "lower kp" in failed["PD stability, one joint"].detail


def test_gains_of_one_side_only_are_asymmetric(boxes: RobotSpec) -> None:
    groups = []
    for group in boxes.actuators:
        if "left_elbow" in group.match:
            groups.append(group.model_dump() | {"match": ["left_elbow"], "kd": 0.5 * group.kd})
            groups.append(group.model_dump() | {"match": ["right_elbow"]})
        else:
            groups.append(group.model_dump())
    failed = _rows(_spec(boxes, actuators=groups))
    assert "kd of" in failed["left/right settings"].detail and "elbow" in failed["left/right settings"].detail
    informed = _rows(_spec(boxes, actuators=groups, symmetric=False))
    assert informed["left/right settings passes"].verdict == "info"


def test_another_mass_on_one_side_is_asymmetric(boxes: RobotSpec, tmp_path: Path) -> None:
    text = humanoid_urdf()
    at = text.index('<link name="left_shin">')
    path = tmp_path / "box_humanoid.urdf"
    path.write_text(text[:at] + text[at:].replace('<mass value="1.8"/>', '<mass value="2.8"/>', 1), encoding="utf-8")
    failed = _rows(_spec(boxes, source={"path": str(path)}))
    assert "inertia or frame differs" in failed["left/right dynamics"].detail


def test_a_pose_that_falls_is_seen(boxes: RobotSpec) -> None:
    leaning = {
        **boxes.default_pose,
        "left_hip_pitch": -1.2,
        "right_hip_pitch": -1.2,
        "left_ankle": 0.8,
        "right_ankle": 0.8,
    }
    failed = _rows(_spec(boxes, default_pose=leaning))
    assert "mm before the soles' middle" in failed["centre of mass over the soles, at least"].detail


def test_one_bent_leg_lifts_a_sole(boxes: RobotSpec) -> None:
    bent = {**boxes.default_pose, "left_hip_pitch": -0.8, "left_knee": 1.6, "left_ankle": -0.8}
    failed = _rows(_spec(boxes, default_pose=bent))
    assert failed["soles off the ground"].detail.startswith("left_foot")
    assert "soles on one level" in failed


def test_motors_too_weak_to_stand_are_named(boxes: RobotSpec) -> None:
    failed = _rows(_with_actuators(boxes, "left_knee", effort=0.5))
    assert "knee" in failed["torque to stand"].detail


def test_links_that_overlap_at_rest_must_be_listed(boxes: RobotSpec) -> None:
    pose = {**boxes.default_pose, "left_shoulder_roll": -0.5}
    failed = _rows(_spec(boxes, default_pose=pose, disabled_collisions=[]))
    assert "disabled_collisions" in failed["links that overlap, not listed"].detail


def test_a_wrong_inertia_in_the_engine_is_caught(boxes: RobotSpec, tmp_path: Path) -> None:
    """The comparison sees the simulated body, not what the compiler believes."""
    model = compile_spec(boxes)
    text = model.urdf.read_text(encoding="utf-8")
    at = text.index('<link name="left_shin">')
    changed = re.sub(r'mass value="[\d.e-]+"', 'mass value="1.801"', text[at:], count=1)
    wrong = Path(shutil.copytree(model.directory, tmp_path / "model")) / model.urdf.name
    wrong.write_text(text[:at] + changed, encoding="utf-8")
    reference = Reference(boxes, armature=model.armature)
    random = np.random.default_rng(0)
    good = dynamics_rows(model, reference, "", 2, random)
    assert {row.verdict for row in good} == {"pass"}
    bad = {row.check: row for row in dynamics_rows(dataclasses.replace(model, urdf=wrong), reference, "", 2, random)}
    for check in ("mass matrix", "gravity", "acceleration in motion"):
        assert bad[check].verdict == "fail", check
    assert bad["link positions"].verdict == "pass"


def test_a_missing_inertia_and_a_wrong_limit_are_named(tmp_path: Path) -> None:
    text = humanoid_urdf()
    path = tmp_path / "box_humanoid.urdf"
    spec, _ = guess_spec(write_humanoid(tmp_path), tmp_path / "boxes.yaml")
    start = text.index("<inertial>", text.index('<link name="left_forearm">'))
    path.write_text(text[:start] + text[text.index("</inertial>", start) + 11 :], encoding="utf-8")
    (tmp_path / "boxes.yaml").write_text(json.dumps(spec.model_dump(mode="json")), encoding="utf-8")
    (row,) = audit_robot(tmp_path / "boxes.yaml", configurations=1)
    assert row.verdict == "fail" and "left_elbow" in row.detail and "add one, or lock the joint" in row.detail
    write_humanoid(tmp_path)
    wrong = spec.model_dump(mode="json") | {"position_limits": {"left_knee": [0.5, 2.0]}}
    (tmp_path / "boxes.yaml").write_text(json.dumps(wrong), encoding="utf-8")
    (row,) = audit_robot(tmp_path / "boxes.yaml", configurations=1)
    assert row.verdict == "fail" and "left_knee = 0.4 rad is outside" in row.detail


def test_the_verbs_print_json() -> None:
    listed = json.loads(CliRunner().invoke(command, ["list", "--json"]).stdout)
    assert {"g1", "talos"} <= {robot["name"] for robot in listed["robots"]}
    shown = json.loads(CliRunner().invoke(command, ["show", "simple_humanoid", "--json"]).stdout)
    assert shown["mass_kg"] == pytest.approx(130.8) and len(shown["joints"]) == 29
    run = CliRunner().invoke(command, ["audit", "simple_humanoid", "--configurations", "1", "--json"])
    result = json.loads(run.stdout)
    assert run.exit_code == 0 and result["ok"] and result["rows"][0]["verdict"] == "pass"


def test_the_tables_are_for_people() -> None:
    run = CliRunner().invoke(command, ["audit", "simple_humanoid", "--configurations", "1"])
    assert "mass matrix" in run.output and "0 failed" in run.output
    assert "LLEG_KNEE" in CliRunner().invoke(command, ["show", "simple_humanoid"]).output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["audit", "g2"], "did you mean 'g1'"),
        (["audit"], "name a robot, or give --all"),
        (["show", "taloz"], "did you mean 'talos'"),
        (["lisst"], "did you mean 'list'"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], part: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", *arguments]) == 2
    error = capfd.readouterr().err
    assert part in error and "Traceback" not in error


def test_without_pinocchio_the_pip_line_is_given(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    assert main(["robots", "audit", "g1"]) == 2
    assert "pip install 'training-ground[audit]'" in capfd.readouterr().err

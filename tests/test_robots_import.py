"""`tg robots import`: what is guessed from a user's URDF, that it loads and passes the audit, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from humanoid_urdf import humanoid_urdf, write_humanoid

from training_ground.assets.catalog import load_model, load_spec
from training_ground.assets.guessing import Guess, guess_spec
from training_ground.assets.importing import default_output, import_robot
from training_ground.assets.spec import RobotSpec
from training_ground.cli.main import main
from training_ground.cli.robots import command
from training_ground.configs.errors import AssetError


def _guessed(folder: Path, *changes: tuple[str, str]) -> tuple[RobotSpec, dict[str, Guess]]:
    spec, guesses = guess_spec(write_humanoid(folder, *changes), folder / "mine.yaml")
    return spec, {guess.field: guess for guess in guesses}


def test_the_parts_of_a_humanoid_are_found(tmp_path: Path) -> None:
    spec, guesses = _guessed(tmp_path)
    assert (spec.name, spec.base, spec.torso, spec.imu) == ("mine", "pelvis", "chest", "imu")
    assert [(foot.link, foot.side) for foot in spec.feet] == [("left_foot", "left"), ("right_foot", "right")]
    assert [(hand.link, hand.side) for hand in spec.hands] == [("left_forearm", "left"), ("right_forearm", "right")]
    assert spec.hands[0].fingers == ("left_finger_1_joint", "left_finger_2_joint")
    assert spec.mirror_pattern == ("left", "right") and spec.symmetric
    assert spec.joints[:8] == (
        *(f"left_{name}" for name in ("hip_roll", "hip_pitch", "knee", "ankle")),
        *(f"right_{name}" for name in ("hip_roll", "hip_pitch", "knee", "ankle")),
    )
    assert spec.joints[8] == "waist_yaw" and spec.joints[-4:] == (*spec.hands[0].fingers, *spec.hands[1].fingers)
    assert guesses["kp"].confidence == "unsure" and guesses["base"].confidence == "sure"
    assert all(guess.reason for guess in guesses.values())


def test_knees_are_bent_soles_flat_and_twins_alike(tmp_path: Path) -> None:
    spec, _ = _guessed(tmp_path)
    pose = spec.default_pose
    assert pose["left_knee"] == pytest.approx(0.4)
    assert pose["left_hip_pitch"] + pose["left_knee"] + pose["left_ankle"] == pytest.approx(0, abs=1e-3)
    assert all(pose[f"right_{joint}"] == pose[f"left_{joint}"] for joint in ("knee", "hip_pitch", "ankle"))
    assert any(set(group.match) == {"left_knee", "right_knee"} for group in spec.actuators)


def test_knees_that_bend_the_other_way_are_bent_that_way(tmp_path: Path) -> None:
    axis = '<axis xyz="0 1 0"/><limit '
    spec, guesses = _guessed(tmp_path, (axis + 'lower="0" upper="2.4"', axis + 'lower="-2.4" upper="0"'))
    assert spec.default_pose["left_knee"] == pytest.approx(-0.4)
    assert "look along -x" in guesses["default_pose"].reason


def test_what_is_imported_loads_and_passes_the_audit(tmp_path: Path) -> None:
    pytest.importorskip("pinocchio")
    from training_ground.envs.audit import audit_robot

    model, _ = import_robot(write_humanoid(tmp_path), tmp_path / "mine.yaml")
    assert load_spec(tmp_path / "mine.yaml").name == "mine"
    assert load_model(tmp_path / "mine.yaml").hash == model.hash
    failed = [row for row in audit_robot(tmp_path / "mine.yaml", configurations=3) if row.verdict == "fail"]
    assert not failed


def test_a_massless_link_locks_its_joint_and_says_so(tmp_path: Path) -> None:
    text = humanoid_urdf()
    start = text.index("<inertial>", text.index('<link name="head">'))
    end = text.index("</inertial>", start) + len("</inertial>")
    path = tmp_path / "box_humanoid.urdf"
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    spec, guesses = guess_spec(path, tmp_path / "mine.yaml")
    assert spec.locked == {"neck_pitch": 0.0}
    locked = next(guess for guess in guesses if guess.field == "locked")
    assert "neck_pitch" in locked.value and "<inertial>" in locked.reason and locked.confidence == "unsure"


def test_insane_limits_come_from_the_twin_or_from_gravity(tmp_path: Path) -> None:
    text = humanoid_urdf()
    at = text.index('name="left_elbow"')
    broken = text[:at] + text[at:].replace('effort="20"', 'effort="5000"', 1)
    path = tmp_path / "box_humanoid.urdf"
    path.write_text(broken, encoding="utf-8")
    spec, guesses = guess_spec(path, tmp_path / "mine.yaml")
    group = next(group for group in spec.actuators if "left_elbow" in group.match)
    assert group.effort == pytest.approx(20)
    assert any(guess.field == "effort" and "twin right_elbow" in guess.reason for guess in guesses)


def test_a_torso_without_legs_is_mounted(tmp_path: Path) -> None:
    spec, guesses = _guessed(tmp_path, ('<origin xyz="0 0.1 -0.1"/>', '<origin xyz="0 0.1 1.9"/>'))
    assert spec.feet == () and spec.stances == ("mounted",)
    assert guesses["feet"].value == "none"


def test_the_file_named_is_not_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "mine.yaml"
    output.write_text("precious", encoding="utf-8")
    with pytest.raises(AssetError, match="exists"):
        import_robot(write_humanoid(tmp_path), output)
    assert output.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("My Robot-2.urdf", "my_robot_2.yaml"), ("3dof.urdf", "robot_3dof.yaml"), ("g1.urdf", "g1.yaml")],
)
def test_the_default_output_is_a_robot_name(name: str, expected: str) -> None:
    assert default_output(Path(name)) == Path(expected)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("<robot", "malformed XML"),
        ("<html/>", "<robot>"),
        ('<robot name="r"><link name="a"/></robot>', "nothing to actuate"),
    ],
)
def test_a_bad_urdf_is_one_line_and_exit_status_2(
    text: str, part: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.urdf"
    path.write_text(text, encoding="utf-8")
    assert main(["robots", "import", str(path), "-o", str(tmp_path / "bad.yaml")]) == 2
    error = capfd.readouterr().err.strip()
    assert part in error and "\n" not in error and "Traceback" not in error
    assert not (tmp_path / "bad.yaml").exists()


def test_import_prints_every_guess_as_json(tmp_path: Path) -> None:
    urdf = write_humanoid(tmp_path)
    run = CliRunner().invoke(command, ["import", str(urdf), "-o", str(tmp_path / "mine.yaml"), "--json"])
    assert run.exit_code == 0, run.output
    result = json.loads(run.stdout)
    assert result["name"] == "mine" and len(result["joints"]) == 20
    assert {"field", "value", "reason", "confidence"} == set(result["guesses"][0])
    assert (tmp_path / "mine.yaml").is_file()

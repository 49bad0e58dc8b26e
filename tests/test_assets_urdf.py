"""The URDF reader: what it reads, and that every malformed file is refused with a message that names the trouble."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import small_robot

from training_ground.assets.sources import Files, find_files
from training_ground.assets.spec import Source
from training_ground.assets.urdf import read_urdf
from training_ground.configs.errors import AssetError


def test_reads_links_joints_axes_and_colours(tmp_path: Path) -> None:
    urdf = read_urdf(small_robot.write_urdf(tmp_path))
    assert urdf.root == "body"
    assert urdf.links["sensor"].inertia.mass == 0.0
    assert urdf.links["body"].visuals[0].colour == (1.0, 0.0, 0.0, 1.0)
    hip = urdf.joints["left_hip"]
    np.testing.assert_array_equal(hip.axis, [1.0, 0.0, 0.0])
    assert (hip.lower, hip.upper, hip.effort, hip.velocity) == (-1.0, 1.5, 50.0, 10.0)
    assert [joint.name for joint in urdf.joints.values() if not joint.moves] == ["sensor_mount"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</robot>", "", "malformed XML"),
        ('<robot name="small">', '<!DOCTYPE r [<!ENTITY a "b">]><robot name="small">', "DOCTYPE"),
        ('<robot name="small">', '<sdf name="small">', "malformed XML"),
        ('<mass value="4"/>', '<mass value="-1"/>', "link 'body'.*must not be negative"),
        ('<mass value="4"/>', '<mass value="nan"/>', "needs 1 finite number"),
        ('<mass value="4"/>', "", "needs <mass> and <inertia>"),
        ('izz="0.02"', 'izz="four"', "link 'body'.*finite number"),
        ('iyy="0.04"', 'iyy="-0.04"', "negative principal moment"),
        ('size="0.2 0.3 0.4"', 'size="0.2 0.3"', "needs 3 finite numbers"),
        ('size="0.2 0.3 0.4"', 'size="0.2 0.3 0"', "must be positive"),
        ('<box size="0.2 0.3 0.4"/>', '<bx size="0.2 0.3 0.4"/>', "unknown shape 'bx': did you mean 'box'"),
        ('name="left_hip" type="revolute"', 'name="left_hip" type="revolut"', "'left_hip'.*did you mean 'revolute'"),
        ('<child link="left_leg"/>', '<child link="left_lag"/>', "joint 'left_hip' <child>.*did you mean 'left_leg'"),
        ('<child link="left_leg"/>', "", "needs <child"),
        ('<child link="left_leg"/>', '<child link="right_leg"/>', "already the child of"),
        ('<parent link="body"/><child link="left_leg"/>', '<parent link="left_foot"/><child link="left_leg"/>', "cyc"),
        ('<link name="sensor"/>', '<link name="sensor"/><link name="lost"/>', "2 roots: body, lost"),
        ('<link name="sensor"/>', '<link name="sensor"/><link name="sensor"/>', "link 'sensor': stands twice"),
        ('name="right_hip"', 'name="left_hip"', "joint 'left_hip': stands twice"),
        ('lower="-1" upper="1.5"', 'lower="2" upper="1.5"', "lower 2.0 is above upper 1.5"),
        ('<axis xyz="2 0 0"/>', '<axis xyz="0 0 0"/>', "<axis> is zero"),
        ('<limit lower="-1" upper="1.5" effort="50" velocity="10"/>', "", "needs <limit>"),
    ],
)  # fmt: skip
def test_refuses(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = small_robot.write_urdf(tmp_path, (old, new))
    with pytest.raises(AssetError, match=message) as caught:
        read_urdf(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"<robot",
        b"<html/>",
        b"<robot/>",
        '<!DOCTYPE r [<!ENTITY a "b">]><robot/>'.encode("utf-16"),
    ],
)
def test_refuses_what_is_no_urdf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.urdf"
    path.write_bytes(content)
    with pytest.raises(AssetError):
        read_urdf(path)


def test_sources_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="exactly one of"):
        find_files(Source())
    with pytest.raises(AssetError, match="exactly one of"):
        find_files(Source(package="example-robot-data", path="x.urdf"))
    with pytest.raises(AssetError, match="pip install no-such-package"):
        find_files(Source(package="no-such-package", urdf="x.urdf"))
    with pytest.raises(AssetError, match=r"did you mean 'g1_description/urdf/g1_29dof_rev_1_0\.urdf'"):
        find_files(Source(package="example-robot-data", urdf="g1_description/urdf/g1_29dof.urdf"))
    with pytest.raises(AssetError, match="no file"):
        find_files(Source(path="missing.urdf"), tmp_path)


def test_mesh_names_are_resolved(tmp_path: Path) -> None:
    mesh = tmp_path / "my_robot" / "meshes" / "a.stl"
    mesh.parent.mkdir(parents=True)
    mesh.touch()
    urdf = tmp_path / "my_robot" / "urdf" / "my.urdf"
    files = Files(urdf, tuple(urdf.parents))
    for name in (
        "package://my_robot/meshes/a.stl",
        "package:///my_robot/meshes/a.stl",
        "../meshes/a.stl",
        str(mesh),
        f"file://{mesh}",
    ):
        urdf.parent.mkdir(exist_ok=True)
        assert files.mesh(name).samefile(mesh)
    with pytest.raises(AssetError, match=r"b\.stl.*looked for"):
        files.mesh("package://my_robot/meshes/b.stl")


def test_robot_descriptions_are_imported_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetError, match="pip install robot_descriptions"):
        monkeypatch.setitem(sys.modules, "robot_descriptions", None)
        find_files(Source(robot_description="small_description"))
    package = types.ModuleType("robot_descriptions")
    table = types.ModuleType("robot_descriptions._descriptions")
    table.DESCRIPTIONS = {  # type: ignore[attr-defined]
        name: types.SimpleNamespace(has_urdf=True) for name in ("small_description", "offline_description")
    }
    small = types.ModuleType("robot_descriptions.small_description")
    small.__dict__.update(
        URDF_PATH=str(small_robot.write_urdf(tmp_path)), PACKAGE_PATH=str(tmp_path), REPOSITORY_PATH=str(tmp_path)
    )
    for module in (package, table, small):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    assert find_files(Source(robot_description="small_description")).urdf == tmp_path / "small.urdf"
    with pytest.raises(AssetError, match="did you mean 'small_description'"):
        find_files(Source(robot_description="smal_description"))
    with pytest.raises(AssetError, match="'offline_description' could not be fetched"):
        find_files(Source(robot_description="offline_description"))

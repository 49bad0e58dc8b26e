"""The compiler: merging, actuators, symmetry, soles, and what it refuses."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import small_robot

from training_ground.assets.building import build_model
from training_ground.assets.catalog import load_model, load_spec, robot_names
from training_ground.assets.compiler import compile_spec
from training_ground.assets.dynamics import gravity_force, mass_matrix
from training_ground.assets.model import CompiledModel
from training_ground.assets.sources import find_files
from training_ground.assets.tree import build_tree
from training_ground.assets.urdf import read_urdf
from training_ground.configs.errors import AssetError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TG_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def g1() -> CompiledModel:
    return load_model("g1")


def small(tmp_path: Path, *changes: tuple[str, str], **fields: object) -> CompiledModel:
    return compile_spec(small_robot.spec(small_robot.write_urdf(tmp_path, *changes), **fields))


def test_everything_fixed_is_merged_and_kept_as_a_frame(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert model.link_names == ("body", "left_leg", "right_leg", "left_foot", "right_foot")
    sensor = model.frames["sensor"]
    assert sensor.link == "body"
    np.testing.assert_allclose(sensor.position, [0.1, 0, 0.2])
    np.testing.assert_allclose(sensor.orientation, [0, np.sin(0.25), 0, np.cos(0.25)])
    assert model.mass == pytest.approx(7.0)


def test_locking_a_joint_keeps_mass_and_centre(tmp_path: Path) -> None:
    urdf = small_robot.write_urdf(tmp_path)
    free, angle = small_robot.spec(urdf), 0.4
    locked = small_robot.spec(urdf, joints=("left_hip", "right_hip", "left_ankle"), locked={"right_ankle": angle})
    source = read_urdf(urdf)
    trees = [build_tree(source, spec, dict.fromkeys(spec.joints, 0.0)) for spec in (free, locked)]
    q = np.array([0.2, -0.3, 0.1, angle])
    whole, reduced = mass_matrix(trees[0], q), mass_matrix(trees[1], q[:3])
    np.testing.assert_allclose(reduced, whole[:9, :9], atol=1e-12)
    np.testing.assert_allclose(gravity_force(trees[1], q[:3]), gravity_force(trees[0], q)[:9], atol=1e-12)


def test_armature_adds_itself_to_the_joints_own_inertia(tmp_path: Path) -> None:
    urdf = small_robot.write_urdf(tmp_path)
    spec = small_robot.spec(urdf)
    with_rotor, bare = (
        build_tree(read_urdf(urdf), spec, dict.fromkeys(spec.joints, armature)) for armature in (0.01, 0.0)
    )
    q = np.array([0.2, -0.3, 0.1, 0.5])
    added = np.diag(mass_matrix(with_rotor, q) - mass_matrix(bare, q))[6:]
    # The hips carry the ankles' rotors too, but about another axis.
    np.testing.assert_allclose(added, 0.01, atol=1e-12)


def test_effort_mass_and_gains_reach_the_model(tmp_path: Path) -> None:
    model = small(tmp_path, actuators=[
        {"match": ["*_hip"], "kp": 80, "kd": 2, "effort": 33}, {"match": ["*_ankle"], "kp": 20, "kd": 1, "velocity": 4},
    ])  # fmt: skip
    np.testing.assert_array_equal(model.effort_limit, [33, 33, 20, 20])
    np.testing.assert_array_equal(model.velocity_limit, [10, 10, 4, 4])
    np.testing.assert_array_equal(model.kp, [80, 80, 20, 20])
    assert np.all(model.effective_inertia > 0)


def test_mirror_comes_from_geometry(tmp_path: Path) -> None:
    mirror = small(tmp_path).mirror
    assert mirror is not None
    np.testing.assert_array_equal(mirror.permutation, [1, 0, 3, 2])
    # Hips turn about x: mirrored with the sign changed. The right ankle's axis is turned over: changed as well.
    np.testing.assert_array_equal(mirror.sign, [-1, -1, -1, -1])
    model = small(tmp_path, ('<axis xyz="0 -1 0"/>', '<axis xyz="0 0.7 0.7"/>'))
    assert model.mirror is None
    assert any("no mirror: joint 'left_ankle'" in note for note in model.notes)


def test_soles_stand_on_the_ground(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert model.default_height == pytest.approx(0.25 + 0.4 + 0.04)
    np.testing.assert_allclose(model.feet[0].sole[:, 2], -0.04, atol=1e-12)
    np.testing.assert_allclose(np.ptp(model.feet[0].sole, axis=0), [0.2, 0.1, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"joints": ("left_hip", "right_hip", "left_ankle", "right_ancle")}, "did you mean 'right_ankle'"),
        ({"joints": ("left_hip", "right_hip", "left_ankle")}, "right_ankle of the URDF move.*under joints or locked"),
        ({"joints": ("left_hip", "left_hip", "right_hip", "left_ankle", "right_ankle")}, "stands twice"),
        ({"locked": {"left_hip": 0.0}}, "'left_hip' is in joints as well"),
        ({"base": "bodi"}, "base: unknown link 'bodi': did you mean 'body'"),
        ({"base": "left_leg"}, "hangs on a moving joint"),
        ({"torso": "chest"}, "torso: unknown link"),
        ({"default_pose": {"left_hop": 0.1}}, "default_pose: unknown joint 'left_hop': did you mean 'left_hip'"),
        ({"default_pose": {"*_hip": 1.4}}, "right_hip = 1.4 rad is outside of its limits"),
        ({"feet": [{"link": "left_fot", "side": "left"}]}, "feet: unknown link 'left_fot': did you mean 'left_foot'"),
        ({"feet": [{"link": "sensor", "side": "left"}], "colliders": [{"match": ["*"], "shape": "none"}]}, "no coll"),
        ({"hands": [{"link": "paw", "side": "left"}]}, "hands: unknown link"),
        ({"actuators": [{"match": ["*_hip"], "kp": 1, "kd": 1}]}, "'left_ankle' must match exactly one group"),
        ({"actuators": [{"match": ["*"], "kp": 1, "kd": 1}, {"match": ["*_hip"], "kp": 1, "kd": 1}]}, "exactly one"),
        ({"actuators": [{"match": ["*", "*_knee"], "kp": 1, "kd": 1}]}, r"'\*_knee' matches no joint"),
        ({"disabled_collisions": [("left_leg", "right_log")]}, "disabled_collisions: unknown link 'right_log'"),
    ],
)  # fmt: skip
def test_refuses(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(AssetError, match=message):
        small(tmp_path, **fields)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<mass value="0.5"/>', '<mass value="0"/>', "joint 'left_ankle' moves link 'left_foot'.*has no mass"),
        ('effort="20"', "", "joint 'left_ankle' has no effort limit.*set effort"),
        ('name="left_hip" type="revolute"', 'name="left_hip" type="planar"', "'left_hip' is planar"),
        ('<box size="0.2 0.1 0.04"/>', '<mesh filename="package://nowhere/a.stl"/>', "nowhere/a.stl' not found"),
    ],
)  # fmt: skip
def test_refuses_urdf(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(AssetError, match=message):
        small(tmp_path, (old, new))


def test_refuses_a_broken_mesh(tmp_path: Path) -> None:
    (tmp_path / "foot.stl").write_bytes(b"solid nothing")
    with pytest.raises(AssetError, match=r"foot\.stl: (no readable mesh|the mesh is empty)"):
        small(tmp_path, ('<box size="0.2 0.1 0.04"/>', '<mesh filename="foot.stl"/>'))


def test_hash_follows_physics_and_not_prose(tmp_path: Path) -> None:
    base = small(tmp_path)
    assert small(tmp_path, title="Another").hash == base.hash
    assert small(tmp_path, title="Another").title == "Another"
    assert small(tmp_path, default_pose={"left_hip": 0.1}).hash != base.hash
    assert small(tmp_path, ('<mass value="4"/>', '<mass value="4.1"/>')).hash != base.hash


def test_overlap_at_rest_is_reported_and_switched_off(tmp_path: Path) -> None:
    model = small(tmp_path, ('xyz="0 -0.1 -0.25"', 'xyz="0 0.05 -0.25"'))
    assert ("left_leg", "right_leg") in model.disabled_collisions
    assert any("overlap at rest: left_leg and right_leg" in note for note in model.notes)
    assert not any("left_leg and right_leg" in note for note in small(tmp_path).notes)


def test_compiled_urdf_says_what_the_model_says(tmp_path: Path) -> None:
    model = small(tmp_path)
    root = ET.parse(model.urdf).getroot()
    assert [joint.get("name") for joint in root.findall("joint")] == list(model.joint_names)
    assert not root.findall(".//dynamics")
    again = read_urdf(model.urdf)
    total = sum(link.inertia.mass for link in again.links.values())
    assert total == pytest.approx(model.mass, rel=1e-15)
    assert read_urdf(model.visual_urdf).links["body"].visuals[0].colour == (1.0, 0.0, 0.0, 1.0)


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = small_robot.spec(
        small_robot.write_urdf(tmp_path),
        colliders=[{"match": ["*_leg"], "shape": "capsule"}, {"match": ["*"], "shape": "hull"}],
    )
    contents = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        build_model(spec, find_files(spec.source), True, "key", folder)
        contents.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert contents[0] == contents[1]


def test_g1_is_the_g1(g1: CompiledModel) -> None:
    assert len(g1.joint_names) == 29
    assert g1.mass == pytest.approx(33.341, abs=1e-3)
    assert 0.74 < g1.default_height < 0.80
    mirror = g1.mirror
    assert mirror is not None
    np.testing.assert_array_equal(mirror.permutation[mirror.permutation], np.arange(29))
    np.testing.assert_array_equal(mirror.sign * mirror.sign[mirror.permutation], np.ones(29))
    np.testing.assert_allclose(mirror.sign * g1.default_position[mirror.permutation], g1.default_position)
    assert [foot.sole.shape for foot in g1.feet] == [(4, 3), (4, 3)]


def test_g1_agrees_with_pinocchio() -> None:
    pin = pytest.importorskip("pinocchio")
    spec = load_spec("g1_legs")
    source = find_files(spec.source).urdf
    full = pin.buildModelFromUrdf(str(source), pin.JointModelFreeFlyer())
    q = pin.neutral(full)
    for name, angle in spec.locked.items():
        q[full.idx_qs[full.getJointId(name)]] = angle
    model = pin.buildReducedModel(full, [full.getJointId(name) for name in spec.locked], q)
    model.gravity.linear = np.array([0.0, 0.0, -9.81])
    tree = build_tree(read_urdf(source), spec, dict.fromkeys(spec.joints, 0.0))
    random, data = np.random.default_rng(3), model.createData()
    dofs = [model.idx_vs[model.getJointId(name)] for name in spec.joints]
    order = [3, 4, 5, 0, 1, 2, *dofs]
    for _ in range(20):
        angles = random.uniform(-1, 1, len(spec.joints))
        q = pin.neutral(model)
        for name, angle in zip(spec.joints, angles, strict=True):
            q[model.idx_qs[model.getJointId(name)]] = angle
        theirs = pin.crba(model, data, q)
        theirs = np.triu(theirs) + np.triu(theirs, 1).T
        ours = mass_matrix(tree, angles)
        assert np.abs(ours - theirs[np.ix_(order, order)]).max() <= 1e-12 * np.abs(theirs).max()
        weight = pin.computeGeneralizedGravity(model, data, q)[order]
        np.testing.assert_allclose(gravity_force(tree, angles), weight, atol=1e-10 * np.abs(weight).max())


def test_catalog_offers_the_nearest_name() -> None:
    assert {"g1", "g1_legs", "talos"} <= set(robot_names())
    with pytest.raises(AssetError, match="unknown robot 'g2': did you mean 'g1'"):
        load_spec("g2")
    with pytest.raises(AssetError, match="cannot be read"):
        load_spec("/no/such/robot.yaml")

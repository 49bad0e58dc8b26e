"""End effectors of our own: what they become, what they may not be, and that a gripper grips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from training_ground.agents.viewing.figure import Figure
from training_ground.assets.attaching import assembled
from training_ground.assets.catalog import load_model, load_spec
from training_ground.assets.compiler import _physical, compile_spec
from training_ground.assets.kinematics import Chain
from training_ground.assets.library import load_part, part_names
from training_ground.assets.objects import simple
from training_ground.assets.poses import rotation_vector
from training_ground.assets.sources import find_files
from training_ground.assets.spec import RobotSpec
from training_ground.assets.urdf import read_urdf
from training_ground.configs.errors import AssetError
from training_ground.envs import rotations
from training_ground.envs.world import Thing, World

WIDTH, MASS = 0.04, 0.5
FINGERS = ("left_gripper_finger_a", "left_gripper_finger_b")
LINK = "left_wrist_yaw_link"


def changed(**changes: Any) -> RobotSpec:
    return RobotSpec.model_validate({**load_spec("g1_grippers").model_dump(), **changes})


def attachment(**changes: Any) -> list[dict[str, Any]]:
    """The robot's two attachments, the left one changed."""
    left, right = (held.model_dump() for held in load_spec("g1_grippers").attached)
    return [{**left, **changes}, right]


def own_part(folder: Path, **joint: Any) -> str:
    """Write the gripper under another name, finger a's joint changed; return its path."""
    data = load_part("parallel_gripper").model_dump(mode="json", exclude_unset=True)
    data["name"] = "own_gripper"
    data["pieces"][1]["joint"].update(joint)
    path = folder / "own_gripper.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(path)


# ---- what it becomes -------------------------------------------------------------------------------------------------


def test_parts_are_found_by_name():
    assert "parallel_gripper" in part_names()
    assert all(load_part(name).name == name for name in part_names())
    with pytest.raises(AssetError, match="unknown part 'parallel_griper': did you mean 'parallel_gripper'"):
        load_part("parallel_griper")


def test_pieces_become_links_and_joints_of_the_robot():
    model, bare = load_model("g1_grippers"), load_model("g1")
    assert model.joint_names[:29] == bare.joint_names
    assert model.sliding == model.joint_names[29:] and bare.sliding == ()
    fingers = slice(29, None)
    assert model.lower[fingers].tolist() == [0.0] * 4 and model.upper[fingers].tolist() == [0.04] * 4
    assert model.mass == pytest.approx(bare.mass - 2 * 0.17 + 2 * 0.73)
    assert "left_rubber_hand" not in model.frames and model.frames["left_gripper_palm"].link == LINK
    groups = model.groups["arms"]
    assert set(FINGERS) < set(groups) and len(groups) == 18


def test_the_right_gripper_is_the_left_ones_mirror_image():
    model = load_model("g1_grippers")
    mirror = model.mirror
    assert mirror is not None
    q = np.random.default_rng(0).uniform(model.lower, model.upper)
    across = mirror.sign * q[mirror.permutation]
    assert (across[29:] == [q[31], q[32], q[29], q[30]]).all()
    for name in ("finger_a", "finger_b", "grasp"):
        left, right = (Chain(model, f"{side}_gripper_{name}") for side in ("left", "right"))
        position = left.pose(q[left.indices]).position
        reflected = right.pose(across[right.indices]).position
        assert reflected == pytest.approx(position * [1, -1, 1], abs=1e-3)  # the URDF's own arms are not better


def test_the_jacobian_of_a_slide_is_its_axis():
    model = load_model("g1_grippers")
    chain = Chain(model, FINGERS[0])
    q = np.random.default_rng(1).uniform(chain.lower, chain.upper)
    here, jacobian = chain.jacobian(q)
    for i in range(len(q)):
        step = np.zeros(len(q))
        step[i] = 1e-6
        there, back = chain.pose(q + step), chain.pose(q - step)
        assert (there.position - back.position) / 2e-6 == pytest.approx(jacobian[:3, i], abs=1e-6)
        turned = rotation_vector(there.rotation @ back.rotation.T) / 2e-6
        assert turned == pytest.approx(jacobian[3:, i], abs=1e-6)
    assert chain.joint_names[-1] == FINGERS[0] and not jacobian[3:, -1].any()
    assert here.position == pytest.approx(chain.pose(q).position)


def test_viewers_put_the_fingers_where_they_are():
    figure = Figure.load("g1_grippers")
    model = figure.model
    q = np.random.default_rng(2).uniform(model.lower, model.upper)
    poses = figure.poses((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), q.tolist())
    for part, (position, _) in zip(figure.parts, poses, strict=True):
        if part.slides:
            chain = Chain(model, part.name)
            assert position == pytest.approx(chain.pose(q[chain.indices]).position, abs=1e-9)
    assert sum(part.slides for part in figure.parts) == 4


@pytest.mark.slow
def test_fingers_can_be_locked():
    model = load_model("g1_grippers")
    shut = load_model("g1_grippers", moving=[name for name in model.joint_names if name not in model.sliding])
    assert shut.joint_names == model.joint_names[:29] and shut.sliding == ()
    assert shut.mass == pytest.approx(model.mass)
    assert shut.frames[FINGERS[0]].link == LINK


def test_the_hash_knows_the_part_by_its_content(tmp_path):
    """And is as before where nothing is attached: trained policies refer to it."""
    assert not {"attached", "removed"} & set(_physical(load_spec("g1")))
    (tmp_path / "other").mkdir()
    first, other = (changed(attached=attachment(object=own_part(folder))) for folder in (tmp_path, tmp_path / "other"))
    assert first != other and _physical(first) == _physical(other)
    own_part(tmp_path / "other", upper=0.041)
    assert _physical(first) != _physical(other)


def test_a_path_is_relative_to_the_specification(tmp_path):
    own_part(tmp_path)
    data = changed(name="mine", attached=attachment(object="./own_gripper.yaml")).model_dump(mode="json")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    assert load_spec(tmp_path / "mine.yaml").attached[0].object == str(tmp_path / "own_gripper.yaml")


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attached": attachment(object="parallel_griper")}, "'left_gripper': unknown part.*mean 'parallel_gripper'"),
        ({"attached": attachment(link="left_wrist_yaw")}, "'left_gripper': unknown link.*mean 'left_wrist_yaw_link'"),
        ({"attached": attachment(name="right_gripper")}, "the name 'right_gripper_palm' is taken"),
        ({"removed": ["left_rubber_hnd"]}, "removed: unknown link.*mean 'left_rubber_hand'"),
        ({"removed": ["pelvis"]}, "removed: 'pelvis' is the root"),
        ({"removed": ["left_wrist_yaw_link"]}, "'left_gripper': unknown link 'left_wrist_yaw_link'"),
    ],
)
def test_wrong_attachments_are_clear_errors(changes, message):
    with pytest.raises(AssetError, match=message):
        compile_spec(changed(**changes))


@pytest.mark.parametrize("field", ["spring", "damping", "friction"])
def test_a_robots_joint_has_no_mechanism(field, tmp_path):
    spec = changed(attached=attachment(object=own_part(tmp_path, **{field: 5.0})))
    with pytest.raises(AssetError, match=rf"'left_gripper_finger_a' has {field} = 5\.0; .* leave {field} out"):
        assembled(read_urdf(find_files(spec.source).urdf), spec)


def test_a_slide_has_no_armature():
    groups = [group.model_dump() for group in load_spec("g1_grippers").actuators]
    groups[-1]["armature"] = 0.5
    with pytest.raises(AssetError, match=r"'left_gripper_finger_a' slides and has armature = 0\.5; only 0"):
        compile_spec(changed(actuators=groups))


# ---- that it grips ---------------------------------------------------------------------------------------------------


class Scene:
    """The G1 on a stand, its left forearm level, a box on a bench between its pads."""

    def __init__(self) -> None:
        self.model = model = load_model("g1_grippers")
        self.world = World(timestep=0.002, solver_iterations=50)
        self.body = self.world.load(model, fixed=True)
        self.drive = self.body.drive((LINK,))
        self.body.set_base((0.0, 0.0, 0.9), (0.0, 0.0, 0.0, 1.0))
        self.target = model.default_position.copy()
        self.fingers = [model.joint_names.index(name) for name in FINGERS]
        self.elbow = model.joint_names.index("left_elbow_joint")
        level = [model.joint_names.index(f"left_{name}_joint") for name in ("shoulder_pitch", "shoulder_roll", "elbow")]
        self.target[level], self.target[self.fingers] = 0.0, 0.04
        self.body.set_joints(self.target.tolist())
        self.drive.reset()
        self.advance(0.4)
        x, y, z = self.hand[0]
        bench = simple("bench", "box", (0.1, 0.3, 0.1), 10.0)
        self.world.add(bench, (x, y, z - 0.5 * WIDTH - 0.05), fixed=True)
        self.box: Thing = self.world.add(simple("box", "box", (WIDTH,) * 3, MASS), (x, y, z))

    def advance(self, seconds: float) -> None:
        self.drive.advance(self.target, round(seconds / self.world.timestep))

    @property
    def hand(self) -> tuple[Any, Any]:
        """Position and orientation of the hand's point in the world."""
        frame, link = self.model.frames["left_hand_point"], self.body.link_state(LINK)
        position = np.add(link.position, rotations.rotate(link.orientation, frame.position.tolist()))
        return position, rotations.multiply(link.orientation, frame.orientation.tolist())

    @property
    def place(self) -> Any:
        """The box seen from the hand, m."""
        position, orientation = self.hand
        return np.array(rotations.rotate_inverse(orientation, np.subtract(self.box.state.position, position).tolist()))

    def close(self) -> None:
        self.target[self.fingers] = 0.0
        self.advance(1.0)

    def lift(self) -> None:
        """12 cm, by the elbow, within 1.2 s."""
        for share in np.linspace(0.0, 1.0, 40):
            self.target[self.elbow] = -0.5 * share
            self.advance(0.02)
        self.advance(0.4)


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.world.close()


def test_a_finger_moves_at_its_speed(scene: Scene):
    finger = scene.fingers[0]
    scene.target[scene.fingers] = 0.03
    seen = []
    for _ in range(20):
        scene.advance(0.01)
        seen.append(float(scene.drive.position[finger]))
    speeds = -np.diff(seen) / 0.01
    assert speeds[5:15] == pytest.approx(0.05, rel=0.2)  # the speed of the Franka Hand, once it is under way
    assert seen[-1] == pytest.approx(0.03, abs=2e-4)


def test_a_gripper_closes_with_the_commanded_force(scene: Scene):
    scene.close()
    commanded = scene.model.kp[scene.fingers] * scene.drive.position[scene.fingers]
    assert commanded == pytest.approx(0.5 * WIDTH * 1750, rel=0.05)
    assert scene.drive.torque[scene.fingers] == pytest.approx(-commanded, rel=0.02)
    for finger, force in zip(FINGERS, commanded, strict=True):
        felt = sum(c.normal_force for c in scene.body.contacts() if scene.body.link_names[c.link] == finger)
        assert felt == pytest.approx(force, rel=0.05)


def test_a_box_is_lifted_and_held_by_friction(scene: Scene):
    scene.close()
    height = scene.box.state.position[2]
    scene.lift()
    assert scene.box.state.position[2] > height + 0.1
    touched = {c.other for c in scene.box.contacts()}
    assert touched == {scene.model.name}
    before = scene.place
    slips = []
    for _ in range(50):
        scene.advance(0.02)
        slips.append(scene.place - before)
    assert np.abs(slips).max() < 0.003


@pytest.mark.parametrize("axis", [0, 1], ids=["along the pads", "from pad to pad"])
def test_a_shaken_box_is_held(scene: Scene, axis: int):
    """As hard as if the robot were accelerated by 6 m/s², a quarter of a second to each side."""
    scene.close()
    scene.lift()
    before = scene.place
    slips = []
    for step in range(500):
        force = [0.0, 0.0, 0.0]
        force[axis] = 6.0 * MASS * (1 if step // 125 % 2 == 0 else -1)
        scene.box.apply_force("box", force, scene.box.state.position)
        scene.drive.advance(scene.target, 1)
        slips.append(scene.place - before)
    assert np.abs(slips).max() < 0.003

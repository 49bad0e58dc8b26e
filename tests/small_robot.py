"""A robot of three links in few lines, for tests that write URDFs and specifications of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training_ground.assets.spec import RobotSpec

URDF = """<robot name="small">
  <material name="red"><color rgba="1 0 0 1"/></material>
  <link name="body">
    <inertial><origin xyz="0.01 0 0.1" rpy="0.1 0.2 0.3"/><mass value="4"/>
      <inertia ixx="0.03" ixy="0.001" ixz="0" iyy="0.04" iyz="0" izz="0.02"/></inertial>
    <visual><geometry><box size="0.2 0.3 0.4"/></geometry><material name="red"/></visual>
    <collision><geometry><box size="0.2 0.3 0.4"/></geometry></collision>
  </link>
  <link name="left_leg">
    <inertial><origin xyz="0 0 -0.2"/><mass value="1"/>
      <inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.002"/></inertial>
    <collision><origin xyz="0 0 -0.2"/><geometry><cylinder radius="0.03" length="0.3"/></geometry></collision>
  </link>
  <link name="right_leg">
    <inertial><origin xyz="0 0 -0.2"/><mass value="1"/>
      <inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.002"/></inertial>
    <collision><origin xyz="0 0 -0.2"/><geometry><cylinder radius="0.03" length="0.3"/></geometry></collision>
  </link>
  <link name="left_foot">
    <inertial><mass value="0.5"/><inertia ixx="0.001" ixy="0" ixz="0" iyy="0.002" iyz="0" izz="0.002"/></inertial>
    <collision><origin xyz="0.03 0 -0.02"/><geometry><box size="0.2 0.1 0.04"/></geometry></collision>
  </link>
  <link name="right_foot">
    <inertial><mass value="0.5"/><inertia ixx="0.001" ixy="0" ixz="0" iyy="0.002" iyz="0" izz="0.002"/></inertial>
    <collision><origin xyz="0.03 0 -0.02"/><geometry><box size="0.2 0.1 0.04"/></geometry></collision>
  </link>
  <link name="sensor"/>
  <joint name="sensor_mount" type="fixed">
    <origin xyz="0.1 0 0.2" rpy="0 0.5 0"/><parent link="body"/><child link="sensor"/>
  </joint>
  <joint name="left_hip" type="revolute">
    <origin xyz="0 0.1 -0.25"/><parent link="body"/><child link="left_leg"/><axis xyz="2 0 0"/>
    <limit lower="-1" upper="1.5" effort="50" velocity="10"/>
  </joint>
  <joint name="right_hip" type="revolute">
    <origin xyz="0 -0.1 -0.25"/><parent link="body"/><child link="right_leg"/><axis xyz="1 0 0"/>
    <limit lower="-1.5" upper="1" effort="50" velocity="10"/>
  </joint>
  <joint name="left_ankle" type="revolute">
    <origin xyz="0 0 -0.4"/><parent link="left_leg"/><child link="left_foot"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="1" effort="20" velocity="10"/>
  </joint>
  <joint name="right_ankle" type="revolute">
    <origin xyz="0 0 -0.4"/><parent link="right_leg"/><child link="right_foot"/><axis xyz="0 -1 0"/>
    <limit lower="-1" upper="1" effort="20" velocity="10"/>
  </joint>
</robot>
"""


def write_urdf(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the robot's URDF with texts replaced; a text that is not in it fails the test that asks for it."""
    text = URDF
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "small.urdf"
    path.write_text(text, encoding="utf-8")
    return path


def spec(urdf: Path, **changes: Any) -> RobotSpec:
    """Return the robot's specification with fields replaced."""
    fields: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "description": "A test's robot.",
        "source": {"path": str(urdf)},
        "base": "body",
        "torso": "body",
        "imu": "sensor",
        "joints": ("left_hip", "right_hip", "left_ankle", "right_ankle"),
        "actuators": [{"match": ["*"], "kp": 50, "kd": 1, "armature": 0.01}],
        "feet": [{"link": "left_foot", "side": "left"}, {"link": "right_foot", "side": "right"}],
        "colliders": [{"match": ["*"], "shape": "keep"}],
        **changes,
    }
    return RobotSpec.model_validate(fields)

"""A humanoid of boxes and capsules with legs, trunk, arms and a two-finger hand, as a URDF that a user might bring."""

from __future__ import annotations

from pathlib import Path

_LIMIT = '<limit lower="{0}" upper="{1}" effort="{2}" velocity="10"/>'


def _link(name: str, mass: float, size: tuple[float, float, float], z: float) -> str:
    x, y, height = size
    moments = [mass / 12 * (a * a + b * b) for a, b in ((y, height), (x, height), (x, y))]
    shape = f'<origin xyz="0 0 {z}"/><geometry><box size="{x} {y} {height}"/></geometry>'
    return (
        f'<link name="{name}"><inertial><origin xyz="0 0 {z}"/><mass value="{mass}"/>'
        f'<inertia ixx="{moments[0]}" ixy="0" ixz="0" iyy="{moments[1]}" iyz="0" izz="{moments[2]}"/></inertial>'
        f"<visual>{shape}</visual><collision>{shape}</collision></link>"
    )


def _joint(name: str, parent: str, child: str, xyz: str, axis: str, low: float, high: float, effort: float) -> str:
    return (
        f'<joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/><origin xyz="{xyz}"/>'
        f'<axis xyz="{axis}"/>{_LIMIT.format(low, high, effort)}</joint>'
    )


def _leg(side: str, y: float) -> list[str]:
    s = f"{side}_"
    return [
        _link(s + "hip", 1.0, (0.08, 0.08, 0.08), 0.0),
        _joint(s + "hip_roll", "pelvis", s + "hip", f"0 {y} -0.1", "1 0 0", -0.5, 0.5, 80),
        _link(s + "thigh", 2.5, (0.08, 0.08, 0.24), -0.17),
        _joint(s + "hip_pitch", s + "hip", s + "thigh", "0 0 0", "0 1 0", -2, 1, 80),
        _link(s + "shin", 1.8, (0.07, 0.07, 0.22), -0.16),
        _joint(s + "knee", s + "thigh", s + "shin", "0 0 -0.33", "0 1 0", 0, 2.4, 90),
        _link(s + "foot", 0.8, (0.2, 0.09, 0.03), -0.06),
        _joint(s + "ankle", s + "shin", s + "foot", "0 0 -0.32", "0 1 0", -1, 1, 50),
    ]


def _arm(side: str, y: float) -> list[str]:
    s, out = f"{side}_", 1 if y > 0 else -1
    return [
        _link(s + "shoulder", 0.8, (0.07, 0.07, 0.07), 0.0),
        _joint(s + "shoulder_pitch", "chest", s + "shoulder", f"0 {y} 0.3", "0 1 0", -3, 3, 25),
        _link(s + "upper_arm", 1.0, (0.06, 0.06, 0.18), -0.12),
        _joint(s + "shoulder_roll", s + "shoulder", s + "upper_arm", f"0 {0.02 * out} 0", "1 0 0", -1.5, 1.5, 25),
        _link(s + "forearm", 0.9, (0.05, 0.05, 0.18), -0.12),
        _joint(s + "elbow", s + "upper_arm", s + "forearm", "0 0 -0.25", "0 1 0", -2.2, 0, 20),
    ]


def _fingers(side: str) -> list[str]:
    s = f"{side}_"
    return [
        part
        for number, x in ((1, 0.03), (2, -0.03))
        for part in (
            _link(f"{s}finger_{number}", 0.05, (0.015, 0.02, 0.06), -0.03),
            _joint(
                f"{s}finger_{number}_joint", s + "forearm", f"{s}finger_{number}", f"{x} 0 -0.22", "0 1 0", -1, 1, 1
            ),
        )
    ]


def humanoid_urdf(*changes: tuple[str, str]) -> str:
    """Return the URDF with texts replaced; a text that is not in it fails the test that asks for it."""
    parts = [
        '<robot name="Box Humanoid">',
        _link("pelvis", 5.0, (0.16, 0.22, 0.12), 0.0),
        _link("chest", 8.0, (0.16, 0.24, 0.34), 0.2),
        _joint("waist_yaw", "pelvis", "chest", "0 0 0.08", "0 0 1", -1.5, 1.5, 60),
        _link("head", 1.5, (0.14, 0.14, 0.16), 0.1),
        _joint("neck_pitch", "chest", "head", "0 0 0.4", "0 1 0", -0.7, 0.7, 8),
        '<link name="imu"/><joint name="imu_mount" type="fixed"><parent link="pelvis"/><child link="imu"/></joint>',
        *_leg("left", 0.1),
        *_leg("right", -0.1),
        *_arm("left", 0.18),
        *_arm("right", -0.18),
        *_fingers("left"),
        *_fingers("right"),
        "</robot>",
    ]
    text = "\n".join(parts)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def write_humanoid(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the URDF into a folder and return its path."""
    path = folder / "box_humanoid.urdf"
    path.write_text(humanoid_urdf(*changes), encoding="utf-8")
    return path

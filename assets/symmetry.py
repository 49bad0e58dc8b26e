"""Left/right symmetry of the joints, from names for who is whose twin and from geometry for the signs."""

from __future__ import annotations

import numpy as np

from training_ground.assets.model import Mirror
from training_ground.assets.spec import RobotSpec
from training_ground.assets.tree import Tree
from training_ground.configs.errors import AssetError, unknown

AXIS_TOLERANCE = 0.02
"""By how much 1 minus the cosine between an axis and its mirrored twin may differ; published models are a degree
off."""

_REFLECT = np.diag([1.0, -1.0, 1.0])


def twin(name: str, pattern: tuple[str, str], names: tuple[str, ...]) -> str:
    """Return the joint on the other side, or the name itself where there is none: `left_knee` gives `right_knee`."""
    for this, other in (pattern, pattern[::-1]):
        start = name.find(this)
        while start >= 0:
            candidate = name[:start] + other + name[start + len(this) :]
            if candidate in names:
                return candidate
            start = name.find(this, start + 1)
    return name


def find_mirror(tree: Tree, spec: RobotSpec) -> tuple[Mirror | None, str]:
    """Derive the map of joint angles under reflection in the base's x-z plane.

    A rotation about axis a, reflected, is one about -R a (R reflects y), so the sign is that of the twin's axis against
    -R a, with every joint at zero; a slide along a, reflected, is one along R a.

    Args:
        tree: The robot.
        spec: Its `joints`, `mirror_pattern` and `mirror_pairs` are read.

    Returns:
        The map, and an empty text; or None and the reason, where a joint has no twin and is not in the middle itself,
        or a twin's axis is not the mirrored one.

    Raises:
        AssetError: `mirror_pairs` names an unknown joint.
    """
    joint_names = spec.joints
    for name in (*spec.mirror_pairs, *spec.mirror_pairs.values()):
        if name not in joint_names:
            raise AssetError(f"mirror_pairs: {unknown('joint', name, joint_names)}")
    pairs = {**spec.mirror_pairs, **{right: left for left, right in spec.mirror_pairs.items()}}
    twins = [pairs.get(name) or twin(name, spec.mirror_pattern, joint_names) for name in joint_names]
    permutation = np.array([joint_names.index(name) for name in twins], dtype=np.int64)
    poses = tree.poses(np.zeros(len(joint_names)))
    axes, reflected = [], []
    for index in range(len(joint_names)):
        joint = tree.bodies[index + 1].joint
        assert joint is not None
        axes.append(poses[index + 1].rotation @ joint.axis)
        reflected.append((_REFLECT if joint.type == "prismatic" else -_REFLECT) @ axes[index])
    sign = np.empty(len(joint_names))
    for index, other in enumerate(permutation):
        cosine = float(axes[other] @ reflected[index])
        if 1.0 - abs(cosine) > AXIS_TOLERANCE:
            what = "has no twin and lies" if other == index else f"and its twin '{joint_names[other]}' lie"
            return None, f"joint '{joint_names[index]}' {what} off the mirror plane at joint angles zero"
        # mirrored q[index] = sign[index] * q[permutation[index]]
        sign[index] = 1.0 if cosine > 0 else -1.0
    if not np.array_equal(permutation[permutation], np.arange(len(permutation))):
        return None, "the names give no pairs"
    return Mirror(permutation, sign), ""

"""Merge a URDF into the tree that is simulated: one body a moving joint, everything fixed or locked joined to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from training_ground.assets.inertia import Inertia
from training_ground.assets.poses import Array, Pose, rotation_about
from training_ground.assets.spec import RobotSpec
from training_ground.assets.urdf import Joint, Link, Urdf
from training_ground.configs.errors import AssetError, unknown


@dataclass(frozen=True, eq=False)
class Body:
    """A link of the compiled model.

    Attributes:
        name: The URDF link whose frame it keeps.
        parent: Index of the parent body, -1 for the base.
        joint: The URDF joint that moves it, None for the base and for what is fixed to its parent.
        pose: Its frame in the parent body's at joint angle zero.
        inertia: Of everything merged into it, in its frame, armature included.
        members: The URDF links merged into it, each with its pose in the body's frame.
    """

    name: str
    parent: int
    joint: Joint | None
    pose: Pose
    inertia: Inertia
    members: tuple[tuple[Link, Pose], ...]


@dataclass(frozen=True, eq=False)
class Tree:
    """The bodies, the base first and then each joint's child in the order of the specification's joints."""

    bodies: tuple[Body, ...]

    def poses(self, position: Array) -> list[Pose]:
        """Return every body's pose in the base frame at joint positions (n,), rad or m."""
        result: dict[int, Pose] = {0: Pose()}

        def pose(index: int) -> Pose:
            if index not in result:
                body = self.bodies[index]
                moved = Pose() if body.joint is None else _moved(body.joint, float(position[index - 1]))
                result[index] = pose(body.parent) @ body.pose @ moved
            return result[index]

        return [pose(i) for i in range(len(self.bodies))]

    def ancestors(self) -> list[list[int]]:
        """Return for every body the bodies on the way to the base, itself included and the base left out."""
        result = []
        for index in range(len(self.bodies)):
            chain = []
            while index > 0:
                chain.append(index)
                index = self.bodies[index].parent
            result.append(chain)
        return result


def by_pattern(values: Mapping[str, float], names: Sequence[str], field: str) -> dict[str, float]:
    """Spread values given by name or by shell-style pattern over names; an exact name goes before patterns, the last
    pattern wins.

    Raises:
        AssetError: A key that matches no name.
    """
    result: dict[str, float] = {}
    for key, value in values.items():
        matched = [name for name in names if fnmatchcase(name, key)]
        if not matched:
            raise AssetError(f"{field}: {unknown('joint', key, names)}")
        result.update({name: value for name in matched if name == key or name not in values})
    return result


def build_tree(urdf: Urdf, spec: RobotSpec, armature: Mapping[str, float]) -> Tree:
    """Merge fixed and locked joints and put the bodies into the specification's order.

    Args:
        urdf: The source.
        spec: Its `base`, `joints` and `locked` are read.
        armature: kg·m² by joint.

    Raises:
        AssetError: The base moves against the root, or a moving body has no mass. Names are checked by `check_names`.
    """
    locked = by_pattern(spec.locked, [j.name for j in urdf.joints.values() if j.moves], "locked")
    children: dict[str, list[Joint]] = {}
    for joint in urdf.joints.values():
        children.setdefault(joint.parent, []).append(joint)

    base_members = _members(urdf, urdf.root, children, spec, locked)
    in_base = {link.name: pose for link, pose in base_members}
    if spec.base not in in_base:
        raise AssetError(
            f"base: '{spec.base}' hangs on a moving joint; allowed are the root '{urdf.root}' and what is fixed to it: "
            + ", ".join(sorted(in_base))
        )
    shift = in_base[spec.base].inverse()
    bodies = [_body(spec.base, -1, None, Pose(), tuple((link, shift @ pose) for link, pose in base_members), 0.0)]
    holder = {link.name: (0, pose) for link, pose in bodies[0].members}
    groups = {name: _members(urdf, urdf.joints[name].child, children, spec, locked) for name in spec.joints}
    for index, name in enumerate(spec.joints):
        holder.update({link.name: (index + 1, pose) for link, pose in groups[name]})
    for name in spec.joints:
        joint = urdf.joints[name]
        parent, pose = holder[joint.parent]
        bodies.append(_body(joint.child, parent, joint, pose @ joint.pose, tuple(groups[name]), armature[name]))
    return Tree(tuple(bodies))


def check_names(urdf: Urdf, spec: RobotSpec) -> None:
    """Check the specification's links and joints against the URDF.

    Raises:
        AssetError: An unknown link or joint (the nearest is offered), a joint that stands twice or is locked and
            actuated, that cannot be actuated, or that moves and is neither actuated nor locked.
    """
    moving = [j.name for j in urdf.joints.values() if j.moves]
    for field, link in (("base", spec.base), ("torso", spec.torso), ("imu", spec.imu or spec.base)):
        if link not in urdf.links:
            raise AssetError(f"{field}: {unknown('link', link, urdf.links)}")
    for name in spec.joints:
        if name not in moving:
            raise AssetError(f"joints: {unknown('joint', name, moving)}")
        if urdf.joints[name].type not in ("revolute", "continuous", "prismatic"):
            raise AssetError(
                f"joints: '{name}' is {urdf.joints[name].type}; revolute, continuous and prismatic joints are "
                "actuated, lock it"
            )
    if len(set(spec.joints)) != len(spec.joints):
        repeated = next(name for name in spec.joints if spec.joints.count(name) > 1)
        raise AssetError(f"joints: '{repeated}' stands twice")
    locked = by_pattern(spec.locked, moving, "locked")
    both = [name for name in spec.joints if name in locked]
    if both:
        raise AssetError(f"locked: '{both[0]}' is in joints as well; keep it in one of the two")
    # A floating joint at the root is how some URDFs write a free base; it then is no joint of ours.
    root_floats = {j.name for j in urdf.joints.values() if j.type == "floating" and j.parent == urdf.root}
    loose = [name for name in moving if name not in spec.joints and name not in locked and name not in root_floats]
    if loose:
        raise AssetError(
            f"joints: {', '.join(loose)} of the URDF move but are not named; list them under joints or locked"
        )


def _members(
    urdf: Urdf, top: str, children: dict[str, list[Joint]], spec: RobotSpec, locked: Mapping[str, float]
) -> list[tuple[Link, Pose]]:
    """Return `top` and every link that does not move against it, with poses in the frame of `top`."""
    found = [(urdf.links[top], Pose())]
    for link, pose in found:
        for joint in children.get(link.name, ()):
            if joint.name not in spec.joints:
                found.append((urdf.links[joint.child], pose @ joint.pose @ _moved(joint, locked.get(joint.name, 0.0))))
    return found


def _moved(joint: Joint, value: float) -> Pose:
    """Return where a joint at `value`, rad or m, puts the child against its place at zero."""
    if joint.type in ("revolute", "continuous"):
        return Pose(rotation_about(joint.axis, value))
    if joint.type == "prismatic":
        return Pose(position=joint.axis * value)
    if value != 0.0:
        raise AssetError(f"locked: '{joint.name}' is {joint.type} and can only be locked at 0, not {value}")
    return Pose()


def _body(
    name: str, parent: int, joint: Joint | None, pose: Pose, members: tuple[tuple[Link, Pose], ...], armature: float
) -> Body:
    inertia = Inertia()
    for link, placed in members:
        inertia = inertia + link.inertia.moved(placed)
    if inertia.mass <= 0.0 or not math.isfinite(inertia.mass):
        where = f"link '{name}'" if joint is None else f"joint '{joint.name}' moves link '{name}', which"
        raise AssetError(f"{where} has no mass, its URDF links have no <inertial>: add one, or lock the joint")
    if joint is not None:
        inertia = inertia.with_armature(joint.axis, armature)
    if np.linalg.eigvalsh(inertia.matrix)[0] <= 0.0:
        raise AssetError(f"link '{name}' has mass but no rotational inertia about some axis: correct its <inertia>")
    return Body(name, parent, joint, pose, inertia, members)

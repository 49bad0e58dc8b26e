"""What theory says of a robot: Pinocchio on the source URDF, with none of the compiler's steps in between.

The generalised velocity is (base linear 3, base angular 3, joints n): the base link's velocity at its origin along
its axes, in m/s and rad/s, then the joints in the specification's order, in rad/s. Forces and mass matrices have
that order.
"""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from training_ground.assets.library import load_part
from training_ground.assets.poses import Array
from training_ground.assets.sources import find_files
from training_ground.assets.spec import Attachment, RobotSpec
from training_ground.assets.tree import by_pattern
from training_ground.configs.errors import AssetError, unknown

GRAVITY = 9.81


def pinocchio() -> Any:
    """Return the `pinocchio` module.

    Raises:
        AssetError: It is not installed; the message has the pip line.
    """
    try:
        return importlib.import_module("pinocchio")
    except ImportError as problem:
        raise AssetError("the audit compares with Pinocchio: pip install 'training-ground[audit]'") from problem


class Reference:
    """Pinocchio's model of a robot, its locked joints reduced away.

    Args:
        spec: Read: `source`, `removed`, `attached`, `base`, `joints`, `locked`, `inertias`.
        armature: (n,) kg·m² added to each child link's inertia about the joint axis, as the compiler does; none where
            absent.
        rotor: (n,) kg·m² added to the mass matrix's diagonal: an ideal rotor, which spins with its joint only.
        folder: What a relative `source.path` starts from.

    Attributes:
        mass: kg.
    """

    def __init__(
        self, spec: RobotSpec, *, armature: Array | None = None, rotor: Array | None = None, folder: Path | None = None
    ) -> None:
        self.pin = pinocchio()
        full = self.pin.buildModelFromXML(_source(spec, folder), self.pin.JointModelFreeFlyer())
        names = list(full.names)[2:]
        locked = by_pattern(spec.locked, names, "locked")
        at = self.pin.neutral(full)
        for name, angle in locked.items():
            self._put(full, at, name, angle)
        self.model = self.pin.buildReducedModel(full, [full.getJointId(name) for name in locked], at)
        self.joint_names = spec.joints
        self._ids = [self.model.getJointId(name) for name in spec.joints]
        if armature is not None:
            self._add_armature(armature)
        # Our velocity, from Pinocchio's: the base may be a link that is fixed to the URDF's root.
        velocity = [self.model.idx_vs[i] for i in self._ids]
        to_base = self.frame(spec.base).placement
        self._to_base = to_base
        self._spread = np.zeros((self.model.nv, 6 + len(velocity)))
        self._spread[:6, :6] = to_base.action
        self._spread[velocity, 6 + np.arange(len(velocity))] = 1.0
        if rotor is not None:
            values = np.zeros(self.model.nv)
            values[velocity] = rotor
            self.model.armature = values
        self.model.gravity.linear = np.array([0.0, 0.0, -GRAVITY])
        self.data = self.model.createData()
        self.mass = float(self.pin.computeTotalMass(self.model))

    def _put(self, model: Any, q: Array, name: str, angle: float) -> None:
        index = model.getJointId(name)
        start = model.idx_qs[index]
        # A continuous joint is a point on the unit circle.
        values = [angle] if model.nqs[index] == 1 else [np.cos(angle), np.sin(angle)]
        q[start : start + len(values)] = values

    def _add_armature(self, armature: Array) -> None:
        for index, value in zip(self._ids, armature, strict=True):
            joint = self.model.joints[index]
            data = joint.createData()
            joint.calc(data, self.pin.neutral(self.model)[joint.idx_q : joint.idx_q + joint.nq])
            axis = np.ravel(data.S)[3:]
            old = self.model.inertias[index]
            if value > 0:
                turned = old.inertia + value * np.outer(axis, axis)
                self.model.inertias[index] = self.pin.Inertia(old.mass, old.lever, turned)

    def frame(self, name: str) -> Any:
        """Return Pinocchio's frame of a URDF link.

        Raises:
            AssetError: There is no such link.
        """
        if not self.model.existFrame(name):
            raise AssetError(unknown("link", name, [frame.name for frame in self.model.frames]))
        return self.model.frames[self.model.getFrameId(name)]

    def configuration(self, position: Array, base: tuple[Array, Array] | None = None) -> Array:
        """Return Pinocchio's configuration.

        Args:
            position: (n,) joint angles, rad.
            base: Position (3,) in m and rotation (3, 3) of the base link in the world; the origin where absent.
        """
        q = self.pin.neutral(self.model)
        placement = self.pin.SE3.Identity() if base is None else self.pin.SE3(np.array(base[1]), np.array(base[0]))
        q[:7] = self.pin.SE3ToXYZQUAT(placement * self._to_base.inverse())
        for name, angle in zip(self.joint_names, position, strict=True):
            self._put(self.model, q, name, float(angle))
        return q

    def mass_matrix(self, position: Array) -> Array:
        """Return the (6 + n, 6 + n) mass matrix at joint angles (n,)."""
        upper = np.triu(self.pin.crba(self.model, self.data, self.configuration(position)))
        return self._spread.T @ (upper + np.triu(upper, 1).T) @ self._spread

    def gravity_force(self, position: Array, rotation: Array) -> Array:
        """Return the (6 + n,) generalised force that holds the robot still, base link turned by `rotation` (3, 3)."""
        q = self.configuration(position, (np.zeros(3), rotation))
        return self._spread.T @ self.pin.computeGeneralizedGravity(self.model, self.data, q)

    def acceleration(self, position: Array, rotation: Array, velocity: Array, force: Array) -> Array:
        """Return the derivative (6 + n,) of the generalised velocity (6 + n,) under generalised forces (6 + n,)."""
        q = self.configuration(position, (np.zeros(3), rotation))
        inverse = np.linalg.pinv(self._spread)
        solved = self.pin.aba(self.model, self.data, q, self._spread @ velocity, inverse.T @ force)
        return inverse @ solved

    def frames(self, position: Array, base: tuple[Array, Array]) -> dict[str, tuple[Array, Array]]:
        """Return position (3,) m and rotation (3, 3) in the world of every URDF link."""
        self.pin.framesForwardKinematics(self.model, self.data, self.configuration(position, base))
        return {
            frame.name: (placed.translation.copy(), placed.rotation.copy())
            for frame, placed in zip(self.model.frames, self.data.oMf, strict=True)
            if frame.type == self.pin.FrameType.BODY
        }

    def centre_of_mass(self, position: Array) -> Array:
        """Return the centre of mass (3,) in the base link's frame, m."""
        return np.array(self.pin.centerOfMass(self.model, self.data, self.configuration(position)))

    def point_jacobian(self, position: Array, link: str, point: Array) -> Array:
        """Return the (3, 6 + n) Jacobian, along the base link's axes, of a point (3,) fixed in a link's frame, m."""
        q = self.configuration(position)
        self.pin.computeJointJacobians(self.model, self.data, q)
        self.pin.updateFramePlacements(self.model, self.data)
        index = self.model.getFrameId(link)
        whole = self.pin.getFrameJacobian(self.model, self.data, index, self.pin.ReferenceFrame.LOCAL_WORLD_ALIGNED)
        arm = self.data.oMf[index].rotation @ point
        return (whole[:3] - self.pin.skew(arm) @ whole[3:]) @ self._spread


def _source(spec: RobotSpec, folder: Path | None) -> str:
    """Return the URDF's text with the specification's inertias, without what it removes and with what it attaches."""
    root = ET.fromstring(find_files(spec.source, folder).urdf.read_bytes())
    for name in spec.removed:
        _remove(root, name)
    for held in spec.attached:
        _attach(root, held)
    for link in root.findall("link"):
        values = spec.inertias.get(link.get("name", ""))
        element = link.find("inertial/inertia")
        if values is not None and element is not None:
            for key, value in zip(("ixx", "ixy", "ixz", "iyy", "iyz", "izz"), values, strict=True):
                element.set(key, repr(float(value)))
    return ET.tostring(root, encoding="unicode")


def _remove(root: ET.Element, name: str) -> None:
    """Take a link and all that hangs on it out of a URDF."""
    for link in root.findall(f"link[@name='{name}']"):
        root.remove(link)
    for joint in root.findall("joint"):
        parent, child = joint.find("parent"), joint.find("child")
        if child is not None and child.get("link") == name:
            root.remove(joint)
        elif child is not None and parent is not None and parent.get("link") == name:
            root.remove(joint)
            _remove(root, child.get("link", ""))


def _attach(root: ET.Element, held: Attachment) -> None:
    """Put an object into a URDF: the file that the engine reads of it alone, its names prefixed."""
    part = load_part(held.object)
    with TemporaryDirectory() as folder:
        own = ET.parse(part.write(Path(folder), visuals=False)).getroot()
    for element in (*own.findall("link"), *own.findall("joint")):
        for named, key in ((element, "name"), (element.find("parent"), "link"), (element.find("child"), "link")):
            if named is not None:
                named.set(key, f"{held.name}_{named.get(key)}")
        root.append(element)
    base = f"{held.name}_{part.pieces[0].name}"
    places = {base: (held.link, held.at, held.rpy)}
    for frame, place in part.frames.items():
        name = f"{held.name}_{frame}"
        ET.SubElement(root, "link", name=name)
        places[name] = (f"{held.name}_{place.piece}" if place.piece else base, place.at, place.rpy)
    for child, (parent, at, rpy) in places.items():
        joint = ET.SubElement(root, "joint", name=f"{child}_mount", type="fixed")
        ET.SubElement(joint, "parent", link=parent)
        ET.SubElement(joint, "child", link=child)
        ET.SubElement(joint, "origin", xyz=" ".join(map(repr, at)), rpy=" ".join(map(repr, rpy)))

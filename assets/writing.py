"""Write the compiled URDF: one inertial a link in its principal frame, full precision, no `<dynamics>`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from training_ground.assets.fitting import Collider
from training_ground.assets.meshes import VisualMesh, hull_faces, write_obj
from training_ground.assets.poses import Pose, rpy_from_rotation
from training_ground.assets.tree import Body, Tree

COLLISION_FOLDER, VISUAL_FOLDER = "collision", "visual"


def write_urdf(
    path: Path,
    name: str,
    tree: Tree,
    colliders: Sequence[tuple[Collider, ...]],
    limits: Sequence[tuple[float, float, float, float]],
    visuals: Sequence[Sequence[VisualMesh]] | None = None,
    looks: Sequence[Sequence[tuple[Collider, Sequence[float]]]] = (),
) -> None:
    """Write the model and the meshes it names into the folder of `path`.

    Args:
        path: The URDF.
        name: Of the robot.
        tree: Bodies; children are written in the order of the joints.
        colliders: Per body.
        limits: Per joint lower, upper (rad, m), effort (N·m, N), velocity (rad/s, m/s).
        visuals: Per body; none are written where None.
        looks: Per body primitives and hulls that cameras see, each with its colour, RGBA.
    """
    robot = ET.Element("robot", name=name)
    for index, body in enumerate(tree.bodies):
        link = ET.SubElement(robot, "link", name=body.name)
        _inertial(link, body)
        if visuals is not None:
            _visuals(link, path.parent, index, visuals[index])
        for number, (shape, colour) in enumerate(looks[index] if looks else ()):
            visual = ET.SubElement(link, "visual")
            _origin(visual, shape.pose)
            if shape.shape == "hull":
                _hull(visual, path.parent, VISUAL_FOLDER, f"look_{index:02d}_{number}", shape)
            else:
                _primitive(visual, shape)
            material = ET.SubElement(visual, "material", name=f"material_{index}_{number}")
            ET.SubElement(material, "color", rgba=_text(colour))
        _colliders(link, path.parent, index, colliders[index])
    moving = iter(limits)
    for body in tree.bodies:
        if body.joint is not None:
            _joint(robot, body, tree.bodies[body.parent].name, next(moving))
        elif body.parent >= 0:
            _weld(robot, body, tree.bodies[body.parent].name)
    ET.indent(robot)
    path.write_bytes(ET.tostring(robot, encoding="utf-8", xml_declaration=True) + b"\n")


def _text(values: Iterable[float]) -> str:
    # repr gives the shortest text that reads back as the same float; adding 0.0 turns -0.0 into 0.0.
    return " ".join(repr(float(v) + 0.0) for v in values)


def _origin(parent: ET.Element, pose: Pose) -> None:
    ET.SubElement(parent, "origin", xyz=_text(pose.position), rpy=_text(rpy_from_rotation(pose.rotation)))


def _inertial(link: ET.Element, body: Body) -> None:
    # Bullet's importer sets an inertia to zero, with a warning only, where one moment exceeds the sum of the others, as
    # a rotor's armature makes it. The file stays true; whoever loads it gives the engine `principal_inertia`
    # afterwards.
    frame, moments = body.inertia.principal()
    inertial = ET.SubElement(link, "inertial")
    _origin(inertial, frame)
    ET.SubElement(inertial, "mass", value=_text([body.inertia.mass]))
    xx, yy, zz = (_text([m]) for m in moments)
    ET.SubElement(inertial, "inertia", ixx=xx, ixy="0", ixz="0", iyy=yy, iyz="0", izz=zz)


def _visuals(link: ET.Element, folder: Path, index: int, meshes: Sequence[VisualMesh]) -> None:
    (folder / VISUAL_FOLDER).mkdir(exist_ok=True)
    for number, mesh in enumerate(meshes):
        file = f"{VISUAL_FOLDER}/{index:02d}_{number}.obj"
        write_obj(folder / file, mesh.vertices, mesh.faces)
        visual = ET.SubElement(link, "visual")
        ET.SubElement(ET.SubElement(visual, "geometry"), "mesh", filename=file)
        material = ET.SubElement(visual, "material", name=f"material_{index}_{number}")
        ET.SubElement(material, "color", rgba=_text(mesh.colour))


def _colliders(link: ET.Element, folder: Path, index: int, shapes: Sequence[Collider]) -> None:
    for number, shape in enumerate(shapes):
        collision = ET.SubElement(link, "collision")
        _origin(collision, shape.pose)
        if shape.shape == "hull":
            _hull(collision, folder, COLLISION_FOLDER, f"{index:02d}_{number}", shape)
        else:
            _primitive(collision, shape)


def _hull(parent: ET.Element, folder: Path, below: str, name: str, shape: Collider) -> None:
    (folder / below).mkdir(exist_ok=True)
    file = f"{below}/{name}.obj"
    write_obj(folder / file, shape.vertices, hull_faces(shape.vertices))
    ET.SubElement(ET.SubElement(parent, "geometry"), "mesh", filename=file)


def _primitive(parent: ET.Element, shape: Collider) -> None:
    geometry = ET.SubElement(parent, "geometry")
    if shape.shape == "box":
        ET.SubElement(geometry, "box", size=_text(shape.size))
    elif shape.shape == "sphere":
        ET.SubElement(geometry, "sphere", radius=_text(shape.size))
    else:
        ET.SubElement(geometry, shape.shape, radius=_text(shape.size[:1]), length=_text(shape.size[1:]))


def _joint(robot: ET.Element, body: Body, parent: str, limit: tuple[float, float, float, float]) -> None:
    assert body.joint is not None
    kind = "prismatic" if body.joint.type == "prismatic" else "revolute"  # continuous ones have limits here, too
    joint = ET.SubElement(robot, "joint", name=body.joint.name, type=kind)
    _origin(joint, body.pose)
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=body.name)
    ET.SubElement(joint, "axis", xyz=_text(np.asarray(body.joint.axis)))
    lower, upper, effort, velocity = (_text([v]) for v in limit)
    ET.SubElement(joint, "limit", lower=lower, upper=upper, effort=effort, velocity=velocity)


def _weld(robot: ET.Element, body: Body, parent: str) -> None:
    joint = ET.SubElement(robot, "joint", name=body.name, type="fixed")
    _origin(joint, body.pose)
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=body.name)

"""Links of a published URDF left out, and objects of our own in their place: all later steps see one URDF."""

from __future__ import annotations

import dataclasses

import numpy as np

from training_ground.assets.inertia import Inertia
from training_ground.assets.library import load_part
from training_ground.assets.objects import GENERATED, Mechanism, ObjectSpec, Piece, Shape
from training_ground.assets.poses import Pose
from training_ground.assets.spec import Attachment, RobotSpec
from training_ground.assets.urdf import Geometry, Joint, Link, Urdf
from training_ground.configs.errors import AssetError, unknown


def assembled(urdf: Urdf, spec: RobotSpec) -> Urdf:
    """Return the URDF without the specification's `removed` links, and with its `attached` objects.

    A piece becomes a link, and its joint a joint of the same name; a frame of the object becomes a link without mass.
    All of them are called `<attachment>_<piece or frame>`.

    Raises:
        AssetError: `removed` or `attached` names an unknown link or part, the root is removed, a name is taken, or a
            piece asks for what an actuated joint or a robot's link cannot have.
    """
    for name in spec.removed:
        urdf = _without(urdf, name)
    source = urdf
    for held in spec.attached:
        where = f"attached '{held.name}'"
        if held.link not in source.links:
            raise AssetError(f"{where}: {unknown('link', held.link, source.links)}")
        try:
            part = load_part(held.object)
        except AssetError as problem:
            raise AssetError(f"{where}: {problem}") from problem
        links, joints = _converted(held, part, where)
        for name in (*links, *joints):
            if name in urdf.links or name in urdf.joints:
                raise AssetError(f"{where}: the name '{name}' is taken; choose another name of the attachment")
        urdf = dataclasses.replace(urdf, links={**urdf.links, **links}, joints={**urdf.joints, **joints})
    return urdf


def _without(urdf: Urdf, name: str) -> Urdf:
    """Drop a link and all that hangs on it."""
    if name not in urdf.links:
        raise AssetError(f"removed: {unknown('link', name, urdf.links)}")
    if name == urdf.root:
        raise AssetError(f"removed: '{name}' is the root; allowed are links that hang on another")
    gone = [name]
    for link in gone:
        gone += [joint.child for joint in urdf.joints.values() if joint.parent == link]
    links = {key: link for key, link in urdf.links.items() if key not in gone}
    joints = {key: joint for key, joint in urdf.joints.items() if joint.child not in gone}
    return dataclasses.replace(urdf, links=links, joints=joints)


def _converted(held: Attachment, part: ObjectSpec, where: str) -> tuple[dict[str, Link], dict[str, Joint]]:
    links: dict[str, Link] = {}
    joints: dict[str, Joint] = {}

    def fixed(parent: str, child: str, pose: Pose) -> None:
        joints[f"{child}_mount"] = Joint(f"{child}_mount", "fixed", parent, child, pose, np.array([1.0, 0.0, 0.0]))

    def named(name: str) -> str:
        return f"{held.name}_{name}"

    for piece in part.pieces:
        name, mechanism = named(piece.name), piece.joint
        links[name] = _link(name, piece, where)
        if mechanism is None or piece.parent is None:
            fixed(held.link, name, Pose.from_xyz_rpy(np.array(held.at), np.array(held.rpy)))
        else:
            joints[name] = _joint(name, named(piece.parent), mechanism, where)
    for frame, place in part.frames.items():
        name = named(frame)
        if name in links:
            raise AssetError(f"{where}: '{frame}' of part '{part.name}' is a piece and a frame; rename one of the two")
        links[name] = Link(name, Inertia(), (), ())
        carrier = named(place.piece or part.pieces[0].name)
        fixed(carrier, name, Pose.from_xyz_rpy(np.array(place.at), np.array(place.rpy)))
    return links, joints


def _link(name: str, piece: Piece, where: str) -> Link:
    if "friction" in piece.model_fields_set and piece.friction != 1.0:
        raise AssetError(
            f"{where}: piece '{piece.name}' has friction = {piece.friction:g}; of a robot's links it is 1, and what "
            "they touch decides: leave it out"
        )
    generated = [shape.shape for shape in piece.shapes if shape.shape in GENERATED]
    if generated:
        raise AssetError(f"{where}: piece '{piece.name}' has a {generated[0]}; a robot's parts are made of primitives")
    visuals = tuple(_geometry(shape) for shape in piece.shapes)
    solid = tuple(_geometry(shape) for shape in piece.shapes if shape.solid)
    return Link(name, piece.inertia(), visuals, solid)


def _geometry(shape: Shape) -> Geometry:
    return Geometry(shape.shape, shape.pose, shape.size, colour=(*shape.colour, 1.0))


def _joint(name: str, parent: str, mechanism: Mechanism, where: str) -> Joint:
    for field in ("spring", "damping", "friction", "catches", "follows"):
        value = getattr(mechanism, field)
        if value:
            raise AssetError(
                f"{where}: joint '{name}' has {field} = {value}; a robot's joint is driven by its actuator group: "
                f"leave {field} out"
            )
    pose = Pose.from_xyz_rpy(np.array(mechanism.at), np.array(mechanism.rpy))
    kind = "prismatic" if mechanism.kind == "slide" else "revolute"
    return Joint(name, kind, parent, name, pose, mechanism.direction, mechanism.lower, mechanism.upper)

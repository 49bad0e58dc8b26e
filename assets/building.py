"""The work behind a cache miss: every step from the parsed URDF to the files of one compiled model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.assets.attaching import assembled
from training_ground.assets.colliders import body_colliders, lowest_points, overlapping_pairs
from training_ground.assets.compiler import Actuator, actuators
from training_ground.assets.corrections import corrected
from training_ground.assets.dynamics import effective_inertia, gravity_force, standing_torque
from training_ground.assets.fitting import Collider
from training_ground.assets.inertia import triangle_violation
from training_ground.assets.meshes import MeshLibrary, body_visuals, decimate
from training_ground.assets.model import CompiledModel, FootModel, Frame, HandModel
from training_ground.assets.poses import Array, Pose, quaternion_from_rotation, rotation_from_quaternion
from training_ground.assets.sources import Files
from training_ground.assets.spec import RobotSpec
from training_ground.assets.storing import MODEL, URDF, VISUAL_URDF, model_to_json
from training_ground.assets.symmetry import find_mirror
from training_ground.assets.tree import Tree, build_tree, by_pattern, check_names
from training_ground.assets.urdf import Urdf, read_urdf
from training_ground.assets.writing import write_urdf
from training_ground.configs.errors import AssetError, unknown

TRIANGLE_TOLERANCE = 0.01
STAND_CLEARANCE = 0.1
"""Height of the lowest point over the ground of a robot without feet, m."""


def build_model(spec: RobotSpec, files: Files, armature: bool, key: str, folder: Path) -> None:
    """Compile a robot into an empty folder: two URDFs, their meshes and `model.json`.

    Raises:
        AssetError: Anything wrong with the specification, the URDF or a mesh.
    """
    urdf = corrected(assembled(read_urdf(files.urdf), spec), spec)
    check_names(urdf, spec)
    drives = actuators(spec, urdf)
    rotors = {name: drive.armature * armature for name, drive in zip(spec.joints, drives, strict=True)}
    tree = build_tree(urdf, spec, rotors)
    library = MeshLibrary(files)
    default = _default_position(spec, urdf, drives)
    ups = _foot_ups(spec, tree, default)
    colliders = [body_colliders(body, spec, library.points, ups.get(body.name)) for body in tree.bodies]
    model = _model(spec, urdf, tree, drives, default, colliders, key, folder)
    limits = list(zip(model.lower, model.upper, model.effort_limit, model.velocity_limit, strict=True))
    visuals = decimate([body_visuals(body, library) for body in tree.bodies])
    write_urdf(folder / URDF, spec.name, tree, colliders, limits)
    write_urdf(folder / VISUAL_URDF, spec.name, tree, colliders, limits, visuals)
    (folder / MODEL).write_text(json.dumps(model_to_json(model), indent=1), encoding="utf-8")


def _model(
    spec: RobotSpec,
    urdf: Urdf,
    tree: Tree,
    drives: Sequence[Actuator],
    default: Array,
    colliders: list[tuple[Collider, ...]],
    key: str,
    folder: Path,
) -> CompiledModel:
    def column(field: str) -> Array:
        return np.array([getattr(drive, field) for drive in drives])

    frames = _frames(tree)
    mirror, no_mirror = find_mirror(tree, spec)
    disabled, overlaps = _disabled(spec, tree, colliders, default, frames)
    notes = [*_inertia_notes(urdf), *overlaps]
    if no_mirror:
        notes.append(f"no mirror: {no_mirror}")
    feet, height = _feet(spec, tree, colliders, default, frames)
    hanging = gravity_force(tree, default)[6:]
    return CompiledModel(
        name=spec.name,
        title=spec.title,
        hash=key,
        directory=folder,
        urdf=folder / URDF,
        visual_urdf=folder / VISUAL_URDF,
        base_link=tree.bodies[0].name,
        link_names=tuple(body.name for body in tree.bodies),
        joint_names=spec.joints,
        parents=tuple(body.parent for body in tree.bodies[1:]),
        default_position=default,
        work_position=_work_position(spec, drives, default),
        lower=column("lower"),
        upper=column("upper"),
        effort_limit=column("effort"),
        velocity_limit=column("velocity"),
        saturation=column("saturation"),
        kp=column("kp"),
        kd=column("kd"),
        armature=column("armature"),
        friction=column("friction"),
        effective_inertia=effective_inertia(tree, default, floating="free" in spec.stances),
        hanging_torque=hanging,
        standing_torque=standing_torque(tree, default, [(f.link, f.sole) for f in feet]) if feet else hanging,
        principal_inertia=np.array([body.inertia.principal()[1] for body in tree.bodies]),
        mass=float(sum(body.inertia.mass for body in tree.bodies)),
        default_height=height,
        torso_frame=spec.torso,
        imu_frame=spec.imu or spec.base,
        frames=frames,
        feet=feet,
        hands=_hands(spec, frames),
        mirror=mirror,
        disabled_collisions=disabled,
        stances=spec.stances,
        notes=tuple(notes),
        sliding=tuple(name for name in spec.joints if urdf.joints[name].type == "prismatic"),
        station=(spec.station.back, spec.station.up) if spec.station else (0.0, 0.0),
        waist_helps=bool(spec.station and spec.station.waist),
    )


def _default_position(spec: RobotSpec, urdf: Urdf, drives: Sequence[Actuator]) -> Array:
    chosen = by_pattern(spec.default_pose, spec.joints, "default_pose")
    default = np.array([chosen.get(name, 0.0) for name in spec.joints])
    for name, value, drive in zip(spec.joints, default, drives, strict=True):
        if not drive.lower <= value <= drive.upper:
            limits = f"[{drive.lower:g}, {drive.upper:g}]"
            unit = "m" if urdf.joints[name].type == "prismatic" else "rad"
            raise AssetError(f"default_pose: {name} = {value:g} {unit} is outside of its limits {limits}")
    return default


def _work_position(spec: RobotSpec, drives: Sequence[Actuator], default: Array) -> Array:
    chosen = by_pattern(spec.work_pose, spec.joints, "work_pose")
    work = np.array([chosen.get(name, rest) for name, rest in zip(spec.joints, default.tolist(), strict=True)])
    for name, value, drive in zip(spec.joints, work, drives, strict=True):
        if not drive.lower <= value <= drive.upper:
            limits = f"[{drive.lower:g}, {drive.upper:g}]"
            raise AssetError(f"work_pose: {name} = {value:g} is outside of its limits {limits}")
    return work


def _frames(tree: Tree) -> dict[str, Frame]:
    return {
        link.name: Frame(body.name, pose.position, quaternion_from_rotation(pose.rotation))
        for body in tree.bodies
        for link, pose in body.members
    }


def _hands(spec: RobotSpec, frames: dict[str, Frame]) -> tuple[HandModel, ...]:
    result = []
    for hand in spec.hands:
        if hand.link not in frames:
            raise AssetError(f"hands: {unknown('link', hand.link, frames)}")
        for finger in hand.fingers:
            if finger not in spec.joints:
                raise AssetError(f"hands: {unknown('joint', finger, spec.joints)}")
        # The working point becomes a frame of its own, beside the URDF's links.
        frame, name = frames[hand.link], f"{hand.side}_hand_point"
        turn = rotation_from_quaternion(frame.orientation)
        frames[name] = Frame(frame.link, frame.position + turn @ np.array(hand.offset), frame.orientation)
        more: dict[str, Any] = {}
        for kind, place in (("grip", hand.grip), ("tip", hand.tip)):
            if place is not None:
                within = Pose(turn, frame.position) @ Pose.from_xyz_rpy(np.array(place.at), np.array(place.rpy))
                more[kind] = f"{hand.side}_{kind}"
                frames[more[kind]] = Frame(frame.link, within.position, quaternion_from_rotation(within.rotation))
        if hand.grip:
            more.update(open=hand.grip.open, closed=hand.grip.closed)
        if hand.tip:
            more.update(pointing=hand.tip.fingers)
        result.append(HandModel(hand.side, name, hand.fingers, **more))
    return tuple(result)


def _disabled(
    spec: RobotSpec, tree: Tree, colliders: list[tuple[Collider, ...]], default: Array, frames: dict[str, Frame]
) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    names = [body.name for body in tree.bodies]
    pairs = [(names[body.parent], body.name) for body in tree.bodies if body.joint is not None]
    for pair in spec.disabled_collisions:
        for link in pair:
            if link not in frames:
                raise AssetError(f"disabled_collisions: {unknown('link', link, frames)}")
        a, b = frames[pair[0]].link, frames[pair[1]].link
        if a != b:
            pairs.append((a, b))
    known = {frozenset(pair) for pair in pairs}
    notes = []
    for i, j, gap in overlapping_pairs(tree, colliders, default):
        if frozenset((names[i], names[j])) not in known:
            pairs.append((names[i], names[j]))
            notes.append(f"overlap at rest: {names[i]} and {names[j]} ({1000 * gap:.1f} mm); they do not collide")
    return tuple(dict.fromkeys(pairs)), notes


def _inertia_notes(urdf: Urdf) -> list[str]:
    notes = []
    for link in urdf.links.values():
        excess = triangle_violation(link.inertia.matrix) if link.inertia.mass else 0.0
        if excess > TRIANGLE_TOLERANCE:
            notes.append(
                f"inertia of '{link.name}' breaks the triangle inequality by {100 * excess:.1f} %; used as given"
            )
    return notes


def _foot_ups(spec: RobotSpec, tree: Tree, default: Array) -> dict[str, Array]:
    """Return the direction away from the ground at rest, (3,) in its own frame, of each body that is a foot."""
    feet = {foot.link for foot in spec.feet}
    return {
        body.name: pose.rotation.T @ np.array([0.0, 0.0, 1.0])
        for body, pose in zip(tree.bodies, tree.poses(default), strict=True)
        if any(link.name in feet for link, _ in body.members)
    }


def _feet(
    spec: RobotSpec, tree: Tree, colliders: list[tuple[Collider, ...]], default: Array, frames: dict[str, Frame]
) -> tuple[tuple[FootModel, ...], float]:
    """Return the feet, and the height of the base at which the lowest sole touches the ground."""
    poses = tree.poses(default)
    names = [body.name for body in tree.bodies]
    feet, lowest = [], np.inf
    for foot in spec.feet:
        if foot.link not in frames:
            raise AssetError(f"feet: {unknown('link', foot.link, frames)}")
        index = names.index(frames[foot.link].link)
        if not colliders[index]:
            raise AssetError(f"feet: '{foot.link}' has no colliders; give it a collider rule with from_visual: true")
        sole = lowest_points(colliders[index], poses[index].rotation.T @ np.array([0.0, 0.0, 1.0]))
        feet.append(FootModel(names[index], foot.side, sole))
        lowest = min(lowest, float(poses[index].points(sole)[:, 2].min()))
    if not feet:
        placed = [(shape, pose) for shapes, pose in zip(colliders, poses, strict=True) for shape in shapes]
        lowest = min((_lowest(shape, pose) for shape, pose in placed), default=0.0) - STAND_CLEARANCE
    return tuple(feet), -lowest


def _lowest(shape: Collider, pose: Pose) -> float:
    points, radius = shape.core()
    return float(pose.points(points)[:, 2].min()) - radius

"""Guess a robot's specification from its URDF: what a person would look for first, each guess with its reason.

The guesses are meant to be read and corrected. What a URDF does not say (gains, rotor inertia, which overlap is by
design) is marked `unsure`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from training_ground.assets.anatomy import Anatomy, Limb, find_anatomy
from training_ground.assets.corrections import corrected
from training_ground.assets.posture import default_pose
from training_ground.assets.spec import ActuatorGroup, RobotSpec
from training_ground.assets.tree import build_tree
from training_ground.assets.tuning import tuned
from training_ground.assets.urdf import Joint, Urdf, read_urdf
from training_ground.configs.errors import AssetError
from training_ground.configs.loading import validate

Confidence = Literal["sure", "likely", "unsure"]
DENSITY = 1000.0
"""Of the ball whose inertia stands in for a missing one, kg/m³."""


@dataclass(frozen=True)
class Guess:
    """One guessed field of the specification: its value as text, why, and how sure."""

    field: str
    value: str
    reason: str
    confidence: Confidence


@dataclass
class _Draft:
    """The specification while it is being guessed."""

    urdf: Urdf
    data: dict[str, Any]
    guesses: list[Guess] = field(default_factory=list)

    def note(self, name: str, value: Any, reason: str, confidence: Confidence) -> None:
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        self.guesses.append(Guess(name, text or "none", reason, confidence))


def guess_spec(urdf_path: Path, output: Path) -> tuple[RobotSpec, list[Guess]]:
    """Guess a specification.

    Args:
        urdf_path: The URDF.
        output: Where the specification will be written; its stem is the robot's name, and the URDF's path is taken
            from its folder.

    Returns:
        The specification, and every guess in the order of its fields.

    Raises:
        AssetError: The URDF is malformed, has no joint that moves, or the output's name is no robot's name.
    """
    urdf = read_urdf(urdf_path)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", output.stem):
        raise AssetError(f"{output}: the file's name is the robot's: lower case letters, digits and _, a letter first")
    path = os.path.relpath(urdf_path.resolve(), output.resolve().parent)
    draft = _Draft(
        urdf,
        {"name": output.stem, "title": urdf.name or output.stem, "description": f"Imported from {urdf_path.name}."},
    )
    draft.data["source"] = {"path": path}
    actuated = _joints(draft)
    anatomy = find_anatomy(urdf, actuated)
    _anatomy(draft, anatomy)
    _geometry(draft, anatomy)
    # Gains need inertias, inertias need a tree, a tree needs a specification: one with placeholders first.
    every = tuple(draft.data["joints"])
    draft.data["actuators"] = [
        {"match": [name], "kp": 0.0, "kd": 0.0, "effort": 1.0, "velocity": 1.0} for name in every
    ]
    spec = validate(RobotSpec, _plain(draft.data), str(urdf_path), AssetError)
    _pose(draft, spec, anatomy)
    spec = validate(RobotSpec, _plain(draft.data), str(urdf_path), AssetError)
    _actuators(draft, spec)
    return validate(RobotSpec, _plain(draft.data), str(urdf_path), AssetError), draft.guesses


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value not in (None, {}, [], ())}


def _joints(draft: _Draft) -> list[Joint]:
    """Sort the moving joints into actuated and locked ones."""
    massless = _massless(draft.urdf)
    actuated, locked = [], {}
    for joint in draft.urdf.joints.values():
        if not joint.moves or (joint.type == "floating" and joint.parent == draft.urdf.root):
            continue
        reason = ""
        if joint.mimic is not None:
            reason = f"it mimics {joint.mimic}"
        elif joint.type not in ("revolute", "continuous"):
            reason = f"it is {joint.type}"
        elif joint.type == "revolute" and (joint.lower or 0.0) >= (joint.upper or 0.0):
            reason = "its range is empty"
        elif joint.name in massless:
            reason = "what it moves has no mass: add an <inertial> to use it"
        if not reason:
            actuated.append(joint)
            continue
        low, high = joint.lower, joint.upper
        angle = 0.0 if low is None or high is None else float(np.clip(0.0, low, high))
        locked[joint.name] = angle
        draft.note("locked", f"{joint.name} at {angle:g}", reason, "unsure" if joint.name in massless else "likely")
    if not actuated:
        raise AssetError(
            f"{draft.urdf.path}: no revolute or continuous joint moves a link with mass; nothing to actuate"
        )
    draft.data["locked"] = locked
    return actuated


def _massless(urdf: Urdf) -> set[str]:
    """Return the joints beyond which everything down to the next moving joint has no mass."""
    children: dict[str, list[Joint]] = {}
    for joint in urdf.joints.values():
        children.setdefault(joint.parent, []).append(joint)

    def mass(link: str) -> float:
        rigid = (j.child for j in children.get(link, ()) if not j.moves)
        return urdf.links[link].inertia.mass + sum(mass(child) for child in rigid)

    return {joint.name for joint in urdf.joints.values() if joint.moves and mass(joint.child) <= 0.0}


def _anatomy(draft: _Draft, anatomy: Anatomy) -> None:
    data = draft.data
    data["base"], data["torso"] = anatomy.base, anatomy.torso
    draft.note("base", anatomy.base, anatomy.base_reason, "sure" if anatomy.base == draft.urdf.root else "likely")
    draft.note("torso", anatomy.torso, anatomy.torso_reason, "likely")
    imu = next((name for name in draft.urdf.links if "imu" in name.lower()), None)
    data["imu"] = imu
    draft.note(
        "imu",
        imu or anatomy.base,
        "its name says so" if imu else "no link has imu in its name",
        "likely" if imu else "unsure",
    )
    data["joints"] = list(anatomy.order)
    draft.note(
        "joints",
        f"{len(anatomy.order)} joints",
        "left leg, right leg, trunk, left arm, right arm, head, fingers",
        "likely",
    )
    data["feet"] = [{"link": limb.link, "side": limb.side} for limb in anatomy.legs]
    why = "the lowest ends of the tree, one a side" if anatomy.legs else anatomy.no_legs
    draft.note("feet", [limb.link for limb in anatomy.legs], why, "likely" if anatomy.legs else "unsure")
    if not anatomy.legs:
        data["stances"] = ["mounted"]
        draft.note("stances", "mounted", "without feet it cannot stand", "sure")
    data["hands"] = [_hand(limb) for limb in anatomy.arms]
    for limb in anatomy.arms:
        fingers = f", {len(limb.fingers)} finger joints" if limb.fingers else ""
        draft.note(f"hands ({limb.side})", limb.link + fingers, "the far end of the arm on that side", "likely")
    if not anatomy.arms:
        draft.note("hands", "none", "no pair of ends hangs at the sides", "unsure")
    data["mirror_pattern"] = list(anatomy.pattern)
    paired = f"pairs {anatomy.pairs} joints left and right"
    draft.note("mirror_pattern", " / ".join(anatomy.pattern), paired, "sure" if anatomy.pairs else "unsure")
    data["symmetric"] = anatomy.pairs > 0


def _hand(limb: Limb) -> dict[str, Any]:
    hand: dict[str, Any] = {"link": limb.link, "side": limb.side}
    if limb.fingers:
        hand["fingers"] = list(limb.fingers)
    return hand


def _geometry(draft: _Draft, anatomy: Anatomy) -> None:
    """Collider rules, and balls for inertias that are missing."""
    urdf, rules = draft.urdf, []
    seen = [link.name for link in urdf.links.values() if not link.collisions and link.visuals]
    feet = set(_with_children(urdf, (limb.link for limb in anatomy.legs)))
    fingers = {urdf.joints[name].child for limb in anatomy.arms for name in limb.fingers}
    bare = set(seen) if not any(link.collisions for link in urdf.links.values()) else feet & set(seen)
    for names, shape in ((feet, "hull"), (fingers, "hull")):
        for from_visual in (False, True):
            some = sorted(n for n in names if (n in bare) == from_visual)
            if some:
                rules.append({"match": some, "shape": shape, "from_visual": from_visual})
    rest = sorted(bare - feet - fingers)
    if rest:
        rules.append({"match": rest, "shape": "auto", "from_visual": True})
        draft.note(
            "colliders",
            f"{len(rest)} links",
            "no collision geometry in the URDF: fitted to the visual meshes",
            "likely",
        )
    rules.append({"match": ["*"], "shape": "auto"})
    draft.data["colliders"] = rules
    draft.note(
        "colliders",
        "auto; hulls for feet and fingers",
        "primitives are fast, feet and fingers must be faithful",
        "likely",
    )
    inertias = {}
    masses = _body_masses(urdf, draft.data["joints"])
    for link in urdf.links.values():
        mass, body = link.inertia.mass, masses[link.name]
        # A small part without inertia does no harm in a body that has some.
        if mass > 0.3 * body and np.linalg.eigvalsh(link.inertia.matrix)[0] <= 1e-12:
            radius = (3 * mass / (4 * np.pi * DENSITY)) ** (1 / 3)
            ball = float(f"{0.4 * mass * radius**2:.3g}")
            inertias[link.name] = [ball, 0.0, 0.0, ball, 0.0, ball]
            why = f"no rotational inertia in the URDF: that of a ball of {mass:g} kg and water's density"
            draft.note("inertias", link.name, why, "unsure")
    draft.data["inertias"] = inertias


def _body_masses(urdf: Urdf, actuated: list[str]) -> dict[str, float]:
    """Return by link the mass of all that moves as one with it, kg."""
    above = urdf.joint_above()
    top: dict[str, str] = {}
    for link in urdf.links:
        root = link
        while root in above and above[root].name not in actuated:
            root = above[root].parent
        top[link] = root
    total = dict.fromkeys(top.values(), 0.0)
    for link, root in top.items():
        total[root] += urdf.links[link].inertia.mass
    return {link: total[root] for link, root in top.items()}


def _with_children(urdf: Urdf, names: Iterable[str]) -> list[str]:
    """Return links and all that is fixed to them."""
    found = list(names)
    for name in found:
        found += [j.child for j in urdf.joints.values() if j.parent == name and not j.moves]
    return found


def _pose(draft: _Draft, spec: RobotSpec, anatomy: Anatomy) -> None:
    tree = build_tree(corrected(draft.urdf, spec), spec, dict.fromkeys(spec.joints, 0.0))
    pose, reason = default_pose(tree, spec.joints, anatomy)
    draft.data["default_pose"] = {name: round(value, 4) for name, value in pose.items() if value}
    shown = [f"{name} {value:g}" for name, value in draft.data["default_pose"].items()]
    draft.note("default_pose", shown or "zero", reason, "likely" if anatomy.legs else "unsure")


def _actuators(draft: _Draft, spec: RobotSpec) -> None:
    groups, reasons = tuned(corrected(draft.urdf, spec), spec)
    draft.data["actuators"] = [_group(group) for group in groups]
    for name, value, reason in reasons:
        draft.note(name, value, reason, "unsure")


def _group(group: ActuatorGroup) -> dict[str, Any]:
    return {
        key: value
        for key, value in group.model_dump(mode="json").items()
        if value not in (None, 0.0) and key != "saturation"
    }

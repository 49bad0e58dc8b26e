"""From a specification to a compiled model: read, merge, fit, write, remember."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.assets.cache import SourceIndex, cache_root, obtain, sha256
from training_ground.assets.model import CompiledModel
from training_ground.assets.sources import Files, find_files
from training_ground.assets.spec import ActuatorGroup, RobotSpec
from training_ground.assets.storing import MODEL, model_from_json
from training_ground.assets.urdf import Joint, Urdf, read_urdf
from training_ground.configs.errors import AssetError

COMPILER_VERSION = 2
"""Part of every model's hash: raise it when the same specification would compile to different physics."""


def compile_spec(spec: RobotSpec, *, armature: bool = True, folder: Path | None = None) -> CompiledModel:
    """Compile a robot, or read it from the cache.

    Args:
        spec: The robot.
        armature: False leaves the rotors' inertia out, to compare the model with the bare URDF.
        folder: What a relative `source.path` starts from.

    Raises:
        AssetError: Anything wrong with the specification, the URDF or a mesh; the message names it.
    """
    files = find_files(spec.source, folder)
    request = json.dumps([_physical(spec), armature], sort_keys=True)
    index = SourceIndex(cache_root(), f"{request} {files.urdf} {_code_digest()}")
    key = index.lookup()
    if key is None:
        from training_ground.assets.attaching import assembled

        urdf = assembled(read_urdf(files.urdf), spec)
        used = [files.urdf, *_mesh_files(urdf, files)]
        key = content_key(request, used)
        index.remember(key, used)
    directory = cache_root() / "models" / f"{spec.name}-{sha256(f'{key} {_code_digest()}'.encode())[:24]}"

    def build(work: Path) -> None:
        # Imported only here: a warm load does without trimesh and scipy.
        from training_ground.assets.building import build_model

        build_model(spec, files, armature, key, work)

    for _ in range(2):
        obtain(directory, build)
        try:
            data = json.loads((directory / MODEL).read_text(encoding="utf-8"))
            data.update(title=spec.title, not_in=spec.not_in)
            return model_from_json(data, directory)
        except FileNotFoundError:
            continue  # Another process is replacing the entry at this moment.
    raise AssetError(f"cache {directory}: disappears while it is read; is something deleting it?")


def content_key(request: str, files: list[Path]) -> str:
    """Return the model's hash: sha256 over the physical part of the specification, the compiler's version and the
    files' content."""
    parts = [f"{COMPILER_VERSION}", request, *(sha256(path.read_bytes()) for path in files)]
    return sha256("\n".join(parts).encode())


def _physical(spec: RobotSpec) -> dict[str, Any]:
    """Return what of a specification shapes the model; a better description must not invalidate trained policies."""
    empty = {name for name in ("removed", "attached", "work_pose", "station") if not getattr(spec, name)}
    # Without the fields that came later, where they say nothing: the hashes of the models before them stay.
    data = spec.model_dump(mode="json", exclude={"title", "description", "source", "not_in", *empty})
    for hand in data["hands"]:
        for key in ("grip", "tip"):
            if hand[key] is None:
                del hand[key]
    for held in data.get("attached", ()):
        held["object"] = _part(held)
    return data


def _part(held: dict[str, Any]) -> dict[str, Any]:
    """Return the content of an attached object, in place of its name."""
    from training_ground.assets.library import load_part

    try:
        return load_part(held["object"]).model_dump(mode="json", exclude={"title"})
    except AssetError as problem:
        raise AssetError(f"attached '{held['name']}': {problem}") from problem


def _mesh_files(urdf: Urdf, files: Files) -> list[Path]:
    shapes = [shape for link in urdf.links.values() for shape in (*link.visuals, *link.collisions)]
    return sorted({files.mesh(shape.mesh) for shape in shapes if shape.mesh})


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Return a digest of the compiler's own code: whoever edits it never meets an entry that the old code wrote."""
    folder = Path(__file__).parent
    return sha256(b"".join((folder / f"{name}.py").read_bytes() for name in _MODULES))


_MODULES = (
    "attaching", "building", "colliders", "compiler", "corrections", "dynamics", "fitting", "inertia", "meshes",
    "objects", "poses", "storing", "symmetry", "tree", "urdf", "writing",
)  # fmt: skip


@dataclass(frozen=True)
class Actuator:
    """One joint's actuator, everything resolved; units as in `CompiledModel`."""

    kp: float
    kd: float
    armature: float
    friction: float
    effort: float
    velocity: float
    saturation: float
    lower: float
    upper: float


def actuators(spec: RobotSpec, urdf: Urdf) -> list[Actuator]:
    """Match every joint with its actuator group and fill limits from the URDF.

    Raises:
        AssetError: A joint that matches no group or several, a pattern that matches no joint, a limit that is nowhere.
    """
    for group in spec.actuators:
        for pattern in group.match:
            if not any(fnmatchcase(name, pattern) for name in spec.joints):
                raise AssetError(f"actuators: the pattern '{pattern}' matches no joint of {spec.name}")
    return [_actuator(spec, urdf.joints[name]) for name in spec.joints]


def _actuator(spec: RobotSpec, joint: Joint) -> Actuator:
    groups = [g for g in spec.actuators if any(fnmatchcase(joint.name, pattern) for pattern in g.match)]
    if len(groups) != 1:
        found = " and ".join(str(list(g.match)) for g in groups) or "none"
        raise AssetError(f"actuators: joint '{joint.name}' must match exactly one group, it matches {found}")
    group: ActuatorGroup = groups[0]
    limits = {}
    for key, value in (("effort", group.effort or joint.effort), ("velocity", group.velocity or joint.velocity)):
        if not value or value <= 0:
            raise AssetError(f"actuators: joint '{joint.name}' has no {key} limit in the URDF; set {key} in its group")
        limits[key] = float(value)
    if joint.type == "prismatic" and group.armature:
        raise AssetError(
            f"actuators: joint '{joint.name}' slides and has armature = {group.armature:g}; only 0 is allowed: as the "
            "engine has no armature it would have to be mass, which also weighs. What moves belongs to the link's mass"
        )
    lower, upper = (
        (-np.pi, np.pi) if joint.type == "continuous" else (float(joint.lower or 0.0), float(joint.upper or 0.0))
    )
    if lower >= upper:
        raise AssetError(f"joint '{joint.name}': its range [{lower}, {upper}] is empty; list it under locked")
    return Actuator(
        group.kp,
        group.kd,
        group.armature,
        group.friction,
        limits["effort"],
        limits["velocity"],
        group.saturation,
        lower,
        upper,
    )

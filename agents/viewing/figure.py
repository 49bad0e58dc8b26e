"""The figure of a robot: its visual meshes, and where each link is for given joint angles.

Viewers draw from it what was recorded as well as what is being simulated; no engine is needed.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.catalog import load_model
from training_ground.assets.model import CompiledModel
from training_ground.assets.poses import quaternion_from_rotation, rotation_from_rpy
from training_ground.assets.shading import corner_normals
from training_ground.configs.errors import AssetError
from training_ground.envs import rotations
from training_ground.envs.rotations import Quaternion, Vector

PLAIN = (0.62, 0.66, 0.72, 1.0)
"""Colour of what has none."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of one colour in a link's frame.

    Attributes:
        vertices: (k, 3) m; one place stands twice where an edge is sharp.
        normals: (k, 3) unit vectors.
        faces: (t, 3) indices.
        colour: RGBA in [0, 1].
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int32]
    colour: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Part:
    """A link and the joint that carries it.

    Attributes:
        name: Of the link.
        parent: Index of the part that carries it; -1 for the base.
        joint: Index of its joint in the model's order; -1 for the base.
        position: (3,) of the joint in the parent's frame, m.
        orientation: (4,) xyzw of the joint in the parent's frame at angle zero.
        axis: (3,) unit vector of the joint in the link's frame.
        slides: Whether the joint slides along it; the others turn about it.
        meshes: What is drawn.
    """

    name: str
    parent: int
    joint: int
    position: Vector
    orientation: Quaternion
    axis: Vector
    slides: bool
    meshes: tuple[Mesh, ...]


class Figure:
    """A robot to be drawn.

    Attributes:
        model: The compiled model.
        parts: Links, every parent before its children.
    """

    def __init__(self, model: CompiledModel) -> None:
        self.model = model
        try:
            root = ET.parse(model.visual_urdf).getroot()
            self.parts = _parts(root, model)
        except (OSError, ET.ParseError, KeyError, ValueError) as problem:
            raise AssetError(f"robot '{model.name}': cannot be drawn: {model.visual_urdf}: {problem}") from problem

    @classmethod
    def load(cls, robot: str | Path) -> Figure:
        """Return the figure of a shipped robot or of a specification."""
        return cls(load_model(robot, visuals=True))

    @cached_property
    def triangles(self) -> int:
        """Triangles of all meshes."""
        return sum(len(mesh.faces) for part in self.parts for mesh in part.meshes)

    def poses(
        self, position: Sequence[float], orientation: Sequence[float], joints: Sequence[float]
    ) -> list[tuple[Vector, Quaternion]]:
        """Return position (3,) and orientation (4,) of every part's frame, in the order of `parts`.

        Args:
            position: (3,) of the base link's frame in the world, m.
            orientation: (4,) xyzw of the base link's frame in the world.
            joints: (n,) positions in the model's order, rad or m.
        """
        x, y, z = position
        a, b, c, d = orientation
        found: list[tuple[Vector, Quaternion]] = []
        for part in self.parts:
            if part.parent < 0:
                found.append(((float(x), float(y), float(z)), (float(a), float(b), float(c), float(d))))
                continue
            (px, py, pz), carrier = found[part.parent]
            dx, dy, dz = rotations.rotate(carrier, part.position)
            turned = rotations.multiply(carrier, part.orientation)
            angle = float(joints[part.joint])
            if part.slides:
                ax, ay, az = rotations.rotate(turned, part.axis)
                found.append(((px + dx + ax * angle, py + dy + ay * angle, pz + dz + az * angle), turned))
                continue
            s = math.sin(angle / 2)
            about = (part.axis[0] * s, part.axis[1] * s, part.axis[2] * s, math.cos(angle / 2))
            found.append(((px + dx, py + dy, pz + dz), rotations.multiply(turned, about)))
        return found


def _parts(root: ET.Element, model: CompiledModel) -> tuple[Part, ...]:
    joints = {_child(joint, "child").get("link", ""): joint for joint in root.iter("joint")}
    folder = model.visual_urdf.parent
    meshes = {link.get("name", ""): _meshes(link, folder) for link in root.iter("link")}
    if not any(meshes.values()):  # a robot of primitives: what it collides with is all that there is to see
        meshes = {link.get("name", ""): _colliders(link, folder) for link in root.iter("link")}
    index = {name: i for i, name in enumerate(model.joint_names)}
    places = {model.base_link: 0}
    parts = [Part(model.base_link, -1, -1, *_origin(None), (0.0, 0.0, 1.0), False, meshes[model.base_link])]
    waiting = [name for name in model.link_names if name != model.base_link]
    while waiting:
        ready = [name for name in waiting if _child(joints[name], "parent").get("link") in places]
        if not ready:
            raise ValueError(f"links {', '.join(waiting[:3])} hang on nothing")
        for name in ready:
            joint = joints[name]
            places[name] = len(parts)
            parent = places[_child(joint, "parent").get("link", "")]
            position, orientation = _origin(joint.find("origin"))
            axis = _numbers(_child(joint, "axis").get("xyz"))
            slides = joint.get("type") == "prismatic"
            number = index[joint.get("name", "")]
            parts.append(Part(name, parent, number, position, orientation, axis, slides, meshes.get(name, ())))
        waiting = [name for name in waiting if name not in places]
    return tuple(parts)


def _meshes(link: ET.Element, folder: Path) -> tuple[Mesh, ...]:
    found = []
    for visual in link.iter("visual"):
        mesh = visual.find("geometry/mesh")
        colour = visual.find("material/color")
        if mesh is None:
            continue
        rgba = [float(x) for x in colour.get("rgba", "").split()] if colour is not None else PLAIN
        vertices, faces = read_obj(folder / mesh.get("filename", ""))
        if len(faces):
            found.append(shaded(vertices, faces, (rgba[0], rgba[1], rgba[2], rgba[3])))
    return tuple(found)


def shaded(vertices: Any, faces: Any, colour: tuple[float, float, float, float]) -> Mesh:
    """Return triangles with their normals: round where the surface is, sharp at its edges."""
    normals = np.round(corner_normals(np.asarray(vertices, float), faces).reshape(-1, 3), 2)
    corners = np.column_stack([faces.reshape(-1), normals])
    distinct, index = np.unique(corners, axis=0, return_inverse=True)
    return Mesh(
        np.asarray(vertices, np.float32)[distinct[:, 0].astype(int)],
        distinct[:, 1:].astype(np.float32),
        index.reshape(-1, 3).astype(np.int32),
        colour,
    )


def _colliders(link: ET.Element, folder: Path) -> tuple[Mesh, ...]:
    import trimesh

    found = []
    for collision in link.iter("collision"):
        shape = next(iter(_child(collision, "geometry")))
        size = [float(x) for x in (shape.get("size") or shape.get("radius") or "0").split()]
        if shape.tag == "mesh":
            vertices, faces = read_obj(folder / shape.get("filename", ""))
        else:
            if shape.tag == "box":
                solid: Any = trimesh.creation.box(extents=size)
            elif shape.tag == "sphere":
                solid = trimesh.creation.icosphere(subdivisions=2, radius=size[0])
            else:
                solid = trimesh.creation.capsule(height=float(shape.get("length", "0")), radius=size[0], count=[14, 14])
            vertices, faces = np.asarray(solid.vertices), np.asarray(solid.faces, np.int32)
        position, orientation = _origin(collision.find("origin"))
        placed = vertices @ np.array(rotations.matrix(orientation)).T + position
        found.append(shaded(placed, faces, PLAIN))
    return tuple(found)


def read_obj(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Read vertices (k, 3) and triangles (t, 3) of an OBJ file that the compiler wrote."""
    vertices: list[list[float]] = []
    faces: list[list[int]] = []
    for line in path.read_text(encoding="ascii").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()[:3]])
        elif kind == "f":
            faces.append([int(corner.partition("/")[0]) - 1 for corner in rest.split()[:3]])
    points = np.asarray(vertices, np.float32).reshape(-1, 3)
    triangles = np.asarray(faces, np.int32).reshape(-1, 3)
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(points):
        raise ValueError(f"{path}: a face names a vertex that is not there")
    return points, triangles


def _child(element: ET.Element, name: str) -> Any:
    found = element.find(name)
    if found is None:
        raise ValueError(f"<{element.tag} name='{element.get('name')}'> has no <{name}>")
    return found


def _origin(origin: ET.Element | None) -> tuple[Vector, Quaternion]:
    if origin is None:
        return (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)
    a, b, c, d = quaternion_from_rotation(rotation_from_rpy(_numbers(origin.get("rpy", "0 0 0")))).tolist()
    return _numbers(origin.get("xyz", "0 0 0")), (a, b, c, d)


def _numbers(text: str | None) -> Vector:
    x, y, z = (float(part) for part in (text or "").split())
    return x, y, z

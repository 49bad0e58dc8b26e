"""Read meshes and write small ones: vertices for fitting, decimated coloured OBJ files for cameras."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.assets.poses import Array
from training_ground.assets.shading import corner_normals
from training_ground.assets.sources import Files
from training_ground.assets.tree import Body
from training_ground.assets.urdf import DEFAULT_COLOUR, Geometry
from training_ground.configs.errors import AssetError

VISUAL_TRIANGLES = 20000
"""Triangles of a whole robot; the software renderer's time is proportional to them."""
LINK_TRIANGLES = (100, 2500)
"""Least and most triangles of one mesh."""


@dataclass(frozen=True, eq=False)
class VisualMesh:
    """Triangles of one colour in a link's frame: vertices (k, 3) m, faces (t, 3)."""

    vertices: Array
    faces: Any
    colour: tuple[float, ...]


@dataclass
class MeshLibrary:
    """Meshes by file, each read once. `used` lists the files read."""

    files: Files
    _meshes: dict[Path, Any] = field(default_factory=dict)

    @property
    def used(self) -> list[Path]:
        """Return the files read so far."""
        return list(self._meshes)

    def mesh(self, geometry: Geometry) -> Any:
        """Return a geometry's `trimesh.Trimesh` in the geometry's frame, scaled.

        Raises:
            AssetError: The file is missing, unreadable, of an unknown format, or empty.
        """
        path = self.files.mesh(geometry.mesh)
        if path not in self._meshes:
            self._meshes[path] = _read(path)
        mesh = self._meshes[path].copy()
        mesh.apply_scale(geometry.scale)
        return mesh

    def points(self, geometry: Geometry) -> Array:
        """Return a mesh's vertices (k, 3) in the geometry's frame, m."""
        return np.asarray(self.mesh(geometry).vertices, dtype=float)


def _read(path: Path) -> Any:
    import trimesh

    try:
        mesh = trimesh.load(path, force="mesh")
    except Exception as problem:
        # trimesh and the readers below it raise whatever their format's parser raises.
        raise AssetError(f"{path}: no readable mesh: {problem}") from problem
    vertices = np.asarray(getattr(mesh, "vertices", ()), dtype=float)
    if vertices.size == 0 or not np.isfinite(vertices).all():
        raise AssetError(f"{path}: the mesh is empty or has vertices that are not finite")
    if path.suffix.lower() == ".dae":
        mesh.apply_transform(_upright(path))
    return mesh


def _upright(path: Path) -> Array:
    """Return the (4, 4) turn that brings a COLLADA file's `up_axis` to z; the library that reads it leaves that to the
    caller.

    URDF tools apply it (Pinocchio and Gazebo through Assimp); iCub's meshes need it. Axes: COLLADA 1.4.1, element
    `up_axis`.
    """
    with path.open("rb") as file:
        found = re.search(rb"<up_axis>\s*([XYZ])_UP\s*</up_axis>", file.read(65536))
    turn = np.eye(4)
    if found and found.group(1) == b"Y":
        turn[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    elif found and found.group(1) == b"X":
        turn[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    return turn


def body_visuals(body: Body, library: MeshLibrary) -> list[VisualMesh]:
    """Return a body's visual geometry in its frame, not yet decimated."""
    import trimesh

    result = []
    for link, pose in body.members:
        for geometry in link.visuals:
            mesh: Any = _shape(geometry, library)
            # Exporters write pure black for "no material"; it would hide every shape.
            colour = geometry.colour if geometry.colour and any(geometry.colour[:3]) else _own_colour(mesh)
            mesh = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
            mesh.vertices = (pose @ geometry.pose).points(np.asarray(mesh.vertices, dtype=float))
            mesh.merge_vertices(merge_tex=True, merge_norm=True, digits_vertex=5)
            vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces)
            result.append(VisualMesh(vertices, faces, tuple(round(c, 3) for c in colour)))
    return result


def _shape(geometry: Geometry, library: MeshLibrary) -> Any:
    import trimesh

    if geometry.shape == "mesh":
        return library.mesh(geometry)
    if geometry.shape == "box":
        return trimesh.creation.box(extents=geometry.size)
    if geometry.shape == "sphere":
        return trimesh.creation.icosphere(subdivisions=2, radius=geometry.size[0])
    if geometry.shape == "capsule":
        return trimesh.creation.capsule(radius=geometry.size[0], height=geometry.size[1], count=[12, 12])
    return trimesh.creation.cylinder(radius=geometry.size[0], height=geometry.size[1], sections=16)


def _own_colour(mesh: Any) -> tuple[float, ...]:
    """Return the colour in the mesh's own file; the default where it has none."""
    try:
        if mesh.visual.kind == "texture":
            return tuple(float(c) / 255.0 for c in mesh.visual.material.main_color)
        if mesh.visual.kind in ("face", "vertex"):
            return tuple(float(c) / 255.0 for c in mesh.visual.main_color)
    except (AttributeError, TypeError, ValueError):
        pass
    return DEFAULT_COLOUR


def decimate(visuals: list[list[VisualMesh]], total: int = VISUAL_TRIANGLES) -> list[list[VisualMesh]]:
    """Reduce the meshes of all links to about `total` triangles, and join those of one link and colour.

    Triangles are shared out by size and by detail: the square root of surface area times number of triangles.
    """
    weights = [[np.sqrt(_area(mesh)) * len(mesh.faces) ** 0.25 for mesh in meshes] for meshes in visuals]
    whole = max(float(sum(sum(w) for w in weights)), 1e-12)
    least, most = LINK_TRIANGLES
    return [
        _joined(
            _decimated(mesh, int(np.clip(total * w / whole, least, most))) for mesh, w in zip(meshes, row, strict=True)
        )
        for meshes, row in zip(visuals, weights, strict=True)
    ]


def _joined(meshes: Iterable[VisualMesh]) -> list[VisualMesh]:
    by_colour: dict[tuple[float, ...], list[VisualMesh]] = {}
    for mesh in meshes:
        by_colour.setdefault(mesh.colour, []).append(mesh)
    result = []
    for colour, group in by_colour.items():
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh in group[:-1])])
        faces = np.concatenate([mesh.faces + start for mesh, start in zip(group, starts, strict=True)])
        result.append(VisualMesh(np.concatenate([mesh.vertices for mesh in group]), faces, colour))
    return result


def _area(mesh: VisualMesh) -> float:
    corner = mesh.vertices[mesh.faces]
    return float(np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1).sum() / 2)


def _decimated(mesh: VisualMesh, triangles: int) -> VisualMesh:
    if len(mesh.faces) <= triangles:
        return mesh
    import fast_simplification

    # Copies: it takes only writable arrays in C order.
    source = np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int32)
    for haste in (3, 5):  # the slower one keeps shapes better, and does not always get there
        vertices, faces = fast_simplification.simplify(*source, target_count=triangles, agg=haste)[:2]
        if len(faces) <= 1.3 * triangles:
            return VisualMesh(np.asarray(vertices, dtype=float), np.asarray(faces), mesh.colour)
    # Meshes of many loose shells resist quadric decimation.
    return VisualMesh(*_clustered(mesh, triangles), mesh.colour)


def _clustered(mesh: VisualMesh, triangles: int) -> tuple[Array, Any]:
    """Join the vertices in each cell of the finest grid that leaves at most `triangles` (Rossignac, Borrel 1993)."""
    lower, extent = mesh.vertices.min(0), float(np.ptp(mesh.vertices, axis=0).max())
    few, many = 2.0, 256.0
    best = mesh.vertices[:0], mesh.faces[:0]
    for _ in range(9):
        cells = 0.5 * (few + many)
        _, cluster = np.unique(
            ((mesh.vertices - lower) * (cells / extent)).astype(np.int64), axis=0, return_inverse=True
        )
        cluster = cluster.reshape(-1)
        faces = cluster[mesh.faces]
        distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        _, first = np.unique(np.sort(faces[distinct], axis=1), axis=0, return_index=True)
        faces = faces[distinct][np.sort(first)]
        if len(faces) > triangles:
            many = cells
            continue
        few = cells
        sums = np.zeros((int(cluster.max()) + 1, 3))
        np.add.at(sums, cluster, mesh.vertices)
        best = sums / np.bincount(cluster)[:, None], faces
    return best


def write_obj(path: Path, vertices: Array, faces: Any) -> None:
    """Write an OBJ with normals, without which PyBullet's renderer does not shade."""
    normals = np.round(corner_normals(vertices, faces), 3) + 0.0
    distinct, index = np.unique(normals.reshape(-1, 3), axis=0, return_inverse=True)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"vn {x:.3f} {y:.3f} {z:.3f}" for x, y, z in distinct]
    pairs = zip((np.asarray(faces) + 1).tolist(), (index.reshape(-1, 3) + 1).tolist(), strict=True)
    lines += [f"f {a}//{p} {b}//{q} {c}//{r}" for (a, b, c), (p, q, r) in pairs]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def hull_faces(vertices: Array) -> Any:
    """Return outward (t, 3) triangles of the convex hull of vertices (k, 3), every vertex on it."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(vertices)
    faces = hull.simplices.copy()
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    flip = np.einsum("ij,ij->i", normal, hull.equations[:, :3]) < 0
    faces[flip] = faces[flip][:, ::-1]
    return faces

"""What stands around a robot in its cell, drawn in the browser: shapes of parts, where the simulation has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

from training_ground.agents.viewing.figure import Mesh, shaded
from training_ground.assets.objects import GENERATED, Shape
from training_ground.envs import rotations
from training_ground.envs.cell import Cell

Pose = tuple[tuple[float, ...], tuple[float, ...]]


class Furniture:
    """Draws the things of a cell into a viser server.

    Args:
        server: A `viser.ViserServer`.
        cell: What to draw; an item that is another part in another episode is drawn as that.
        root: Name of the frame that is the simulation's world.
    """

    def __init__(self, server: Any, cell: Cell, root: str) -> None:
        self._server, self._cell, self._root = server, cell, root
        self._frames: dict[str, dict[str, Any]] = {}
        self._shown: dict[str, Pose] = {}
        self._here: set[str] = set()

    def draw(self) -> None:
        """Bring the things to where they are; what has not moved costs nothing."""
        here = {thing.name: thing for thing in self._cell.things.values()}
        for name in self._here ^ set(here):
            for frame in self._frames.get(name, {}).values():
                frame.visible = name in here
        self._here = set(here)
        for name, thing in here.items():
            if name not in self._frames:
                self._add(name, thing)
            for piece, frame in self._frames[name].items():
                state = thing.link(piece)
                pose = state.position, state.orientation
                if self._shown.get(frame.name) != pose:
                    self._shown[frame.name] = pose
                    a, b, c, d = pose[1]
                    frame.position, frame.wxyz = pose[0], (d, a, b, c)

    def _add(self, name: str, thing: Any) -> None:
        scene = self._server.scene
        self._frames[name] = {}
        for piece in thing.spec.pieces:
            path = f"{self._root}/cell/{name}/{piece.name}"
            self._frames[name][piece.name] = scene.add_frame(path, show_axes=False)
            for number, shape in enumerate(piece.shapes):
                mesh = mesh_of(shape)
                red, green, blue, _ = mesh.colour
                scene.add_mesh_simple(
                    f"{path}/{number}",
                    vertices=mesh.vertices,
                    faces=mesh.faces,
                    color=(round(255 * red), round(255 * green), round(255 * blue)),
                )


def mesh_of(shape: Shape) -> Mesh:
    """Triangles of a shape in its piece's frame."""
    size = shape.size
    if shape.shape == "box":
        solid: Any = trimesh.creation.box(extents=size)
    elif shape.shape == "sphere":
        solid = trimesh.creation.icosphere(subdivisions=2, radius=size[0])
    elif shape.shape == "cylinder":
        solid = trimesh.creation.cylinder(radius=size[0], height=size[1], sections=32)
    elif shape.shape in GENERATED:
        solid = trimesh.util.concatenate([trimesh.convex.convex_hull(one.vertices) for one in shape.colliders])
    else:
        solid = trimesh.creation.capsule(radius=size[0], height=size[1], count=[16, 16])
    turn = np.array(rotations.matrix(rotations.from_euler(*shape.rpy)))
    placed = np.asarray(solid.vertices) @ turn.T + shape.at
    return shaded(placed, np.asarray(solid.faces, np.int32), (*shape.colour, 1.0))

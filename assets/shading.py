"""Normals for drawing: round surfaces look round although they have few triangles, and edges stay sharp."""

from __future__ import annotations

from typing import Any

import numpy as np

from training_ground.assets.poses import Array

CREASE_DEG = 50.0
"""Faces that meet at a larger angle have an edge between them."""


def corner_normals(vertices: Array, faces: Any, crease_deg: float = CREASE_DEG) -> Array:
    """Return a unit normal (t, 3, 3) for each corner of triangles.

    It is the mean, weighted by area, of the faces around the vertex that meet the corner's own at less than the crease.

    Args:
        vertices: (k, 3).
        faces: (t, 3) indices.
        crease_deg: Degrees.
    """
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-15)
    vertex, face = np.asarray(faces).reshape(-1), np.repeat(np.arange(len(faces)), 3)
    order = np.argsort(vertex, kind="stable")
    vertex, face = vertex[order], face[order]
    # Corners at one vertex stand together now: from `first` up to `end`.
    first, end = np.searchsorted(vertex, vertex, "left"), np.searchsorted(vertex, vertex, "right")
    total = np.zeros((len(order), 3))
    for step in range(int((end - first).max(initial=0))):
        other = face[np.minimum(first + step, len(order) - 1)]
        smooth = (first + step < end) & (
            np.einsum("ij,ij->i", unit[face], unit[other]) >= np.cos(np.radians(crease_deg))
        )
        total += np.where(smooth[:, None], normal[other], 0.0)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    total = np.where(length > 1e-15, total / np.maximum(length, 1e-15), unit[face])
    result = np.empty_like(total)
    result[order] = total
    return result.reshape(-1, 3, 3)

"""Figure and motion as the page's player reads them: numbers packed into base64, little endian."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.report.measures import Measures
from training_ground.agents.viewing.figure import Figure

RATE = 25.0
"""Poses a second; the player interpolates."""
ANGLE_SCALE = 32767 / np.pi
UNIT_SCALE = 32767.0


def pack(values: Any, dtype: str) -> str:
    """Return an array as base64 of little-endian numbers."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def figure_data(figure: Figure) -> dict[str, Any]:
    """Return a robot's links and meshes.

    Vertices are rounded to 1/65535 of the mesh's box: below 0.02 mm for a robot's largest link.
    """
    parts = []
    for part in figure.parts:
        meshes = []
        for mesh in part.meshes:
            low = mesh.vertices.min(axis=0)
            size = np.maximum(mesh.vertices.max(axis=0) - low, 1e-9)
            meshes.append(
                {
                    "low": [float(x) for x in low],
                    "size": [float(x) for x in size],
                    "vertices": pack(np.round((mesh.vertices - low) / size * 65535), "u2"),
                    "normals": pack(np.pad(np.round(mesh.normals * 127), ((0, 0), (0, 1))), "i1"),
                    "faces": pack(mesh.faces, "u4" if len(mesh.vertices) > 65535 else "u2"),
                    "wide": len(mesh.vertices) > 65535,
                    "colour": [round(float(c), 4) for c in mesh.colour],
                }
            )
        place = {"parent": part.parent, "joint": part.joint, "position": part.position, "orientation": part.orientation}
        parts.append({**place, "axis": part.axis, "slides": part.slides, "meshes": meshes})
    return {"name": figure.model.name, "height": figure.model.default_height, "parts": parts}


def motion_data(episodes: Sequence[Measures]) -> list[dict[str, Any]]:
    """Return every episode's motion, 25 poses a second."""
    return [_motion(episode) for episode in episodes]


def pose_rows(times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows of an episode whose poses are played; `times` (rows,), s."""
    stride = max(1, round(1 / (RATE * float(times[1] - times[0])))) if len(times) > 1 else 1
    return np.arange(0, len(times), stride)


def _motion(episode: Measures) -> dict[str, Any]:
    times, rows = episode.time, pose_rows(episode.time)
    wrapped = (episode.joints[rows] + np.pi) % (2 * np.pi) - np.pi
    return {
        "seed": episode.metadata.seed,
        "result": episode.result,
        "success": episode.success,
        "seconds": round(float(times[rows[-1]]), 4),
        "step": round(float(times[rows[1]] - times[0]), 6) if len(rows) > 1 else 0.04,
        "count": len(rows),
        "joints": episode.joints.shape[1],
        "position": pack(episode.position[rows], "f4"),
        "orientation": pack(np.round(episode.orientation[rows] * UNIT_SCALE), "i2"),
        "angles": pack(np.round(wrapped * ANGLE_SCALE), "i2"),
        "tilt": [round(float(x), 1) for x in episode.tilt[rows]],
        "pushes": [[round(p.time, 3), round(p.velocity[0], 4), round(p.velocity[1], 4)] for p in episode.pushes],
    }

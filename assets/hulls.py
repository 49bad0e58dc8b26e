"""Convex hulls of generated shapes: wedges, and spur gears with involute teeth.

The engine puts its margin around a hull, as it does around a cylinder: `inset` takes that off beforehand.
"""

from __future__ import annotations

import math

import numpy as np

from training_ground.assets.poses import Array

PRESSURE_ANGLE = math.radians(20.0)
"""Of the teeth, rad (ISO 53)."""
DEDENDUM = 1.25
"""Modules from the pitch circle to the root (ISO 53); the teeth rise one module above it."""
BACKLASH = 0.04
"""Modules by which a tooth is thinner than half the pitch."""
ROWS = 4
"""Points along a flank from the pitch circle inwards, and outwards."""


def wedge(x: float, y: float, z: float, inset: float = 0.0) -> Array:
    """Return the corners (6, 3), m, of half a box of these lengths: its slope falls from the top of the side at -x/2 to
    the bottom of the side at x/2. A ball with a radius of the inset must fit in."""
    slope = math.hypot(x, z)
    # The slope moves inwards by the inset, too: along the bottom that is inset · slope / z.
    right = 0.5 * x - inset * (slope + x) / z
    top = 0.5 * z - inset * (slope + z) / x
    left, bottom, half = inset - 0.5 * x, inset - 0.5 * z, 0.5 * y - inset
    section = [(left, bottom), (right, bottom), (left, top)]
    return np.array([(u, side * half, w) for side in (-1, 1) for u, w in section])


def gear(module: float, teeth: int, width: float, inset: float = 0.0) -> list[Array]:
    """Return a spur gear about the z axis, a tooth on the x axis, as the hull of its body and those of its teeth.

    Args:
        module: Pitch diameter over the number of teeth, m.
        teeth: Their number, 12 or more.
        width: Along z, m.
        inset: m by which every face lies deeper.

    Returns:
        (k, 3) vertices of each hull, m.
    """
    pitch = 0.5 * module * teeth
    root, tip, base = pitch - DEDENDUM * module, pitch + module, pitch * math.cos(PRESSURE_ANGLE)
    half = 0.5 * width - inset
    turns = 2.0 * math.pi / teeth * np.arange(teeth)
    body = [((root - inset) * math.cos(t), (root - inset) * math.sin(t)) for t in turns]
    hulls = [_extruded(np.array(body), half)]
    # Half the angle of a tooth: at the pitch circle a quarter of the pitch, elsewhere as the involute has it.
    at_pitch = (0.5 * math.pi - BACKLASH) / teeth + _involute(PRESSURE_ANGLE)
    inner = np.linspace(max(root - module, 0.5 * root), pitch, ROWS)
    radii = np.concatenate([inner, np.linspace(pitch, tip - inset, ROWS)[1:]])
    flank = []
    for radius in radii:
        angle = at_pitch - (_involute(math.acos(base / radius)) if radius > base else 0.0) - inset / radius
        flank.append((radius, angle))
    outline = [(r, a) for r, a in flank] + [(r, -a) for r, a in reversed(flank)]
    for turn in turns:
        points = [(r * math.cos(turn + a), r * math.sin(turn + a)) for r, a in outline]
        hulls.append(_extruded(np.array(points), half))
    return hulls


def _involute(angle: float) -> float:
    return math.tan(angle) - angle


def _extruded(outline: Array, half: float) -> Array:
    return np.vstack([np.column_stack([outline, np.full(len(outline), z)]) for z in (-half, half)])

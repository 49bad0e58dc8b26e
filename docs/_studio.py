"""Photographs of robots for README and pages: our own renderer, with soft shadows and a floor without an end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training_ground.envs.world import World

Array = NDArray[np.float64]

LIGHT = (0.5, -0.55, 1.0)
"""Direction to the light."""
LIGHT_PIXELS = 1200
SHADOW = 0.42
"""Share of light that a shadow takes."""
SKY = (np.array([250.0, 251.0, 252.0]), np.array([228.0, 232.0, 237.0]))
"""Colour at the top of a picture, and at its bottom, where the floor fades out."""
BRIGHTER = 1.12


def photograph(
    world: World,
    eye: Sequence[float],
    target: Sequence[float],
    *,
    width: int,
    height: int,
    view_deg: float,
    reach: float,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Take a picture.

    Args:
        world: With a visible ground and robots.
        eye: (3,) m.
        target: (3,) m.
        width: Pixels.
        height: Pixels.
        view_deg: Vertical angle of view.
        reach: Distance from the target, m, within which everything lies; the floor fades out beyond.

    Returns:
        The picture (H, W, 3), and where the robots are in it (H, W).
    """
    image = world.camera(eye, target, width=width, height=height, field_of_view_deg=view_deg, far=60.0)
    robots = _robots(world, image.segmentation)
    places = _floor_points(eye, target, width, height, view_deg, image.depth)
    rgb = np.minimum(image.rgb * BRIGHTER, 255.0)
    rgb *= np.where(robots, 1.0, 1.0 - SHADOW * _shadow(world, target, reach, places))[:, :, None]
    away = np.linalg.norm(places[:, :, :2] - np.asarray(target)[:2], axis=-1)
    share = np.clip((away - reach) / (1.6 * reach), 0.0, 1.0)
    share = np.where(image.segmentation < 0, 1.0, np.where(robots, 0.0, share * share * (3 - 2 * share)))[:, :, None]
    down = np.linspace(0.0, 1.0, height)[:, None, None]
    return np.round(rgb * (1 - share) + (SKY[0] * (1 - down) + SKY[1] * down) * share).astype(np.uint8), robots


def _robots(world: World, segmentation: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where a robot is seen."""
    robot = np.array([body not in ("floor", "ground") for body, _ in world.segments])
    return (segmentation >= 0) & robot[segmentation]


def _axes(eye: Sequence[float], target: Sequence[float]) -> tuple[Array, Array, Array]:
    forward = np.subtract(target, eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return forward, right, np.cross(right, forward)


def _floor_points(
    eye: Sequence[float], target: Sequence[float], width: int, height: int, view_deg: float, depth: NDArray[np.float32]
) -> Array:
    """World point (H, W, 3) that each pixel shows."""
    forward, right, up = _axes(eye, target)
    scale = math.tan(math.radians(view_deg) / 2) / (height / 2)
    x = (np.arange(width) + 0.5 - width / 2) * scale
    y = (height / 2 - np.arange(height) - 0.5) * scale
    rays = forward + x[None, :, None] * right + y[:, None, None] * up
    return np.asarray(eye) + depth[:, :, None] * rays


def _shadow(world: World, target: Sequence[float], reach: float, places: Array) -> Array:
    """How far (H, W), in [0, 1], the robots hide each place from a light that is not a point."""
    centre = np.array([target[0], target[1], 0.0])
    far = 4.0 * reach
    light = (centre + far * np.array(LIGHT) / np.linalg.norm(LIGHT)).tolist()
    view_deg = 2 * math.degrees(math.atan(1.25 * reach / far))
    size = LIGHT_PIXELS
    seen = world.camera(light, centre.tolist(), width=size, height=size, field_of_view_deg=view_deg, far=3 * far)
    mask = Image.fromarray(np.where(_robots(world, seen.segmentation), 255, 0).astype(np.uint8))
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(size * 0.012 / reach)), float) / 255
    forward, right, up = _axes(light, centre.tolist())
    offset = places - np.asarray(light)
    scale = size / 2 / math.tan(math.radians(view_deg) / 2) / (offset @ forward)
    column = np.clip(size / 2 + offset @ right * scale, 0, size - 1).astype(int)
    row = np.clip(size / 2 - offset @ up * scale, 0, size - 1).astype(int)
    return soft[row, column]

"""Draw a robot with our own renderer, as in the README: `python docs/_picture.py g1` writes `docs/images/g1.png`."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import _studio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training_ground.assets.catalog import load_model
from training_ground.envs.robot import Robot
from training_ground.envs.world import World

VIEW_DEG = 40.0
MARGIN = 0.7
"""m from a link's origin to the end of what it may carry; the picture is cut to the robot afterwards."""


def draw(name: str, path: Path, *, width: int = 520, height: int = 640, finer: int = 3) -> None:
    """Draw a robot in its default pose, on the ground or on its stand.

    Args:
        name: Robot.
        path: PNG to write.
        width: Pixels.
        height: Pixels.
        finer: Pixels drawn for one that is kept, each way: the renderer does not smooth edges.
    """
    model = load_model(name, visuals=True)
    world = World()
    world.add_ground(visual=True)
    robot = Robot(world, model, stance=model.stances[0], visuals=True, tracked=tuple(model.frames))
    robot.place(model.default_position.tolist(), yaw=-0.25)
    points = np.array([robot.frame(frame).position for frame in model.frames])
    low, high = points.min(axis=0) - MARGIN, points.max(axis=0) + MARGIN
    centre = (low + high) / 2
    extent = max(high[2] - low[2], (high[1] - low[1]) * height / width)
    eye = centre + 0.5 * extent / math.tan(math.radians(VIEW_DEG) / 2) * np.array([0.93, 0.3, 0.22])
    rgb, robots = _studio.photograph(
        world,
        eye.tolist(),
        centre.tolist(),
        width=width * finer,
        height=height * finer,
        view_deg=VIEW_DEG,
        reach=1.6 * model.default_height,
    )
    world.close()
    picture = Image.fromarray(rgb)
    box = _box(robots, width / height)
    picture.crop(box).resize((width, height), Image.Resampling.LANCZOS).save(path, optimize=True)


def _box(mask: NDArray[np.bool_], aspect: float) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of the given width over height around what the mask shows, a little wider."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, mask.shape[1], mask.shape[0]
    tall = min(1.12 * max(np.ptp(rows), np.ptp(columns) / aspect), mask.shape[0], mask.shape[1] / aspect)
    wide = tall * aspect
    left = min(max((columns[0] + columns[-1] - wide) / 2, 0), mask.shape[1] - wide)
    top = min(max((rows[0] + rows[-1] - tall) / 2, 0), mask.shape[0] - tall)
    return round(left), round(top), round(left + wide), round(top + tall)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ["g1"]:
        draw(chosen, Path(__file__).parent / "images" / f"{chosen}.png")

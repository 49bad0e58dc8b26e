"""Draw a robot with our own renderer, as in the README: `python docs/images/picture.py g1`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from training_ground.assets.catalog import load_model
from training_ground.envs.robot import Robot
from training_ground.envs.world import World

WIDTH, HEIGHT = 520, 640
FINER = 3
"""Pixels drawn for one that is kept, each way: the renderer does not smooth edges."""


def draw(name: str, path: Path) -> None:
    """Draw a robot in its default pose, on the ground or on its stand, and write a PNG."""
    model = load_model(name, visuals=True)
    world = World()
    world.add_ground(visual=True)
    robot = Robot(world, model, stance=model.stances[0], visuals=True)
    robot.place(model.default_position.tolist(), yaw=0.35)
    height = model.default_height
    image = world.camera(
        (2.9 * height, 0.9 * height, 1.45 * height),
        (0.0, 0.0, 0.83 * height),
        width=WIDTH * FINER,
        height=HEIGHT * FINER,
        field_of_view_deg=40.0,
        shadow=True,
    )
    world.close()
    Image.fromarray(image.rgb).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(path, optimize=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ["g1"]:
        draw(chosen, Path(__file__).parent / f"{chosen}.png")

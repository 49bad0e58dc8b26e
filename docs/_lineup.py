"""Draw all robots side by side with our own renderer: `python docs/_lineup.py` writes `docs/images/robots.png`."""

from __future__ import annotations

import sys
from pathlib import Path

import _studio
import numpy as np
from PIL import Image

from training_ground.assets.catalog import load_model
from training_ground.assets.model import CompiledModel
from training_ground.envs import rotations
from training_ground.envs.robot import Robot
from training_ground.envs.world import World

NAMES = ("icub", "alex", "g1", "talos", "g1_dex3", "romeo", "alexander_legs", "simple_humanoid")
GAP = 0.9
"""m between two robots."""
WIDTH, HEIGHT, FINER = 1500, 480, 2
SHOWN = -0.35
"""rad by which every robot is turned away from the camera: a little of its side is seen."""


def front(model: CompiledModel) -> float:
    """Return the heading, rad, of a robot's front in its base frame at the default pose: where its toes point."""
    world = World()
    robot = Robot(world, model, stance=model.stances[0])
    robot.place(model.default_position.tolist())
    toes = np.zeros(2)
    for foot, state in zip(model.feet, robot.feet, strict=True):
        toes += np.asarray(rotations.rotate(state.orientation, foot.sole.mean(axis=0).tolist()))[:2]
    world.close()
    return float(np.arctan2(toes[1], toes[0])) if model.feet else 0.0


def lineup(names: tuple[str, ...], path: Path) -> None:
    """Draw robots in their default poses on one floor."""
    world = World()
    world.add_ground(visual=True)
    for index, name in enumerate(names):
        model = load_model(name, visuals=True)
        turn = SHOWN - front(model)
        robot = Robot(world, model, stance=model.stances[0], visuals=True)
        robot.place(model.default_position.tolist())
        y = (index - (len(names) - 1) / 2) * GAP
        robot.body.set_base((0.0, y, robot.base.position[2]), rotations.from_euler(0.0, 0.0, turn))
    picture, _ = _studio.photograph(
        world,
        (7.2, 0.0, 1.35),
        (0.0, 0.0, 0.76),
        width=WIDTH * FINER,
        height=HEIGHT * FINER,
        view_deg=19.0,
        reach=(len(names) + 0.5) / 2 * GAP,
    )
    world.close()
    Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(path, optimize=True)


if __name__ == "__main__":
    lineup(tuple(sys.argv[1:]) or NAMES, Path(__file__).parent / "images" / "robots.png")

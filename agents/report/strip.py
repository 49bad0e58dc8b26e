"""A film strip: pictures of a recorded episode around a push, drawn from its poses, without simulating."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training_ground.agents.report.measures import Measures, Push
from training_ground.assets.model import CompiledModel
from training_ground.envs.robot import Robot
from training_ground.envs.world import World

WIDTH, HEIGHT, FINER = 264, 352, 2
VIEW_DEG = 38.0
PUSH_COLOUR = (226, 82, 43)
ARROW_S = 0.35
"""Time after the push for which its arrow is drawn, s."""


def film_strip(model: CompiledModel, episode: Measures, push: Push | None, times: Sequence[float]) -> list[str]:
    """Draw the robot at `times` (s) and return JPEG pictures as data URLs.

    The camera stands still, beside the direction of the push, so that the robot's motion is seen.
    """
    first = _row(episode, times[0])
    x, y, _ = episode.position[first]
    vx, vy = push.velocity if push else (0.0, -1.0)
    angle = math.atan2(vy, vx) + math.radians(105)
    tall = model.default_height
    target = (x + 0.25 * vx, y + 0.25 * vy, 0.82 * tall)
    reach = 2.3 * tall / 0.8
    eye = (target[0] + reach * math.cos(angle), target[1] + reach * math.sin(angle), 1.25 * tall)
    pictures = []
    with closing(World()) as world:
        world.add_ground(visual=True)
        robot = Robot(world, model, visuals=True)
        for time in times:
            row = _row(episode, time)
            robot.body.set_joints(episode.joints[row].tolist())
            robot.body.set_base(episode.position[row].tolist(), episode.orientation[row].tolist())
            image = world.camera(
                eye, target, width=WIDTH * FINER, height=HEIGHT * FINER, field_of_view_deg=VIEW_DEG, shadow=True
            )
            picture = Image.fromarray(image.rgb)
            if push is not None and 0 <= time - push.time < ARROW_S:
                _draw_arrow(picture, push, episode.position[row], eye, target)
            pictures.append(_data_url(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)))
    return pictures


def _row(episode: Measures, time: float) -> int:
    return int(np.argmin(np.abs(episode.time - time)))


def _draw_arrow(
    picture: Image.Image,
    push: Push,
    base: NDArray[np.float64],
    eye: Sequence[float],
    target: Sequence[float],
) -> None:
    direction = np.array([*push.velocity, 0.0])
    tip = base + np.array([0.0, 0.0, 0.25]) - 0.14 * direction / max(push.speed, 1e-9)
    tail, head = project(np.array([tip - 0.8 * direction, tip]), eye, target, VIEW_DEG, *picture.size)
    along = head - tail
    length = float(np.linalg.norm(along))
    if length < 1:
        return
    along /= length
    side = np.array([-along[1], along[0]])
    size = 11.0 * FINER
    neck = head - along * size
    draw = ImageDraw.Draw(picture)
    draw.line([tuple(tail), tuple(neck)], fill=PUSH_COLOUR, width=5 * FINER)
    draw.polygon([tuple(head), tuple(neck + side * size * 0.6), tuple(neck - side * size * 0.6)], fill=PUSH_COLOUR)


def project(
    points: NDArray[np.float64],
    eye: Sequence[float],
    target: Sequence[float],
    view_deg: float,
    width: int,
    height: int,
) -> NDArray[np.float64]:
    """Return the pixels (k, 2) at which `World.camera` shows world points (k, 3)."""
    forward = np.subtract(target, eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    offset = points - np.asarray(eye)
    scale = height / 2 / math.tan(math.radians(view_deg) / 2) / (offset @ forward)
    return np.stack([width / 2 + offset @ right * scale, height / 2 - offset @ up * scale], axis=1)


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

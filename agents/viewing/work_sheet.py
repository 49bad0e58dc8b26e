"""A film strip of work in a cell as one picture: the beginning of each phase, and what lies between."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from training_ground.agents.viewing.pen import FINER, Pen
from training_ground.agents.viewing.session import Session
from training_ground.agents.viewing.sheet import BETWEEN, INK, SOFT
from training_ground.configs.errors import AgentError
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv

ROWS, COLUMNS = 2, 6
WIDTH, HEIGHT, GAP, MARGIN, CAPTION, HEAD = 320, 300, 8, 36, 32, 84
"""Pixels: of a picture, between two, around all, under each picture and above the first row."""
VIEW_DEG = 43.0
AHEAD, AWAY, ABOVE, ASKEW_DEG = 0.3, 1.25, 0.5, 25.0
"""m from the robot to the work, m from there to the camera, m over it, and how far the view is turned from square
towards the robot's front. Where somebody works with it, there is more to see."""
SHORTEST_S = 0.15
"""A phase that is over sooner gets no picture of its own."""
AFTER_S = 0.3
"""s shown after success."""


def draw_work_sheet(
    session: Session,
    begin: float | None = None,
    length: float | None = None,
    on_picture: Callable[[float], None] | None = None,
) -> tuple[Image.Image, dict[str, Any]]:
    """Run the session's episode twice, first to see its phases, then to take the pictures.

    Args:
        session: Just reset, of a task in a cell; its environment must be made with `render_mode="rgb_array"`. It stands
            at the end of what is shown afterwards.
        begin: Not before this time, s.
        length: s; until shortly after success where absent, or to the end of the episode.
        on_picture: Called after each picture with 1.

    Returns:
        The picture, and what it shows as plain data.

    Raises:
        AgentError: The episode is over before `begin`.
    """
    assert isinstance(session.env.task, CellTask)
    phases, succeeded = _phases(session)
    start, end = begin or 0.0, session.time
    if start >= end:
        raise AgentError(f"--strip-from {start:g}: the episode is over after {end:.2f} s")
    if length is not None:
        end = min(start + length, end)
    elif succeeded is not None:
        end = min(max(succeeded, start) + AFTER_S, end)
    times = _moments([time for time, _ in phases], start, end)
    side = side_of_work(session.env)
    session.reset(session.seed)
    pictures = []
    for time in times:
        while session.time < time - 1e-9 and not session.ended:
            session.step()
        pictures.append(photograph(session.env, side))
        if on_picture is not None:
            on_picture(1.0)
    outcome = "success" if succeeded is not None else session.info["failure"] or "no success"
    shown = {"from_s": start, "to_s": end, "pictures": len(times), "outcome": outcome, "succeeded_s": succeeded}
    captions = [f"{time:.2f} s   {_phase(phases, time)}" for time in times]
    return _compose(session, shown, pictures, captions), shown


def _phases(session: Session) -> tuple[list[tuple[float, str]], float | None]:
    """Play the episode: each phase that lasts with the time of its beginning, s, and when success first held."""
    runs: list[tuple[float, str]] = []
    succeeded = None
    while not session.ended:
        session.step()
        phase = session.info["phase"]
        if not runs or runs[-1][1] != phase:
            runs.append((session.time, phase))
        if session.info["success"] and succeeded is None:
            succeeded = session.time
    ends = [time for time, _ in runs[1:]] + [math.inf]
    lasting = [run for run, end in zip(runs, ends, strict=True) if end - run[0] >= SHORTEST_S]
    return [run for i, run in enumerate(lasting) if i == 0 or lasting[i - 1][1] != run[1]], succeeded


def _phase(phases: list[tuple[float, str]], time: float) -> str:
    return next((name for begin, name in reversed(phases) if begin <= time + 1e-9), phases[0][1])


def _moments(marks: list[float], start: float, end: float) -> list[float]:
    """Choose times: those given, as many as there are pictures for, and more where the gaps are longest."""
    inside = [time for time in marks if start + SHORTEST_S < time < end - SHORTEST_S]
    times = [start, *inside[: ROWS * COLUMNS - 2], end]
    while len(times) < ROWS * COLUMNS:
        _, at = max((b - a, i) for i, (a, b) in enumerate(pairwise(times)))
        times.insert(at + 1, (times[at] + times[at + 1]) / 2)
    return times


def side_of_work(env: HumanoidEnv) -> float:
    """Side from which to look, 1 for the robot's left: that of most of what it works with."""
    task = env.task
    assert isinstance(task, CellTask)
    middle = np.mean([task.place.frame(name).position[1] for name in task.objects or task.place.spec.reach])
    return 1.0 if middle > 0.05 else -1.0


def photograph(env: HumanoidEnv, side: float) -> Image.Image:
    """Take a picture of the work in a cell; the environment must be made with `render_mode="rgb_array"`.

    Args:
        env: Of a `CellTask`.
        side: From which to look, 1 for the robot's left.
    """
    x, y, _ = env.robot.base.position
    shoulder = env.task.shoulder_height(env.task.config) or env.robot.base.position[2] + 0.3
    partner = isinstance(env.task, CellTask) and env.task.place.spec.receiver is not None
    ahead, away, above = (AHEAD + 0.35, 1.6 * AWAY, 0.0) if partner else (AHEAD, AWAY, -0.16)
    target = (x + ahead, y, shoulder + above)
    angle = math.radians(90.0 - ASKEW_DEG)
    eye = (target[0] - away * math.cos(angle), y + side * away * math.sin(angle), target[2] + ABOVE)
    width, height = WIDTH * FINER, HEIGHT * FINER
    view = env.world.camera(eye, target, width=width, height=height, field_of_view_deg=VIEW_DEG)
    return Image.fromarray(view.rgb).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _compose(session: Session, shown: dict[str, Any], pictures: list[Image.Image], captions: list[str]) -> Image.Image:
    env = session.env
    pen = Pen(2 * MARGIN + COLUMNS * WIDTH + (COLUMNS - 1) * GAP, HEAD + ROWS * (HEIGHT + CAPTION + GAP) + MARGIN - 20)
    tier = getattr(env.task.config, "tier", "nominal")
    parts = [env.task.id, f"tier {tier}", env.model.title, f"policy {session.policy.name}", f"seed {session.seed}"]
    pen.text(MARGIN, 20, BETWEEN.join(parts), INK, 22)
    done = f"success after {shown['succeeded_s']:.2f} s" if shown["succeeded_s"] is not None else shown["outcome"]
    pen.text(MARGIN, 52, done, SOFT, 17)
    places = []
    for index, caption in enumerate(captions):
        row, column = divmod(index, COLUMNS)
        places.append((MARGIN + column * (WIDTH + GAP), HEAD + row * (HEIGHT + CAPTION + GAP)))
        pen.text(places[-1][0] + 2, places[-1][1] + HEIGHT + 5, caption, INK, 16)
    sheet = pen.finished()
    for picture, place in zip(pictures, places, strict=True):
        sheet.paste(picture, place)
    return sheet

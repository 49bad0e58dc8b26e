"""A film strip as one picture: a robot from the side at equal times, and under it what its feet did."""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training_ground.agents.files import write_atomic
from training_ground.agents.report.charts import nice_ceiling, number, ticks
from training_ground.agents.viewing.pen import FINER, Pen
from training_ground.agents.viewing.session import Session
from training_ground.agents.viewing.trace import SEARCHED_S, SETTLED_S, Trace, record_trace
from training_ground.assets.model import CompiledModel
from training_ground.configs.errors import AgentError
from training_ground.envs.env import HumanoidEnv

ROWS, COLUMNS = 2, 8
WIDTH, HEIGHT, GAP, MARGIN, CAPTION, HEAD = 232, 372, 8, 36, 32, 84
"""Pixels: of a picture, between two, around all, under each picture and above the first row."""
CHART, LEGEND = 200, 24
VIEW_DEG = 24.0
BRIGHTER, TINT = 1.15, 0.5
"""Factor on the light, and share of its side's colour that a leg takes on, so that one is told from the other."""
INK, SOFT, LINE = (25, 29, 34), (90, 100, 111), (223, 227, 232)
SIDES = {"left": (36, 96, 196), "right": (217, 130, 24)}
OTHER = (26, 143, 120)
PUSH = (217, 72, 28)

BETWEEN = "   ·   "


def draw_sheet(
    session: Session,
    begin: float | None = None,
    length: float | None = None,
    on_picture: Callable[[float], None] | None = None,
) -> tuple[Image.Image, dict[str, Any]]:
    """Run the session's episode twice, first to see what its feet do, then to take the pictures.

    Args:
        session: Just reset; its environment must be made with `render_mode="rgb_array"`. It stands at the end of what
            is shown afterwards.
        begin: Not before this time, s; see `Trace.window`.
        length: s; two cycles of the gait where absent, or 2 s where there is no gait.
        on_picture: Called after each picture with 1.

    Returns:
        The picture, and what it shows as plain data.

    Raises:
        AgentError: The episode is over before `begin`.
    """
    start = SETTLED_S if begin is None else begin
    trace = record_trace(session, start + max(SEARCHED_S, length or 0.0))
    window = trace.window(begin, length)
    times = np.linspace(*window, ROWS * COLUMNS + 1)[:-1].tolist()
    angle, legs = _side(trace, window), leg_links(session.env.model)
    session.reset(session.seed)
    pictures = []
    for time in times:
        while session.time < time - 1e-9 and not session.ended:
            session.step()
        pictures.append(photograph(session.env, angle, legs))
        if on_picture is not None:
            on_picture(1.0)
    feet = [foot.side for foot in session.env.model.feet] if session.env.stance == "free" else []
    shown = {"from_s": window[0], "to_s": window[1], "pictures": len(pictures), **_figures(trace, window, feet)}
    return _compose(_title(session, trace, window), shown, pictures, times, trace, window, feet), shown


def write_sheet(path: Path, picture: Image.Image) -> None:
    """Write a sheet as PNG.

    Raises:
        AgentError: The name does not end in .png, or the file cannot be written.
    """
    check_name(path)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def check_name(path: Path) -> None:
    """Refuse a name that does not end in .png, before anything is simulated."""
    if path.suffix.lower() != ".png":
        raise AgentError(f"strip '{path}': the name must end in .png")


def _side(trace: Trace, window: tuple[float, float]) -> float:
    """Direction, rad, that goes to the right in the pictures: where the robot goes, or looks where it stays."""
    part = trace.part(window)
    dx, dy, _ = trace.position[part][-1] - trace.position[part][0]
    if math.hypot(dx, dy) > 0.15:
        return math.atan2(dy, dx)
    return float(trace.heading[part].mean())


def leg_links(model: CompiledModel) -> dict[str, set[str]]:
    """Links of each foot's leg, by side: from the foot towards the base, as far as no other foot hangs on them."""
    joints = ET.parse(model.urdf).getroot().iter("joint")
    parents = {_link(joint, "child"): _link(joint, "parent") for joint in joints}
    chains: dict[str, list[str]] = {}
    for foot in model.feet:
        chain = chains.setdefault(foot.side, [foot.link])
        while chain[-1] in parents:
            chain.append(parents[chain[-1]])
    count = Counter(link for chain in chains.values() for link in chain)
    return {side: {link for link in chain if count[link] == 1} - {model.base_link} for side, chain in chains.items()}


def _link(joint: ET.Element, role: str) -> str:
    found = joint.find(role)
    return "" if found is None else found.get("link", "")


def photograph(env: HumanoidEnv, angle: float, legs: dict[str, set[str]]) -> Image.Image:
    """Take a picture from the robot's right, its legs tinted in the colours of their sides.

    Args:
        env: Made with `render_mode="rgb_array"`.
        angle: Direction, rad, that goes to the right in the picture.
        legs: As `leg_links` gives them; empty for legs as they are.
    """
    tall = env.model.default_height
    x, y, z = env.robot.base.position
    lift = z - tall if env.stance == "mounted" else 0.0
    away = tall / math.tan(math.radians(VIEW_DEG) / 2)
    target = (x, y, 0.82 * tall + lift)
    eye = (x + away * math.sin(angle), y - away * math.cos(angle), 1.3 * tall + lift)
    width, height = WIDTH * FINER, HEIGHT * FINER
    view = env.world.camera(eye, target, width=width, height=height, field_of_view_deg=VIEW_DEG)
    rgb = view.rgb * BRIGHTER
    for side, links in legs.items():
        seen = np.array([body == env.model.name and link in links for body, link in env.world.segments])
        mask = (view.segmentation >= 0) & seen[view.segmentation]
        light = rgb[mask].mean(axis=1, keepdims=True) / 150.0
        rgb[mask] = (1 - TINT) * rgb[mask] + TINT * light * np.array(SIDES.get(side, OTHER))
    picture = Image.fromarray(np.minimum(rgb, 255.0).astype(np.uint8))
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _figures(trace: Trace, window: tuple[float, float], feet: Sequence[str]) -> dict[str, Any]:
    """What the window shows in numbers: s, m, m/s and shares of the time; nothing of feet that hang free."""
    part = trace.part(window)
    dx, dy, _ = trace.position[part][-1] - trace.position[part][0]
    shown: dict[str, Any] = {"speed": math.hypot(dx, dy) / (window[1] - window[0])}
    gait = trace.two_cycles(window[0])
    shown["cycle_s"] = (window[1] - window[0]) / 2 if gait == window else None
    if feet:
        shown["flight"] = float(np.mean(~trace.contact[part].any(axis=1)))
        shown["double_support"] = float(np.mean(trace.contact[part].all(axis=1)))
        shown["lift"] = dict(zip(feet, np.ptp(trace.lift[part], axis=0).tolist(), strict=True))
    return shown


def _title(session: Session, trace: Trace, window: tuple[float, float]) -> str:
    env = session.env
    parts = [env.task.id, env.model.title, f"policy {session.policy.name}", f"seed {session.seed}"]
    if trace.command is not None:
        x, y = trace.command[trace.row(window[0])]
        parts.append(f"commanded {x:.2f} m/s forward" + (f", {y:.2f} m/s to the left" if abs(y) > 0.005 else ""))
    return BETWEEN.join(parts)


def _subtitle(shown: dict[str, Any]) -> str:
    parts = [f"{shown['speed']:.2f} m/s"]
    if shown["cycle_s"] is not None:
        parts.append(f"one cycle {shown['cycle_s']:.2f} s, a row each")
    if "lift" in shown:
        parts.append("lifts " + ", ".join(f"{side} {100 * lift:.1f} cm" for side, lift in shown["lift"].items()))
        parts.append(f"both feet down {shown['double_support']:.0%}, none {shown['flight']:.0%} of the time")
    return BETWEEN.join(parts)


def _compose(
    title: str,
    shown: dict[str, Any],
    pictures: Sequence[Image.Image],
    times: Sequence[float],
    trace: Trace,
    window: tuple[float, float],
    feet: Sequence[str],
) -> Image.Image:
    width = 2 * MARGIN + COLUMNS * WIDTH + (COLUMNS - 1) * GAP
    chart_top = HEAD + ROWS * (HEIGHT + CAPTION + GAP) + 34
    height = chart_top + (CHART + LEGEND + 22 * len(feet) if feet else -20) + MARGIN
    pen = Pen(width, height)
    pen.text(MARGIN, 20, title, INK, 22)
    pen.text(MARGIN, 52, _subtitle(shown), SOFT, 17)
    places = []
    for index, time in enumerate(times):
        row, column = divmod(index, COLUMNS)
        left, top = MARGIN + column * (WIDTH + GAP), HEAD + row * (HEIGHT + CAPTION + GAP)
        places.append((left, top))
        pen.text(left + 2, top + HEIGHT + 5, f"{time:.2f} s", INK, 16)
        down = trace.contact[trace.row(time)]
        for place, side in enumerate(feet):
            x = left + WIDTH - 26 * (len(feet) - place) + 4
            pen.chip(x, top + HEIGHT + 6, side[:1].upper(), SIDES.get(side, OTHER), bool(down[place]))
    if feet:
        _chart(pen, MARGIN + 44, chart_top, width - 2 * MARGIN - 44, trace, window, times, feet)
    sheet = pen.finished()
    for picture, place in zip(pictures, places, strict=True):
        sheet.paste(picture, place)
    return sheet


def _chart(
    pen: Pen,
    left: float,
    top: float,
    width: float,
    trace: Trace,
    window: tuple[float, float],
    times: Sequence[float],
    feet: Sequence[str],
) -> None:
    """Heights of the soles over time, and under them bars while a foot carries the robot."""
    part = trace.part(window)
    ground = np.median(trace.lift[part][trace.contact[part]]) if trace.contact[part].any() else 0.0
    time, lift = trace.time[part], 100 * np.maximum(trace.lift[part] - ground, 0.0)
    most = max(2.0, nice_ceiling(float(lift.max()) * 1.05))
    bottom = top + CHART

    def at(t: float, z: float = 0.0) -> tuple[float, float]:
        return left + width * (t - window[0]) / (window[1] - window[0]), bottom - CHART * z / most

    pen.text(left - 44, top - 26, "Height of each sole, cm; below: while the foot carries the robot", SOFT, 14)
    for z in ticks(0.0, most, 5):
        pen.line([at(window[0], z), at(window[1], z)], LINE, 1)
        pen.text(left - 10, at(0, z)[1] - 9, number(z), SOFT, 14, "ra")
    for index, t in enumerate(times):
        x, _ = at(t)
        pen.line([(x, top), (x, bottom + 22 * len(feet) + 8)], SOFT if index % COLUMNS == 0 else LINE, 1)
        pen.text(x, bottom + 22 * len(feet) + 12, f"{t:.2f}" + (" s" if index == 0 else ""), SOFT, 13, "ma")
    for push in trace.pushes:
        if window[0] <= push <= window[1]:
            x, _ = at(push)
            pen.line([(x, top - 6), (x, bottom)], PUSH, 2)
            pen.text(x + 6, top - 8, "push", PUSH, 14)
    step = float(trace.time[1] - trace.time[0])
    for index, side in enumerate(feet):
        colour = SIDES.get(side, OTHER)
        pen.line([at(t, z) for t, z in zip(time.tolist(), lift[:, index].tolist(), strict=True)], colour, 2.2)
        y = bottom + 10 + 22 * index
        pen.text(left - 10, y - 3, side, colour, 14, "ra")
        for t, down in zip(time.tolist(), trace.contact[part, index].tolist(), strict=True):
            if down and t > window[0]:  # a sample stands for the control step that it ends
                pen.box(max(at(t - step)[0], left), y, at(t)[0], y + 12, colour)

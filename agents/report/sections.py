"""The page's parts: small multiples, one episode's charts, torque bars, the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from training_ground.agents.report.charts import (
    Box,
    Chart,
    Limit,
    Line,
    drawing,
    marks,
    nice_ceiling,
    number,
    polyline,
)
from training_ground.agents.report.measures import JointLoad, Measures
from training_ground.assets.model import CompiledModel
from training_ground.datasets.markup import Html, escape, join, tag

TILT_MOST = 60.0
"""Degrees: what falls farther leaves the panel."""
CLOSE_JOINTS = 4
GRAVITY = 9.81


def tilt_range(episodes: Sequence[Measures]) -> tuple[float, float]:
    """Return one range for all panels, degrees: that of the successes, for what falls tilts as far as it can."""
    won = [m for m in episodes if m.success] or episodes
    return 0.0, min(TILT_MOST, nice_ceiling(1.15 * max(float(m.tilt.max()) for m in won)))


def height_range(episodes: Sequence[Measures]) -> tuple[float, float]:
    """Return one range for all panels, m: round numbers below the lowest base of a success and above the highest."""
    won = [m for m in episodes if m.success] or episodes
    low = min(float(m.height.min()) for m in won)
    high = max(float(m.height.max()) for m in won)
    return math.floor(low * 10 - 0.5) / 10, math.ceil(high * 10 + 0.2) / 10


def multiples(episodes: Sequence[Measures]) -> Html:
    """Return one small panel an episode: tilt above, height of the base below, the same axes in all."""
    span = (0.0, max(m.seconds for m in episodes))
    tilts, heights = tilt_range(episodes), height_range(episodes)
    return join(_multiple(m, span, tilts, heights) for m in episodes)


def _multiple(
    episode: Measures, span: tuple[float, float], tilts: tuple[float, float], heights: tuple[float, float]
) -> Html:
    width, left = 250.0, 36.0
    upper = Box(left, 9, width - left - 4, 46, span, tilts)
    lower = Box(left, 66, width - left - 4, 34, span, heights)
    times = [push.time for push in episode.pushes]
    parts = [
        *_frame(upper, tilts[1], "°"),
        *_frame(lower, heights[1], " m", heights[0]),
        *marks(upper, times),
        *(Html(f'<line class="push" x1="{x:.1f}" y1="66" x2="{x:.1f}" y2="100"/>') for x in _places(lower, times)),
        polyline(upper, episode.time, Line(episode.tilt, "c0" if episode.success else "bad")),
        polyline(lower, episode.time, Line(episode.height, "c2" if episode.success else "bad")),
    ]
    if not episode.success:
        x, y = upper.at(episode.seconds, float(episode.tilt[-1]))
        parts.append(Html(f'<circle cx="{float(x):.1f}" cy="{float(y):.1f}" r="3" style="fill:var(--bad)"/>'))
    result = episode.result if episode.success else f"{episode.result}, {episode.seconds:.1f} s"
    caption = join(
        [
            tag("span", f"seed {episode.metadata.seed}"),
            tag("span", result, class_=f"result {'good' if episode.success else 'bad'}"),
        ]
    )
    name = f"Tilt and height of the base, seed {episode.metadata.seed}"
    return tag("figure", join([tag("figcaption", caption), drawing(width, 104, parts, name)]), class_="multiple")


def _frame(box: Box, top: float, unit: str, bottom: float = 0.0) -> list[Html]:
    """Base line and top line, with their numbers."""
    right = box.left + box.width
    parts = []
    for value, y in ((top, box.top), (bottom, box.top + box.height)):
        parts.append(Html(f'<line class="grid" x1="{box.left}" y1="{y}" x2="{right}" y2="{y}"/>'))
        label = f"{number(round(value, 2))}{unit}"
        parts.append(
            Html(f'<text x="{box.left - 4}" y="{y + 3.5}" text-anchor="end" style="font-size:11px">{label}</text>')
        )
    return parts


def _places(box: Box, times: Sequence[float]) -> list[float]:
    return [float(box.at(time, box.y[0])[0]) for time in times]


def close_charts(episode: Measures, model: CompiledModel) -> Html:
    """Return the charts of one episode: height, tilt, feet, torques."""
    times = [push.time for push in episode.pushes]
    common = {"x": episode.time, "marks": times}
    low, high = height_range([episode])
    charts = [
        Chart("Height of the base", lines=[Line(episode.height, "c2")], y_range=(low, high), unit="m", **common),
        Chart("Tilt of the base", lines=[Line(episode.tilt)], y_range=tilt_range([episode]), unit="degrees", **common),
    ]
    if episode.foot_force.shape[1]:
        charts.append(_feet(episode, model, times))
    charts += _torques(episode, model, times)
    return join(chart.figure() for chart in charts)


def _feet(episode: Measures, model: CompiledModel, times: Sequence[float]) -> Chart:
    weight = model.mass * GRAVITY
    lines = [Line(episode.foot_force[:, i], f"c{i}", f"{foot.side} foot") for i, foot in enumerate(model.feet)]
    return Chart(
        "Vertical force on each foot",
        x=episode.time,
        lines=lines,
        y_range=(0.0, nice_ceiling(max(1.05 * weight, float(np.quantile(episode.foot_force, 0.995))))),
        marks=times,
        limits=[Limit(weight, f"weight {weight:.0f} N")],
        unit="N",
        note="Sample at the end of each control step. Peaks of a rigid contact are an artefact of simulation.",
    )


def _torques(episode: Measures, model: CompiledModel, times: Sequence[float]) -> list[Chart]:
    """The most loaded joints, those of a left and right pair in one chart, with their limits."""
    shares = np.abs(episode.torque) / model.effort_limit
    order = np.argsort(-np.quantile(shares, 0.95, axis=0))
    charts: list[Chart] = []
    used: set[int] = set()
    for joint in order.tolist():
        if joint in used or len(charts) == CLOSE_JOINTS - 1:
            continue
        pair = _pair(joint, model)
        used |= set(pair)
        limit = float(model.effort_limit[joint])
        most = max(float(np.abs(episode.torque[:, list(pair)]).max()), 1e-6)
        reach = limit * 1.12 if most > 0.45 * limit else nice_ceiling(most * 1.1)
        limits = [Limit(limit, f"limit {limit:g}"), Limit(-limit)] if reach > limit else []
        charts.append(
            Chart(
                f"Torque: {_plain_name(model.joint_names[joint], len(pair) > 1)}",
                x=episode.time,
                lines=[Line(episode.torque[:, j], f"c{k}", _side(model.joint_names[j])) for k, j in enumerate(pair)],
                y_range=(-reach, reach),
                marks=times,
                limits=limits,
                unit="N·m" if limits else f"N·m, limit ±{limit:g}",
            )
        )
    return charts


def _pair(joint: int, model: CompiledModel) -> tuple[int, ...]:
    twin = int(model.mirror.permutation[joint]) if model.mirror is not None else joint
    return (joint,) if twin == joint else tuple(sorted((joint, twin)))


def _side(name: str) -> str:
    return next((side for side in ("left", "right") if side in name.lower()), name)


def _plain_name(name: str, both: bool = False) -> str:
    """`left_hip_pitch_joint` as people say it."""
    words = [w for w in name.split("_") if w and w != "joint" and not (both and w in ("left", "right"))]
    return " ".join(words)


def load_bars(loads: Sequence[JointLoad]) -> Html:
    """Return a bar a joint: median, 95 % quantile and largest share of its torque limit."""
    rows = []
    for load in loads:
        widths = [min(100.0, 100 * share) for share in (load.most, load.high, load.median)]
        bars = [tag("i", style=f"width:{width:.1f}%") for width in widths]
        rows.append(
            tag(
                "div",
                join(
                    [
                        tag("span", _plain_name(load.joint), class_="name", title=load.joint),
                        tag("span", join(bars), class_="bar"),
                        tag("span", f"{100 * load.most:.0f} % of {load.limit:g}", class_="most"),
                    ]
                ),
                class_="load",
            )
        )
    return join(rows)


def table(episodes: Sequence[Measures], identical: Mapping[int, bool]) -> Html:
    """Return the table of episodes."""
    heads = [("episode", "n"), ("seed", "n"), ("length, s", "n"), ("result", None), ("pushes, s", None)]
    heads += [("most tilt, °", "n"), ("lowest base, m", "n"), ("replayed", None), ("content sha256", None)]
    head = tag("thead", tag("tr", join(tag("th", text, class_=style) for text, style in heads)))
    return tag("table", join([head, tag("tbody", join(_row(m, identical.get(m.number)) for m in episodes))]))


def _row(episode: Measures, identical: bool | None) -> Html:
    same = {True: "bit for bit", False: "differs", None: "not tried"}[identical]
    cells = [
        tag("td", episode.number, class_="n"),
        tag("td", episode.metadata.seed, class_="n"),
        tag("td", f"{episode.seconds:.2f}", class_="n"),
        tag("td", episode.result, class_="good" if episode.success else "bad"),
        tag("td", " · ".join(f"{push.time:.1f}" for push in episode.pushes) or "none", class_="dots"),
        tag("td", f"{episode.tilt.max():.1f}", class_="n"),
        tag("td", f"{episode.height.min():.3f}", class_="n"),
        tag("td", same, class_="bad" if identical is False else None),
        tag("td", tag("code", episode.metadata.content_sha256[:12] or "unknown")),
    ]
    return tag("tr", join(cells))


def wilson_bar(low: float, rate: float, high: float) -> Html:
    """Return the interval of a rate on a line from 0 to 1."""
    inner = Html(
        f'<i style="left:{100 * low:.1f}%;right:{100 * (1 - high):.1f}%"></i><b style="left:{100 * rate:.1f}%"></b>'
    )
    return tag("div", inner, class_="interval", aria_hidden="true")


def tile(label: str, value: object, detail: object, extra: Html | None = None) -> Html:
    """Return one number with what it means."""
    parts = [tag("p", label, class_="label"), tag("p", value, class_="value")]
    if extra is not None:
        parts.append(extra)
    return tag("div", join([*parts, tag("p", detail, class_="detail")]), class_="tile")


def definitions(pairs: Sequence[tuple[str, object]]) -> Html:
    """Return terms with what they mean."""
    return join(join([tag("dt", term), tag("dd", escape(value))]) for term, value in pairs)

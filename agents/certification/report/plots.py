"""Plots of a product test as inline SVG: rates with intervals over what is swept, distributions, places of a hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.report.charts import Box, drawing, grid, nice_ceiling, number
from training_ground.agents.statistics import wilson_interval
from training_ground.datasets.markup import Html, escape, join, tag

Array = NDArray[np.float64]
WIDTH, HEIGHT = 420, 210
BINS = 24
MOST_DOTS = 1500
SIDE = 170.0
MOST_WORDS = 7
"""Values that are written under the axis each."""
MOST_LETTERS = 14
"""Of a value that is a word, under the axis."""


@dataclass(frozen=True)
class Count:
    """Successes at one value of what is swept; `value` is a number, or a word."""

    value: float | str
    successes: int
    trials: int


def figure(title: str, unit: str, body: Html, note: str = "", legend: Sequence[tuple[str, str]] = ()) -> Html:
    """Return a drawing with its title and unit above, and what has to be known of it under it."""
    parts = [tag("figcaption", join([tag("b", title), tag("span", unit, class_="unit")])), body]
    if legend:
        keys = [tag("span", join([tag("i", class_=f"key {style}"), text])) for style, text in legend]
        parts.append(tag("div", join(keys), class_="legend"))
    if note:
        parts.append(tag("p", note, class_="note"))
    return tag("figure", join(parts), class_="chart")


def rate_plot(
    series: Sequence[Sequence[Count]], level: tuple[float, float, float] | None, axis: str, unit: str
) -> Html:
    """Return success rates with Wilson intervals over a swept value.

    Args:
        series: At least one, each over the same values; numbers in their order.
        level: Low, rate and high where nothing is swept, as a band; None for no band.
        axis: What is swept.
        unit: Of its values, may be empty.
    """
    values = [count.value for count in series[0]]
    numbers = all(isinstance(value, float) for value in values)
    xs = [float(value) if numbers else float(i) for i, value in enumerate(values)]
    margin = 0.06 * (max(xs) - min(xs)) or 0.5
    box = Box(42, 12, WIDTH - 56, HEIGHT - 44, (min(xs) - margin, max(xs) + margin), (0.0, 100.0))
    words = [number(value) if isinstance(value, float) else str(value) for value in values]
    named = len(values) <= MOST_WORDS or not numbers
    parts = _named_axis(box, xs, [*words[:-1], f"{words[-1]} {unit}".strip()]) if named else grid(box, unit)
    if level is not None:
        low, rate, high = (float(box.at(box.x[0], 100 * y)[1]) for y in level)
        size = f'x="{box.left}" y="{high:.1f}" width="{box.width}" height="{low - high:.1f}"'
        parts.append(Html(f'<rect class="band" {size}/>'))
        parts.append(_line(box.left, rate, box.left + box.width, rate, "limit"))
    for index, counts in enumerate(series):
        parts += _rates(box, xs, counts, axis, f"s{index}", 5.0 * (index - (len(series) - 1) / 2))
    return drawing(WIDTH, HEIGHT, parts, f"Success rate over {axis}")


def _rates(box: Box, xs: Sequence[float], counts: Sequence[Count], axis: str, style: str, aside: float) -> list[Html]:
    """Dots with bars, `aside` pixels from their place, joined by a line."""
    parts, path = [], []
    for x, count in zip(xs, counts, strict=True):
        rate = count.successes / count.trials if count.trials else 0.0
        low, high = wilson_interval(count.successes, count.trials)
        px = float(box.at(x, 0.0)[0]) + aside
        bottom, y, top = (float(box.at(x, 100 * share)[1]) for share in (low, rate, high))
        text = f"{axis} {count.value}: {count.successes} of {count.trials}, 95 % interval {low:.1%} to {high:.1%}"
        bar = [_line(px, top, px, bottom, "bar"), *(_line(px - 3, end, px + 3, end, "bar") for end in (top, bottom))]
        bar.append(Html(f'<circle class="dot" cx="{px:.1f}" cy="{y:.1f}" r="3.4"/>'))
        parts.append(tag("g", join([tag("title", text), *bar]), class_=style))
        path.append(f"{px:.1f},{y:.1f}")
    if all(isinstance(count.value, float) for count in counts):
        parts.append(Html(f'<polyline class="thin {style}" points="{" ".join(path)}"/>'))
    return parts


def _named_axis(box: Box, places: Sequence[float], words: Sequence[str]) -> list[Html]:
    *marks, base = grid(box, "")
    parts = [*(part for part in marks if 'class="grid"' in part or 'text-anchor="end"' in part), base]
    for place, word in zip(places, words, strict=True):
        x, _ = box.at(place, 0.0)
        short = word if len(word) <= MOST_LETTERS else f"{word[: MOST_LETTERS - 1]}…"
        parts.append(_line(float(x), box.top + box.height, float(x), box.top + box.height + 4, "axis"))
        parts.append(_text(float(x), box.top + box.height + 16, short, "middle"))
    return parts


def histogram(
    groups: Sequence[tuple[str, Sequence[float]]], name: str, unit: str, limit: tuple[float, str] | None = None
) -> Html:
    """Return how values are distributed: a row of bars a group, all on one axis, with median and 95 % quantile.

    Args:
        groups: Name and values of each; at least one value in all.
        name: What is shown.
        unit: Of the values.
        limit: A value to be marked, with its name.
    """
    everything = np.concatenate([np.asarray(values, float) for _, values in groups])
    high = max(float(everything.max()), limit[0] if limit else 0.0)
    low = min(float(everything.min()), limit[0] if limit else high)
    span = (high - low) or max(abs(high), 1.0)
    edges = np.linspace(low - 0.03 * span, high + 0.03 * span, BINS + 1)
    row, left = 58.0, 42.0
    height = 14 + row * len(groups) + 30
    parts: list[Html] = []
    for index, (label, values) in enumerate(groups):
        box = Box(left, 26 + index * row, WIDTH - left - 14, row - 24, (edges[0], edges[-1]), (0.0, 1.0))
        parts += _bars(box, np.asarray(values, float), edges, f"c{index % 8}")
        parts.append(_text(left, box.top - 6, label if len(label) < 48 else f"{label[:47]}…", "start", "row"))
    axis = Box(left, 14, WIDTH - left - 14, row * len(groups), (edges[0], edges[-1]), (0.0, 1.0))
    parts += [part for part in grid(axis, unit) if 'text-anchor="end"' not in part and 'class="grid"' not in part]
    if limit:
        x, _ = axis.at(limit[0], 0.0)
        parts.append(_line(float(x), axis.top, float(x), axis.top + axis.height, "limit"))
        parts.append(_text(float(x) - 4, axis.top - 2, limit[1], "end", "limit-label"))
    return drawing(WIDTH, height, parts, f"Distribution of {name}")


def _bars(box: Box, values: Array, edges: Array, style: str) -> list[Html]:
    if not values.size:
        return []
    counts, _ = np.histogram(values, edges)
    parts = []
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            x0, top = (float(v) for v in box.at(low, count / counts.max()))
            x1 = float(box.at(high, 0.0)[0])
            title = tag("title", f"{low:.3g} to {high:.3g}: {count}")
            size = (
                f'x="{x0 + 0.5:.1f}" y="{top:.1f}" width="{x1 - x0 - 1:.1f}" height="{box.top + box.height - top:.1f}"'
            )
            parts.append(Html(f'<rect class="{style} fill" {size}>{title}</rect>'))
    for share, kind in ((0.5, "median"), (0.95, "quantile")):
        x = float(box.at(float(np.quantile(values, share)), 0.0)[0])
        parts.append(_line(x, box.top, x, box.top + box.height, kind))
    return parts


def clouds(points: Array) -> Html:
    """Return (k, 3) places, mm, from the side and from above, with the origin; all directions to one scale."""
    most = nice_ceiling(float(np.abs(points).max()) or 1.0)
    parts: list[Html] = []
    for index, (along, up, names) in enumerate(((0, 1, "xy"), (0, 2, "xz"))):
        box = Box(40 + index * 198, 16, SIDE, SIDE, (-most, most), (-most, most))
        for value in (-most, 0.0, most):
            x, y = (float(v) for v in box.at(value, value))
            style = "grid" if value else "axis"
            parts += [_line(box.left, y, box.left + SIDE, y, style), _line(x, box.top, x, box.top + SIDE, style)]
            parts.append(_text(x, box.top + SIDE + 14, number(value), "middle"))
            if not index:
                parts.append(_text(box.left - 5, y + 3.5, number(value), "end"))
        for px, py in zip(*box.at(points[:MOST_DOTS, along], points[:MOST_DOTS, up]), strict=True):
            parts.append(Html(f'<circle class="place" cx="{px:.1f}" cy="{py:.1f}" r="1.8"/>'))
        parts.append(_text(box.left + SIDE / 2, box.top + SIDE + 29, f"{names[0]}, mm →", "middle"))
        parts.append(_text(box.left, box.top - 5, f"{names[1]}, mm ↑", "start"))
    return drawing(WIDTH, SIDE + 52, parts, "Position errors seen from above and from the side")


def interval_bar(
    low: float | None, value: float | None, high: float | None, wanted: tuple[float | None, float | None]
) -> Html:
    """Return a metric's interval on a line, with what is asked for; nothing where nothing is known.

    Args:
        low, value, high: Of the metric; an open end is None.
        wanted: At least and at most; one is None.
    """
    bound = wanted[0] if wanted[0] is not None else wanted[1]
    known = [x for x in (low, value, high, bound) if x is not None]
    if value is None or bound is None:
        return Html("")
    first, last = min(known), max(known)
    room = 0.18 * (last - first) or max(abs(last), 1e-9) * 0.2
    first, last = first - room, last + room

    def place(x: float | None, open_end: float) -> float:
        return open_end if x is None else 100 * (x - first) / (last - first)

    left, right, point, edge = place(low, 0.0), place(high, 100.0), place(value, 50.0), place(bound, 50.0)
    asked = (edge, 100.0) if wanted[0] is not None else (0.0, edge)
    parts = [
        Html(f'<u style="left:{asked[0]:.1f}%;width:{asked[1] - asked[0]:.1f}%"></u>'),
        Html(f'<i style="left:{left:.1f}%;width:{max(right - left, 0.5):.1f}%"></i>'),
        Html(f'<b style="left:{point:.1f}%"></b>'),
    ]
    return tag("span", join(parts), class_="range", aria_hidden="true")


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    return Html(f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick") -> Html:
    return Html(f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

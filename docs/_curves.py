"""Draw success over the values of an option as an SVG that stands alone, with the report's own charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training_ground.agents.report.charts import Box, Line, grid, polyline
from training_ground.datasets.markup import Html, escape, join

WIDTH, HEIGHT = 660, 340
STYLE = """
svg { background: #ffffff; font-family: system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
text { font-size: 12px; fill: #5a646f; }
text.title { font-size: 14px; font-weight: 600; fill: #191d22; }
polyline { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; }
.grid { stroke: #e2e5e9; } .axis { stroke: #9aa3ad; } .whisker { stroke: currentColor; stroke-width: 1.4; }
circle, .key { fill: currentColor; }
.c0 { color: #2460c4; } .c1 { color: #d98218; } .c2 { color: #1a8f78; } .c3 { color: #a3409a; }
.c4 { color: #7a6ad8; } .c5 { color: #94761c; } .c6 { color: #3a9ab0; } .c7 { color: #c24a62; }
""".strip()


@dataclass(frozen=True)
class Series:
    """One curve: at each value a rate and its interval, as shares."""

    label: str
    values: Sequence[float]
    rates: Sequence[float]
    intervals: Sequence[tuple[float, float]]


def success_chart(title: str, x_label: str, series: Sequence[Series]) -> str:
    """Return the SVG: success in % over the values, 95 % intervals as whiskers; a legend for several curves."""
    values = [value for one in series for value in one.values]
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    bottom = 78 if len(series) > 1 else 56
    box = Box(54, 62, WIDTH - 74, HEIGHT - 62 - bottom, (low - room, high + room), (0.0, 100.0))
    parts: list[Html] = [_text(16, 24, title, "start", "title"), *grid(box, "")]
    for index, one in enumerate(series):
        style = f"c{index % 8}"
        # Whiskers of several curves stand beside each other.
        shift = (index - (len(series) - 1) / 2) * 5.0
        x = np.asarray(one.values, float) + shift / box.width * (box.x[1] - box.x[0])
        y = 100.0 * np.asarray(one.rates, float)
        parts.append(polyline(box, x, Line(y, style)))
        for place, rate, (least, most) in zip(x, y, one.intervals, strict=True):
            px, py = (float(v) for v in box.at(place, rate))
            top, foot = (float(box.at(place, 100 * share)[1]) for share in (most, least))
            line = f'x1="{px:.1f}" y1="{top:.1f}" x2="{px:.1f}" y2="{foot:.1f}"'
            parts.append(Html(f'<g class="{style}"><line class="whisker" {line}/>'))
            parts.append(Html(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.4"/></g>'))
    parts.append(_text(box.left + box.width / 2, box.top + box.height + 38, x_label, "middle"))
    parts.append(_text(16, 44, "success, %; the lines are 95 % intervals", "start"))
    if len(series) > 1:
        parts += _legend(series, HEIGHT - 14)
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {view} role="img" aria-label="{escape(title)}">'
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff" stroke="#e2e5e9"/>'
    return f"{head}\n<style>{STYLE}</style>\n{paper}\n{join(parts, chr(10))}\n</svg>\n"


def _legend(series: Sequence[Series], y: float) -> list[Html]:
    parts, x = [], 54.0
    for index, one in enumerate(series):
        key = f'<rect class="key c{index % 8}" x="{x:.1f}" y="{y - 9:.1f}" width="14" height="9" rx="2"/>'
        parts += [Html(key), _text(x + 20, y, one.label, "start")]
        x += 44 + 6.4 * len(one.label)
    return parts


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick") -> Html:
    return Html(f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

"""Line charts as inline SVG: axes with units, marks for events, limits; colours come from the page's style sheet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.markup import Html, escape, join, tag

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Line:
    """One curve: y over the chart's x; `style` is a class of the style sheet (`c0` to `c7`, `muted`)."""

    y: Values
    style: str = "c0"
    label: str = ""


@dataclass(frozen=True)
class Limit:
    """A horizontal dashed line with a name."""

    y: float
    label: str = ""


@dataclass(frozen=True)
class Box:
    """Where a plot lies in its drawing (pixels), and which values that is."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float | Values, y: float | Values) -> tuple[Values, Values]:
        """Return the place of values in the drawing; what lies outside is held at the edge."""
        u = (np.asarray(x, float) - self.x[0]) / (self.x[1] - self.x[0])
        v = (np.asarray(y, float) - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + self.width * np.clip(u, 0, 1), self.top + self.height * (1 - np.clip(v, 0, 1))


@dataclass(frozen=True)
class Chart:
    """A line chart.

    Attributes:
        title: Above it, with the unit.
        x: (k,) times, s.
        lines: Curves.
        y_range: Values at the bottom and the top.
        marks: Times of events, drawn as vertical lines.
        limits: Horizontal lines.
        note: Small text under it.
    """

    title: str
    x: Values
    lines: Sequence[Line]
    y_range: tuple[float, float]
    marks: Sequence[float] = ()
    limits: Sequence[Limit] = ()
    note: str = ""
    width: int = 420
    height: int = 200
    x_range: tuple[float, float] | None = None
    unit: str = ""
    _margins: tuple[int, int, int, int] = field(default=(12, 10, 26, 42), repr=False)

    def figure(self) -> Html:
        """Return the chart as a `<figure>` with its title and, for several lines, a legend."""
        legend = [
            tag("span", join([tag("i", class_=f"key {line.style}"), line.label])) for line in self.lines if line.label
        ]
        caption = join(
            [tag("b", self.title), tag("span", self.unit, class_="unit")] if self.unit else [tag("b", self.title)]
        )
        parts = [tag("figcaption", caption), self.svg()]
        if legend:
            parts.append(tag("div", join(legend), class_="legend"))
        if self.note:
            parts.append(tag("p", self.note, class_="note"))
        return tag("figure", join(parts), class_="chart")

    def svg(self) -> Html:
        """Return the drawing."""
        top, right, bottom, left = self._margins
        x_range = self.x_range or (float(self.x[0]), float(max(self.x[-1], self.x[0] + 1e-9)))
        box = Box(left, top, self.width - left - right, self.height - top - bottom, x_range, self.y_range)
        parts = [*grid(box), *marks(box, self.marks)]
        for limit in self.limits:
            parts += _limit(box, limit)
        parts += [polyline(box, self.x, line) for line in self.lines]
        return drawing(self.width, self.height, parts, f"{self.title} {self.unit} over time")


def drawing(width: float, height: float, parts: Sequence[Html], name: str) -> Html:
    """Return an SVG that grows with its place."""
    box = f"0 0 {width:g} {height:g}"
    return Html(f'<svg viewBox="{box}" role="img" aria-label="{escape(name)}">{join(parts)}</svg>')


def grid(box: Box, x_unit: str = "s", every: float = 70.0) -> list[Html]:
    """Return horizontal and vertical grid lines with their numbers."""
    parts = []
    for value in ticks(*box.y, most=max(2, int(box.height // 34))):
        _, y = box.at(box.x[0], value)
        parts.append(_line(box.left, y, box.left + box.width, y, "grid"))
        parts.append(_text(box.left - 6, float(y) + 3.5, number(value), "end"))
    chosen = ticks(*box.x, most=max(2, int(box.width // every)))
    for index, value in enumerate(chosen):
        x, _ = box.at(value, box.y[0])
        parts.append(_line(x, box.top + box.height, x, box.top + box.height + 4, "axis"))
        last = index == len(chosen) - 1
        parts.append(
            _text(float(x), box.top + box.height + 16, number(value) + (f" {x_unit}" if last else ""), "middle")
        )
    parts.append(_line(box.left, box.top + box.height, box.left + box.width, box.top + box.height, "axis"))
    return parts


def marks(box: Box, times: Sequence[float]) -> list[Html]:
    """Return vertical lines with a triangle on top."""
    parts = []
    for time in times:
        x = float(box.at(time, 0)[0])
        parts.append(_line(x, box.top, x, box.top + box.height, "push"))
        points = f"{x - 4:.1f},{box.top - 6:.1f} {x + 4:.1f},{box.top - 6:.1f} {x:.1f},{box.top + 1:.1f}"
        parts.append(Html(f'<polygon class="push" points="{points}"/>'))
    return parts


def polyline(box: Box, x: Values, line: Line) -> Html:
    """Return a curve with no more points than can be seen."""
    keep = visible_points(x, line.y, int(box.width * 0.75))
    px, py = box.at(x[keep], line.y[keep])
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
    return Html(f'<polyline class="{escape(line.style)}" points="{points}"/>')


def visible_points(x: Values, y: Values, buckets: int) -> NDArray[np.int64]:
    """Return indices of the lowest and the highest value in each of `buckets` stretches, so that no peak is lost."""
    count = len(x)
    if count <= 2 * buckets:
        return np.arange(count)
    edges = np.linspace(0, count, buckets + 1).astype(int)
    chosen = {0, count - 1}
    for a, b in itertools.pairwise(edges.tolist()):
        part = y[a:b]
        chosen |= {a + int(np.argmin(part)), a + int(np.argmax(part))}
    return np.array(sorted(chosen))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers between `low` and `high`, at most about `most`."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough - 1e-12)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) + 0.0 for i in range(first, last + 1)]


def nice_ceiling(value: float) -> float:
    """Return the next round number: 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten."""
    if not value > 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * f for f in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if size * f >= value - 1e-12)


def number(value: float) -> str:
    """Return a number as a tick shows it."""
    return f"{value:g}".replace("-", "−")


def _limit(box: Box, limit: Limit) -> list[Html]:
    _, y = box.at(box.x[0], limit.y)
    parts = [_line(box.left, y, box.left + box.width, y, "limit")]
    if limit.label:
        below = float(y) < box.top + 14
        parts.append(
            _text(box.left + box.width - 2, float(y) + (12 if below else -4), limit.label, "end", "limit-label")
        )
    return parts


def _line(x1: object, y1: object, x2: object, y2: object, style: str) -> Html:
    a, b, c, d = (f"{float(v):.1f}" for v in (x1, y1, x2, y2))  # pyright: ignore[reportArgumentType]
    return Html(f'<line class="{style}" x1="{a}" y1="{b}" x2="{c}" y2="{d}"/>')


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick") -> Html:
    return Html(f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

"""The card's plots, as SVG for a page: matplotlib without its global state, texts taken as they are."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from training_ground.datasets.card.document import Picture, printable
from training_ground.datasets.card.gathering import Spread
from training_ground.datasets.card.summary import Example, Summary
from training_ground.datasets.statistics import wilson_interval

INK, SOFT, FAINT = "#191d22", "#5a646f", "#e2e5e9"
GOOD, BAD, UNKNOWN = "#1a8f78", "#d9481c", "#9aa4af"
CURVES = ("#2460c4", "#d98218", "#1a8f78", "#a3409a", "#94761c", "#3a9ab0")
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a stranger's "$" is a dollar
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "training-ground",  # same data, same bytes
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
MOST_BARS = 80
MOST_GROUPS = 20
MOVING = 6
"""Joints drawn in an example: those that move most."""
MOST_VALUE = 1e9
"""What is larger is no quantity of a robot, and no axis is made for it."""


def outcome_plots(summary: Summary) -> list[Picture]:
    """Return the plots of lengths, returns and success."""
    rate = summary.schema.control_rate
    seconds = {n: one.length / rate for n, one in summary.episodes.items()}
    pictures = []
    for values, label, caption in (
        (seconds, "Length, s", "Episode lengths by outcome"),
        (summary.returns, "Return", "Sum of rewards of an episode, by outcome"),
    ):
        drawn = {number: value for number, value in values.items() if _drawable(value)}
        if drawn:
            pictures.append(_by_outcome(summary, drawn, label, caption))
    if any(group.judged for group in summary.groups):
        pictures.append(_success(summary))
    return pictures


def range_plots(summary: Summary) -> list[Picture]:
    """Return the plots of how far joints and actions went."""
    pictures = []
    what = "Bar: 1 % to 99 % of rows; line: smallest to largest"
    if summary.positions is not None and _drawable(summary.positions.low, summary.positions.high):
        inside = "; grey: the robot's limits" if summary.limits is not None else "; limits are not known"
        caption = f"Joint positions. {what}{inside}"
        pictures.append(_ranges(summary.positions, caption, summary.limits))
    if summary.actions is not None and _drawable(summary.actions.low, summary.actions.high):
        pictures.append(_ranges(summary.actions, f"Actions as applied. {what}", None))
    return pictures


def example_plot(summary: Summary) -> Picture | None:
    """Return joint positions over time of a few episodes, one panel each; None where there are none."""
    shown = [e for e in summary.examples if len(e.time) > 1 and _drawable(e.joints)]
    if not shown or summary.positions is None:
        return None
    moved = np.max([np.ptp(e.joints, axis=0) for e in shown], axis=0)
    chosen = np.sort(np.argsort(-moved)[:MOVING])
    names = [_joint(summary.positions.names[i]) for i in chosen]
    with _figure(10.4, 3.1) as (figure, save):
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for panel, example in zip(panels, shown, strict=True):
            _curves(panel, example, chosen, names)
        panels[0].set_ylabel(f"joint position, {printable(summary.positions.unit, 20)}")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
        return Picture(save(), f"Examples: the {len(names)} joints that move most", wide=True)


def _curves(panel: Any, example: Example, chosen: Any, names: Sequence[str]) -> None:
    for color, index, name in zip(CURVES, chosen, names, strict=False):
        panel.plot(example.time, example.joints[:, index], color=color, lw=1.2, label=name)
    one = example.episode
    result = "success" if one.success else printable(one.failure or "no success", 30)
    panel.set_title(f"episode {one.number}, seed {one.seed}: {result}")
    panel.set_xlabel("time, s")
    panel.grid(axis="y", color=FAINT, lw=0.7)
    panel.margins(x=0)


def _by_outcome(summary: Summary, values: dict[int, float], label: str, caption: str) -> Picture:
    kinds = [("success", GOOD, True), ("no success", BAD, False), ("not judged", UNKNOWN, None)]
    found = {name: [v for n, v in values.items() if summary.episodes[n].success is k] for name, _, k in kinds}
    low, high = min(values.values()), max(values.values())
    pad = 0.5 * max(1e-3, 0.02 * abs(high)) if high - low <= 1e-6 * max(1.0, abs(high)) else 0.0
    edges = np.linspace(low - pad, high + pad, min(24, max(8, len(values) // 8)) + 1)
    with _figure(5.1, 2.6) as (figure, save):
        axes = figure.subplots()
        used = [(name, color) for name, color, _ in kinds if found[name]]
        axes.hist(
            [found[name] for name, _ in used],
            bins=edges.tolist(),
            stacked=True,
            color=[color for _, color in used],
            label=[f"{name} ({len(found[name])})" for name, _ in used],
            rwidth=0.9,
        )
        axes.set_xlabel(label)
        axes.set_ylabel("episodes")
        axes.yaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside upper left", ncols=3)
        return Picture(save(), caption)


def _success(summary: Summary) -> Picture:
    groups = [group for group in summary.groups if group.judged][:MOST_GROUPS]
    with _figure(5.1, 1.2 + 0.34 * len(groups)) as (figure, save):
        axes = figure.subplots()
        for row, group in enumerate(groups):
            low, high = wilson_interval(group.successes, group.judged)
            axes.plot([low, high], [row, row], color=GOOD, lw=6, alpha=0.35, solid_capstyle="butt")
            axes.plot([group.successes / group.judged], [row], "o", color=GOOD, ms=6)
        labels = [f"{group_name(g.tier, g.policy)}\n{g.successes} of {g.judged}" for g in groups]
        axes.set_yticks(range(len(groups)), labels)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(0, 1.01)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.grid(axis="x", color=FAINT, lw=0.7)
        return Picture(save(), "Success rate by tier and policy, with its 95 % interval (Wilson)")


def _ranges(spread: Spread, caption: str, limits: Any) -> Picture:
    count = min(len(spread.names), MOST_BARS)
    rows = np.arange(count)
    with _figure(5.1, 0.9 + 0.185 * count) as (figure, save):
        axes = figure.subplots()
        if limits is not None:
            axes.barh(rows, limits[:count, 1] - limits[:count, 0], left=limits[:count, 0], height=0.86, color=FAINT)
        axes.hlines(rows, spread.low[:count], spread.high[:count], color=CURVES[0], lw=1)
        axes.barh(
            rows,
            (spread.q99 - spread.q01)[:count],
            left=spread.q01[:count],
            height=0.5,
            color=CURVES[0],
            ec=CURVES[0],
            lw=0.8,
        )
        axes.set_yticks(rows, [_joint(name) for name in spread.names[:count]], fontsize=8.5)
        axes.set_ylim(count - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("" if spread.unit == "1" else printable(spread.unit, 20))
        axes.grid(axis="x", color=FAINT, lw=0.7, zorder=0)
        axes.set_axisbelow(True)
        more = f"; the first {count} of {len(spread.names)}" if count < len(spread.names) else ""
        return Picture(save(), caption + more)


def group_name(tier: str, policy: str) -> str:
    """Return a group's short name."""
    return ", ".join(part for part in (printable(tier, 24), printable(policy, 24)) if part)


def _drawable(*values: Any) -> bool:
    """Whether all are numbers that an axis can be made for."""
    return all(bool((np.abs(v) < MOST_VALUE).all()) for v in map(np.asarray, values))


def _joint(name: str) -> str:
    return printable(name.removesuffix("_joint").replace("_", " "), 32)


@contextlib.contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """Give a figure of a size in inches and a function that returns it as an SVG element."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    def save() -> str:
        sink = io.StringIO()
        FigureCanvasSVG(figure).print_svg(sink, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        text = sink.getvalue()
        return text[text.index("<svg") :]

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters that matplotlib's own font lacks; the page's has them
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        yield figure, save

"""Write a store's data card: `README.md` and `card.html`, from one reading."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from training_ground.configs.errors import DatasetError
from training_ground.datasets.card import sections as told
from training_ground.datasets.card.document import printable, to_html, to_markdown
from training_ground.datasets.card.summary import Summary, summarise
from training_ground.datasets.files import read_regular, write_over
from training_ground.datasets.markup import Html, fill, join, tag
from training_ground.datasets.statistics import wilson_interval
from training_ground.datasets.store import Store

README = "README.md"
PAGE = "card.html"
MADE = "# made by tg data card from the episodes and about.json: change those"
MAX_README_BYTES = 64 << 20
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}", re.ASCII)


def write_card(store: Store, progress: Callable[[int], None] | None = None) -> Summary:
    """Write `README.md` and `card.html` into a store, over those that are there; return what they tell.

    Args:
        store: Any; what people say of it is read from its `about.json`.
        progress: Called with an episode's number after it was looked at.

    Raises:
        DatasetError: `about.json` is damaged, `README.md` is somebody's own, or a file cannot be written.
    """
    _check_readme(store.path / README)
    summary = summarise(store, progress)
    listed = told.sections(summary)
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    html = fill(
        page,
        {
            "title": printable(told.title(summary)),
            "eyebrow": f"Data card · {printable(summary.schema.robot, 80)} · simulated",
            "lead": told.lead(summary),
            "tiles": _tiles(summary),
            "sections": to_html(listed),
        },
    )
    text = front_matter(summary) + to_markdown(told.title(summary), told.lead(summary), listed)
    write_over(store.path / README, text.encode())
    write_over(store.path / PAGE, html.encode())
    return summary


def _check_readme(path: Path) -> None:
    if (path.exists() or path.is_symlink()) and MADE.encode() not in read_regular(path, MAX_README_BYTES):
        raise DatasetError(f"{path}: was not made by tg data card, and is not overwritten; move it away first")


def front_matter(summary: Summary) -> str:
    """Return the YAML head that dataset hubs read; every value is a JSON string, which YAML reads as a string."""
    name = json.dumps(printable(told.title(summary))).replace("<", "\\u003c").replace(">", "\\u003e")
    lines = [f"pretty_name: {name}"]
    if _SPDX.fullmatch(summary.about.licence):
        lines.insert(0, f"license: {json.dumps(summary.about.licence.lower())}")
    lines += [MADE, "tags:", "- robotics", "- humanoid", "- simulation"]
    return "---\n" + "\n".join(lines) + "\n---\n\n"


def _tiles(summary: Summary) -> Html:
    good, judged = sum(g.successes for g in summary.groups), sum(g.judged for g in summary.groups)
    low, high = wilson_interval(good, judged)
    tiles = [
        (f"{len(summary.episodes):,}", "episodes"),
        (told.duration(summary), f"{summary.steps:,} steps at {summary.schema.control_rate:g} Hz"),
        (f"{good / judged:.0%}" if judged else "–", f"success, 95 % interval {low:.0%} to {high:.0%}"),
        (str(len(summary.schema.channels)), "channels"),
    ]
    return join(tag("li", join([tag("b", value), tag("span", label)])) for value, label in tiles)

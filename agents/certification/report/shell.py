"""The frame that the pages share."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from training_ground.datasets.card.document import printable
from training_ground.datasets.markup import Html, fill, join, tag

MAX_BYTES = 5_000_000
"""Of a page."""


def resource(name: str, package: str = "training_ground.agents.certification.report") -> str:
    """Return the text of a file that ships beside the code."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def page(title: str, eyebrow: str, head: Html, sections: Sequence[Html], footer: object, script: str = "") -> str:
    """Return a page that stands alone: nothing in it is loaded, and only `script`, our own, is run."""
    return fill(
        resource("shell.html"),
        {
            "title": printable(title),
            "eyebrow": printable(eyebrow),
            "style": Html(resource("style.css", "training_ground.agents.report") + resource("extra.css")),
            "scripts": Html("script-src 'unsafe-inline'; ") if script else "",
            "head": head,
            "sections": join(part for part in sections if part),
            "footer": footer,
            "script": Html(f"<script>\n{script}</script>") if script else "",
        },
    )


def section(title: str, text: str, *content: Html) -> Html:
    """Return a section that begins with a text; empty where all of its content is."""
    parts = [part for part in content if part]
    first = [intro(text)] if text else []
    return tag("section", join([tag("h2", title), *first, *parts])) if parts else Html("")


def charts(figures: Sequence[Html]) -> Html:
    """Return figures side by side; empty where there is none."""
    return tag("div", join(figures), class_="charts") if figures else Html("")


def intro(text: object) -> Html:
    """Return what a section says first."""
    return tag("p", text, class_="intro")


def details(summary: str, content: Html) -> Html:
    """Return something that is opened by a click; empty where there is nothing."""
    return tag("details", join([tag("summary", summary), content]), class_="more") if content else Html("")

"""A document of a few kinds of blocks, and its two forms. All escaping happens here: a block holds plain text.

Texts come from strangers: whatever they hold is shown as it is, on one line, without control or direction characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from training_ground.datasets.markup import Html, escape, join, tag

MOST_LETTERS = 500
MOST_PARAGRAPH = 20_000
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BEGINS = re.compile(r"^(\d+(?=[.)](?:\s|$))|(?=[-+=#]))")
"""What makes a heading, a list or a rule of a line that begins with it."""


@dataclass(frozen=True)
class Paragraph:
    """A text."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells are shown with `str`; numbers stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Code:
    """A block of our own code, never of a stranger's."""

    language: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A drawing (SVG that we made) with what it shows; `wide` takes the page's width."""

    svg: str
    caption: str
    wide: bool = False


Block = Paragraph | Points | Table | Code | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what follows."""

    title: str
    blocks: Sequence[Block]


def printable(value: object, most: int = MOST_LETTERS) -> str:
    """Return a text on one line, without control and direction characters, cut where it is long."""
    text = " ".join(str(value).split())
    text = "".join("�" if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    return text if len(text) <= most else text[: most - 1] + "…"


def markdown_text(value: object, most: int = MOST_LETTERS) -> str:
    """Return a text so that Markdown shows it as it is: no links, emphasis, HTML or cells come out of it."""
    text = printable(value, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(r"\\\g<0>", text)
    text = text.replace("://", "&#58;//").replace("@", "&#64;").replace("www.", "www&#46;")
    return _BEGINS.sub(r"\1\\", text)


def to_markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return the document as Markdown; pictures are left to the page."""
    parts = [f"# {markdown_text(title)}", markdown_text(lead, MOST_PARAGRAPH)]
    for section in sections:
        blocks = [text for block in section.blocks if (text := _markdown(block))]
        if blocks:
            parts += [f"## {markdown_text(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"


def to_html(sections: Sequence[Section]) -> Html:
    """Return the sections as HTML."""
    return join(tag("section", join([tag("h2", section.title), *_grouped(section.blocks)])) for section in sections)


def _markdown(block: Block) -> str:
    if isinstance(block, Paragraph):
        return markdown_text(block.text, MOST_PARAGRAPH)
    if isinstance(block, Points):
        return "\n".join(f"- {markdown_text(text, MOST_PARAGRAPH)}" for text in block.texts)
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text.rstrip()}\n```"
    if isinstance(block, Picture):
        return ""
    rule = ["---:" if right else "---" for right in _right(block)]
    rows = [[markdown_text(_cell(cell)) for cell in row] for row in block.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [[markdown_text(h) for h in block.head], rule, *rows])


def _grouped(blocks: Sequence[Block]) -> list[Html]:
    """HTML of blocks; pictures that follow one another stand side by side where there is room."""
    result: list[Html] = []
    row: list[Html] = []
    for block in [*blocks, None]:
        if isinstance(block, Picture):
            row.append(_figure(block))
            continue
        if row:
            result.append(tag("div", join(row), class_="pictures"))
            row = []
        if block is not None:
            result.append(_html(block))
    return result


def _html(block: Paragraph | Points | Table | Code) -> Html:
    if isinstance(block, Paragraph):
        return tag("p", printable(block.text, MOST_PARAGRAPH))
    if isinstance(block, Points):
        return tag("ul", join(tag("li", printable(text, MOST_PARAGRAPH)) for text in block.texts))
    if isinstance(block, Code):
        return tag("pre", tag("code", block.text.rstrip()), tabindex="0")
    right = _right(block)
    classes = ["n" if number else None for number in right]
    head = join(tag("th", printable(h), class_=c) for h, c in zip(block.head, classes, strict=True))
    rows = [
        tag("tr", join(tag("td", printable(_cell(cell)), class_=c) for cell, c in zip(row, classes, strict=True)))
        for row in block.rows
    ]
    table = tag("table", join([tag("thead", tag("tr", head)), tag("tbody", join(rows))]))
    return tag("div", table, class_="table", tabindex="0")


def _figure(picture: Picture) -> Html:
    caption = tag("figcaption", printable(picture.caption))
    drawn = Html(picture.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(printable(picture.caption))}" ', 1))
    return tag("figure", join([drawn, caption]), class_="wide" if picture.wide else None)


def _right(table: Table) -> list[bool]:
    """Which columns hold numbers."""
    return [
        bool(table.rows)
        and all(isinstance(row[i], (int, float)) and not isinstance(row[i], bool) for row in table.rows)
        for i in range(len(table.head))
    ]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

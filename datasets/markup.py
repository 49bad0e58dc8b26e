"""HTML by substitution: everything is escaped but what was made as `Html`, and nothing in a template is run."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from training_ground.configs.errors import DatasetError

_FIELD = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Return `value` as HTML that shows it as it is; `Html` stays."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Escape and join."""
    return Html(between.join(escape(part) for part in parts))


def tag(name: str, content: object = "", **attributes: object) -> Html:
    """Return an element; `class_` writes `class`, an underscore elsewhere a hyphen, None no attribute at all."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{escape(content)}</{name}>")


def data_block(identifier: str, data: Any) -> Html:
    """Return plain data as a JSON block that no browser runs; nothing in it can end the block."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Html(f'<script type="application/json" id="{escape(identifier)}">{safe}</script>')


def fill(template: str, values: Mapping[str, object]) -> Html:
    """Replace every `{{ name }}`.

    Raises:
        DatasetError: The template has a field that was not given, or lacks one that was.
    """
    fields = set(_FIELD.findall(template))
    if fields != set(values):
        wrong = sorted(fields ^ set(values))
        raise DatasetError(f"template: fields of template and page differ: {', '.join(wrong)}")
    return Html(_FIELD.sub(lambda match: escape(values[match[1]]), template))

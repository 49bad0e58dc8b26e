"""What was said of episodes, as verbs print it."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

from training_ground.cli.common import table

if TYPE_CHECKING:
    from training_ground.datasets.index import Index


def told(index: Index, numbers: list[int]) -> list[Any]:
    """The recorded values of each episode, then every record."""
    recorded = ("success", "failure", "instruction")
    columns = {name: index.column(f"{name}_recorded") for name in recorded}
    at = {number: position for position, number in enumerate(index.numbers.tolist())}
    rows: list[tuple[Any, ...]] = []
    for number in numbers:
        if number in at:
            rows += [
                (number, name, brief(columns[name][at[number]]), "simulator", "", "", "as recorded", "")
                for name in recorded
            ]
        for one in index.history(number):
            when = datetime.datetime.fromtimestamp(one["time_ns"] // 10**9, datetime.timezone.utc)
            rows.append(
                (
                    *(number, one["field"], brief(one["value"]), one["source"], one["author"], one["confidence"]),
                    *(one["status"], when.strftime("%Y-%m-%d %H:%M:%S")),
                )
            )
    heads = ["episode", "field", "value", "source", "author", "confidence", "status", "time (UTC)"]
    return [table("", heads, rows)] if rows else ["nothing was said of them"]


def brief(value: Any) -> str:
    """A value on one line, cut where it is long."""
    if isinstance(value, dict):  # a verdict: its scores and limits stand in the JSON
        value = ": ".join([value["verdict"], *filter(None, [", ".join(value.get("reasons", ()))])])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"

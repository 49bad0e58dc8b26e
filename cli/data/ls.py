"""`tg data ls`: list the episodes of a dataset: seed, length, outcome, policy, labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, json_option, store_argument, table
from training_ground.cli.data._index import open_index

if TYPE_CHECKING:
    from training_ground.datasets.index import Index
    from training_ground.datasets.video_schema import VideoStorage

LABELS = ("quality", "dropped", "tags", "phases", "events", "note")
"""Columns that are listed where an episode has one."""


@click.command(
    epilog="""\b
Examples:
  tg data ls data/stand
  tg data ls data/stand --where "not success and seed < 100"
  tg data ls data/stand --channels
  tg data ls data/stand --json

Outcomes are those in force; where somebody corrected one, what was recorded stands beside it. `tg data query` answers
other questions, `tg data label` corrects.""",
)
@store_argument
@click.option("--channels", is_flag=True, help="List the channels instead of the episodes.")
@click.option("--where", default="", metavar="SQL", help="Only episodes for which this holds; see `tg data query`.")
@json_option
def command(store: Path, channels: bool, where: str, as_json: bool) -> None:
    """List the episodes of STORE: seed, length, outcome, policy, labels."""
    from training_ground.datasets.query import select
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    schema = opened.schema
    head = f"{store}: '{schema.instruction}', robot {schema.robot}, {schema.control_rate:g} Hz"
    data: dict[str, Any] = {
        "path": str(store),
        "robot": schema.robot,
        "instruction": schema.instruction,
        "control_rate": schema.control_rate,
        "model_hash": schema.model_hash,
        "channels": [channel.model_dump(mode="json") for channel in schema.channels],
        "episodes": [],
    }
    if channels:
        columns = ["channel", "shape", "dtype", "unit", "frame", "role", "stored", "description"]
        rows = [
            (c.name, list(c.shape), c.dtype, c.unit, c.frame, c.role, _stored(c.storage), c.description)
            for c in schema.channels
        ]
        emit(data, as_json, [head, table("", columns, rows)])
        return
    index = open_index(opened, as_json)
    episodes = index.episodes.to_pylist()
    if where:
        chosen = set(select(index, where))
        episodes = [one for one in episodes if one["number"] in chosen]
    if as_json:
        data["episodes"] = [_full(index, one) for one in episodes]
    emit(data, as_json, [head, *_rows(episodes), _tail(episodes)])


def _full(index: Index, one: dict[str, Any]) -> dict[str, Any]:
    """An episode's metadata as recorded, and its labels in force."""
    metadata = index.store.metadata(one["number"]).model_dump(mode="json")
    more = ("quality_reasons", "quality_stale")
    labels = {name: one[name] for name in ("success", "failure", "instruction", *LABELS, *more)}
    return {"number": one["number"], **metadata, "labels": labels}


def _rows(episodes: list[dict[str, Any]]) -> list[Any]:
    labels = [name for name in LABELS if any(one[name] for one in episodes)]
    columns = ["episode", "seed", "steps", "seconds", "success", "failure", "policy", *labels]
    rows = [
        (
            *(one["number"], one["seed"], one["length"], one["seconds"]),
            *(_corrected(one, "success"), _corrected(one, "failure"), one["policy"]),
            *(_label(one, name) for name in labels),
        )
        for one in episodes
    ]
    return [table("", columns, rows)] if rows else []


def _corrected(one: dict[str, Any], name: str) -> Any:
    """The label in force, and what was recorded where that is something else."""
    value, recorded = one[name], one[f"{name}_recorded"]
    if value == recorded:
        return value
    words = {True: "yes", False: "no", None: "none"}
    return f"{words.get(value, value)} (recorded: {words.get(recorded, recorded)})"


def _label(one: dict[str, Any], name: str) -> Any:
    """A label in words; of a verdict also its reasons, and whether it is out of date."""
    if name == "quality" and one[name]:
        reasons = f": {', '.join(one['quality_reasons'])}" if one["quality_reasons"] else ""
        return one[name] + reasons + (" (stale)" if one["quality_stale"] else "")
    return ", ".join(one[name]) if isinstance(one[name], list) else one[name]


def _tail(episodes: list[dict[str, Any]]) -> str:
    steps, seconds = sum(one["length"] for one in episodes), sum(one["seconds"] for one in episodes)
    return f"{len(episodes)} episodes, {steps:,} steps, {seconds:,.0f} s"


def _stored(storage: VideoStorage | None) -> str:
    if storage is None:
        return "column"
    loss = "lossless" if storage.lossless else f"quality {storage.quality}"
    step = "" if storage.depth_step is None else f", steps of {storage.depth_step:g} m"
    return f"video, {storage.codec}, {loss}{step}"

"""`tg data ls`: list the episodes of a dataset: seed, length, outcome, policy, labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, json_option, progress, table
from training_ground.cli.data._index import open_index
from training_ground.cli.data._place import place_argument

if TYPE_CHECKING:
    from training_ground.datasets.index import Index
    from training_ground.datasets.remote.store import RemoteStore
    from training_ground.datasets.schema import EpisodeMetadata
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
  tg data ls s3://bucket/stand               what each episode's own metadata say, without labels

Outcomes are those in force; where somebody corrected one, what was recorded stands beside it. `tg data query` answers
other questions, `tg data label` corrects.""",
)
@place_argument
@click.option("--channels", is_flag=True, help="List the channels instead of the episodes.")
@click.option("--where", default="", metavar="SQL", help="Only episodes for which this holds; see `tg data query`.")
@json_option
def command(store: Path | str, channels: bool, where: str, as_json: bool) -> None:
    """List the episodes of STORE: seed, length, outcome, policy, labels."""
    from training_ground.configs.errors import DatasetError
    from training_ground.datasets.query import select
    from training_ground.datasets.remote.store import RemoteStore
    from training_ground.datasets.store import Store

    opened = RemoteStore.open(store) if isinstance(store, str) else Store.open(store)
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
    if isinstance(opened, RemoteStore):
        if where:
            raise DatasetError(f"--where {where!r}: asks the index, which a dataset at an address has none of; pull it")
        listed = _fetched(opened, as_json)
        data["episodes"] = [{"number": number, **one.model_dump(mode="json")} for number, one in listed]
        brief = [_brief(opened.schema.control_rate, number, one) for number, one in listed]
        emit(data, as_json, [head, *_rows(brief), _tail(brief)])
        return
    index = open_index(opened, as_json)
    episodes = index.episodes.to_pylist()
    if where:
        chosen = set(select(index, where))
        episodes = [one for one in episodes if one["number"] in chosen]
    if as_json:
        data["episodes"] = [_full(index, one) for one in episodes]
    emit(data, as_json, [head, *_rows(episodes), _tail(episodes)])


def _fetched(store: RemoteStore, as_json: bool) -> list[tuple[int, EpisodeMetadata]]:
    with progress("fetching", len(store), unit="episodes", quiet=as_json) as shown:
        found = []
        for number, metadata in store.stream_metadata():
            found.append((number, metadata))
            shown.advance(1, f"episode {number}")
    return found


def _brief(rate: float, number: int, one: EpisodeMetadata) -> dict[str, Any]:
    """An episode as the index has it, without labels: what was recorded is in force."""
    listed = {"number": number, "seed": one.seed, "length": one.length, "seconds": one.length / rate}
    listed |= {"success": one.success, "failure": one.failure, "policy": one.policy.name} | dict.fromkeys(LABELS)
    listed |= {"quality_reasons": (), "quality_stale": False}
    return listed | {"success_recorded": one.success, "failure_recorded": one.failure}


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

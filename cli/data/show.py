"""`tg data show`: everything that is known of one episode."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, json_option, store_argument, table
from training_ground.cli.data._history import told
from training_ground.cli.data._index import open_index

if TYPE_CHECKING:
    from training_ground.datasets.episode_file import Episode
    from training_ground.datasets.schema import DatasetSchema


@click.command(
    epilog="""\b
Examples:
  tg data show data/bins 3
  tg data show data/bins 3 --json

How the episode was made, what was said of it, and the range of each channel. Its file is read whole and checked by its
hashes; pictures are not decoded. `tg data browse` draws it."""
)
@store_argument
@click.argument("episode", type=click.IntRange(0))
@json_option
def command(store: Path, episode: int, as_json: bool) -> None:
    """Show an episode of STORE: provenance, labels with who gave them, and its channels."""
    index = open_index(store, as_json)
    read = index.store.read(episode)
    channels = _channels(read, index.store.schema)
    data = {
        "path": str(store),
        "number": episode,
        **read.metadata.model_dump(mode="json"),
        "history": index.history(episode),
        "ranges": [dict(zip(HEADS, row, strict=True)) for row in channels],
    }
    head = f"{index.store.file(episode)}: {read.length} steps, {read.length / index.store.schema.control_rate:g} s"
    emit(data, as_json, [head, table("", ["", ""], _facts(read)), *told(index, [episode]), table("", HEADS, channels)])


HEADS = ["channel", "shape", "unit", "frame", "role", "min", "mean", "max"]


def _facts(episode: Episode) -> list[tuple[str, str]]:
    known = episode.metadata
    ended = "terminated" if known.terminated else "truncated" if known.truncated else "cut off"
    when = datetime.datetime.fromtimestamp(known.started_ns // 10**9, datetime.timezone.utc)
    facts: dict[str, Any] = {
        "task": known.env_id,
        "arguments": known.kwargs,
        "seed": known.seed,
        "options": known.options,
        "randomisation": known.randomisation,
        "policy": known.policy.name + (f" {known.policy.hash[:12]}" if known.policy.hash else ""),
        "ended": ended,
        "robot": f"{known.robot}, model {known.model_hash[:12]}",
        "configuration": known.config_hash[:12],
        "content": known.content_sha256,
        "code": known.code_commit,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(known.versions.items())),
        "recorded (UTC)": when.strftime("%Y-%m-%d %H:%M:%S"),
        "cleaned": f"{len(known.cleaned)} times" if known.cleaned else None,
        "imported": known.imported,
    }
    said = {name: value for name, value in facts.items() if value not in (None, {}, "")}
    return [(n, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for n, v in said.items()]


def _channels(episode: Episode, schema: DatasetSchema) -> list[tuple[Any, ...]]:
    """Rows of the table; a channel that is a video has no range."""
    rows = []
    for channel in schema.channels:
        values = episode.columns[channel.name]
        numbers = None if channel.storage is not None else values.astype(float)
        span = ("", "", "") if numbers is None else (numbers.min(), numbers.mean(), numbers.max())
        shown = [round(float(x), 6) if x != "" else None for x in span]
        size = "×".join(map(str, channel.shape)) or "1"
        rows.append((channel.name, size, channel.unit, channel.frame, channel.role, *shown))
    return rows

"""`tg data ls`: list the episodes of a dataset: seed, length, outcome, policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, json_option, store_argument, table

if TYPE_CHECKING:
    from training_ground.datasets.video_schema import VideoStorage


@click.command(
    epilog="""\b
Examples:
  tg data ls data/stand
  tg data ls data/stand --channels
  tg data ls data/stand --json""",
)
@store_argument
@click.option("--channels", is_flag=True, help="List the channels instead of the episodes.")
@json_option
def command(store: Path, channels: bool, as_json: bool) -> None:
    """List the episodes of STORE: seed, length, outcome, policy."""
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    schema = opened.schema
    for line in opened.recovered:
        click.echo(line, err=True)
    episodes = [] if channels else [(n, opened.metadata(n)) for n in opened.episodes()]
    data: dict[str, Any] = {
        "path": str(store),
        "robot": schema.robot,
        "instruction": schema.instruction,
        "control_rate": schema.control_rate,
        "model_hash": schema.model_hash,
        "channels": [channel.model_dump(mode="json") for channel in schema.channels],
        "episodes": [{"number": n, **m.model_dump(mode="json")} for n, m in episodes],
    }
    steps = sum(m.length for _, m in episodes)
    head = f"{store}: '{schema.instruction}', robot {schema.robot}, {schema.control_rate:g} Hz"
    if channels:
        columns = ["channel", "shape", "dtype", "unit", "frame", "role", "stored", "description"]
        rows = [
            (c.name, list(c.shape), c.dtype, c.unit, c.frame, c.role, _stored(c.storage), c.description)
            for c in schema.channels
        ]
        emit(data, as_json, [head, table("", columns, rows)])
        return
    columns = ["episode", "seed", "steps", "seconds", "success", "failure", "policy"]
    rows = [
        (n, m.seed, m.length, m.length / schema.control_rate, m.success, m.failure, m.policy.name) for n, m in episodes
    ]
    seconds = steps / schema.control_rate
    tail = f"{len(episodes)} episodes, {steps:,} steps, {seconds:,.0f} s"
    emit(data, as_json, [head, *([table("", columns, rows)] if rows else []), tail])


def _stored(storage: VideoStorage | None) -> str:
    if storage is None:
        return "column"
    loss = "lossless" if storage.lossless else f"quality {storage.quality}"
    step = "" if storage.depth_step is None else f", steps of {storage.depth_step:g} m"
    return f"video, {storage.codec}, {loss}{step}"

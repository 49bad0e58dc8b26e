"""`tg data`: list, verify and export datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import Group, emit, json_option, progress, table

STORE = click.argument("store", type=click.Path(path_type=Path, file_okay=False))


@click.group(
    cls=Group,
    epilog="""\b
Examples:
  tg data ls data/stand
  tg data verify data/stand
  tg data export data/stand out/lerobot --format lerobot""",
)
def command() -> None:
    """List, verify and export datasets."""


@command.command(
    "ls",
    epilog="""\b
Examples:
  tg data ls data/stand
  tg data ls data/stand --channels
  tg data ls data/stand --json""",
)
@STORE
@click.option("--channels", is_flag=True, help="List the channels instead of the episodes.")
@json_option
def list_(store: Path, channels: bool, as_json: bool) -> None:
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
        columns = ["channel", "shape", "dtype", "unit", "frame", "role", "description"]
        rows = [(c.name, list(c.shape), c.dtype, c.unit, c.frame, c.role, c.description) for c in schema.channels]
        emit(data, as_json, [head, table("", columns, rows)])
        return
    columns = ["episode", "seed", "steps", "seconds", "success", "failure", "policy"]
    rows = [
        (n, m.seed, m.length, m.length / schema.control_rate, m.success, m.failure, m.policy.name) for n, m in episodes
    ]
    seconds = steps / schema.control_rate
    tail = f"{len(episodes)} episodes, {steps:,} steps, {seconds:,.0f} s"
    emit(data, as_json, [head, *([table("", columns, rows)] if rows else []), tail])


@command.command(
    epilog="""\b
Examples:
  tg data verify data/stand
  tg data verify data/stand --json

Exit status 1 if anything is wrong. To simulate the episodes again as well, use `tg replay`."""
)
@STORE
@json_option
def verify(store: Path, as_json: bool) -> int:
    """Read every episode of STORE, check hashes, columns and values, and say all that is wrong."""
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    with progress("verifying", len(opened), unit="episodes", quiet=as_json) as shown:
        report = opened.verify(lambda number: shown.advance(1, f"episode {number}"))
    data = {
        "path": str(store),
        "ok": report.ok,
        "episodes": report.episodes,
        "rows": report.rows,
        "problems": list(report.problems),
        "notes": list(report.notes),
    }
    verdict = "all good" if report.ok else f"{len(report.problems)} problems"
    lines = [*(f"note: {line}" for line in report.notes), *report.problems]
    emit(data, as_json, [*lines, f"{store}: {report.episodes} episodes, {report.rows:,} rows: {verdict}"])
    return 0 if report.ok else 1


@command.command(
    epilog="""\b
Examples:
  tg data export data/stand out/lerobot
  tg data export data/stand out/lerobot --format lerobot --episode 0 --episode 1

The folder must not exist; it appears complete or not at all."""
)
@STORE
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", "format_", default="lerobot", show_default=True, metavar="NAME", help="Such as lerobot.")
@click.option("--episode", "chosen", type=click.IntRange(0), multiple=True, help="Only this one; may be given again.")
@json_option
def export(store: Path, out: Path, format_: str, chosen: tuple[int, ...], as_json: bool) -> None:
    """Write STORE to the new folder OUT in a format of others, and say what that format cannot hold."""
    from training_ground.datasets.export import export as write
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    total = len(chosen) or len(opened)
    with progress("exporting", total, unit="episodes", quiet=as_json) as shown:
        report = write(opened, out, format_, chosen or None, lambda number: shown.advance(1, f"episode {number}"))
    data = {
        "format": report.format,
        "path": str(report.path),
        "episodes": report.episodes,
        "frames": report.frames,
        "losses": list(report.losses),
        "skipped": list(report.skipped),
    }
    lines = [f"{report.path}: {report.episodes} episodes, {report.frames:,} frames as {report.format}"]
    lines += [f"left out: {line}" for line in report.skipped]
    lines += ["not in this format:", *(f"  - {line}" for line in report.losses)]
    emit(data, as_json, lines)

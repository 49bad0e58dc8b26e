"""`tg data export`: write a dataset in a format of others."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument


@click.command(
    epilog="""\b
Examples:
  tg data export data/stand out/lerobot
  tg data export data/stand out/lerobot --format lerobot --episode 0 --episode 1

The folder must not exist; it appears complete or not at all."""
)
@store_argument
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    default="lerobot",
    show_default=True,
    metavar="NAME",
    help="lerobot, mcap, minari, rlds, robomimic.",
)
@click.option("--episode", "chosen", type=click.IntRange(0), multiple=True, help="Only this one; may be given again.")
@json_option
def command(store: Path, out: Path, format_: str, chosen: tuple[int, ...], as_json: bool) -> None:
    """Write STORE to the new folder OUT in a format of others, and say what that format cannot hold."""
    from training_ground.datasets.export import export as write
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    total = len(chosen) or len(opened)
    with progress("exporting", total, unit="episodes", quiet=as_json) as shown:
        report = write(opened, out, format_, chosen or None, lambda number: shown.advance(1, f"episode {number}"))
    lines = [f"{report.path}: {report.episodes} episodes, {report.frames:,} frames as {report.format}"]
    lines += [f"left out: {line}" for line in report.skipped]
    lines += ["not in this format:", *(f"  - {line}" for line in report.losses)]
    emit(vars(report), as_json, lines)

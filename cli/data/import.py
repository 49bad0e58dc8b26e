"""`tg data import`: read a dataset of others into a new store."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress


@click.command(
    epilog="""\b
Examples:
  tg data import ~/.minari/datasets/D4RL/door/human-v2 data/door --format minari
  tg data import ~/.cache/huggingface/lerobot/lerobot/pusht data/pusht --format lerobot
  tg data import lift/ph/low_dim_v141.hdf5 data/lift --format robomimic
  tg data import others/pick-v0 data/pick --format minari --rate 25

The folder must not exist; it appears complete or not at all. Imported episodes say which file they come from; they
cannot be replayed. Nothing in the source is run, and links in it are not followed."""
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", "format_", required=True, metavar="NAME", help="lerobot, mcap, minari, rlds, robomimic.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), metavar="HZ", help="Steps a second, where the source has none."
)
@json_option
def command(source: Path, out: Path, format_: str, rate: float | None, as_json: bool) -> None:
    """Read SOURCE, a dataset of others, into the new folder OUT, and say what could not be kept."""
    from training_ground.datasets.importing import import_

    with progress("importing", None, unit="episodes", quiet=as_json) as shown:
        report = import_(source, format_, out, rate, lambda number: shown.advance(1, f"episode {number}"))
    lines = [f"{report.path}: {report.episodes} episodes, {report.frames:,} steps from {source} ({report.format})"]
    lines += [f"left out: {line}" for line in report.skipped]
    lines += ["lost or made up:", *(f"  - {line}" for line in report.losses)] if report.losses else []
    emit(vars(report), as_json, lines)

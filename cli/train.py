"""`tg train`: train a policy from a preset, or continue a run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import OVERRIDES, emit, json_option, overrides_argument

LINE_SECONDS = 10.0
"""Seconds between two lines where standard error is no terminal."""


@click.command(
    context_settings=OVERRIDES,
    epilog="""\b
Examples:
  tg train stand --robot g1
  tg train stand --robot talos --ppo.learning_rate=1e-4 --env.kwargs.push_speed=[0,1]
  tg train my_run.yaml --name first --total_steps=500000
  tg train --resume runs/stand_g1_001                   go on after Ctrl-C, a kill or a crash
  tg train --resume stand_g1_001 --total_steps=5000000  train on
  tg train --list                                       presets

Ctrl-C writes a checkpoint and ends with status 130. The policy ends up in runs/NAME/bundle:
  tg eval --policy runs/NAME""",
)
@click.argument("preset", required=False)
@click.option("--robot", metavar="NAME", help="Robot; short for --env.kwargs.robot=NAME.")
@click.option("--name", metavar="NAME", help="Folder of the run below --runs; otherwise PRESET_ROBOT_NUMBER.")
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True)
@click.option("--resume", metavar="RUN", help="Continue a run (its folder or name) from its last good checkpoint.")
@click.option("--list", "listing", is_flag=True, help="List the presets and end.")
@json_option
@overrides_argument
def command(
    preset: str | None,
    robot: str | None,
    name: str | None,
    runs: Path,
    resume: str | None,
    listing: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Train a policy from PRESET: a name in configs/train, or the path of a YAML file."""
    from training_ground.configs.presets import preset_names

    if listing:
        emit({"presets": preset_names("train")}, as_json, "\n".join(preset_names("train")))
        return
    if preset is not None and "=" in preset:
        # click gives the first word to PRESET, also where it is an override.
        preset, overrides = None, (preset, *overrides)
    if (preset is None) == (resume is None):
        raise click.UsageError(f"give a preset ({', '.join(preset_names('train'))}) or --resume RUN, one of them")
    if resume is not None and (robot is not None or name is not None):
        raise click.UsageError("--robot and --name belong to a new run, not to --resume")
    from training_ground.agents import training

    show = Reporter(quiet=as_json)
    try:
        if resume is not None:
            result = training.resume(Path(resume), overrides, root=runs, report=show)
        else:
            result = training.start(str(preset), overrides, robot=robot, name=name, root=runs, report=show)
    finally:
        show.close()
    emit(_summary(result), as_json, lambda: _print(result))


class Reporter:
    """Shows progress on standard error: on a terminal one line, written over; elsewhere a line now and then."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._terminal = quiet, sys.stderr.isatty()
        self._last, self._open = 0.0, False

    def __call__(self, record: dict[str, Any]) -> None:
        """Show one record."""
        from training_ground.agents.progress import progress_line

        if self._quiet:
            return
        if "warning" in record:
            return self._line(f"warning: {record['warning']}")
        if "run" in record:
            return self._line(f"run {record['run']}: {record['total_steps']:,} steps, from {record['from_step']:,}")
        evaluating = "evaluated" in record
        line = f"evaluated {record['evaluated']}/{record['of']}" if evaluating else progress_line(record)
        if self._terminal:
            click.echo(f"\r\x1b[2K{line}", err=True, nl=False)
            self._open = True
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            click.echo(line, err=True)
        return None

    def _line(self, text: str) -> None:
        self.close()
        click.echo(text, err=True)

    def close(self) -> None:
        """End the line that is being written over."""
        if self._open:
            click.echo("", err=True)
            self._open = False


def _summary(result: Any) -> dict[str, Any]:
    evaluation = result.evaluation
    return {
        "run": str(result.folder),
        "bundle": str(result.bundle),
        "steps": result.steps,
        "seconds": result.seconds,
        "progress": result.record,
        "evaluation": None if evaluation is None else evaluation.summary(),
    }


def _print(result: Any) -> None:
    click.echo(f"{result.folder}: {result.steps:,} steps in {result.seconds / 60:.1f} minutes")
    if result.evaluation is not None:
        from training_ground.cli.eval import summary_line

        click.echo(summary_line(result.evaluation.summary()))
    click.echo(f"policy: {result.bundle}    tg eval --policy {result.folder}")

"""`tg train`: train a policy from a preset, or continue a run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import OVERRIDES, emit, json_option, overrides_argument, table

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
  tg train stand --robot g1 --seeds 0,1,2               the same with several seeds, reported together
  tg train --resume stand_g1_001                        of them, go on with what is unfinished
  tg train --diagnose stand_g1_001                      has it stalled, and why?
  tg train --list                                       presets

Ctrl-C writes a checkpoint and ends with status 130. The policy ends up in runs/NAME/bundle:
  tg eval --policy runs/NAME""",
)
@click.argument("preset", required=False)
@click.option("--robot", metavar="NAME", help="Robot; short for --env.kwargs.robot=NAME.")
@click.option("--name", metavar="NAME", help="Folder of the run below --runs; otherwise PRESET_ROBOT_NUMBER.")
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True)
@click.option("--resume", metavar="RUN", help="Continue a run (its folder or name) from its last good checkpoint.")
@click.option("--seeds", metavar="0,1,2", help="Train once with each of these seeds, or with so many: NAME_seed0, ...")
@click.option("--diagnose", metavar="RUN", help="Say whether a run has stalled, and why, and end.")
@click.option("--list", "listing", is_flag=True, help="List the presets and end.")
@json_option
@overrides_argument
def command(
    preset: str | None,
    robot: str | None,
    name: str | None,
    runs: Path,
    resume: str | None,
    seeds: str | None,
    diagnose: str | None,
    listing: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Train a policy from PRESET: a name in configs/train, or the path of a YAML file."""
    from training_ground.configs.presets import preset_names

    if listing:
        emit({"presets": preset_names("train")}, as_json, "\n".join(preset_names("train")))
        return
    if diagnose is not None:
        _diagnose(diagnose, runs, as_json)
        return
    if preset is not None and "=" in preset:
        # click gives the first word to PRESET, also where it is an override.
        preset, overrides = None, (preset, *overrides)
    if (preset is None) == (resume is None):
        raise click.UsageError(f"give a preset ({', '.join(preset_names('train'))}) or --resume RUN, one of them")
    if resume is not None and (robot is not None or name is not None or seeds is not None):
        raise click.UsageError("--robot, --name and --seeds belong to a new run, not to --resume")
    from training_ground.agents import repeats, training

    show = Reporter(quiet=as_json)
    group: Any = None
    result: Any = None
    try:
        if seeds is not None:
            given = repeats.parse_seeds(seeds)
            group = repeats.start(str(preset), given, overrides, robot=robot, name=name, root=runs, report=show)
        elif resume is None:
            result = training.start(str(preset), overrides, robot=robot, name=name, root=runs, report=show)
        elif repeats.is_group(Path(resume), runs):
            group = repeats.resume(Path(resume), overrides, root=runs, report=show)
        else:
            result = training.resume(Path(resume), overrides, root=runs, report=show)
    finally:
        show.close()
    if group is None:
        emit(_summary(result), as_json, lambda: _print(result))
        return
    emit(group.to_json(), as_json, lambda: _print_group(group))
    if any(run.error for run in group.runs):
        click.get_current_context().exit(1)


def _diagnose(run: str, runs: Path, as_json: bool) -> None:
    from training_ground.agents import training

    verdict = training.diagnose(Path(run), root=runs)
    told = {"run": run, "stalled": verdict.stalled, "cause": verdict.cause, "text": verdict.text}
    emit(told, as_json, f"stalled: {verdict.text}" if verdict.stalled else verdict.text)


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
            return self.say(f"warning: {record['warning']}")
        if "run" in record:
            return self.say(f"run {record['run']}: {record['total_steps']:,} steps, from {record['from_step']:,}")
        evaluating = "evaluated" in record
        line = f"evaluated {record['evaluated']}/{record['of']}" if evaluating else progress_line(record)
        if self._terminal:
            click.echo(f"\r\x1b[2K{line}", err=True, nl=False)
            self._open = True
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            click.echo(line, err=True)
        return None

    def say(self, text: str) -> None:
        """Show a line that stays."""
        if not self._quiet:
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
        "stalled": None if result.verdict is None else result.verdict.stalled,
        "diagnosis": None if result.verdict is None else result.verdict.text,
    }


def _print(result: Any) -> None:
    click.echo(f"{result.folder}: {result.steps:,} steps in {result.seconds / 60:.1f} minutes")
    if result.verdict is not None and result.verdict.stalled:
        click.echo(f"stalled: {result.verdict.text}")
    if result.evaluation is not None:
        from training_ground.cli.eval import summary_line

        click.echo(summary_line(result.evaluation.summary()))
    click.echo(f"policy: {result.bundle}    tg eval --policy {result.folder}")


def _print_group(group: Any) -> None:
    rows = []
    for run in group.runs:
        summary = run.summary or {}
        share = f"{summary['successes']}/{summary['episodes']}" if summary else run.error or "not evaluated"
        rows.append((run.seed, run.steps, share, _interval(summary), summary.get("return_mean")))
    pooled = group.pooled()
    emit(None, False, [table("", ["seed", "steps", "success", "95 % interval", "return"], rows)])
    if pooled["episodes"]:
        low, high = pooled["return_bootstrap_95"]
        click.echo(
            f"all {pooled['evaluated']} of {pooled['seeds']} seeds: success {pooled['successes']}/{pooled['episodes']} "
            f"= {pooled['success_rate']:.1%}, 95 % interval {_interval(pooled)}; interquartile mean of the returns "
            f"{pooled['return_interquartile_mean']:.4g}, {low:.4g} to {high:.4g} over seeds and episodes"
        )


def _interval(summary: dict[str, Any]) -> str:
    low, high = summary.get("wilson_95") or (None, None)
    return "" if low is None else f"{low:.1%} to {high:.1%}"

"""`tg tune`: search for a preset's settings with many short runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import OVERRIDES, emit, json_option, overrides_argument, table
from training_ground.cli.train import Reporter


@click.command(
    context_settings=OVERRIDES,
    epilog="""\b
Examples:
  tg tune stand --robot g1 --search ppo.learning_rate=log:1e-5..1e-3 --search ppo.epochs=int:2..10
  tg tune reach --search network.hidden=[[64,64],[256,128]] --search tqc.gamma=0.9..0.99 --seeds 2
  tg tune stand --space space.yaml --trials 50 --steps 300000 --objective return_mean --ppo.mirror=false
  tg tune --resume tune_stand_g1_001 --trials 100         go on after Ctrl-C or a crash; try more

A range is 0.9..0.999, log:1e-5..1e-3, int:2..10, int-log:16..256, or a list of choices; in space.yaml the same,
one setting a line. Runs are judged on validation seeds from 2,000,000. The best settings: runs/NAME/best.yaml.""",
)
@click.argument("preset", required=False)
@click.option("--robot", metavar="NAME", help="Robot; short for --env.kwargs.robot=NAME.")
@click.option("--search", "options", metavar="KEY=RANGE", multiple=True, help="A setting to vary, and its range.")
@click.option("--space", type=click.Path(path_type=Path, dir_okay=False), help="YAML file of settings and ranges.")
@click.option("--trials", type=click.IntRange(1, 100_000), help="Settings to try in all.  [default: 20]")
@click.option("--steps", type=click.IntRange(1), default=200_000, show_default=True, help="Of each run.")
@click.option("--episodes", type=click.IntRange(1), default=20, show_default=True, help="Validation, of each run.")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs a trial; their mean counts."
)
@click.option(
    "--objective", type=click.Choice(["success_rate", "return_mean"]), default="success_rate", show_default=True
)
@click.option("--name", metavar="NAME", help="Folder of the search below --runs.")
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True)
@click.option("--resume", metavar="SEARCH", help="Continue a search (its folder or name).")
@json_option
@overrides_argument
def command(
    preset: str | None,
    robot: str | None,
    options: tuple[str, ...],
    space: Path | None,
    trials: int | None,
    name: str | None,
    runs: Path,
    resume: str | None,
    as_json: bool,
    overrides: tuple[str, ...],
    **budget: Any,
) -> None:
    """Search for settings of PRESET: a name in configs/train, or the path of a YAML file."""
    from training_ground.configs.presets import preset_names

    if preset is not None and "=" in preset:
        # click gives the first word to PRESET, also where it is an override.
        preset, overrides = None, (preset, *overrides)
    if (preset is None) == (resume is None):
        raise click.UsageError(f"give a preset ({', '.join(preset_names('train'))}) or --resume SEARCH, one of them")
    if resume is not None and (robot or name or options or space or overrides):
        raise click.UsageError("a search that is continued keeps its preset and its space; only --trials can change")
    from training_ground.agents import search_space, tuning
    from training_ground.configs.loading import load_yaml

    show = TuneReporter(quiet=as_json)
    try:
        if resume is not None:
            summary = tuning.resume(Path(resume), root=runs, report=show, trials=trials)
        else:
            ranges = {**({} if space is None else load_yaml(space)), **search_space.parse_options(options)}
            budget |= {} if trials is None else {"trials": trials}
            summary = tuning.start(
                str(preset), ranges, overrides, robot=robot, name=name, root=runs, report=show, **budget
            )
    finally:
        show.close()
    emit(summary, as_json, lambda: _print(summary))


class TuneReporter(Reporter):
    """Shows a line a trial, and within it the progress of its run."""

    def __call__(self, record: dict[str, Any]) -> None:
        """Show one record."""
        if "trial" not in record:
            return super().__call__(record)
        trial, best = record["trial"], record["best"]
        value = trial["state"] if trial["value"] is None else f"{trial['value']:.4g}"
        settings = ", ".join(f"{key} {_short(value)}" for key, value in trial["settings"].items())
        so_far = "" if best is None else f"; best so far {best['value']:.4g} (trial {best['trial']})"
        return self.say(f"trial {trial['trial']} of {record['of']}: {value} with {settings}{so_far}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _print(summary: dict[str, Any]) -> None:
    best = summary["best"]
    keys = sorted({key for trial in summary["trials"] for key in trial["settings"]})
    order = sorted(summary["trials"], key=lambda t: -float("inf") if t["value"] is None else t["value"], reverse=True)
    rows = [(t["trial"], t["value"], t["state"], *(_short(t["settings"].get(key, "")) for key in keys)) for t in order]
    emit(None, False, [table("", ["trial", summary["objective"], "", *keys], rows)])
    if best is None:
        click.echo("no trial came to its end")
        return
    click.echo(f"best settings: {summary['preset']}    tg train {summary['preset']} --seeds 3")

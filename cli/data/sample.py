"""`tg data sample`: make a small dataset with its card from a preset, in one go."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress


@click.command(
    epilog="""\b
Examples:
  tg data sample stand data/stand
  tg data sample press_button data/press --workers 2
  tg data sample mine.yaml data/mine --json
  tg data sample --list

Presets stand in configs/sample. The datasets in docs/samples were made by these commands; made again with the same
versions they hold the same values. After Ctrl-C the same command goes on."""
)
@click.argument("preset", required=False)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes.")
@click.option("--list", "listed", is_flag=True, help="List the presets and end.")
@json_option
def command(preset: str | None, out: Path | None, workers: int, listed: bool, as_json: bool) -> int:
    """Record the episodes of PRESET into OUT, judge them, and write the card."""
    from training_ground.agents.recording import record
    from training_ground.cli.eval import choose
    from training_ground.configs.presets import preset_names
    from training_ground.configs.samples import VERB, load_sample
    from training_ground.datasets.about import update
    from training_ground.datasets.card.sections import success_line
    from training_ground.datasets.card.writing import write_card
    from training_ground.datasets.croissant import write_croissant
    from training_ground.datasets.quality.gate import check, load_limits
    from training_ground.datasets.quality.verdicts import keep
    from training_ground.datasets.store import Store

    if listed:
        emit(preset_names(VERB), as_json, preset_names(VERB))
        return 0
    if preset is None or out is None:
        raise click.UsageError("PRESET and OUT are needed; --list shows the presets")
    _, sample = load_sample(preset)
    actor, env_id, kwargs = choose(sample.policy, sample.task, sample.env)
    with progress("recording", sample.episodes, unit="episodes", quiet=as_json) as shown:
        seeds = range(sample.seed, sample.seed + sample.episodes)
        recording = record(
            actor,
            env_id,
            kwargs,
            seeds,
            out,
            workers=workers,
            on_episode=lambda _, metadata: shown.advance(1, f"seed {metadata.seed}"),
        )
    if recording.interrupted:
        emit(recording.to_json(), as_json, f"{out}: interrupted; run it again to go on")
        return 130
    store = Store.open(out)
    name, limits = load_limits("default")
    report = check(store, limits, name)
    keep(store, report)
    update(out, **sample.about)
    summary = write_card(store)
    write_croissant(store, summary)
    data = {**recording.to_json(), "success": success_line(summary), "quality": report.verdict}
    line = f"{out}: {len(store)} episodes, success {success_line(summary)}; quality gate: {report.verdict}"
    emit(data, as_json, line)
    return int(report.verdict == "fail")

"""`tg data check`: measure the quality of a dataset and judge it: pass, warn or fail, with reasons."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument


@click.command(
    epilog="""\b
Examples:
  tg data check data/stand
  tg data check data/stand --replay 5            simulate five episodes again as well
  tg data check data/stand --preset mine.yaml --markdown quality.md
  tg data check data/stand --label               keep the verdicts: tg data ls data/stand --where "quality = 'pass'"
  tg data check data/stand --json

Exit status 1 on the verdict `fail`. Limits stand in configs/quality; what a measure cannot see stands in the JSON.
Episodes that are labelled dropped=true are left out, unless they are asked for by number."""
)
@store_argument
@click.option("--preset", default="default", show_default=True, metavar="NAME", help="Limits: a name, or a YAML file.")
@click.option("--replay", type=click.IntRange(0), default=0, metavar="N", help="Simulate N episodes again.")
@click.option("--episode", "chosen", type=click.IntRange(0), multiple=True, help="Only this one; may be given again.")
@click.option("--label", "keep", is_flag=True, help="Keep each verdict in STORE, as the episode's label `quality`.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page.")
@json_option
def command(
    store: Path,
    preset: str,
    replay: int,
    chosen: tuple[int, ...],
    keep: bool,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Measure every episode of STORE and the whole, hold them against limits, and say why where they fail."""
    from training_ground.datasets.quality import report as reports
    from training_ground.datasets.quality.gate import check, load_limits
    from training_ground.datasets.quality.verdicts import keep as keep_verdicts
    from training_ground.datasets.store import Store

    if keep and chosen:
        raise click.UsageError("--label needs all episodes: a verdict depends on the others; leave --episode out")
    name, limits = load_limits(preset)
    opened = Store.open(store)
    with progress("checking", len(set(chosen)) or len(opened), unit="episodes", quiet=as_json) as shown:
        report = check(
            opened,
            limits,
            name,
            episodes=chosen or None,
            replay=replay,
            progress=lambda number: shown.advance(1, f"episode {number}"),
        )
    if markdown is not None:
        markdown.write_text(reports.markdown(report), encoding="utf-8")
    kept = keep_verdicts(opened, report) if keep else None
    said = [f"verdicts that are new or have changed, now labels: {kept.new}"] if kept else []
    said += [f"{said.pop()}; left as people said: {kept.by_people}"] if kept and kept.by_people else []
    if as_json:  # of many episodes it is large
        emit(reports.to_json(report) | {"labelled": kept._asdict() if kept else None}, as_json)
    else:
        emit(None, as_json, [*reports.lines(report), *said])
    return int(report.verdict == "fail")

"""`tg replay`: simulate recorded episodes again and compare every bit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import emit, json_option, progress, table


@click.command(
    epilog="""\b
Examples:
  tg replay data/stand                     every episode
  tg replay data/stand --episode 3 --episode 4
  tg replay data/stand --json

Exit status 0 if every channel of every episode is the same in every bit, 1 if something differs. Physics repeats bit
for bit on the same machine type with the same package versions; the report says which versions have changed."""
)
@click.argument("store", type=click.Path(path_type=Path, file_okay=False))
@click.option("--episode", "chosen", type=click.IntRange(0), multiple=True, help="Only this one; may be given again.")
@click.option("--all", "everything", is_flag=True, help="Every episode: what happens without --episode, too.")
@click.option("--own-robots", is_flag=True, help="Load robots that do not ship from the paths that STORE names.")
@json_option
def command(store: Path, chosen: tuple[int, ...], everything: bool, own_robots: bool, as_json: bool) -> int:
    """Simulate the episodes of STORE again from seed, arguments and actions, and compare every channel."""
    from training_ground.datasets.replay import Replayer, ReplayReport
    from training_ground.datasets.store import Store

    if chosen and everything:
        raise click.UsageError("give --episode or --all, not both")
    opened = Store.open(store)
    numbers = list(chosen) or opened.episodes()
    reports: list[ReplayReport] = []
    cleaned: list[int] = []
    interrupted = False
    try:
        with (
            progress("replaying", len(numbers), unit="episodes", quiet=as_json) as shown,
            Replayer(opened.schema, own_robots=own_robots) as player,
        ):
            for number in numbers:
                episode = opened.read(number)
                if chosen or episode.metadata.as_recorded:
                    reports.append(player.replay(episode))
                else:
                    cleaned.append(number)
                shown.advance(1, f"episode {number}")
    except KeyboardInterrupt:
        interrupted = True
    wrong = [report for report in reports if not report.identical]
    data: dict[str, Any] = {
        "path": str(store),
        "replayed": len(reports),
        "requested": len(numbers),
        "identical": len(reports) - len(wrong),
        "cleaned": cleaned,
        "steps": sum(report.steps for report in reports),
        "episodes": [asdict(report) for report in reports],
        "interrupted": interrupted,
    }
    line = (
        f"{data['identical']} of {len(reports)} episodes replayed bit for bit ({data['steps']:,} steps, every channel)"
    )
    line += f"; {len(cleaned)} left out: cleaned ones do not follow from their seed any more" if cleaned else ""
    rows = [(r.number, str(r.first or ""), "; ".join(r.notes)) for r in wrong]
    shown_table = [table("", ["episode", "first difference", "notes"], rows)] if rows else []
    emit(data, as_json, [*shown_table, line + ("; interrupted" if interrupted else "")])
    return 130 if interrupted else int(bool(wrong))

"""`tg augment`: make more demonstrations from a few: object-frame segments in new scenes, only successes kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from training_ground.cli.common import emit, json_option, progress, table

if TYPE_CHECKING:
    from training_ground.agents.augmentation import Attempt, Augmentation


@click.command(
    epilog="""\b
Examples:
  tg record TrayToTray --policy expert --episodes 5 --out data/tray
  tg augment data/tray --episodes 100 --out data/tray_more
  tg augment data/tray --episode 0 --episode 3 --seed 200000 --out data/tray_two
  tg augment data/tray --set tier=disturbed --out data/tray_disturbed
  tg augment data/mine --segments mine.yaml --out data/mine_more --json

Each new seed is a scene that nobody demonstrated. The demonstration whose things stood most alike is done again there:
its segments are carried over to where their frames are now (configs/augment says which), ways between them are planned
anew, and all goes through the environment's own actions. Episodes without success are not kept. After Ctrl-C the same
command goes on; seeds that failed are tried again, and fail again."""
)
@click.argument("store", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the new dataset."
)
@click.option(
    "--episodes", type=click.IntRange(1, 10_000_000), default=20, show_default=True, help="New seeds, one try each."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=100_000, show_default=True, help="Seed of the first one."
)
@click.option("--episode", "chosen", type=click.IntRange(0), multiple=True, help="Only this one; may be given again.")
@click.option("--segments", metavar="NAME", help="How the task is cut: a name in configs/augment, or a YAML file.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="What differs in new scenes: tier=tight.")
@json_option
def command(
    store: Path,
    out: Path,
    episodes: int,
    seed: int,
    chosen: tuple[int, ...],
    segments: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Do the demonstrations of STORE again in new scenes, and keep what succeeds."""
    from training_ground.agents.augmentation import augment
    from training_ground.configs.loading import apply_overrides

    changes = apply_overrides({}, settings)

    with progress("augmenting", episodes, unit="episodes", quiet=as_json) as shown:

        def start(begun: Augmentation) -> None:
            for line in begun.recovered:
                click.echo(line, err=True)
            if begun.present:
                click.echo(f"{begun.present} of {episodes} episodes are there already", err=True)
                shown.total = episodes - begun.present

        def tell(attempt: Attempt) -> None:
            shown.advance(1, f"seed {attempt.seed}: {'kept' if attempt.kept else attempt.why or attempt.failure}")

        seeds = range(seed, seed + episodes)
        result = augment(
            store,
            out,
            seeds,
            segments=segments,
            chosen=chosen or None,
            changes=changes,
            on_start=start,
            on_attempt=tell,
        )
    emit(result.to_json(), as_json, _lines(result))
    return 130 if result.interrupted else int(result.kept + result.present == 0)


def _lines(result: Augmentation) -> list[object]:
    data = result.to_json()
    rows = [
        (one["episode"], one["seed"], *_count(result, one["episode"]), _cut(one["segments"]))
        for one in data["demonstrations"]
    ]
    low, high = data["wilson_95"]
    tried, rate = data["tried"], data["kept_per_minute"]
    line = f"{result.path}: {result.kept} of {tried} seeds kept, 95 % interval {low:.0%} to {high:.0%}"
    line += f", {rate:g} a minute" if rate is not None else ""
    lines: list[object] = [
        table("", ["demonstration", "seed", "done again", "kept", "segments: frame, hand, rows"], rows)
    ]
    lines += [f"failed: {count} × {why}" for why, count in sorted(data["failures"].items())]
    if result.interrupted:
        left = result.requested - result.present - tried
        line += f"; interrupted, {left} seeds were not tried: run it again to go on"
    return [*lines, line]


def _count(result: Augmentation, number: int) -> tuple[int, int]:
    tries = [attempt for attempt in result.attempts if attempt.source == number]
    return len(tries), sum(attempt.kept for attempt in tries)


def _cut(segments: list[dict[str, object]]) -> str:
    return "; ".join("{frame} {side} {rows[0]}-{rows[1]}".format(**one) for one in segments)

"""`tg data clean`: make a clean dataset from one that stays as it is: trim, repair, drop, deduplicate, resample."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument, table


@click.command(
    epilog="""\b
Examples:
  tg data clean data/stand                            say what would be done
  tg data clean data/stand --out data/stand_clean
  tg data clean data/stand --preset mine.yaml --out data/stand_mine --json

Operations and their parameters stand in configs/clean. STORE is only read. Each episode of the new dataset says
under `cleaned` which rows of which episode it holds and what was done to them; cleaning.json says what was dropped,
and why. Episodes that are labelled dropped=true are left out; labels, media, splits and lineage go along."""
)
@store_argument
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="New folder; without it nothing is written."
)
@click.option(
    "--preset", default="default", show_default=True, metavar="NAME", help="Operations: a name, or a YAML file."
)
@json_option
def command(store: Path, out: Path | None, preset: str, as_json: bool) -> None:
    """Apply the operations of a preset to STORE, and write what is left to a new dataset."""
    from training_ground.configs.cleaning import load_cleaning
    from training_ground.datasets.cleaning.clean import clean
    from training_ground.datasets.store import Store

    _, operations = load_cleaning(preset)
    opened = Store.open(store)
    with progress("cleaning", len(opened), unit="episodes", quiet=as_json) as shown:
        report = clean(opened, operations, out, lambda number: shown.advance(1, f"episode {number}"))
    data = report.to_json()
    rows = [
        (e.episode, e.steps, e.kept, "" if e.rows is None else f"{e.rows[0]}-{e.rows[1]}", e.filled, e.dropped)
        for e in report.episodes
        if e.dropped or e.changed
    ]
    shown_table = [table("", ["episode", "steps", "kept", "rows", "filled in", "dropped"], rows)] if rows else []
    counts = f"{data['kept']} of {len(report.episodes)} episodes kept, {data['changed']} of them changed"
    steps = f"{data['steps_after']:,} of {data['steps_before']:,} steps"
    shown_table += [f"note: {note}" for note in report.notes]
    tail = f"{out}: {counts}; {steps}" if out else f"{store}: {counts}; {steps}; nothing written, give --out"
    emit(data, as_json, [*shown_table, tail])

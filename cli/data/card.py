"""`tg data card`: write a data card with plots, and Croissant metadata."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument


@click.command(
    epilog="""\b
Examples:
  tg data card data/stand
  tg data card data/stand --title "Standing G1" --licence CC-BY-4.0 --creator "A. Person" --limit "One robot only."

What is given by options is kept in about.json, which a signature covers; the next card needs no options. The card is
made from the episodes and about.json and can be made again at any time: sign afterwards with `tg data sign`."""
)
@store_argument
@click.option("--title", default="", help="A name for people.")
@click.option("--description", default="", help="What it was recorded for.")
@click.option("--licence", default="", metavar="SPDX", help="Such as CC-BY-4.0, or a licence's address.")
@click.option("--creator", "creators", multiple=True, help="Who made it; may be given again.")
@click.option("--url", default="", help="Where it is published.")
@click.option("--published", default="", metavar="YYYY-MM-DD", help="When.")
@click.option("--version", default="", metavar="X.Y.Z", help="Of the dataset.")
@click.option("--limit", "limits", multiple=True, help="What a user must know; may be given again.")
@json_option
def command(store: Path, as_json: bool, **about: str | tuple[str, ...]) -> None:
    """Write README.md, card.html (one file, works offline) and croissant.json into STORE."""
    from training_ground.datasets.about import update
    from training_ground.datasets.card.sections import success_line
    from training_ground.datasets.card.writing import PAGE, README, write_card
    from training_ground.datasets.croissant import write_croissant
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    update(store, **about)
    with progress("reading", len(opened), unit="episodes", quiet=as_json) as shown:
        summary = write_card(opened, lambda number: shown.advance(1, f"episode {number}"))
    croissant, missing = write_croissant(opened, summary)
    files = [store / README, store / PAGE, croissant]
    data = {
        "path": str(store),
        "files": [str(file) for file in files],
        "episodes": len(summary.episodes),
        "success": success_line(summary),
        "missing": list(missing),
        "damaged": list(summary.damaged),
    }
    lines = [str(file) for file in files]
    lines += [f"not given, and asked for by Croissant: {', '.join(missing)}"] if missing else []
    lines += [f"damaged: {line}" for line in summary.damaged]
    emit(data, as_json, [*lines, f"{store}: {len(summary.episodes)} episodes, success {success_line(summary)}"])

"""`tg data label`: correct or add labels; what was recorded stays beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import emit, json_option, store_argument
from training_ground.cli.data._history import told
from training_ground.cli.data._index import open_index


@click.command(
    epilog="""\b
Examples:
  tg data label data/bins --episode 3 --author ann success=false failure=slipped "note=let go before the tote"
  tg data label data/bins --episode 3 --author ann "phase=[{first: 0, last: 63, name: reach}]"
  tg data label data/bins --episode 3 --author ann "event=[{row: 180, name: slip}]" quality.verdict=warn
  tg data label data/bins --where "seconds < 1" --author short_ones --source rule dropped=true
  tg data label data/bins --episode 3 --author ann success=null
  tg data label data/bins --episode 3

Fields: success, failure, instruction, phase, event, quality, dropped, note, tags. `null` takes back what was said, so
that the recorded value holds again; `failure=` says that there was none. Nothing in an episode's file changes, and
no label is ever lost: without fields, every record of the episodes is listed."""
)
@store_argument
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--episode", "chosen", type=click.IntRange(0), multiple=True, help="This one; may be given again.")
@click.option("--where", default="", metavar="SQL", help="All for which this holds; see `tg data query`.")
@click.option("--author", envvar="TG_AUTHOR", show_envvar=True, help="Who says so: a person, a rule, a model.")
@click.option(
    "--source",
    type=click.Choice(["person", "rule", "model", "simulator"]),
    default="person",
    show_default=True,
    help="What kind of thing the author is.",
)
@click.option("--confidence", type=click.FloatRange(0, 1), help="How sure the author is.")
@json_option
def command(
    store: Path,
    fields: tuple[str, ...],
    chosen: tuple[int, ...],
    where: str,
    author: str | None,
    source: Any,
    confidence: float | None,
    as_json: bool,
) -> None:
    """Say something about episodes of STORE, or list what was said of them."""
    from training_ground.datasets.labels import label
    from training_ground.datasets.query import select

    if bool(chosen) == bool(where):
        raise click.UsageError("say which episodes: --episode N, or --where SQL")
    if fields and not author:
        raise click.UsageError("a label has an author: --author NAME, or TG_AUTHOR in the environment")
    values = _values(fields)
    index = open_index(store, as_json)
    numbers = select(index, where) if where else sorted(set(chosen))
    if not values:
        history = {number: index.history(number) for number in numbers}
        emit({"path": str(store), "history": history}, as_json, told(index, numbers))
        return
    written = label(index, dict.fromkeys(numbers, values), str(author), source, confidence) if numbers else 0
    line = f"{store}: records written: {written}, episodes: {len(numbers)}"
    emit({"path": str(store), "episodes": numbers, "records": written}, as_json, line)


def _values(fields: tuple[str, ...]) -> dict[str, Any]:
    """Fields that are texts are taken as they stand, the others as YAML."""
    from training_ground.configs.loading import apply_overrides

    texts = [text.partition("=")[::2] for text in fields if text.startswith(("failure=", "instruction=", "note="))]
    others = [text for text in fields if not text.startswith(("failure=", "instruction=", "note="))]
    return apply_overrides({}, others) | {name: None if text == "null" else text for name, text in texts}

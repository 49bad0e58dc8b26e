"""`tg data query`: find episodes by what is known of them, in SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import emit, json_option, store_argument, table
from training_ground.cli.data._index import open_index


@click.command(
    epilog="""\b
Examples:
  tg data query data/bins "success and seed < 100 and task = 'BinPick'"
  tg data query data/bins "kwargs->>'stance' = 'mounted'" --columns number,seed,seconds --order "seconds desc" --limit 5
  tg data query data/bins "split_main = 'test' and quality = 'pass'" --json
  tg data query data/bins --sql "select tier, count(*) as n, avg(success::int) as rate from episodes group by tier"
  tg data query data/bins --sql "select author, field, count(*) as n from records group by all"

WHERE is any condition over the columns; a wrong name is answered with all of them. Labels are those in force;
success_recorded, failure_recorded and instruction_recorded are what the simulator said."""
)
@store_argument
@click.argument("where", default="")
@click.option("--columns", metavar="A,B,...", help="Columns or expressions; * for all.")
@click.option("--order", default="number", show_default=True, metavar="SQL", help="What to sort by.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Most rows; all where absent.")
@click.option("--sql", "text", metavar="SELECT", help="A whole SELECT over the tables episodes and records.")
@json_option
def command(
    store: Path, where: str, columns: str | None, order: str, limit: int, text: str | None, as_json: bool
) -> None:
    """Find the episodes of STORE for which WHERE holds."""
    from training_ground.datasets.query import DEFAULT_COLUMNS, query, sql

    if text is not None and (where or columns or limit):
        raise click.UsageError("--sql is the whole question: give no WHERE, --columns or --limit with it")
    index = open_index(store, as_json)
    if text is not None:
        rows = sql(index, text)
    else:
        rows = query(index, where, [columns] if columns else DEFAULT_COLUMNS, order, limit)
    emit({"path": str(store), "rows": rows}, as_json, _lines(rows, len(index), text is None))


def _lines(rows: list[dict[str, Any]], total: int, episodes: bool) -> list[Any]:
    tail = f"{len(rows)} of {total} episodes" if episodes else f"{len(rows)} rows"
    if not rows:
        return [tail]
    return [table("", list(rows[0]), [list(row.values()) for row in rows]), tail]

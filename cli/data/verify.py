"""`tg data verify`: read every episode, check hashes, columns and values."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument


@click.command(
    epilog="""\b
Examples:
  tg data verify data/stand
  tg data verify data/stand --json

Exit status 1 if anything is wrong. To simulate the episodes again as well, use `tg replay`."""
)
@store_argument
@json_option
def command(store: Path, as_json: bool) -> int:
    """Read every episode of STORE, check hashes, columns and values, and say all that is wrong."""
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    with progress("verifying", len(opened), unit="episodes", quiet=as_json) as shown:
        report = opened.verify(lambda number: shown.advance(1, f"episode {number}"))
    data = {
        "path": str(store),
        "ok": report.ok,
        "episodes": report.episodes,
        "rows": report.rows,
        "problems": list(report.problems),
        "notes": list(report.notes),
    }
    verdict = "all good" if report.ok else f"{len(report.problems)} problems"
    lines = [*(f"note: {line}" for line in report.notes), *report.problems]
    emit(data, as_json, [*lines, f"{store}: {report.episodes} episodes, {report.rows:,} rows: {verdict}"])
    return 0 if report.ok else 1

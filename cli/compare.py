"""`tg compare`: two product tests side by side, with paired tests on the seeds that both have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, json_option, table

if TYPE_CHECKING:
    from training_ground.agents.certification.compare import Comparison

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="""\b
Examples:
  tg compare out/first/result.json out/second/result.json
  tg compare out/first/result.json out/second/result.json --html compare.html
  tg compare out/g1/result.json out/talos/result.json --across
  tg compare a.json b.json --key signing.pem.pub --json

Success is compared with McNemar's exact test, times, returns and energy by sign flips of the paired differences; the
p-values are corrected for all of them together (Holm). Differences are FIRST minus SECOND."""
)
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--across", is_flag=True, help="Compare tests of protocols that differ, and say in what.")
@click.option("--html", type=FILE, help="Write a page as well.")
@click.option("--key", "keys", type=FILE, multiple=True, help="Public key that you trust.")
@json_option
def command(first: Path, second: Path, across: bool, html: Path | None, keys: tuple[Path, ...], as_json: bool) -> int:
    """Compare the product tests in FIRST and SECOND, two result files."""
    from training_ground.agents.certification.checking import check
    from training_ground.agents.certification.compare import compare
    from training_ground.agents.certification.report.compare_page import build_comparison
    from training_ground.agents.files import write_atomic
    from training_ground.cli.data._place import read_keys

    trusted = read_keys(keys)
    checked = [check(path, trusted) for path in (first, second)]
    found = compare(checked[0].result, checked[1].result, across)
    if html is not None:
        write_atomic(html, build_comparison(found, checked))
    problems = [f"{path}: {text}" for path, one in zip((first, second), checked, strict=True) for text in one.problems]
    data = found.to_json() | {"problems": problems, "page": html and str(html)}
    emit(data, as_json, [*problems, *_lines(found), *([f"page: {html}"] if html else [])])
    return 1 if problems else 0


def _lines(found: Comparison) -> list[Any]:
    from training_ground.agents.certification.compare import describe

    rows = [
        (
            row.where, row.metric, describe(row, row.first), describe(row, row.second),
            describe(row, row.difference, True), f"{describe(row, row.low, True)} to {describe(row, row.high, True)}",
            row.pairs, f"{row.p_corrected:.3g}", row.verdict,
        )
        for row in found.rows
    ]  # fmt: skip
    columns = ["where", "metric", "first", "second", "difference", "95 % interval", "pairs", "p", "better"]
    title = f"first: {found.first.policy.name}    second: {found.second.policy.name}"
    told = [f"protocols differ: {line}" for line in found.differences]
    told += [f"differs: {line}" for line in found.notes]
    return [*told, table(title, columns, rows), *(row.sentence for row in found.rows)]

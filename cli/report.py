"""`tg report`: one HTML page about a product test, from its result file."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress


@click.command(
    epilog="""\b
Examples:
  tg report out/stand/result.json
  tg report out/mine/result.json --policy runs/stand_g1_001 --key signing.pem.pub
  tg report theirs.json --out theirs.html --films 0
  tg report out/stand/result.json --json

The page is one file that needs no network. Failures are shown in pictures: their seeds are simulated again, with the
tested policy if it ships or is given with --policy, and with nothing but tasks and robots that ship.

Exit status 1 if the file's numbers do not follow from its trials, or its signature does not hold; the page says so."""
)
@click.argument("result", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The page; report.html beside RESULT.")
@click.option("--policy", metavar="NAME", help="The tested policy, where it is none that ships: a bundle or a run.")
@click.option("--films", type=click.IntRange(0, 10), default=2, show_default=True, help="Failures shown of each kind.")
@click.option(
    "--key", "keys", type=click.Path(path_type=Path, dir_okay=False), multiple=True, help="Public key that you trust."
)
@json_option
def command(
    result: Path, out: Path | None, policy: str | None, films: int, keys: tuple[Path, ...], as_json: bool
) -> int:
    """Write the page about the product test in RESULT."""
    from training_ground.agents.certification.report.writing import PAGE, write_report
    from training_ground.cli.data._place import read_keys

    with progress("drawing failures", None, unit="trials", quiet=as_json) as shown:
        written = write_report(
            result,
            out or result.with_name(PAGE),
            keys=read_keys(keys),
            policy=policy,
            each=films,
            on_film=lambda film: shown.advance(1, f"{film.condition}, seed {film.seed}"),
        )
    problems = list(written.checked.problems)
    data = {
        "page": str(written.page),
        "bytes": written.size,
        "films": written.films,
        "missing": written.missing,
        "verdict": written.checked.result.verdict,
        "verified": written.checked.verified,
        "problems": problems,
    }
    told = f"{written.films} failures in pictures" if written.films else written.missing
    emit(data, as_json, [*problems, f"{written.page}: {written.size / 1e6:.2f} MB, {told}"])
    return 1 if problems else 0

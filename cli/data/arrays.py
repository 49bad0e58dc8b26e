"""`tg data arrays`: make the training view of a dataset, memory-mapped arrays, or bring it up to date."""

from __future__ import annotations

import time
from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument


@click.command(
    epilog="""\b
Examples:
  tg data arrays data/stand                   all columns but pictures, into data/stand/arrays
  tg data arrays data/stand --column joint_position --column action
  tg data arrays data/stand --folder scratch/arrays
  tg data arrays data/stand --verify

Only episodes that are new are decoded. The arrays are derived: delete them at any time. With --verify every value is
compared with the episode that it came from; exit status 1 if anything differs."""
)
@store_argument
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Only this one; may be given again.")
@click.option("--episode", "chosen", type=click.IntRange(0), multiple=True, help="Only this one; may be given again.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where, such as on a faster disk.")
@click.option("--verify", is_flag=True, help="Compare the arrays with their hashes and with the episodes.")
@json_option
def command(
    store: Path, columns: tuple[str, ...], chosen: tuple[int, ...], folder: Path | None, verify: bool, as_json: bool
) -> int:
    """Make the training view of STORE, memory-mapped arrays for fast random windows, or bring it up to date."""
    from training_ground.datasets.array_build import refresh
    from training_ground.datasets.index import Index
    from training_ground.datasets.store import Store

    opened, decoded, begin = Store.open(store), 0, time.monotonic()
    total = len(set(chosen)) or len(opened)
    with progress("reading", total, unit="episodes", quiet=as_json) as shown:

        def tell(number: int) -> None:
            nonlocal decoded
            decoded += 1
            shown.advance(1, f"episode {number}")

        view = refresh(opened, columns or None, chosen or None, folder, tell)
    dropped = sorted(Index.open(opened).dropped().intersection(view.numbers.tolist()))
    problems: list[str] = []
    if verify:
        with progress("verifying", total, unit="episodes", quiet=as_json) as shown:
            problems = view.verify(opened, lambda number: shown.advance(1, f"episode {number}"))
    size = sum(values.nbytes for values in view.columns.values())
    data = {
        "path": str(view.path),
        "episodes": len(view),
        "rows": int(view.starts[-1]),
        "bytes": size,
        "columns": {name: [str(values.dtype), *values.shape[1:]] for name, values in view.columns.items()},
        "decoded": decoded,
        "dropped": dropped,
        "seconds": round(time.monotonic() - begin, 3),
        "verified": verify and not problems,
        "problems": problems,
    }
    lines = [*problems, f"{view.path}: {len(view)} episodes, {view.starts[-1]:,} rows, {len(view.columns)} columns"]
    lines.append(f"{size / 1e6:,.1f} MB, {decoded} episodes decoded now")
    if dropped:
        lines.append(f"labelled as dropped, and in it nevertheless: {len(dropped)}; leave them out with Index.usable()")
    if verify:
        verdict = f"{len(problems)} problems" if problems else "every value is that of its episode"
        lines.append(f"verified: {verdict}")
    emit(data, as_json, lines)
    return 1 if problems else 0

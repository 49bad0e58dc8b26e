"""What verbs that ask the index share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from training_ground.cli.common import progress
from training_ground.configs.errors import printable

if TYPE_CHECKING:
    from training_ground.datasets.index import Index
    from training_ground.datasets.store import Store


def open_index(store: Path | Store, quiet: bool) -> Index:
    """Open a store's index; progress, problems and how many verdicts are stale go to standard error.

    Raises:
        DatasetError: There is no store.
    """
    from training_ground.datasets.index import Index
    from training_ground.datasets.store import Store

    opened = store if isinstance(store, Store) else Store.open(store)
    for line in opened.recovered:
        click.echo(printable(line), err=True)
    with progress("indexing", None, unit="files", quiet=quiet) as shown:

        def tell(done: int, total: int) -> None:
            shown.total = total
            shown.advance(done - shown.done)

        index = Index.open(opened, tell)
    for line in index.problems:
        click.echo(f"note: {printable(line)}", err=True)
    stale = sum(map(bool, index.column("quality_stale")))
    if stale:
        click.echo(f"note: quality verdicts that are stale: {stale}; `tg data check --label` gives new ones", err=True)
    return index

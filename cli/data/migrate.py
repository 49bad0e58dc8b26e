"""`tg data migrate`: write a dataset of an older version anew in today's."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, store_argument
from training_ground.cli.data._making import carry_out, out_option
from training_ground.cli.data._selection import open_store, yes_option


@click.command(
    epilog="""\b
Examples:
  tg data migrate data/old --out data/new
  tg data migrate data/old --out data/new --yes

Only needed for readers that know no older versions: this code reads and extends them as they are. Values stay the same
to the bit, numbers too; STORE is not changed. A dataset of today's version is left as it is."""
)
@store_argument
@out_option
@yes_option
@json_option
def command(store: Path, out: Path, yes: bool, as_json: bool) -> None:
    """Write STORE, of an older version, anew as the dataset NEW."""
    from training_ground.datasets.curation import is_current, plan_copy
    from training_ground.datasets.schema import SCHEMA_VERSION

    opened = open_store(store)
    if is_current(opened):
        data = {"action": "migrate", "done": False, "schema_version": SCHEMA_VERSION, "current": True}
        emit(data, as_json, f"{store}: is of schema_version {SCHEMA_VERSION} already; nothing to do")
        return
    carry_out(plan_copy(opened, action="migrate"), out, yes, as_json)

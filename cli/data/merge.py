"""`tg data merge`: put datasets that fit together into a new one."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import json_option
from training_ground.cli.data._making import carry_out, out_option
from training_ground.cli.data._selection import open_store, yes_option


@click.command(
    epilog="""\b
Examples:
  tg data merge data/monday data/tuesday --out data/week
  tg data merge data/monday data/tuesday --out data/week --yes

Without --yes it says what it would do, and what contradicts itself. Episodes with the same values are taken once. The
first dataset's episodes keep their numbers; lineage/ in the new one says where each came from."""
)
@click.argument("stores", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@out_option
@yes_option
@json_option
def command(stores: tuple[Path, ...], out: Path, yes: bool, as_json: bool) -> None:
    """Put the episodes, annotations, splits and media of STORES into the new dataset NEW."""
    from training_ground.datasets.curation import plan_merge

    carry_out(plan_merge([open_store(path) for path in stores]), out, yes, as_json)

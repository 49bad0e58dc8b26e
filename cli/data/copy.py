"""`tg data copy`: copy chosen episodes of a dataset into a new one."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import json_option, store_argument
from training_ground.cli.data._making import carry_out, out_option
from training_ground.cli.data._selection import episodes_option, numbers, open_store, yes_option


@click.command(
    epilog="""\b
Examples:
  tg data copy data/stand --episode 0-99 --episode 205 --out data/some
  tg data copy data/stand --episode 0-99 --episode 205 --out data/some --yes

Without --yes it says what it would do. Episodes keep their numbers, their files are the same to the byte."""
)
@store_argument
@episodes_option
@out_option
@yes_option
@json_option
def command(store: Path, chosen: tuple[range, ...], out: Path, yes: bool, as_json: bool) -> None:
    """Copy episodes of STORE, all where none is chosen, with their annotations and media, into the new dataset NEW."""
    from training_ground.datasets.curation import plan_copy

    opened = open_store(store)
    plan = plan_copy(opened, numbers(chosen, opened.episodes()) if chosen else None)
    carry_out(plan, out, yes, as_json)

"""`tg data restore`: list what lies in the trash, and bring episodes back from there."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, store_argument, table
from training_ground.cli.data._selection import episodes_option, numbers, open_store, require, yes_option


@click.command(
    epilog="""\b
Examples:
  tg data restore data/stand
  tg data restore data/stand --episode 3 --yes

Without --yes it lists what would come back. An episode comes back under its number, with all that was said of it."""
)
@store_argument
@episodes_option
@yes_option
@json_option
def command(store: Path, chosen: tuple[range, ...], yes: bool, as_json: bool) -> None:
    """Bring episodes of STORE, all where none is chosen, back from its trash."""
    from training_ground.datasets import trash

    opened = open_store(store)
    lying = {one.number: one for one in trash.trashed(opened)}
    meant = numbers(chosen, sorted(lying)) if chosen else sorted(lying)
    require(meant, lying, f"{store}/trash")
    if yes:
        meant = trash.restore(opened, meant)
    found = [lying[number] for number in meant]
    data = {
        "path": str(store),
        "done": yes,
        "episodes": [{"episode": o.number, "removed_ns": o.removed_ns, "reason": o.reason} for o in found],
    }
    rows = [(o.number, o.size, _when(o.removed_ns), o.reason) for o in found]
    end = "restored" if yes else "would be restored; --yes does it"
    tables = [table("", ["episode", "bytes", "removed", "reason"], rows)] if rows else []
    emit(data, as_json, [*tables, f"{store}: {len(meant)} episodes {end}"])


def _when(ns: int | None) -> str:
    return "" if ns is None else datetime.fromtimestamp(ns / 1e9, timezone.utc).isoformat(timespec="seconds")

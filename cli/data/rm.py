"""`tg data rm`: move episodes to the trash, from where they can be restored; or empty the trash."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, store_argument
from training_ground.cli.data._selection import episodes_option, numbers, open_store, require, yes_option


@click.command(
    epilog="""\b
Examples:
  tg data rm data/stand --episode 3 --episode 10-19
  tg data rm data/stand --episode 3 --reason "camera was covered" --yes
  tg data restore data/stand --episode 3 --yes
  tg data rm data/stand --purge --yes

Without --yes it says what it would do. Files move to trash/ and keep their numbers, which no other episode is given;
--purge deletes what lies there, and pictures that no episode names any more, for good."""
)
@store_argument
@episodes_option
@click.option("--reason", default="", metavar="TEXT", help="Kept in the record of the removal.")
@click.option("--purge", is_flag=True, help="Delete for good what lies in the trash, or of it the episodes chosen.")
@yes_option
@json_option
def command(store: Path, chosen: tuple[range, ...], reason: str, purge: bool, yes: bool, as_json: bool) -> None:
    """Move episodes of STORE to its trash; with --purge, delete them from there."""
    from training_ground.datasets import trash

    opened = open_store(store)
    if purge and reason:
        raise click.UsageError("--reason is of a removal, not of a purge")
    if not purge and not chosen:
        raise click.UsageError("which? --episode N, or --episode A-B; --purge empties the trash")
    there = [one.number for one in trash.trashed(opened)] if purge else opened.episodes()
    meant = numbers(chosen, there) if chosen else there
    require(meant, there, f"{store}{'/trash' if purge else ''}")
    if yes:
        meant = trash.purge(opened, meant) if purge else trash.remove(opened, meant, reason)
    action = "purge" if purge else "remove"
    data = {"path": str(store), "action": action, "done": yes, "episodes": meant, "reason": reason}
    what = "deleted for good" if purge else "moved to the trash"
    end = what if yes else f"would be {what}; --yes does it"
    emit(data, as_json, f"{store}: {len(meant)} episodes ({_brief(meant)}) {end}")


def _brief(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (", …" if len(numbers) > 20 else "") if numbers else "none"

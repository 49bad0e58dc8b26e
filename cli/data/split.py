"""`tg data split`: make and show splits in which no seed, content or demonstration is on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, json_option, store_argument, table
from training_ground.cli.data._index import open_index

if TYPE_CHECKING:
    from training_ground.datasets.index import Index
    from training_ground.datasets.split import Split


@click.command(
    epilog="""\b
Examples:
  tg data split data/bins main
  tg data split data/bins main --yes
  tg data split data/bins by_tier --by scenario --part train=0.5 --part test=0.5 --yes
  tg data split data/bins
  tg data split data/bins main --json

Shows what the split would be, and writes it with --yes. The sha256 of an episode's group decides its part, so that
episodes that are added have a part at once and none ever moves; shares are met on average, and a whole group goes
together. An augmented episode goes with its demonstration. A split never changes: another one gets another name. Exit
status 1 if something is in two parts; drop one of the two with `tg data label`."""
)
@store_argument
@click.argument("name", required=False)
@click.option(
    "--by",
    type=click.Choice(["seed", "scenario", "robot", "operator", "policy"]),
    default="seed",
    show_default=True,
    help="What must not be on both sides.",
)
@click.option(
    "--part", "parts", multiple=True, metavar="NAME=SHARE", help="May be given again.  [default: train=0.8, test=0.2]"
)
@click.option("--salt", type=click.IntRange(0), default=0, show_default=True, help="Another one draws other groups.")
@click.option("--yes", is_flag=True, help="Write it.")
@json_option
def command(store: Path, name: str | None, by: str, parts: tuple[str, ...], salt: int, yes: bool, as_json: bool) -> int:
    """Make the split NAME of STORE, or show the one or all that there are."""
    from training_ground.datasets import split as splits
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    index = open_index(opened, as_json)
    there = splits.names(opened)
    if name is None or name in there:
        if yes or parts:
            raise click.UsageError(f"the split '{name}' is there already, and splits never change; choose another name")
        shown = [splits.read(opened, one) for one in ([name] if name else there)]
        head = "" if shown else f"{store}: there is no split; make one with `tg data split {store} NAME`"
    else:
        shown = [splits.new(name, by, [_share(part) for part in parts or ("train=0.8", "test=0.2")], salt)]
        if yes:
            splits.create(opened, shown[0])
        head = f"{store}: split '{name}' written" if yes else f"{store}: split '{name}' would be; --yes writes it"
    data = [_facts(index, split) for split in shown]
    emit({"path": str(store), "written": bool(yes), "splits": data}, as_json, _lines(head, data))
    return int(any(one["leaks"] for one in data))


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise click.UsageError(f"--part {text}: write it as NAME=SHARE, such as train=0.8") from None


def _facts(index: Index, split: Split) -> dict[str, Any]:
    from training_ground.datasets.split import leaks, members

    found = members(index, split, check=False)
    return {
        **split.model_dump(mode="json", exclude={"parts"}),
        "parts": {name: {"share": share, "episodes": found[name]} for name, share in split.parts},
        "dropped": sum(index.column("dropped")),
        "leaks": leaks(index, split),
    }


def _lines(head: str, data: list[dict[str, Any]]) -> list[Any]:
    rows, said = [], []
    for one in data:
        total = sum(len(part["episodes"]) for part in one["parts"].values())
        for name, part in one["parts"].items():
            count = len(part["episodes"])
            rows.append((one["name"], one["by"], name, part["share"], count, count / total if total else 0.0))
            if not count:
                said.append(f"note: '{name}' of '{one['name']}' is empty: there are too few groups by {one['by']}")
        said += [f"leak in '{one['name']}': {leak}" for leak in one["leaks"][:20]]
        if len(one["leaks"]) > 20:
            said.append(f"and {len(one['leaks']) - 20} more leaks")
    heads = ["split", "by", "part", "share", "episodes", "of all"]
    return [*([head] if head else []), *([table("", heads, rows)] if rows else []), *said]

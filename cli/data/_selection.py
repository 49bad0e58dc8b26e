"""Options that several verbs of `tg data` share: which episodes, and whether to do it or only to say it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from training_ground.configs.errors import DatasetError, printable

if TYPE_CHECKING:
    from training_ground.datasets.store import Store

F = TypeVar("F", bound=Callable[..., Any])


class _Range(click.ParamType):
    name = "N|A-B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, range):
            return value
        first, _, last = str(value).partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or str(value).endswith("-"):
            self.fail(f"'{value}' is no number and no range such as 0-99", param, ctx)
        if int(last or first) < int(first):
            self.fail(f"'{value}': the last number must not be below the first", param, ctx)
        return range(int(first), int(last or first) + 1)


def episodes_option(function: F) -> F:
    """Add `--episode N` or `--episode A-B`, any number of times, passed on as `chosen`, a tuple of ranges."""
    text = "Only this one, or a range such as 0-99; may be given again."
    return click.option("--episode", "chosen", type=_Range(), multiple=True, help=text)(function)


def yes_option(function: F) -> F:
    """Add `--yes`, without which a verb only says what it would do."""
    return click.option("--yes", is_flag=True, help="Do it; without this nothing is changed.")(function)


def open_store(path: Path) -> Store:
    """Open a store, and say what a killed writer had left behind."""
    from training_ground.datasets.store import Store

    store = Store.open(path)
    for line in store.recovered:
        click.echo(printable(line), err=True)
    return store


def require(meant: Sequence[int], there: Collection[int], where: str) -> None:
    """Refuse numbers that there are not, in a dry run, too.

    Raises:
        DatasetError: The message names them.
    """
    missing = sorted({*meant} - {*there})
    if missing:
        listed = ", ".join(map(str, missing[:5]))
        raise DatasetError(f"{where}: there is no episode {listed}; there are {len(there)}; nothing was changed")


def numbers(chosen: Sequence[range], there: Sequence[int]) -> list[int]:
    """Return the numbers that are meant: of a range those that are there, a single one in any case."""
    known = set(there)
    return sorted({n for one in chosen for n in (one if len(one) == 1 else known.intersection(one))})

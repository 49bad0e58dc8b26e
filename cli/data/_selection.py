"""Options that several verbs of `tg data` share: which episodes, and whether to do it or only to say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

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
    text = "Only this one, or these (0-99, numbers that there are not left out); may be given again."
    return click.option("--episode", "chosen", type=_Range(), multiple=True, help=text)(function)


def yes_option(function: F) -> F:
    """Add `--yes`, without which a verb only says what it would do."""
    return click.option("--yes", is_flag=True, help="Do it; without this nothing is changed.")(function)


def numbers(chosen: Sequence[range], there: Sequence[int]) -> list[int]:
    """Return the numbers that are meant: of a range those that are there, a single one in any case."""
    known = set(there)
    return sorted({n for one in chosen for n in (one if len(one) == 1 else known.intersection(one))})

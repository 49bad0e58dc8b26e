"""Which scenarios a command is about, and where it keeps what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from training_ground.envs.scenarios import Scenario

F = TypeVar("F", bound=Callable[..., Any])

SAVE_SECONDS = 5.0
"""Seconds between two writes of --out while episodes finish: what a kill can cost."""


def filters(function: F) -> F:
    """Add the scenarios' identifiers and the filters, passed on as one argument `wanted`, for `select`."""
    options = (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        click.option("--sector", "sectors", metavar="NAME", multiple=True, help="Such as automotive, or its code AU."),
        click.option("--template", "names", metavar="NAME", multiple=True, help="Such as peg_in_hole or PegInHole."),
        click.option("--tier", "tiers", metavar="NAME", multiple=True, help="nominal, tight, flow or disturbed."),
        click.option("--robot", "robots", metavar="NAME", multiple=True, help="Such as g1_dex3."),
    )
    for option in reversed(options):
        function = option(function)
    return function


class Keeper:
    """Writes what is finished to a file, at most every few seconds.

    Raises:
        AgentError: The file exists, and is not to be replaced.
    """

    def __init__(self, out: Path | None, force: bool) -> None:
        from training_ground.configs.errors import AgentError

        if out is not None and out.exists() and not force:
            raise AgentError(f"{out} exists; choose another --out, or --force to replace it")
        self._out, self._saved = out, time.monotonic()

    def __call__(self, data: Callable[[], Any], *, now: bool = False) -> None:
        """Write what `data` returns, if it is time or `now`."""
        from training_ground.agents.files import to_json, write_atomic

        if self._out is not None and (now or time.monotonic() - self._saved > SAVE_SECONDS):
            write_atomic(self._out, to_json(data()))
            self._saved = time.monotonic()


def select(ids: tuple[str, ...], **wanted: tuple[str, ...]) -> list[Scenario]:
    """Return the scenarios that the command line names, all of them where it names none.

    Raises:
        ConfigError: There are none.
    """
    from training_ground.configs.errors import ConfigError
    from training_ground.envs.scenarios import catalogue, choose

    chosen = choose(catalogue(), ids, **wanted)
    if not chosen:
        given = " ".join([*ids, *(name for names in wanted.values() for name in names)])
        raise ConfigError(f"no scenario fits all of: {given}. See `tg scenarios list`")
    return chosen

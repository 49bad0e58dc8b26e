"""Progress of long work on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

LINE_SECONDS = 5.0
"""Seconds between two plain lines where standard error is no terminal."""


class Progress:
    """Counts work done and shows rate and time left on standard error.

    Attributes:
        total: Amount of work, or None where it is unknown.
        done: Amount done so far.
    """

    def __init__(self, label: str, total: float | None, unit: str, quiet: bool) -> None:
        self.total = total
        self.done: float = 0
        self._label, self._unit, self._quiet = label, unit, quiet
        self._start = self._last = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        if not quiet and sys.stderr.isatty():
            self._bar, self._task = self._make_bar()

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more done; `note` says what was done last, in a few words."""
        self.done += amount
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, note=note, rate=self._rate())
        elif not self._quiet and time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            click.echo(self._line(note), err=True)

    def close(self) -> None:
        """Leave the terminal as it was; a last line says what was done."""
        if self._bar is not None:
            self._bar.stop()
        elif not self._quiet and time.monotonic() - self._start >= LINE_SECONDS:
            click.echo(self._line(f"in {_duration(time.monotonic() - self._start)}"), err=True)

    def _make_bar(self) -> tuple[Any, Any]:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=30),
            progress.TextColumn("{task.completed:.0f}" + (f"/{self.total:.0f}" if self.total else "")),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("[dim]{task.fields[note]}"),
        )
        bar = progress.Progress(*columns, console=Console(file=sys.stderr))
        bar.start()
        return bar, bar.add_task(self._label, total=self.total, note="", rate="")

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        return f"{self.done / seconds:,.3g} {self._unit}/s"

    def _line(self, note: str) -> str:
        seconds = time.monotonic() - self._start
        parts = [f"{self._label}: {self.done:,.0f}" + (f"/{self.total:,.0f}" if self.total else ""), self._rate()]
        if self.total and 0 < self.done < self.total:
            parts.append(f"{_duration(seconds * (self.total - self.done) / self.done)} left")
        return ", ".join([*parts, note] if note else parts)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def progress(label: str, total: float | None = None, *, unit: str = "it", quiet: bool = False) -> Iterator[Progress]:
    """Show progress of long work: a bar on a terminal, a line every few seconds elsewhere, nothing where `quiet`.

    Args:
        label: What is being done.
        total: Amount of work; None where it is unknown.
        unit: What is counted, such as `episodes` or `steps`.
        quiet: Show nothing; give it the verb's `as_json`.
    """
    shown = Progress(label, total, unit, quiet)
    try:
        yield shown
    finally:
        shown.close()

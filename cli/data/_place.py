"""A dataset's folder, or the address of one that lies elsewhere, as an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class _Place(click.ParamType):
    name = "folder or address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Path) or "://" in str(value):
            return value
        return click.Path(path_type=Path, file_okay=False).convert(value, param, ctx)


def place_argument(function: F) -> F:
    """Add the argument `store`: a `Path`, or a text, the address of a store that lies elsewhere."""
    return click.argument("store", type=_Place())(function)


def jobs_option(function: F) -> F:
    """Add `--jobs`, how many files are on their way at once."""
    kind = click.IntRange(1, 64)
    return click.option("--jobs", type=kind, default=8, show_default=True, help="Files at once.")(function)


def keys_option(function: F) -> F:
    """Add `--key`, files with public keys, any number of times, passed on as `keys`."""
    text = "Public keys that you trust."
    kind = click.Path(path_type=Path)
    return click.option("--key", "keys", type=kind, multiple=True, help=text)(function)


def read_keys(files: Sequence[Path]) -> list[bytes]:
    """Return the public keys in files."""
    if not files:
        return []
    from training_ground.datasets.signing import read_public_keys

    return [key for path in files for key in read_public_keys(path)]


def differing(changed: Sequence[str]) -> list[str]:
    """Return a line for each file that a push or pull replaces, or would: ten of them, and how many more there are."""
    lines = [f"differs: {path}" for path in changed[:10]]
    return lines + ([f"… and {len(changed) - 10} more"] if len(changed) > 10 else [])

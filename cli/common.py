"""What the verbs share: suggestions, `--json`, tables, progress, and the options that name an environment."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from training_ground.cli._progress import Progress, progress
from training_ground.configs.errors import printable, unknown

__all__ = [
    "OVERRIDES",
    "Group",
    "Progress",
    "emit",
    "env_kwargs",
    "env_options",
    "json_option",
    "overrides_argument",
    "plain",
    "progress",
    "runtime_option",
    "table",
]

F = TypeVar("F", bound=Callable[..., Any])


class Group(click.Group):
    """A click group that answers an unknown command with the nearest one and the list."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named by the first argument.

        Raises:
            click.UsageError: There is none; the message names the nearest and all of them.
        """
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            kind = "verb" if ctx.parent is None else f"command of '{ctx.command_path}'"
            ctx.fail(unknown(kind, name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def store_argument(function: F) -> F:
    """Add the argument `store`, a dataset's folder."""
    return click.argument("store", type=click.Path(path_type=Path, file_okay=False))(function)


def json_option(function: F) -> F:
    """Add `--json`, passed on as `as_json`."""
    text = "Print one JSON object on standard output and nothing else."
    return click.option("--json", "as_json", is_flag=True, help=text)(function)


def emit(result: Any, as_json: bool, show: Iterable[Any] | Callable[[], None] | str = ()) -> None:
    """Print a verb's result.

    Args:
        result: Plain data; numpy values, paths and tuples are converted, NaN and infinity become null.
        as_json: Print `result` as JSON, and nothing else.
        show: Otherwise, what people see: a text, a sequence of texts and rich tables, or a function that prints. Texts
            may be a stranger's: nothing in them reaches the terminal that it would obey.
    """
    if as_json:
        click.echo(json.dumps(plain(result), indent=2, ensure_ascii=False, allow_nan=False))
        return
    if callable(show):
        show()
        return
    for item in [show] if isinstance(show, str) else show:
        if isinstance(item, str):
            click.echo(printable(item))
        else:
            _print(item)


def plain(value: Any) -> Any:
    """Return `value` as data that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """Return a rich table; a column whose first cell is a number is aligned to the right.

    Args:
        title: Above the table; may be empty.
        columns: Headings.
        rows: One sequence of cells a row, each as long as `columns`.
    """
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    result = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        number = bool(listed) and isinstance(listed[0][index], (int, float)) and not isinstance(listed[0][index], bool)
        result.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in listed:
        result.add_row(*(Text(_cell(cell)) for cell in row))
    return result


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else printable(str(value))


def _print(item: Any) -> None:
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(item)
        return
    # A pipe has no width: tables in a file or a log must neither be cut at 80 columns nor padded to any.
    console = Console(width=160, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(item)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def runtime_option(function: F) -> F:
    """Add `--runtime`, what runs a learned policy's network."""
    text = "What runs a learned policy; onnx needs the extra `deploy`."
    kind = click.Choice(["numpy", "onnx"])
    return click.option("--runtime", type=kind, default="numpy", show_default=True, help=text)(function)


def env_options(function: F) -> F:
    """Add `--robot`, `--stance`, `--control` and `--set KEY=VALUE`; turn them into arguments with `env_kwargs`."""
    options = (
        click.option("--robot", metavar="NAME", help="Robot, or a path to a robot's YAML. See `tg robots`."),
        click.option("--stance", metavar="NAME", help="`free`, or `mounted` (pelvis on a stand)."),
        click.option("--control", metavar="NAME", help="`joint_position`, `joint_delta` or `joint_torque`."),
        click.option(
            "--set",
            "settings",
            metavar="KEY=VALUE",
            multiple=True,
            help="Any other argument of the environment, dotted where nested: --set randomisation.friction=[0.5,1]; a "
            "value that is long can stand in a YAML file: --set variation=@mine.yaml.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def env_kwargs(
    robot: str | None, stance: str | None, control: str | None, settings: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the environment's keyword arguments that were given on the command line.

    Raises:
        ConfigError: A setting is not written as `key=value`.
    """
    given = {"robot": robot, "stance": stance, "control": control}
    kwargs: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if settings:
        from training_ground.configs.loading import apply_overrides

        kwargs = apply_overrides(kwargs, settings)
    return kwargs


def overrides_argument(function: F) -> F:
    """Add trailing dotted overrides such as `--ppo.learning_rate=1e-4`, passed on as the tuple `overrides`.

    Use it with `context_settings=OVERRIDES`. An option without `=` is a mistyped one: the nearest is offered.
    """

    def check(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        known = [
            name for p in ctx.command.params if isinstance(p, click.Option) for name in (*p.opts, *p.secondary_opts)
        ]
        for value in values:
            name, separator, _ = value.partition("=")
            if not separator:
                kind = "option" if name.startswith("-") else "override"
                ctx.fail(unknown(kind, name, known) + ". An override is written as --dotted.key=value")
        return values

    return click.argument("overrides", nargs=-1, type=click.UNPROCESSED, callback=check, metavar="[--KEY=VALUE]...")(
        function
    )


OVERRIDES: dict[str, Any] = {"ignore_unknown_options": True}
"""`context_settings` of a command that takes `overrides_argument`."""

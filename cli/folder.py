"""Groups of commands whose commands are the files of a folder; none is imported before it is called."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from training_ground.cli.common import Group
from training_ground.configs.errors import TrainingGroundError

HIDDEN = {"__init__", "main", "common", "folder"}
"""Files of this folder that are no commands."""


class Verb(NamedTuple):
    """A file that holds a command, and the name under which it is imported."""

    path: Path
    module: str


class FolderGroup(Group):
    """A group that lists files and imports the one that is called.

    Args:
        find: Returns its commands by name.
        heading: Over the list of commands.
        settings: Those of `click.Group`.
    """

    def __init__(self, *, find: Callable[[], dict[str, Verb]], heading: str = "Commands", **settings: Any) -> None:
        super().__init__(**settings)
        self.find, self.heading = find, heading

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self.find())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is none of that name.

        Raises:
            TrainingGroundError: The file has no click command named `command`.
        """
        verb = self.find().get(cmd_name)
        if verb is None:
            return None
        command = getattr(import_module(verb.module), "command", None)
        if not isinstance(command, click.Command):
            raise TrainingGroundError(f"verb '{cmd_name}': {verb.path} has no click command named 'command'")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line a command, read from its file without importing it."""
        with formatter.section(self.heading):
            formatter.write_dl([(name, _summary(verb.path)) for name, verb in self.find().items()])


def verbs_in(folder: Path, package: str) -> dict[str, Verb]:
    """Return the commands of a folder by name: files, and folders that are packages; names with `_` in front are none.

    Args:
        folder: Where to look.
        package: Name under which the folder is imported.
    """
    paths = {path.stem: path for path in folder.glob("*.py")}
    paths |= {path.parent.name: path for path in folder.glob("*/__init__.py")}
    names = sorted(name for name in paths if name not in HIDDEN and not name.startswith("_"))
    return {name: Verb(paths[name], f"{package}.{name}") for name in names}


def _summary(path: Path) -> str:
    """First line of a module's docstring, without the command's own name in front."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (OSError, SyntaxError, ValueError):
        return "(cannot be read)"
    line = text.partition("\n")[0].strip()
    if line.startswith(("`tg ", "tg ")):
        line = line.partition(":")[2]
    line = line.lstrip(":, —-").rstrip(".")
    return line[:1].upper() + line[1:]

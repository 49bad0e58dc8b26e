"""The frame of `tg`: verbs found, suggestions, errors as one line with the right exit status."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pydantic
import pytest

from training_ground.cli import common, main
from training_ground.configs.errors import AssetError

VERBS = sorted(main.verbs())


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch):
    """Put a verb `try` before `tg` whose body is the given function."""

    def add(function) -> None:
        command = click.command("try")(function)
        monkeypatch.setattr(main.FolderGroup, "get_command", lambda self, ctx, name: command if name == "try" else None)

    return add


def test_help_lists_every_verb_with_a_line(capsys):
    assert main.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in VERBS:
        line = next(line for line in text.splitlines() if line.strip().startswith(name + " "))
        assert len(line.split()) > 2, f"{name}: no summary"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from training_ground.cli.main import main; main(['--help']);"
        "heavy = {'numpy', 'torch', 'pybullet', 'gymnasium', 'pydantic', 'rich', 'pyarrow'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_examples_and_json(name):
    command = import_module(f"training_ground.cli.{name}").command
    assert isinstance(command, click.Command)
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert any("--json" in p.opts for p in leaf.params), f"{name} {leaf.name}: no --json"
        assert leaf.help, f"{name} {leaf.name}: no help"
    assert any(f"tg {name}" in (c.epilog or "") for c in [command, *leaves]), f"{name}: help without an example"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_answers_help(name, capsys):
    assert main.main([name, "--help"]) == 0
    assert f"tg {name}" in capsys.readouterr().out


def test_unknown_verb_offers_the_nearest(capsys):
    assert main.main(["docter"]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'doctor'" in error and error.count("\n") == 1


def test_unknown_option_offers_the_nearest(capsys):
    assert main.main(["doctor", "--jsn"]) == 2
    error = capsys.readouterr().err
    assert "--json" in error and error.startswith("error: ") and error.count("\n") == 1


def test_bad_input_is_one_line_and_status_2(verb, capsys):
    def fail() -> None:
        raise AssetError("robot 'g2':\n  no such robot")

    verb(fail)
    assert main.main(["try"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: robot 'g2': no such robot\n" and captured.out == ""


def test_debug_shows_the_traceback_wherever_it_stands(verb):
    def fail() -> None:
        raise AssetError("wrong")

    verb(fail)
    with pytest.raises(AssetError):
        main.main(["try", "--debug"])
    with pytest.raises(AssetError):
        main.main(["--debug", "try"])


def test_a_fault_of_ours_is_not_hidden(verb):
    def fail() -> None:
        raise ZeroDivisionError

    verb(fail)
    with pytest.raises(ZeroDivisionError):
        main.main(["try"])


def test_interrupt_is_status_130(verb, capsys):
    def interrupt() -> None:
        raise KeyboardInterrupt

    verb(interrupt)
    assert main.main(["try"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_interrupt_behind_an_error_is_status_130(verb, capsys):
    class Model(pydantic.BaseModel):
        @pydantic.model_serializer(mode="wrap")
        def interrupted(self, write):
            raise KeyboardInterrupt

    def fail() -> None:
        try:
            Model().model_dump()
        except ValueError as problem:
            raise AssetError("damaged") from problem

    verb(fail)
    assert main.main(["try"]) == 130
    assert "damaged" not in capsys.readouterr().err


@pytest.mark.parametrize("status", [0, 1])
def test_a_verb_returns_its_status(verb, status):
    verb(lambda: status)
    assert main.main(["try"]) == status


def test_missing_extra_is_named_with_its_pip_line(verb, capsys):
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    verb(fail)
    assert main.main(["try"]) == 2
    assert "pip install 'training-ground[train]'" in capsys.readouterr().err


def test_file_errors_are_one_line(verb, capsys):
    verb(lambda: Path("/no/such/file").read_text())
    assert main.main(["try"]) == 2
    assert "/no/such/file" in capsys.readouterr().err


def test_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "training_ground.cli.main", "--help"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert done.returncode == 0 and done.stderr == b""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A distribution with an entry point that names a package, and in it verbs `inspect` and `doctor`."""
    for name in ("inspect", "doctor"):
        path = tmp_path / "a_plugin" / "cli" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            '"""Look into it."""\nimport click\n@click.command()\ndef command():\n    click.echo("plugged in")\n'
        )
    information = tmp_path / "a_plugin-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        f"[{main.PLUGIN_GROUP}]\na-plugin = a_plugin\nbroken = no_such_package.module\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    main.verbs.cache_clear()
    yield
    main.verbs.cache_clear()


@pytest.mark.usefixtures("plugin")
def test_plugin_verb_is_listed_and_runs(capsys):
    assert main.main(["--help"]) == 0
    assert "Look into it" in capsys.readouterr().out
    assert main.main(["inspect"]) == 0
    assert "plugged in" in capsys.readouterr().out
    assert main.verbs()["doctor"].module == "training_ground.cli.doctor", "a plugin must not replace a verb of ours"


def test_emit_json_is_strict(capsys):
    common.emit({"a": np.float32(1.5), "b": np.arange(3), "c": (Path("x"), math.nan), 4: {"d": np.bool_(True)}}, True)
    assert json.loads(capsys.readouterr().out) == {"a": 1.5, "b": [0, 1, 2], "c": ["x", None], "4": {"d": True}}


def test_emit_shows_tables_and_text(capsys):
    common.emit({}, False, ["before", common.table("Title", ("name", "mass"), [("g1", 33.34), ("[talos]", 90.0)])])
    text = capsys.readouterr().out
    assert "before" in text and "Title" in text and "[talos]" in text and "33.34" in text


def test_progress_off_a_terminal_prints_lines(monkeypatch, capsys):
    monkeypatch.setattr("training_ground.cli._progress.LINE_SECONDS", 0.0)
    with common.progress("work", 4, unit="episodes") as shown:
        shown.advance(1, "first")
        shown.advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("work: 1/4") and "episodes/s" in lines[0] and "left" in lines[0] and "first" in lines[0]
    with common.progress("work", 4, quiet=True) as shown:
        shown.advance(4)
    assert capsys.readouterr().err == ""


def test_env_kwargs_reads_dotted_settings():
    kwargs = common.env_kwargs("g1", None, None, ["randomisation.friction=[0.5, 1]", "episode_length_s=5"])
    assert kwargs == {"robot": "g1", "randomisation": {"friction": [0.5, 1]}, "episode_length_s": 5}


def test_override_without_value_offers_the_option(verb, capsys):
    @common.overrides_argument
    @click.option("--robot")
    def show(robot: str | None, overrides: tuple[str, ...]) -> None:
        print(robot, overrides)

    command = click.command("try", context_settings=common.OVERRIDES)(show)
    assert command.main(["--robot", "g1", "--ppo.lr=1e-4"], standalone_mode=False) is None
    assert "g1 ('--ppo.lr=1e-4',)" in capsys.readouterr().out
    with pytest.raises(click.UsageError, match="did you mean '--robot'"):
        command.main(["--robt", "g1"], standalone_mode=False)

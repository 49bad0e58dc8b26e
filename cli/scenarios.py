"""List, show, count, run and check the scenarios: template × tier × robot."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from training_ground.cli.common import Group, emit, json_option, progress, table

if TYPE_CHECKING:
    from training_ground.agents.scenario_check import Proof
    from training_ground.agents.scenario_replay import Examined
    from training_ground.agents.scenario_runs import Runs
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


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  tg scenarios                                       every scenario
  tg scenarios list --sector automotive --tier tight
  tg scenarios show peg_in_hole/tight/g1_dex3
  tg scenarios count --json
  tg scenarios run 'peg_in_hole/*' --episodes 20     the expert's success and cycle times
  tg scenarios check --template press_button         are they really different?

An identifier is template/tier/robot, or a shell pattern of it. Filters of one kind add up, those of different kinds
must all hold.""",
)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List, show, count, run and check the scenarios: template × tier × robot, each with its sectors."""
    if context.invoked_subcommand is None:
        emit_list(select(()), as_json)


@command.command("list", epilog="\b\nExample:\n  tg scenarios list --sector logistics --robot g1_grippers")
@filters
@json_option
def list_command(ids: tuple[str, ...], as_json: bool, **wanted: tuple[str, ...]) -> None:
    """List scenarios."""
    emit_list(select(ids, **wanted), as_json)


def emit_list(chosen: list[Scenario], as_json: bool) -> None:
    """Print scenarios, one a line."""
    rows = [(one.id, ", ".join(one.sectors), _text(one.env)) for one in chosen]
    last = f"{len(chosen)} scenarios"
    emit({"scenarios": [one.to_json() for one in chosen]}, as_json, [table("", ("id", "sectors", ""), rows), last])


def _text(env: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in env.items())


@command.command("show", epilog="\b\nExample:\n  tg scenarios show peg_in_hole/tight/g1_dex3")
@click.argument("name", metavar="ID")
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show a scenario: what is asked, what stands in the cell, its limits, and the hashes that tell it from others."""
    from training_ground.configs.errors import ConfigError
    from training_ground.envs.fingerprint import contents, fingerprint
    from training_ground.envs.scenarios import catalogue, no_such, templates

    found = catalogue()
    if name not in found:
        raise ConfigError(no_such(name, found))
    one = found[name]
    kind, content, prints = templates()[one.template], contents(one), fingerprint(one)
    items, limits = content["assets"]["cell"]["items"], content["limits"]
    data = {
        **one.to_json(),
        "instruction": kind.instruction,
        "phases": content["phases"],
        "limits": limits,
        "items": items,
        "events": content["events"],
        "hash": prints.hash,
        "parts": prints.parts,
    }
    settings = " ".join(f"--set {key}={value}" for key, value in {**one.env, "tier": one.tier}.items())
    lines = [
        f"{one.id}: {kind.instruction}\n",
        f"sectors    {', '.join(one.sectors)}",
        f"items      {', '.join(items)}",
        f"phases     {', '.join(content['phases'])}",
        f"limits     {limits['episode_length_s']:g} s; failures: {', '.join(limits['failures'])}",
        f"hash       {prints.hash[:12]}: {', '.join(f'{key} {text[:12]}' for key, text in prints.parts.items())}\n",
        f"tg play {one.template} --robot {one.robot} {settings} --policy expert",
        f"tg scenarios run {one.id}",
    ]
    emit(data, as_json, lines)


@command.command("count", epilog="\b\nExample:\n  tg scenarios count --robot g1_dex3 --json")
@filters
@json_option
def count_command(ids: tuple[str, ...], as_json: bool, **wanted: tuple[str, ...]) -> None:
    """Count scenarios by sector, template, tier and robot, and their hashes. `check` proves that they differ."""
    from training_ground.envs.fingerprint import fingerprint
    from training_ground.envs.scenarios import count

    chosen = select(ids, **wanted)
    hashes = {fingerprint(one).hash for one in chosen}
    data = {"scenarios": len(chosen), "hashes": len(hashes), **count(chosen)}
    kinds = ("sector", "template", "tier", "robot")
    tables = [table("", (kind, "scenarios"), data[kind].items()) for kind in kinds]
    last = f"{len(chosen)} scenarios with {len(hashes)} distinct hashes; a scenario may stand for several sectors"
    emit(data, as_json, [*(part for one in tables for part in (one, "")), last])


@command.command(
    "run",
    epilog="""\b
Examples:
  tg scenarios run peg_in_hole/tight/g1_dex3
  tg scenarios run --sector logistics --robot g1_dex3 --episodes 100 --out logistics.json

Seeds start at 1,000,000, as those of `tg eval`. Ctrl-C keeps the episodes that have finished, in --out too.""",
)
@filters
@click.option("--policy", default="expert", show_default=True, metavar="NAME", help="As for `tg eval`.")
@click.option("--episodes", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Of each scenario.")
@click.option("--seed", type=int, default=1_000_000, show_default=True, help="First of as many seeds as episodes.")
@click.option("--workers", type=click.IntRange(0, 1024), default=2, show_default=True, help="Processes; 0: this one.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write every episode as JSON.")
@click.option("--force", is_flag=True, help="Replace --out if it exists.")
@json_option
def run_command(
    ids: tuple[str, ...], policy: str, episodes: int, seed: int, workers: int, out: Path | None, force: bool,
    as_json: bool, **wanted: tuple[str, ...],
) -> None:  # fmt: skip
    """Measure a policy in scenarios: success with its 95 % Wilson interval, median and 95th percentile cycle time."""
    from training_ground.agents.scenario_runs import Runs, run

    keep, runs = Keeper(out, force), Runs(select(ids, **wanted))
    try:
        with progress("running", episodes * len(runs.scenarios), unit="episodes", quiet=as_json) as shown:

            def tell(one: Scenario) -> None:
                shown.advance(1, one.id)
                keep(runs.to_json)

            run(runs, policy, range(seed, seed + episodes), workers, tell)
    except KeyboardInterrupt:
        _report_runs(runs, out, as_json)
        raise
    finally:
        if runs.evaluations:
            keep(runs.to_json, now=True)
    _report_runs(runs, out, as_json)


RUN_COLUMNS = ("scenario", "success", "of", "95 % interval", "cycle, median s", "95th percentile", "failures")


def _report_runs(runs: Runs, out: Path | None, as_json: bool) -> None:
    rows = runs.figures()
    emit({"runs": rows}, as_json, [table("", RUN_COLUMNS, [_run_row(row) for row in rows]), *_written(out)])


def _run_row(row: dict[str, Any]) -> tuple[Any, ...]:
    low, high = row["wilson_95"]
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(row["failures"].items()))
    cycles = [None if row[key] is None else round(row[key], 2) for key in ("cycle_median_s", "cycle_p95_s")]
    return (row["id"], row["successes"], row["episodes"], f"{low:.1%} to {high:.1%}", *cycles, failures)


def _written(out: Path | None) -> list[str]:
    return [f"written: {out}"] if out is not None else []


@command.command(
    "check",
    epilog="""\b
Examples:
  tg scenarios check --template press_button
  tg scenarios check --out proof.json

Two scenarios differ when their hashes do and, on most seeds, the expert of the first, replayed unchanged in the second
with the same seed, fails, enters its phases in another order or shifts its cycle by more than 15 %. `unsolved`: it
differs, but its own expert never succeeded; `unproved`: too few successes to replay, on up to twice as many seeds.
Ctrl-C keeps what is finished, in --out too.""",
)
@filters
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, show_default=True, help="Episodes of each scenario.")
@click.option("--seed", type=int, default=1_000_000, show_default=True, help="First of the seeds.")
@click.option("--workers", type=click.IntRange(0, 1024), default=2, show_default=True, help="Processes; 0: this one.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the whole proof as JSON.")
@click.option("--force", is_flag=True, help="Replace --out if it exists.")
@json_option
def check_command(
    ids: tuple[str, ...], seeds: int, seed: int, workers: int, out: Path | None, force: bool, as_json: bool,
    **wanted: tuple[str, ...],
) -> int:  # fmt: skip
    """Prove that scenarios differ from each other. Exit status 1 where two are the same, or it could not be shown."""
    from training_ground.agents.scenario_check import begin, check

    keep, proof = Keeper(out, force), begin(select(ids, **wanted), range(seed, seed + seeds))
    try:
        with progress("checking", len(proof.scenarios) * seeds, unit="episodes", quiet=as_json) as shown:

            def tell(unit: Examined) -> None:
                shown.advance(len(unit.played), f"{unit.template}, seed {unit.seed}")
                keep(proof.to_json)

            check(proof, workers, tell)
    except KeyboardInterrupt:
        _report_check(proof, out, as_json)
        raise
    finally:
        if proof.examined:
            keep(proof.to_json, now=True)
    return _report_check(proof, out, as_json)


def _report_check(proof: Proof, out: Path | None, as_json: bool) -> int:
    from training_ground.agents.scenario_check import VERDICTS

    data = proof.to_json()
    total = data["summary"]
    rows = [
        (one["id"], one["verdict"], f"{expert['successes']}/{expert['episodes']}", expert["cycle_median_s"], one["why"])
        for one in data["scenarios"]
        if (expert := one["expert"])
    ]
    last = (
        f"{total['scenarios']} scenarios, {total['hashes']} hashes: "
        + ", ".join(f"{total[kind]} {kind}" for kind in VERDICTS)
        + f"; {total['seconds'] / 60:.1f} min"
    )
    control = (
        "controls: a replay in its own episode succeeds {} of {} times, on another seed of its own scenario {} of {}"
    ).format(*total["repeats"], *total["other_seed_succeeds"])
    columns = ("scenario", "verdict", "expert", "cycle, median s", "why")
    emit(data, as_json, [table("", columns, rows), control, last, *_written(out)])
    return 0 if total["complete"] and not total["same"] and not total["unproved"] else 1

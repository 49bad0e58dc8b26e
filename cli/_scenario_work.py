"""`tg scenarios run` and `tg scenarios check`: those commands that simulate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli._scenario_options import Keeper, filters, select
from training_ground.cli.common import emit, json_option, progress, table

if TYPE_CHECKING:
    from training_ground.agents.scenario_proof import Proof
    from training_ground.agents.scenario_replay import Examined
    from training_ground.agents.scenario_runs import Runs
    from training_ground.envs.scenarios import Scenario


@click.command(
    "run",
    epilog="""\b
Examples:
  tg scenarios run peg_in_hole/flow/g1_dex3
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


@click.command(
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
    from training_ground.agents.scenario_proof import VERDICTS

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

"""`tg eval`: measure a policy over unseen seeds, with the interval of its success rate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, env_kwargs, env_options, json_option, progress, runtime_option, table

if TYPE_CHECKING:
    from training_ground.agents.deadline import OnMiss
    from training_ground.agents.multitask_policy import Phrasing
    from training_ground.agents.policy import Policy

SAVE_SECONDS = 5.0
"""Seconds between two writes of --out while episodes finish: what a kill can cost."""


@click.command(
    epilog="""\b
Examples:
  tg eval --policy stand_g1 --episodes 200
  tg eval --policy runs/stand_g1_001 --task Stand --robot g1 --out stand.json
  tg eval --policy zero --task Stand --robot talos --episodes 20 --set push_speed=[0,0]
  tg eval --policy stand_g1 --set push_speed=[1.0,1.0] --json
  tg eval --policy runs/six --task OpenDoor --phrasing held_out --episodes 100
  tg eval --policy stand_g1 --runtime onnx --deadline report --workers 1
  tg eval --policy stand_g1 --sweep push_speed=0.3,0.5,0.7,1.0 --episodes 100 --out curve.json

Without --task and --robot a learned policy is measured as its card was. Seeds start at 1,000,000:
training uses those below. With --sweep every value meets the same seeds; where the option is a range, a number
stands for both of its ends. Ctrl-C keeps the episodes that have finished, in --out too."""
)
@click.option(
    "--policy", required=True, metavar="NAME", help="zero, random, expert, shipped, a shipped one, a bundle or a run."
)
@click.option("--task", metavar="NAME", help="Stand, or TrainingGround/Stand-v0.")
@click.option(
    "--phrasing",
    type=click.Choice(["asked", "training", "held_out"]),
    help="How a policy for several tasks is told: in the task's own words, in those it learned from, or in others.",
)
@env_options
@runtime_option
@click.option(
    "--deadline",
    type=click.Choice(["report", "hold", "raise"]),
    help="Time every act against the control period; after a miss: only report it, repeat the last action, or stop.",
)
@click.option("--episodes", type=click.IntRange(1, 1_000_000), default=200, show_default=True)
@click.option("--seed", type=int, default=1_000_000, show_default=True, help="First of as many seeds as episodes.")
@click.option("--sweep", metavar="KEY=V1,V2,...", help="Measure at several values of one argument of the environment.")
@click.option("--workers", type=click.IntRange(0, 1024), default=2, show_default=True, help="Processes; 0: this one.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write every episode as JSON.")
@click.option("--force", is_flag=True, help="Replace --out if it exists.")
@json_option
def command(
    policy: str,
    task: str | None,
    phrasing: Phrasing | None,
    robot: str | None,
    stance: str | None,
    control: str | None,
    settings: tuple[str, ...],
    runtime: str,
    deadline: OnMiss | None,
    episodes: int,
    seed: int,
    sweep: str | None,
    workers: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure a policy: success rate with its 95 % Wilson interval, failures, returns."""
    from training_ground.agents.deadline import DeadlineMonitor
    from training_ground.agents.evaluation import Evaluation, evaluate
    from training_ground.agents.files import to_json, write_atomic
    from training_ground.agents.sweep import Sweep
    from training_ground.agents.sweep import sweep as evaluate_each
    from training_ground.configs.errors import AgentError

    if out is not None and out.exists() and not force:
        raise AgentError(f"{out} exists; choose another --out, or --force to replace it")
    actor, env_id, kwargs = choose(policy, task, env_kwargs(robot, stance, control, settings), runtime)
    if phrasing is not None:
        actor = _told(actor, phrasing)
    if deadline is not None:
        actor = DeadlineMonitor(actor, on_miss=deadline)
    option, values = ("", [None]) if sweep is None else parse_sweep(sweep)
    seeds = range(seed, seed + episodes)
    latest: list[Evaluation | Sweep] = []
    saved = time.monotonic()

    def save() -> None:
        if out is not None and latest:
            write_atomic(out, to_json(latest[-1].to_json()))

    with progress("evaluating", episodes * len(values), unit="episodes", quiet=as_json) as shown:

        def tell(result: Evaluation | Sweep, record: Any) -> None:
            nonlocal saved
            latest[:] = [result]
            shown.advance(1, progress_text(result))
            if time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                save()

        try:
            if sweep is None:
                evaluate(actor, env_id, kwargs, seeds, workers, tell)
            else:
                evaluate_each(actor, env_id, kwargs, option, values, seeds, workers, tell)
        except KeyboardInterrupt:
            if latest:
                show(latest[0], out, as_json)
            raise
        finally:
            save()
    show(latest[0], out, as_json)


def _told(actor: Policy, phrasing: Phrasing) -> Policy:
    """Return a policy that is told in other words."""
    from training_ground.agents.multitask_policy import MultiTaskPolicy
    from training_ground.configs.errors import AgentError

    if not isinstance(actor, MultiTaskPolicy):
        raise AgentError(f"--phrasing {phrasing}: policy '{actor.name}' does one task, and is not told what to do")
    return actor.told_by(phrasing)


def parse_sweep(text: str) -> tuple[str, list[Any]]:
    """Read `push_speed=0.3,0.5` as an option and its values."""
    from training_ground.configs.errors import ConfigError
    from training_ground.configs.loading import apply_overrides

    option, _, values = text.partition("=")
    if not option or not values:
        raise ConfigError(f"--sweep {text}: write it as KEY=V1,V2,..., such as push_speed=0.3,0.5")
    return option, apply_overrides({}, [f"values=[{values}]"])["values"]


def progress_text(result: Any) -> str:
    """Return what stands beside the progress bar."""
    from training_ground.agents.sweep import Sweep

    if not isinstance(result, Sweep):
        return f"{sum(r.success for r in result.episodes)} succeeded"
    value = result.values[len(result.evaluations) - 1]
    return f"{result.option} {value}: {progress_text(result.evaluations[-1])}"


def choose(
    policy: str, task: str | None, given: dict[str, Any], runtime: str = "numpy"
) -> tuple[Any, str, dict[str, Any]]:
    """Return the policy, the task's id and the environment's arguments; a bundle knows those that are not given."""
    from training_ground.agents.learned import LearnedPolicy
    from training_ground.agents.policy import load_policy
    from training_ground.agents.stepping import full_id
    from training_ground.configs.errors import AgentError

    env_id = None if task is None else full_id(task)
    actor = load_policy(policy, env_id=env_id, robot=given.get("robot"), runtime=runtime)
    if isinstance(actor, LearnedPolicy):
        trained = actor.spec.env.env_id
        if env_id is None or env_id.rpartition(":")[2] == trained:
            return actor, env_id or full_id(trained), {**actor.conditions, **given}
    if env_id is None:
        raise AgentError(f"policy '{policy}' belongs to no task: add --task, such as --task Stand")
    return actor, env_id, given


def summary_line(summary: dict[str, Any]) -> str:
    """Return an evaluation's summary as one line."""
    low, high = summary["wilson_95"]
    rate = summary["success_rate"]
    share = "no episode" if rate is None else f"{rate:.1%}"
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(summary["failures"].items())) or "none"
    text = f"success {summary['successes']}/{summary['episodes']} = {share}, 95 % interval {low:.1%} to {high:.1%}"
    return f"{text}; failures: {failures}" + ("" if summary["complete"] else f"; of {summary['requested']} requested")


def timing_line(deadline: dict[str, Any]) -> str:
    """Return a deadline's report as one line."""
    worst = deadline["worst"]
    times = " · ".join(f"{name} {deadline[f'{name}_ms']:.3g}" for name in ("p50", "p99", "max"))
    return (
        f"deadline {deadline['deadline_ms']:g} ms: {deadline['misses']} of {deadline['calls']} missed; "
        f"act took, in ms: {times} (seed {worst['seed']}, step {worst['step']})"
    )


def show(result: Any, out: Path | None, as_json: bool) -> None:
    """Print an evaluation, or a sweep."""
    from training_ground.agents.sweep import Sweep

    if isinstance(result, Sweep):
        emit(result.to_json(), as_json, sweep_lines(result, out))
        return
    summary = result.summary()
    rows = [(k, summary[k]) for k in ("return_mean", "return_interquartile_mean", "seconds_mean", "success_any_rate")]
    rows += sorted(summary["metrics"].items())
    data = result.to_json()
    timed = [timing_line(data["deadline"])] if "deadline" in data else []
    written = [f"every episode: {out}"] if out is not None else []
    head = f"{result.policy} in {result.env_id}: {summary_line(summary)}"
    emit(data, as_json, [head, table("", ["", "mean"], rows), *timed, *written])


def sweep_lines(result: Any, out: Path | None) -> list[Any]:
    """Return a sweep as people see it: a row a value."""
    rows = []
    for value, evaluation in zip(result.values, result.evaluations, strict=False):
        summary = evaluation.summary()
        low, high = summary["wilson_95"]
        falls = ", ".join(f"{kind} {count}" for kind, count in sorted(summary["failures"].items())) or "none"
        rows.append((value, summary["episodes"], summary["success_rate"], f"{low:.1%} to {high:.1%}", falls))
    first = result.evaluations[0]
    columns = (result.option, "episodes", "success", "95 % interval", "failures")
    return [table(f"{first.policy} in {first.env_id}", columns, rows), *([f"every episode: {out}"] if out else [])]

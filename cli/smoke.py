"""Test every task on every robot in every stance, in less than a minute."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli._catalogue import choose_robots, choose_tasks, combinations
from training_ground.cli.common import emit, json_option, progress, table

if TYPE_CHECKING:
    from training_ground.agents.smoke import SmokeResult


@click.command(
    epilog="""\b
Examples:
  tg smoke                           everything
  tg smoke stand --robot g1          one task, one robot
  tg smoke --robot path/to/mine.yaml --json"""
)
@click.argument("tasks", nargs=-1, metavar="[ENV]...")
@click.option("--robot", "robots", metavar="NAME", multiple=True, help="Only this robot; may be given more than once.")
@click.option("--steps", type=click.IntRange(1, 100_000), default=40, show_default=True, help="Steps of a rollout.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first episode.")
@click.option(
    "--processes", type=click.IntRange(1, 64), default=min(2, os.cpu_count() or 1), show_default=True, help="Processes."
)
@json_option
def command(
    tasks: tuple[str, ...], robots: tuple[str, ...], steps: int, seed: int, processes: int, as_json: bool
) -> int:
    """Run every task on every robot in every stance and control mode for a moment, with random actions.

    Checks that observations, rewards and channels are finite and inside their spaces, that reward terms sum to the
    reward, and that the same seed gives the same bits. Exit status 1 if anything fails.
    """
    from training_ground.agents.smoke import SmokeItem, run_items

    start = time.monotonic()
    env_ids, names = choose_tasks(tasks), choose_robots(robots)
    with progress("compiling robots", len(names), unit="robots", quiet=as_json) as shown:
        found = combinations(env_ids, names, after_robot=lambda name: shown.advance(1, name))
    items = [SmokeItem(c.env_id, {"robot": c.robot, "stance": c.stance}, seed, steps) for c in found]
    results: list[SmokeResult] = []
    try:
        with progress("smoke", len(items), unit="combinations", quiet=as_json) as shown:

            def done(result: SmokeResult) -> None:
                results.append(result)
                shown.advance(1, f"{result.item.env_id} {result.item.kwargs['robot']}")

            run_items(items, processes, done)
    except KeyboardInterrupt:
        _report(results, len(items), time.monotonic() - start, as_json)
        raise
    return _report(results, len(items), time.monotonic() - start, as_json)


def _report(results: list[SmokeResult], total: int, seconds: float, as_json: bool) -> int:
    failed = [r for r in results if r.problem is not None]
    data: dict[str, Any] = {
        "ok": not failed and len(results) == total,
        "combinations": total,
        "run": len(results),
        "failed": len(failed),
        "steps": sum(r.steps for r in results),
        "seconds": seconds,
        "results": [r.to_json() for r in results],
    }
    ordered = sorted(results, key=lambda r: (r.item.env_id, r.item.kwargs["robot"], r.item.kwargs["stance"]))
    rows = [_row(result) for result in ordered]
    columns = ("", "environment", "robot", "stance", "episodes", "s", "problem")
    last = f"{len(results) - len(failed)} of {total} combinations passed, {data['steps']} steps in {seconds:.1f} s"
    emit(data, as_json, [table("", columns, rows), last])
    return 0 if data["ok"] else 1


def _row(result: SmokeResult) -> tuple[Any, ...]:
    item = result.item
    status = "FAIL" if result.problem else "ok"
    where = (item.env_id, item.kwargs["robot"], item.kwargs["stance"])
    return (status, *where, result.episodes, round(result.seconds, 2), result.problem or "")

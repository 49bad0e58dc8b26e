"""`tg demo`: the main job from end to end: push the G1, record, verify, replay, export, and one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training_ground.cli.common import emit, json_option, progress

if TYPE_CHECKING:
    from training_ground.agents.demo import Demo


@click.command(
    epilog="""\b
Examples:
  tg demo
  tg demo --episodes 5 --out out/quick
  tg demo --policy runs/stand_g1_001/bundle
  tg demo --fresh --json

The policy that ships stands on the G1 for 20 s, pushed every 5 s by 0.5 m/s, on seeds that training never
saw. Ctrl-C keeps the episodes that have ended; the same command goes on. Exit status 1 if a file or a
replay is wrong."""
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/demo"),
    show_default=True,
    help="Folder.",
)
@click.option("--episodes", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--seed", type=int, default=1_000_000, show_default=True, help="Of the first episode; from 1,000,000.")
@click.option("--policy", metavar="NAME", help="Another than the one that ships: a name, a bundle or a run.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes that record.")
@click.option("--fresh", is_flag=True, help="Record anew what an earlier demo has recorded already.")
@json_option
def command(out: Path, episodes: int, seed: int, policy: str | None, workers: int, fresh: bool, as_json: bool) -> int:
    """Push the G1 about, record and verify the episodes, export them, and tell it all in one HTML page."""
    from training_ground.agents.demo import choose_policy, run_demo

    actor = choose_policy(policy)
    with ExitStack() as stack:

        def step(name: str, total: int) -> Callable[[str], None]:
            stack.close()  # one bar at a time
            shown = stack.enter_context(progress(name, total, unit="episodes", quiet=as_json))
            return lambda note: shown.advance(1, note)

        demo = run_demo(
            out, actor, policy or actor.name, episodes=episodes, seed=seed, workers=workers, fresh=fresh, step=step
        )
    emit(demo.to_json(), as_json, _lines(demo))
    return 130 if demo.interrupted else int(not demo.ok)


def _lines(demo: Demo) -> list[str]:
    data = demo.to_json()
    low, high = data["wilson_95"]
    lines = [
        f"standing   {demo.successes} of {demo.recorded} episodes, 95 % interval {low:.1%} to {high:.1%}",
        f"replayed   {demo.identical} of {len(demo.replays)} bit for bit",
    ]
    lines += [f"problem    {problem}" for problem in demo.problems]
    lines += [f"differs    episode {r.number}: {r.first}" for r in demo.replays if not r.identical]
    if demo.exported:
        lines.append(f"exported   {demo.exported:,} frames: {data['export']}")
    if demo.page is not None:
        lines.append(f"took       {sum(demo.seconds.values()):.0f} s")
        lines.append(f"page       {demo.page.resolve()}")
    if demo.interrupted:
        lines.append(f"interrupted: {demo.recorded} of {demo.episodes} episodes are kept; the same command goes on")
    return lines

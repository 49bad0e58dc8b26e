"""What `tg data merge`, `copy` and `migrate` print: the plan, and with `--yes` what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from training_ground.cli.common import emit, progress

if TYPE_CHECKING:
    from training_ground.datasets.curation import Plan

out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="NEW", help="A folder that does not exist."
)


def carry_out(plan: Plan, out: Path, yes: bool, as_json: bool) -> None:
    """Show a plan, or carry it out."""
    from training_ground.datasets.curation import make

    notes: tuple[str, ...] = ()
    if yes:
        with progress(plan.action, len(plan.episodes), unit="episodes", quiet=as_json) as shown:
            _, notes = make(plan, out, lambda number: shown.advance(1, f"episode {number}"))
    data = {
        "action": plan.action,
        "done": yes,
        "out": str(out),
        "sources": [str(store.path) for store in plan.sources],
        "bytes": plan.size,
        "duplicates": plan.duplicates,
        "conflicts": list(plan.conflicts),
        "left_behind": list(notes),
        "episodes": [
            {
                "episode": one.new,
                "source": str(plan.sources[one.source].path),
                "source_episode": one.number,
                "content_sha256": one.content_sha256,
                "duplicates": [{"source": str(plan.sources[s].path), "episode": n} for s, n in one.twins],
            }
            for one in plan.episodes
        ],
    }
    lines = [f"conflict: {line}" for line in plan.conflicts] + [f"note: {line}" for line in notes]
    for index, store in enumerate(plan.sources):
        lines.append(f"{store.path}: {sum(one.source == index for one in plan.episodes)} of {len(store)} episodes")
    twice = f", {plan.duplicates} duplicates kept once" if plan.duplicates else ""
    end = "written" if yes else "would be written; --yes does it"
    emit(data, as_json, [*lines, f"{out}: {len(plan.episodes)} episodes, {plan.size:,} bytes{twice}: {end}"])

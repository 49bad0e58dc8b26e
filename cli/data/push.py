"""`tg data push`: send a dataset to S3, GCS, Azure or another disk, where others read it."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument
from training_ground.cli.data._place import differing, jobs_option
from training_ground.cli.data._selection import open_store


@click.command(
    epilog="""\b
Examples:
  tg data push data/stand s3://bucket/stand
  tg data push data/stand file://$PWD/share/stand
  tg data push data/stand s3://bucket/stand --yes      replace what differs there

What is there already is not sent again, so that the same command goes on after Ctrl-C, a kill or a lost network. Every
file is compared with its hash after it was sent. Nothing is deleted there, and nothing replaced without --yes: then it
says what would be, sends nothing, and the exit status is 1.

Credentials come from the environment or the service's own configuration files, never from the address."""
)
@store_argument
@click.argument("url")
@click.option("--yes", is_flag=True, help="Replace files that are there with other bytes.")
@jobs_option
@json_option
def command(store: Path, url: str, yes: bool, jobs: int, as_json: bool) -> int:
    """Send episodes, media, annotations, lineage and splits of STORE, and a manifest with their hashes, to URL."""
    from training_ground.datasets.remote.push import plan_push, push

    opened = open_store(store)
    with progress("comparing", None, unit="files", quiet=as_json) as shown:
        plan = plan_push(opened, url, lambda path, size: shown.advance(1, path))
    done = yes or not plan.changed
    if done:
        with progress("sending", plan.size / 1e6, unit="MB", quiet=as_json) as shown:
            push(plan, replace=yes, workers=jobs, progress=lambda path, size: shown.advance(size / 1e6, path))
    data = {
        "store": str(store),
        "url": plan.location.url,
        "done": done,
        "new": len(plan.new),
        "changed": list(plan.changed),
        "same": plan.same,
        "bytes": plan.size,
        "only_there": list(plan.only_there),
    }
    lines = [f"note: {path}: is only there, and stays" for path in plan.only_there]
    end = "sent and compared" if done else "would be sent; --yes replaces what differs"
    counted = (
        f"{len(plan.new)} new files, {len(plan.changed)} replaced, {plan.same} were there: {plan.size:,} bytes {end}"
    )
    emit(data, as_json, [*differing(plan.changed), *lines, f"{plan.location.url}: {counted}"])
    return 0 if done else 1

"""`tg data pull`: fetch a dataset from S3, GCS, Azure, a web server or another disk."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument
from training_ground.cli.data._place import differing, jobs_option, keys_option, read_keys


@click.command(
    epilog="""\b
Examples:
  tg data pull s3://bucket/stand data/stand
  tg data pull https://host/stand data/stand --key signing.pem.pub
  tg data pull s3://bucket/stand data/stand --yes      replace what differs here

What is here already is not fetched again, so that the same command goes on after Ctrl-C, a kill or a lost network. A
file gets its name when its hash is the one in the manifest, and not before. Nothing is deleted here, and nothing
replaced without --yes: then it says what would be, fetches nothing, and the exit status is 1.

With --key only what is signed by one of these keys is fetched."""
)
@click.argument("url")
@store_argument
@keys_option
@click.option("--yes", is_flag=True, help="Replace files that are here with other bytes.")
@jobs_option
@json_option
def command(url: str, store: Path, keys: tuple[Path, ...], yes: bool, jobs: int, as_json: bool) -> int:
    """Fetch the dataset at URL into the folder STORE."""
    from training_ground.datasets.remote.pull import plan_pull, pull

    with progress("comparing", None, unit="files", quiet=as_json) as shown:
        plan = plan_pull(url, store, read_keys(keys), lambda path, size: shown.advance(1, path))
    done = yes or not plan.changed
    if done:
        with progress("fetching", plan.size / 1e6, unit="MB", quiet=as_json) as shown:
            pull(plan, replace=yes, workers=jobs, progress=lambda path, size: shown.advance(size / 1e6, path))
    signed = plan.contents.statement
    data = {
        "url": plan.location.url,
        "store": str(store),
        "done": done,
        "new": len(plan.new),
        "changed": list(plan.changed),
        "same": plan.same,
        "bytes": plan.size,
        "only_here": list(plan.only_here),
        "notes": list(plan.contents.notes),
        "key_id": signed and signed.key_id,
    }
    lines = [f"note: {line}" for line in plan.contents.notes]
    lines += [f"note: {path}: is only here, and stays" for path in plan.only_here]
    end = "fetched and compared" if done else "would be fetched; --yes replaces what differs"
    counted = (
        f"{len(plan.new)} new files, {len(plan.changed)} replaced, {plan.same} were here: {plan.size:,} bytes {end}"
    )
    lines.append(f"{store}: {counted}")
    if signed:
        lines.append(f"signed by the key {signed.key_id[:16]}")
    emit(data, as_json, [*differing(plan.changed), *lines])
    return 0 if done else 1

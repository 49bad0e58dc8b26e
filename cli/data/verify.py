"""`tg data verify`: read every episode, check hashes, columns and values; and who signed them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, json_option, progress
from training_ground.cli.data._place import keys_option, place_argument, read_keys

if TYPE_CHECKING:
    from training_ground.datasets.trust import TrustReport


@click.command(
    epilog="""\b
Examples:
  tg data verify data/stand
  tg data verify data/stand --manifest
  tg data verify data/stand --key signing.pem.pub
  tg data verify s3://bucket/stand --key signing.pem.pub
  tg data verify data/stand --json

With --manifest every file is compared with manifest.json before anything is read. Only a signature by a --key that you
give is a verified one. Episodes that were appended after signing are no fault: they are listed as unsigned.

Of an address everything is read, nothing kept. Its manifest is always used; with --key it must be signed.

Exit status 1 if anything is wrong. To simulate the episodes again as well, use `tg replay`."""
)
@place_argument
@click.option("--manifest", is_flag=True, help="Compare every file with manifest.json, and that with its signature.")
@keys_option
@json_option
def command(store: Path | str, manifest: bool, keys: tuple[Path, ...], as_json: bool) -> int:
    """Read every episode of STORE, check hashes, columns and values, and say all that is wrong."""
    from training_ground.datasets.remote.store import RemoteStore
    from training_ground.datasets.store import Store

    trust = None
    if isinstance(store, str):
        opened = RemoteStore.open(store, keys=read_keys(keys))
        store = opened.url
    else:
        trust = _check_manifest(store, keys, as_json) if manifest or keys else None
        opened = Store.open(store)
    with progress("verifying", len(opened), unit="episodes", quiet=as_json) as shown:
        report = opened.verify(lambda number: shown.advance(1, f"episode {number}"))
    problems = [*(trust.problems if trust else ()), *report.problems]
    notes = [*(trust.notes if trust else ()), *report.notes]
    data = {
        "path": str(store),
        "ok": not problems,
        "episodes": report.episodes,
        "rows": report.rows,
        "problems": problems,
        "notes": notes,
        "manifest": trust and _to_json(trust),
    }
    verdict = "all good" if not problems else f"{len(problems)} problems"
    lines = [*(f"note: {line}" for line in notes), *problems, *(_lines(trust) if trust else ())]
    emit(data, as_json, [*lines, f"{store}: {report.episodes} episodes, {report.rows:,} rows: {verdict}"])
    return 1 if problems else 0


def _check_manifest(store: Path, keys: tuple[Path, ...], as_json: bool) -> TrustReport:
    from training_ground.datasets.trust import check

    trusted = read_keys(keys)
    with progress("comparing", None, unit="files", quiet=as_json) as shown:
        return check(store, trusted, lambda path: shown.advance(1, path))


def _to_json(trust: TrustReport) -> dict[str, Any]:
    data = {key: getattr(trust, key) for key in ("verified", "files", "unchanged", "changed", "missing", "unsigned")}
    signed = trust.statement
    return data | {"signature": signed and signed.model_dump(exclude={"signature", "format", "version"})}


def _lines(trust: TrustReport) -> list[str]:
    lines = [f"unsigned: {path}" for path in trust.unsigned]
    counted = f"{trust.unchanged} of {trust.files} signed files unchanged, {len(trust.changed)} changed"
    if trust.statement is None:
        counted = counted.replace("signed", "listed")
    lines.append(f"{counted}, {len(trust.missing)} missing, {len(trust.unsigned)} new")
    if trust.statement is not None:
        when = datetime.fromtimestamp(trust.statement.time_ns / 1e9, tz=timezone.utc)
        said = "verified" if trust.verified else "NOT verified"
        if trust.verified and trust.unsigned:
            said = "verified but for what is unsigned"
        lines.append(f"{said}: signed {when:%Y-%m-%d %H:%M} UTC by the key {trust.statement.key_id[:16]}")
    return lines

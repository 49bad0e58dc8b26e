"""`tg data sign`: write a manifest with a hash of every file, and sign it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, store_argument
from training_ground.cli.data.keygen import PASSPHRASE


@click.command(
    epilog="""\b
Examples:
  tg data keygen signing.pem
  tg data sign data/stand --key signing.pem
  tg data verify data/stand --key signing.pem.pub

Every episode is verified first, and a dataset with a fault is not signed. What is appended later is unsigned until the
next signature. README.md, card.html, croissant.json and caches can be made again and are not signed."""
)
@store_argument
@click.option("--key", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Private key (PEM).")
@json_option
def command(store: Path, key: Path, as_json: bool) -> int:
    """Verify STORE, write manifest.json with a hash of every file, and sign it in manifest.sig."""
    from training_ground.datasets.signing import is_encrypted, read_private_key
    from training_ground.datasets.store import Store
    from training_ground.datasets.trust import sign_store

    opened = Store.open(store)
    secret = None
    if is_encrypted(key):
        secret = os.environ.get(PASSPHRASE) or click.prompt("Passphrase", hide_input=True)
    private = read_private_key(key, secret.encode() if secret else None)
    with progress("verifying", len(opened), unit="episodes", quiet=as_json) as shown:
        report = opened.verify(lambda number: shown.advance(1, f"episode {number}"))
    if not report.ok:
        data = {"path": str(store), "signed": False, "problems": list(report.problems)}
        emit(data, as_json, [*report.problems, f"{store}: not signed, {len(report.problems)} problems"])
        return 1
    with progress("hashing", len(opened), unit="episodes", quiet=as_json) as shown:
        statement = sign_store(opened, key, private, lambda number: shown.advance(1, f"episode {number}"))
    data = {"path": str(store), "signed": True, **statement.model_dump()}
    lines = [f"root {statement.root}", f"key  {statement.key_id}"]
    emit(data, as_json, [*lines, f"{store}: {statement.files} files signed"])
    return 0

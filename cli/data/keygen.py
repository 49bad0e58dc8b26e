"""`tg data keygen`: make a key pair to sign datasets with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from training_ground.cli.common import emit, json_option

PASSPHRASE = "TG_KEY_PASSPHRASE"


@click.command(
    epilog="""\b
Examples:
  tg data keygen ~/.config/training-ground/signing.pem
  tg data keygen signing.pem --passphrase
  tg data sign data/stand --key signing.pem

Keep the private key out of datasets and repositories. Hand the public one, KEY.pub, to those who are to check your
signatures, by another way than the dataset itself. The passphrase is asked for, or taken from TG_KEY_PASSPHRASE."""
)
@click.argument("key", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--passphrase", is_flag=True, help="Encrypt the private key.")
@json_option
def command(key: Path, passphrase: bool, as_json: bool) -> None:
    """Write an ed25519 private key to the new file KEY (mode 0600), and the public one to KEY.pub."""
    from training_ground.datasets.signing import make_key

    secret = None
    if passphrase:
        secret = os.environ.get(PASSPHRASE) or click.prompt("Passphrase", hide_input=True, confirmation_prompt=True)
    public, name = make_key(key, secret.encode() if secret else None)
    data = {"private": str(key), "public": str(public), "key_id": name, "encrypted": secret is not None}
    emit(data, as_json, [f"{key}: private key, keep it", f"{public}: public key, hand it out", f"key {name}"])

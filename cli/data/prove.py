"""`tg data prove`: write a proof that one episode was signed, or check one against an episode's file alone."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option


@click.command(
    epilog="""\b
Examples:
  tg data prove data/stand 3 > episode_000003.proof.json
  tg data prove --check episode_000003.proof.json episode_000003.parquet --key signing.pem.pub

The proof holds the signed root and the hashes that lead to it: to check it takes the episode's file and the signer's
public key, and nothing else of the dataset."""
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("episode", type=click.IntRange(0), required=False)
@click.option("--check", "proof", type=click.Path(path_type=Path, dir_okay=False), help="A proof; SOURCE is the file.")
@click.option("--key", "keys", type=click.Path(path_type=Path), multiple=True, help="Public keys that you trust.")
@json_option
def command(source: Path, episode: int | None, proof: Path | None, keys: tuple[Path, ...], as_json: bool) -> None:
    """Print a proof that EPISODE of the dataset SOURCE was signed, or --check one against the file SOURCE."""
    from training_ground.datasets.signing import read_public_keys
    from training_ground.datasets.trust import check_episode, episode_proof

    if proof is None:
        if episode is None:
            raise click.UsageError("name the episode's number, or give --check")
        click.echo(episode_proof(source, episode).decode(), nl=False)
        return
    if not keys:
        raise click.UsageError("--check needs --key: a proof is worth what its signer is")
    statement = check_episode(source, proof, [key for path in keys for key in read_public_keys(path)])
    data = {"path": str(source), "verified": True, "key_id": statement.key_id, "time_ns": statement.time_ns}
    emit(data, as_json, [f"{source}: verified, signed by the key {statement.key_id[:16]}"])

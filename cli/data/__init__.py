"""`tg data`: list, check, clean, share, export and import datasets."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.folder import FolderGroup, verbs_in


@click.group(
    cls=FolderGroup,
    find=lambda: verbs_in(Path(__file__).parent, __name__),
    epilog="""\b
Examples:
  tg data ls data/stand --where "not success"
  tg data show data/stand 3
  tg data browse data/stand
  tg data query data/stand "success and seed < 100"
  tg data verify data/stand --manifest
  tg data check data/stand
  tg data clean data/stand --out data/stand_clean
  tg data export data/stand out/lerobot --format lerobot
  tg data import others/pick-v0 data/pick --format minari""",
)
def command() -> None:
    """List, check, clean, share, export and import datasets."""

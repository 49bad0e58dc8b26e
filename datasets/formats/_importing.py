"""What importers have in common: a report, and the metadata of an episode that no environment of ours made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from training_ground.datasets.schema import DatasetSchema, EpisodeMetadata, PolicyInfo


@dataclass(frozen=True)
class ImportReport:
    """What an import read, and what of it the store does not hold.

    Attributes:
        format: Its name.
        path: The new store.
        episodes, frames: How many.
        losses: One sentence for each thing that is not in the store, or was assumed.
        skipped: Episodes that were left out, and why.
    """

    format: str
    path: Path
    episodes: int
    frames: int
    losses: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def foreign_metadata(
    schema: DatasetSchema, format: str, number: int, length: int, terminated: bool, instruction: str
) -> EpisodeMetadata:
    """Return the metadata of an episode of others: `env_id` says `imported:<format>`, and nothing is made up.

    Args:
        number: Its place in the source, kept as `seed`, so that the episodes of a store differ in it.
        terminated: Whether it ended for good; else it counts as truncated.
        instruction: The task in words.
    """
    name = f"imported:{format}"
    return EpisodeMetadata(
        env_id=name,
        kwargs={},
        seed=number,
        policy=PolicyInfo(name="unknown"),
        instruction=instruction[:10_000],
        length=length,
        terminated=terminated,
        truncated=not terminated,
        robot=schema.robot,
        model_hash=schema.model_hash,
        config_hash=hashlib.sha256(name.encode()).hexdigest(),
        schema_sha256=schema.fingerprint(),
        started_ns=0,
        ended_ns=0,
    )

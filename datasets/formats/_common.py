"""What every export shares: what a policy saw, what no format of others has a place for, JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import names_in
from training_ground.datasets.schema import ACTION, PHASE, POLICY_OBSERVATION, ChannelSchema, DatasetSchema
from training_ground.datasets.store import Store

_BESIDE = {
    "annotations": "who labelled what and when, and what had been recorded; labels are those in force",
    "splits": "the store's rules of splits",
    "lineage": "where episodes of a merged or cleaned store came from",
}


def observed(schema: DatasetSchema) -> list[ChannelSchema]:
    """Return the channels that a policy saw, pictures excepted: where observations are noisy, what it was told."""
    noisy = [c for c in schema.channels if c.name == POLICY_OBSERVATION]
    return noisy or [c for c in schema.channels if c.role == "observation"]


def shown(schema: DatasetSchema) -> list[ChannelSchema]:
    """Return the channels that are observations of an export, pictures among them, in the schema's order."""
    seen = observed(schema)
    return [channel for channel in schema.channels if channel in seen or channel.role == "picture"]


def losses(store: Store, kept_in: str) -> list[str]:
    """Say what of a store has no place in any format of others.

    Args:
        store: What is exported.
        kept_in: Where the export has the schema.
    """
    schema = store.schema
    said = [f"units, frames and descriptions of channels, as data: see {kept_in}"]
    rates = [c.name for c in schema.channels if c.rate is not None and c.rate != schema.control_rate]
    if rates:
        said.append(f"rates other than the control rate, one row a step: {', '.join(rates)}")
    if any(channel.calibration for channel in schema.channels):
        said.append(f"calibration of cameras: see {kept_in}")
    said += [f"{folder}/: {what}" for folder, what in _BESIDE.items() if names_in(store.path / folder)]
    if (store.path / "manifest.json").exists():
        said.append("manifest and signature: they are of the store's files, not of what was made from them")
    return said


def check_last_action(episode: Episode, format: str) -> None:
    """Refuse an episode whose last row has an action, where a format has T actions.

    Raises:
        DatasetError: It has one, which the standard does not allow.
    """
    if np.any(episode.columns[ACTION][-1:]):
        raise DatasetError(
            f"episode {episode.number}: '{ACTION}' is not zero in the last row, where there is none; {format} has no "
            "place for it"
        )


def phases(episode: Episode) -> NDArray[np.bytes_]:
    """Return the phases of an episode's rows as UTF-8 bytes of one length, (T + 1,)."""
    return np.array([str(phase).encode() for phase in episode.columns[PHASE]], dtype=np.bytes_)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file, indented as the formats' own libraries do."""
    path.write_text(json.dumps(data, indent=4, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")

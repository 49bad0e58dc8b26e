"""Demonstrations as transitions, for algorithms that learn from reward. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from training_ground.agents.bundle_format import DataOrigin
from training_ground.agents.imitation.data import Part
from training_ground.configs.loading import StrictModel
from training_ground.datasets.index import Index
from training_ground.datasets.schema import ACTION, REWARD
from training_ground.datasets.store import Store
from training_ground.datasets.windows import ROW, Windows

Rows = dict[str, NDArray[Any]]


class DemonstrationSettings(StrictModel):
    """Recorded episodes that are learned from beside the run's own steps (RLPD, Ball et al. 2023, arXiv 2302.02948)."""

    datasets: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    """Folders as `tg record` makes them, of the environment that is trained in."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of each batch that is drawn from them."""
    only_successes: bool = True
    """Leave out episodes that did not end in success, or of which nobody says so."""


def open_transitions(
    settings: DemonstrationSettings, env: gymnasium.Env[Any, Any]
) -> tuple[Rows, tuple[DataOrigin, ...]]:
    """Read all transitions, as `Replay.add_transitions` wants them but for actions as they were taken, and say where
    they come from.

    Raises:
        AgentError: A dataset has nothing to learn from, or is of another task.
        DatasetError: A dataset is missing, damaged, or does not fit the environment; other rewards do not.
    """
    parts = [Part(Path(name), env, 1, settings.only_successes) for name in settings.datasets]
    found = [_transitions(part, env) for part in parts]
    rows = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    return rows, tuple(part.origin for part in parts)


def _transitions(part: Part, env: gymnasium.Env[Any, Any]) -> Rows:
    view, positions = part.windows.view, part.windows.positions
    numbers = view.numbers[positions]
    index = Index.open(Store.open(part.path))
    looked_at: dict[str, Any] = dict.fromkeys(part.seen, range(1 - part.history, 2))
    windows = Windows(view, {**looked_at, ACTION: 0, REWARD: 1}, episodes=numbers.tolist())
    batch = windows[np.arange(len(windows))]
    first, last = np.repeat(part.first, windows.counts), np.repeat(windows.counts - 1, windows.counts)
    terminated = np.repeat(np.array(index.column("terminated", numbers.tolist()), bool), windows.counts)
    rows = len(windows)
    # The newest of a history first, as the environment gives it.
    columns = [batch[name].reshape(rows, part.history + 1, -1)[:, ::-1] for name in part.seen]
    seen = np.concatenate(columns, axis=2).astype(np.float32)
    found = {
        "observation": seen[:, 1:].reshape(rows, -1),
        "next_observation": seen[:, :-1].reshape(rows, -1),
        "action": batch[ACTION].reshape(rows, -1),
        "reward": batch[REWARD].reshape(rows).astype(np.float32),
        # An episode that only ran out of time would have gone on.
        "terminal": ((batch[ROW] == last) & terminated).astype(np.uint8),
    }
    taught = batch[ROW] >= first
    return {name: values[taught] for name, values in found.items()}

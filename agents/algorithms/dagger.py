"""DAgger: behaviour cloning, and rounds in which the expert takes over where the learner has got to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from training_ground.agents.imitation.settings import DaggerSettings
from training_ground.configs.training import RunConfig

if TYPE_CHECKING:
    from training_ground.agents.checkpoints import Checkpoint
    from training_ground.agents.imitation.learning import Report

Settings = DaggerSettings


def check(config: RunConfig, env: gymnasium.Env[Any, Any]) -> None:
    """Open the datasets; see `agents/imitation/learning.py`."""
    from training_ground.agents.imitation.learning import open_parts

    open_parts(config, env)


def learn(
    config: RunConfig, folder: Path, checkpoint: Checkpoint | None, env: gymnasium.Env[Any, Any], report: Report
) -> tuple[int, float]:
    """Train and write the bundle; see `agents/imitation/learning.py`."""
    from training_ground.agents.imitation.learning import learn

    return learn(config, folder, checkpoint, env, report)

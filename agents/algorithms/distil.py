"""Distillation: a small policy for one task does what a policy for several tasks would, told in the episode's words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from training_ground.agents.imitation.settings import DistilSettings
from training_ground.configs.training import RunConfig

if TYPE_CHECKING:
    from training_ground.agents.checkpoints import Checkpoint
    from training_ground.agents.imitation.learning import Report

Settings = DistilSettings


def check_config(config: RunConfig, env: gymnasium.Env[Any, Any]) -> None:
    """Open the teacher and the datasets; see `agents/imitation/distillation.py`."""
    from training_ground.agents.imitation.distillation import open_teacher
    from training_ground.agents.imitation.learning import open_parts

    open_teacher(config, env)
    open_parts(config, env)


def learn(
    config: RunConfig, folder: Path, checkpoint: Checkpoint | None, env: gymnasium.Env[Any, Any], report: Report
) -> tuple[int, float]:
    """Train and write the bundle; see `agents/imitation/distillation.py`."""
    from training_ground.agents.imitation.distillation import DistilRun
    from training_ground.agents.imitation.learning import learn

    return learn(config, folder, checkpoint, env, report, DistilRun)

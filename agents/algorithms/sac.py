"""Soft actor-critic: stable-baselines3's own, over rollout workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training_ground.agents.algorithms._off_policy import (
    OUTPUT,
    RECORD_STEPS,
    OffPolicySettings,
    actor,
    after_update,
    arguments,
    check,
    check_config,
    finish,
    set_learning_rate,
    show,
)
from training_ground.configs.training import NetworkConfig

if TYPE_CHECKING:
    from training_ground.agents.collector import Collector
    from training_ground.agents.normaliser import Normaliser
    from training_ground.agents.off_policy import OffPolicyLearner
    from training_ground.agents.symmetry import Symmetry

__all__ = [
    "OUTPUT",
    "RECORD_STEPS",
    "Settings",
    "actor",
    "after_update",
    "build",
    "check_config",
    "set_learning_rate",
    "show",
]

Settings = OffPolicySettings


def build(
    settings: Settings,
    network: NetworkConfig,
    environments: Collector,
    normaliser: Normaliser,
    seed: int,
    symmetry: Symmetry | None = None,
) -> OffPolicyLearner:
    """Return a fresh SAC over a collector.

    Raises:
        AgentError: The settings do not fit the environments.
    """
    from training_ground.agents.off_policy import RolloutSAC

    updates = check(settings, "sac", environments, normaliser)
    model = RolloutSAC(**arguments(settings, network, environments, updates, seed))
    return finish(model, network, normaliser, settings.learning_rate)

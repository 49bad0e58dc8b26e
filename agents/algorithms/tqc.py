"""Truncated quantile critics: sb3-contrib's own, over rollout workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from training_ground.agents.algorithms._off_policy import (
    OUTPUT,
    RECORD_STEPS,
    Count,
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


class Settings(OffPolicySettings):
    """Settings of TQC: those of SAC and, as in Kuznetsov et al. 2020 (arXiv 2005.04269), of its critics."""

    critics: Count = 2
    quantiles: Count = 25
    """Of each critic."""
    top_quantiles_dropped: Annotated[int, Field(ge=0)] = 2
    """Largest quantiles of each critic that the targets leave out: what would be overestimated."""

    @model_validator(mode="after")
    def _some_left(self) -> Settings:
        if self.top_quantiles_dropped >= self.quantiles:
            raise ValueError(
                f"top_quantiles_dropped = {self.top_quantiles_dropped}: must be less than quantiles = {self.quantiles}"
            )
        return self


def build(
    settings: Settings,
    network: NetworkConfig,
    environments: Collector,
    normaliser: Normaliser,
    seed: int,
    symmetry: Symmetry | None = None,
) -> OffPolicyLearner:
    """Return a fresh TQC over a collector.

    Raises:
        AgentError: The settings do not fit the environments.
    """
    from sb3_contrib import TQC

    from training_ground.agents.off_policy import OffPolicyLearner

    class RolloutTQC(OffPolicyLearner, TQC):
        """TQC over a `Collector`."""

    updates = check(settings, "tqc", environments, normaliser)
    given = arguments(settings, network, environments, updates, seed)
    given["policy_kwargs"] |= {"n_critics": settings.critics, "n_quantiles": settings.quantiles}
    model = RolloutTQC(**given, top_quantiles_to_drop_per_net=settings.top_quantiles_dropped)
    return finish(model, network, normaliser, settings.learning_rate)

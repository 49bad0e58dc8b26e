"""Settings and hooks that SAC and TQC have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from training_ground.agents.imitation.transitions import DemonstrationSettings, open_transitions
from training_ground.configs.errors import AgentError
from training_ground.configs.loading import StrictModel
from training_ground.configs.training import NetworkConfig, RunConfig

if TYPE_CHECKING:
    import gymnasium

    from training_ground.agents.bundle_format import DataOrigin
    from training_ground.agents.collector import Collector
    from training_ground.agents.normaliser import Normaliser
    from training_ground.agents.off_policy import OffPolicyLearner

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]

OUTPUT = "tanh"
"""What follows the actor's last layer, for the bundle."""
RECORD_STEPS = 1000
"""Environment steps between two progress records: there are far more updates than anyone wants to read of."""


class OffPolicySettings(StrictModel):
    """Settings of SAC; names as in Haarnoja et al. 2018 (arXiv 1812.05905)."""

    learning_rate: Positive = 3e-4
    """Of actor, critics and temperature."""
    buffer_size: Annotated[int, Field(ge=1, le=100_000_000)] = 300_000
    """Newest steps that are learned from, all environments together."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    gamma: Fraction = 0.99
    tau: Fraction = 0.005
    """Share of the critics that goes into their targets at each update."""
    entropy: Literal["auto"] | Positive = "auto"
    """Weight of the entropy (the temperature); `auto` holds the entropy at `target_entropy`."""
    initial_entropy: Positive = 0.1
    """Where `auto` begins."""
    target_entropy: float | None = None
    """nat; minus the number of actions where absent."""
    gradient_steps: Positive = 0.25
    """Updates for each environment step collected."""
    learning_starts: Count = 5_000
    """Steps before the first update; the observations' mean and variance come from them."""
    rollout_steps: Count = 8
    """Steps of each environment between updates."""
    demonstrations: DemonstrationSettings | None = None
    """Recorded episodes to learn from as well."""


def check_config(config: RunConfig, env: gymnasium.Env[Any, Any]) -> None:
    """Open the demonstrations; see `open_transitions`."""
    settings: OffPolicySettings = getattr(config, config.algorithm)
    if settings.demonstrations is not None:
        open_transitions(settings.demonstrations, env)


def show(
    model: OffPolicyLearner, settings: OffPolicySettings, env: gymnasium.Env[Any, Any]
) -> tuple[DataOrigin, ...] | None:
    """Show a fresh model the demonstrations, where there are any, and return where they come from."""
    if settings.demonstrations is None:
        return None
    rows, origins = open_transitions(settings.demonstrations, env)
    model.show(rows, settings.demonstrations.share)
    return origins


def check(settings: OffPolicySettings, name: str, environments: Collector, normaliser: Normaliser) -> int:
    """Return the updates after each rollout.

    Raises:
        AgentError: There would be none, rewards shall be normalised, or the memory holds no more than a rollout.
    """
    rollout = settings.rollout_steps * environments.num_envs
    updates = round(settings.gradient_steps * rollout)
    if updates < 1:
        raise AgentError(
            f"{name}.gradient_steps = {settings.gradient_steps}: no update in a rollout of {rollout} steps "
            f"({environments.num_envs} environments × {name}.rollout_steps = {settings.rollout_steps})"
        )
    if settings.buffer_size < rollout:
        raise AgentError(f"{name}.buffer_size = {settings.buffer_size}: less than a rollout of {rollout} steps")
    if normaliser.ret_rms is not None:
        raise AgentError(f"normalisation.reward = true: {name} learns from rewards as they are; set it to false")
    return updates


def arguments(
    settings: OffPolicySettings, network: NetworkConfig, environments: Collector, updates: int, seed: int
) -> dict[str, Any]:
    """Return what the constructors of SAC and TQC are given."""
    import torch

    from training_ground.agents.replay import Replay

    automatic = settings.entropy == "auto"
    return {
        "policy": "MlpPolicy",
        "env": environments,
        "learning_rate": settings.learning_rate,
        "buffer_size": settings.buffer_size,
        "learning_starts": settings.learning_starts,
        "batch_size": settings.batch_size,
        "tau": settings.tau,
        "gamma": settings.gamma,
        "train_freq": settings.rollout_steps,
        "gradient_steps": updates,
        "replay_buffer_class": Replay,
        "replay_buffer_kwargs": {"stride": environments.num_envs},
        "ent_coef": f"auto_{settings.initial_entropy}" if automatic else settings.entropy,
        "target_entropy": "auto" if settings.target_entropy is None else settings.target_entropy,
        "policy_kwargs": {
            "net_arch": list(network.hidden),
            "activation_fn": {"elu": torch.nn.ELU, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[network.activation],
        },
        "seed": seed,
        "device": "cpu",
    }


def finish(model: Any, network: NetworkConfig, normaliser: Normaliser, rate: float) -> Any:
    """Give a fresh model what stable-baselines3 does not know of; return it."""
    import torch

    model.normaliser, model.activation = normaliser, network.activation
    with torch.no_grad():
        model.actor.log_std.bias.fill_(math.log(network.initial_std))
    set_learning_rate(model, rate)
    return model


def set_learning_rate(model: OffPolicyLearner, rate: float) -> None:
    """Make `rate` the learning rate of the next updates."""
    model.learning_rate = rate
    model.lr_schedule = lambda _: rate


def after_update(model: OffPolicyLearner, settings: OffPolicySettings) -> dict[str, float]:
    """Return what to log of the updates just done; NaN before the first.

    Raises:
        AgentError: A loss is not finite; the message names it.
    """
    logged = {k.removeprefix("train/"): v for k, v in model.logger.name_to_value.items() if k.startswith("train/")}
    bad = [name for name in ("actor_loss", "critic_loss", "ent_coef") if not math.isfinite(logged.get(name, 0.0))]
    if bad:
        raise AgentError(f"not finite after the update: {', '.join(bad)}")
    return {
        "std": model.deviation,
        "learning_rate": float(model.learning_rate),  # pyright: ignore[reportArgumentType]
        "entropy_coefficient": float(logged.get("ent_coef", math.nan)),
        "actor_loss": float(logged.get("actor_loss", math.nan)),
        "critic_loss": float(logged.get("critic_loss", math.nan)),
    }


def actor(
    model: OffPolicyLearner,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], Callable[[NDArray[Any]], NDArray[np.float32]]]:
    """Return the layers of the mean before tanh, (outputs, inputs) and (outputs,), and torch's own forward pass."""
    import torch

    weights, biases = (list(part) for part in zip(*model.layers()[0], strict=True))

    def act(observations: NDArray[Any]) -> NDArray[np.float32]:
        with torch.no_grad():
            squashed = model.actor(torch.as_tensor(observations, dtype=torch.float32), deterministic=True)
        return model.policy.unscale_action(squashed.numpy())

    return weights, biases, act

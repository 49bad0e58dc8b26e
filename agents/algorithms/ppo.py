"""Proximal policy optimisation: stable-baselines3's own, with a learning rate that follows the KL divergence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from training_ground.configs.errors import AgentError
from training_ground.configs.loading import StrictModel
from training_ground.configs.training import NetworkConfig

if TYPE_CHECKING:
    from training_ground.agents.bundle import Bundle
    from training_ground.agents.collector import Collector
    from training_ground.agents.learner import RolloutPPO
    from training_ground.agents.normaliser import Normaliser
    from training_ground.agents.signature import Signature
    from training_ground.agents.symmetry import Symmetry

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]


class Settings(StrictModel):
    """Settings of PPO; names as in Schulman et al. 2017 (arXiv 1707.06347)."""

    learning_rate: Positive = 3e-4
    """The first one; it stays where `adapt_learning_rate` is false."""
    critic_learning_rate: Positive | None = None
    """Of the critic, constant; the actor's where absent."""
    adapt_learning_rate: bool = True
    """Divide by 1.5 after an update with more than twice `target_kl`, multiply by 1.5 below half of it."""
    learning_rate_range: tuple[Positive, Positive] = (1e-5, 2e-3)
    target_kl: Positive = 0.01
    settle_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the run, at its end, in which it settles: steps as small as `settled_kl` says, and no entropy bonus.
    Policies of long steps keep moving about a good one."""
    settled_kl: Positive = 0.006
    """Takes the place of `target_kl` there."""
    kl_limit: Positive | None = 0.05
    """An update stops early beyond this divergence."""
    rollout_steps: Annotated[int, Field(ge=2)] = 128
    """Steps of each environment between updates."""
    epochs: Annotated[int, Field(ge=1)] = 5
    minibatches: Annotated[int, Field(ge=1)] = 4
    gamma: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    clip_range: Positive = 0.2
    entropy: Annotated[float, Field(ge=0)] = 0.002
    mirror: bool = False
    """A policy that is its own mirror image; the robot and the task must have one."""
    privileged: tuple[str, ...] = ()
    """Channels that the critic sees beside the observation, and the actor does not: `foot_contact`, `joint_torque`, or
    the task's own with role `state`."""
    critic_warmup: Annotated[int, Field(ge=0)] = 0
    """Updates at the begin in which the critic alone learns: for an actor that can already do something."""
    value_coefficient: Positive = 0.5
    max_grad_norm: Positive = 0.5

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        low, high = self.learning_rate_range
        if low > high:
            raise ValueError(f"learning_rate_range = [{low}, {high}]: the first must not exceed the second")
        return self


def build(
    settings: Settings,
    network: NetworkConfig,
    environments: Collector,
    normaliser: Normaliser,
    seed: int,
    symmetry: Symmetry | None = None,
) -> RolloutPPO:
    """Return a fresh stable-baselines3 PPO over a collector; its policy is its own mirror image where it
    is given the `symmetry`.

    Raises:
        AgentError: A rollout cannot be cut into the minibatches.
    """
    import torch

    from training_ground.agents.learner import RolloutPPO

    rollout = settings.rollout_steps * environments.num_envs
    if rollout % settings.minibatches or rollout // settings.minibatches < 2:
        raise AgentError(
            f"ppo.minibatches = {settings.minibatches}: does not divide the {rollout} samples of a rollout "
            f"({environments.num_envs} environments × ppo.rollout_steps = {settings.rollout_steps})"
        )
    kind: Any = "MlpPolicy"
    own: dict[str, Any] = {}
    if symmetry is not None:
        from training_ground.agents.symmetry import SymmetricPolicy

        kind, own = SymmetricPolicy, {"symmetry": symmetry, "seen": environments.seen}
    elif settings.privileged:
        from training_ground.agents.asymmetry import AsymmetricPolicy

        kind, own = AsymmetricPolicy, {"seen": environments.seen}
    activation = {"elu": torch.nn.ELU, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[network.activation]
    model = RolloutPPO(
        kind,
        environments,
        learning_rate=settings.learning_rate,
        n_steps=settings.rollout_steps,
        batch_size=rollout // settings.minibatches,
        n_epochs=settings.epochs,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip_range,
        ent_coef=settings.entropy,
        vf_coef=settings.value_coefficient,
        max_grad_norm=settings.max_grad_norm,
        # stable-baselines3 stops at 1.5 times what it is given.
        target_kl=None if settings.kl_limit is None else settings.kl_limit / 1.5,
        policy_kwargs={
            "net_arch": {"pi": list(network.hidden), "vf": list(network.hidden)},
            "activation_fn": activation,
            "log_std_init": math.log(network.initial_std),
            **own,
        },
        seed=seed,
        device="cpu",
    )
    model.normaliser, model.activation = normaliser, network.activation
    model.critic_warmup = settings.critic_warmup
    model.entropy, model.settle_share = settings.entropy, settings.settle_share
    if settings.critic_learning_rate is not None:
        _give_critic_its_rate(model, settings.critic_learning_rate)
    set_learning_rate(model, settings.learning_rate)
    return model


def _give_critic_its_rate(model: RolloutPPO, rate: float) -> None:
    """Split the optimiser: stable-baselines3 would set one rate for all before every update."""
    import torch

    policy, schedule = model.policy, model._update_learning_rate
    critic = [*policy.mlp_extractor.value_net.parameters(), *policy.value_net.parameters()]
    known = {id(parameter) for parameter in critic}
    groups = [{"params": [p for p in policy.parameters() if id(p) not in known]}, {"params": critic}]
    policy.optimizer = torch.optim.Adam(groups, lr=rate, eps=1e-5)

    def update(optimizers: Any) -> None:
        schedule(optimizers)
        policy.optimizer.param_groups[1]["lr"] = rate

    model._update_learning_rate = update


def begin_from(model: RolloutPPO, bundle: Bundle, signature: Signature) -> None:
    """Give a fresh model the actor of a bundle; see `agents/warm_start.py`."""
    from training_ground.agents.warm_start import begin_from as begin

    begin(bundle, model, signature)


def set_learning_rate(model: RolloutPPO, rate: float) -> None:
    """Make `rate` the learning rate of the next updates."""
    model.learning_rate = rate
    model.lr_schedule = lambda _: rate


def after_update(model: RolloutPPO, settings: Settings) -> dict[str, float]:
    """Adapt the learning rate to the KL divergence of the update just done; return what to log.

    Raises:
        AgentError: A loss is not finite; the message names the term.
    """
    from training_ground.agents.symmetry import SymmetricPolicy

    if isinstance(model.policy, SymmetricPolicy):
        model.policy.even_out()
    logged = {k.removeprefix("train/"): v for k, v in model.logger.name_to_value.items() if k.startswith("train/")}
    terms = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "approx_kl")
    bad = [name for name in terms if not math.isfinite(logged.get(name, 0.0))]
    if bad:
        raise AgentError(f"not finite after the update: {', '.join(bad)}")
    kl = float(logged.get("approx_kl", math.nan))
    rate = float(model.learning_rate)  # pyright: ignore[reportArgumentType]
    target = settings.settled_kl if model.settling else settings.target_kl
    if settings.adapt_learning_rate and math.isfinite(kl) and not model.warming_up:
        low, high = settings.learning_rate_range
        if kl > 2 * target:
            rate = max(low, rate / 1.5)
        elif kl < target / 2:
            rate = min(high, rate * 1.5)
        set_learning_rate(model, rate)
    return {
        "kl": kl,
        "target_kl": target,
        "std": float(logged.get("std", math.nan)),
        "learning_rate": rate,
        "policy_loss": float(logged.get("policy_gradient_loss", math.nan)),
        "value_loss": float(logged.get("value_loss", math.nan)),
        "entropy_loss": float(logged.get("entropy_loss", math.nan)),
        "explained_variance": float(logged.get("explained_variance", math.nan)),
        "clip_fraction": float(logged.get("clip_fraction", math.nan)),
    }


def actor(
    model: RolloutPPO,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], Callable[[NDArray[Any]], NDArray[np.float32]]]:
    """Return the mean action's layers, (outputs, inputs) and (outputs,), and torch's own forward pass."""
    import torch

    from training_ground.agents.learner import actor_layers

    policy = model.policy
    weights, biases = (list(part) for part in zip(*actor_layers(policy), strict=True))

    def act(observations: NDArray[Any]) -> NDArray[np.float32]:
        with torch.no_grad():
            latent = policy.mlp_extractor.forward_actor(torch.as_tensor(observations, dtype=torch.float32))
            return policy.action_net(latent).numpy()

    return weights, biases, act

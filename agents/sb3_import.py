"""Make a policy bundle of a model that stable-baselines3 saved, from its weights and from what a person says of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from training_ground.agents.bundle import BundlePolicy
from training_ground.agents.bundle_format import (
    SCHEMA_VERSION,
    BundleSpec,
    NormaliserSpec,
    Provenance,
    read_capped,
    read_json,
)
from training_ground.agents.export import save_policy
from training_ground.agents.network_specs import named
from training_ground.agents.onnx_nodes import ACTIVATIONS
from training_ground.agents.policy import shipped_name
from training_ground.agents.sb3_files import Actor, details, read_actor
from training_ground.agents.signature import Signature, signature_of
from training_ground.configs.errors import AgentError, unknown
from training_ground.configs.loading import StrictModel, validate

MAX_MOMENTS = 16_000_000
DEFAULT_ACTIVATION = {"actor_critic": "tanh", "soft": "relu", "deterministic": "relu"}
"""Of stable-baselines3's MlpPolicy."""
TORCH_NAMES = {f"<class 'torch.nn.modules.activation.{n}'>": n.lower() for n in ("ELU", "Tanh", "ReLU")}
"""How `data` writes an activation down."""


class Moments(StrictModel):
    """The normaliser: `VecNormalize`'s `obs_rms.mean`, `obs_rms.var`, `clip_obs` and `epsilon`."""

    mean: tuple[float, ...]
    variance: tuple[Annotated[float, Field(ge=0)], ...]
    clip: Annotated[float, Field(gt=0)] = 10.0
    epsilon: Annotated[float, Field(gt=0)] = 1e-8


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        policy: The policy, loaded from its bundle.
        algorithm: Read off the names in the file.
        activation: Of the network.
        assumed: What neither the weights nor the person said, as sentences.
    """

    policy: BundlePolicy
    algorithm: str
    activation: str
    assumed: tuple[str, ...]


def import_sb3(
    path: Path,
    folder: Path,
    env: gymnasium.Env[Any, Any],
    *,
    moments: Moments | None,
    activation: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    name: str | None = None,
) -> Imported:
    """Write a bundle of a model's deterministic actor: PPO, A2C, SAC, TQC, TD3 or DDPG with an `MlpPolicy`.

    Args:
        path: The `.zip`.
        folder: The bundle's folder.
        env: One environment like the one that it was trained in; only the sizes can be compared with the weights.
        moments: Of the observations; None where it was trained without `VecNormalize`.
        activation: `tanh`, `relu` or `elu`; otherwise what the file says, or stable-baselines3's default.
        env_kwargs: With which `env` was made; they go into the bundle.
        name: The bundle's name; otherwise `<task>_<robot>`.

    Raises:
        AgentError: The file is damaged or no such model, or does not fit `env` or `moments`.
    """
    actor, signature, assumed = read_actor(path), signature_of(env), []
    sizes = (actor.layers[0][0].shape[1], *(len(bias) for _, bias in actor.layers))
    if (sizes[0], sizes[-1]) != (signature.observation_size, signature.action_size):
        raise AgentError(
            f"{path}: observations of {sizes[0]} numbers and actions of {sizes[-1]}; {signature.env_id} with robot "
            f"'{signature.robot}' has {signature.observation_size} and {signature.action_size}"
        )
    if activation is None:
        activation, sentence = _activation(path, actor)
        assumed.append(sentence)
    if activation not in ACTIVATIONS:
        raise AgentError(unknown("activation", activation, ACTIVATIONS))
    if moments is None:
        # Statistics that change nothing, with a clip beyond every observation.
        normaliser = NormaliserSpec(clip=1e12, epsilon=1e-12)
        mean, variance = np.zeros(sizes[0]), np.ones(sizes[0])
    else:
        normaliser = NormaliserSpec(clip=moments.clip, epsilon=moments.epsilon)
        mean, variance = np.asarray(moments.mean), np.asarray(moments.variance)
        if len(mean) != sizes[0] or len(variance) != sizes[0]:
            raise AgentError(f"normaliser: {len(mean)} means and {len(variance)} variances, not {sizes[0]} each")
    algorithm = _algorithm(actor)
    assumed.append(f"the algorithm, {algorithm}, by the names that the file holds")
    described = {
        "schema_version": SCHEMA_VERSION,
        "name": name or shipped_name(signature.env_id, signature.robot),
        "network": {"layers": sizes, "activation": activation, "output": actor.output},
        "normaliser": normaliser,
        "env": signature,
        "env_kwargs": env_kwargs or {},
        "provenance": _provenance(path, actor, algorithm),
    }
    spec = validate(BundleSpec, described, str(path), AgentError)
    _check_bounds(path, actor.output, signature)
    policy = save_policy(folder, spec, named(actor.layers), (mean, variance), _forward(actor, activation))
    return Imported(policy, algorithm, activation, tuple(assumed))


def read_moments(path: Path) -> Moments:
    """Read a normaliser from a JSON file.

    Raises:
        AgentError: The file is missing, damaged, or has other keys than `Moments`.
    """
    return read_json(path, read_capped(path, MAX_MOMENTS), Moments)


def unpickle_moments(path: Path) -> Moments:
    """Read a normaliser from what `VecNormalize.save` wrote. **This runs whatever code the file holds.**

    Raises:
        AgentError: It is no `VecNormalize`, or normalises no flat observation.
    """
    from stable_baselines3.common.save_util import load_from_pkl
    from stable_baselines3.common.vec_env import VecNormalize

    try:
        saved = load_from_pkl(path)
    except Exception as problem:  # a pickle can raise anything
        raise AgentError(f"{path}: cannot be unpickled: {type(problem).__name__}: {problem}") from problem
    statistics = getattr(saved, "obs_rms", None)
    if not isinstance(saved, VecNormalize) or not saved.norm_obs or not hasattr(statistics, "mean"):
        raise AgentError(f"{path}: no VecNormalize of flat observations")
    mean, variance = (np.ravel(np.asarray(getattr(statistics, k), np.float64)).tolist() for k in ("mean", "var"))
    data = {"mean": mean, "variance": variance, "clip": saved.clip_obs, "epsilon": saved.epsilon}
    return validate(Moments, data, str(path), AgentError)


def _activation(path: Path, actor: Actor) -> tuple[str, str]:
    """Return the activation that the file names, or stable-baselines3's default, and a sentence about it."""
    named = details(actor.about, "policy_kwargs").get("activation_fn")
    if named is None:
        default = DEFAULT_ACTIVATION[actor.kind]
        return default, f"the activation, {default}: the file names none, and this is stable-baselines3's default"
    if not isinstance(named, str) or named not in TORCH_NAMES:
        raise AgentError(f"{path}: the activation {str(named)[:80]}; allowed are {', '.join(ACTIVATIONS)}")
    return TORCH_NAMES[named], f"the activation, {TORCH_NAMES[named]}, as the file names it"


def _algorithm(actor: Actor) -> str:
    if actor.kind == "actor_critic":
        return "ppo" if "n_epochs" in actor.about else "a2c"
    if actor.kind == "soft":
        return "tqc" if "top_quantiles_to_drop_per_net" in actor.about else "sac"
    return "td3"


def _check_bounds(path: Path, output: str, signature: Signature) -> None:
    if output == "tanh" and signature.bounds is None:
        raise AgentError(f"{path}: its actions are squashed into bounds, and {signature.env_id} has none")


def _provenance(path: Path, actor: Actor, algorithm: str) -> Provenance:
    steps, seed = actor.about.get("num_timesteps"), actor.about.get("seed")
    return Provenance(
        algorithm=algorithm,
        steps=steps if isinstance(steps, int) and steps >= 0 else None,
        seconds=None,
        seed=seed if isinstance(seed, int) else None,
        commit="unknown",
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        versions={} if actor.version is None else {"stable-baselines3": actor.version},
        config={"imported": {"file": path.name, "sha256": actor.sha256}},
    )


def _forward(actor: Actor, activation: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return torch's own forward pass through the weights."""
    import torch

    between = {"elu": torch.nn.functional.elu, "tanh": torch.tanh, "relu": torch.relu}[activation]
    layers = [(torch.as_tensor(weight), torch.as_tensor(bias)) for weight, bias in actor.layers]

    def forward(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            x = torch.as_tensor(observations)
            for i, (weight, bias) in enumerate(layers):
                x = torch.nn.functional.linear(x, weight, bias)
                if i < len(layers) - 1:
                    x = between(x)
            return (torch.tanh(x) if actor.output == "tanh" else x).numpy()

    return forward

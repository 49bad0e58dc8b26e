"""Left/right symmetry as a teacher: what a robot did to one side tells what its mirror image would do to the other.

Every sample is learned from twice, as it was and mirrored ("DUP" in Abdolhosseini et al. 2019, On Learning Symmetric
Locomotion, MIG).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from training_ground.assets.model import Mirror
from training_ground.configs.errors import AgentError


@dataclass(frozen=True)
class Symmetry:
    """Mirror maps of an environment: of its flat observation and of its action."""

    observation: Mirror
    action: Mirror


def symmetry_of(env: gymnasium.Env[Any, Any]) -> Symmetry:
    """Return the mirror maps of an environment.

    Raises:
        AgentError: It has none: the robot is not symmetric, or it is no humanoid.
        SimulationError: Its task does not say how one of its channels looks in the mirror.
    """
    base: Any = env.unwrapped
    model, observation = getattr(base, "model", None), getattr(base, "observation", None)
    if model is None or observation is None:
        raise AgentError("ppo.mirror: only environments of the training ground know their mirror image")
    if model.mirror is None:
        raise AgentError(f"ppo.mirror: robot '{model.name}' is not symmetric")
    return Symmetry(observation.mirror(), observation.action_mirror())


def reflect(values: NDArray[Any], mirror: Mirror) -> NDArray[Any]:
    """Return the mirror image of vectors along the last axis, in their own dtype."""
    return values[..., mirror.permutation] * mirror.sign.astype(values.dtype)


class MirroredRolloutBuffer(RolloutBuffer):
    """A rollout buffer whose minibatches hold every sample and its mirror image.

    Attributes:
        policy: Whose log probabilities the mirrored actions get; to be set before the first rollout ends.
    """

    policy: ActorCriticPolicy

    def __init__(self, *args: Any, symmetry: Symmetry, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._symmetry = symmetry

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: NDArray[Any]) -> None:
        """End a rollout. The policy that acted is asked for its log probability of the mirrored actions too: with that
        of the originals, a policy that is not quite symmetric would look like one that the update has changed.
        """
        super().compute_returns_and_advantage(last_values, dones)
        with torch.no_grad():
            observation, action = (
                self.to_torch(reflect(self.swap_and_flatten(array), mirror))
                for array, mirror in (
                    (self.observations, self._symmetry.observation),
                    (self.actions, self._symmetry.action),
                )
            )
            self._mirrored_log_probs = self.policy.evaluate_actions(observation, action)[1].numpy()

    def _get_samples(self, batch_inds: NDArray[np.int64], env: VecNormalize | None = None) -> RolloutBufferSamples:
        observation, action = self.observations[batch_inds], self.actions[batch_inds].astype(np.float32, copy=False)
        values, advantages, returns = (
            np.concatenate([array[batch_inds].reshape(-1)] * 2)
            for array in (self.values, self.advantages, self.returns)
        )
        log_probs = np.concatenate([self.log_probs[batch_inds].reshape(-1), self._mirrored_log_probs[batch_inds]])
        return RolloutBufferSamples(
            self.to_torch(np.concatenate([observation, reflect(observation, self._symmetry.observation)])),
            self.to_torch(np.concatenate([action, reflect(action, self._symmetry.action)])),
            *map(self.to_torch, (values, log_probs, advantages, returns)),
        )

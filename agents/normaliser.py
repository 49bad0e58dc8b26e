"""Running normalisation of observations and rewards, as stable-baselines3's `VecNormalize` has it, a rollout at a time.

What acts within a rollout is normalised with the statistics from before it, so that a worker's copy of the policy and
the learner agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.running_mean_std import RunningMeanStd

from training_ground.agents.network import Float32, Normalisation
from training_ground.configs.training import NormalisationConfig

if TYPE_CHECKING:
    from training_ground.agents.symmetry import Symmetry


class Normaliser:
    """Mean and variance of the observations, and the variance of the discounted return.

    Args:
        config: What is normalised, and how.
        size: Of an observation.
        environments: How many there are.
        gamma: Discount.
        symmetry: Where it is given, the statistics are their own mirror image, so that mirroring commutes with them.

    Attributes:
        obs_rms: Moments of the observations; None where they are not normalised.
        ret_rms: Moments of the return; None where rewards are not normalised.
        returns: (environments,) discounted return so far of each running episode.
    """

    def __init__(
        self,
        config: NormalisationConfig,
        size: int,
        environments: int,
        gamma: float,
        symmetry: Symmetry | None = None,
    ) -> None:
        self._config, self._gamma, self._symmetry = config, gamma, symmetry
        self.obs_rms = RunningMeanStd(shape=(size,)) if config.observation else None
        self.ret_rms = RunningMeanStd(shape=()) if config.reward else None
        self.returns = np.zeros(environments)

    @property
    def observation(self) -> Normalisation:
        """What the policy does to observations now."""
        moments = self.obs_rms
        if moments is None:
            return Normalisation()
        config = self._config
        return Normalisation(moments.mean.copy(), np.sqrt(moments.var + config.epsilon), config.clip)

    def see(self, observations: NDArray[Any]) -> None:
        """Count observations (..., n) in."""
        moments = self.obs_rms
        if moments is None:
            return
        moments.update(observations.reshape(-1, observations.shape[-1]).astype(np.float64))
        if self._symmetry is not None:
            permutation, sign = self._symmetry.observation.permutation, self._symmetry.observation.sign
            mirrored = sign * moments.mean[permutation]
            spread = ((moments.mean - mirrored) / 2) ** 2
            moments.var = (moments.var + moments.var[permutation]) / 2 + spread
            moments.mean = (moments.mean + mirrored) / 2

    def rewards(self, rewards: Float32, dones: NDArray[Any]) -> Float32:
        """Count a rollout's rewards (steps, environments) in and return them normalised."""
        moments = self.ret_rms
        if moments is None:
            return rewards
        normalised = np.empty_like(rewards)
        clip, epsilon = self._config.clip, self._config.epsilon
        for reward, done, out in zip(rewards, dones, normalised, strict=True):
            self.returns = self.returns * self._gamma + reward
            moments.update(self.returns)
            out[:] = np.clip(reward / np.sqrt(moments.var + epsilon), -clip, clip)
            self.returns[done.astype(bool)] = 0.0
        return normalised

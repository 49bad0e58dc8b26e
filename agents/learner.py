"""stable-baselines3's PPO, given whole rollouts: its learner, logger and callbacks; only the collecting is ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from training_ground.agents.collector import Collector
from training_ground.agents.curriculum import Curriculum
from training_ground.agents.network import Network, Normalisation
from training_ground.agents.normaliser import Normaliser
from training_ground.agents.rollouts import Ends, GaussianPolicy
from training_ground.agents.symmetry import SymmetricPolicy


def actor_layers(policy: Any) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return weights (outputs, inputs) and biases of a policy's actor; the last layer gives the mean action."""
    if isinstance(policy, SymmetricPolicy):
        return policy.plain_layers()
    stack = [*policy.mlp_extractor.policy_net, policy.action_net]
    linear = [layer for layer in stack if isinstance(layer, torch.nn.Linear)]
    return [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linear]


class RolloutPPO(PPO):
    """PPO over a `Collector`. A rollout depends on the weights, the seed and counters alone, and so does the update.

    Attributes:
        normaliser: Of observations and rewards.
        curriculum: How hard the episodes are.
        activation: Name of the network's activation.
        critic_warmup: Updates at the run's begin in which the critic alone learns.
        warming_up: Whether the last update was one of them.
        entropy: Weight of the bonus for actions that differ, until the run settles.
        settle_share: Share of the run, at its end, in which it settles.
        settling: Whether the last update was one of those.
        stopping: Asked before each rollout; True ends the learning with nothing half done.
    """

    normaliser: Normaliser
    curriculum: Curriculum
    activation: str = "elu"
    critic_warmup: int = 0
    warming_up: bool = False
    entropy: float = 0.0
    settle_share: float = 0.0
    settling: bool = False
    stopping: Callable[[], bool] = staticmethod(lambda: False)

    @property
    def collector(self) -> Collector:
        """The environments."""
        assert isinstance(self.env, Collector)
        return self.env

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with one rollout; see stable-baselines3.

        Raises:
            AgentError: A worker failed, or something that it gave is not finite.
        """
        callback.on_rollout_start()
        if self.stopping():
            return False
        self.policy.set_training_mode(False)
        number = self.num_timesteps // (n_rollout_steps * env.num_envs)
        normalisation = self.normaliser.observation
        ends = self.collector.collect(self._copy(normalisation), number, self.curriculum.level)
        self._fill(rollout_buffer, normalisation, ends)
        self.normaliser.see(self.collector.arrays.observation[:-1])
        self.collector.advance()
        self.curriculum.see(ends[place].info for place in sorted(ends))
        self._tell(callback, ends)
        # The minibatches are cut by numpy's global generator.
        np.random.seed([self.seed or 0, number])  # noqa: NPY002
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Do one update; see stable-baselines3."""
        self.warming_up = self.num_timesteps <= self.critic_warmup * self.n_steps * self.n_envs
        actor = [*self.policy.mlp_extractor.policy_net.parameters(), *self.policy.action_net.parameters()]
        for parameter in (*actor, self.policy.log_std):
            parameter.requires_grad_(not self.warming_up)
        self.settling = self.num_timesteps > (1.0 - self.settle_share) * self._total_timesteps
        self.ent_coef = 0.0 if self.settling else self.entropy
        super().train()

    def _copy(self, normalisation: Normalisation) -> GaussianPolicy:
        """Return a copy of the policy for the workers."""
        layers = [(np.ascontiguousarray(weight.T), bias) for weight, bias in actor_layers(self.policy)]
        deviation = self.policy.log_std.detach().exp().numpy().copy()
        return GaussianPolicy(Network(layers, self.activation, normalisation.first(len(layers[0][0]))), deviation)

    def _fill(self, buffer: RolloutBuffer, normalisation: Normalisation, ends: Ends) -> None:
        arrays, policy = self.collector.arrays, self.policy
        steps, environments = arrays.reward.shape
        observations = normalisation(arrays.observation)
        with torch.no_grad():
            flat = torch.as_tensor(observations[:-1].reshape(steps * environments, -1))
            actions = torch.as_tensor(arrays.action.reshape(steps * environments, -1))
            values, log_probs, _ = policy.evaluate_actions(flat, actions)
            last = policy.predict_values(torch.as_tensor(observations[-1]))
        rewards = self.normaliser.rewards(arrays.reward, arrays.done)
        cut = [place for place, end in ends.items() if end.truncated]
        if cut:
            # An episode that only ran out of time would have gone on: what it would have brought is added.
            final = normalisation(np.stack([ends[place].observation for place in cut]))
            with torch.no_grad():
                rest = policy.predict_values(torch.as_tensor(final)).numpy()[:, 0]
            for (t, i), value in zip(cut, rest, strict=True):
                rewards[t, i] += self.gamma * value
        buffer.reset()
        buffer.observations[:] = observations[:-1]
        buffer.actions[:] = arrays.action
        buffer.rewards[:] = rewards
        buffer.values[:] = values.numpy().reshape(steps, environments)
        buffer.log_probs[:] = log_probs.numpy().reshape(steps, environments)
        buffer.episode_starts[0] = self._last_episode_starts
        buffer.episode_starts[1:] = arrays.done[:-1]
        buffer.pos, buffer.full = steps, True
        buffer.compute_returns_and_advantage(last, arrays.done[-1].astype(bool))
        self._last_obs = observations[-1]
        self._last_episode_starts = arrays.done[-1].astype(bool)

    def _tell(self, callback: BaseCallback, ends: Ends) -> None:
        """Count the steps, and let the callbacks see each with the episodes that ended in it."""
        arrays = self.collector.arrays
        for t, dones in enumerate(arrays.done):
            infos: list[dict[str, Any]] = [{} for _ in dones]
            for i in np.flatnonzero(dones):
                end = ends[t, int(i)]
                infos[i] = {**end.info, "terminal_observation": end.observation}
            self.num_timesteps += len(dones)
            rewards: NDArray[np.float32] = arrays.reward[t]
            callback.update_locals({"infos": infos, "rewards": rewards, "dones": dones.astype(bool)})
            callback.on_step()
            self._update_info_buffer(infos, dones.astype(bool))

"""What stable-baselines3's SAC and sb3-contrib's TQC are given here: short rollouts from the worker processes, a replay
memory that is saved with the checkpoints, and updates that follow from the seed and from counters alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv

from training_ground.agents.collector import Collector
from training_ground.agents.curriculum import Curriculum
from training_ground.agents.network import Float32, Network
from training_ground.agents.normaliser import Normaliser
from training_ground.agents.replay import Replay
from training_ground.agents.rollouts import LOG_DEVIATION_RANGE, Ends, GaussianPolicy

REPLAY_STREAM = 2
"""Keeps the draws from the replay memory apart from the other random numbers of a run."""

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


class OffPolicyLearner(OffPolicyAlgorithm):
    """Put before SAC or TQC in a class's bases: the same learner over a `Collector`.

    The first `learning_starts` steps are taken by the fresh policy, whose tanh of a wide Gaussian is near to uniform.
    The normaliser counts these and is then left as it is: the critic's targets, the workers' copies and what the memory
    gives must all mean the same by an observation, over the whole run.

    Attributes:
        normaliser: Of observations; the memory holds raw ones.
        curriculum: How hard the episodes are.
        activation: Name of the network's activation.
        stopping: Asked before each rollout; True ends the learning with nothing half done.
        deviation: Mean standard deviation of the exploration at the end of the last rollout, before tanh.
    """

    normaliser: Normaliser
    curriculum: Curriculum
    activation: str = "relu"
    stopping: Callable[[], bool] = staticmethod(lambda: False)
    deviation: float = float("nan")
    actor: Any

    @property
    def memory(self) -> Replay:
        """The transitions that are learned from."""
        assert isinstance(self.replay_buffer, Replay)
        return self.replay_buffer

    @property
    def collector(self) -> Collector:
        """The environments."""
        assert isinstance(self.env, Collector)
        return self.env

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: Any,
        action_noise: Any = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Do one rollout and put it into the memory; see stable-baselines3.

        Raises:
            AgentError: A worker failed, or something that it gave is not finite.
        """
        callback.on_rollout_start()
        self.dump_logs()
        if self.stopping():
            return RolloutReturn(0, 0, continue_training=False)
        self.policy.set_training_mode(False)
        number, policy = self._number(), self._copy()
        ends = self.collector.collect(policy, number, self.curriculum.level)
        arrays = self.collector.arrays
        self._remember(ends)
        if self.num_timesteps < learning_starts:
            self.normaliser.see(arrays.observation[:-1])
        _, logarithm = np.split(policy.network(arrays.observation[-1]), 2, axis=-1)
        self.deviation = float(np.exp(logarithm.clip(*LOG_DEVIATION_RANGE)).mean())
        self.collector.advance()
        self.curriculum.see(ends[place].info for place in sorted(ends))
        self._tell(callback, ends)
        callback.on_rollout_end()
        return RolloutReturn(arrays.reward.size, len(ends), continue_training=True)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Do the updates after a rollout; see stable-baselines3."""
        self.memory.normalisation = self.normaliser.observation
        self.memory.begin_update((self.seed or 0, self._number(), REPLAY_STREAM))
        super().train(gradient_steps, batch_size)

    def _number(self) -> int:
        return self.num_timesteps // self.collector.arrays.reward.size

    def layers(self) -> tuple[Layers, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return weights (outputs, inputs) and biases of the mean before tanh, and of the layer that gives, in place of
        the last of these, the logarithm of the deviation.
        """
        linear = [layer for layer in self.actor.latent_pi if isinstance(layer, torch.nn.Linear)]
        found = [
            (layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy())
            for layer in (*linear, self.actor.mu, self.actor.log_std)
        ]
        return found[:-1], found[-1]

    def _copy(self) -> GaussianPolicy:
        """Return a copy of the policy for the workers."""
        mean, deviation = self.layers()
        both = [np.concatenate(parts) for parts in zip(mean[-1], deviation, strict=True)]
        layers = [(np.ascontiguousarray(weight.T), bias) for weight, bias in (*mean[:-1], both)]
        return GaussianPolicy(Network(layers, self.activation, self.normaliser.observation), None, self._bounds())

    def _bounds(self) -> tuple[Float32, Float32]:
        space: Any = self.action_space
        return space.low, space.high

    def show(self, rows: dict[str, NDArray[Any]], share: float) -> None:
        """Learn from demonstrations too: `share` of each batch is of them.

        Args:
            rows: As `Replay.add_transitions` wants them, with actions as they were taken.
            share: Between 0 and 1.
        """
        self.normaliser.see(rows["observation"])
        self.memory.show({**rows, "action": _scaled(rows["action"], *self._bounds())}, share)

    def _remember(self, ends: Ends) -> None:
        arrays = self.collector.arrays
        following = arrays.observation[1:].copy()
        terminal = arrays.done.copy()
        for place, end in ends.items():
            following[place] = end.observation
            # An episode that only ran out of time would have gone on.
            terminal[place] = not end.truncated
        rows = {
            "observation": arrays.observation[:-1],
            "next_observation": following,
            "action": _scaled(arrays.action, *self._bounds()),
            "reward": arrays.reward,
            "terminal": terminal,
        }
        self.memory.add_transitions(
            {name: array.reshape(arrays.reward.size, *array.shape[2:]) for name, array in rows.items()}
        )

    def _tell(self, callback: BaseCallback, ends: Ends) -> None:
        """Count the steps, and let the callbacks see each with the episodes that ended in it."""
        arrays = self.collector.arrays
        for t, dones in enumerate(arrays.done.astype(bool)):
            infos = [ends[t, i].info if (t, i) in ends else {} for i in range(len(dones))]
            self.num_timesteps += len(dones)
            callback.update_locals({"infos": infos, "rewards": arrays.reward[t], "dones": dones})
            callback.on_step()
            self._update_info_buffer(infos, dones)


def _scaled(action: NDArray[Any], low: Float32, high: Float32) -> Float32:
    """Return actions as the policy's tanh gives them."""
    return (2.0 * (action - low) / (high - low) - 1.0).clip(-1.0, 1.0).astype(np.float32)


class RolloutSAC(OffPolicyLearner, SAC):
    """SAC over a `Collector`."""

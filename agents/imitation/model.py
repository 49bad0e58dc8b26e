"""The network that learns chunks of actions, in plain torch: a multilayer perceptron and its optimiser."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training_ground.agents.imitation.data import Moments
from training_ground.agents.imitation.settings import ImitationSettings
from training_ground.agents.network import Float32, Network, Normalisation
from training_ground.configs.errors import AgentError
from training_ground.configs.training import NetworkConfig, NormalisationConfig

ACTIVATIONS = {"elu": torch.nn.ELU, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
LEAST_SPREAD = 1e-3
"""Deviation that an action has at least: one that never changes is not blown up."""

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


class ChunkModel:
    """A network from a normalised observation (n) to a chunk of normalised actions (horizon m).

    Args:
        settings: The algorithm's.
        network: Its inner layers.
        normalisation: Of observations; with `observation` false they go in as they are.
        observation, action: Moments of the data.
        seed: Of the first weights.
    """

    def __init__(
        self,
        settings: ImitationSettings,
        network: NetworkConfig,
        normalisation: NormalisationConfig,
        observation: Moments,
        action: Moments,
        seed: int,
    ) -> None:
        self.settings, self.activation, self._normalisation = settings, network.activation, normalisation
        self.moments = {
            "observation/mean": observation[0],
            "observation/variance": observation[1],
            "action/mean": action[0],
            "action/variance": action[1],
        }
        torch.manual_seed(seed)
        sizes = [len(observation[0]), *network.hidden]
        layers: list[torch.nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(inputs, outputs), ACTIVATIONS[network.activation]()]
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], settings.horizon * len(action[0])))
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    @property
    def normalisation(self) -> Normalisation:
        """What is done to an observation first."""
        if not self._normalisation.observation:
            return Normalisation()
        mean, variance = self.moments["observation/mean"], self.moments["observation/variance"]
        return Normalisation(mean, np.sqrt(variance + self._normalisation.epsilon), self._normalisation.clip)

    @property
    def scale(self) -> tuple[Float32, Float32]:
        """Deviation and mean (m) of the actions."""
        deviation = np.maximum(np.sqrt(self.moments["action/variance"]), LEAST_SPREAD)
        return deviation.astype(np.float32), self.moments["action/mean"].astype(np.float32)

    def update(self, batch: dict[str, NDArray[Any]], progress: float) -> float:
        """Take one step of the optimiser; return the mean absolute error before it, in deviations of the actions.

        Args:
            batch: Of `Demonstrations`.
            progress: Share of the run that is done: the learning rate falls from its full value to 0 along a cosine.

        Raises:
            AgentError: The loss is not finite.
        """
        deviation, mean = self.scale
        seen = torch.as_tensor(self.normalisation(batch["observation"]))
        wanted = torch.as_tensor((batch["action"] - mean) / deviation)
        there = torch.as_tensor(~batch["is_pad"], dtype=torch.float32)[..., None]
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
        error = (self.network(seen).view_as(wanted) - wanted).abs()
        loss = (error * there).sum() / (there.sum() * wanted.shape[-1])
        if not torch.isfinite(loss):
            raise AgentError("the loss is not finite: lower the learning rate, or look for absurd numbers in the data")
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    def layers(self) -> Layers:
        """Weights (outputs, inputs) and biases of each layer; the last gives actions in their own unit."""
        linear = [layer for layer in self.network if isinstance(layer, torch.nn.Linear)]
        found = [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linear]
        deviation, mean = (np.tile(values, self.settings.horizon) for values in self.scale)
        weight, bias = found[-1]
        found[-1] = (weight * deviation[:, None], bias * deviation + mean)
        return found

    def numpy(self) -> Network:
        """A copy that needs no torch."""
        return Network([(weight.T.copy(), bias) for weight, bias in self.layers()], self.activation, self.normalisation)

    def forward(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """torch's own forward pass, from normalised observations (k, n) to actions (k, horizon m) in their own unit."""
        deviation, mean = (np.tile(values, self.settings.horizon) for values in self.scale)

        def act(observations: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                return self.network(torch.as_tensor(observations)).numpy() * deviation + mean

        return act

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next update depends on."""
        tensors = {f"policy/{name}": value.detach().contiguous() for name, value in self.network.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer/{index}/{key}"] = torch.as_tensor(value).contiguous()
        return tensors | {f"normaliser/{name}": torch.from_numpy(value.copy()) for name, value in self.moments.items()}

    def restore(self, tensors: dict[str, torch.Tensor], where: str) -> None:
        """Return to what `state` gave.

        Raises:
            AgentError: The network in the configuration is another one.
        """
        try:
            self.network.load_state_dict(_below(tensors, "policy/"))
        except RuntimeError as problem:
            reason = " ".join(str(problem).split())[:300]
            raise AgentError(f"{where}: the configured network is not the checkpoint's: {reason}") from problem
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _below(tensors, "optimizer/").items():
            index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.moments = {name: value.numpy() for name, value in _below(tensors, "normaliser/").items()}


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

"""Conditional flow matching: a chunk of actions is drawn, not averaged, in plain torch.

A chunk a of normalised actions and standard normal noise e are the ends of a straight path x = (1 - t) e + t a. A
network learns the mean velocity a - e of all paths through x at time t, given the observation; whoever follows it from
noise at t = 0 in small steps arrives at a chunk drawn as the recorded ones were (Lipman et al. 2022, arXiv 2210.02747;
for robots π0, Black et al. 2024, arXiv 2410.24164). Where experts go one way or the other, the mean absolute error
gives something between them, and a flow one of the two.

The network is a multilayer perceptron that says the path's end, a; the velocity is (a - x) / (1 - t). A velocity holds
all of the noise, which a layer narrower than the chunk could not carry; ends do not. The loss is the squared error of
the end: that of the velocity times (1 - t)², which leaves what is best at each t as it is, and weighs the noisy begin
most, as π0's draw of t does. Weighed evenly, it did worse on Reach.

How the same network is computed without torch stands in `agents/onnx_flow.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training_ground.agents.imitation.model import ACTIVATIONS, ChunkModel
from training_ground.agents.network_specs import FlowSpec
from training_ground.configs.training import NetworkConfig

WAVES = 16
"""Cosines of the time that the network sees, of half a wave, two halves, and so on over the path."""


class Flow(torch.nn.Module):
    """From a noisy chunk (k, horizon m), a time (k, 1) and a normalised observation (k, n) to the path's end.

    Args:
        spec: Sizes.
    """

    def __init__(self, spec: FlowSpec) -> None:
        super().__init__()
        self.steps = spec.steps
        first, chunk = spec.hidden[0], spec.outputs
        self.chunk = torch.nn.Linear(chunk, first, bias=False)
        self.observation = torch.nn.Linear(spec.observation, first)
        self.time = torch.nn.Linear(WAVES, first, bias=False)
        layers: list[torch.nn.Module] = [ACTIVATIONS[spec.activation]()]
        for inputs, outputs in itertools.pairwise(spec.hidden):
            layers += [torch.nn.Linear(inputs, outputs), ACTIVATIONS[spec.activation]()]
        self.rest = torch.nn.Sequential(*layers, torch.nn.Linear(spec.hidden[-1], chunk))

    def waves(self, time: torch.Tensor) -> torch.Tensor:
        """What times (k, 1) add to the first layer (k, hidden)."""
        return self.time(torch.cos(math.pi * time * torch.arange(1, WAVES + 1)))

    def forward(self, x: torch.Tensor, time: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        """Return the end of the path (k, horizon m)."""
        return self.rest(self.chunk(x) + self.observation(observation) + self.waves(time))

    def integrate(self, observation: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Follow the velocity from noise (k, horizon m) in Euler's steps of equal length."""
        x = noise
        for i in range(self.steps):
            time = torch.full((1, 1), i / self.steps)
            # A step of 1 / steps along (end - x) / (1 - i / steps).
            x = x + (self(x, time, observation) - x) / (self.steps - i)
        return x


class FlowModel(ChunkModel):
    """The flow and its optimiser; see `ChunkModel`. The loss is the mean squared error of the path's end."""

    network: Flow

    def _build(self, network: NetworkConfig, inputs: int, outputs: int) -> Flow:
        settings = self.settings.flow
        assert settings is not None
        self._spec = FlowSpec(
            kind="flow",
            observation=inputs,
            hidden=network.hidden,
            actions=outputs // self.settings.horizon,
            horizon=self.settings.horizon,
            activation=network.activation,
            **settings.model_dump(),
        )
        self._generator = torch.Generator().manual_seed(self.seed)
        return Flow(self._spec)

    def _loss(self, seen: torch.Tensor, wanted: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        ends = wanted.flatten(1)
        noise = torch.randn(ends.shape, generator=self._generator)
        time = torch.rand((len(ends), 1), generator=self._generator)
        found = self.network((1 - time) * noise + time * ends, time, seen)
        error = (found - ends).square().view_as(wanted)
        return (error * there).sum() / (there.sum() * wanted.shape[-1])

    @property
    def spec(self) -> FlowSpec:
        """What a bundle says of the network."""
        return self._spec

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Its weights by their names in a bundle; what the time adds stands there for each step."""
        flow = self.network
        found: dict[str, Any] = {
            "chunk.weight": flow.chunk.weight,
            "observation.weight": flow.observation.weight * self._seen,
        }
        times = torch.arange(flow.steps)[:, None] / flow.steps
        found["times"] = flow.waves(times) + flow.observation.bias
        linear = [layer for layer in flow.rest if isinstance(layer, torch.nn.Linear)]
        for i, layer in enumerate(linear):
            found |= {f"weight.{i}": layer.weight, f"bias.{i}": layer.bias}
        deviation, mean = (np.tile(values, self.settings.horizon) for values in self.scale)
        return {name: value.detach().numpy().copy() for name, value in found.items()} | {
            "action.deviation": deviation,
            "action.mean": mean,
        }

    def forward(self) -> Callable[..., NDArray[np.float32]]:
        """torch's own, from normalised observations (k, n) and noise (k, horizon m) to actions in their own unit."""
        deviation, mean = (np.tile(values, self.settings.horizon) for values in self.scale)

        def act(observations: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                ends = self.network.integrate(torch.as_tensor(observations) * self._seen, torch.as_tensor(noise))
                return ends.numpy() * deviation + mean

        return act

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next update depends on, the generator of noise and times included."""
        return super().state() | {"random/flow": self._generator.get_state()}

    def restore(self, tensors: dict[str, torch.Tensor], where: str) -> None:
        """Return to what `state` gave; see `ChunkModel`."""
        super().restore(tensors, where)
        self._generator.set_state(tensors["random/flow"])

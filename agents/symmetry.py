"""Left/right symmetry: a policy that is its own mirror image.

What it does for the robot's mirror image is the mirror image of what it does for the robot, whatever its weights are
("NET" in Abdolhosseini et al. 2019, On Learning Symmetric Locomotion, MIG). One sample teaches both sides, and neither
leg can become the lame one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training_ground.agents.asymmetry import Apart, AsymmetricPolicy
from training_ground.assets.model import Mirror
from training_ground.configs.errors import AgentError


@dataclass(frozen=True)
class Symmetry:
    """Mirror maps of an environment: of its flat observation and of its action."""

    observation: Mirror
    action: Mirror


def symmetry_of(env: gymnasium.Env[Any, Any], privileged: Sequence[str] = ()) -> Symmetry:
    """Return the mirror maps of an environment, the observation's with `privileged` channels behind it.

    Raises:
        AgentError: It has none: the robot is not symmetric, or it is no humanoid.
        SimulationError: Its task does not say how one of its channels looks in the mirror.
    """
    base: Any = env.unwrapped
    model, observation = getattr(base, "model", None), getattr(base, "observation", None)
    if model is None or observation is None:
        raise AgentError("mirror: only environments of the training ground know their mirror image")
    if model.mirror is None:
        raise AgentError(f"mirror: robot '{model.name}' is not symmetric")
    return Symmetry(observation.mirror(privileged), observation.action_mirror())


def reflect(values: NDArray[Any], mirror: Mirror) -> NDArray[Any]:
    """Return the mirror image of vectors along the last axis, in their own dtype."""
    return values[..., mirror.permutation] * mirror.sign.astype(values.dtype)


class _Reflection(nn.Module):
    """`reflect` for tensors."""

    permutation: Tensor
    sign: Tensor

    def __init__(self, mirror: Mirror) -> None:
        super().__init__()
        self.register_buffer("permutation", torch.as_tensor(mirror.permutation), persistent=False)
        self.register_buffer("sign", torch.as_tensor(mirror.sign, dtype=torch.float32), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return values[..., self.permutation] * self.sign


class _BothSides(Apart):
    """stable-baselines3's extractor applied to an observation and to its mirror image.

    The actor's two latent vectors are handed on side by side; the critic's, whose head is linear, as their mean.
    """

    def __init__(self, extractor: Any, seen: int, mirror: Mirror) -> None:
        super().__init__(extractor, seen)
        self._reflection = _Reflection(mirror)
        self._own_reflection = _Reflection(Mirror(mirror.permutation[:seen], mirror.sign[:seen]))

    def forward_actor(self, features: Tensor) -> Tensor:
        seen = features[..., : self._seen]
        return torch.cat([self.policy_net(seen), self.policy_net(self._own_reflection(seen))], dim=-1)

    def forward_critic(self, features: Tensor) -> Tensor:
        return (self.value_net(features) + self.value_net(self._reflection(features))) / 2


class _Head(nn.Linear):
    """The mean of what one side asks for and of the mirror image of what the other does."""

    def __init__(self, linear: nn.Linear, mirror: Mirror) -> None:
        super().__init__(linear.in_features, linear.out_features)
        self.weight, self.bias = linear.weight, linear.bias
        self._reflection = _Reflection(mirror)

    def forward(self, input: Tensor) -> Tensor:
        own, other = super().forward(input.unflatten(-1, (2, -1))).unbind(-2)
        return (own + self._reflection(other)) / 2


class SymmetricPolicy(AsymmetricPolicy):
    """An actor and a critic that are their own mirror images.

    They say the mean of what a plain network with the same weights says of either side.
    """

    def __init__(self, *args: Any, symmetry: Symmetry, **kwargs: Any) -> None:
        self._symmetry = symmetry
        super().__init__(*args, **kwargs)

    def _combine(self, extractor: Any) -> Any:
        return _BothSides(extractor, self._seen, self._symmetry.observation)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net: Any = _Head(self.action_net, self._symmetry.action)

    def even_out(self) -> None:
        """Give the joints of both sides the same noise: samples alone do not."""
        with torch.no_grad():
            twins = self.log_std[torch.as_tensor(self._symmetry.action.permutation)]
            self.log_std.copy_((self.log_std + twins) / 2)

    def plain_layers(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return weights (outputs, inputs) and biases of a plain multilayer perceptron that does the same: both sides
        next to each other, twice as wide.
        """
        hidden = [layer for layer in self.mlp_extractor.policy_net if isinstance(layer, nn.Linear)]
        found = []
        for i, layer in enumerate(hidden):
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            none = np.zeros_like(weight)
            both = np.block([[weight, none], [none, weight]]) if i else np.vstack([weight, self._mirrored(weight)])
            found.append((both.astype(np.float32), np.concatenate([bias, bias])))
        weight, bias = (p.detach().numpy() for p in (self.action_net.weight, self.action_net.bias))
        action = self._symmetry.action
        both = np.hstack([weight, reflect(weight.T, action).T]) / 2
        return [*found, (both.astype(np.float32), (bias + reflect(bias, action)) / 2)]

    def _mirrored(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights that do to an observation what `weight` does to its mirror image: W M, with (M x)ᵢ = sᵢ x_p(i)."""
        mirror, seen = self._symmetry.observation, self._seen
        result = np.zeros_like(weight)
        result[:, mirror.permutation[:seen]] = weight * mirror.sign[:seen].astype(np.float32)
        return result

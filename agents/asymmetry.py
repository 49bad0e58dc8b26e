"""An actor that sees less than its critic: what only the simulator knows helps to judge, and is not needed to act.

Pinto et al. 2018, Asymmetric Actor Critic for Image-Based Robot Learning (RSS).
"""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn


class Apart(nn.Module):
    """stable-baselines3's extractor; the actor's part gets the first `seen` features."""

    def __init__(self, extractor: Any, seen: int) -> None:
        super().__init__()
        self.policy_net, self.value_net = extractor.policy_net, extractor.value_net
        self.latent_dim_pi, self.latent_dim_vf = extractor.latent_dim_pi, extractor.latent_dim_vf
        self._seen = seen

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Latent vectors of the actor and of the critic."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Latent vectors of the actor."""
        return self.policy_net(features[..., : self._seen])

    def forward_critic(self, features: Tensor) -> Tensor:
        """Latent vectors of the critic."""
        return self.value_net(features)


class AsymmetricPolicy(ActorCriticPolicy):
    """An actor that sees the first `seen` numbers of an observation, and a critic that sees all."""

    def __init__(self, *args: Any, seen: int, **kwargs: Any) -> None:
        self._seen = seen
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        extractor: Any = self.mlp_extractor
        extractor.policy_net[0] = nn.Linear(self._seen, extractor.policy_net[0].out_features)
        self.mlp_extractor = self._combine(extractor)

    def _combine(self, extractor: Any) -> Any:
        return Apart(extractor, self._seen)

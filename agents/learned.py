"""What every learned policy has in common, whatever runs its network. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle_format import BundleSpec
from training_ground.agents.chunks import ChunkPlayer
from training_ground.agents.network import Float32
from training_ground.agents.signature import signature_of
from training_ground.configs.errors import AgentError


class LearnedPolicy(ABC):
    """A network that normalises the observation and gives an action inside the action space.

    Attributes:
        runtime: What runs the network.
        name: The bundle's name.
        hash: sha256 (hex) over the bundle's files that decide what the policy does.
        spec: What it is for.
    """

    runtime: ClassVar[str]

    def __init__(self, spec: BundleSpec, hash: str) -> None:
        self.spec, self.hash, self.name = spec, hash, spec.name
        self._player = None if spec.chunk is None else ChunkPlayer(spec.chunk)

    @abstractmethod
    def _forward(self, observation: NDArray[Any]) -> Float32:
        """Return the action (..., m) for raw observations (..., n), or (..., horizon m) of a chunk."""

    @property
    def conditions(self) -> dict[str, Any]:
        """Keyword arguments of the environment that it was measured in: those of training, and its own."""
        evaluated = self.spec.provenance.config.get("eval")
        own = evaluated.get("kwargs") if isinstance(evaluated, dict) else None
        return {**self.spec.env_kwargs, **(own if isinstance(own, dict) else {})}

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode; an AgentError lists how `env` differs from the one the policy was trained in."""
        if getattr(self, "_checked", None) is not env.unwrapped:
            self.check(env)
            self._checked = env.unwrapped
        if self._player is not None:
            self._player.reset()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the environment behind when the policy goes to another process."""
        return {key: value for key, value in self.__dict__.items() if key != "_checked"}

    def check(self, env: gymnasium.Env[Any, Any], ignore: Sequence[str] = ()) -> None:
        """Compare `env` with what the policy was trained for.

        Args:
            env: The environment that it shall act in.
            ignore: Fields of the signature that may differ, such as `model_hash`.

        Raises:
            AgentError: Joints (names and order), model, channels, control or rate differ; the message lists what.
        """
        found = self.spec.env.differences(signature_of(env), ignore)
        if found:
            raise AgentError(f"policy '{self.name}' does not fit this environment: {'; '.join(found)}")

    def infer(self, observation: NDArray[Any]) -> Float32:
        """Return what the network says: the deterministic action, or the chunk of those to come.

        Args:
            observation: (n,) or a batch (k, n), raw, as the environment returns it.

        Returns:
            (..., m), or (..., horizon m) of a chunk, the actions one after the other.

        Raises:
            AgentError: The observation has the wrong length, or the action is not finite.
        """
        size = self.spec.env.observation_size
        if observation.shape[-1:] != (size,):
            raise AgentError(f"policy '{self.name}': observation of shape {observation.shape}, not ({size},)")
        action = self._forward(observation)
        if not np.isfinite(action).all():
            raise AgentError(f"policy '{self.name}': the action is not finite; the observation: {observation}")
        return action

    def act(self, observation: NDArray[Any]) -> Float32:
        """Return the deterministic action, of a chunked policy that of this control step.

        Args:
            observation: (n,) or, unless actions are chunked, a batch (k, n), raw, as the environment returns it.

        Raises:
            AgentError: See `infer`; or a chunked policy is given a batch.
        """
        if self._player is None:
            return self.infer(observation)
        if observation.ndim != 1:
            raise AgentError(f"policy '{self.name}': plays one episode at a time, not {len(observation)}")
        return self._player.act(lambda: self.infer(observation).reshape(-1, self.spec.env.action_size))

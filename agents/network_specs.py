"""What a bundle's `spec.json` says of its network: sizes from which every array's shape follows, and nothing that runs.

Sizes are capped: whoever reads a specification knows what it would take before anything is allocated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from training_ground.agents.chunks import MAX_HORIZON
from training_ground.configs.loading import StrictModel

MAX_WIDTH = 1_000_000
MAX_MASK = 4_000_000
"""Tokens times numbers of the observation: which number belongs to which token."""

TokenWidth = Annotated[int, Field(ge=1, le=1024)]
Heads = Annotated[int, Field(ge=1, le=16)]
Depth = Annotated[int, Field(ge=1, le=8)]
InnerWidth = Annotated[int, Field(ge=1, le=4096)]
Steps = Annotated[int, Field(ge=1, le=20)]
Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Activation = Literal["elu", "tanh", "relu"]
Shapes = dict[str, tuple[int, ...]]


class _Sizes(StrictModel):
    """What the networks have in common."""

    @property
    def shapes(self) -> Shapes:
        """Shape of each array, float32, by its name in `policy.safetensors`."""
        raise NotImplementedError

    @property
    def weights(self) -> int:
        """Number of weights and biases."""
        return sum(map(math.prod, self.shapes.values()))

    @property
    def noise(self) -> int:
        """Standard normal numbers that it wants besides the observation."""
        return 0


class NetworkSpec(_Sizes):
    """A multilayer perceptron: `activation` after every layer but the last, `output` after the last."""

    layers: Annotated[tuple[Width, ...], Field(min_length=2, max_length=16)]
    """Widths from the observation to the action or chunk of actions, both included."""
    activation: Activation
    output: Literal["linear", "tanh"] = "linear"
    """`tanh` is then stretched from [-1, 1] to the action's bounds, as stable-baselines3's SAC and TD3 do."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of the observation and of the output."""
        return self.layers[0], self.layers[-1]

    @property
    def shapes(self) -> Shapes:
        """Shape of each array, float32, by its name in `policy.safetensors`."""
        found: Shapes = {}
        for i, (inputs, outputs) in enumerate(itertools.pairwise(self.layers)):
            found |= {f"weight.{i}": (outputs, inputs), f"bias.{i}": (outputs,)}
        return found

    @property
    def text(self) -> str:
        """For people."""
        return f"multilayer perceptron, layers {' → '.join(map(str, self.layers))}, {self.activation}"


class TransformerSpec(_Sizes):
    """A transformer encoder over the observation's channels, and queries that decode a chunk of actions.

    The network is told in `agents/imitation/transformer.py`.
    """

    kind: Literal["transformer"]
    output: ClassVar[Literal["linear"]] = "linear"
    tokens: Annotated[tuple[Width, ...], Field(min_length=1, max_length=128)]
    """Numbers of each token: the observation, cut into its channels."""
    width: TokenWidth
    heads: Heads
    layers: Depth
    """Of the encoder."""
    feedforward: InnerWidth
    """Width inside of the feed-forward layers."""
    horizon: Annotated[int, Field(ge=1, le=MAX_HORIZON)]
    actions: Width
    """Numbers of one action."""
    activation: Activation

    @model_validator(mode="after")
    def _consistent(self) -> TransformerSpec:
        check_heads(self.width, self.heads)
        if len(self.tokens) * sum(self.tokens) > MAX_MASK:
            raise ValueError(f"tokens: {len(self.tokens)} of {sum(self.tokens)} numbers: more than {MAX_MASK} together")
        return self

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of the observation and of the output."""
        return sum(self.tokens), self.horizon * self.actions

    @property
    def mask(self) -> NDArray[np.float32]:
        """(tokens, n) 1 where a number of the observation belongs to a token, otherwise 0."""
        owner = np.repeat(np.arange(len(self.tokens)), self.tokens)
        return (owner == np.arange(len(self.tokens))[:, None]).astype(np.float32)

    @property
    def shapes(self) -> Shapes:
        """Shape of each array, float32, by its name in `policy.safetensors`."""
        width, inner = self.width, self.feedforward
        found: Shapes = {
            "channels": (sum(self.tokens), width),
            "embedding": (len(self.tokens), width),
            "queries": (self.horizon, width),
            **_linear("last", width, self.actions),
        }
        norms = ["norm", "last_norm", "feedforward.norm"]
        for at in ("", *(f"encoder.{i}." for i in range(self.layers))):
            for name in ("query", "key", "value", "out"):
                found |= _linear(f"{at}attention.{name}", width, width)
            found |= _linear(f"{at}feedforward.first", width, inner)
            found |= _linear(f"{at}feedforward.second", inner, width)
            norms += [f"{at}norm", f"{at}feedforward.norm"] if at else []
        for name in norms:
            found |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
        return found

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"transformer, {len(self.tokens)} tokens of {self.width}, {self.heads} heads, "
            f"{self.layers} layers, {self.activation}"
        )


class FlowSpec(_Sizes):
    """A multilayer perceptron that takes noise to a chunk of actions in several steps.

    The network is told in `agents/imitation/flow.py`.
    """

    kind: Literal["flow"]
    output: ClassVar[Literal["linear"]] = "linear"
    observation: Width
    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
    actions: Width
    """Numbers of one action."""
    horizon: Annotated[int, Field(ge=1, le=MAX_HORIZON)]
    activation: Activation
    steps: Steps
    """Of Euler's, of equal length."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of the observation and of the output."""
        return self.observation, self.outputs

    @property
    def outputs(self) -> int:
        """Numbers of a chunk."""
        return self.horizon * self.actions

    @property
    def noise(self) -> int:
        """Standard normal numbers that it wants besides the observation."""
        return self.outputs

    @property
    def shapes(self) -> Shapes:
        """Shape of each array, float32, by its name in `policy.safetensors`."""
        first = self.hidden[0]
        found: Shapes = {
            "chunk.weight": (first, self.outputs),
            "observation.weight": (first, self.observation),
            "times": (self.steps, first),
            "action.deviation": (self.outputs,),
            "action.mean": (self.outputs,),
        }
        for i, (inputs, outputs) in enumerate(itertools.pairwise((*self.hidden, self.outputs))):
            found |= {f"weight.{i}": (outputs, inputs), f"bias.{i}": (outputs,)}
        return found

    @property
    def text(self) -> str:
        """For people."""
        return f"flow of {self.steps} steps, layers {' → '.join(map(str, self.hidden))}, {self.activation}"


def check_heads(width: int, heads: int) -> None:
    """Raise a ValueError where the heads cannot share the width evenly."""
    if width % heads:
        raise ValueError(f"heads = {heads}: does not divide width = {width}")


def named(layers: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """Weights (outputs, inputs) and biases (outputs,) of a perceptron's layers by their names in a bundle."""
    found: dict[str, NDArray[np.float32]] = {}
    for i, (weight, bias) in enumerate(layers):
        found |= {f"weight.{i}": weight, f"bias.{i}": bias}
    return found


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


KINDS = ("mlp", "transformer", "flow")


def _kind(value: Any) -> Any:
    """Bundles of multilayer perceptrons, the first that there were, do not say their kind."""
    kind = value.get("kind", KINDS[0]) if isinstance(value, dict) else getattr(value, "kind", KINDS[0])
    return kind if isinstance(kind, str) else None


AnyNetwork = Annotated[
    Annotated[NetworkSpec, Tag("mlp")]
    | Annotated[TransformerSpec, Tag("transformer")]
    | Annotated[FlowSpec, Tag("flow")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message=f"kind: allowed are {', '.join(KINDS[1:])}, and none for a multilayer perceptron",
    ),
]

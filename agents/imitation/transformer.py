"""A small transformer that foresees chunks of actions, in the manner of ACT, in plain torch.

As in ACT (Zhao et al. 2023, arXiv 2304.13705) an encoder looks at everything that is observed, one learned query for
each action to come looks at what the encoder made of it, and the loss is the mean absolute error. What is observed are
numbers here, no pictures: each channel is a token, with a linear map and a learned embedding of its own.

Differences: layers are normalised first (Xiong et al. 2020, arXiv 2002.04745), which learns without a warm-up of the
learning rate. The decoder is one layer of cross attention: the queries of a first layer know nothing of the observation
yet, so attention among them would add a constant. There is no latent of a variational autoencoder and no dropout.

How the same network is computed without torch stands in `agents/onnx_transformer.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training_ground.agents.imitation.model import ACTIVATIONS, ChunkModel
from training_ground.agents.network_specs import TransformerSpec
from training_ground.configs.training import NetworkConfig

EMBEDDING = 0.02
"""Deviation of embeddings and queries before training, as in BERT and ViT; 1, as in ACT, was no better on Reach."""


class Attention(torch.nn.Module):
    """Scaled dot-product attention of several heads, from queries (k, q, width) to a memory (k, t, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (torch.nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Return what each query found (k, q, width)."""
        q, k, v = (self._split(f(x)) for f, x in ((self.query, queries), (self.key, memory), (self.value, memory)))
        found = torch.softmax(q @ k.transpose(2, 3) / (q.shape[-1] ** 0.5), dim=-1) @ v
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Feedforward(torch.nn.Module):
    """Two layers on each token (k, t, width) alone, behind a normalisation, added to it."""

    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.first, self.second = torch.nn.Linear(width, inner), torch.nn.Linear(inner, width)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same shape."""
        return x + self.second(self.activation(self.first(self.norm(x))))


class EncoderLayer(torch.nn.Module):
    """Attention of the tokens (k, t, width) to each other, then a feed-forward layer."""

    def __init__(self, width: int, heads: int, inner: int, activation: str) -> None:
        super().__init__()
        self.norm, self.attention = torch.nn.LayerNorm(width), Attention(width, heads)
        self.feedforward = Feedforward(width, inner, activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same shape."""
        seen = self.norm(x)
        return self.feedforward(x + self.attention(seen, seen))


class Transformer(torch.nn.Module):
    """From a normalised observation (k, n) to a chunk of normalised actions (k, horizon m)."""

    mask: torch.Tensor

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        width, common = spec.width, (spec.width, spec.heads, spec.feedforward, spec.activation)
        self.register_buffer("mask", torch.from_numpy(spec.mask), persistent=False)
        tokens = torch.tensor(spec.tokens)
        # Each channel's own linear map: rows of one matrix, each begun as a layer with that channel's inputs would.
        bound = torch.repeat_interleave(tokens, tokens).float().rsqrt()[:, None]
        self.channels = torch.nn.Parameter((torch.rand(len(bound), width) * 2 - 1) * bound)
        self.embedding = torch.nn.Parameter(torch.randn(len(tokens), width) * EMBEDDING)
        self.encoder = torch.nn.ModuleList(EncoderLayer(*common) for _ in range(spec.layers))
        self.norm = torch.nn.LayerNorm(width)
        self.queries = torch.nn.Parameter(torch.randn(spec.horizon, width) * EMBEDDING)
        self.attention = Attention(width, spec.heads)
        self.feedforward = Feedforward(width, spec.feedforward, spec.activation)
        self.last_norm, self.last = torch.nn.LayerNorm(width), torch.nn.Linear(width, spec.actions)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Return the chunk, the actions one after the other."""
        x = (observation[:, None] * self.mask) @ self.channels + self.embedding
        for layer in self.encoder:
            x = layer(x)
        queries = self.queries.expand(len(x), -1, -1)
        x = self.feedforward(queries + self.attention(queries, self.norm(x)))
        return self.last(self.last_norm(x)).flatten(1)


class TransformerModel(ChunkModel):
    """The transformer and its optimiser; see `ChunkModel`."""

    def _build(self, network: NetworkConfig, inputs: int, outputs: int) -> torch.nn.Module:
        settings = self.settings.transformer
        assert settings is not None
        self._spec = TransformerSpec(
            kind="transformer",
            tokens=self.tokens,
            horizon=self.settings.horizon,
            actions=outputs // self.settings.horizon,
            activation=network.activation,
            **settings.model_dump(),
        )
        return Transformer(self._spec)

    @property
    def spec(self) -> TransformerSpec:
        """What a bundle says of the network."""
        return self._spec

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Its weights by their names in a bundle; the last layer gives actions in their own unit."""
        found: dict[str, Any] = {name: value.numpy().copy() for name, value in self.network.state_dict().items()}
        found["channels"] = found["channels"] * self._seen.numpy()[:, None]
        deviation, mean = self.scale
        found["last.weight"] = found["last.weight"] * deviation[:, None]
        found["last.bias"] = found["last.bias"] * deviation + mean
        return found

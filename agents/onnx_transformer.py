"""The transformer of `agents/imitation/transformer.py` node by node, from normalised observations to a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.network_specs import TransformerSpec
from training_ground.agents.onnx_nodes import ACTIVATIONS, Builder


class _Layers:
    """Adds layers by the names that their arrays have in a bundle."""

    def __init__(self, graph: Builder, spec: TransformerSpec, arrays: dict[str, NDArray[Any]]) -> None:
        self.graph, self.spec = graph, spec
        # Those of a linear layer are multiplied from the left here: (inputs, outputs).
        for name in spec.shapes:
            value = arrays[name]
            linear = name.endswith(".weight") and value.ndim == 2
            graph.constant(name, np.ascontiguousarray(value.T) if linear else value)

    def linear(self, name: str, x: str) -> str:
        return self.graph.add("Add", self.graph.add("MatMul", x, f"{name}.weight"), f"{name}.bias")

    def norm(self, name: str, x: str) -> str:
        """ONNX's defaults are torch's: the last axis, 1e-5."""
        return self.graph.add("LayerNormalization", x, f"{name}.weight", f"{name}.bias")

    def attention(self, name: str, queries: str, memory: str, rows: int) -> str:
        """`rows` queries look at the memory's tokens; as in torch, all heads at once."""
        graph, heads, tokens = self.graph, self.spec.heads, len(self.spec.tokens)
        each = self.spec.width // heads
        q = graph.reshape(self.linear(f"{name}.query", queries), -1, rows, heads, each)
        k = graph.reshape(self.linear(f"{name}.key", memory), -1, tokens, heads, each)
        v = graph.reshape(self.linear(f"{name}.value", memory), -1, tokens, heads, each)
        q, v = (graph.add("Transpose", x, perm=(0, 2, 1, 3)) for x in (q, v))
        scores = graph.add("MatMul", q, graph.add("Transpose", k, perm=(0, 2, 3, 1)))
        root = graph.constant("root", np.array(each, np.float32) ** np.float32(0.5))
        found = graph.add("MatMul", graph.add("Softmax", graph.add("Div", scores, root)), v)
        found = graph.add("Transpose", found, perm=(0, 2, 1, 3))
        return self.linear(f"{name}.out", graph.reshape(found, -1, rows, self.spec.width))

    def feedforward(self, name: str, x: str) -> str:
        inner = self.linear(f"{name}.first", self.norm(f"{name}.norm", x))
        inner = self.graph.add(ACTIVATIONS[self.spec.activation], inner)
        return self.graph.add("Add", x, self.linear(f"{name}.second", inner))


def add_transformer(graph: Builder, spec: TransformerSpec, arrays: dict[str, NDArray[Any]], x: str) -> str:
    """Add the network; return the name of its output (batch, horizon m).

    Args:
        graph: To which it is added.
        spec: Sizes.
        arrays: By the names of `spec.shapes`.
        x: Name of the normalised observations (batch, n).
    """
    layers, tokens = _Layers(graph, spec, arrays), len(spec.tokens)
    x = graph.add("Mul", graph.reshape(x, -1, 1, sum(spec.tokens)), graph.constant("mask", spec.mask))
    x = graph.add("Add", graph.add("MatMul", x, "channels"), "embedding")
    for i in range(spec.layers):
        seen = layers.norm(f"encoder.{i}.norm", x)
        x = graph.add("Add", x, layers.attention(f"encoder.{i}.attention", seen, seen, tokens))
        x = layers.feedforward(f"encoder.{i}.feedforward", x)
    memory = layers.norm("norm", x)
    x = graph.add("Add", "queries", layers.attention("attention", "queries", memory, spec.horizon))
    x = layers.linear("last", layers.norm("last_norm", layers.feedforward("feedforward", x)))
    return graph.reshape(x, -1, spec.horizon * spec.actions)

"""Networks of a policy in plain numpy: a multilayer perceptron, or any graph of `agents/onnx_nodes.py`. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.network import ACTIVATIONS as FUNCTIONS
from training_ground.agents.network import Float32, Network, Normalisation
from training_ground.agents.network_specs import AnyNetwork, FlowSpec, NetworkSpec, TransformerSpec
from training_ground.agents.onnx_flow import add_flow
from training_ground.agents.onnx_nodes import ACTIVATIONS, INPUT, NOISE, OUTPUT, Builder
from training_ground.agents.onnx_transformer import add_transformer

EPSILON = np.float32(1e-5)
"""ONNX's and torch's of a layer normalisation."""


def add_network(graph: Builder, spec: AnyNetwork, arrays: dict[str, NDArray[Any]], x: str) -> str:
    """Add a network to a graph; return the name of its output.

    Args:
        graph: To which it is added.
        spec: What the network is.
        arrays: By the names of `spec.shapes`.
        x: Name of the normalised observations.
    """
    if isinstance(spec, TransformerSpec):
        return add_transformer(graph, spec, arrays, x)
    if isinstance(spec, FlowSpec):
        return add_flow(graph, spec, arrays, x)
    for i in range(len(spec.layers) - 1):
        if i:
            x = graph.add(ACTIVATIONS[spec.activation], x)
        names = [graph.constant(name, arrays[name]) for name in (f"weight.{i}", f"bias.{i}")]
        x = graph.add("Gemm", x, *names, transB=1)
    return x


class GraphNetwork:
    """A network that is computed as its ONNX graph says, behind a normalisation.

    Args:
        spec: What the network is.
        arrays: By the names of `spec.shapes`.
        normalisation: Of the observations.
    """

    def __init__(self, spec: AnyNetwork, arrays: dict[str, NDArray[Any]], normalisation: Normalisation) -> None:
        graph = Builder()
        add_network(graph, spec, arrays, INPUT)
        self._nodes, self._constants, self._normalisation = graph.finish(), graph.constants, normalisation

    def __call__(self, observations: NDArray[Any], noise: Float32 | None = None) -> Float32:
        """Outputs (..., m) for raw observations (..., n), and noise (..., m) where the network wants it."""
        seen = self._normalisation(observations)
        values = {**self._constants, INPUT: seen.reshape(-1, seen.shape[-1])}
        if noise is not None:
            values[NOISE] = noise.reshape(-1, noise.shape[-1])
        for node in self._nodes:
            inputs = [values[name] for name in node.inputs]
            values[node.output] = _NUMPY[node.operator](*inputs, **node.attributes)
        return values[OUTPUT].reshape(*seen.shape[:-1], -1)


def network_of(
    spec: AnyNetwork, arrays: dict[str, NDArray[Any]], normalisation: Normalisation
) -> Network | GraphNetwork:
    """Return the network that a specification and arrays stand for."""
    if not isinstance(spec, NetworkSpec):
        return GraphNetwork(spec, arrays, normalisation)
    layers = [(arrays[f"weight.{i}"].T.copy(), arrays[f"bias.{i}"]) for i in range(len(spec.layers) - 1)]
    return Network(layers, spec.activation, normalisation, spec.output)


def _softmax(x: Float32) -> Float32:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def _layer_norm(x: Float32, weight: Float32, bias: Float32) -> Float32:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON) * weight + bias


def _gemm(x: Float32, weight: Float32, bias: Float32, transB: int) -> Float32:
    return x @ (weight.T if transB else weight) + bias


_NUMPY: dict[str, Callable[..., Any]] = {
    **{ACTIVATIONS[name]: function for name, function in FUNCTIONS.items()},
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "MatMul": np.matmul,
    "Gemm": _gemm,
    "Reshape": np.reshape,
    "Transpose": lambda x, perm: np.transpose(x, perm),
    "Softmax": _softmax,
    "LayerNormalization": _layer_norm,
}

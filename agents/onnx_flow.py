"""The flow of `agents/imitation/flow.py` node by node, from normalised observations and noise to a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.network_specs import FlowSpec
from training_ground.agents.onnx_nodes import ACTIVATIONS, NOISE, Builder


def add_flow(graph: Builder, spec: FlowSpec, arrays: dict[str, NDArray[Any]], x: str) -> str:
    """Add the network and its steps; return the name of the output (batch, horizon m).

    Args:
        graph: To which it is added.
        spec: Sizes.
        arrays: By the names of `spec.shapes`.
        x: Name of the normalised observations (batch, n).
    """
    for name in spec.shapes:
        if name not in ("times", "observation.weight"):
            graph.constant(name, arrays[name])
    turned = np.ascontiguousarray(arrays["observation.weight"].T)
    seen = graph.add("MatMul", x, graph.constant("observation.weight", turned))
    at, activation = NOISE, ACTIVATIONS[spec.activation]
    for step in range(spec.steps):
        told = graph.add("Add", seen, graph.constant(f"time.{step}", arrays["times"][step]))
        end = graph.add("Gemm", at, "chunk.weight", told, transB=1)
        for i in range(len(spec.hidden)):
            end = graph.add("Gemm", graph.add(activation, end), f"weight.{i}", f"bias.{i}", transB=1)
        left = graph.constant(f"steps_left.{step}", np.array(spec.steps - step, np.float32))
        at = graph.add("Add", at, graph.add("Div", graph.add("Sub", end, at), left))
    return graph.add("Add", graph.add("Mul", at, "action.deviation"), "action.mean")

"""The parts of a policy's ONNX graph: operations by name, and how a graph is put together from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUT, OUTPUT, NOISE = "observation", "action", "noise"
FLOAT, INT64, DOUBLE = 1, 7, 11
"""ONNX's numbers of float32, int64 and float64."""
ACTIVATIONS = {"elu": "Elu", "tanh": "Tanh", "relu": "Relu"}
OPERATORS = {
    *("Cast", "Sub", "Div", "Clip", "Gemm", "Add", "Mul", "Max", "Min"),
    *("MatMul", "Reshape", "Transpose", "Softmax", "LayerNormalization"),
    *ACTIVATIONS.values(),
}


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        operator: Of ONNX's own domain.
        inputs: Names of constants or of other nodes' outputs.
        output: Its name.
        attributes: Whole numbers or lists of them; no other kind is needed.
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, int | tuple[int, ...]] = field(default_factory=dict)


class Builder:
    """Nodes in the order in which they are added, and the constants that they use.

    Attributes:
        nodes: So far; each output has a number.
        constants: By name.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Make a constant known, again and again if need be; return its name."""
        self.constants[name] = value
        return name

    def add(self, operator: str, *inputs: str, **attributes: int | tuple[int, ...]) -> str:
        """Add an operation; return the name of its output."""
        node = Node(operator, inputs, f"x{len(self.nodes)}", attributes)
        self.nodes.append(node)
        return node.output

    def reshape(self, x: str, *shape: int) -> str:
        """Give an array another shape; one size of -1 is what is left."""
        name = "shape_" + "_".join(str(size) if size >= 0 else "rest" for size in shape)
        return self.add("Reshape", x, self.constant(name, np.array(shape, np.int64)))

    def finish(self) -> tuple[Node, ...]:
        """Return the nodes; the last one's output is the graph's."""
        last = self.nodes[-1]
        return (*self.nodes[:-1], Node(last.operator, last.inputs, OUTPUT, last.attributes))

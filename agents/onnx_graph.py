"""A bundle's policy as an ONNX graph: made from its arrays, node by node, without any framework's exporter.

The normaliser is inside and computes in float64, as in numpy; the layers compute in float32:

observation (batch, n) float32 → Cast → Sub → Div → Clip → Cast → Gemm, Elu | Tanh | Relu, … → action (batch, m) float32

Of a policy that foresees a chunk of actions it gives all of them, one after the other: (batch, horizon m). How they are
carried out, one a control step, stands in the metadata as `chunk`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle_format import BundleSpec

IR_VERSION, OPSET = 8, 17
"""Old enough for every ONNX runtime since 2022."""
PRODUCER = "training-ground"
INPUT, OUTPUT, BATCH = "observation", "action", "batch"
FLOAT, DOUBLE = 1, 11
"""ONNX's numbers of float32 and float64."""
ACTIVATIONS = {"elu": "Elu", "tanh": "Tanh", "relu": "Relu"}
OPERATORS = {"Cast", "Sub", "Div", "Clip", "Gemm", "Add", "Mul", "Max", "Min", *ACTIVATIONS.values()}


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        operator: Of ONNX's own domain.
        inputs: Names of constants or of other nodes' outputs.
        output: Its name.
        attributes: Whole numbers; no other kind is needed.
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Graph:
    """All that `policy.onnx` says.

    Attributes:
        nodes: In the order in which they are computed.
        constants: float32 or float64 by name.
        metadata: JSON by key: what a controller must know to use the policy.
        sizes: n of the observation, m of the action or of all actions of a chunk.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    metadata: dict[str, str]
    sizes: tuple[int, int]


def graph_of(spec: BundleSpec, tensors: dict[str, NDArray[Any]], hash: str) -> Graph:
    """Return the graph that a bundle's specification and arrays stand for.

    Args:
        spec: The specification.
        tensors: The arrays of `policy.safetensors`.
        hash: The policy's hash; it goes into the metadata, so that a lone file can be traced to its evaluation.
    """
    clip = spec.normaliser.clip
    constants: dict[str, NDArray[Any]] = {
        "mean": tensors["observation.mean"],
        "deviation": np.sqrt(tensors["observation.variance"] + spec.normaliser.epsilon),
        "lowest": np.array(-clip),
        "highest": np.array(clip),
    }
    steps: list[tuple[str, tuple[str, ...], dict[str, int]]] = [
        ("Cast", (), {"to": DOUBLE}),
        ("Sub", ("mean",), {}),
        ("Div", ("deviation",), {}),
        ("Clip", ("lowest", "highest"), {}),
        ("Cast", (), {"to": FLOAT}),
    ]
    count = len(spec.network.layers) - 1
    for i in range(count):
        names = (f"weight.{i}", f"bias.{i}")
        constants.update({name: tensors[name] for name in names})
        steps.append(("Gemm", names, {"transB": 1}))
        if i < count - 1:
            steps.append((ACTIVATIONS[spec.network.activation], (), {}))
    bounds = spec.bounds
    if bounds is not None:
        low, high = bounds
        constants |= {"action_low": low, "action_high": high}
        if spec.network.output == "tanh":
            constants |= {"one": np.ones(1, np.float32), "half_range": (high - low) / np.float32(2)}
            steps += [("Tanh", (), {}), ("Add", ("one",), {})]
            steps += [("Mul", ("half_range",), {}), ("Add", ("action_low",), {})]
        steps += [("Max", ("action_low",), {}), ("Min", ("action_high",), {})]
    nodes, last = [], INPUT
    for i, (operator, others, attributes) in enumerate(steps):
        name = OUTPUT if i == len(steps) - 1 else f"x{i}"
        nodes.append(Node(operator, (last, *others), name, attributes))
        last = name
    # Bundles that were written before there were these fields stay what they are.
    left_out = {field for field in ("reference", "legs") if getattr(spec.env, field) is None}
    about = {"name": spec.name, "policy_hash": hash, **spec.env.model_dump(mode="json", exclude=left_out)}
    if spec.chunk is not None:
        about["chunk"] = spec.chunk.model_dump(mode="json")
    metadata = {key: json.dumps(value) for key, value in about.items()}
    return Graph(tuple(nodes), constants, metadata, (spec.env.observation_size, spec.outputs))


def write_onnx(graph: Graph) -> bytes:
    """Return the graph as an ONNX file; the same graph gives the same bytes. Needs the package `onnx`."""
    import onnx
    from onnx import helper, numpy_helper

    nodes = []
    for node in graph.nodes:
        attributes: dict[str, Any] = dict(node.attributes)
        nodes.append(helper.make_node(node.operator, node.inputs, [node.output], **attributes))
    ends = [
        helper.make_tensor_value_info(name, FLOAT, [BATCH, size])
        for name, size in zip((INPUT, OUTPUT), graph.sizes, strict=True)
    ]
    body = helper.make_graph(
        nodes,
        "policy",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in graph.constants.items()],
    )
    model = helper.make_model(
        body, producer_name=PRODUCER, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    helper.set_model_props(model, graph.metadata)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)

"""A bundle's policy as an ONNX graph: made from its arrays, node by node, without any framework's exporter.

The normaliser is inside and computes in float64, as in numpy; the layers compute in float32:

observation (batch, n) float32 → Cast → Sub → Div → Clip → Cast → Gemm, Elu | Tanh | Relu, … → action (batch, m) float32

Other networks than layers one after the other stand in `agents/onnx_transformer.py` and `agents/onnx_flow.py`; that of
a flow has noise as a second input, (batch, horizon m) float32, so that whoever runs it says what it is.

Of a policy that foresees a chunk of actions it gives all of them, one after the other: (batch, horizon m). How they are
carried out, one a control step, stands in the metadata as `chunk`. Of a policy that is told the time, `clock` stands
there, and the observation is (batch, n + 11), with what `agents/clock.py` says behind it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle_format import BundleSpec
from training_ground.agents.graph_network import add_network
from training_ground.agents.onnx_nodes import DOUBLE, FLOAT, INPUT, NOISE, OUTPUT, Builder, Node

IR_VERSION, OPSET = 8, 17
"""Old enough for every ONNX runtime since 2022."""
PRODUCER = "training-ground"
BATCH = "batch"


@dataclass(frozen=True, eq=False)
class Graph:
    """All that `policy.onnx` says.

    Attributes:
        nodes: In the order in which they are computed.
        constants: float32 or float64 by name.
        metadata: JSON by key: what a controller must know to use the policy.
        inputs: Numbers of each input by its name: of the observation with what stands behind it, and of the noise of a
            policy that wants it.
        outputs: Numbers of the action or of all actions of a chunk.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    metadata: dict[str, str]
    inputs: dict[str, int]
    outputs: int


def graph_of(spec: BundleSpec, tensors: dict[str, NDArray[Any]], hash: str) -> Graph:
    """Return the graph that a bundle's specification and arrays stand for.

    Args:
        spec: The specification.
        tensors: The arrays of `policy.safetensors`.
        hash: The policy's hash; it goes into the metadata, so that a lone file can be traced to its evaluation.
    """
    clip, graph = spec.normaliser.clip, Builder()
    mean = graph.constant("mean", tensors["observation.mean"])
    deviation = graph.constant("deviation", np.sqrt(tensors["observation.variance"] + spec.normaliser.epsilon))
    clips = graph.constant("lowest", np.array(-clip)), graph.constant("highest", np.array(clip))
    x = graph.add("Sub", graph.add("Cast", INPUT, to=DOUBLE), mean)
    x = graph.add("Clip", graph.add("Div", x, deviation), *clips)
    x = add_network(graph, spec.network, tensors, graph.add("Cast", x, to=FLOAT))
    bounds = spec.bounds
    if bounds is not None:
        low, high = graph.constant("action_low", bounds[0]), graph.constant("action_high", bounds[1])
        if spec.network.output == "tanh":
            one = graph.constant("one", np.ones(1, np.float32))
            half = graph.constant("half_range", (bounds[1] - bounds[0]) / np.float32(2))
            x = graph.add("Mul", graph.add("Add", graph.add("Tanh", x), one), half)
            x = graph.add("Add", x, low)
        x = graph.add("Min", graph.add("Max", x, low), high)
    # Bundles that were written before there were these fields stay what they are.
    left_out = {field for field in ("reference", "legs") if getattr(spec.env, field) is None}
    about = {"name": spec.name, "policy_hash": hash, **spec.env.model_dump(mode="json", exclude=left_out)}
    if spec.chunk is not None:
        about["chunk"] = spec.chunk.model_dump(mode="json")
    if spec.clock is not None:
        about["clock"] = spec.clock.model_dump(mode="json")
    if spec.remembered:
        about["remembered"] = spec.remembered
    inputs, noise = {INPUT: spec.inputs}, spec.network.noise
    if noise:
        inputs[NOISE] = noise
        about[NOISE] = {"distribution": "standard normal", "drawn": "anew for every chunk"}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    return Graph(graph.finish(), graph.constants, metadata, inputs, spec.outputs)


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
        for name, size in (*graph.inputs.items(), (OUTPUT, graph.outputs))
    ]
    body = helper.make_graph(
        nodes,
        "policy",
        ends[:-1],
        ends[-1:],
        [numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in graph.constants.items()],
    )
    model = helper.make_model(
        body, producer_name=PRODUCER, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    helper.set_model_props(model, graph.metadata)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)

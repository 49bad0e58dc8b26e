"""A policy for several tasks, told once and for all: an ordinary bundle for one task and one sentence."""

from __future__ import annotations

from pathlib import Path

from training_ground.agents.bundle import BundlePolicy
from training_ground.agents.bundle_format import SCHEMA_VERSION, BundleSpec
from training_ground.agents.export import save_policy
from training_ground.agents.multitask_policy import MultiTaskPolicy
from training_ground.agents.network import Network, Normalisation
from training_ground.agents.network_specs import NetworkSpec, named


def save_told(folder: Path, policy: MultiTaskPolicy, task: str, words: str, name: str) -> BundlePolicy:
    """Write the bundle of what a policy does in a task where it is told these words; `policy.onnx` is part of it.

    Args:
        folder: The bundle's folder.
        policy: The policy for several tasks.
        task: One of them.
        words: What it is told, whatever an episode asks.
        name: Of the new policy.

    Raises:
        AgentError: The policy has not learned the task, or the disk is full.
    """
    layers, moments = policy.folded(task, words)
    signature, told = policy.spec.tasks[task], policy.spec
    sizes = (len(layers[0][0]), *(len(bias) for _, bias in layers))
    spec = BundleSpec(
        schema_version=SCHEMA_VERSION,
        name=name,
        network=NetworkSpec(layers=sizes, activation=told.network.activation),
        chunk=told.chunk,
        clock=told.clock,
        normaliser=told.normaliser,
        env=signature,
        env_kwargs={"robot": signature.robot},
        provenance=told.provenance,
    )
    forward = Network(layers, told.network.activation, Normalisation())
    return save_policy(folder, spec, named((weight.T.copy(), bias) for weight, bias in layers), moments, forward)

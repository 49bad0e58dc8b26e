"""Learn one policy for several tasks from demonstrations: behaviour cloning of chunked actions, told in words.

Each sample is a row of a demonstration with the actions that followed it, and with a phrase that is drawn anew each
time from the training phrasings of what its episode asked for: the network meets the same motion under many sentences.
Flags, clock and embeddings are not normalised. Needs PyTorch (extra `train`) and the sentence model (`language`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training_ground.agents.bundle_format import NormaliserSpec
from training_ground.agents.checkpoints import Counters, last_good_checkpoint, list_checkpoints
from training_ground.agents.export import provenance
from training_ground.agents.imitation.loop import Report, UpdateLoop
from training_ground.agents.imitation.model import ChunkModel
from training_ground.agents.language import SIZE
from training_ground.agents.multitask_data import Demonstrations, read_task
from training_ground.agents.multitask_policy import MODEL, MultiTaskPolicy, save
from training_ground.agents.multitask_settings import MultiTaskConfig
from training_ground.agents.network_specs import NetworkSpec
from training_ground.agents.stopping import StopRequest
from training_ground.agents.training import write_config
from training_ground.configs.errors import AgentError
from training_ground.configs.instructions import instruction_files, instructions_of
from training_ground.configs.loading import apply_overrides, load_yaml, validate
from training_ground.configs.training import NetworkConfig, NormalisationConfig


def read(config: MultiTaskConfig) -> Demonstrations:
    """Read all that a run learns from.

    Raises:
        AgentError, DatasetError, ConfigError: A store, a task or an instruction does not fit.
    """
    files = instruction_files()
    phrasings = {task: instructions_of(task, files) for task in config.data}
    tasks = [read_task(task, Path(path)) for task, path in config.data.items()]
    return Demonstrations(tasks, config.unseen, phrasings)


class Words(torch.nn.Module):
    """Reduces the embedding behind an observation to a few numbers."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(SIZE, count)
        # Of a unit vector's 384 numbers none is large: without this the words would hardly be heard at first.
        torch.nn.init.normal_(self.linear.weight, std=1.0)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Return (k, n + count) for (k, n + 384)."""
        return torch.cat([seen[:, :-SIZE], torch.tanh(self.linear(seen[:, -SIZE:]))], dim=1)


class ToldModel(ChunkModel):
    """A perceptron behind an observation that is normalised already, the clock, and words.

    Args:
        config: The run.
        data: What it learns from.
    """

    def __init__(self, config: MultiTaskConfig, data: Demonstrations) -> None:
        self._words, clock = config.words, config.bc.clock
        size = data.size[0] + (0 if clock is None else clock.size) + SIZE
        unchanged = np.zeros(size), np.ones(size)
        as_it_is = NormalisationConfig(observation=False)
        super().__init__(config.bc, config.network, as_it_is, unchanged, data.action, np.ones(size, bool), config.seed)

    def _build(self, network: NetworkConfig, inputs: int, outputs: int) -> torch.nn.Module:
        rest = super()._build(network, inputs - SIZE + self._words, outputs)
        return torch.nn.Sequential(Words(self._words), rest)

    def told(self) -> tuple[NetworkSpec, dict[str, NDArray[np.float32]]]:
        """The perceptron as the policy's file holds it, and all arrays; the last ones give actions in their unit."""
        words, *linear = [layer for layer in self.network.modules() if isinstance(layer, torch.nn.Linear)]
        pairs = [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linear]
        deviation, mean = (np.tile(values, self.settings.horizon) for values in self.scale)
        weight, bias = pairs[-1]
        pairs[-1] = weight * deviation[:, None], bias * deviation + mean
        arrays = {"words.weight": words.weight.detach().numpy(), "words.bias": words.bias.detach().numpy()}
        for i, (weight, bias) in enumerate(pairs):
            arrays |= {f"weight.{i}": weight, f"bias.{i}": bias}
        layers = (linear[0].in_features, *(layer.out_features for layer in linear))
        return NetworkSpec.model_validate({"layers": layers, "activation": self.activation}), arrays


class MultiTaskRun(UpdateLoop):
    """One training run.

    Args:
        config: What from, and how.
        folder: The run's and the policy's.
        report: Called with each progress record.

    Raises:
        AgentError, DatasetError, ConfigError: A store, a task or an instruction does not fit.
    """

    def __init__(self, config: MultiTaskConfig, folder: Path, report: Report) -> None:
        super().__init__(folder, config.total_steps, config.checkpoints, report)
        torch.set_num_threads(1)  # two fight over the cores, and sums would depend on their number
        self.config, self.data = config, read(config)
        self.model = self.told = ToldModel(config, self.data)

    @property
    def model_hash(self) -> str:
        """Compiled robot of all tasks."""
        return self.data.tasks[0].signature.model_hash

    def _batches(self, done: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for number in range(done, self._total):
            yield number, self._drawn(np.random.default_rng([self.config.seed, number]))

    def _drawn(self, generator: np.random.Generator) -> dict[str, NDArray[Any]]:
        """A batch as the model takes it: observations with noise, the time, the embedding of a phrase."""
        config, settings, data = self.config, self.config.bc, self.data
        batch = data.draw(settings.batch_size, settings.horizon, generator)
        observed = data.see(batch.seen, config.normalisation.clip, config.normalisation.epsilon)
        if settings.observation_noise:
            noise = np.float32(settings.observation_noise) * generator.standard_normal(observed.shape, np.float32)
            observed += noise * np.concatenate([np.tile(data.spread[i], (len(own), 1)) for i, own in batch.seen])
        parts, heard = [observed], batch.heard
        if settings.clock is not None:
            late = settings.clock_noise_s * generator.standard_normal(len(batch.times))
            parts.append(settings.clock.tell((batch.times + late).clip(min=0.0)))
        if config.words_noise:
            heard = heard + np.float32(config.words_noise) * generator.standard_normal(heard.shape, np.float32)
        return {"observation": np.concatenate([*parts, heard], axis=1), "action": batch.done, "is_pad": batch.behind}

    def export(self, counters: Counters) -> MultiTaskPolicy:
        """Write the policy."""
        config, data = self.config, self.data
        origins = tuple(one.origin for one in data.tasks)
        network, arrays = self.told.told()
        known = [np.tanh(said @ arrays["words.weight"].T + arrays["words.bias"]).mean(axis=0) for said in data.known]
        spec = {
            "name": config.name,
            "tasks": {one.task: one.signature for one in data.tasks},
            "interface": data.interface,
            "sentence_model": MODEL,
            "clock": config.bc.clock,
            "words": config.words,
            "known": len(known),
            "network": network,
            "chunk": config.bc.chunk,
            "normaliser": NormaliserSpec(clip=config.normalisation.clip, epsilon=config.normalisation.epsilon),
            "provenance": provenance(config, sum(one.steps for one in origins), counters.seconds, None, origins),
        }
        moments = {"observation.mean": data.mean, "observation.variance": data.variance}
        return save(self.folder, spec, {**moments, **arrays, "words.known": np.array(known, np.float32)})


def start(config: MultiTaskConfig, folder: Path, report: Report) -> MultiTaskPolicy:
    """Learn, and write the policy.

    Args:
        config: What from, and how.
        folder: Of the run and of the policy; it gets `config.yaml`, with which `resume` goes on.
        report: Called with each progress record.

    Raises:
        AgentError, DatasetError, ConfigError: A store, a task or an instruction does not fit, or the disk is full.
        KeyboardInterrupt: After Ctrl-C, once a checkpoint is written.
    """
    run = MultiTaskRun(config, folder, report)
    for old in list_checkpoints(folder / "checkpoints"):
        old.unlink()
    (folder / "progress.jsonl").unlink(missing_ok=True)
    write_config(folder, config)
    return _learn(run, Counters(0, 0, 0, 0.0, config.bc.learning_rate, run.model_hash))


def resume(folder: Path, overrides: Sequence[str], report: Report) -> MultiTaskPolicy:
    """Go on from the last whole checkpoint, with the same bits as if it had never stopped; see `start`.

    Raises:
        AgentError: There is no such run, no checkpoint is whole, or the robot has changed since.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise AgentError(f"{folder}: no run of several tasks: there is no config.yaml")
    config = validate(MultiTaskConfig, apply_overrides(load_yaml(path), overrides), str(path))
    checkpoint, problems = last_good_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        raise AgentError(f"{folder}: no whole checkpoint is left: {'; '.join(problems) or 'none was written'}")
    run, counters = MultiTaskRun(config, folder, report), checkpoint.counters
    if counters.model_hash != run.model_hash:
        was, now = counters.model_hash[:12], run.model_hash[:12]
        raise AgentError(f"{folder}: trained on the compiled robot {was}, which is now {now}; start a new run")
    run.model.restore(checkpoint.tensors, str(checkpoint.path))
    if overrides:
        write_config(folder, config)
    return _learn(run, counters)


def _learn(run: MultiTaskRun, begin: Counters) -> MultiTaskPolicy:
    stop = StopRequest()
    with stop.listening():
        counters = run.learn(begin, stop)
    if stop.asked:
        raise KeyboardInterrupt
    return run.export(counters)

"""The training run of algorithms that learn from recorded episodes: batches, progress, checkpoints, rounds, bundle."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import torch

from training_ground.agents import export
from training_ground.agents.bundle_format import SCHEMA_VERSION, BundleSpec, DataOrigin, NetworkSpec, NormaliserSpec
from training_ground.agents.checkpoints import Checkpoint, Counters, write_checkpoint
from training_ground.agents.imitation.data import Demonstrations, Part, pooled
from training_ground.agents.imitation.model import ChunkModel
from training_ground.agents.imitation.settings import DaggerSettings, ImitationSettings
from training_ground.agents.imitation.takeover import ChunkActor, TakeoverPolicy, mark
from training_ground.agents.monitor import StopRequest
from training_ground.agents.policy import shipped_name
from training_ground.agents.progress import ProgressLog
from training_ground.agents.recording import record
from training_ground.agents.signature import signature_of
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError
from training_ground.configs.training import RunConfig
from training_ground.datasets.store import Store
from training_ground.datasets.windows import Batches

Report = Callable[[dict[str, Any]], None]

RECORDS = 100
"""Updates between two progress records."""
ROLLOUTS = "rollouts"
"""Folder of a run with the episodes of DAgger's rounds."""
SPACING = 1_000_000
"""Epochs that the batches of two rounds are apart, so that none repeats the order of another."""


def open_parts(config: RunConfig, env: gymnasium.Env[Any, Any]) -> list[Part]:
    """Open the datasets that a configuration names.

    Raises:
        AgentError: It names none, or one has nothing to learn from.
        DatasetError: One is missing, damaged, or does not fit the environment.
    """
    settings: ImitationSettings = getattr(config, config.algorithm)
    if not settings.datasets:
        raise AgentError(f"{config.algorithm}.datasets: names no dataset; record one with `tg record ... --out FOLDER`")
    return [Part(Path(name), env, settings.horizon, settings.only_successes) for name in settings.datasets]


class ImitationRun:
    """One training run.

    Args:
        config: The run.
        folder: The run's.
        env: Of the kind that the policy is for.
        report: Called with each progress record.
    """

    def __init__(self, config: RunConfig, folder: Path, env: gymnasium.Env[Any, Any], report: Report) -> None:
        self.config, self.folder, self.env, self._report = config, folder, env, report
        self.settings: ImitationSettings = getattr(config, config.algorithm)
        self.rounds = self.settings if isinstance(self.settings, DaggerSettings) else None
        torch.set_num_threads(config.torch_threads)
        self.parts = open_parts(config, env)
        moments, counts = [part.moments() for part in self.parts], [part.origin.steps for part in self.parts]
        observation, action = (pooled([m[i] for m in moments], counts) for i in (0, 1))
        self.model = ChunkModel(self.settings, config.network, config.normalisation, observation, action, config.seed)
        self._begin = [0, *(self.rounds.updates(config.total_steps) if self.rounds else ())]

    def learn(self, start: Counters, stop: StopRequest) -> Counters:
        """Do the updates that are left; return where the run stands."""
        self._start, self._began, self._episodes = start, time.monotonic(), start.episodes
        log = ProgressLog(self.folder / "progress.jsonl", start.steps)
        number, saved = start.steps, start.steps
        losses: list[float] = []
        try:
            for number, batch in self._batches(start.steps):
                if stop.asked:
                    break
                losses.append(self.model.update(batch, number / self.config.total_steps))
                number += 1
                if number % RECORDS == 0 or number == self.config.total_steps:
                    self._tell(log, number, sum(losses) / len(losses))
                    losses.clear()
                if number - saved >= self.config.checkpoints.interval:
                    self.save(number)
                    saved = number
        except RuntimeError as problem:
            raise AgentError(f"{self.folder}: after {number} updates: {problem}") from problem
        finally:
            log.close()
        if saved != number or start.steps == 0:
            self.save(number)
        return self._counters(number)

    def save(self, number: int) -> None:
        """Write a checkpoint after so many updates."""
        write_checkpoint(
            self.folder / "checkpoints", self.model.state(), self._counters(number), self.config.checkpoints.keep
        )

    def _counters(self, number: int) -> Counters:
        seconds = self._start.seconds + time.monotonic() - self._began
        rate = self.settings.learning_rate
        return Counters(number, number, self._episodes, seconds, rate, self._start.model_hash)

    def _batches(self, done: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give the number and the batch of each update that is left; a round's episodes come before its updates."""
        ends = [*self._begin[1:], self.config.total_steps]
        for stage, (begin, end) in enumerate(zip(self._begin, ends, strict=True)):
            if end <= done:
                continue
            # Rounds before the checkpoint are in the store; that of this stage is made by the weights that began it.
            if stage and begin >= done:
                self._roll_out(stage)
            data = Demonstrations([*self.parts, *self._rolled_out(stage)])
            batches = Batches(data, self.settings.batch_size, seed=self.config.seed)
            passed = max(0, done - begin)
            batches.epoch = stage * SPACING + passed // len(batches)
            epochs = itertools.chain.from_iterable(iter(batches) for _ in itertools.count())
            wanted = itertools.islice(epochs, passed % len(batches), None)
            for number, indices in zip(range(begin + passed, end), wanted, strict=False):
                yield number, data[indices]

    def _roll_out(self, stage: int) -> None:
        """Record the episodes of a round; those that are there already, of these very weights, stay."""
        rounds, model = self.rounds, self.model
        assert rounds is not None
        box = self.env.action_space
        assert isinstance(box, gymnasium.spaces.Box)
        hashed = hashlib.sha256(b"".join(part.tobytes() for layer in model.layers() for part in layer)).hexdigest()
        actor = ChunkActor(model.numpy(), self.settings.chunk, box.low, box.high)
        rate = float(self.env.unwrapped.describe()["control_rate"])  # type: ignore[attr-defined]
        policy = TakeoverPolicy(actor, max(1, round(rounds.latest_s * rate)), self.config.seed, hashed)
        seeds = rounds.seeds(stage)
        config = self.config.env
        result = record(policy, config.id, config.kwargs, seeds, self.folder / ROLLOUTS, workers=self.config.workers)
        if result.interrupted:
            raise KeyboardInterrupt
        self._episodes += len(seeds)
        mark(Store.open(self.folder / ROLLOUTS), policy)

    def _rolled_out(self, stage: int) -> list[Part]:
        """Return the rounds' episodes up to this stage."""
        if not stage or self.rounds is None:
            return []
        settings, end = self.settings, self.rounds.seeds(stage).stop
        path = self.folder / ROLLOUTS
        return [Part(path, self.env, settings.horizon, settings.only_successes, below_seed=end)]

    def _tell(self, log: ProgressLog, number: int, loss: float) -> None:
        elapsed = time.monotonic() - self._began
        rate = (number - self._start.steps) / max(elapsed, 1e-9)
        entry = {
            "steps": number,
            "total_steps": self.config.total_steps,
            "seconds": round(self._start.seconds + elapsed, 2),
            "rate": round(rate, 1),
            "seconds_left": max(0.0, (self.config.total_steps - number) / max(rate, 1e-9)),
            "episodes": self._episodes,
            "return_mean": None,
            "loss": loss,
            "learning_rate": self.model.optimizer.param_groups[0]["lr"],
        }
        log.write(entry)
        self._report(entry)

    def origins(self) -> tuple[DataOrigin, ...]:
        """What was learned from, the rounds' episodes included."""
        rolled = self._rolled_out(len(self._begin) - 1)
        return tuple(part.origin for part in (*self.parts, *rolled))

    def export(self, counters: Counters) -> None:
        """Write the bundle."""
        config, model = self.config, self.model
        with contextlib.closing(make_env(config.env.id, config.evaluated_kwargs)) as deployed:
            signature = signature_of(deployed)
        data = self.origins()
        size = signature.observation_size
        if config.normalisation.observation:
            moments = (model.moments["observation/mean"], model.moments["observation/variance"])
            normaliser = NormaliserSpec(clip=config.normalisation.clip, epsilon=config.normalisation.epsilon)
        else:
            moments, normaliser = export.unchanged(size)
        layers = model.layers()
        steps = sum(one.steps for one in data)
        spec = BundleSpec(
            schema_version=SCHEMA_VERSION,
            name=config.policy_name or shipped_name(signature.env_id, signature.robot),
            network=NetworkSpec(layers=(size, *(len(b) for _, b in layers)), activation=config.network.activation),
            chunk=self.settings.chunk,
            normaliser=normaliser,
            env=signature,
            env_kwargs=config.env.kwargs,
            provenance=export.provenance(config, steps, counters.seconds, None, data),
        )
        export.save_policy(self.folder / "bundle", spec, layers, moments, model.forward())


def learn(
    config: RunConfig, folder: Path, checkpoint: Checkpoint | None, env: gymnasium.Env[Any, Any], report: Report
) -> tuple[int, float]:
    """Train to `total_steps` updates and write the bundle; return updates and seconds.

    Raises:
        AgentError: The robot has changed since the checkpoint, there is nothing to learn from, the loss is not finite,
            or the disk is full.
        DatasetError: A dataset is missing, damaged, or does not fit the environment.
        KeyboardInterrupt: After Ctrl-C, once a checkpoint is written.
    """
    settings, model_hash = getattr(config, config.algorithm), signature_of(env).model_hash
    start = Counters(0, 0, 0, 0.0, settings.learning_rate, model_hash) if checkpoint is None else checkpoint.counters
    if start.model_hash != model_hash:
        was, now = start.model_hash[:12], model_hash[:12]
        raise AgentError(f"{folder}: trained on the compiled robot {was}, which is now {now}; start a new run")
    run = ImitationRun(config, folder, env, report)
    if checkpoint is not None:
        run.model.restore(checkpoint.tensors, str(checkpoint.path))
    stop = StopRequest()
    with stop.listening():
        counters = run.learn(start, stop)
    if stop.asked:
        raise KeyboardInterrupt
    run.export(counters)
    return counters.steps, counters.seconds

"""The training run of algorithms that learn from recorded episodes: batches, progress, checkpoints, rounds, bundle."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from training_ground.agents import export
from training_ground.agents.bundle_format import SCHEMA_VERSION, BundleSpec, DataOrigin, NormaliserSpec, Origin
from training_ground.agents.checkpoints import Checkpoint, Counters
from training_ground.agents.clock import Clock
from training_ground.agents.imitation.data import Demonstrations, NothingToLearn, Part, both_sides, pooled
from training_ground.agents.imitation.kinds import make_model, tokens_of
from training_ground.agents.imitation.loop import Report, UpdateLoop
from training_ground.agents.imitation.settings import DaggerSettings, ImitationSettings, RoundSettings
from training_ground.agents.imitation.takeover import ChunkActor, TakeoverPolicy, mark
from training_ground.agents.memory import Memory, places_of
from training_ground.agents.policy import Policy, shipped_name
from training_ground.agents.recording import record
from training_ground.agents.signature import Signature, signature_of
from training_ground.agents.stepping import make_env
from training_ground.agents.stopping import StopRequest
from training_ground.agents.symmetry import reflect, symmetry_of
from training_ground.configs.errors import AgentError, unknown
from training_ground.configs.training import RunConfig
from training_ground.datasets.store import Store
from training_ground.datasets.windows import Batches

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
    signature = signature_of(env)
    for field in ("unseen", "exact"):
        others(signature, settings, field)
    horizon, only, places = settings.horizon, settings.only_successes, places_of(signature, settings.remembered)
    return [Part(Path(name), env, horizon, only, remembered=places) for name in settings.datasets]


def others(signature: Signature, settings: ImitationSettings, field: str) -> NDArray[np.bool_]:
    """Return (n,) whether each number of the observation is in none of the channels that a field of settings names.

    Raises:
        AgentError: There is no such channel.
    """
    names, chosen = [channel.name for channel in signature.channels], getattr(settings, field)
    for name in chosen:
        if name not in names:
            raise AgentError(f"{field}: " + unknown("channel", name, names))
    found = np.concatenate([[c.name not in chosen] * c.size for c in signature.channels])
    return np.tile(found, signature.observation_size // len(found))  # once for each observation of a history


def gains(signature: Signature, settings: ImitationSettings) -> NDArray[np.float64]:
    """Return (n,) how many times as large each number of the observation goes in, once it is normalised."""
    found = np.concatenate([[settings.exact.get(c.name, 1.0)] * c.size for c in signature.channels])
    return np.tile(found, signature.observation_size // len(found))


class ImitationRun(UpdateLoop):
    """One training run.

    Args:
        config: The run.
        folder: The run's.
        env: Of the kind that the policy is for.
        report: Called with each progress record.
    """

    def __init__(self, config: RunConfig, folder: Path, env: gymnasium.Env[Any, Any], report: Report) -> None:
        super().__init__(folder, config.total_steps, config.checkpoints, report)
        self.config, self.env = config, env
        self.settings: ImitationSettings = getattr(config, config.algorithm)
        self._only_successes = self.settings.only_successes  # of the rounds' episodes
        self.rounds = self.settings if isinstance(self.settings, RoundSettings) else None
        torch.set_num_threads(config.torch_threads)
        self.parts = open_parts(config, env)
        moments, counts = [part.moments() for part in self.parts], [part.origin.steps for part in self.parts]
        observation, action = (pooled([m[i] for m in moments], counts) for i in (0, 1))
        self.signature, clock = signature_of(env), self.settings.clock
        observation = observation[0], observation[1] / gains(self.signature, self.settings) ** 2
        self.symmetry = symmetry_of(env) if self.settings.mirror else None
        if self.symmetry is not None:
            observation = both_sides(observation, self.symmetry.observation)
            action = both_sides(action, self.symmetry.action)
        seen, self._noisy = (others(self.signature, self.settings, field) for field in ("unseen", "exact"))
        if clock is not None:  # its numbers stay as they are
            mean, variance = observation
            observation = np.append(mean, np.zeros(clock.size)), np.append(variance, np.ones(clock.size))
            seen = np.append(seen, [True] * clock.size)
        self.places = places_of(self.signature, self.settings.remembered)
        observation = tuple(np.append(moment, moment[self.places]) for moment in observation)
        seen = np.append(seen, [True] * len(self.places))
        self.model = make_model(
            self.settings,
            config.network,
            config.normalisation,
            observation,
            action,
            seen,
            config.seed,
            tokens_of(self.signature, len(seen)),
        )
        self._begin = [0, *(self.rounds.updates(config.total_steps) if self.rounds else ())]

    @property
    def teacher(self) -> Origin | None:
        """The policy that says what is to be learned; None where the datasets do."""
        return None

    def _batches(self, done: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give the number and the batch of each update that is left; a round's episodes come before its updates."""
        ends = [*self._begin[1:], self.config.total_steps]
        for stage, (begin, end) in enumerate(zip(self._begin, ends, strict=True)):
            if end <= done:
                continue
            # Rounds before the checkpoint are in the store; that of this stage is made by the weights that began it.
            if stage and begin >= done:
                self.save(begin)
                self._roll_out(stage)
            data = Demonstrations([*self.parts, *self._rolled_out(stage)])
            batches = Batches(data, self.settings.batch_size, seed=self.config.seed)
            passed = max(0, done - begin)
            batches.epoch = stage * SPACING + passed // len(batches)
            epochs = itertools.chain.from_iterable(iter(batches) for _ in itertools.count())
            wanted = itertools.islice(epochs, passed % len(batches), None)
            for number, indices in zip(range(begin + passed, end), wanted, strict=False):
                yield number, self._prepared(data[indices], number)

    def _prepared(self, batch: dict[str, Any], number: int) -> dict[str, Any]:
        """Put the mirror image in the place of about half of a batch, add noise, and the time behind."""
        settings, generator = self.settings, np.random.default_rng([self.config.seed, number])
        if self.symmetry is not None:
            chosen = generator.random(len(batch["action"])) < 0.5
            for name, mirror in (("observation", self.symmetry.observation), ("action", self.symmetry.action)):
                batch[name][chosen] = reflect(batch[name][chosen], mirror)
        seen = batch["observation"]
        if settings.observation_noise:
            deviation = np.sqrt(self.model.moments["observation/variance"][: seen.shape[1]]).astype(np.float32)
            noise = generator.standard_normal(seen.shape, np.float32) * self._noisy
            seen = seen + np.float32(settings.observation_noise) * deviation * noise
        if settings.clock is not None:
            time = batch["step"] / self.signature.control_rate
            time = time + settings.clock_noise_s * generator.standard_normal(len(seen))
            seen = np.concatenate([seen, settings.clock.tell(time.clip(min=0.0))], axis=1)
        return {**batch, "observation": np.concatenate([seen, batch["remembered"]], axis=1)}

    def _roll_out(self, stage: int) -> None:
        """Record the episodes of a round; those that are there already, of these very weights, stay."""
        rounds, model = self.rounds, self.model
        assert rounds is not None
        box = self.env.action_space
        assert isinstance(box, gymnasium.spaces.Box)
        hashed = hashlib.sha256(b"".join(array.tobytes() for array in model.arrays().values())).hexdigest()
        rate, clock = self.signature.control_rate, self.settings.clock
        kept = Clock(clock, rate), Memory(self.places)
        actor = ChunkActor(model.numpy(), self.settings.chunk, box.low, box.high, *kept, model.spec.noise)
        policy = self._visitor(actor, hashed)
        seeds = rounds.seeds(stage)
        env, path, workers = self.config.env, self.folder / ROLLOUTS, self.config.workers

        def end(*_: Any) -> None:
            if self._stop.asked:
                raise KeyboardInterrupt

        result = record(policy, env.id, env.kwargs, seeds, path, workers=workers, on_episode=end)
        if result.interrupted:
            raise KeyboardInterrupt
        self._episodes += len(seeds)
        if isinstance(policy, TakeoverPolicy):
            mark(Store.open(path), policy)

    def _visitor(self, learner: ChunkActor, hashed: str) -> Policy:
        """Return who plays a round, given the learner and the hash of its weights."""
        assert isinstance(self.rounds, DaggerSettings)
        latest = max(1, round(self.rounds.latest_s * self.signature.control_rate))
        return TakeoverPolicy(learner, latest, self.config.seed, hashed)

    def _rolled_out(self, stage: int) -> list[Part]:
        """Return the rounds' episodes up to this stage."""
        if not stage or self.rounds is None:
            return []
        end = self.rounds.seeds(stage).stop
        path = self.folder / ROLLOUTS
        try:
            return [Part(path, self.env, self.settings.horizon, self._only_successes, end, self.places)]
        except NothingToLearn:  # a learner that fails before the expert's turn may get better yet
            return []

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
        clock = self.settings.clock
        size = len(model.moments["observation/mean"])
        if config.normalisation.observation:
            moments = (model.moments["observation/mean"], model.moments["observation/variance"])
            normaliser = NormaliserSpec(clip=config.normalisation.clip, epsilon=config.normalisation.epsilon)
        else:
            moments, normaliser = export.unchanged(size)
        steps = sum(one.steps for one in data)
        spec = BundleSpec(
            schema_version=SCHEMA_VERSION,
            name=config.policy_name or shipped_name(signature.env_id, signature.robot),
            network=model.spec,
            chunk=self.settings.chunk,
            clock=clock,
            remembered=self.settings.remembered,
            normaliser=normaliser,
            env=signature,
            env_kwargs=config.env.kwargs,
            provenance=export.provenance(config, steps, counters.seconds, None, data, self.teacher),
        )
        export.save_policy(self.folder / "bundle", spec, model.arrays(), moments, model.forward())


def learn(
    config: RunConfig,
    folder: Path,
    checkpoint: Checkpoint | None,
    env: gymnasium.Env[Any, Any],
    report: Report,
    kind: type[ImitationRun] = ImitationRun,
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
    run = kind(config, folder, env, report)
    if checkpoint is not None:
        run.model.restore(checkpoint.tensors, str(checkpoint.path))
    stop = StopRequest()
    with stop.listening():
        counters = run.learn(start, stop)
    if stop.asked:
        raise KeyboardInterrupt
    run.export(counters)
    return counters.steps, counters.seconds

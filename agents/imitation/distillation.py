"""Distillation of a policy for several tasks, told in words, into a small one for one of them.

What is learned in a state is the chunk that the teacher foresees there [Hinton et al. 2015, arXiv:1503.02531; Rusu et
al. 2016, arXiv:1511.06295]. Unlike the scripted experts the teacher can be asked in any state and at any time, so the
rounds are those of DAgger [Ross et al. 2011, arXiv:1011.0686]: the learner plays whole episodes, and in every state
that it visited, in those of failed episodes too, it learns what the teacher would do there. The noise of `bc` is put
on what both see.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle_format import Origin
from training_ground.agents.imitation.learning import ImitationRun, Report
from training_ground.agents.imitation.settings import DistilSettings
from training_ground.agents.imitation.takeover import ChunkActor
from training_ground.agents.multitask_policy import MultiTaskPolicy, load
from training_ground.agents.network import Network
from training_ground.agents.policy import Policy
from training_ground.agents.signature import signature_of
from training_ground.configs.errors import AgentError, unknown
from training_ground.configs.training import RunConfig

MAX_NETWORKS = 1000
"""Instructions for which the teacher's network is kept."""


def open_teacher(config: RunConfig, env: gymnasium.Env[Any, Any]) -> MultiTaskPolicy:
    """Return the teacher of a run.

    Raises:
        AgentError: None is named, it has not learned this task or learned it in another environment, or foresees fewer
            actions than the student shall.
    """
    settings = settings_of(config)
    if not settings.teacher:
        raise AgentError("distil.teacher: names no policy; make one with `tg multitask ... --out FOLDER`")
    teacher, task = load(Path(settings.teacher)), str(env.unwrapped.task.id)  # type: ignore[attr-defined]
    if task not in teacher.spec.tasks:
        raise AgentError(
            f"distil.teacher = {settings.teacher}: " + unknown("task of this policy", task, teacher.spec.tasks)
        )
    found = teacher.spec.tasks[task].differences(signature_of(env))
    if found:
        raise AgentError(f"distil.teacher = {settings.teacher}: does not fit this environment: {'; '.join(found)}")
    if settings.horizon > teacher.spec.chunk.horizon:
        raise AgentError(
            f"distil.horizon = {settings.horizon}: the teacher foresees {teacher.spec.chunk.horizon} actions, no more"
        )
    return teacher


def settings_of(config: RunConfig) -> DistilSettings:
    """Return the algorithm's settings."""
    settings = getattr(config, config.algorithm)
    assert isinstance(settings, DistilSettings)
    return settings


class DistilRun(ImitationRun):
    """A run whose actions come from a teacher; see `ImitationRun`."""

    def __init__(self, config: RunConfig, folder: Path, env: gymnasium.Env[Any, Any], report: Report) -> None:
        super().__init__(config, folder, env, report)
        self._teacher, self._task = open_teacher(config, env), str(env.unwrapped.task.id)  # type: ignore[attr-defined]
        self._only_successes = False  # the teacher can be asked in states of failed episodes as well
        self._networks: dict[str, Network] = {}

    @property
    def teacher(self) -> Origin:
        """The policy that says what is to be learned."""
        policy = self._teacher
        return Origin(name=policy.name, hash=policy.hash, steps=policy.spec.provenance.steps)

    def _prepared(self, batch: dict[str, Any], number: int) -> dict[str, Any]:
        """Put what the teacher would do, seeing the same, in the place of what was done."""
        batch = super()._prepared(batch, number)
        size, clock = self.signature.observation_size, self._teacher.spec.clock
        if clock == self.settings.clock:
            seen = batch["observation"][:, : size + self._teacher.spec.ticks]
        else:
            told = [] if clock is None else [clock.tell(batch["step"] / self.signature.control_rate)]
            seen = np.concatenate([batch["observation"][:, :size], *told], axis=1)
        actions = np.empty_like(batch["action"], np.float32)
        for words in dict.fromkeys(batch["said"].tolist()):
            chosen = batch["said"] == words
            actions[chosen] = self._asked(words, seen[chosen])
        return {**batch, "action": actions, "is_pad": np.zeros_like(batch["is_pad"])}

    def _asked(self, words: str, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the teacher's chunks (B, H, m), as long as the learner's."""
        if words not in self._networks:
            if len(self._networks) >= MAX_NETWORKS:
                self._networks.clear()
            self._networks[words] = self._teacher.specialised(self._task, words)
        chunks = self._networks[words](seen).reshape(len(seen), self._teacher.spec.chunk.horizon, -1)
        return chunks[:, : self.settings.horizon]

    def _visitor(self, learner: ChunkActor, hashed: str) -> Policy:
        """Return the learner alone."""
        return Visitor(learner, hashed)


class Visitor:
    """The learner, in whole episodes.

    Args:
        learner: Who acts.
        hash: Of its weights.
    """

    name = "visits"

    def __init__(self, learner: ChunkActor, hash: str) -> None:
        self._learner, self.hash = learner, hash

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode."""
        self._learner.reset(max(0, int(env.unwrapped.np_random_seed or 0)))

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the learner's action."""
        return self._learner.act(observation)

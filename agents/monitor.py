"""Watches a learning algorithm: adapts it after each update, writes progress and checkpoints, stops it when asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from training_ground.agents.checkpoints import Counters, save_checkpoint
from training_ground.agents.diagnosis import Watch
from training_ground.agents.progress import EpisodeWindow, ProgressLog
from training_ground.configs.errors import AgentError
from training_ground.configs.training import RunConfig

LARGEST_WEIGHT = 1e6


class Monitor(BaseCallback):
    """The callback of every training run.

    Args:
        config: The run.
        settings: The algorithm's settings.
        algorithm: Its module (`agents/algorithms/`).
        folder: Where checkpoints go.
        log: Where progress goes.
        start: Where the run stood when this session began.
        report: Called with each progress record, and with what the watch has to tell.
        watch: Says so when the run stalls.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: Any,
        algorithm: ModuleType,
        folder: Path,
        log: ProgressLog,
        start: Counters,
        report: Callable[[dict[str, Any]], None] | None,
        watch: Watch | None = None,
    ) -> None:
        super().__init__()
        self.model: Any  # type: ignore[assignment]
        self._config, self._settings, self._algorithm = config, settings, algorithm
        self._folder, self._log = folder, log
        self._start, self._report, self._watch = start, report, watch
        self._window = EpisodeWindow()
        self._began = time.monotonic()
        self._saved_at = start.steps
        self._updated = False
        self._learning_rate = start.learning_rate
        self._record_steps = getattr(algorithm, "RECORD_STEPS", 1)
        self._recorded_at = start.steps

    def counters(self) -> Counters:
        """Return where the run stands."""
        return Counters(
            steps=self.model.num_timesteps,
            updates=int(self.model._n_updates),
            episodes=self._start.episodes + self._window.count,
            seconds=self._start.seconds + time.monotonic() - self._began,
            learning_rate=self._learning_rate,
            model_hash=self._start.model_hash,
        )

    def save(self) -> Path:
        """Write a checkpoint now."""
        path = save_checkpoint(
            self._folder,
            self.model,
            self.counters(),
            self._config.checkpoints.keep,
        )
        self._saved_at = self.model.num_timesteps
        return path

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            self._window.add(info)
        return True

    def _on_rollout_end(self) -> None:
        self._updated = True

    def _on_rollout_start(self) -> None:
        if self._updated:
            self._after_update()
        if self.model.num_timesteps - self._saved_at >= self._config.checkpoints.interval:
            self.save()

    def _on_training_end(self) -> None:
        if self._updated:
            self._after_update()

    def _after_update(self) -> None:
        self._updated = False
        learned = self._algorithm.after_update(self.model, self._settings)
        bad = diverged_weights(self.model)
        if bad:
            raise AgentError(f"weights have diverged after the update: {', '.join(bad)}")
        self._learning_rate = learned["learning_rate"]
        counters = self.counters()
        end = counters.steps >= self._config.total_steps
        if counters.steps // self._record_steps == self._recorded_at // self._record_steps and not end:
            return
        self._recorded_at = counters.steps
        elapsed = time.monotonic() - self._began
        rate = (counters.steps - self._start.steps) / max(elapsed, 1e-9)
        record = {
            "steps": counters.steps,
            "total_steps": self._config.total_steps,
            "seconds": round(counters.seconds, 2),
            "rate": round(rate, 1),
            "seconds_left": max(0.0, (self._config.total_steps - counters.steps) / max(rate, 1e-9)),
            **self._window.record(),
            "episodes": counters.episodes,
            **({"level": self.model.curriculum.level} if self._config.curriculum else {}),
            **learned,
        }
        for key, value in learned.items():
            self.logger.record(f"adapted/{key}", value)
        self._log.write(record)
        if self._report is not None:
            self._report(record)
        verdict = None if self._watch is None else self._watch.see(record)
        if verdict is not None and self._report is not None:
            self._report({"warning": f"stalled: {verdict.text}", "cause": verdict.cause})


def diverged_weights(model: Any) -> list[str]:
    """Return the names of the model's arrays that hold a number that is not finite or absurdly large."""
    named = model.policy.named_parameters()
    return [name for name, values in named if not bool((values.detach().abs() < LARGEST_WEIGHT).all())]


def diagnose(problem: Exception, model: Any) -> AgentError | None:
    """Return what to tell where a learner's error comes from weights that have diverged; otherwise None."""
    bad = diverged_weights(model)
    return AgentError(f"weights have diverged: {', '.join(bad)} ({type(problem).__name__})") if bad else None

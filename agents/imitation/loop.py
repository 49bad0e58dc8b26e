"""So many updates of a model: batches, progress records, checkpoints, and an end on Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training_ground.agents.checkpoints import Counters, write_checkpoint
from training_ground.agents.imitation.model import ChunkModel
from training_ground.agents.progress import ProgressLog
from training_ground.agents.stopping import StopRequest
from training_ground.configs.errors import AgentError
from training_ground.configs.training import CheckpointConfig

Report = Callable[[dict[str, Any]], None]

RECORDS = 100
"""Updates between two progress records."""


class UpdateLoop:
    """What runs that learn from data have in common; a subclass sets `model` and gives the batches.

    Args:
        folder: The run's.
        total: Updates of the whole run.
        checkpoints: How often, and how many are kept.
        report: Called with each progress record.
    """

    model: ChunkModel

    def __init__(self, folder: Path, total: int, checkpoints: CheckpointConfig, report: Report) -> None:
        self.folder, self._total, self._checkpoints, self._report = folder, total, checkpoints, report

    def _batches(self, done: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give the number and the batch of each update that is left after so many."""
        raise NotImplementedError

    def learn(self, start: Counters, stop: StopRequest) -> Counters:
        """Do the updates that are left; return where the run stands."""
        self._start, self._began, self._episodes, self._stop = start, time.monotonic(), start.episodes, stop
        log = ProgressLog(self.folder / "progress.jsonl", start.steps)
        number, saved = start.steps, start.steps
        losses: list[float] = []
        try:
            for number, batch in self._batches(start.steps):
                if stop.asked:
                    break
                losses.append(self.model.update(batch, number / self._total))
                number += 1
                if number % RECORDS == 0 or number == self._total:
                    self._tell(log, number, sum(losses) / len(losses))
                    losses.clear()
                if number - saved >= self._checkpoints.interval:
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
        counters, keep = self._counters(number), self._checkpoints.keep
        write_checkpoint(self.folder / "checkpoints", self.model.state(), counters, keep)

    def _counters(self, number: int) -> Counters:
        seconds = self._start.seconds + time.monotonic() - self._began
        rate = self.model.settings.learning_rate
        return Counters(number, number, self._episodes, seconds, rate, self._start.model_hash)

    def _tell(self, log: ProgressLog, number: int, loss: float) -> None:
        elapsed = time.monotonic() - self._began
        rate = (number - self._start.steps) / max(elapsed, 1e-9)
        entry = {
            "steps": number,
            "total_steps": self._total,
            "seconds": round(self._start.seconds + elapsed, 2),
            "rate": round(rate, 1),
            "seconds_left": max(0.0, (self._total - number) / max(rate, 1e-9)),
            "episodes": self._episodes,
            "return_mean": None,
            "loss": loss,
            "learning_rate": self.model.optimizer.param_groups[0]["lr"],
        }
        log.write(entry)
        self._report(entry)

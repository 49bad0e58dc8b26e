"""`trials.jsonl`: one line a finished trial, appended and flushed, so that a run killed at any instant goes on.

The first line says what the trials belong to; a file of another test is refused. A last line that a kill has cut off is
dropped. What the numbers are does not depend on the order of the lines.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from training_ground.agents.bundle_format import read_capped, read_json
from training_ground.agents.certification.result import MAX_BYTES, Digest, Trial
from training_ground.agents.deadline import Timing
from training_ground.configs.errors import AgentError
from training_ground.configs.loading import StrictModel

FILE = "trials.jsonl"


class Header(StrictModel):
    """What the trials belong to: all that their numbers follow from."""

    format: Literal["training-ground-trials"] = "training-ground-trials"
    version: Literal[1] = 1
    protocol: Digest
    policy: str
    policy_sha256: Digest | None
    runtime: str | None
    commit: str | None
    versions: dict[str, str]
    configs: tuple[str, ...]
    """Hash of each condition's environment."""


class TimingLine(StrictModel):
    """How long the policy took in a trial."""

    deadline_s: Annotated[float, Field(gt=0)]
    counts: dict[int, Annotated[int, Field(ge=0)]]
    """Calls by bin of the histogram (`agents/deadline.py`)."""
    misses: int
    worst_s: float
    worst_step: int

    @classmethod
    def of(cls, timing: Timing) -> TimingLine:
        """Return a timing as a line has it."""
        names = ("deadline_s", "misses", "worst_s", "worst_step")
        return cls(counts=dict(timing.counts), **{name: getattr(timing, name) for name in names})

    def timing(self, seed: int) -> Timing:
        """Return it as it was, of an episode's seed."""
        found = Timing(self.deadline_s)
        found.counts.update(self.counts)
        found.misses, found.worst_s, found.worst_step = self.misses, self.worst_s, self.worst_step
        found.worst_seed = seed
        return found


class TrialLine(StrictModel):
    """A finished trial."""

    condition: str
    trial: Trial
    timing: TimingLine


class TrialsFile:
    """The file of a run, locked against a second one.

    Args:
        path: Made where it is missing.
        header: Of this run.

    Attributes:
        lines: Those that are there, by condition and seed.

    Raises:
        AgentError: It belongs to another test, is damaged before its last line, or another run writes it.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self.lines: dict[tuple[str, int], TrialLine] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab")
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            self._stream.close()
            raise AgentError(f"{path}: another run is writing it") from problem
        except OSError as problem:
            raise AgentError(f"{path}: cannot be written: {problem.strerror or problem}") from problem
        try:
            self._take_up(header)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> TrialsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _take_up(self, header: Header) -> None:
        """Read what is there, drop what a kill cut off, and begin the file where it is empty."""
        raw = read_capped(self._path, MAX_BYTES)
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            self._stream.truncate(len(whole))
        first, *rest = whole.splitlines() or [b""]
        if not first:
            self._append(header.model_dump_json())
            return
        there = read_json(self._path, first, Header)
        if there != header:
            differs = [name for name in Header.model_fields if getattr(there, name) != getattr(header, name)]
            raise AgentError(
                f"{self._path}: is of another test: {', '.join(differs)} differ; choose another folder, or remove it"
            )
        for number, line in enumerate(rest, start=2):
            one = read_json(self._path.with_name(f"{FILE}, line {number}"), line, TrialLine)
            self.lines[one.condition, one.trial.seed] = one

    def add(self, line: TrialLine) -> None:
        """Append a trial; it is on the disk when this returns.

        Raises:
            AgentError: The disk is full.
        """
        self._append(line.model_dump_json())
        self.lines[line.condition, line.trial.seed] = line

    def _append(self, text: str) -> None:
        try:
            self._stream.write(text.encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as problem:
            raise AgentError(f"{self._path}: cannot be written: {problem.strerror or problem}") from problem

"""What a training run says while it goes: one record an update, in a file and as a line."""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from pathlib import Path
from typing import Any

from training_ground.agents.files import write_atomic
from training_ground.configs.errors import AgentError

WINDOW = 100
"""Episodes that rates and means are taken over."""


class EpisodeWindow:
    """The last episodes of a training run."""

    def __init__(self) -> None:
        self.count = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=WINDOW)

    def add(self, info: dict[str, Any]) -> None:
        """Count the episode that `info` reports, if it reports one."""
        if "outcome" in info:
            self.count += 1
            self._recent.append({**info["outcome"], "return": info["episode"]["r"], "steps": info["episode"]["l"]})

    def record(self) -> dict[str, Any]:
        """Return rates and means over the window; None where no episode has ended yet."""
        recent = self._recent
        if not recent:
            return {
                "episodes": self.count,
                "return_mean": None,
                "length_mean": None,
                "success_rate": None,
                "failures": {},
            }
        terms = sorted({name for e in recent for name in e["metrics"]})
        failures = Counter(e["failure"] for e in recent if e["failure"] is not None)
        return {
            "episodes": self.count,
            "return_mean": sum(e["return"] for e in recent) / len(recent),
            "length_mean": sum(e["steps"] for e in recent) / len(recent),
            "success_rate": sum(e["success"] for e in recent) / len(recent),
            "failures": {name: count / len(recent) for name, count in failures.items()},
            "metrics": {t: sum(e["metrics"].get(t, 0.0) for e in recent) / len(recent) for t in terms},
        }


class ProgressLog:
    """`progress.jsonl`: one JSON object an update; survives a kill but for the line being written."""

    def __init__(self, path: Path, steps: int) -> None:
        """Open the log of a run that stands at `steps`; later lines, from before a crash, are dropped."""
        self._path = path
        if path.is_file():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _steps(line) <= steps]
            write_atomic(path, "".join(line + "\n" for line in kept))
        try:
            self._stream = path.open("a", encoding="utf-8")
        except OSError as problem:
            raise AgentError(f"{path}: cannot be written: {problem.strerror or problem}") from problem

    def write(self, record: dict[str, Any]) -> None:
        """Append one record.

        Raises:
            AgentError: The disk is full.
        """
        try:
            self._stream.write(json.dumps(_finite(record), allow_nan=False) + "\n")
            self._stream.flush()
        except OSError as problem:
            raise AgentError(f"{self._path}: cannot be written: {problem.strerror or problem}") from problem

    def close(self) -> None:
        """Close the file."""
        try:
            self._stream.close()
        except OSError as problem:
            raise AgentError(f"{self._path}: cannot be written: {problem.strerror or problem}") from problem


def read_progress(run: Path) -> list[dict[str, Any]]:
    """Return the progress records of a run's folder, the oldest first; a line cut off by a kill is left out.

    Raises:
        AgentError: The file cannot be read.
    """
    path = run / "progress.jsonl"
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise AgentError(f"{path}: cannot be read: {problem}") from problem
    return [json.loads(line) for line in lines if math.isfinite(_steps(line))]


def _steps(line: str) -> float:
    try:
        return float(json.loads(line)["steps"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def progress_line(record: dict[str, Any]) -> str:
    """Return a record as one line for people."""
    parts = [
        f"{record['steps'] / 1e6:.2f}/{record['total_steps'] / 1e6:.2f} M steps",
        f"{record['rate']:,.0f}/s",
        f"{_duration(record['seconds_left'])} left",
    ]
    if record["return_mean"] is not None:
        parts.append(f"return {record['return_mean']:.1f}")
        parts.append(f"length {record['length_mean']:.0f}")
        parts.append(f"success {record['success_rate']:.0%}")
        parts += [f"{name} {share:.0%}" for name, share in sorted(record["failures"].items())]
    if "level" in record:
        parts.append(f"level {record['level']:.2f}")
    shown = (
        ("kl", "KL {:.3f}"),
        ("std", "std {:.2f}"),
        ("entropy_coefficient", "entropy × {:.1e}"),
        ("loss", "loss {:.4f}"),
    )
    shown = [(record.get(name), form) for name, form in (*shown, ("learning_rate", "lr {:.1e}"))]
    parts += [form.format(value) for value, form in shown if value is not None and math.isfinite(value)]
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"

"""Write files so that a crash, a kill or a full disk never leaves half of one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from training_ground.configs.errors import AgentError


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` under a temporary name, flush it to the disk, and rename it to `path`.

    Raises:
        AgentError: The disk is full or the folder cannot be written; whatever stood at `path` before is untouched.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as problem:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise AgentError(f"{path}: cannot be written: {problem.strerror or problem}") from problem


def to_json(data: Any) -> str:
    """Return `data` as indented JSON; numpy numbers and arrays become plain ones, NaN is refused."""
    return json.dumps(data, indent=2, default=_plain, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no plain data")

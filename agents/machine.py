"""The machine that something was made on, for people who compare times."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Annotated

from pydantic import Field

from training_ground.configs.loading import StrictModel

CPUINFO = Path("/proc/cpuinfo")


class Machine(StrictModel):
    """A machine, as far as it says how fast it is."""

    processor: str
    """Its model, such as `AMD EPYC 7B13`; the architecture where the system does not tell the model."""
    cores: Annotated[int, Field(ge=1)]
    """Cores that this process may use."""


def this_machine() -> Machine:
    """Return the machine that runs this."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Machine(processor=_processor(), cores=able or 1)


def _processor() -> str:
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next((model for model in models if model), platform.processor() or platform.machine() or "unknown")

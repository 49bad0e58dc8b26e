"""Import what another program wrote into a store of ours: each format is one file in `datasets/formats/`."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_ground.configs.errors import DatasetError, unknown
from training_ground.datasets.export import Progress, formats


@dataclass(frozen=True)
class ImportReport:
    """What an import read, and what it could not.

    Attributes:
        format: Its name.
        path: The new store.
        episodes, frames: How many; a frame is a step.
        losses: One sentence for each thing in the source that the store does not have, or had to make up.
        skipped: Episodes that were left out, and why.
        sha256: Of the file that was read; of several, over their names and hashes.
    """

    format: str
    path: Path
    episodes: int
    frames: int
    losses: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    sha256: str = ""


def import_(
    path: str | Path, format: str, out: str | Path, rate: float | None = None, progress: Progress | None = None
) -> ImportReport:
    """Read a dataset of others into a new store. The store appears complete or not at all.

    Nothing in the source is run, unpickled or followed. Episodes that others wrote are marked as imported and cannot be
    replayed; an export of ours comes back as it was, or is marked as well where the format did not hold all of it.

    Args:
        path: The file or folder, as the format has it.
        format: One of `formats()` that can be imported.
        out: A folder that does not exist.
        rate: Steps a second, where the source does not say it.
        progress: Called with the number of each episode that is done.

    Raises:
        DatasetError: The format is unknown, `out` exists, or the source is damaged, hostile, or holds what a store
            cannot; the message names file and field.
    """
    path, out = Path(path), Path(out)
    if format not in formats():
        raise DatasetError(unknown("format", format, formats()))
    module: Any = importlib.import_module(f"training_ground.datasets.formats.{format}")
    if not hasattr(module, "import_"):
        raise DatasetError(f"format '{format}': can be exported, not imported")
    if out.exists() or out.is_symlink():
        raise DatasetError(f"{out}: exists already; an import makes a new dataset, choose another folder")
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file or folder")
    given: dict[str, Any] = {}
    if rate is not None:
        if "rate" not in inspect.signature(module.import_).parameters:
            raise DatasetError(f"rate = {rate:g}: format '{format}' says itself how many steps a second it has")
        given["rate"] = rate
    return module.import_(path, out, progress or (lambda number: None), **given)

"""What `data_fuzz.py` tries of a store: a sample with every kind of file, and one loader a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _fuzz import Loader

from training_ground.datasets import about


def _about(folder: Path) -> None:
    about.update(folder, title="Signals", licence="CC0-1.0", creators=["Somebody"], limits=["None."])


def _read_about(folder: Path) -> Any:
    return about.read(folder)


LOADERS = (Loader("about.json", _about, _read_about),)

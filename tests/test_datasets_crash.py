"""SIGKILL while recording: the short version of `benchmarks/data_crash.py`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # the benchmark changes it
    return importlib.import_module("data_crash")


@pytest.mark.parametrize(
    ("number", "filmed"),
    [
        (6, False),
        (4, True),
        pytest.param(100, False, marks=pytest.mark.slow),
        pytest.param(60, True, marks=pytest.mark.slow),
    ],
)
def test_sigkill_at_random_instants_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, filmed: bool
) -> None:
    if filmed:
        pytest.importorskip("av")
    data_crash = benchmark(monkeypatch)
    found = data_crash.trials(tmp_path / "store", number, filmed=filmed)
    assert found["lost"] == found["unopened"] == found["strange"] == 0
    assert found["committed"] >= number // 2 and found["verified"] == found["committed"] + found["unreported"]


def test_a_loss_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that reports before it writes is what the trials are for."""
    data_crash = benchmark(monkeypatch)

    class Hasty(data_crash.Writer):
        def kill(self) -> list[int]:
            return [*super().kill(), 10_000]

    monkeypatch.setattr(data_crash, "Writer", Hasty)
    assert data_crash.trials(tmp_path / "store", 1)["lost"] == 1

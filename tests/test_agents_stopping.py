"""Ctrl-C at the worst moment is Ctrl-C, and no damaged file."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_agents_recording import run

from training_ground.agents.stopping import uninterrupted
from training_ground.datasets import schema
from training_ground.datasets.store import Store


@pytest.fixture(autouse=True)
def ctrl_c_raises() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_what_is_begun_is_finished_and_then_interrupted() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted() as stop:
        done.append(stop.asked)
        ctrl_c()
        done.append(stop.asked)
    assert done == [False, True]
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        ctrl_c()
        raise OSError("Ctrl-C made this, or hides it")
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        ctrl_c()
        ctrl_c()
        done.append("the second interrupts at once")
    assert len(done) == 2
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_who_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted() as stop:
        ctrl_c()
    assert not stop.asked and signal.getsignal(signal.SIGINT) == signal.SIG_IGN


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_while_a_model_is_written_is_no_damaged_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    brief, calls = schema.brief, 0

    def interrupted(*arguments: Any) -> dict[str, Any]:
        nonlocal calls
        calls += bool(told)
        if calls == 1:
            ctrl_c()
        return brief(*arguments)

    told: list[int] = []
    monkeypatch.setattr(schema, "brief", interrupted)
    result = run(tmp_path / "data", range(6), workers=workers, on_episode=lambda number, _: told.append(number))
    assert calls and result.interrupted and not result.complete
    store = Store.open(tmp_path / "data")
    assert store.verify().ok and len(store) >= len(told) >= 1


def test_ctrl_c_while_what_is_there_is_read_is_no_damaged_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "data", range(2))
    metadata, brief = Store.metadata, schema.brief

    def interrupted(store: Store, number: int) -> schema.EpisodeMetadata:
        monkeypatch.setattr(schema, "brief", lambda *arguments: (ctrl_c(), brief(*arguments))[1])
        return metadata(store, number)

    monkeypatch.setattr(Store, "metadata", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "data", range(2))

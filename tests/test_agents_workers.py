"""Worker processes: started from several threads at once, as the smoke test does."""

from __future__ import annotations

import os
import threading
import time
from multiprocessing.connection import Connection

import pytest

from training_ground.agents.workers import THREAD_VARIABLES, Worker, reply, single_threaded_children


def test_threads_that_start_processes_leave_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    inside, most, lock = 0, 0, threading.Lock()

    def start() -> None:
        nonlocal inside, most
        for _ in range(10):
            with single_threaded_children():
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.002)  # the others would come in now
                assert all(os.environ[name] == "1" for name in THREAD_VARIABLES)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and not any(name in os.environ for name in THREAD_VARIABLES)


def tell(connection: Connection) -> None:
    while True:
        connection.recv()
        reply(connection, [os.environ.get(name) for name in THREAD_VARIABLES])


def test_a_worker_has_one_thread() -> None:
    worker = Worker("one", tell)
    worker.send(0)
    assert worker.receive(60.0) == ["1"] * len(THREAD_VARIABLES)
    worker.close()

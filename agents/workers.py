"""Worker processes that cannot hang or orphan the work: a dead, failed or silent one is named.

Imports no torch: a worker that only steps environments stays small and starts fast.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from training_ground.agents.stopping import uninterrupted
from training_ground.configs.errors import AgentError, TrainingGroundError

CONTEXT = multiprocessing.get_context("spawn")
"""Fresh interpreters: a forked copy of a process that holds torch threads or a physics server can deadlock."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_environment = threading.Lock()
"""Held while variables are changed: threads that start processes at once would undo each other's, or a process be
started in the midst of a change, with an environment that is none."""
START_TIMEOUT_S = 120.0
SEND_TIMEOUT_S = 60.0


@contextlib.contextmanager
def single_threaded_children() -> Iterator[None]:
    """Let processes started inside use one BLAS thread each: more fight for the cores that their neighbours need."""
    with _environment:
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class WorkerLost(AgentError):
    """A worker process died, or gave no answer and was ended; what it was asked for may be asked of another."""


class Worker:
    """One process that answers messages in order.

    `serve(connection, *arguments)` runs in it; it answers with `reply`. An exception in it is sent back and raised
    here. It ends when this process closes the pipe or dies, and leaves Ctrl-C to this process.
    """

    def __init__(self, label: str, serve: Callable[..., None], arguments: Sequence[Any] = ()) -> None:
        self.label = label
        self._fate: str | None = None
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_run, args=(serve, theirs, arguments), name=label, daemon=True)
        with single_threaded_children():
            self.process.start()
        theirs.close()

    def send(self, message: Any, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Send a message.

        Raises:
            WorkerLost: The process is dead, or has not taken the message in `timeout_s` seconds (it is killed then).
        """
        # A message larger than the pipe's buffer waits for its reader, which may never come: so a thread waits.
        problems: list[Exception] = []
        writer = threading.Thread(target=self._write, args=(message, problems), daemon=True)
        writer.start()
        writer.join(timeout_s)
        if writer.is_alive():
            raise self._end(f"took no message for {timeout_s:.0f} s")
        if problems:
            raise WorkerLost(self._obituary()) from problems[0]

    def _write(self, message: Any, problems: list[Exception]) -> None:
        try:
            self.connection.send(message)
        except (OSError, TypeError) as problem:  # TypeError: the pipe was closed while it wrote
            problems.append(problem)

    def try_send(self, message: Any, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Send a message; where the process is dead, `receive` will tell."""
        with contextlib.suppress(WorkerLost):
            self.send(message, timeout_s)

    def receive(self, timeout_s: float) -> Any:
        """Return the next answer.

        Raises:
            WorkerLost: The process died, or gave no answer for `timeout_s` seconds (it is killed then).
            AgentError: It failed, and said so.
        """
        ready = multiprocessing.connection.wait([self.connection, self.process.sentinel], timeout_s)
        if not ready:
            raise self._end(f"gave no answer for {max(1.0, timeout_s):.0f} s")
        if self.connection not in ready and not self.connection.poll():
            raise WorkerLost(self._obituary())
        try:
            kind, payload = self.connection.recv()
        except (EOFError, ConnectionError, OSError) as problem:
            raise WorkerLost(self._obituary()) from problem
        if kind == "error":
            raise AgentError(f"{self.label}: {payload}")
        return payload

    def _end(self, reason: str) -> WorkerLost:
        self.process.kill()
        self._fate = f"{self.label} {reason} and was ended"
        return WorkerLost(self._fate)

    def _obituary(self) -> str:
        if self._fate is not None:
            return self._fate
        self.process.join(5.0)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            hint = " (did the system run out of memory?)" if -code == signal.SIGKILL else ""
            return f"{self.label} was ended by {name}{hint}"
        return f"{self.label} died with exit status {code}"

    def close(self, grace_s: float = 5.0) -> None:
        """End the process: it is asked by closing the pipe, then killed."""
        self.connection.close()
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5.0)


def reply(connection: Connection, payload: Any) -> None:
    """Answer from inside a worker."""
    connection.send(("ok", payload))


def _run(serve: Callable[..., None], connection: Connection, arguments: Sequence[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(connection, *arguments)
        return
    except (EOFError, BrokenPipeError, ConnectionError):
        return
    except TrainingGroundError as problem:
        text = str(problem)
    except Exception as problem:
        text = f"{type(problem).__name__}: {problem}\n{traceback.format_exc()}"
    with contextlib.suppress(OSError):
        connection.send(("error", text))


def close_all(workers: Sequence[Worker]) -> None:
    """End several workers together."""
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.connection.close()
    for worker in workers:
        worker.close()


def spread(
    pool: Sequence[Worker],
    seeds: Sequence[int],
    finish: Callable[[Any], None],
    *,
    timeout_s: float,
    greet: Callable[[Any], None] = lambda _: None,
    kind: str = "seed",
) -> None:
    """Hand one seed after the other to whichever process is free, and end the processes.

    Args:
        pool: Each answers once when it is ready, then once a seed.
        seeds: One episode each.
        finish: Called with each answer, in the order in which they come.
        timeout_s: Longest wait for an answer to a seed.
        greet: Called with each process's first answer.
        kind: What the numbers are called in an error.

    Raises:
        AgentError: A process died, failed or gave no answer; the message names its seed.
    """
    waiting = list(reversed(seeds))
    started: dict[int, tuple[float, int]] = {}

    def hand_out(i: int) -> None:
        if waiting:
            started[i] = (time.monotonic(), waiting.pop())
            pool[i].send(started[i][1])

    try:
        for i, worker in enumerate(pool):
            greet(worker.receive(START_TIMEOUT_S))
            hand_out(i)
        while started:
            busy = {pool[i].connection: i for i in started} | {pool[i].process.sentinel: i for i in started}
            oldest = min(started, key=lambda i: started[i][0])
            left = max(0.1, started[oldest][0] + timeout_s - time.monotonic())
            ready = multiprocessing.connection.wait(list(busy), left)  # pyright: ignore[reportArgumentType]
            for i in {busy[source] for source in ready} or {oldest}:  # pyright: ignore[reportArgumentType]
                try:
                    answer = pool[i].receive(0.1)
                except AgentError as problem:
                    raise AgentError(f"{kind} {started[i][1]}: {problem}") from problem
                del started[i]
                with uninterrupted():
                    finish(answer)
                hand_out(i)
    finally:
        close_all(pool)

"""Several things at once, a bounded number of them: transfers as they finish, reads in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from training_ground.configs.errors import DatasetError

T = TypeVar("T")
R = TypeVar("R")


def as_finished(work: Callable[[T], R], jobs: Iterable[T], workers: int) -> Iterator[tuple[T, Future[R]]]:
    """Do all jobs, at most `workers` at once, and yield each with its result as it is done.

    Who stops early (an error, Ctrl-C) waits for those that run, and for no other.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="transfer")
    running: dict[Future[R], T] = {}
    try:
        for job in jobs:
            running[pool.submit(work, job)] = job
            if len(running) >= 2 * workers:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                yield from ((running.pop(future), future) for future in done)
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            yield from ((running.pop(future), future) for future in done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def transferred(work: Callable[[T], object], jobs: Iterable[T], workers: int, failed: str) -> Iterator[T]:
    """Do all jobs as `as_finished`, and yield those that went well.

    Raises:
        DatasetError: Some did not, said after all were tried; `failed` says what became of them.
    """
    problems = []
    for job, future in as_finished(work, jobs, workers):
        problem = future.exception()
        if problem is None:
            yield job
        elif isinstance(problem, DatasetError):
            problems.append(problem)
        else:
            raise problem
    if problems:
        raise DatasetError(f"{len(problems)} files were {failed}: {problems[0]}")


def in_order(work: Callable[[T], R], jobs: Iterable[tuple[T, int]], workers: int, budget: int) -> Iterator[R]:
    """Do jobs ahead of whoever takes the results, in order.

    Args:
        work: What to do.
        jobs: Each with its weight.
        workers: Most that are done at once, or wait to be taken.
        budget: Most weight that is at work or waits; a job that is heavier than that runs alone.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-ahead")
    ahead: deque[tuple[Future[R], int]] = deque()
    try:
        for job, weight in jobs:
            while ahead and (len(ahead) >= workers or sum(w for _, w in ahead) + weight > budget):
                yield ahead.popleft()[0].result()
            ahead.append((pool.submit(work, job), weight))
        while ahead:
            yield ahead.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

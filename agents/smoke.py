"""A short test of environments: random actions, all finite, inside the declared spaces, and the same bits again."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from training_ground.agents.workers import Worker, reply
from training_ground.configs.errors import AgentError, TrainingGroundError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make, task

CONTROLS = ("joint_position", "joint_delta", "joint_torque")
ITEM_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class SmokeItem:
    """One work item: an environment, its keyword arguments, a seed and the control steps of each rollout."""

    env_id: str
    kwargs: dict[str, Any]
    seed: int = 0
    steps: int = 40


@dataclass(frozen=True)
class SmokeResult:
    """What came of an item.

    Attributes:
        item: The item.
        problem: What is wrong, as a sentence; None where nothing is.
        steps: Control steps that were simulated.
        episodes: Episodes that were started.
        seconds: Wall time, s.
    """

    item: SmokeItem
    problem: str | None
    steps: int
    episodes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class Fault(Exception):
    """Something that an environment must not do."""


def check_item(item: SmokeItem) -> SmokeResult:
    """Run one item in this process; whatever goes wrong becomes its `problem`."""
    start = time.monotonic()
    steps = episodes = 0
    problem = None
    try:
        balanced = item.kwargs.get("stance") == "free" and task(item.env_id).balanced
        for control in CONTROLS[: 2 if balanced else 3]:  # a policy that drives legs gives targets, not torques
            env = make(item.env_id, **{**item.kwargs, "control": control})
            try:
                first, count = _rollout(env, item)
                again, _ = _rollout(env, item)
            finally:
                env.close()
            steps, episodes = steps + 2 * item.steps, episodes + 2 * count
            if first != again:
                step = next(i for i, (a, b) in enumerate(zip(first, again, strict=False)) if a != b)
                raise Fault(f"{control}: the same seed and actions gave other numbers, first at record {step}")
    except (Fault, TrainingGroundError) as found:
        problem = str(found)
    except Exception as found:  # a fault of ours: the other items still run
        problem = f"{type(found).__name__}: {found}"
    return SmokeResult(item, problem, steps, episodes, time.monotonic() - start)


def _rollout(env: HumanoidEnv, item: SmokeItem) -> tuple[list[bytes], int]:
    """Step with random actions, starting anew where an episode ends.

    Returns:
        A digest of each observation and of each reward, in order, and the number of episodes.
    """
    generator = np.random.default_rng(item.seed)
    record: list[bytes] = []
    episodes, ended = 0, True
    for step in range(item.steps):
        if ended:
            observation, _ = env.reset(seed=item.seed + episodes)
            episodes += 1
            record.append(_digest(env, observation, step))
        action = generator.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        record.append(_digest(env, observation, step))
        total = sum(info["reward_terms"].values())
        if not np.isclose(total, reward, rtol=1e-6, atol=1e-9):
            raise Fault(f"step {step}: the reward is {reward}, its terms sum to {total}")
        record.append(np.float64(reward).tobytes())
        ended = terminated or truncated
    for name, value in env.frame().items():
        if not np.isfinite(value).all():
            raise Fault(f"channel '{name}' is not finite")
    return record, episodes


def _digest(env: HumanoidEnv, observation: Any, step: int) -> bytes:
    if not np.isfinite(observation).all():
        raise Fault(f"step {step}: the observation is not finite")
    if not env.observation_space.contains(observation):
        raise Fault(f"step {step}: the observation is outside the observation space")
    return hashlib.sha256(np.ascontiguousarray(observation).tobytes()).digest()


def run_items(
    items: Sequence[SmokeItem], processes: int, done: Callable[[SmokeResult], None] = lambda result: None
) -> list[SmokeResult]:
    """Run items in processes of their own: one that crashes the interpreter is a failed item, not the end.

    Args:
        items: What to run.
        processes: Most processes at once.
        done: Called with each result, from several threads, one at a time.

    Returns:
        Results in the order in which they came.
    """
    waiting: queue.SimpleQueue[SmokeItem] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    results: list[SmokeResult] = []
    lock, stop = threading.Lock(), threading.Event()

    def work(label: str) -> None:
        worker: Worker | None = None
        try:
            while not stop.is_set():
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    return
                worker = worker or Worker(label, _serve)
                result, alive = _ask(worker, item)
                if not alive:
                    worker.close(0.0)
                    worker = None
                with lock:
                    if not stop.is_set():
                        results.append(result)
                        done(result)
        finally:
            if worker is not None:
                worker.close()

    threads = [threading.Thread(target=work, args=(f"smoke {i}",), daemon=True) for i in range(max(1, processes))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    finally:
        with lock:  # nothing is reported after an interrupt has been answered
            stop.set()
    return results


def _ask(worker: Worker, item: SmokeItem) -> tuple[SmokeResult, bool]:
    """Have a worker run one item; the second value tells whether the worker is still of use."""
    start = time.monotonic()
    try:
        worker.send(item)
        return worker.receive(ITEM_TIMEOUT_S), True
    except AgentError as problem:
        return SmokeResult(item, str(problem), 0, 0, time.monotonic() - start), False


def _serve(connection: Connection) -> None:
    while True:
        reply(connection, check_item(connection.recv()))

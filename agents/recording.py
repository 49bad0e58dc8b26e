"""Record episodes of a policy into a store: one work item a seed, resumed where it was interrupted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium

from training_ground.agents.episodes import MAX_STEPS
from training_ground.agents.policy import Policy
from training_ground.agents.stepping import make_env
from training_ground.agents.stopping import uninterrupted
from training_ground.agents.workers import Worker, reply, spread
from training_ground.configs.errors import AgentError, DatasetError
from training_ground.datasets.checking import episode_key
from training_ground.datasets.provenance import describe, make_kwargs
from training_ground.datasets.recorder import Recorder, open_or_create
from training_ground.datasets.schema import EpisodeMetadata, PolicyInfo
from training_ground.datasets.store import Store

MakeEnv = Callable[[str, dict[str, Any]], gymnasium.Env[Any, Any]]

EPISODE_TIMEOUT_S = 3600.0


@dataclass
class Recording:
    """What a recording did.

    Attributes:
        path: The store.
        requested: Seeds asked for.
        present: Seeds that were in the store before.
        episodes: Number and metadata of each episode written now.
        recovered: What a killed run had left behind and was cleared away.
        seconds: Wall-clock time, s.
        interrupted: Whether Ctrl-C ended it early.
    """

    path: Path
    requested: int
    present: int = 0
    episodes: list[tuple[int, EpisodeMetadata]] = field(default_factory=list)
    recovered: tuple[str, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every seed that was asked for is in the store."""
        return self.present + len(self.episodes) == self.requested

    def to_json(self) -> dict[str, Any]:
        """Return a summary as plain data."""
        steps = sum(m.length for _, m in self.episodes)
        return {
            "path": str(self.path),
            "requested": self.requested,
            "present": self.present,
            "recorded": [number for number, _ in self.episodes],
            "complete": self.complete,
            "interrupted": self.interrupted,
            "successes": sum(bool(m.success) for _, m in self.episodes),
            "failures": dict(Counter(m.failure for _, m in self.episodes if m.failure)),
            "steps": steps,
            "seconds": round(self.seconds, 3),
            "steps_per_second": round(steps / self.seconds, 1) if self.seconds > 0 else None,
            "recovered": list(self.recovered),
        }


def record(
    policy: Policy,
    env_id: str,
    kwargs: dict[str, Any],
    seeds: Sequence[int],
    path: Path,
    *,
    workers: int = 1,
    on_start: Callable[[Recording], None] | None = None,
    on_episode: Callable[[int, EpisodeMetadata], None] | None = None,
    make: MakeEnv = make_env,
    pictures: str = "lossless",
) -> Recording:
    """Record one episode a seed; seeds that the store has already, with this policy and configuration, are left out.

    A kill or Ctrl-C at any instant loses only the episodes that were running: call it again with the same arguments.

    Args:
        policy: Who acts; checked against the environment first.
        env_id, kwargs: The environment.
        seeds: One episode each.
        path: A store, or a folder that does not exist or is empty.
        workers: Processes; 1 runs in this one.
        on_start: Called before the first episode, with what was there already.
        on_episode: Called with number and metadata of each episode after it is on the disk.
        make: Makes the environment; a worker process must be able to import it.
        pictures: How a new store keeps pictures, one of `datasets.recorder.PICTURES`; an old one goes on as it is.

    Raises:
        DatasetError: The store holds something else, or cannot be written.
        AgentError: The policy does not fit, or a worker died.
        SimulationError: The environment refuses its arguments.
    """
    if workers < 1:
        raise AgentError(f"workers = {workers}: 1 (this process) or more")
    if len(set(seeds)) != len(seeds):
        raise AgentError("a seed stands twice: each episode needs its own")
    begin = time.monotonic()
    info = policy_info(policy)
    with closing(make(env_id, kwargs)) as env:
        env.reset(seed=0)
        policy.reset(env)
        store = open_or_create(path, env, pictures)
        present = recorded_seeds(store, env, info)
        missing = [seed for seed in seeds if seed not in present]
        result = Recording(path, len(seeds), len(seeds) - len(missing), recovered=store.recovered)
        if on_start is not None:
            on_start(result)

        def finish(number: int) -> None:
            metadata = store.metadata(number)
            result.episodes.append((number, metadata))
            result.seconds = time.monotonic() - begin
            if on_episode is not None:
                on_episode(number, metadata)

        try:
            if min(workers, len(missing)) <= 1:
                recorder = Recorder(env, store, policy=info)
                for seed in missing:
                    with uninterrupted() as stop:
                        finish(run(recorder, policy, seed, lambda stop=stop: stop.asked))
            else:
                arguments = (policy, env_id, kwargs, str(path), make)
                count = min(workers, len(missing))
                pool = [Worker(f"recording worker {i}", serve_recording, arguments) for i in range(count)]
                spread(pool, missing, finish, timeout_s=EPISODE_TIMEOUT_S)
        except KeyboardInterrupt:
            result.interrupted = True
    return result


def policy_info(policy: Policy) -> PolicyInfo:
    """Return how episodes name a policy."""
    return PolicyInfo(name=policy.name, hash=getattr(policy, "hash", None))


def run(recorder: Recorder, policy: Policy, seed: int, stop: Callable[[], bool] = lambda: False) -> int:
    """Record one episode and return its number in the store.

    Args:
        recorder: Wraps the environment.
        policy: Who acts.
        seed: Of the episode.
        stop: Asked after every step; the episode is dropped where it says yes.

    Raises:
        EOFError: `stop` said yes.
    """
    observation, _ = recorder.reset(seed=seed)
    policy.reset(recorder)
    written = len(recorder.written)
    for _ in range(MAX_STEPS):
        observation, *_ = recorder.step(policy.act(observation))
        if len(recorder.written) > written:
            return recorder.written[-1]
        if stop():
            raise EOFError("the process that asked for this episode is gone")
    raise AgentError(f"seed {seed}: no end after {MAX_STEPS} steps; give the environment a time limit")


def recorded_seeds(
    store: Store, env: gymnasium.Env[Any, Any], policy: PolicyInfo, *, complete: bool = True
) -> set[int]:
    """Return the seeds of which the store has an episode of this policy in this environment, a complete one if asked.

    Raises:
        DatasetError: An episode is damaged.
    """
    description = describe(env)
    kwargs, env_id = make_kwargs(description), str(description.get("env_id", ""))
    seeds: set[int] = set()
    for number in store.episodes():
        try:
            with uninterrupted():
                metadata = store.metadata(number)
        except DatasetError as problem:
            raise DatasetError(f"{problem}; delete that file to record its episode again") from problem
        wanted = episode_key(env_id, kwargs, metadata.seed, policy.name, policy.hash)
        found = (metadata.env_id, metadata.kwargs, metadata.seed, metadata.policy.name, metadata.policy.hash)
        if (metadata.complete or not complete) and episode_key(*found) == wanted:
            seeds.add(metadata.seed)
    return seeds


def serve_recording(
    connection: Connection, policy: Policy, env_id: str, kwargs: dict[str, Any], path: str, make: MakeEnv
) -> None:
    """Record the seeds that are asked for until the pipe closes, in the middle of an episode if need be."""
    recorder = Recorder(make(env_id, kwargs), Store.open(path), policy=policy_info(policy))
    reply(connection, None)
    while True:
        # Nothing is sent while an episode runs: a pipe that can be read then has been closed by the other end.
        reply(connection, run(recorder, policy, connection.recv(), stop=connection.poll))

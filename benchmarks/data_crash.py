"""SIGKILL while recording: real recorder, real files, one writer or two at once, killed at random instants.

After each kill the store is opened as anybody would open it. Every episode whose number a writer had reported must be
there and read back by its hashes; of those that were not reported yet, one a writer may be there. All trials share one
store, so that each also appends to what the last one left. `--quick` makes 20 trials; `--trials N` as many as wanted.

A process is killed, not the machine: that what was flushed survives a power cut is the disk's word, not tested here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from _measure import report, summary, target

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import encode
from training_ground.datasets.provenance import code_commit, make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.envs.channels import Channel

STEPS = 50
LONGEST_S = 0.05
"""Longest wait before a kill, after a writer has begun and reported 0 to 2 episodes."""
PATIENCE_S = 300.0
code_commit()  # once, in the process that all writers are forked from
FEW, TRIALS = 20, 500


class Signals(gymnasium.Env[Any, Any]):
    """100 numbers that follow from the seed, and 29 of action: an episode of the size of a G1's."""

    channels = (
        Channel("state", (100,), "1", "none", "observation", "Numbers."),
        Channel("action", (29,), "1", "joint", "action", "Action."),
    )
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (100,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (29,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count, self.action = 0, np.zeros(29, np.float32)
        self.state = self.np_random.normal(size=100).astype(np.float32)
        return self.state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count, self.action = self.count + 1, action
        self.state = self.state + self.np_random.normal(size=100).astype(np.float32)
        return self.state, 0.0, False, self.count >= STEPS, {"success": True}

    def frame(self) -> dict[str, Any]:
        return {"state": self.state, "action": self.action}

    def describe(self) -> dict[str, Any]:
        return {
            "env_id": "TrainingGround/Signals-v0",
            "options": {},
            "robot": "none",
            "model_hash": "00" * 32,
            "joint_names": [],
            "control_rate": 50.0,
        }


def write(path: Path, first: int, reports: Connection) -> None:
    """Record episode after episode, and report each one's number once the recorder says that it is written."""
    action = np.zeros(29, np.float32)
    warm = Recorder(Signals(), None)  # what is loaded late is loaded now: the kill shall meet work
    warm.reset(seed=0)
    while warm.episode is None:
        warm.step(action)
    encode(warm.episode, warm.schema)
    recorder = Recorder(Signals(), Store.open(path), policy="random")
    reports.send_bytes(b"begun")
    for told in range(1_000_000):
        recorder.reset(seed=first + told)
        while len(recorder.written) == told:
            recorder.step(action)
        reports.send_bytes(str(recorder.written[-1]).encode())


class Writer:
    """A process that records until it is killed."""

    def __init__(self, context: Any, path: Path, first: int) -> None:
        self._reports, other = context.Pipe(duplex=False)
        self._promised: list[int] = []
        self._process = context.Process(target=write, args=(path, first, other), daemon=True)
        self._process.start()
        other.close()

    def wait(self) -> None:
        """Wait for a report."""
        if not self._reports.poll(PATIENCE_S):
            raise SystemExit("a writer has stalled")
        said = self._reports.recv_bytes()
        if said != b"begun":
            self._promised.append(int(said))

    def kill(self) -> list[int]:
        """Kill it and return the numbers that it reported."""
        pid = self._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self._process.join()
        try:
            while True:
                self.wait()
        except (EOFError, OSError):
            return self._promised  # a report that was cut in two was never made


def trials(path: Path, number: int, seed: int = 0) -> dict[str, Any]:
    """Kill writers at random instants and look at what is left.

    Returns:
        Counts: `lost` episodes that were reported and are not there or do not read, `unopened` stores, `unreported`
        episodes that are there although the kill came before the report, `recovered` leftovers that were cleared away.
    """
    context = multiprocessing.get_context("forkserver")
    # Writers are forked from a process that has imported all they need; it finds this file by the environment.
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    context.set_forkserver_preload(["data_crash"])
    generator = np.random.default_rng(seed)
    Store.create(path, make_schema(Signals()))
    counts = {"trials": 0, "committed": 0, "lost": 0, "unopened": 0, "unreported": 0, "recovered": 0, "strange": 0}
    example, opening, known = "", [], set[int]()
    try:
        for trial in range(number):
            first = 20_000_000 * trial
            writers = [Writer(context, path, first + 10_000_000 * i) for i in range(1 + trial % 2)]
            promised = _kill(writers, generator)
            start = time.perf_counter()
            try:
                store = Store.open(path)
                there = set(store.episodes())
            except DatasetError:
                counts["unopened"] += 1
                continue
            finally:
                counts["trials"] += 1
            opening.append(time.perf_counter() - start)
            unread = {n for n in there - known if not _reads(store, n)}
            counts["committed"] += len(promised)
            counts["lost"] += len((promised | known) - there) + len(unread)
            counts["unreported"] += len(there - known - promised)
            counts["strange"] += max(0, len(there - known - promised) - len(writers)) + len(list(path.rglob(".tmp-*")))
            counts["recovered"] += len(store.recovered)
            example = example or " ".join(store.recovered)
            known |= there
    except KeyboardInterrupt:
        print(f"interrupted after {counts['trials']} trials", file=sys.stderr)
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
    checked = Store.open(path).verify()
    counts["lost"] += len(checked.problems)
    return {
        **counts,
        "verified": checked.episodes,
        "said": example,
        "open_ms": summary(opening, 1e3) if opening else None,
    }


def _kill(writers: list[Writer], generator: np.random.Generator) -> set[int]:
    """Let writers report a few episodes, kill them a random while later, and return what they reported."""
    for writer in writers:
        for _ in range(1 + int(generator.integers(3))):
            writer.wait()
    time.sleep(float(generator.uniform(0, LONGEST_S)))
    return {number for writer in writers for number in writer.kill()}


def _reads(store: Store, number: int) -> bool:
    try:
        return store.read(number).length == STEPS
    except DatasetError:
        return False


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{FEW} trials")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = trials(Path(folder) / "store", FEW if given.quick else given.trials, given.seed)
    targets = [
        target("committed episodes lost", found["lost"], "episodes", at_most=0),
        target("stores that did not open", found["unopened"], "stores", at_most=0),
        target("leftovers, or more episodes than writers", found["strange"], "files", at_most=0),
        target("episodes committed before the kills", found["committed"], "episodes", at_least=found["trials"] // 2),
    ]
    return report({"targets": targets, **found})


if __name__ == "__main__":
    sys.exit(0 if all(t["met"] for t in main()["targets"]) else 1)

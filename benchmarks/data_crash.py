"""SIGKILL while recording: real recorder, real files, one writer or two at once, killed at random instants.

After each kill the store is opened as anybody would open it, of two writers also while the other one goes on. Every
episode whose number a writer had reported must be there and read back by its hashes; of those that were not reported
yet, one a writer may be there. With `--pictures` episodes have videos beside them, one of which all of them share: each
must decode to what was recorded, and no file may be left that no episode names. All trials share one store, so that
each also appends to what the last one left. `--quick` makes 20 trials; `--trials N` as many as wanted.

Half the kills come at any instant of an episode, half about its end, when files are named.

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
from training_ground.datasets import media
from training_ground.datasets.episode_file import encode
from training_ground.datasets.frames import Frames
from training_ground.datasets.provenance import code_commit, make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.datasets.video_schema import VideoStorage
from training_ground.envs.channels import Channel

STEPS = 50
SIZE = (24, 32)
DEPTH = VideoStorage(codec="ffv1", keyframe_interval=1, depth_step=0.001)
FIRST_S = 0.05
"""What an episode is taken to last until one was seen to, s."""
PATIENCE_S = 300.0
code_commit()  # once, in the process that all writers are forked from
FEW, TRIALS = 20, 500


class Signals(gymnasium.Env[Any, Any]):
    """100 numbers that follow from the seed, and 29 of action: an episode of the size of a G1's."""

    channels = (
        Channel("state", (100,), "1", "none", "observation", "Numbers."),
        Channel("action", (29,), "1", "joint", "action", "Action."),
    )
    pictures = (
        Channel("camera", (*SIZE, 3), "1", "none", "picture", "Pictures.", dtype="uint8"),
        Channel("camera_still", (*SIZE, 3), "1", "none", "picture", "The same in every episode.", dtype="uint8"),
        Channel("depth", SIZE, "m", "none", "state", "Depth."),
    )
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (100,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (29,), np.float32)

    def __init__(self, filmed: bool = False) -> None:
        self.filmed = filmed
        if filmed:
            self.channels = (*self.channels, *self.pictures)

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
        values = {"state": self.state, "action": self.action}
        if not self.filmed:
            return values
        noise = (np.resize(self.state, SIZE) * 40).astype(np.uint8)
        still = np.full((*SIZE, 3), self.count, np.uint8)
        depth = 1 + np.abs(np.resize(self.state, SIZE))
        return {**values, "camera": np.stack([noise] * 3, axis=-1), "camera_still": still, "depth": depth}

    def describe(self) -> dict[str, Any]:
        return {
            "env_id": "TrainingGround/Signals-v0",
            "options": {},
            "robot": "none",
            "model_hash": "00" * 32,
            "joint_names": [],
            "control_rate": 50.0,
        }


def write(path: Path, first: int, filmed: bool, reports: Connection) -> None:
    """Record episode after episode, and report each one's number once the recorder says that it is written."""
    action = np.zeros(29, np.float32)
    warm = Recorder(Signals(filmed), None)  # what is loaded late is loaded now: the kill shall meet work
    warm.reset(seed=0)
    while warm.episode is None:
        warm.step(action)
    encode(warm.episode, warm.schema)
    recorder = Recorder(Signals(filmed), Store.open(path), policy="random")
    reports.send_bytes(b"begun")
    for told in range(1_000_000):
        recorder.reset(seed=first + told)
        while len(recorder.written) == told:
            recorder.step(action)
        reports.send_bytes(str(recorder.written[-1]).encode())


class Writer:
    """A process that records until it is killed."""

    def __init__(self, context: Any, path: Path, first: int, filmed: bool) -> None:
        self._reports, other = context.Pipe(duplex=False)
        self._promised: list[int] = []
        self.episode_s, self._told = FIRST_S, 0.0
        self._process = context.Process(target=write, args=(path, first, filmed, other), daemon=True)
        self._process.start()
        other.close()

    def wait(self) -> None:
        """Wait for a report."""
        if not self._reports.poll(PATIENCE_S):
            raise SystemExit("a writer has stalled")
        said = self._reports.recv_bytes()
        before, self._told = self._told, time.perf_counter()
        if said != b"begun":
            self._promised.append(int(said))
            self.episode_s = self._told - before

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


def trials(path: Path, number: int, seed: int = 0, filmed: bool = False) -> dict[str, Any]:
    """Kill writers at random instants and look at what is left.

    Returns:
        Counts: `lost` episodes that were reported and are not there or do not read, `unopened` stores, `unreported`
        episodes that are there although the kill came before the report, `recovered` leftovers that were cleared away,
        `beside` those of them that were while another writer went on, `strange` files that nobody needs.
    """
    context = multiprocessing.get_context("forkserver")
    # Writers are forked from a process that has imported all they need; it finds this file by the environment.
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    context.set_forkserver_preload(["data_crash", *(["av"] if filmed else [])])
    generator = np.random.default_rng(seed)
    Store.create(path, make_schema(Signals(filmed), {"depth": DEPTH} if filmed else None))
    names = ("trials", "committed", "lost", "unopened", "unreported", "recovered", "beside", "strange")
    counts, said, opening, known = dict.fromkeys(names, 0), set[str](), [], set[int]()
    try:
        for trial in range(number):
            first = 20_000_000 * trial
            writers = [Writer(context, path, first + 10_000_000 * i, filmed) for i in range(1 + trial % 2)]
            promised, beside = _kill(writers, generator, path)
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
            counts["strange"] += len(set(media.names(path)) - store.media_names())
            counts["recovered"] += len(beside) + len(store.recovered)
            counts["beside"] += len(beside)
            said |= {line.partition(": ")[2] for line in (*beside, *store.recovered)}
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
        "said": sorted(said),
        "open_ms": summary(opening, 1e3) if opening else None,
    }


def _kill(writers: list[Writer], generator: np.random.Generator, path: Path) -> tuple[set[int], tuple[str, ...]]:
    """Let writers report a few episodes and kill one after the other, each a random while later.

    Returns:
        What they reported; and what was cleared away when the store was opened while the last one went on.
    """
    for writer in writers:
        for _ in range(1 + int(generator.integers(3))):
            writer.wait()
    promised, beside = set[int](), ()
    for writer in writers:
        part = generator.uniform(0, 1) if generator.random() < 0.5 else generator.normal(0.98, 0.05)
        time.sleep(max(0.0, float(part)) * writer.episode_s)
        promised |= set(writer.kill())
        if writer is not writers[-1]:
            beside = Store.open(path).recovered
    return promised, beside


def _reads(store: Store, number: int) -> bool:
    try:
        episode = store.read(number)
        for values in episode.columns.values():
            if isinstance(values, Frames):
                values.check()
    except DatasetError:
        return False
    return episode.length == STEPS


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{FEW} trials")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--pictures", action="store_true", help="with two cameras and depth")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = trials(Path(folder) / "store", FEW if given.quick else given.trials, given.seed, given.pictures)
    targets = [
        target("committed episodes lost", found["lost"], "episodes", at_most=0),
        target("stores that did not open", found["unopened"], "stores", at_most=0),
        target("files that nobody needs, or more episodes than writers", found["strange"], "files", at_most=0),
        target("episodes committed before the kills", found["committed"], "episodes", at_least=found["trials"] // 2),
    ]
    return report({"targets": targets, "pictures": given.pictures, **found})


if __name__ == "__main__":
    sys.exit(0 if all(t["met"] for t in main()["targets"]) else 1)

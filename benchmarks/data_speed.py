"""Writing, random windows and size of a dataset of states, against Minari and LeRobot in the same run.

    python benchmarks/data_speed.py --peer-python minari=PATH --peer-python lerobot=PATH

The peers run in environments of their own: PATH is the Python of one that has minari 0.5.4 or lerobot 0.4.4 (`make
lerobot` makes `.venv-lerobot/bin/python`). One that is not given is absent, and a target that needs it is not met. All
take turns. Rates are of CPU time; on the wall clock our writing also waits for the disk, twice an episode, because it
does not return before an episode is safe, and the peers' does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _data_made import ACTED, OBSERVED, RATE, WINDOW, timed, trajectory
from _measure import median_ratio, report, summary, target

from training_ground.datasets.array_build import refresh
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.schema import ChannelSchema, DatasetSchema, EpisodeMetadata, PolicyInfo
from training_ground.datasets.store import Store
from training_ground.datasets.windows import Batches, Windows

HASH = "ab" * 32
BATCH = 256
PEERS = ("minari", "lerobot")


def make_schema() -> DatasetSchema:
    """An observation of 100 and an action of 29."""
    joints = tuple(f"joint_{i}" for i in range(ACTED))
    about: dict[str, Any] = {"unit": "rad", "frame": "joint", "description": "Made up."}
    channels = (
        ChannelSchema(name="observation", shape=(OBSERVED,), role="observation", **about),
        ChannelSchema(name="action", shape=(ACTED,), role="action", components=joints, **about),
    )
    return DatasetSchema(
        robot="made_up",
        model_hash=HASH,
        joint_names=joints,
        control_rate=RATE,
        channels=channels,
        environment={},
        created_ns=0,
    )


def make_episode(seed: int) -> Episode:
    """The same trajectory that the peers write."""
    observation, action = trajectory(seed)
    rows = len(observation)
    columns: dict[str, Any] = {
        "timestamp_ns": np.arange(rows) * (1_000_000_000 // RATE),
        "is_last": np.arange(rows) == rows - 1,
        "phase": np.full(rows, "", object),
        "reward": np.zeros(rows),
        "observation": observation,
        "action": np.concatenate([action, np.zeros((1, ACTED), np.float32)]),
    }
    metadata = EpisodeMetadata(
        env_id="made_up",
        kwargs={},
        seed=seed,
        policy=PolicyInfo(name="made_up"),
        length=rows - 1,
        terminated=False,
        truncated=True,
        robot="made_up",
        model_hash=HASH,
        config_hash=HASH,
        schema_sha256=HASH,
        started_ns=0,
        ended_ns=0,
    )
    return Episode(metadata, columns)


class Ours:
    """Our side; answers what a peer answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, 0
        self.store: Store | None = None
        self.windows_of: Windows | None = None

    def ask(self, what: str, number: int) -> Any:
        """Do what a peer is asked for on a line of its input."""
        return getattr(self, what)(number)

    def write(self, episodes: int) -> dict[str, float]:
        """Frames a second into a new store, every episode safe on the disk before the next one is taken."""
        ready = [make_episode(seed) for seed in range(episodes)]
        self.made += 1
        self.store = store = Store.create(self.folder / str(self.made), make_schema())
        return timed(lambda: sum(ready[store.append(episode)].length for episode in ready))

    def extend(self, episodes: int) -> dict[str, float]:
        """The same with `Store.extend`: the disk works while the next episode is encoded."""
        ready = [make_episode(seed) for seed in range(episodes)]
        self.made += 1
        store = Store.create(self.folder / str(self.made), make_schema())
        return timed(lambda: sum(ready[number].length for number in store.extend(ready)))

    def build(self, _: int) -> dict[str, float]:
        """Frames a second of making the training view, the episodes' hashes checked."""
        store = self.store
        assert store is not None
        found = timed(lambda: int(refresh(store).starts[-1]))
        span = range(WINDOW)
        self.windows_of = Windows(refresh(store), {"observation": span, "action": span}, padding=False)
        return found

    def windows(self, count: int) -> dict[str, float]:
        """Random windows a second, in batches."""
        chosen = np.resize(np.concatenate(list(Batches(self._windows(), BATCH, seed=self.made))), count)

        def call() -> int:
            for at in range(0, count, BATCH):
                assert self._windows()[chosen[at : at + BATCH]]["observation"].shape[1:] == (WINDOW, OBSERVED)
            return count

        return timed(call)

    def single(self, count: int) -> dict[str, float]:
        """The same, one by one, as the peers hand them out."""
        windows = self._windows()
        chosen = np.random.default_rng(self.made).integers(len(windows), size=count).tolist()
        return timed(lambda: sum(windows[index]["action"].shape[0] for index in chosen) // WINDOW)

    def size(self, _: int) -> float:
        """Bytes a frame of the archive."""
        assert self.store is not None
        sizes = [self.store.file(number).stat().st_size for number in self.store.episodes()]
        return sum(sizes) / sum(self.store.metadata(number).length for number in self.store.episodes())

    def _windows(self) -> Windows:
        assert self.windows_of is not None
        return self.windows_of


class Peer:
    """Another library in its own Python."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        folder.mkdir()
        script = Path(__file__).parent / f"_data_peer_{name}.py"
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        command = [python, "-W", "ignore", str(script), str(folder)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def ask(self, what: str, number: int) -> Any:
        """Have it done, and return what it says."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{what} {number}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with status {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def take_turns(askers: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Name → clock → rates, all of a round next to each other."""
    found: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in askers}
    for count in range(rounds):
        for name in list(askers) if count % 2 else reversed(askers):
            for clock, rate in askers[name]().items():
                found[name][clock].append(rate)
    return found


def rows(written: Any, read: Any, size: float) -> list[dict[str, Any]]:
    """The targets; a peer that is absent has no ratio.

    Minari takes all episodes in one call, so it is held against `Store.extend`, on the clock: both write many at once.
    """
    ours = {"write": written["ours"]["cpu"], "windows": read["ours"]["cpu"]}
    theirs = {"write": written, "windows": read}

    def ratio(what: str, peer: str) -> float | None:
        found = theirs[what].get(peer)
        return median_ratio(ours[what], found["cpu"]) if found else None

    minari = written.get("minari")
    many = median_ratio(written["ours, extend"]["wall"], minari["wall"]) if minari else None
    found = [
        target("write, 100 + 29 float32", float(np.median(ours["write"])), "frames/s", at_least=100_000),
        target("write many at once ÷ Minari 0.5.4 hdf5", many, "", at_least=1),
        target("write ÷ LeRobot 0.4.4", ratio("write", "lerobot"), "", at_least=50),
        target("random 16-frame windows", float(np.median(ours["windows"])), "/s", at_least=20_000),
        target("windows ÷ Minari 0.5.4 hdf5", ratio("windows", "minari"), "", at_least=50),
        target("windows ÷ LeRobot 0.4.4", ratio("windows", "lerobot"), "", at_least=100),
        target("archive", size, "B/frame", at_most=455),
    ]
    return found


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller repetitions")
    parser.add_argument("--peer-python", action="append", default=[], metavar="NAME=PATH", help="minari or lerobot")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder of the system otherwise")
    given = parser.parse_args(argv)
    peers = dict(item.partition("=")[::2] for item in given.peer_python)
    if set(peers) - set(PEERS):
        parser.error(f"--peer-python: known are {', '.join(PEERS)}")
    rounds = 3 if given.quick else 7
    short = given.quick
    episodes = {"ours": 20, "minari": 20, "lerobot": 1} if short else {"ours": 200, "minari": 200, "lerobot": 4}
    windows = {"ours": 20_000} | dict.fromkeys(PEERS, 60 if short else 500)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        ours = Ours(folder / "ours")
        sides: dict[str, Any] = {"ours": ours} | {n: Peer(n, path, folder / n) for n, path in peers.items()}

        def asking(what: str, numbers: dict[str, int]) -> dict[str, Callable[[], dict[str, float]]]:
            return {n: lambda side=side, n=n: side.ask(what, numbers[n]) for n, side in sides.items()}

        many = {"ours, extend": lambda: ours.extend(episodes["ours"])}
        written = take_turns(asking("write", episodes) | many, rounds)
        built = ours.build(0)
        read = take_turns(asking("windows", windows) | {"ours, one by one": lambda: ours.single(2000)}, rounds)
        sizes = {n: side.ask("size", 0) for n, side in sides.items()}
        for peer in peers:
            sides[peer].close()
    return report(
        {
            "targets": rows(written, read, sizes["ours"]),
            "absent": [name for name in PEERS if name not in peers],
            "write_frames_per_second": _summaries(written),
            "view_built_frames_per_second": built,
            "windows_per_second": _summaries(read),
            "bytes_per_frame": sizes,
        }
    )


def _summaries(found: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    return {name: {clock: summary(rates) for clock, rates in clocks.items()} for name, clocks in found.items()}


if __name__ == "__main__":
    main(sys.argv[1:])

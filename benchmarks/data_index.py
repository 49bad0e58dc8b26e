"""Open a store of 100,000 episodes and query it (5,000 with --quick): index, labels in force, SQL, memory, append.

The episodes are small files whose metadata differ: one encoded episode a kind, with seed, content hash and times put
in and sealed anew. Memory is that of a fresh process that opens and queries, beyond what the imports took.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import clock, quick, report, seconds, summary, target

from training_ground.datasets import episode_file
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label
from training_ground.datasets.query import query, sql
from training_ground.datasets.schema import ChannelSchema, DatasetSchema, EpisodeMetadata, PolicyInfo
from training_ground.datasets.split import assign, new
from training_ground.datasets.store import Store

SEED, STAMP, CONTENT = 1_000_000, 1_800_000_000_000_000_000, "c0" * 32
QUESTIONS = {
    "condition": "success and seed < 1000100 and task = 'BinPick'",
    "label": "not success and success_recorded and quality = 'fail'",
    "json": "kwargs->>'tier' = 'tight' and seed < 1000100",
    "whole": "select * from episodes where seed < 1001000",
    "group by": "select tier, policy, avg(success::int), sum(seconds) from episodes group by all",
}
MEASURE_MEMORY = """
import re, sys
import duckdb, pyarrow.compute, pyarrow.parquet
from training_ground.datasets.index import Index
from training_ground.datasets.query import query
from training_ground.datasets.store import Store
def peak():  # kB, since this program began
    return int(re.search(r"VmHWM:[^0-9]*([0-9]+)", open("/proc/self/status").read())[1])
before = peak()
index = Index.open(Store.open(sys.argv[1]))
query(index, "success and seed < 1000100")
print((peak() - before) / 1024)
"""


def schema() -> DatasetSchema:
    """Return the schema of a robot with seven joints."""
    joints = tuple(f"joint_{i}" for i in range(7))
    texts: dict[str, Any] = {"unit": "rad", "frame": "joint", "description": "A channel.", "components": joints}
    return DatasetSchema(
        robot="arm",
        model_hash="ab" * 32,
        joint_names=joints,
        control_rate=50.0,
        channels=(
            ChannelSchema(name="joint_position", shape=(7,), role="observation", **texts),
            ChannelSchema(name="action", shape=(7,), role="action", **texts),
        ),
        environment={},
        created_ns=0,
    )


def templates(store: Store) -> list[bytes]:
    """Return one encoded episode for each kind of outcome, tier and policy."""
    columns: dict[str, Any] = {
        "timestamp_ns": np.arange(3, dtype=np.int64),
        "is_last": np.array([False, False, True]),
        "phase": np.array(["", "", ""], object),
        "reward": np.zeros(3),
        "joint_position": np.zeros((3, 7), np.float32),
        "action": np.zeros((3, 7), np.float32),
    }
    found = []
    for success in (True, True, True, False):
        for tier in ("nominal", "tight"):
            for policy in (PolicyInfo(name="expert"), PolicyInfo(name="teleoperation", operator="ann")):
                metadata = EpisodeMetadata(
                    env_id="TrainingGround/BinPick-v0",
                    kwargs={"tier": tier, "robot": "arm", "stance": "mounted", "solver_iterations": 50},
                    seed=SEED,
                    policy=policy,
                    length=2,
                    terminated=not success,
                    truncated=success,
                    success=success,
                    failure=None if success else "fall",
                    robot="arm",
                    model_hash="ab" * 32,
                    config_hash="cd" * 32,
                    schema_sha256=store.schema.fingerprint(),
                    content_sha256=CONTENT,
                    started_ns=STAMP,
                    ended_ns=STAMP + 10**9,
                )
                found.append(bytes(episode_file.encode(Episode(metadata, columns), store.schema)))
    return found


def fill(store: Store, first: int, count: int) -> None:
    """Write episodes by putting what differs, of the same length, into an encoded one."""
    kinds = templates(store)
    for number in range(first, first + count):
        data = bytearray(kinds[number % len(kinds)])
        for old, fresh in ((SEED, SEED + number), (STAMP, STAMP + number), (CONTENT, f"{number:064x}")):
            data = data.replace(str(old).encode(), str(fresh).encode())
        start = episode_file._seal_position(data, "benchmark")
        data[start : start + 64] = b"0" * 64
        data[start : start + 64] = episode_file.hashlib.sha256(data).hexdigest().encode()
        store.file(number).write_bytes(data)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    count, repeats = (5_000, 3) if short else (100_000, 7)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "data", schema())
        fill(store, 0, count)
        return report(measure(store, count, repeats))


def measure(store: Store, count: int, repeats: int) -> dict[str, Any]:
    """Measure a store that `fill` has filled and that has no index yet."""
    first = seconds(lambda: Index.open(store))
    index = Index.open(store)
    verdicts = {number: {"success": False, "quality": {"verdict": "fail"}} for number in range(0, count, 10)}
    labelling = seconds(lambda: label(index, verdicts, "benchmark", "rule"))
    Index.open(store)  # reads the new annotations, once
    opening, wall, refreshing = [], [], []
    for repeat in range(repeats):
        begun = time.monotonic()
        opening.append(seconds(lambda: Index.open(Store.open(store.path))))
        wall.append(time.monotonic() - begun)
        fill(store, count + repeat, 1)
        refreshing.append(seconds(lambda: Index.open(store)))
    index = Index.open(store)
    asked, answers = questions(index, repeats)
    splitting = seconds(lambda: assign(index, new("main", "seed", [("train", 0.8), ("test", 0.2)])))
    slowest = max(asked, key=lambda name: statistics.median(asked[name]))
    opened, refreshed = statistics.median(opening), statistics.median(refreshing)
    memory = memory_mb(store)
    return {
        "targets": [
            target(f"open a store of {count} episodes, {len(verdicts)} of them labelled", opened, "s", at_most=1.0),
            target(f"query it, slowest: {slowest}", statistics.median(asked[slowest]) * 1e3, "ms", at_most=200),
            target("memory of opening and a query", memory, "MB", at_most=500),
            target("index again after one more episode", refreshed, "s", at_most=1.0),
        ],
        "episodes": count,
        "first_index_s": first,
        "first_index_episodes_per_s": count / first,
        "open_s": summary(opening),
        "open_wall_s": summary(wall),
        "refresh_s": summary(refreshing),
        "query_ms": {name: summary(values, 1e3) for name, values in asked.items()},
        "found": answers,
        "label_s": labelling,
        "labelled": len(verdicts),
        "split_s": splitting,
        "index_bytes": {path.name: path.stat().st_size for path in sorted((store.path / "index").glob("*.parquet"))},
    }


def questions(index: Index, repeats: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return the seconds that each question took, and how many rows it found."""
    asked: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    answers = {}
    for _ in range(repeats + 1):
        for name, text in QUESTIONS.items():
            begun = clock()
            rows = sql(index, text) if text.startswith("select") else query(index, text)
            asked[name].append(clock() - begun)
            answers[name] = len(rows)
    return {name: values[1:] for name, values in asked.items()}, answers  # the first one imports duckdb


def memory_mb(store: Store) -> float:
    """Return the peak of the resident memory of a process that opens the store and asks, beyond its imports, MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE_MEMORY, str(store.path)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()

"""What remote stores cost: bytes, seconds and memory of sending, fetching and streaming; `remote_check.py` runs it."""

# pyright: reportMissingImports=false

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from training_ground.datasets.remote.cache import Cache
from training_ground.datasets.remote.pull import plan_pull, pull
from training_ground.datasets.remote.push import plan_push, push
from training_ground.datasets.remote.store import RemoteStore
from training_ground.datasets.store import Store


def measure(store: Store, url: str, work: Path) -> None:
    """Bytes, seconds and memory; medians of three rounds in turns, on whatever machine this is."""
    plan = plan_push(store, url)
    begin = time.monotonic()
    push(plan)
    seconds = time.monotonic() - begin
    whole = sum(store.file(number).stat().st_size for number in store.episodes())
    print(f"push: {plan.size / 1e6:.1f} MB, {len(plan.new)} files in {seconds:.1f} s")
    begin = time.monotonic()
    pull(plan_pull(url, work / "measured"))
    print(f"pull: {time.monotonic() - begin:.1f} s")
    reader = RemoteStore.open(url)
    for names in (["action", "joint_position"], list(store.schema.columns())):
        before, asked = reader.location.received, reader.location.requests
        for _ in reader.stream_columns(names):
            pass
        cost, asked = reader.location.received - before, reader.location.requests - asked
        share = f"{cost / whole:.1%} of the files' {whole / 1e6:.1f} MB"
        print(f"{len(names)} columns: {cost / 1e6:.2f} MB, {share}, {asked / len(store):.1f} requests an episode")
    cache = Cache(work / "cache")
    for _ in RemoteStore.open(url, cache=cache).stream():
        pass
    ways: dict[str, Any] = {
        "local": lambda: iter(store),
        "S3": lambda: reader.stream(),
        "S3, 2 columns": lambda: reader.stream_columns(["action", "joint_position"]),
        "S3, cached": lambda: RemoteStore.open(url, cache=cache).stream(),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            begin = time.monotonic()
            assert sum(1 for _ in way()) == len(store)
            taken[name].append(time.monotonic() - begin)
    local = statistics.median(taken["local"])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name}: {len(store) / median:.0f} episodes/s, {local / median:.2f} of a local read")
    code = f"""
import resource
from training_ground.datasets.remote.cache import Cache
from training_ground.datasets.remote.store import RemoteStore
store = RemoteStore.open({url!r}, cache=Cache({str(work / "small")!r}, max_bytes={whole // 16}))
next(iter(store.stream())), sum(1 for _ in store.stream(store.episodes()[:8]))
first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(2):
    for _ in store.stream():
        pass
print(first, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first, last = (int(number) / 1024 for number in out.split())
    held = sum(path.stat().st_size for path in (work / "small").rglob("*") if path.is_file())
    print(f"memory: {first:.0f} MiB after 8 episodes, {last:.0f} MiB at most after {2 * len(store)}")
    print(f"store {whole / 1e6:.1f} MB, a cache of {whole / 16e6:.1f} MB held {held / 1e6:.1f} MB at the end")
    assert held <= whole // 16 and last < first + 60

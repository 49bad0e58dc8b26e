"""Export to RLDS and MCAP and back: frames a second and bytes a frame, 100 + 29 float32 in episodes of 500 frames."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import quick, report, seconds, target

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export
from training_ground.datasets.formats import _tfrecord, mcap, rlds
from training_ground.datasets.schema import ChannelSchema, DatasetSchema, EpisodeMetadata, PolicyInfo
from training_ground.datasets.store import Store

STEPS, HASH = 500, "ab" * 16


def make_store(path: Path, episodes: int) -> Store:
    """Write smooth curves with a little noise: as compressible as joint angles are."""
    names = {"state": tuple(f"s{i}" for i in range(100)), "action": tuple(f"joint_{i}" for i in range(29))}
    channels = tuple(
        ChannelSchema(
            name=name,
            shape=(len(own),),
            unit="rad",
            frame="joint",
            role="action" if name == "action" else "observation",
            description="Curves.",
            components=own,
        )
        for name, own in names.items()
    )
    schema = DatasetSchema(
        robot="none",
        model_hash=HASH,
        joint_names=names["action"],
        control_rate=50,
        channels=channels,
        environment={},
        created_ns=1,
    )
    store, random = Store.create(path, schema), np.random.default_rng(0)
    for seed in range(episodes):
        time, rows = np.arange(STEPS + 1)[:, None] / 50, STEPS + 1
        curves = np.sin(time * random.uniform(0.2, 2, 129) + random.uniform(0, 6, 129))
        values = (curves + 0.001 * random.normal(size=(rows, 129))).astype(np.float32)
        values[-1, 100:] = 0
        columns = {
            "timestamp_ns": np.arange(rows, dtype=np.int64) * 20_000_000,
            "is_last": np.arange(rows) == STEPS,
            "phase": np.array([""] * rows, dtype=object),
            "reward": random.normal(size=rows),
            "state": values[:, :100].copy(),
            "action": values[:, 100:].copy(),
        }
        metadata = EpisodeMetadata(
            env_id="none",
            kwargs={},
            seed=seed,
            policy=PolicyInfo(name="none"),
            length=STEPS,
            terminated=False,
            truncated=True,
            robot="none",
            model_hash=HASH,
            config_hash=HASH,
            schema_sha256=schema.fingerprint(),
            started_ns=1,
            ended_ns=2,
        )
        store.append(Episode(metadata, columns))
    return store


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    episodes, rounds = (5, 2) if quick(argv, __doc__) else (200, 3)
    frames = episodes * STEPS
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        store = make_store(Path(scratch) / "store", episodes)
        reading = statistics.median(
            seconds(lambda: [store.read(number) for number in store.episodes()]) for _ in range(rounds)
        )
        for name, module in (("rlds", rlds), ("mcap", mcap)):
            out, back = [], []
            for count in range(rounds):
                path, again = Path(scratch) / f"{name}{count}", Path(scratch) / f"{name}{count}_back"
                out.append(seconds(lambda path=path, name=name: export(store, path, name)))
                back.append(seconds(lambda p=path, a=again, m=module: m.import_(p, a, lambda number: None)))
            size = sum(file.stat().st_size for file in (Path(scratch) / f"{name}0").iterdir())
            found[name] = {
                "export_frames_per_second": frames / statistics.median(out),
                "import_frames_per_second": frames / statistics.median(back),
                "bytes_per_frame": size / frames,
            }
    data = np.random.default_rng(0).integers(0, 256, 516 * STEPS, np.uint8).tobytes()
    checksums = [len(data) / seconds(lambda: [_tfrecord.crc32c(data) for _ in range(20)]) * 20 for _ in range(rounds)]
    return report(
        {
            "targets": [
                target("RLDS, frames exported", found["rlds"]["export_frames_per_second"], "1/s", at_least=73_000),
                target("RLDS, size of a frame", found["rlds"]["bytes_per_frame"], "B", at_most=560),
                target("MCAP, frames exported", found["mcap"]["export_frames_per_second"], "1/s", at_least=20_000),
                target("MCAP, size of a frame", found["mcap"]["bytes_per_frame"], "B", at_most=800),
            ],
            "formats": found,
            "store_read_frames_per_second": frames / reading,
            "checksum_megabytes_per_second": statistics.median(checksums) / 1e6,
        }
    )


if __name__ == "__main__":
    main()

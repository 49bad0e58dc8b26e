"""Video of pictures and depth that were really seen: encoding, single pictures, windows, against PyAV in the same run.

A robot presses a button under its expert; a camera that stands still sees it 10 times a second. The pictures go into
stores without loss, with loss, and uncompressed in the episode's file (raw), and come back. The reference is what PyAV
itself does with the same file from its first picture to its last, without a check of any hash.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import alternate, median_ratio, quick, report, seconds, summary, target
from data_speed import make_episode, make_schema
from numpy.typing import NDArray

from training_ground.agents.policy import load_policy
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.recorder import PICTURES
from training_ground.datasets.schema import ChannelSchema
from training_ground.datasets.store import Store
from training_ground.datasets.video import plane_format
from training_ground.datasets.video_schema import VideoStorage
from training_ground.envs.registration import make

SIZES = ((160, 120), (320, 240))
EYE, TARGET, FAR = (1.1, -1.0, 1.7), (0.25, 0.0, 0.95), 10.0
EVERY, WINDOW = 5, 16
"""Control steps from picture to picture; pictures of a window."""
DEPTH = {"16 bit": VideoStorage(codec="ffv1", keyframe_interval=1, depth_step=0.0003), "raw": None}
"""A depth in steps is off by half of one at most."""


def pictures(count: int) -> dict[str, NDArray[Any]]:
    """Return what the camera sees, (count, H, W[, 3]), by size and kind."""
    env, policy, found = make("PressButton", visuals=True), load_policy("expert"), dict[str, list[Any]]()
    shown = seed = 0
    while shown < count:
        observation: Any = env.reset(seed=seed)[0]
        policy.reset(env)
        seed, steps, ended = seed + 1, 0, False
        while not ended and shown < count:
            if steps % EVERY == 0:
                for width, height in SIZES:
                    seen = env.world.camera(EYE, TARGET, width=width, height=height, far=FAR)
                    found.setdefault(f"rgb {width}x{height}", []).append(seen.rgb)
                    found.setdefault(f"depth {width}x{height}", []).append(np.minimum(seen.depth, FAR))
                shown += 1
            observation, _, terminated, truncated, _ = env.step(policy.act(observation))
            steps, ended = steps + 1, terminated or truncated
    env.close()
    return {name: np.array(values) for name, values in found.items()}


class Case:
    """Pictures in a store, kept in one way."""

    def __init__(self, folder: Path, shown: NDArray[Any], storage: VideoStorage | None) -> None:
        self.folder, self.shown, self.made = folder, shown, 0
        schema, episode, count = make_schema(), make_episode(0), len(shown)
        about: dict[str, Any] = {"unit": "m" if shown.ndim == 3 else "1", "frame": "none", "role": "picture"}
        about |= {"shape": shown.shape[1:], "dtype": shown.dtype.name, "description": "Seen."}
        camera = ChannelSchema(name="camera", storage=storage, **about)
        self.schema = schema.model_copy(update={"channels": (schema.channels[-1], camera)})
        columns = {name: values[:count] for name, values in episode.columns.items() if name != "observation"}
        columns |= {"camera": shown, "is_last": np.arange(count) == count - 1}
        columns["action"] = np.zeros_like(columns["action"])
        self.episode = Episode(episode.metadata.model_copy(update={"length": count - 1}), columns)
        self.encode()
        self.frames: Any = self.store.read(0).columns["camera"]
        self.draw = np.random.default_rng(0)

    def encode(self) -> float:
        """Pictures a second into a new store, until they are safe."""
        self.store = Store.create(self.folder / str(self.made), self.schema)
        self.made += 1
        return len(self.shown) / seconds(lambda: self.store.append(self.episode))

    def first(self) -> float:
        """Milliseconds from a closed file to a picture."""
        return 1e3 * seconds(lambda: self.store.read(0).columns["camera"][len(self.shown) // 2])

    def single(self) -> float:
        """Milliseconds for one picture after another, all in an order drawn at random, of an open file."""
        rows = self.draw.permutation(len(self.shown)).tolist()
        return 1e3 * seconds(lambda: [self.frames[row] for row in rows]) / len(rows)

    def windows(self) -> float:
        """Pictures a second in windows that begin anywhere."""
        starts = self.draw.permutation(len(self.shown) - WINDOW + 1).tolist()
        return WINDOW * len(starts) / seconds(lambda: [self.frames[at : at + WINDOW] for at in starts])

    def in_order(self) -> float:
        """Pictures a second from the first to the last, the file opened and its hash compared."""
        self.frames.close()
        return len(self.shown) / seconds(lambda: sum(1 for _ in self.frames))

    def plain(self) -> float:
        """The same with PyAV alone: the reference."""
        import av

        form = plane_format(self.schema.columns()["camera"])

        def call() -> None:
            with av.open(str(self.frames.path)) as file:
                file.streams.video[0].codec_context.thread_count = 1
                assert sum(len(frame.to_ndarray(format=form)) > 0 for frame in file.decode(video=0)) == self.count

        return len(self.shown) / seconds(call)

    @property
    def count(self) -> int:
        """Pictures in the video: one that is the same as the one before is not there twice."""
        return self.frames.media.frames

    def size(self) -> float:
        """Bytes a picture, all files of the store together."""
        files = [self.store.file(0), *(self.store.path / "media").glob("*.mkv")]
        return sum(path.stat().st_size for path in files) / len(self.shown)


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """All that is known of a case."""
    ways: dict[str, Callable[[], float]] = {"encode_per_second": case.encode, "first_ms": case.first}
    raw = case.schema.channels[-1].storage is None
    if not raw:
        ways |= {"single_ms": case.single, "window_per_second": case.windows}
        ways |= {"in_order_per_second": case.in_order, "pyav_per_second": case.plain}
    found = alternate(ways, rounds)
    result: dict[str, Any] = {name: summary(numbers) for name, numbers in found.items()}
    result["bytes_per_picture"] = case.size()
    if not raw:
        result["psnr_db"] = case.frames.media.psnr_db
        for way in ("window", "in_order"):
            result[f"{way}_over_pyav"] = median_ratio(found[f"{way}_per_second"], found["pyav_per_second"])
    return result


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    count, rounds = (32, 2) if short else (140, 5)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, shown in pictures(count).items():
            for how, storage in (DEPTH if name.startswith("depth") else PICTURES).items():
                place = Path(folder) / f"{name} {how}"
                place.mkdir()
                found[f"{name} {how}"] = measure(Case(place, shown, storage), rounds)
    videos = [result for result in found.values() if "in_order_over_pyav" in result]
    slowest = {way: min(result[f"{way}_over_pyav"] for result in videos) for way in ("in_order", "window")}
    encoded = min(result["encode_per_second"]["median"] for result in videos)
    return report(
        {
            "targets": [
                target("a video in order ÷ PyAV, slowest case", slowest["in_order"], "", at_least=0.5),
                target("windows of 16 ÷ PyAV in order, slowest case", slowest["window"], "", at_least=0.5),
                target("encoding, slowest case: three cameras of 30 Hz", encoded, "pictures/s", at_least=90),
            ],
            "pictures": count,
            "cases": found,
        }
    )


if __name__ == "__main__":
    main()

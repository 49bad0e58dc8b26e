"""Open an export with the real LeRobot, compare every value with the store, append with LeRobot's own API.

Runs in an environment of its own (`make lerobot`), without training_ground: the store is read here with pyarrow and
`dataset.json` alone, as anybody else would read it.

    python lerobot_check.py STORE EXPORT [APPENDED]    where the dataset that LeRobot appended to is left
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", SVT_LOG="1")
SCRATCH = Path(tempfile.mkdtemp(prefix="lerobot-check-"))
os.environ.update(HF_HOME=str(SCRATCH / "hf"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import av  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from plain_store import read_store, same  # noqa: E402

logging.disable(logging.WARNING)  # LeRobot says at every opening that it has no torchcodec


class VideoReader:
    """What torchvision 0.28 has no more and LeRobot's decoder asks for: pictures one after the other, from PyAV."""

    def __init__(self, path: str, stream: str) -> None:
        self.container: Any = av.open(path)
        self.pictures: Any = self.container.decode(video=0)

    def seek(self, seconds: float, keyframes_only: bool) -> None:
        """Go to the picture at or before a time from which the decoder can begin."""
        stream = self.container.streams.video[0]
        self.container.seek(round(seconds / stream.time_base), stream=stream)
        self.pictures = self.container.decode(video=0)

    def __iter__(self) -> Any:
        for picture in self.pictures:
            data = torch.from_numpy(picture.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield {"data": data, "pts": float(picture.pts * picture.time_base)}


def import_lerobot() -> Any:
    """Import LeRobot's dataset class.

    The torchvision on PyPI is compiled against CUDA; beside a CPU torch its compiled operators are absent and its
    import stops at their names. LeRobot's datasets use none of them, so declaring the names is enough.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for _ in range(20):
        try:
            import torchvision

            break
        except RuntimeError as problem:
            found = re.search(r"operator torchvision::(\w+) does not exist", str(problem))
            if found is None:
                raise
            library.define(f"{found[1]}(Tensor x) -> Tensor")
            for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
    import torchvision

    if not hasattr(torchvision.io, "VideoReader"):
        torchvision.io.VideoReader = VideoReader  # type: ignore[attr-defined]
        torchvision.set_video_backend = lambda backend: None
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset


def compare_pictures(dataset: Any, schema: dict[str, Any], episodes: list[Any]) -> dict[str, float]:
    """Compare pictures as LeRobot decodes them with the store's; return the PSNR of each camera, dB."""
    found = {}
    for channel in schema["channels"]:
        if channel["role"] != "picture":
            continue
        key, squares, start = f"observation.images.{channel['name']}", [], 0
        assert tuple(dataset.features[key]["shape"]) == tuple(channel["shape"]), dataset.features[key]
        for metadata, columns in episodes:
            length = metadata["length"]
            for row in np.linspace(0, length - 1, 25).astype(int).tolist():
                shown = dataset[start + row][key].numpy().transpose(1, 2, 0) * 255
                squares.append(np.mean((shown - columns[channel["name"]][row]) ** 2))
            start += length
        found[key] = float(10 * np.log10(255**2 / np.mean(squares)))
        assert found[key] > 30, found
    return found


def expected(schema: dict[str, Any], columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what each feature must hold for one episode, from the store alone; written apart from the exporter."""
    count = len(columns["is_last"]) - 1
    flat = {name: values.reshape(count + 1, -1) for name, values in columns.items()}
    roles = {c["name"]: c["role"] for c in schema["channels"]}
    observed = [n for n in roles if n == "policy_observation"] or [n for n in roles if roles[n] == "observation"]
    result = {
        "observation.state": np.concatenate([flat[n][:-1] for n in observed], axis=1),
        "action": flat["action"][:-1],
    }
    for name, role in roles.items():
        if name in observed or name == "action" or role == "picture":
            continue
        if role in ("reward", "event"):
            result[f"next.{name}"] = flat[name][1:]
        else:
            result[f"state.{name}"] = flat[name][:-1]
    result["next.reward"] = flat["reward"][1:].astype(np.float32)
    result["next.done"] = columns["is_last"][1:, None]
    return result


def rows_of(dataset: Any, begin: int, end: int) -> dict[str, np.ndarray]:
    """Return frames as LeRobot's Hugging Face dataset holds them, without the conversion to float32 of its formats."""
    table = dataset.hf_dataset.with_format("arrow")[begin:end]
    result = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        flat = column.flatten() if hasattr(column.type, "value_type") else column
        values = flat.to_numpy(zero_copy_only=False)
        result[name] = values.reshape(len(column), -1) if flat is not column else values
    return result


def compare(dataset: Any, schema: dict[str, Any], episodes: list[Any]) -> int:
    """Compare every frame with the store, bit for bit; return how many numbers were compared."""
    assert dataset.num_episodes == len(episodes), (dataset.num_episodes, len(episodes))
    assert dataset.fps == schema["control_rate"] and dataset.meta.robot_type == schema["robot"]
    start = compared = 0
    for index, (metadata, columns) in enumerate(episodes):
        length = metadata["length"]
        frames = rows_of(dataset, start, start + length)
        wanted = expected(schema, columns)
        own = {"timestamp", "frame_index", "episode_index", "index", "task_index", "subtask_index"}
        assert set(frames) == set(wanted) | own, set(frames) ^ (set(wanted) | own)
        for name, values in wanted.items():
            found = np.asarray(frames[name]).reshape(length, -1)
            compared += same(found, values.reshape(length, -1), f"episode {index}, {name}")
        assert (frames["episode_index"] == index).all() and (frames["frame_index"] == np.arange(length)).all()
        assert (frames["index"] == np.arange(start, start + length)).all()
        assert np.array_equal(frames["timestamp"], (np.arange(length) / dataset.fps).astype(np.float32))
        item = dataset[start + length // 2]
        assert item["task"] == metadata["instruction"], item["task"]
        assert item["subtask"] == columns["phase"][length // 2], item["subtask"]
        assert torch.equal(item["action"], torch.from_numpy(wanted["action"][length // 2].copy()))
        line = dataset.meta.episodes[index]
        assert line["training_ground/seed"] == metadata["seed"] and line["length"] == length
        assert line["training_ground/success_recorded"] == metadata["success"]
        start += length
    assert start == len(dataset) == dataset.meta.total_frames
    return compared


def check_statistics(dataset: Any, root: Path) -> None:
    """Compare the statistics with those that LeRobot computes and merges itself (its quantiles are approximate)."""
    from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats

    rows = pq.read_table(root / "meta/episodes").to_pylist()
    parts = []
    for row in rows:
        frames = rows_of(dataset, row["dataset_from_index"], row["dataset_to_index"])
        part = compute_episode_stats(frames, dataset.features)
        own = [name.split("/")[1:] for name in row if name.startswith("stats/observation.images.")]
        for name, key in own:  # LeRobot's own come from files of single pictures
            part.setdefault(name, {})[key] = np.array(row[f"stats/{name}/{key}"])
        parts.append(part)
        for name, numbers in part.items():
            for key in ("min", "max", "mean", "std", "count"):
                ours, theirs = np.array(row[f"stats/{name}/{key}"]), numbers[key]
                assert ours.shape == theirs.shape, (name, key, ours.shape, theirs.shape)
                # LeRobot computes in float32, and std as a difference of squares.
                scale = np.abs(numbers["max"].astype(float)).max() + np.abs(numbers["min"].astype(float)).max() + 1e-9
                assert np.allclose(ours, theirs, rtol=1e-4, atol=2e-3 * scale), (name, key)
    merged = aggregate_stats(parts)
    assert set(merged) == set(dataset.meta.stats), set(merged) ^ set(dataset.meta.stats)
    for name, numbers in merged.items():
        assert set(numbers) == set(dataset.meta.stats[name]), name
        assert np.allclose(numbers["min"], dataset.meta.stats[name]["min"]), name
        assert numbers["count"] == dataset.meta.stats[name]["count"], name


def append(dataset_class: Any, root: Path, schema: dict[str, Any], episodes: list[Any]) -> None:
    """Append two episodes in two sessions with LeRobot's API; everything that was there must still be there."""
    from lerobot.datasets.utils import DEFAULT_FEATURES

    before = pq.read_table(root / "meta/episodes").num_rows
    for session in range(2):
        dataset = dataset_class("local/check", root=root)
        frames = dataset.meta.total_frames
        source = rows_of(dataset, 0, 20)
        for i in range(20):
            frame = {}
            for name, feature in dataset.features.items():
                if feature["dtype"] == "video":
                    frame[name] = np.roll(episodes[0][1][name.rpartition(".")[2]][i], 5 * i, axis=0)
                elif name not in DEFAULT_FEATURES:
                    value = np.asarray(source[name][i], dtype=feature["dtype"]).reshape(feature["shape"])
                    frame[name] = value
            dataset.add_frame({**frame, "task": f"appended task {session}"})
        dataset.save_episode()
        dataset.finalize()
        again = dataset_class("local/check", root=root)
        assert again.meta.total_frames == frames + 20 == len(again)
        assert again.num_episodes == before + session + 1
        assert again[len(again) - 1]["task"] == f"appended task {session}"
        assert again.meta.episodes[0]["training_ground/seed"] == episodes[0][0]["seed"], "our columns were lost"
        assert torch.isfinite(torch.as_tensor(again.meta.stats["action"]["mean"])).all()
    old = dataset_class("local/check", root=root, episodes=list(range(before)))
    assert old.num_episodes == before
    first = expected(schema, episodes[0][1])["action"]
    found = np.stack([old[i]["action"].numpy() for i in range(len(first))])
    same(found, first, "actions after an append")


def main(store: Path, export: Path, appended: Path | None = None) -> None:
    """Run every check; an AssertionError says what is wrong."""
    dataset_class = import_lerobot()
    from lerobot import __version__
    from lerobot.datasets.utils import dataset_to_policy_features

    schema, episodes = read_store(store, cut_off=False)
    root = SCRATCH / "dataset"
    shutil.copytree(export, root)
    dataset = dataset_class("local/check", root=root)
    compared = compare(dataset, schema, episodes)
    size = f"{dataset.num_episodes} episodes, {len(dataset)} frames"
    print(f"LeRobot {__version__}: {size}, {compared} numbers equal in bits")
    for key, decibels in compare_pictures(dataset, schema, episodes).items():
        print(f"{key}: PSNR {decibels:.1f} dB against the store")
    check_statistics(dataset, root)
    print("statistics agree with LeRobot's own")
    policy = dataset_to_policy_features(dataset.features)
    pictures = {name for name, feature in dataset.features.items() if feature["dtype"] == "video"}
    assert set(policy) == {"observation.state", "action"} | pictures, policy
    windows = dataset_class("local/check", root=root, delta_timestamps={"action": [i / dataset.fps for i in range(16)]})
    batch = next(iter(torch.utils.data.DataLoader(windows, batch_size=8, shuffle=True)))
    assert batch["action"].shape == (8, 16, len(schema["joint_names"])), batch["action"].shape
    print(f"policy features {sorted(policy)}, batch of 16-step windows {tuple(batch['action'].shape)}")
    append(dataset_class, root, schema, episodes)
    compare_pictures(dataset_class("local/check", root=root), schema, episodes)
    print("LeRobot appended two episodes in two sessions; what was there is unchanged")
    if appended is not None:
        shutil.copytree(root, appended)


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)

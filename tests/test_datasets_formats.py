"""What holds for every format: videos are never in memory whole, a full disk leaves nothing, damage is one error."""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_files import record_all

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export, formats
from training_ground.datasets.formats import _common
from training_ground.datasets.frames import Frames
from training_ground.datasets.importing import import_
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label
from training_ground.datasets.schema import ChannelSchema
from training_ground.datasets.store import Store
from training_ground.datasets.video_schema import VideoStorage

ROOT = Path(__file__).parent.parent
ALL = ("lerobot", "mcap", "minari", "rlds", "robomimic")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return record_all(tmp_path_factory.mktemp("formats") / "data", [0, 1])


def test_these_are_all_the_formats() -> None:
    assert formats() == sorted(ALL)


@pytest.mark.parametrize("format", ALL)
def test_a_video_is_never_in_memory_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise AssertionError("all frames were decoded at once")

    one = Frames.__getitem__

    def few(self: Frames, key: Any) -> Any:
        found = one(self, key)
        assert found.ndim < self.ndim or len(found) <= 16, f"{len(found)} frames were decoded at once"
        return found

    monkeypatch.setattr(Frames, "__array__", refuse)
    monkeypatch.setattr(Frames, "reshape", refuse)
    monkeypatch.setattr(Frames, "__getitem__", few)
    assert export(store, tmp_path / "out-v0", format).frames == 45


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let no file grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("format", ALL)
def test_a_full_disk_is_one_error_and_leaves_nothing(store: Store, tmp_path: Path, format: str) -> None:
    with full_disk(3000), pytest.raises(DatasetError, match="cannot be written"):
        export(store, tmp_path / "out-v0", format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ALL)
def test_what_a_store_has_beside_its_episodes_is_named_as_lost(tmp_path: Path, store: Store, format: str) -> None:
    shutil.copytree(store.path, tmp_path / "data")
    opened = Store.open(tmp_path / "data")
    label(Index.open(opened), {0: {"success": False}, 1: {"dropped": True}}, "me")
    (opened.path / "manifest.json").write_text("{}")
    report = export(opened, tmp_path / "out-v0", format)
    assert (report.episodes, report.skipped) == (1, ("episode 1: is labelled as dropped",))
    text = "\n".join(report.losses)
    for part in ("units, frames", "annotations/: who labelled what and when", "manifest and signature"):
        assert part in text, part
    assert "splits/" not in text and "rates" not in text


@pytest.mark.parametrize("format", ["mcap", "rlds", "minari", "robomimic"])
def test_depth_comes_back_as_it_was_rounded(store: Store, tmp_path: Path, format: str) -> None:
    """The content hash is of 16-bit steps and an export has m, so the hash cannot be compared; the report says so."""
    storage = VideoStorage(codec="ffv1", keyframe_interval=1, depth_step=0.001)
    about: dict[str, Any] = {"unit": "m", "frame": "none", "role": "state", "description": "Depth."}
    depth = ChannelSchema(name="depth", shape=(8, 10), dtype="float32", storage=storage, **about)
    seen = Store.create(
        tmp_path / "data", store.schema.model_copy(update={"channels": (*store.schema.channels, depth)})
    )
    episode, random = store.read(1), np.random.default_rng(0)
    values = np.repeat(random.uniform(0, 5, (8, 8, 10)).astype("f4"), 2, axis=0)
    values[1] += 1e-5  # another picture, but the same steps
    seen.append(Episode(episode.metadata, {**episode.columns, "depth": values}))
    export(seen, tmp_path / "out-v0", format)
    report = import_(tmp_path / "out-v0", format, tmp_path / "back")
    back = Store.open(tmp_path / "back")
    assert np.array_equal(back.read(0).columns["depth"][:], seen.read(0).columns["depth"][:]) and back.verify().ok
    assert "depth" in report.losses[0] and "checked by hash" in report.losses[0]


def test_an_action_where_there_is_none_is_named(store: Store) -> None:
    episode = store.read(0)
    _common.check_last_action(episode, "Minari")
    wrong = {**episode.columns, "action": np.ones_like(episode.columns["action"])}
    with pytest.raises(DatasetError, match=r"episode 0: 'action' is not zero in the last row.*Minari has no place"):
        _common.check_last_action(Episode(episode.metadata, wrong, 0), "Minari")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("target", ["lerobot", "minari", "robomimic", "rlds", "mcap", "croissant"])
def test_the_targets_that_open_exports_know_their_files(target: str) -> None:
    said = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 0, said.stderr

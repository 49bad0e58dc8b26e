"""Videos in what reads whole stores: nothing is decoded that is not looked at, and never a whole video at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
from test_datasets_video import DEPTH, record

from training_ground.cli.main import main
from training_ground.configs.cleaning import CutGaps, Deduplicate, Repair, Resample
from training_ground.datasets.array_build import refresh
from training_ground.datasets.cleaning.clean import check_cleaned, clean
from training_ground.datasets.episode_file import Episode, content_hash
from training_ground.datasets.frames import Frames
from training_ground.datasets.quality.gate import check, load_limits
from training_ground.datasets.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("joins_video") / "data", (4, 6), {"depth_front": DEPTH}).path


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "data")
    return Store.open(tmp_path / "data")


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("a video was decoded")


def test_check_and_card_decode_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(Frames, "frame", refuse)
    report = check(store, load_limits()[1])
    assert {one.readings["non_finite_share"].value for one in report.episodes} == {0.0}
    assert main(["data", "card", str(store.path)]) == 0


def test_cleaning_decodes_picture_by_picture(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__array__", "reshape"):
        monkeypatch.setattr(Frames, name, refuse)
    source = Store.create(tmp_path / "gap", store.schema)
    episode = store.read(0)
    stamps = episode.columns["timestamp_ns"].copy()
    stamps[8:] += 10**9
    columns = {**episode.columns, "timestamp_ns": stamps}
    source.append(Episode(episode.metadata.model_copy(update={"content_sha256": content_hash(columns)}), columns))
    source.append(store.read(1))
    clean(source, [Repair(), CutGaps(), Deduplicate()], tmp_path / "clean")
    cleaned = Store.open(tmp_path / "clean")
    cut, whole = cleaned.read(0), cleaned.read(1)
    assert cut.metadata.cleaned[0].rows == (8, 30) and cleaned.verify().ok
    for row in (0, 11, 22):
        for name in ("camera_front", "depth_front"):
            assert np.array_equal(cut.columns[name][row], episode.columns[name][row + 8]), (name, row)
    same = [one.columns["camera_front"].media.sha256 for one in (whole, store.read(1))]  # type: ignore[attr-defined]
    assert same[0] == same[1], "what is not cut is not encoded anew"
    check_cleaned(cut, source.read(0), source.schema)
    check_cleaned(whole, source.read(1), source.schema)
    clean(source, [CutGaps(), Resample(every=3)], tmp_path / "slow")
    slow = Store.open(tmp_path / "slow").read(0)
    assert np.array_equal(slow.columns["camera_front"][3], episode.columns["camera_front"][8 + 1 + 9])
    check_cleaned(slow, source.read(0), source.schema)


def test_a_training_view_has_videos_only_where_they_are_asked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Frames, "frame", refuse)
        view = refresh(store)
    assert not {"camera_front", "camera_twin", "depth_front"} & set(view.columns) and view.verify(store) == []
    columns = ["--column", "camera_front", "--column", "depth_front", "--column", "action"]
    assert main(["data", "arrays", str(store.path), *columns, "--verify"]) == 0
    view = refresh(store, ["camera_front", "depth_front", "action"])
    for name in ("camera_front", "depth_front"):
        assert np.array_equal(view.episode(name, 1), np.asarray(store.read(1).columns[name]))

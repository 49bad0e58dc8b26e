"""Versions of the written form: what was written once is read for ever, and never rewritten."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fake_env
import pytest

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets import episode_file, migrations
from training_ground.datasets.curation import is_current, make, plan_copy
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.lineage import read_lineage
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.replay import replay
from training_ground.datasets.store import Store

VERSION_1 = Path(__file__).parent / "data" / "version_1"
"""Written once by the first version of this code; never to be written again."""
CONTENT = (
    "d965b3f20a81ec037e17630abd97e8690a7fbf1b8f56bee4e29147d6621ac3c9",
    "3f9451acd4e226586386682a28d40c6cc136927c66ff7efe18e2db7eedb28a93",
)


def play(store: Store, seed: int) -> int:
    recorder = Recorder(fake_env.FakeEnv(steps=12), store, policy="random")
    fake_env.play(recorder, [seed], span=1.5)
    return recorder.written[0]


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_a_store_of_version_1_opens_reads_appends_and_replays(tmp_path: Path) -> None:
    shutil.copytree(VERSION_1, tmp_path / "old")
    before = files(VERSION_1)
    store = Store.open(tmp_path / "old")
    assert store.episodes() == [0, 1] and store.verify().ok
    for number, content in enumerate(CONTENT):
        episode = store.read(number)
        assert episode.metadata.content_sha256 == content == episode_file.content_hash(episode.columns)
        report = replay(episode, store.schema, fake_env.make)
        # The reward has an exponential in it, whose last bit is the processor's affair.
        others = [d for d in report.differences if d.channel not in ("reward", "reward_upright")]
        assert not others and not report.notes and all(d.largest < 1e-12 for d in report.differences)
    assert play(store, 7) == 2 and Store.open(store.path).verify().ok
    after = files(store.path)
    assert {name: after[name] for name in before} == before  # reading and appending rewrite nothing


def test_the_fingerprint_of_version_1_is_kept(tmp_path: Path) -> None:
    data = json.loads((VERSION_1 / "dataset.json").read_text())
    expected = Store.open(VERSION_1).read(0).metadata.schema_sha256
    assert migrations.fingerprint_1(data) == expected == Store.open(VERSION_1).schema.fingerprint()
    # Written by hand, without what may be left out, it is the same description.
    for channel in data["channels"]:
        channel.pop("rate")
        if not channel["components"]:
            channel.pop("components")
    data["control_rate"] = 50
    assert migrations.fingerprint_1(data) == expected


# A made-up version 0: a rate by another name, outcomes as one word, no word on who acted.


def to_0(data: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in data.items() if k != "control_rate"}, "schema_version": 0, "hz": data["control_rate"]}


def step_dataset(data: dict[str, Any]) -> dict[str, Any]:
    data["control_rate"] = data.pop("hz")
    return data


def step_episode(data: dict[str, Any]) -> dict[str, Any]:
    outcome = data.pop("outcome")
    return data | {
        "success": outcome == "success",
        "failure": None if outcome == "success" else outcome,
        "policy": {"name": "unknown"},
    }


STEP = migrations.Step(step_dataset, step_episode, lambda data: f"{int(data['hz']):064x}", "Rates have names.")


class Metadata0:
    """What `encode` needs of metadata, as version 0 wrote them."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data, self.length = data, data["length"]

    def model_dump(self, mode: str) -> dict[str, Any]:
        return self.data


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of version 0 with one episode."""
    monkeypatch.setitem(migrations.STEPS, 0, STEP)
    today = Store.create(tmp_path / "today", make_schema(fake_env.FakeEnv(steps=12)))
    play(today, 1)
    episode = today.read(0)
    data = episode.metadata.model_dump(mode="json")
    data |= {"schema_version": 0, "outcome": "fall", "schema_sha256": f"{50:064x}"}
    data = {key: value for key, value in data.items() if key not in ("success", "failure", "policy")}
    raw = episode_file.encode(Episode(Metadata0(data), episode.columns), today.schema)  # type: ignore[arg-type]
    path = tmp_path / "old"
    (path / "episodes").mkdir(parents=True)
    (path / "dataset.json").write_text(json.dumps(to_0(json.loads((today.path / "dataset.json").read_text()))))
    (path / "episodes" / "episode_000000.parquet").write_bytes(raw)
    return path


def test_an_older_version_is_read_extended_and_not_rewritten(old: Path, tmp_path: Path) -> None:
    before = files(old)
    store = Store.open(old)
    episode, today = store.read(0), Store.open(tmp_path / "today").read(0)
    assert episode.metadata.failure == "fall" and episode.metadata.success is False
    assert store.schema.control_rate == 50 and store.schema.older and not is_current(store)
    assert all(episode.columns[n].tobytes() == v.tobytes() for n, v in today.columns.items() if n != "phase")
    assert replay(episode, store.schema, fake_env.make).identical
    assert play(store, 2) == 1  # an episode of today's version beside it
    store = Store.open(old)
    assert store.verify().ok and store.metadata(1).schema_sha256 != store.metadata(0).schema_sha256
    after = files(old)
    assert {name: after[name] for name in before} == before


def test_migrate_writes_a_new_store_of_today(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, before = tmp_path / "new", files(old)
    assert main(["data", "migrate", str(old), "--out", str(out)]) == 0 and not out.exists()
    assert main(["data", "migrate", str(old), "--out", str(out), "--yes", "--json"]) == 0
    capsys.readouterr()
    migrations.STEPS.pop(0)  # no step is needed any more
    new = Store.open(out)
    assert is_current(new) and new.verify().ok and new.metadata(0).failure == "fall" and files(old) == before
    (made,) = read_lineage(out)
    assert made.action == "migrate" and made.episodes[0].places[0].store == "old"
    assert made.episodes[0].content_sha256 == new.metadata(0).content_sha256
    assert main(["data", "migrate", str(out), "--out", str(tmp_path / "again"), "--yes"]) == 0
    assert "nothing to do" in capsys.readouterr().out and not (tmp_path / "again").exists()


def test_versions_that_lie_are_refused(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old / "dataset.json"
    good = json.loads(path.read_text())
    for change, message in (
        ({"hz": None}, "does not follow schema_version 0"),
        ({"hz": "fast"}, "does not follow schema_version 0"),
        ({"hz": -1}, "does not follow|control_rate"),
        ({"schema_version": -1}, "this code reads 0 to 1"),
        ({"schema_version": True}, "schema_version = True"),
        ({"schema_version": 2}, "newer training-ground"),
        ({"hz": 51}, ""),  # another description: the episode was written for one of 50 Hz
    ):
        path.write_text(json.dumps(good | change))
        if message:
            with pytest.raises(DatasetError, match=message):
                Store.open(old)
        else:
            with pytest.raises(DatasetError, match=r"another dataset\.json"):
                Store.open(old).read(0)
    # An old episode in a new store: its version never had that description.
    new, _ = make(plan_copy(Store.open(old.parent / "today")), old.parent / "copy")
    shutil.copy(old / "episodes" / "episode_000000.parquet", new.file(1))
    with pytest.raises(DatasetError, match=r"older than the dataset\.json beside it"):
        Store.open(new.path).read(1)
    monkeypatch.delitem(migrations.STEPS, 0)
    path.write_text(json.dumps(good))
    with pytest.raises(DatasetError, match="schema_version = 0, this code reads 1"):
        Store.open(old)

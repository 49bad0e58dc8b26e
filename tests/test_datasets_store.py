"""The store: what is appended comes back, and nothing that happens to a disk or a process makes it lie."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pyarrow.parquet as pq
import pytest

from training_ground.configs.errors import DatasetError
from training_ground.datasets import episode_file, files
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store


def record(path: Path, episodes: int = 3, **options: Any) -> Store:
    return fake_env.record(path, range(episodes), span=1.5, **options)


def add(store: Store | None, env: fake_env.FakeEnv, seeds: Any) -> Recorder:
    recorder = Recorder(env, store, policy="random")
    fake_env.play(recorder, seeds, span=1.5)
    return recorder


def temporary_files(store: Store) -> list[str]:
    return [p.name for p in store.path.rglob(".tmp-*")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return record(tmp_path / "data")


def test_what_is_appended_comes_back_bit_for_bit(tmp_path: Path) -> None:
    env = fake_env.FakeEnv()
    store = Store.create(tmp_path / "data", make_schema(env))
    recorder = add(store, env, [4])
    original = recorder.episode
    assert original is not None
    again = Store.open(store.path).read(0)
    assert list(again.columns) == list(store.schema.columns())
    for name, values in original.columns.items():
        assert again.columns[name].dtype == values.dtype
        assert again.columns[name].tobytes() == values.tobytes() or name == "phase"
    assert again.columns["phase"].tolist() == original.columns["phase"].tolist()
    assert again.metadata.seed == 4 and again.length == 30 and again.metadata.truncated
    assert again.metadata.randomisation["friction"] == env.friction
    assert again.metadata.env_id == "TrainingGround/Fake-v0" and again.metadata.kwargs == env.options


def test_any_parquet_reader_reads_the_values(store: Store) -> None:
    table = pq.read_table(store.file(0))
    episode = store.read(0)
    raw = b"".join(table.column("base_pose").to_pylist())
    assert np.array_equal(np.frombuffer(raw, "f8").reshape(-1, 2, 2), episode.columns["base_pose"])
    assert table.column("counter").to_pylist() == list(range(31))


def test_numbers_that_json_and_casts_like_to_lose_survive(store: Store) -> None:
    episode = store.read(0)
    columns = {name: values.copy() for name, values in episode.columns.items()}
    columns["base_pose"][1, 0] = [np.nan, -0.0]
    columns["base_pose"][2, 0] = [np.inf, 5e-324]
    columns["counter"][3] = 2**62 + 1
    number = store.append(Episode(episode.metadata, columns))
    again = store.read(number).columns
    assert again["base_pose"].tobytes() == columns["base_pose"].tobytes()
    assert again["counter"][3] == 2**62 + 1
    problems = store.verify().problems
    assert len(problems) == 1 and "'base_pose' is not finite, first in row 1" in problems[0]


def test_verify_counts_and_is_content_with_a_good_store(store: Store) -> None:
    report = store.verify()
    assert report.ok and report.episodes == 3 and report.rows == 31 + 16 + 31 and not report.notes


def test_verify_tells_of_work_done_twice(store: Store) -> None:
    add(store, fake_env.FakeEnv(), [1])
    report = store.verify()
    assert report.ok and "episode 1" in report.notes[0]


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "flipped", "grown", "swapped", "text", "fifo", "link", "folder"]
)
def test_damage_is_named_and_the_rest_stays_readable(store: Store, damage: str) -> None:
    path = store.file(1)
    raw = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        path.write_bytes(raw[:2000] + bytes([raw[2000] ^ 1]) + raw[2001:])
    elif damage == "grown":
        path.write_bytes(raw + b"PAR1")
    elif damage == "swapped":
        path.write_bytes(raw[-500:] + raw[:-500])
    elif damage == "text":
        path.write_text("not a parquet file at all")
    elif damage == "fifo":
        os.mkfifo(path)
    elif damage == "link":
        path.symlink_to(store.file(0))
    else:
        path.mkdir()
    with pytest.raises(DatasetError, match="episode_000001"):
        Store.open(store.path).read(1)
    report = store.verify()
    assert len(report.problems) == 1 and "episode_000001" in report.problems[0]
    assert store.read(0).length == 30 and store.read(2).length == 30


def test_every_single_bit_counts(store: Store, tmp_path: Path) -> None:
    raw = store.file(0).read_bytes()
    generator = np.random.default_rng(0)
    path = store.file(0)
    for _ in range(400):
        mutated = bytearray(raw)
        kind = generator.integers(4)
        at = int(generator.integers(len(raw)))
        if kind == 0:
            mutated[at] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            del mutated[at:]
        elif kind == 2:
            mutated[at : at + 8] = generator.bytes(8)
        else:
            del mutated[at : at + int(generator.integers(1, 50))]
        if mutated == raw:
            continue
        with pytest.raises(DatasetError):
            episode_file.decode(bytes(mutated), store.schema, path)


def reseal(data: bytearray) -> bytes:
    start = episode_file._seal_position(data, "test")
    data[start : start + 64] = b"0" * 64
    import hashlib

    data[start : start + 64] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def test_a_forged_seal_gains_nothing(store: Store) -> None:
    """Somebody who computes the seal again meets the checks behind it, and never a crash."""
    raw = store.file(0).read_bytes()
    begin = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    generator = np.random.default_rng(1)
    refused = 0
    for trial in range(300):
        mutated = bytearray(raw)
        at = int(generator.integers(4, begin) if trial % 2 else generator.integers(begin, len(raw) - 8))
        mutated[at] ^= 1 << int(generator.integers(8))
        try:
            forged = reseal(mutated)
        except DatasetError:
            refused += 1
            continue
        try:
            episode_file.decode(forged, store.schema, store.file(0))
        except DatasetError:
            refused += 1
    assert refused > 200


def test_metadata_that_lies_is_refused(store: Store) -> None:
    episode = store.read(0)
    for change, message in (
        ({"length": 10_000_000}, "rows"),
        ({"schema_version": 2}, "newer training-ground"),
        ({"schema_sha256": "00" * 32}, "another dataset.json"),
        ({"content_sha256": "00" * 32}, "content hash"),
    ):
        metadata = episode.metadata.model_copy(update=change)
        data = episode_file.encode(Episode(metadata, episode.columns), store.schema)
        with pytest.raises(DatasetError, match=message):
            episode_file.decode(bytes(data), store.schema, store.file(0))


def test_size_is_checked_before_memory_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode_file, "MAX_EPISODE_BYTES", 1000)
    with pytest.raises(DatasetError, match="would need"):
        store.read(0)
    monkeypatch.setattr(episode_file, "MAX_FILE_BYTES", 1000)
    with pytest.raises(DatasetError, match="more than the 1000 allowed"):
        store.read(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 7}, "schema_version = 7, this code reads 1; it was written by a newer training-ground"),
        ({"schema_version": "1"}, "schema_version = '1'"),
        ({"format": "minari"}, "format = 'minari'"),
        ({"robott": "g1"}, "unknown key 'robott': did you mean 'robot'"),
        ({"control_rate": -1}, "control_rate"),
        ({"model_hash": "../../etc"}, "model_hash"),
    ],
)
def test_a_wrong_description_is_refused_with_the_field(store: Store, change: dict[str, Any], message: str) -> None:
    path = store.path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DatasetError) as problem:
        Store.open(store.path)
    assert message in str(problem.value) and "dataset.json" in str(problem.value)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": NaN}', '{"a": 1, "a": 2}', "\xff", "[" * 100_000])
def test_malformed_json_is_refused(store: Store, text: str) -> None:
    (store.path / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        Store.open(store.path)


def test_hostile_channels_are_refused(store: Store) -> None:
    path = store.path / "dataset.json"
    good = json.loads(path.read_text())
    for field, value in (
        ("name", "../../etc/passwd"),
        ("dtype", "object"),
        ("shape", [100_000, 100_000]),
        ("shape", [-1]),
        ("name", "is_last"),
    ):
        bad = json.loads(json.dumps(good))
        bad["channels"][0][field] = value
        bad["channels"][0]["components"] = []
        path.write_text(json.dumps(bad))
        with pytest.raises(DatasetError, match=r"channels\.0"):
            Store.open(store.path)


def test_paths_outside_are_not_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (store.path / "episodes").rename(outside)
    (store.path / "episodes").symlink_to(outside)
    with pytest.raises(DatasetError, match="plain folder"):
        Store.open(store.path)


def test_a_store_may_lie_behind_a_link(store: Store, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(store.path)
    (store.path / ".tmp-1-0").write_text("of a writer that died")
    opened = Store.open(link)
    assert opened.recovered == (".tmp-1-0: removed, was being written when its writer died",)
    assert opened.append(opened.read(0)) == 3 and opened.verify().problems == store.verify().problems


def test_opening_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"no dataset\.json"):
        Store.open(tmp_path)


def test_create_never_overwrites(store: Store, tmp_path: Path) -> None:
    before = (store.path / "dataset.json").read_bytes()
    with pytest.raises(DatasetError, match="holds a dataset already"):
        Store.create(store.path, store.schema)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(DatasetError, match=r"not empty \(thesis\.tex\)"):
        Store.create(tmp_path / "other", store.schema)
    assert (store.path / "dataset.json").read_bytes() == before and len(store) == 3


def test_a_missing_number_says_which_there_are(store: Store) -> None:
    with pytest.raises(DatasetError, match="there is no episode 7; there are: 0 to 2, 3 in all"):
        store.read(7)


def test_episodes_that_do_not_fit_are_refused(store: Store) -> None:
    episode = store.read(0)
    columns = episode.columns

    def refused(changed: dict[str, Any], message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            store.append(Episode(episode.metadata, changed))

    refused({k: v for k, v in columns.items() if k != "counter"}, "missing: .'counter'")
    refused({**columns, "extra": columns["counter"]}, "not in the schema: .'extra'")
    refused({**columns, "action": columns["action"].astype("f8")}, "'action' is float64")
    refused({**columns, "action": columns["action"][:, :2]}, "'action' is float32")
    refused({**columns, "is_last": np.ones_like(columns["is_last"])}, "'is_last'")
    refused({**columns, "timestamp_ns": columns["timestamp_ns"][::-1].copy()}, "'timestamp_ns' must increase")
    other = episode.metadata.model_copy(update={"model_hash": "cd" * 32})
    with pytest.raises(DatasetError, match="model_hash"):
        store.append(Episode(other, columns))
    assert len(store) == 3


# ---- disks and processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_full_disk_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    episode = store.read(0)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(DatasetError, match="disk is full; nothing that was already written is lost"):
        store.append(episode)
    monkeypatch.undo()
    assert len(store) == 3 and store.verify().ok and not temporary_files(store)
    assert store.append(episode) == 3


def test_a_write_that_stops_half_way_leaves_nothing(store: Store) -> None:
    """The kernel itself refuses, in the middle of the file."""
    episode = store.read(0)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, old[1]))
    try:
        with pytest.raises(DatasetError, match="cannot be written"):
            store.append(episode)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert not temporary_files(store) and store.verify().ok and len(store) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        env = fake_env.FakeEnv(steps=300)
        store = Store.create(disk / "data", make_schema(env))
        with pytest.raises(DatasetError, match="disk is full"):
            add(store, env, range(0, 100, 2))
        written = len(store)
        assert written >= 2 and store.verify().ok and not temporary_files(store)
        store.file(0).unlink()
        add(store, env, [200])
        assert len(store) == written
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_without_hard_links_nothing_is_overwritten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refuse)
    episode = store.read(0)
    before = {n: store.file(n).read_bytes() for n in store.episodes()}
    twin = Store.open(store.path)
    assert [store.append(episode), twin.append(episode), store.append(episode)] == [3, 4, 5]
    assert {n: store.file(n).read_bytes() for n in before} == before and not temporary_files(store)


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(store: Store) -> None:
    dead = store.path / "episodes" / ".tmp-1-dead"
    dead.write_bytes(b"half an epis")
    living, descriptor = files.create_locked(store.path / "episodes")
    opened = Store.open(store.path)
    assert opened.recovered == (".tmp-1-dead: removed, an episode that was being written when its writer died",)
    assert living.exists() and not dead.exists() and opened.verify().ok
    os.close(descriptor)
    assert Store.open(store.path).recovered and not Store.open(store.path).recovered


def test_a_kill_between_link_and_unlink_keeps_the_episode(store: Store) -> None:
    os.link(store.file(2), store.path / "episodes" / ".tmp-1-linked")
    opened = Store.open(store.path)
    assert len(opened.recovered) == 1 and opened.verify().ok and len(opened) == 3


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import fake_env
    from test_datasets_store import add
    from training_ground.datasets import episode_file
    from training_ground.datasets.provenance import make_schema
    from training_ground.datasets.store import Store

    env = fake_env.FakeEnv(steps=20)
    warm = add(None, env, [0])  # whatever is loaded late is loaded now: the kill shall meet work, not imports
    episode_file.encode(warm.episode, warm.schema)
    path, first, count = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    store = Store.open(path) if (path / "dataset.json").exists() else Store.create(path, make_schema(env))
    print("ready", flush=True)
    for seed in range(first, first + count):
        print(add(store, env, [seed]).written[0], flush=True)
    """
)


def writer(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(path), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    store = record(tmp_path / "data", 0, steps=20)
    processes = [writer(store.path, first, 40) for first in (0, 1000, 2000)]
    said = [int(line) for p in processes for line in p.communicate()[0].splitlines()[1:]]
    assert [p.returncode for p in processes] == [0, 0, 0]
    assert sorted(said) == list(range(120)) == Store.open(store.path).episodes()
    report = store.verify()
    assert report.ok and not report.notes
    assert {store.metadata(n).seed for n in store.episodes()} == {f + i for f in (0, 1000, 2000) for i in range(40)}


def test_append_does_not_slow_down(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is listed once, however many episodes are appended."""
    calls = []
    monkeypatch.setattr(Store, "_files", lambda self, real=Store._files: calls.append(1) or real(self))
    episode = store.read(0)
    fresh = Store.open(store.path)
    for _ in range(5):
        fresh.append(episode)
    assert len(calls) == 1

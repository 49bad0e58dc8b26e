"""A store between crashes, other processes and strangers: what must hold at the worst moment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_datasets_video as pictures
from test_datasets_curation import killed

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets import episode_file, files, manifest, media, signing, trash, trust
from training_ground.datasets.annotations import Record
from training_ground.datasets.curation import make, plan_copy
from training_ground.datasets.episode_file import METADATA_KEY, SEAL_KEY, Episode
from training_ground.datasets.export import new_folder
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.schema import parse_json
from training_ground.datasets.store import Store
from training_ground.datasets.video import VideoWriter


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "data", make_schema(fake_env.FakeEnv()))
    recorder = Recorder(fake_env.FakeEnv(steps=4), store)
    for seed in (0, 2):
        recorder.reset(seed=seed)
        while not any(recorder.step(np.zeros(3, np.float32))[2:4]):
            pass
    return store


@pytest.fixture
def filmed(tmp_path: Path) -> Store:
    return pictures.record(tmp_path / "filmed", (4,), {"depth_front": pictures.DEPTH})


def other_pictures(store: Store) -> Episode:
    """An episode whose pictures the store does not have."""
    episode = store.read(0)
    shown = {name: np.asarray(episode.columns[name])[::-1].copy() for name in ("camera_front", "depth_front")}
    return Episode(episode.metadata, {**episode.columns, **shown})


def when(real: Callable[..., Any], path: Path, problem: BaseException) -> Callable[..., Any]:
    def call(folder: Path, *more: Any) -> Any:
        done = real(folder, *more)
        if folder == path:
            raise problem
        return done

    return call


# ---- the worst moment ------------------------------------------------------------------------------------------------


def test_an_interrupt_after_the_episode_has_its_name_leaves_its_pictures(
    filmed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync_folder", when(files.sync_folder, filmed.path / "episodes", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        filmed.append(other_pictures(filmed))
    monkeypatch.undo()
    opened = Store.open(filmed.path)
    assert opened.episodes() == [0, 1]
    episode: Any = opened.read(1)
    for name in filmed.schema.videos():
        episode.columns[name].check()


def test_a_folder_that_cannot_be_flushed_leaves_no_episode_and_no_pictures(
    filmed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pictures.media_files(filmed)
    failing = when(files.sync_folder, filmed.path / "episodes", OSError(5, "Input/output error"))
    monkeypatch.setattr(files, "sync_folder", failing)
    with pytest.raises(DatasetError, match="Input/output error"):
        filmed.append(other_pictures(filmed))
    monkeypatch.undo()
    assert filmed.episodes() == [0] and pictures.media_files(filmed) == before


def test_of_two_videos_of_which_one_fails_neither_stays(filmed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real, calls = pictures.media_files(filmed), media._publish, []

    def failing(*arguments: Any) -> bool:
        calls.append(arguments)
        if len(calls) == 2:
            raise DatasetError("no more")
        return real(*arguments)

    monkeypatch.setattr(media, "_publish", failing)
    with pytest.raises(DatasetError, match="no more"):
        filmed.append(other_pictures(filmed))
    assert pictures.media_files(filmed) == before


def test_pictures_that_were_mended_stay_where_the_episode_that_brought_them_fails(
    filmed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = filmed.read(0)
    shown = {name: np.asarray(episode.columns[name]) for name in filmed.schema.videos()}
    frames: Any = episode.columns["camera_front"]
    frames.path.write_bytes(b"damaged")
    monkeypatch.setattr(episode_file, "encode_unsealed", lambda *_: (_ for _ in ()).throw(DatasetError("too long")))
    with pytest.raises(DatasetError, match="too long"):
        filmed.append(Episode(episode.metadata, {**episode.columns, **shown}))
    monkeypatch.undo()
    assert filmed.verify().ok


def test_the_name_of_a_new_folder_is_flushed_before_an_episode_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    real = files.sync_folder
    monkeypatch.setattr(files, "sync_folder", lambda folder: (flushed.append(folder), real(folder))[1])
    monkeypatch.setattr(media, "sync_folder", files.sync_folder)
    store = Store.create(tmp_path / "data", make_schema(pictures.CameraEnv()))
    flushed.clear()
    Recorder(pictures.CameraEnv(), store)
    assert (store.path / "media").is_dir() and flushed == [store.path]


@pytest.mark.parametrize("batch_bytes", [1, 30_000, 1 << 20])  # an episode is flushed alone, with a few, with all
@pytest.mark.parametrize(
    "step", [(Store, "_encode"), (files.Staged, "flush"), (files.Staged, "publish"), (os, "fsync")]
)
def test_of_many_episodes_none_is_there_that_comes_after_one_that_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch, batch_bytes: int, step: tuple[Any, str]
) -> None:
    episode, real, calls = store.read(0), getattr(*step), count()
    monkeypatch.setattr("training_ground.datasets.store.BATCH_BYTES", batch_bytes)

    def failing(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 3:
            raise OSError(28, "No space left on device") if step[0] is os else DatasetError("the disk is full")
        return real(*arguments, **options)

    monkeypatch.setattr(*step, failing)
    many = [Episode(episode.metadata.model_copy(update={"seed": seed}), episode.columns) for seed in range(20)]
    with pytest.raises(DatasetError, match="the disk is full"):
        store.extend(many)
    assert [store.metadata(n).seed for n in store.episodes()][2:] == [0, 1, 2]
    assert not list(store.path.rglob(".tmp-*"))


def test_a_disk_that_is_full_at_the_end_of_a_video_is_said(filmed: Store) -> None:
    column = filmed.schema.columns()["camera_front"]
    writer = VideoWriter(Path("/dev/full"), column, filmed.schema.videos()["camera_front"], 50.0)
    with pytest.raises(DatasetError, match=r"channel 'camera_front': the video cannot be written: .*space"):
        for value in range(3):
            writer.add(np.full(column.shape, value, np.uint8))
        writer.close()
    writer.abandon()


@pytest.mark.slow
def test_killed_at_every_call_of_the_system_an_episode_and_its_pictures_are_there_or_not(
    filmed: Store, tmp_path: Path
) -> None:
    episode, path = other_pictures(filmed), tmp_path / "trial"
    outcomes, at = set(), 0
    for at in count(1):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(filmed.path, path)
        trial = Store(path, filmed.schema)
        if not killed(lambda: trial.append(episode), at):  # noqa: B023
            break
        opened = Store.open(path)
        outcomes.add(tuple(opened.episodes()))
        assert set(media.names(path)) == opened.media_names() and not list(path.rglob(".tmp-*"))
        episodes: Any = [opened.read(n) for n in opened.episodes()]
        for one, name in product(episodes, opened.schema.videos()):
            one.columns[name].check()
    assert outcomes == {(0,), (0, 1)} and at > 30


# ---- several at once -------------------------------------------------------------------------------------------------


def test_a_number_that_is_on_its_way_to_the_trash_is_not_given_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, real = Store.open(store.path), files.name_it
    episode = writer.read(0)
    writer.append(episode)
    writer._next = 2  # as if another process had written episode 2
    removal = threading.Thread(target=lambda: trash.remove(Store.open(store.path), [2]))

    def in_between(temporary: Path, path: Path) -> bool:
        if not removal.ident:
            removal.start()
            removal.join(0.3)
        return real(temporary, path)

    monkeypatch.setattr(files, "name_it", in_between)
    assert writer.append(episode) == 3
    removal.join()
    assert store.episodes() == [0, 1, 3] and [one.number for one in trash.trashed(store)] == [2]


WORKER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from training_ground.datasets.store import Store

    store = Store.open(Path(sys.argv[1]))
    episode = store.read(0)
    for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 40):
        metadata = episode.metadata.model_copy(update={"seed": seed})
        print(store.append(type(episode)(metadata, episode.columns)), seed, flush=True)
    """
)


def test_two_append_while_others_remove_restore_sign_and_copy(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    signing.make_key(tmp_path / "key")
    key = signing.read_private_key(tmp_path / "key")
    command = [sys.executable, "-c", WORKER, str(store.path)]
    writers = [subprocess.Popen([*command, first], stdout=subprocess.PIPE, text=True) for first in ("1000", "2000")]
    purged, rounds = set[int](), 0
    while rounds < 3 or any(writer.poll() is None for writer in writers):
        numbers = store.episodes()[2:][-4:]
        trash.remove(store, numbers)
        if numbers and rounds % 2:
            purged |= {*trash.purge(store, numbers[:1])}
        trash.restore(store)
        trust.sign_store(store, tmp_path / "key", key)
        copied, _ = make(plan_copy(store), tmp_path / f"copy{rounds}")
        assert copied.verify().ok
        report = trust.check(store.path, signing.read_public_keys(tmp_path / "key.pub"))
        assert report.verified, report.problems
        rounds += 1
    said = [line.split() for writer in writers for line in writer.communicate()[0].splitlines()]
    given = {int(number): int(seed) for number, seed in said}
    assert len(said) == len(given) == 80  # no number twice, also of those that were purged
    left = {n: store.metadata(n).seed for n in Store.open(store.path).episodes() if n > 1}
    assert left == {n: seed for n, seed in given.items() if n not in purged} and store.verify().ok


def test_a_folder_that_somebody_is_making_is_left_alone_and_that_of_the_dead_is_not(tmp_path: Path) -> None:
    """A number of a process says nothing: it may be another's by now, or of another machine."""
    out, dead = tmp_path / "out", tmp_path / f".out.tmp-{os.getpid()}-00000000"
    dead.mkdir()
    with new_folder(out) as first:
        away = first.rename(tmp_path / ".out.tmp-1234567-11111111")  # as another machine that shares the disk names it
        with pytest.raises(KeyError), new_folder(out):
            raise KeyError
        assert away.is_dir() and not dead.exists()
        away.rename(first)
    assert out.is_dir() and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_are_said_by_where_they_were(filmed: Store) -> None:
    (filmed.path / "annotations").mkdir()
    trash.remove(filmed, [0])
    for name in ("media", "annotations", "trash"):
        (filmed.path / name / ".tmp-1-dead").write_bytes(b"half")
    said = Store.open(filmed.path).recovered
    assert [line.partition(": ")[0] for line in said] == [f"{n}/.tmp-1-dead" for n in ("media", "annotations", "trash")]
    assert "pictures" in said[0] and Store.open(filmed.path).recovered == ()


# ---- strangers -------------------------------------------------------------------------------------------------------


def test_memory_is_taken_for_what_is_there_and_not_for_what_is_allowed(store: Store) -> None:
    tracemalloc.start()
    files.read_regular(store.file(0), 4 << 30)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_json_file_of_many_small_values_is_refused_before_it_is_parsed() -> None:
    bomb = b'{"files":[' + b"{}," * 10_000_000 + b"{}]}"
    tracemalloc.start()
    with pytest.raises(DatasetError, match="more than the 10000000 allowed"):
        parse_json(bomb, "manifest.json")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_footer_of_gigabytes_is_not_read(store: Store) -> None:
    with store.file(0).open("wb") as stream:
        stream.write(b"PAR1")
        stream.seek((3 << 30) + 4)
        stream.write((3 << 30).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(DatasetError, match="its footer says that it has 3221225472 bytes"):
        store.metadata(0)


def test_a_long_text_in_every_row_is_refused_before_it_is_unpacked(store: Store) -> None:
    """20,000 rows that name one text of a megabyte: 20 GB, in a file of kilobytes."""
    file = pq.ParquetFile(store.file(0))
    metadata = json.loads(file.metadata.metadata[METADATA_KEY]) | {"length": 19_999}
    table = file.read().replace_schema_metadata(None).take(pa.array(np.zeros(20_000, np.int64)))
    codes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), pa.array(["x" * 1_000_000]))
    table = table.set_column(table.column_names.index("phase"), "phase", codes)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(metadata), SEAL_KEY: b"sha256:" + b"0" * 64})
        writer.write_table(table)
    data = bytearray(sink.getvalue().to_pybytes())
    start = episode_file._seal_position(memoryview(data), "test")
    data[start : start + 64] = episode_file.hashlib.sha256(data).hexdigest().encode()
    store.file(0).write_bytes(data)
    assert len(data) < 200_000
    with pytest.raises(DatasetError, match="'phase' holds a text of 1000000 bytes, more than the 1000 allowed"):
        store.read(0)


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', '{"\\uDC00":1}', '{"a":["\\ud83d"]}'])
def test_half_a_letter_is_no_text(text: str) -> None:
    with pytest.raises(DatasetError, match=r"malformed JSON: .*surrogates not allowed"):
        parse_json(text.encode(), "about.json")
    assert parse_json(b'{"a":"\\ud83d\\ude00"}', "about.json") == {"a": "\U0001f600"}
    with pytest.raises(DatasetError, match="a text that is no text"):
        validate(Record, {"field": "\ud800"}, "label", DatasetError)


def test_what_an_error_quotes_is_short_and_nothing_that_a_terminal_obeys() -> None:
    raw = json.dumps({"format": "\x1b]0;title\x07" * 3, "version": "9" * 100_000, "root": [0] * 100_000, "files": []})
    with pytest.raises(DatasetError) as caught:
        manifest.parse(raw.encode(), "a\x1b[2J\u202emanifest.json")
    said = str(caught.value)
    assert len(said) < 2000 and said.startswith("a\\x1b[2J\\u202emanifest.json: format = ")
    assert all(c.isprintable() for c in said)


def test_a_clock_that_jumps_back_further_than_64_bits_tell_is_refused(store: Store) -> None:
    episode = store.read(0)
    clock = episode.columns["timestamp_ns"].copy()
    clock[:2] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    with pytest.raises(DatasetError, match="'timestamp_ns' must increase"):
        store.append(Episode(episode.metadata, {**episode.columns, "timestamp_ns": clock}))


def test_texts_of_strangers_reach_a_terminal_as_texts(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    trash.remove(store, [0], "\x1b]0;title\x07")
    assert main(["data", "restore", str(store.path)]) == 0
    assert "\\x1b]0;title\\x07" in "".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["episode_0000001.parquet", "episode_000001.parquet\n", "episode_00000१.parquet"])
def test_a_number_has_one_name(store: Store, name: str) -> None:
    (store.path / "episodes" / name).write_bytes(store.file(0).read_bytes())
    assert store.episodes() == [0, 1] and len(store.verify().notes) == 1


@pytest.mark.parametrize("name", ["trash", "media", "annotations", "splits"])
def test_no_folder_of_a_store_is_a_link(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store.path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=rf"{name}: is a symbolic link; it must be a plain folder"):
        Store.open(store.path)

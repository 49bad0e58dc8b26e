"""Stores at an address: what is sent and fetched is the same to the byte, what is half there can be lived with, and
nothing that a stranger put there does more than an error. fsspec's memory and file systems; S3 is in tests/external."""

from __future__ import annotations

import json
import runpy
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_env
import fsspec
import numpy as np
import pytest
from numpy.typing import NDArray

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets import annotations, layout, manifest, signing
from training_ground.datasets.array_build import refresh
from training_ground.datasets.arrays import View
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.remote import contents, ranges
from training_ground.datasets.remote import location as locations
from training_ground.datasets.remote.cache import Cache
from training_ground.datasets.remote.location import Held, Location
from training_ground.datasets.remote.parallel import in_order
from training_ground.datasets.remote.pull import plan_pull, pull
from training_ground.datasets.remote.push import plan_push, push
from training_ground.datasets.remote.store import RemoteStore
from training_ground.datasets.remote.training import Stream
from training_ground.datasets.store import Store
from training_ground.datasets.trust import check, sign_store
from training_ground.datasets.video_schema import VideoStorage
from training_ground.datasets.windows import Windows
from training_ground.envs.channels import Channel

FFV1 = VideoStorage(codec="ffv1", keyframe_interval=1)
LONG = 2
FILES = 9  # dataset.json, an annotation, a split, three episodes and their media


class CameraEnv(fake_env.FakeEnv):
    """Three joints and a small grey picture."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.channels = (*self.channels, Channel("camera", (8, 8), "1", "none", "state", "Grey.", (), "uint8"))

    def frame(self) -> dict[str, NDArray[Any]]:
        every, self.channels = self.channels, self.channels[:-1]
        values = super().frame()
        self.channels = every
        return {**values, "camera": np.full((8, 8), (self.seed + self.count // 4) % 256, np.uint8)}


def test_every_kind_of_file_is_sent_and_found() -> None:
    stages = [name for stage in contents.STAGES for name in stage]
    assert sorted(stages) == sorted({*layout.FILES, *manifest.TOP, layout.MANIFEST, layout.SIGNATURE})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Store:
    env = CameraEnv(steps=24)
    store = Store.create(tmp_path_factory.mktemp("remote") / "data", make_schema(env, {"camera": FFV1}))
    recorder = Recorder(env, store)
    fake_env.play(recorder, range(LONG))
    env.steps = 2500
    fake_env.play(recorder, [LONG])  # long enough for its columns to be fetched apart
    metadata = store.metadata(0)
    said = {"episode": 0, "content_sha256": metadata.content_sha256, "field": "note", "value": "Good.", "time_ns": 1}
    record = annotations.Record.model_validate({**said, "source": "person", "author": "me"})
    annotations.append(store, [record])
    (store.path / "splits").mkdir()
    (store.path / "splits" / "half.json").write_text("{}")
    return store


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = f"{tmp_path.as_posix()}/there" if request.param == "file" else f"{tmp_path.name}/press"
    return f"{request.param}://{root}"


@pytest.fixture
def sent(original: Store, tmp_path: Path) -> str:
    address = f"memory://{tmp_path.name}/sent"
    push(plan_push(original, address))
    return address


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "FIRST_DELAY_S", 0.0)


def data_files(folder: Path) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in manifest.listed_files(folder)}


def change(address: str, path: str, data: bytes | None = None) -> None:
    """Change a file at an address behind everybody's back: one byte, or all of them."""
    file_system, root = fsspec.core.url_to_fs(f"{address}/{path}")
    if data is None:
        raw = bytearray(file_system.cat_file(root))
        raw[len(raw) // 2] ^= 1
        data = bytes(raw)
    file_system.pipe_file(root, data)


def same(ours: Episode, theirs: Episode) -> None:
    assert ours.metadata == theirs.metadata
    for name, values in ours.columns.items():
        assert np.array_equal(np.asarray(values), np.asarray(theirs.columns[name])), name


# What is sent and fetched


def test_what_is_pushed_and_pulled_is_the_same_to_the_byte(original: Store, url: str, tmp_path: Path) -> None:
    plan = plan_push(original, url)
    files = data_files(original.path)
    assert set(plan.new) == set(files) and not plan.changed and plan.size == sum(map(len, files.values()))
    seen: list[str] = []
    push(plan, progress=lambda path, size: seen.append(path))
    assert sorted(seen) == sorted(files)
    again = plan_push(original, url)
    assert (again.new, again.changed, again.same, again.extra) == ((), (), len(files), {})

    back = tmp_path / "back"
    store = pull(plan_pull(url, back))
    assert data_files(back) == files and store.verify().ok and not store.recovered
    assert check(back).ok  # the manifest that came along lists everything
    assert plan_pull(url, back).same == len(files)
    same(original.read(0), store.read(0))


def test_only_what_is_new_is_sent_or_fetched(original: Store, url: str, tmp_path: Path) -> None:
    shutil.copytree(original.path, tmp_path / "growing")
    store, back = Store.open(tmp_path / "growing"), tmp_path / "back"
    push(plan_push(store, url))
    pull(plan_pull(url, back))
    store.append(store.read(1))
    plan = plan_push(store, url)
    assert plan.new == ("episodes/episode_000003.parquet",) and plan.same == FILES
    push(plan)
    assert plan_pull(url, back).new == plan.new
    assert len(pull(plan_pull(url, back))) == 4


@pytest.mark.parametrize("instant", range(0, 9, 2))
def test_a_push_that_dies_is_readable_at_every_instant_and_goes_on(
    original: Store, tmp_path: Path, instant: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, done = f"memory://{tmp_path.name}/dying", []
    write = Location.write

    def dying(self: Location, path: str, source: Any) -> None:
        if len(done) == instant:
            raise KeyboardInterrupt
        write(self, path, source)
        done.append(path)

    monkeypatch.setattr(Location, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        push(plan_push(original, address), workers=1)
    monkeypatch.setattr(Location, "write", write)
    if instant == 0:
        with pytest.raises(DatasetError, match=r"has no dataset\.json"):
            RemoteStore.open(address)
    else:
        reader = RemoteStore.open(address)
        for number in reader.episodes():
            same(original.read(number), reader.read(number))
        assert reader.verify().ok
        assert instant < 7 or len(reader) == 3
    plan = plan_push(original, address)
    assert not set(plan.new) & set(done) and not plan.changed
    push(plan)
    assert RemoteStore.open(address).contents.listed.keys() == data_files(original.path).keys()


def test_a_pull_that_dies_leaves_a_store_and_goes_on(
    original: Store, sent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, fetch, calls = tmp_path / "back", Location.fetch, []

    def dying(self: Location, path: str, start: int, end: int) -> bytes:
        calls.append(path)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return fetch(self, path, start, end)

    monkeypatch.setattr(Location, "fetch", dying)
    with pytest.raises(KeyboardInterrupt):
        pull(plan_pull(sent, back), workers=1)
    monkeypatch.setattr(Location, "fetch", fetch)
    partial = Store.open(back)
    assert partial.verify().ok and 0 < len(partial) < 3
    assert not list(back.rglob(".tmp-*"))
    plan = plan_pull(sent, back)
    assert plan.same in (5, 6)  # one was on its way
    pull(plan)
    assert data_files(back) == data_files(original.path)


def test_nothing_is_replaced_unasked(original: Store, url: str, tmp_path: Path) -> None:
    push(plan_push(original, url))
    other = tmp_path / "other"
    shutil.copytree(original.path, other)
    shutil.copy(other / "episodes/episode_000001.parquet", other / "episodes/episode_000000.parquet")
    (other / "episodes/episode_000003.parquet").hardlink_to(other / "episodes/episode_000001.parquet")
    plan = plan_push(Store.open(other), url)
    assert plan.changed == ("episodes/episode_000000.parquet",) and plan.new == ("episodes/episode_000003.parquet",)
    with pytest.raises(DatasetError, match="would be replaced"):
        push(plan)
    assert len(RemoteStore.open(url)) == 3
    fetched = plan_pull(url, other)
    assert fetched.changed == plan.changed and fetched.only_here == plan.new
    with pytest.raises(DatasetError, match="would be replaced"):
        pull(fetched)
    push(plan, replace=True)
    same(RemoteStore.open(url).read(0), original.read(1))
    (other / "episodes/episode_000003.parquet").unlink()
    assert plan_push(Store.open(other), url).only_there == plan.new


def test_other_datasets_are_left_alone(original: Store, sent: str, tmp_path: Path) -> None:
    stranger = Store.create(tmp_path / "stranger", make_schema(fake_env.FakeEnv(joints=("a", "b"))))
    with pytest.raises(DatasetError, match="holds another dataset, of 'fake'"):
        plan_push(stranger, sent)
    with pytest.raises(DatasetError, match="holds another dataset than"):
        plan_pull(sent, stranger.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"not empty \(mine.txt\)"):
        plan_pull(sent, tmp_path / "full")
    with pytest.raises(DatasetError, match=r"has no dataset\.json"):
        plan_pull(f"memory://{tmp_path.name}/nothing", tmp_path / "x")
    change(f"memory://{tmp_path.name}/odd", "episodes/episode_000000.parquet", b"x")
    with pytest.raises(DatasetError, match=r"without a dataset\.json"):
        plan_push(original, f"memory://{tmp_path.name}/odd")


# Strangers


@pytest.mark.parametrize(
    "path", ["episodes/episode_000001.parquet", "annotations/annotation_000000.json", "splits/half.json", "media"]
)
def test_what_was_tampered_with_is_refused(original: Store, sent: str, tmp_path: Path, path: str) -> None:
    if path == "media":
        path = next(name for name in data_files(original.path) if name.startswith("media/"))
    change(sent, path)
    back, reader = tmp_path / "back", RemoteStore.open(sent)
    with pytest.raises(DatasetError, match=f"{path}: is damaged or was changed"):
        pull(plan_pull(sent, back))
    assert not (back / path).exists() and not (back / "manifest.json").exists()
    assert Store.open(back).verify().ok
    assert len(reader.verify().problems) == 1 and path in reader.verify().problems[0]
    if path.startswith("episodes/"):
        with pytest.raises(DatasetError, match="is damaged or was changed"):
            reader.read(1)
        same(reader.read(0), original.read(0))
    if path.startswith("media/"):
        wrong = [n for n in reader.episodes() if reader.read(n).metadata.media["camera"].name in path]
        with pytest.raises(DatasetError, match="is damaged or was changed"):
            np.asarray(reader.read(wrong[0]).columns["camera"])
        assert not list(reader.cache.folder.glob("media/*"))


def test_a_signature_is_checked_before_anything_else_is_fetched(
    original: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "signed"
    shutil.copytree(original.path, folder)
    store = Store.open(folder)
    public, _ = signing.make_key(tmp_path / "key.pem")
    other, _ = signing.make_key(tmp_path / "other.pem")
    trusted, strange = signing.read_public_keys(public), signing.read_public_keys(other)
    push(plan_push(store, url))
    with pytest.raises(DatasetError, match="is not signed"):
        RemoteStore.open(url, keys=trusted)
    sign_store(store, tmp_path / "key.pem", signing.read_private_key(tmp_path / "key.pem"))
    store.append(store.read(0))  # after signing
    push(plan_push(store, url))
    assert len(RemoteStore.open(url)) == 4 and len(RemoteStore.open(url, keys=trusted)) == 3
    assert len(pull(plan_pull(url, tmp_path / "back", trusted))) == 3
    assert check(tmp_path / "back", trusted).verified
    with pytest.raises(DatasetError, match="not signed by a key that you trust"):
        plan_pull(url, tmp_path / "x", strange)
    reader = RemoteStore.open(url, keys=trusted)
    change(url, "episodes/episode_000001.parquet")
    for part in (lambda: reader.columns(1, ["action"]), lambda: reader.metadata(1), lambda: list(reader.stream([1]))):
        with pytest.raises(DatasetError, match="is damaged or was changed"):
            part()
    description = (folder / "dataset.json").read_bytes()
    change(url, "dataset.json", description.replace(b"Keep three joints", b"Drop three joints"))
    for ask in (lambda: RemoteStore.open(url), lambda: plan_pull(url, tmp_path / "x")):
        with pytest.raises(DatasetError, match=r"dataset\.json: is damaged or was changed"):
            ask()
    push(plan_push(store, url), replace=True)
    raw = (folder / "manifest.json").read_bytes()
    for changed, said in ((raw[:-3] + b" ]}\n", "was signed for another"), (raw[:-9], "malformed JSON")):
        change(url, "manifest.json", changed)
        with pytest.raises(DatasetError, match=said):
            plan_pull(url, tmp_path / "x", trusted)
    unsigned = Store.open(original.path)
    change(url, "manifest.json", raw)
    with pytest.raises(DatasetError, match="is not signed, and what is at the other end is"):
        plan_push(unsigned, url)


def test_names_and_sizes_of_strangers(original: Store, sent: str, tmp_path: Path, monkeypatch: Any) -> None:
    names = Location.names

    def hostile(self: Location, folder: str = "") -> dict[str, Held]:
        odd = dict.fromkeys(["..", "../../x", "episode_1.parquet", "episode_000009.parquet/..", "x\n"], Held(5))
        return {**names(self, folder), **odd}

    monkeypatch.setattr(Location, "names", hostile)
    plan = plan_pull(sent, tmp_path / "back")
    assert set(plan.new) == set(data_files(original.path))
    assert any("5 files in episodes/ are none of a dataset's" in note for note in plan.contents.notes)
    bomb = {"episode_000000.parquet": Held(1 << 50)}
    monkeypatch.setattr(
        Location, "names", lambda self, folder="": bomb if folder == "episodes" else names(self, folder)
    )
    with pytest.raises(DatasetError, match="has 1125899906842624 bytes, more than the 4294967296 allowed"):
        RemoteStore.open(sent)
    monkeypatch.undo()
    change(sent, "dataset.json", b" " * (65 << 20))
    tracemalloc.start()
    with pytest.raises(DatasetError, match="more than the 67108864 bytes allowed"):
        RemoteStore.open(sent)
    assert tracemalloc.get_traced_memory()[1] < 150 << 20
    tracemalloc.stop()


def test_links_on_another_disk_are_not_followed(original: Store, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(original.path, there)
    secret = tmp_path / "secret.parquet"
    shutil.copy(there / "episodes/episode_000000.parquet", secret)
    (there / "episodes/episode_000000.parquet").unlink()
    (there / "episodes/episode_000000.parquet").symlink_to(secret)
    reader = RemoteStore.open(f"file://{there.as_posix()}")
    assert reader.episodes() == [1, 2]
    (there / "episodes").rename(tmp_path / "elsewhere")
    (there / "episodes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="symbolic link"):
        RemoteStore.open(f"file://{there.as_posix()}")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "media").symlink_to(tmp_path)
    push(plan_push(original, f"memory://{tmp_path.name}/m"))
    with pytest.raises(DatasetError, match="symbolic link"):
        plan_pull(f"memory://{tmp_path.name}/m", tmp_path / "here")


def test_parts_of_mutated_files_never_do_more_than_an_error(original: Store, sent: str) -> None:
    reader = RemoteStore.open(sent)
    raw = original.file(LONG).read_bytes()
    generator, refused = np.random.default_rng(0), 0
    for trial in range(150):
        data = bytearray(raw)
        tail = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        for place in generator.integers(tail if trial % 2 else 0, len(data), 1 + trial % 5):
            data[place] = int(generator.integers(256))
        change(sent, "episodes/episode_000002.parquet", bytes(data))
        try:
            columns = reader.columns(LONG, ["joint_position", "phase", "counter"])
            assert columns["joint_position"].shape == (2501, 3) and columns["counter"].dtype == np.int64
        except DatasetError:
            refused += 1
    assert 50 < refused < 150
    for short in (b"", b"PAR1", raw[:50], raw[: len(raw) // 2]):
        change(sent, "episodes/episode_000002.parquet", short)
        with pytest.raises(DatasetError):
            RemoteStore.open(sent).metadata(LONG)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:secret@bucket/press", "credentials do not belong into an address"),
        ("https://user:secret@host/press", "credentials do not belong into an address"),
        ("https://host/press?X-Amz-Signature=secret", "credentials do not belong into an address"),
        ("simplecache::s3://bucket/press", "'::' chains file systems"),
        ("zip://x::file:///a.zip", "'::' chains file systems"),
        ("ftp://host/press", "'ftp' is no protocol"),
        ("secret", "is no protocol"),
        ("s3://bucket/../secret", "names hold letters"),
        ("s3://bucket/a//secret", "names hold letters"),
        ("s3://bucket/a%2fsecret", "names hold letters"),
        ("file://host/secret", "absolute path"),
        ("file:///", "must name a folder"),
        ("s3:///secret", "name of a bucket"),
    ],
)
def test_addresses_that_are_refused(address: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        Location(address)
    assert "secret" not in str(caught.value) or address == "secret"


def test_what_fails_is_tried_again_and_its_text_is_not_passed_on(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location, failures = Location(sent), iter([OSError("secret"), TimeoutError("secret")])
    get = location._get

    def shaky(path: str, start: int, end: int) -> bytes:
        for failure in failures:
            raise failure
        return get(path, start, end)

    monkeypatch.setattr(location, "_get", shaky)
    assert json.loads(location.read("dataset.json", 1 << 20))["robot"] == "fake"
    for problem in (OSError("secret"), PermissionError("secret"), TimeoutError("secret"), RuntimeError("secret")):
        monkeypatch.setattr(location, "_get", lambda *_, p=problem: (_ for _ in ()).throw(p))
        with pytest.raises(DatasetError) as caught:
            location.read("dataset.json", 1 << 20)
        assert "secret" not in str(caught.value) and "dataset.json" in str(caught.value)


def test_what_arrives_otherwise_is_sent_again(original: Store, tmp_path: Path, monkeypatch: Any) -> None:
    address, put, bad = f"memory://{tmp_path.name}/noisy", Location._put, ["once"]

    def noisy(self: Location, full: str, source: Any) -> None:
        put(self, full, source[:-1] + b"?" if bad and "episode_000001" in full and bad.pop() else source)

    monkeypatch.setattr(Location, "_put", noisy)
    push(plan_push(original, address))
    assert not bad and RemoteStore.open(address).verify().ok
    monkeypatch.setattr(Location, "_put", lambda self, full, source: put(self, full, b"?" * len(source)))
    with pytest.raises(DatasetError, match=r"dataset\.json: does not arrive as it was sent"):
        push(plan_push(original, f"{address}2"))


# Reading in place


def test_a_few_columns_cost_a_few_bytes(original: Store, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "LEAST_BYTES", 1 << 10)
    reader, whole = RemoteStore.open(sent), original.read(LONG)
    reader.metadata(LONG)  # from here on it knows how long a footer is
    before = reader.location.received
    columns = reader.columns(LONG, ["action", "phase"])
    cost = reader.location.received - before
    for name, values in columns.items():
        assert np.array_equal(values, whole.columns[name]) and len(columns) == 2
    assert cost < 0.5 * original.file(LONG).stat().st_size
    assert reader.metadata(LONG) == whole.metadata
    for names, said in ((["actoin"], "did you mean 'action'"), (["camera"], "is a video")):
        with pytest.raises(DatasetError, match=said):
            reader.columns(0, names)
    with pytest.raises(DatasetError, match="there is no episode 9; there are: 0 to 2"):
        reader.read(9)


def test_a_stream_gives_every_episode_in_the_order_asked_for(original: Store, sent: str) -> None:
    reader = RemoteStore.open(sent)
    for number, episode in zip([2, 0, 1, 0], reader.stream([2, 0, 1, 0]), strict=True):
        assert episode.number == number
        same(original.read(number), episode)
    assert [number for number, _ in reader.stream_metadata()] == [0, 1, 2]


def test_no_more_is_ahead_than_was_allowed() -> None:
    taken = started = most = 0

    def work(weight: int) -> int:
        nonlocal started
        started += weight
        return weight

    weights = [3, 3, 3, 50, 1, 1, 1, 1]
    for weight in in_order(work, ((w, w) for w in weights), 3, 10):
        most = max(most, started - taken) if weight != 50 else most
        taken += weight
    assert taken == sum(weights) and most <= 60


def test_the_cache_saves_requests_and_stays_small(original: Store, sent: str, tmp_path: Path) -> None:
    room = original.file(0).stat().st_size * 5 // 2
    cache = Cache(tmp_path / "cache", max_bytes=room)
    reader = RemoteStore.open(sent, cache=cache)
    for _ in range(2):
        same(original.read(0), reader.read(0))
    requests = reader.location.requests
    reader.read(0)
    reader.columns(0, ["action"])
    assert reader.location.requests == requests
    for number in (1, LONG, 0, 1):  # LONG is larger than the cache
        reader.read(number)
    held = sum(path.stat().st_size for path in cache.folder.rglob("*") if path.is_file())
    assert 0 < held <= room
    for path in cache.folder.glob("episodes/*"):
        path.write_bytes(b"?" * path.stat().st_size)
    same(original.read(0), reader.read(0))  # damaged in the cache: fetched again


def test_streamed_windows_are_those_of_a_training_view(original: Store, sent: str, tmp_path: Path) -> None:
    offsets: Any = {"joint_position": (-1, 0), "action": range(3), "reward": 1}
    view: View = refresh(original, folder=tmp_path / "arrays")
    windows = Windows(view, offsets)
    expected = {(int(w["episode"]), int(w["row"])): w for w in (windows[i] for i in range(0, len(windows), 7))}
    for checked in (True, False):
        stream = Stream(RemoteStore.open(sent), offsets, 64, together=2, checked=checked)
        seen: list[tuple[int, int]] = []
        for batch in stream:
            anchors = list(zip(batch["episode"].tolist(), batch["row"].tolist(), strict=True))
            for place, anchor in enumerate(anchors):
                for name, values in expected.get(anchor, {}).items():
                    assert np.array_equal(batch[name][place], values), (anchor, name)
            seen += anchors
        assert len(seen) == len(set(seen)) == len(windows)
    first, again = (Stream(RemoteStore.open(sent), offsets, 64, seed=5) for _ in range(2))
    one, other = list(first), list(again)
    assert all(np.array_equal(a["row"], b["row"]) for a, b in zip(one, other, strict=True))
    assert any(not np.array_equal(a["row"], b["row"]) for a, b in zip(one, first, strict=True))  # the next epoch
    with pytest.raises(DatasetError, match="is text or a video"):
        Stream(RemoteStore.open(sent), {"camera": 0}, 8)


# The command line


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    def run(*arguments: str, status: int = 0) -> dict[str, Any]:
        assert main(["data", *arguments, "--json"]) == status
        return json.loads(capsys.readouterr().out)

    yield run


def test_verbs_take_addresses(original: Store, url: str, tmp_path: Path, said: Any, capsys: Any) -> None:
    back = str(tmp_path / "back")
    assert said("push", str(original.path), url)["new"] == FILES
    assert said("push", str(original.path), url)["same"] == FILES
    assert said("pull", url, back)["new"] == FILES
    assert [one["seed"] for one in said("ls", url)["episodes"]] == [0, 1, 2]
    assert said("verify", url)["episodes"] == 3
    assert main(["data", "ls", url]) == 0 and "3 episodes, 2,536 steps" in capsys.readouterr().out
    change(url, "splits/half.json")
    assert "splits/half.json" in said("verify", url, status=1)["problems"][0]
    (Path(back) / "splits/half.json").write_text("[]")
    assert said("pull", url, back, status=1)["changed"] == ["splits/half.json"]
    assert main(["data", "push", str(original.path), "s3://a:secret@b/c"]) == 2
    assert "secret" not in capsys.readouterr().err


@pytest.mark.slow
def test_the_documented_code_runs(original: Store, sent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python blocks of docs/data_remote.md, in order."""
    pytest.importorskip("torch")
    monkeypatch.setenv("TG_CACHE", str(tmp_path / "cache"))
    page = (Path(__file__).parent.parent / "docs" / "data_remote.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in page.split("```python\n")[1:]]
    (tmp_path / "page.py").write_text("\n".join(blocks).replace("s3://bucket/stand", sent), encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "page.py"))
    assert len(blocks) == 2 and names["batch"]["action"].shape[1:] == (8, 3)

"""Pictures as video: what is recorded comes back, on demand, and no file makes a reader do anything but refuse."""

from __future__ import annotations

import copy
import errno
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import fake_env
import numpy as np
import pytest
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets import files, looking
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export
from training_ground.datasets.frames import Frames
from training_ground.datasets.media import Draft
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.replay import replay
from training_ground.datasets.schema import ChannelSchema
from training_ground.datasets.store import Store
from training_ground.datasets.video import MILLISECOND
from training_ground.datasets.video_schema import VideoStorage
from training_ground.envs.channels import Calibration, Channel

SHAPE = (48, 64)
DEPTH_STEP = 0.001
FFV1 = VideoStorage(codec="ffv1", keyframe_interval=1)
DEPTH = VideoStorage(codec="ffv1", keyframe_interval=1, depth_step=DEPTH_STEP)
CALIBRATION = Calibration(
    ((60.0, 0.0, 31.5), (0.0, 60.0, 23.5), (0.0, 0.0, 1.0)), "world", (0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0), 0.05, 20.0
)
POSE = {"position": [1.0, 2.0, 3.0], "orientation": [0.0, 0.0, 0.0, 1.0]}


class CameraEnv(fake_env.FakeEnv):
    """The small environment with a camera of 10 Hz, depth at the control rate, and a twin of the camera."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        rgb = ("red", "green", "blue")
        text = "Pictures."
        self.channels = (
            *self.channels,
            Channel("camera_front", (*SHAPE, 3), "1", "none", "picture", text, rgb, "uint8", 10.0, CALIBRATION),
            Channel("camera_twin", (*SHAPE, 3), "1", "none", "picture", text, rgb, "uint8", 10.0),
            Channel("depth_front", SHAPE, "m", "none", "state", text),
        )

    def frame(self) -> dict[str, NDArray[Any]]:
        generator = np.random.default_rng([self.seed, self.count // 5])
        picture = np.full((*SHAPE, 3), 90, np.uint8)
        top = int(generator.integers(0, 30))
        picture[top : top + 12, 10:40] = generator.integers(0, 256, (12, 30, 3))
        depth = 1.0 + 0.01 * self.count + np.linspace(0, 2, SHAPE[1], dtype=np.float32) * np.ones(SHAPE, np.float32)
        all_but, self.channels = self.channels, self.channels[:-3]
        values = super().frame()
        self.channels = all_but
        return {**values, "camera_front": picture, "camera_twin": picture, "depth_front": depth}

    def camera_poses(self) -> dict[str, Any]:
        return {"camera_front": POSE}


def record(path: Path, seeds: Any = (4,), videos: dict[str, VideoStorage | None] | None = None) -> Store:
    env = CameraEnv()
    store = Store.create(path, make_schema(env, videos))
    recorder = Recorder(env, store)
    for seed in seeds:
        play(recorder, seed)
    return store


def play(recorder: Recorder, seed: int) -> dict[str, list[NDArray[Any]]]:
    """Record an episode; return what the environment showed."""
    seen: dict[str, list[NDArray[Any]]] = {"camera_front": [], "depth_front": []}

    def look() -> None:
        for name, values in seen.items():
            values.append(recorder.unwrapped.frame()[name])  # type: ignore[attr-defined]

    fake_env.play(recorder, [seed], look=look)
    return seen


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return record(tmp_path_factory.mktemp("video") / "data", (4, 6), {"depth_front": DEPTH})


@pytest.fixture
def store(made: Store, tmp_path: Path) -> Store:
    shutil.copytree(made.path, tmp_path / "data")
    return Store.open(tmp_path / "data")


def frames(store: Store, name: str = "camera_front") -> Any:
    return store.read(0).columns[name]


def media_files(store: Store) -> list[str]:
    return sorted(path.name for path in (store.path / "media").iterdir())


# ---- what is recorded comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", [VideoStorage(), FFV1])
def test_pictures_come_back_bit_for_bit_and_from_anywhere(tmp_path: Path, storage: VideoStorage) -> None:
    env = CameraEnv()
    store = Store.create(tmp_path / "data", make_schema(env, {"camera_front": storage, "camera_twin": None}))
    recorder = Recorder(env, store)
    shown = np.array(play(recorder, 4)["camera_front"])
    assert recorder.episode is not None
    for found in (recorder.episode.columns["camera_front"], Store.open(store.path).read(0).columns["camera_front"]):
        assert isinstance(found, Frames) and found.shape == shown.shape and found.dtype == np.uint8
        assert found.media.frames == 7 and np.array_equal(found.numbers, np.arange(31) // 5), "one a picture, not a row"
        assert all(np.array_equal(a, b) for a, b in zip(found, shown, strict=True))
        for row in (30, 0, 17, 3, -1, 16, 29):
            assert np.array_equal(found[row], shown[row])
        assert np.array_equal(found[[20, 2, 11]], shown[[20, 2, 11]]) and np.array_equal(found[-4:], shown[-4:])
        assert np.array_equal(copy.deepcopy(found)[25], shown[25])
        assert np.array_equal(np.asarray(found), shown)
        for key in (
            (..., 0),
            (3, ..., 1),
            (slice(4, 9), 2),
            ([[1, 2], [7, 3]],),
            (slice(0), 1),
            ([5, 8], [0, 1]),
            None,
            [[1, 2]],
        ):
            assert np.array_equal(found[key], shown[key]), key
        with pytest.raises(IndexError):
            found[31]
        found[4][:] = 0
        next(iter(found))[:] = 0
        assert np.array_equal(found[4], shown[4]) and np.array_equal(found[0], shown[0]), "what is given is the asker's"
    assert np.array_equal(store.read(0).columns["camera_twin"], shown)


def test_depth_is_off_by_half_a_step_at_most_and_refused_where_it_cannot_be_held(tmp_path: Path) -> None:
    env = CameraEnv()
    store = Store.create(tmp_path / "data", make_schema(env, {"depth_front": DEPTH}))
    shown = np.array(play(Recorder(env, store), 4)["depth_front"])
    found = frames(store, "depth_front")
    assert found.dtype == np.float32 and found.media.decoded_sha256
    assert 0.4 * DEPTH_STEP < np.abs(np.asarray(found) - shown).max() <= 0.5001 * DEPTH_STEP
    for wrong in (np.nan, -0.01, 66.0):
        values = shown.copy()
        values[7, 3, 3] = wrong
        episode = store.read(0)
        with pytest.raises(DatasetError, match=r"'depth_front', row 7: a depth .*65\.535 m"):
            store.append(Episode(episode.metadata, {**episode.columns, "depth_front": values}))
    assert store.episodes() == [0] and len(media_files(store)) == 2


def test_loss_is_measured_while_it_is_recorded(tmp_path: Path) -> None:
    env = CameraEnv()
    store = Store.create(tmp_path / "data", make_schema(env, {"camera_front": VideoStorage(quality=18)}))
    shown = np.array(play(Recorder(env, store), 4)["camera_front"])
    found = frames(store)
    error = np.asarray(found)[::5].astype(float) - shown[::5]
    assert found.media.psnr_db == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=1e-3)
    assert 15 < found.media.psnr_db < 60 and found.media.decoded_sha256 is None
    assert store.verify().ok
    report = replay(store.read(0), store.schema, make)
    assert report.identical and "not compared, for they are stored with loss: camera_front" in report.notes


def make(env_id: str, **options: Any) -> CameraEnv:
    return CameraEnv(**options)


def test_calibration_and_poses_are_kept(store: Store) -> None:
    channel = next(c for c in store.schema.channels if c.name == "camera_front")
    assert channel.channel().calibration == CALIBRATION
    pose = store.metadata(0).cameras["camera_front"]
    assert list(pose.position) == POSE["position"] and list(pose.orientation) == POSE["orientation"]


def test_channels_and_episodes_that_show_the_same_share_a_file(store: Store) -> None:
    named = store.metadata(0).media
    assert named["camera_front"].sha256 == named["camera_twin"].sha256
    assert set(media_files(store)) == store.media_names() and len(media_files(store)) == 3


def test_an_episode_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    env = CameraEnv()
    store = Store.create(tmp_path / "data", make_schema(env))
    recorder = Recorder(env, store)
    recorder.reset(seed=0)
    recorder.step(np.zeros(3, np.float32))
    assert len(media_files(store)) == 2
    recorder.close()
    assert media_files(store) == [] and recorder.dropped == 1


# ---- stores without pictures, and of before --------------------------------------------------------------------------


def test_stores_without_pictures_are_written_as_before(tmp_path: Path) -> None:
    """The hashes are those of the code before there were videos."""
    env = fake_env.FakeEnv()
    store = Store.create(tmp_path / "data", make_schema(env))
    recorder = Recorder(env, store, policy="random")
    recorder.reset(seed=4)
    generator, done = np.random.default_rng(4), False
    while not done:
        _, _, terminated, truncated, _ = recorder.step(generator.uniform(-1.5, 1.5, 3).astype(np.float32))
        done = terminated or truncated
    assert store.schema.fingerprint() == "e64f97b1917f9c29c9c16146227edd7396324061dcbf69b893e97d75df3c7b07"
    metadata = store.metadata(0)
    assert metadata.content_sha256 == "fa44bf7a648c27b582c70d009586883e20fb362032d7c729b35348fdc084551f"
    description = json.loads((store.path / "dataset.json").read_text())
    assert digest({**description, "created_ns": 0}) == "917ee7ac61afdbbd"
    written = metadata.model_dump(mode="json")
    assert (
        digest({k: v for k, v in written.items() if k not in ("started_ns", "ended_ns", "code_commit")})
        == "2eecd4358dcdfe5e"
    )
    assert not (store.path / "media").exists()


def digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]


def test_a_store_with_pictures_in_its_rows_goes_on_as_it_is(tmp_path: Path) -> None:
    env = CameraEnv()
    old = json.loads(make_schema(env, {"camera_front": None, "camera_twin": None}).model_dump_json())
    for channel in old["channels"]:
        assert "storage" not in channel
        channel.pop("calibration", None)  # older ones had none
    store = Store.create(tmp_path / "data", type(make_schema(env)).model_validate(old))
    shown = play(Recorder(env, Store.open(store.path)), 4)["camera_front"]
    assert isinstance(frames(store), np.ndarray) and np.array_equal(frames(store), shown)
    assert not (store.path / "media").exists() and replay(store.read(0), store.schema, make).identical


# ---- stores and their files ------------------------------------------------------------------------------------------


def test_a_copy_takes_files_as_they_are_and_values_are_encoded_alike(store: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other", store.schema)
    episode = store.read(0)
    other.append(episode)
    other.append(Episode(episode.metadata, {n: np.asarray(v) for n, v in episode.columns.items()}))
    assert other.metadata(0) == other.metadata(1) == store.metadata(0)
    assert len(media_files(other)) == 2 and other.verify().ok


def test_an_episode_recorded_without_a_store_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    recorder = Recorder(CameraEnv(), None)
    shown = play(recorder, 4)["camera_front"]
    store = Store.create(tmp_path / "data", recorder.schema)
    assert recorder.episode is not None
    store.append(recorder.episode)
    assert np.array_equal(frames(store), shown) and len(media_files(store)) == 1
    recorder.episode = None
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_replay_is_equal_in_every_picture_and_finds_one_that_is_not(store: Store) -> None:
    episode = store.read(0)
    report = replay(episode, store.schema, make)
    assert report.identical, report.first
    pictures = np.asarray(episode.columns["camera_front"]).copy()
    pictures[22, 40, 60, 1] += 3
    other = Store.create(store.path.with_name("forged"), store.schema)
    other.append(Episode(episode.metadata, {**episode.columns, "camera_front": pictures}))
    found = replay(other.read(0), store.schema, make).first
    assert found is not None and (found.channel, found.step, found.largest) == ("camera_front", 22, 3.0)


def test_what_a_killed_writer_left_is_cleared_away_and_nothing_else(store: Store) -> None:
    folder = store.path / "media"
    there = media_files(store)
    unpublished, unnamed, named, living = (Draft(folder) for _ in range(4))
    for draft, content in ((unpublished, b"a"), (unnamed, b"b"), (living, b"d")):
        draft.path.write_bytes(content)
    name = f"{hashlib.sha256(b'b').hexdigest()}.mkv"
    pending = f"{hashlib.sha256(b'd').hexdigest()}.mkv"
    os.link(unnamed.path, folder / name)  # killed before its episode was there
    named.path.unlink()
    os.link(folder / there[0], named.path)  # killed just after
    os.link(living.path, folder / pending)
    for draft in (unpublished, unnamed, named):
        os.close(draft.descriptor)
        draft._end.detach()
    opened = Store.open(store.path)
    assert len(opened.recovered) == 4 and any(name in line for line in opened.recovered)
    assert media_files(store) == sorted([*there, pending, living.path.name])
    living.close()
    notes = [note for note in opened.verify().notes if note not in opened.recovered]
    assert len(notes) == 1 and pending in notes[0] and "named by no episode" in notes[0]


def test_a_full_disk_leaves_the_store_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    episode = store.read(0)
    pictures = np.asarray(episode.columns["camera_front"])[::-1].copy()
    there = media_files(store)

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_write_all", full)
    with pytest.raises(DatasetError, match="the disk is full"):
        store.append(Episode(episode.metadata, {**episode.columns, "camera_front": pictures}))
    monkeypatch.undo()
    assert media_files(store) == there and store.episodes() == [0, 1]


# ---- files of strangers ----------------------------------------------------------------------------------------------


def forged(found: Frames, content: bytes) -> Frames:
    """Frames of an episode that names these bytes, and says the truth about their hash."""
    path = found.path.with_name("forged.mkv")
    path.write_bytes(content)
    told = found.media.model_copy(update={"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})
    return Frames(path, told, found.column, found.storage, found.numbers, found.rate)


def video(
    size: tuple[int, int], count: int, codec: str = "libx264rgb", form: str = "matroska", step: int = 100
) -> bytes:
    raw = io.BytesIO()
    with av.open(raw, "w", format=form) as file:
        stream: Any = file.add_stream(codec, rate=10, options={"qp": "0", "tune": "zerolatency"})
        stream.width, stream.height = size
        stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv420p"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i * step, MILLISECOND
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return raw.getvalue()


LIES: dict[str, Callable[[], bytes]] = {
    "too large": lambda: video((512, 384), 7),
    "too short": lambda: video((64, 48), 3),
    "other times": lambda: video((64, 48), 7, step=40),
    "other codec": lambda: video((64, 48), 7, "mpeg4"),
    "other pixels": lambda: video((64, 48), 7, "libx264"),
    "other container": lambda: video((64, 48), 7, form="mp4"),
    "playlist": lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "list of files": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "nothing": lambda: b"\0",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_is_something_else_is_refused(store: Store, lie: str) -> None:
    found = forged(frames(store), LIES[lie]())
    with pytest.raises(DatasetError, match=r"forged\.mkv: "):
        found.check()


def test_files_are_checked_before_they_are_parsed(store: Store, tmp_path: Path) -> None:
    found = frames(store)
    path, content = found.path, found.path.read_bytes()
    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with pytest.raises(DatasetError, match="is damaged: it is not the file that its episode names"):
        frames(store)[0]
    path.write_bytes(content + b"x")
    with pytest.raises(DatasetError, match="more than the"):
        frames(store)[0]
    path.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        frames(store)[0]
    (tmp_path / "elsewhere").write_bytes(content)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="symbolic link"):
        frames(store)[0]
    problems = store.verify().problems
    assert len(problems) == 1 and "symbolic link" in problems[0]
    path.unlink()
    (store.path / "media").rename(tmp_path / "media")
    (store.path / "media").symlink_to(tmp_path / "media")
    with pytest.raises(DatasetError, match="plain folder"):
        frames(store)[0]
    with pytest.raises(DatasetError, match="plain folder"):
        store.append(store.read(1))


def test_verify_finds_frames_that_were_not_recorded(store: Store) -> None:
    found = frames(store)
    other = forged(found, found.path.read_bytes())
    other.media = other.media.model_copy(update={"decoded_sha256": "0" * 64})
    with pytest.raises(DatasetError, match="are not those that were recorded"):
        other.check()


def test_frame_numbers_and_metadata_that_lie_are_refused(store: Store) -> None:
    found = frames(store)
    for numbers in (found.numbers + 1, found.numbers[::-1], found.numbers[:-6], found.numbers * 2, found.numbers[:0]):
        with pytest.raises(DatasetError, match="frame numbers must begin with 0"):
            Frames(found.path, found.media, found.column, found.storage, numbers, 50.0)
    with pytest.raises(DatasetError, match="take them in parts"):
        huge = found.column.__class__("x", "uint8", (4096, 8192, 3))
        Frames(found.path, found.media, huge, found.storage, found.numbers.repeat(2), 50.0)[:]


def test_no_change_of_bytes_makes_a_reader_crash(store: Store) -> None:
    assert mutate(store, 30) > 15


@pytest.mark.slow
def test_no_change_of_bytes_makes_a_reader_crash_however_many(store: Store) -> None:
    assert mutate(store, 10_000) > 5_000


def mutate(store: Store, count: int) -> int:
    """Read damaged files whose hash is right; return how many were refused."""
    generator, refused = np.random.default_rng(0), 0
    whole = {name: frames(store, name) for name in ("camera_front", "depth_front")}
    for i in range(count):
        found = whole["depth_front" if i % 3 == 0 else "camera_front"]
        content = np.frombuffer(found.path.read_bytes(), np.uint8).copy()
        end = 700 if i % 2 else len(content)  # the headers are where most can go wrong
        places = generator.integers(0, end, generator.integers(1, 8))
        content[places] = generator.integers(0, 256, len(places))
        if i % 5 == 0:
            content = content[: generator.integers(1, len(content))]
        try:
            forged(found, content.tobytes()).check()
        except DatasetError:
            refused += 1
    return refused


@pytest.mark.parametrize(
    ("storage", "channel", "message"),
    [
        ({"codec": "h264", "depth_step": 0.001}, "depth_front", "codec 'h264' holds uint8"),
        ({"codec": "ffv1", "keyframe_interval": 1}, "depth_front", "depth_step must be given"),
        ({"codec": "ffv1"}, "camera_front", "keyframe_interval 1"),
        ({"codec": "vp9"}, "camera_front", "'h264' or 'ffv1'"),
        ({}, "joint_position", "a video's sample is"),
        ({}, "action", "actions, rewards and observations are no video"),
    ],
)
def test_storage_that_makes_no_sense_is_refused(storage: dict[str, Any], channel: str, message: str) -> None:
    data = json.loads(make_schema(CameraEnv()).model_dump_json())
    next(c for c in data["channels"] if c["name"] == channel)["storage"] = storage
    with pytest.raises(ValueError, match=message):
        type(make_schema(CameraEnv())).model_validate(data)


# ---- export and looking ----------------------------------------------------------------------------------------------


def test_lerobot_gets_videos_one_episode_after_the_other(store: Store, tmp_path: Path) -> None:
    report = export(store, tmp_path / "out", "lerobot")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["features"]["observation.images.camera_front"]["shape"] == [*SHAPE, 3]
    assert "state.depth_front" not in info["features"] and info["video_path"].startswith("videos/")
    assert any("left out" in line and "depth_front" in line for line in report.losses)
    assert any("camera_front: av1 with loss, PSNR" in line for line in report.losses)
    with av.open(str(tmp_path / "out/videos/observation.images.camera_front/chunk-000/file-000.mp4")) as file:
        pictures = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]
    assert len(pictures) == report.frames == 60
    for index, number in enumerate(store.episodes()):
        shown = np.asarray(store.read(number).columns["camera_front"])[:-1]
        error = np.array(pictures[30 * index : 30 * index + 30]).astype(float) - shown
        assert np.mean(error**2) < 800, "pictures of another row differ by 2,500"


@pytest.mark.parametrize(
    ("shape", "dtype"), [((8, 6, 1), "uint8"), ((8, 6, 4), "uint8"), ((8, 6), "uint16"), ((8, 6, 1), "float32")]
)
def test_pictures_of_others_can_be_looked_at(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """An import may bring grey pictures, depth and transparency, and what is called a picture and is none."""
    from PIL import Image

    rows, schema = 31, make_schema(fake_env.FakeEnv())
    about: dict[str, Any] = {"unit": "1", "frame": "none", "role": "picture", "description": "Seen."}
    seen = ChannelSchema(name="seen", shape=shape, dtype=dtype, **about)
    none = ChannelSchema(name="none", shape=(2, 3, 5, 7), dtype="int64", **about)
    channels = (none, seen, *schema.channels)
    store = Store.create(tmp_path / "data", schema.model_copy(update={"channels": channels}))
    recorder = Recorder(fake_env.FakeEnv(), None)
    fake_env.play(recorder, [0])
    assert recorder.episode is not None
    pixels = np.arange(rows * math.prod(shape)).reshape(rows, *shape).astype(dtype) % 64
    more = {"seen": pixels, "none": np.zeros((rows, 2, 3, 5, 7), np.int64)}
    metadata = recorder.episode.metadata.model_copy(update={"schema_sha256": store.schema.fingerprint()})
    episode = store.read(store.append(Episode(metadata, {**recorder.episode.columns, **more})))
    assert looking.picture_channels(store.schema) == ["seen"]
    (path,) = looking.write_frames(episode, "seen", [7], tmp_path)
    wanted = pixels[7] if shape[2:] == (4,) else pixels[7].reshape(8, 6)
    assert np.array_equal(np.asarray(Image.open(path)), wanted * (1000 if dtype == "float32" else 1))
    strip = looking.strip(episode, "seen", [7, 9])
    assert strip.shape == (8, 16, 3) and np.ptp(strip[:, 10:]) > 20


def test_frames_can_be_looked_at(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    from training_ground.cli.main import main

    out, strip = tmp_path / "out", tmp_path / "strip.png"
    assert main(["data", "frames", str(store.path), "0", "--row", "12", "--out", str(out)]) == 0
    assert np.array_equal(np.asarray(Image.open(out / "camera_front_000012.png")), frames(store)[12])
    arguments = ["data", "frames", str(store.path), "0", "--channel", "depth_front", "--count", "3"]
    assert main([*arguments, "--strip", str(strip), "--out", str(out), "--json"]) == 0
    assert Image.open(strip).size == (3 * 64 + 8, 48)
    deep = np.asarray(Image.open(out / "depth_front_000015.png"))
    assert np.abs(deep / 1000 - frames(store, "depth_front")[15]).max() < 0.00051
    assert main(["data", "frames", str(store.path), "0", "--channel", "front"]) == 2
    assert main([*arguments, "--strip", str(strip)]) == 2
    assert "exists already" in capsys.readouterr().err

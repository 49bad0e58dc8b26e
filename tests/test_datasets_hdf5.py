"""Minari and robomimic: what is exported comes back, and what others wrote becomes a store."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest
from hdf5_files import h5py, minari, robomimic_file

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export
from training_ground.datasets.formats import robomimic
from training_ground.datasets.importing import import_
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.replay import replay
from training_ground.datasets.schema import ChannelSchema, EpisodeMetadata
from training_ground.datasets.store import Store
from training_ground.datasets.video_schema import VideoStorage


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path, Path]:
    folder = tmp_path_factory.mktemp("hdf5")
    store = fake_env.record(folder / "data")
    export(store, folder / "root/fake-v0", "minari")
    export(store, folder / "mimic", "robomimic")
    return store, folder / "root/fake-v0", folder / "mimic"


# ---- export ----------------------------------------------------------------------------------------------------------


def test_minari_holds_the_store_s_values(exported: tuple[Store, Path, Path]) -> None:
    store, path, _ = exported
    described = json.loads((path / "data/metadata.json").read_text())
    assert (described["total_episodes"], described["total_steps"], described["dataset_id"]) == (4, 90, "fake-v0")
    assert described["jpeg_encoding"] is False, "pictures must not become lossy"
    space = json.loads(described["observation_space"])
    assert set(space["subspaces"]) == {"joint_position", "joint_velocity"}
    assert json.loads(described["action_space"])["high"] == [1, 1, 1]
    with h5py.File(path / "data/main_data.hdf5") as file:
        assert sorted(file) == [f"episode_{i}" for i in range(4)]
        for number in store.episodes():
            episode, group = store.read(number), file[f"episode_{number}"]
            columns, count = episode.columns, episode.length
            assert group.attrs["seed"] == number and group.attrs["total_steps"] == count
            assert np.array_equal(group["observations/joint_velocity"][()], columns["joint_velocity"])
            assert np.array_equal(group["actions"][()], columns["action"][:-1])
            assert np.array_equal(group["rewards"][()], columns["reward"][1:])
            ends = [group[name][()].tolist() for name in ("terminations", "truncations")]
            last = (episode.metadata.terminated, episode.metadata.truncated)
            assert ends == [[False] * (count - 1) + [flag] for flag in last]
            assert np.array_equal(group["infos/base_pose"][()], columns["base_pose"])
            assert [p.decode() for p in group["infos/phase"][()]] == columns["phase"].tolist()
            assert json.loads(group.attrs["training_ground"])["content_sha256"] == episode.metadata.content_sha256


def test_robomimic_holds_the_store_s_values(exported: tuple[Store, Path, Path]) -> None:
    store, _, path = exported
    with h5py.File(path / "dataset.hdf5") as file:
        assert file["data"].attrs["total"] == 90
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "TrainingGround/Fake-v0"
        masks = [name.decode() for key in ("train", "valid") for name in file[f"mask/{key}"][()]]
        assert sorted(masks) == sorted(file["data"]) == [f"demo_{i}" for i in range(4)]
        for number in store.episodes():
            episode, group = store.read(number), file[f"data/demo_{number}"]
            columns = episode.columns
            assert group.attrs["num_samples"] == episode.length
            assert np.array_equal(group["obs/joint_position"][()], columns["joint_position"][:-1])
            assert np.array_equal(group["next_obs/joint_position"][()], columns["joint_position"][1:])
            assert np.array_equal(group["actions"][()], columns["action"][:-1])
            assert group["dones"][()].tolist() == [0] * (episode.length - 1) + [int(episode.metadata.terminated)]


@pytest.mark.parametrize("format", ["minari", "robomimic"])
def test_a_round_trip_loses_no_bit(exported: tuple[Store, Path, Path], tmp_path: Path, format: str) -> None:
    store, path = exported[0], exported[1] if format == "minari" else exported[2]
    report = import_(path, format, tmp_path / "back")
    back = Store.open(tmp_path / "back")
    assert report.episodes == 4 and report.frames == 90 and report.losses == () and back.verify().ok
    assert back.schema == store.schema and len(report.sha256) == 64
    for number in store.episodes():
        assert back.file(number).read_bytes() == store.file(number).read_bytes()
    replay(back.read(0), back.schema, fake_env.make)
    with pytest.raises(DatasetError, match=r"rate = 5: .* says itself how many steps a second"):
        import_(path, format, tmp_path / "other", rate=5)


@pytest.mark.parametrize("format", ["minari", "robomimic"])
def test_an_export_that_was_changed_is_refused(exported: tuple[Store, Path, Path], tmp_path: Path, format: str) -> None:
    """HDF5 has no checksums: a number that somebody changed is found by the content hash alone."""
    shutil.copytree(exported[1] if format == "minari" else exported[2], tmp_path / "in-v0")
    file, place = {
        "minari": ("data/main_data.hdf5", "episode_2/observations/joint_velocity"),
        "robomimic": ("dataset.hdf5", "data/demo_2/actions"),
    }[format]
    with h5py.File(tmp_path / "in-v0" / file, "r+") as opened:
        opened[place][3, 1] += 0.25
    with pytest.raises(DatasetError, match="2: the values do not match the content hash in its metadata"):
        import_(tmp_path / "in-v0", format, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in-v0"]


@pytest.mark.parametrize("format", ["minari", "robomimic", "rlds", "mcap"])
def test_odd_values_come_back_as_well(tmp_path: Path, format: str) -> None:
    """What a reset gave as reward, flags among the observations, actions at the edge of their type, pictures."""
    channels = [
        ChannelSchema(
            name="flags", shape=(2,), unit="1", frame="none", role="observation", description="", dtype="bool"
        ),
        ChannelSchema(name="near", shape=(), unit="m", frame="none", role="observation", description=""),
        ChannelSchema(name="reward", shape=(), unit="1", frame="none", role="reward", description=""),
        ChannelSchema(name="action", shape=(2,), unit="1", frame="none", role="action", description=""),
        ChannelSchema(
            name="camera",
            shape=(4, 6, 3),
            unit="1",
            frame="none",
            role="picture",
            description="",
            dtype="uint8",
            storage=VideoStorage(),
        ),
    ]
    fake = make_schema(fake_env.FakeEnv())
    store = Store.create(tmp_path / "data", fake.model_copy(update={"channels": tuple(channels)}))
    random = np.random.default_rng(0)
    action = np.array([[5, 1e-41], [1, 3e-45], [-0.0, 0.5], [0, 0]], "f4")
    columns = {
        "timestamp_ns": np.arange(4) * 20_000_000,
        "is_last": np.arange(4) == 3,
        "phase": np.array(["", "a", "ä", ""], dtype=object),
        "flags": random.random((4, 2)) > 0.5,
        "near": random.random(4).astype("f4"),
        "reward": np.array([7, 1, 2, 3], "f4"),
        "action": action,
        "camera": random.integers(0, 256, (4, 4, 6, 3), np.uint8),
    }
    metadata = fake_env.record(tmp_path / "other", [0]).metadata(0).model_copy(update={"length": 3})
    store.append(Episode(metadata, columns))
    export(store, tmp_path / "odd-v0", format)
    import_(tmp_path / "odd-v0", format, tmp_path / "back")
    back = Store.open(tmp_path / "back")
    assert back.file(0).read_bytes() == store.file(0).read_bytes() and back.verify().ok


def test_actions_beyond_one_are_scaled_and_come_back_in_every_bit(tmp_path: Path) -> None:
    store = fake_env.record(tmp_path / "data", [0])
    episode = store.read(0)
    wide = episode.columns["action"] * np.array([1, 3, 7.7], "f4")
    wide[0] = [1, 4, 0.1]
    store.append(Episode(episode.metadata, {**episode.columns, "action": wide}))
    report = export(store, tmp_path / "out", "robomimic")
    assert "2 components of actions left [-1, 1]" in "".join(report.losses)
    with h5py.File(tmp_path / "out/dataset.hdf5") as file:
        assert file["data"].attrs["action_scale"].tolist() == [1, 4, 8]
        assert np.abs(file["data/demo_1/actions"][()]).max() == 1
    import_(tmp_path / "out/dataset.hdf5", "robomimic", tmp_path / "back")
    assert np.array_equal(Store.open(tmp_path / "back").read(1).columns["action"], wide)
    assert "unbounded" in "".join(export(store, tmp_path / "wide-v0", "minari").losses)


def test_noisy_observations_are_what_the_policy_saw(tmp_path: Path) -> None:
    store = fake_env.record(tmp_path / "data", [0], noise={"scale": 0.1})
    export(store, tmp_path / "noisy-v0", "minari")
    export(store, tmp_path / "mimic", "robomimic")
    with h5py.File(tmp_path / "noisy-v0/data/main_data.hdf5") as file:
        assert (
            list(file["episode_0/observations"]) == ["policy_observation"]
            and "joint_position" in file["episode_0/infos"]
        )
    with h5py.File(tmp_path / "mimic/dataset.hdf5") as file:
        assert list(file["data/demo_0/obs"]) == ["policy_observation"]


def test_a_seed_stays_on_one_side_of_the_split(exported: tuple[Store, Path, Path]) -> None:
    metadata = exported[0].metadata(0)

    def group(seed: int) -> str:
        return robomimic.group_hash(metadata.model_copy(update={"seed": seed}))

    many = [group(seed) for seed in range(2000)]
    valid = robomimic.in_valid(many)
    assert 150 < valid.sum() < 250
    more = robomimic.in_valid([*many, *(group(seed) for seed in range(2500))])
    assert more[:2000].tolist() == valid.tolist() == more[2000:4000].tolist(), "new episodes must move none"
    assert robomimic.in_valid([group(3)] * 5).tolist() == [False] * 5
    assert robomimic.in_valid([group(1), group(2)]).sum() == 1


def test_what_cannot_be_exported_is_named(exported: tuple[Store, Path, Path], tmp_path: Path) -> None:
    store = exported[0]
    with pytest.raises(DatasetError, match="names such as 'stand-v0'"):
        export(store, tmp_path / "stand", "minari")
    with pytest.raises(DatasetError, match="exists already; an import makes a new dataset"):
        import_(exported[1], "minari", exported[1])
    bad = fake_env.record(tmp_path / "bad", [0])
    columns = {**bad.read(0).columns, "base_pose": np.full((31, 2, 2), np.nan)}
    bad.append(Episode(bad.read(0).metadata, columns))
    for format, name in (("minari", "x-v0"), ("robomimic", "x")):
        with pytest.raises(DatasetError, match="episode 1: 'base_pose' is not finite"):
            export(bad, tmp_path / name, format)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad"]


def test_readers_that_know_no_imports_read_the_rest(exported: tuple[Store, Path, Path]) -> None:
    written = exported[0].metadata(0).model_dump(mode="json")
    assert "imported" not in written and "origin" not in written
    assert "failure" in written and EpisodeMetadata.model_validate(written).imported is None


# ---- files of others -------------------------------------------------------------------------------------------------


def test_minari_of_others(tmp_path: Path) -> None:
    report = import_(minari(tmp_path / "in"), "minari", tmp_path / "out", rate=20)
    store = Store.open(tmp_path / "out")
    assert store.verify().ok and not store.verify().notes and (report.episodes, report.frames) == (2, 9)
    roles = {c.name: (c.role, c.dtype, c.shape, c.unit) for c in store.schema.channels}
    assert roles == {
        "observation.desired_goal": ("observation", "float64", (3,), "unknown"),
        "observation.pair._index_0": ("observation", "float64", (3,), "unknown"),
        "observation.pair._index_1": ("observation", "int64", (), "unknown"),
        "info.speed": ("state", "float64", (), "unknown"),
        "info.timelimit.truncated": ("state", "bool", (), "unknown"),
        "action": ("action", "int64", (), "unknown"),
    }
    episode = store.read(1)
    assert episode.columns["action"].tolist() == [0, 1, 2, 3, 4, 0]
    assert episode.columns["reward"].tolist() == [0, 0, 1, 2, 3, 4]
    assert episode.columns["observation.pair._index_0"][2].tolist() == [-6, -7, -8]
    assert episode.columns["info.timelimit.truncated"].tolist() == [False] + [True] * 5
    assert episode.columns["timestamp_ns"][:2].tolist() == [0, 50_000_000]
    found = episode.metadata
    assert (found.seed, found.terminated, found.truncated, found.env_id) == (1, True, False, "imported:minari")
    assert found.imported is not None and (found.imported.name, found.imported.episode) == ("in", "episode_1")
    text = "\n".join(report.losses)
    for part in (
        "observations/words",
        "infos/only here",
        "no value at the reset",
        "units and frames",
        "its number for one",
    ):
        assert part in text
    assert store.schema.environment["imported"]["metadata"]["dataset_id"] == "others/pick-v0"


def test_minari_s_jpeg_pictures(tmp_path: Path) -> None:
    """Rows of bytes of varying length, as Minari keeps pictures where nobody told it not to."""
    from PIL import Image

    colours = np.zeros((5, 32, 40, 3), np.uint8) + np.arange(0, 250, 50).astype(np.uint8)[:, None, None, None]
    space = {"type": "Box", "dtype": "uint8", "shape": [32, 40, 3]}
    space |= {"low": np.zeros((32, 40, 3)).tolist(), "high": np.full((32, 40, 3), 255).tolist()}

    def jpeg(picture: Any) -> Any:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, format="JPEG")
        return np.frombuffer(stream.getvalue(), np.uint8)

    def change(file: Any, pictures: Any = colours) -> None:
        del file["episode_0/observations"]
        rows = file["episode_0"].create_dataset("observations", (5,), h5py.vlen_dtype(np.uint8))
        for index, picture in enumerate(pictures):
            rows[index] = jpeg(picture)

    source = minari(tmp_path / "in", change, 1, observation_space=json.dumps(space))
    report = import_(source, "minari", tmp_path / "out")
    store = Store.open(tmp_path / "out")
    assert [c.role for c in store.schema.channels if c.name == "observation"] == ["picture"]
    assert np.abs(store.read(0).columns["observation"].astype(int) - colours).max() <= 1
    assert "pictures were JPEG" in "\n".join(report.losses)
    small = lambda file: change(file, colours[:, :31])  # noqa: E731
    with pytest.raises(DatasetError, match=r"row 0 is no JPEG picture: is \(31, 40, 3\), the space says \(32, 40, 3\)"):
        import_(minari(tmp_path / "other", small, 1, observation_space=json.dumps(space)), "minari", tmp_path / "no")


def test_the_verb_says_what_was_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(robomimic_file(tmp_path / "lift.hdf5"))
    assert main(["data", "import", source, str(tmp_path / "out"), "--format", "robomimic", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["episodes"], said["frames"]) == (2, 9) and len(said["sha256"]) == 64 and said["losses"]
    assert main(["data", "import", source, str(tmp_path / "no"), "--format", "robomimc"]) == 2
    assert "did you mean 'robomimic'" in capsys.readouterr().err


def test_robomimic_of_others(tmp_path: Path) -> None:
    report = import_(robomimic_file(tmp_path / "lift.hdf5"), "robomimic", tmp_path / "out")
    store = Store.open(tmp_path / "out")
    assert store.verify().ok and store.schema.control_rate == 20 and (report.episodes, report.frames) == (2, 9)
    columns = store.read(0).columns
    assert columns["observation.object"][-1].tolist() == [8, 9], "the last row is in next_obs"
    assert columns["states"][-1].tolist() == columns["states"][-2].tolist()
    assert columns["observation.agentview_image"].shape == (5, 4, 4, 3)
    assert columns["reward"].tolist() == [0, 0, 1, 2, 3] and store.metadata(0).terminated
    assert "the last row is the one before again" in "\n".join(report.losses)
    imported = store.metadata(0).imported
    assert imported is not None and imported.version == "1.4.1"

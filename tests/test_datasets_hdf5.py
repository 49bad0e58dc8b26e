"""Minari and robomimic: what is exported comes back, and a stranger's file gains nothing."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.export import export
from training_ground.datasets.formats import robomimic
from training_ground.datasets.importing import import_
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.replay import replay
from training_ground.datasets.schema import EpisodeMetadata
from training_ground.datasets.store import Store

h5py = pytest.importorskip("h5py")


def record(path: Path, seeds: Any = range(4), **options: Any) -> Store:
    env = fake_env.FakeEnv(**options)
    store = Store.create(path, make_schema(env))
    recorder = Recorder(env, store, policy="random")
    for seed in seeds:
        recorder.reset(seed=seed)
        generator, done = np.random.default_rng(seed), False
        while not done:
            _, _, terminated, truncated, _ = recorder.step(generator.uniform(-1, 1, 3).astype(np.float32))
            done = terminated or truncated
    return store


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path, Path]:
    folder = tmp_path_factory.mktemp("hdf5")
    store = record(folder / "data")
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
    assert {c.name: c for c in back.schema.channels} == {c.name: c for c in store.schema.channels}
    assert back.schema.joint_names == store.schema.joint_names and back.schema.model_hash == store.schema.model_hash
    for number in store.episodes():
        old, new = store.read(number), back.read(number)
        assert set(old.columns) == set(new.columns)
        assert new.metadata.content_sha256 == old.metadata.content_sha256
        assert new.metadata.env_id == f"imported:{format}" and new.metadata.imported is not None
        assert new.metadata.imported.sha256 == report.sha256
        for name in ("seed", "success", "failure", "randomisation", "kwargs", "policy", "terminated", "started_ns"):
            assert getattr(new.metadata, name) == getattr(old.metadata, name), name
    with pytest.raises(DatasetError, match=f"episode 0: was imported \\({format}\\).*cannot be replayed"):
        replay(back.read(0), back.schema, fake_env.make)


def test_actions_beyond_one_are_scaled_and_come_back_in_every_bit(tmp_path: Path) -> None:
    store = record(tmp_path / "data", [0])
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
    store = record(tmp_path / "data", [0], noise={"scale": 0.1})
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
    with pytest.raises(DatasetError, match="'lerobot': can be exported, not imported"):
        import_(exported[1], "lerobot", tmp_path / "out")
    with pytest.raises(DatasetError, match="exists already; an import makes a new dataset"):
        import_(exported[1], "minari", exported[1])
    bad = record(tmp_path / "bad", [0])
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


def minari(path: Path, change: Callable[[Any], None] | None = None, episodes: int = 2, **metadata: Any) -> Path:
    """A dataset as Minari's DataCollector writes it: nested observations, discrete actions, infos."""
    (path / "data").mkdir(parents=True)
    box = {"type": "Box", "dtype": "float64", "shape": [3], "low": [-np.inf] * 3, "high": [np.inf] * 3}
    pair = {"type": "Tuple", "subspaces": [box, {"type": "Discrete", "dtype": "int64", "start": 0, "n": 5}]}
    text = {"type": "Text", "max_length": 9, "min_length": 1, "charset": "abc"}
    space = {"type": "Dict", "subspaces": {"Desired Goal": box, "pair": pair, "words": text}}
    with h5py.File(path / "data/main_data.hdf5", "w") as file:
        for index in range(episodes):
            steps = 4 + index
            group = file.create_group(f"episode_{index}", track_order=True)
            group.attrs.update({"id": index, "total_steps": steps})
            rows = np.arange(3.0 * (steps + 1)).reshape(-1, 3)
            group["observations/Desired Goal"], group["observations/pair/_index_0"] = rows, -rows.astype(">f8")
            group["observations/pair/_index_1"] = np.arange(steps + 1)
            group["observations/words"] = ["abc"] * (steps + 1)
            group.create_dataset("actions", data=np.arange(steps), maxshape=(None,), chunks=True, compression="gzip")
            group["rewards"] = np.arange(steps, dtype="f4")
            group["terminations"] = np.arange(steps) == steps - 1
            group["truncations"] = np.zeros(steps, bool)
            group["infos/speed"], group["infos/TimeLimit.truncated"] = np.ones(steps + 1), np.ones(steps, bool)
            if index:
                group["infos/only here"] = np.ones(steps + 1)
        if change is not None:
            change(file)
    described = {
        "total_episodes": episodes,
        "data_format": "hdf5",
        "dataset_id": "others/pick-v0",
        "minari_version": "0.5.4",
        "observation_space": json.dumps(space),
        "action_space": json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": 9}),
        **metadata,
    }
    described = {key: value for key, value in described.items() if value is not None}
    (path / "data/metadata.json").write_text(json.dumps(described))
    return path


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


def robomimic_file(path: Path, change: Callable[[Any], None] | None = None, **attributes: Any) -> Path:
    """A file as robomimic's conversion scripts write it."""
    with h5py.File(path, "w") as file:
        arguments = {"env_name": "Lift", "env_type": 1, "env_kwargs": {"control_freq": 20}, "env_version": "1.4.1"}
        file.create_group("data").attrs.update({"total": 9, "env_args": json.dumps(arguments), **attributes})
        for index in range(2):
            group, steps = file.create_group(f"data/demo_{index}"), 4 + index
            rows = np.arange(2.0 * (steps + 1)).reshape(-1, 2)
            group.attrs.update({"num_samples": steps, "model_file": "<mujoco/>"})
            group["obs/object"], group["next_obs/object"] = rows[:-1], rows[1:]
            group["obs/agentview_image"] = np.full((steps, 4, 4, 3), index, "u1")
            group["actions"], group["rewards"] = np.full((steps, 7), 0.5), np.arange(steps, dtype=float)
            group["dones"] = (np.arange(steps) == steps - 1).astype("i8")
            group["states"] = rows[:-1]
        file["mask/train"] = np.array([b"demo_0"])
        if change is not None:
            change(file)
    return path


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


# ---- hostile files ---------------------------------------------------------------------------------------------------


def soft(file: Any) -> None:
    del file["episode_0/infos/speed"]
    file["episode_0/infos/speed"] = h5py.SoftLink("/episode_1/infos/speed")


def soft_group(file: Any) -> None:
    del file["episode_0"]
    file["episode_0"] = h5py.SoftLink("/episode_1")


def outside(file: Any) -> None:
    del file["episode_1/rewards"]
    file["episode_1/rewards"] = h5py.ExternalLink("/etc/hostname", "/")


def external(file: Any) -> None:
    del file["episode_0/actions"]
    secret = Path(file.filename).parent.parent.parent / "secret"
    secret.write_bytes(bytes(32))
    file["episode_0"].create_dataset("actions", (4,), "i8", external=[(str(secret), 0, 32)])


def virtual(file: Any) -> None:
    del file["episode_0/actions"]
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file["episode_0"].create_virtual_dataset("actions", layout)


def bomb(file: Any) -> None:
    del file["episode_0/infos/speed"]
    file["episode_0"].create_dataset("infos/speed", (5, 1 << 28), "u1", chunks=(1, 1 << 20), compression="gzip")


def huge(file: Any) -> None:
    file["episode_0"].create_dataset("infos/huge", (1 << 40, 1 << 10), "f8", chunks=(1, 1024))


def wide_chunks(file: Any) -> None:
    space, kind = h5py.h5s.create_simple((5,), (h5py.h5s.UNLIMITED,)), h5py.h5t.NATIVE_DOUBLE
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1 << 28,))
    h5py.h5d.create(file["episode_0/infos"].id, b"wide", kind, space, plist)


def loop(file: Any) -> None:
    for index in range(300):
        file[f"episode_0/infos/{index}"] = file["episode_0"]


def twice(file: Any) -> None:
    del file["episode_1"]
    file["episode_1"] = file["episode_0"]


def deep(file: Any) -> None:
    file["episode_0/infos/a/b/c/d/e/f/g/h/i"] = np.zeros(5)


def references(file: Any) -> None:
    del file["episode_0/actions"]
    file["episode_0"].create_dataset("actions", (4,), h5py.ref_dtype)


def filtered(file: Any) -> None:
    file["episode_0"].create_dataset("infos/x", data=np.zeros(5, "i4"), chunks=(5,), scaleoffset=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (soft, "episode_0/infos/speed: is a soft link"),
        (soft_group, "episode_0: is a soft link"),
        (outside, "episode_1/rewards: is an external link"),
        (external, "episode_0/actions: keeps its values in another file"),
        (virtual, "episode_0/actions: is a virtual dataset"),
        (bomb, "infos/speed: claims 1342177280 bytes, but has 0"),
        (huge, "infos/huge: claims 9007199254740992 bytes, more than"),
        (wide_chunks, "infos/wide: has chunks of shape"),
        (loop, "episode_0/infos/0: is a group that stands in two places"),
        (twice, "episode_1: is a group that stands in two places"),
        (deep, "nested more than 8 deep"),
        (references, "in the episodes before not there as numbers"),
        (filtered, r"infos/x: filters \[6\] are not allowed"),
    ],
)
def test_what_points_outside_or_claims_too_much_is_refused(
    tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    source = minari(tmp_path / "in", change)
    with pytest.raises(DatasetError, match=message):
        import_(source, "minari", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"dataset_id": "../../etc/x-v0"}, "dataset_id = '../../etc/x-v0'"),
        ({"data_format": "arrow"}, "only 'hdf5' is read"),
        ({"observation_space": {"type": "Box"}}, "must be a text with JSON"),
        ({"observation_space": "[" * 100_000}, "observation_space: malformed JSON"),
        ({"action_space": json.dumps({"type": "os:makedirs"})}, "is a 'os:makedirs'; Minari writes"),
        ({"action_space": json.dumps({"type": []})}, r"is a \[\]; Minari writes"),
        (
            {"action_space": json.dumps({"type": "Box", "shape": [2]})},
            r"shape \(2,\), but it has samples of shape \(\)",
        ),
        ({"action_space": json.dumps({"type": "Box", "shape": "2"})}, "must be a list of whole numbers"),
    ],
)
def test_metadata_that_lies_is_refused(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        import_(minari(tmp_path / "in", **metadata), "minari", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_environment_is_made_from_a_file(tmp_path: Path) -> None:
    """Minari itself would make the directory: `gym.make` on an env_spec whose entry point is os:makedirs."""
    victim = tmp_path / "made"
    spec = {"id": "x-v0", "entry_point": "os:makedirs", "kwargs": {"name": str(victim)}}
    spec |= {"reward_threshold": None, "nondeterministic": False, "max_episode_steps": None, "additional_wrappers": []}
    source = minari(tmp_path / "in", observation_space=None, action_space=None, env_spec=json.dumps(spec))
    assert import_(source, "minari", tmp_path / "out").episodes == 2
    assert not victim.exists()


def test_links_among_the_files_are_refused(tmp_path: Path) -> None:
    source = minari(tmp_path / "in")
    data = source / "data/main_data.hdf5"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="is a symbolic link"):
        import_(source, "minari", tmp_path / "out")


def test_robomimic_s_links_and_attributes_are_refused(tmp_path: Path) -> None:
    def link(file: Any) -> None:
        file["data/demo_0/obs/stolen"] = h5py.ExternalLink("/etc/hostname", "/")

    for name, change, attributes, message in (
        ("a", link, {}, "obs/stolen: is an external link"),
        ("b", None, {"env_args": "{]"}, "env_args: malformed JSON"),
        ("c", None, {"env_args": np.zeros(3)}, "attribute 'env_args' must be one text"),
        ("d", None, {"training_ground": "{}"}, "schema_version = None"),
    ):
        with pytest.raises(DatasetError, match=message):
            import_(robomimic_file(tmp_path / name, change, **attributes), "robomimic", tmp_path / "out")


def mutate(raw: bytes, generator: np.random.Generator) -> bytes:
    mutated = bytearray(raw)
    at, kind = int(generator.integers(len(raw))), generator.integers(4)
    if kind == 0:
        mutated[at] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        del mutated[at:]
    elif kind == 2:
        mutated[at : at + 8] = generator.choice([b"\xff" * 8, bytes(8), generator.bytes(8)])
    else:
        del mutated[at : at + int(generator.integers(1, 50))]
    return bytes(mutated)


def fuzz(folder: Path, trials: int, seed: int = 0) -> int:
    """Import mutated files of both formats; return how many were refused. Anything but a DatasetError fails."""
    generator = np.random.default_rng(seed)
    one, two = minari(folder / "in"), robomimic_file(folder / "in.hdf5")
    files = [
        (one / "data/main_data.hdf5", one, "minari"),
        (two, two, "robomimic"),
        (one / "data/metadata.json", one, "minari"),
    ]
    originals = [path.read_bytes() for path, _, _ in files]
    refused = 0
    for trial in range(trials):
        which = (0, 1, 0, 1, 2)[trial % 5]
        path, source, format = files[which]
        path.write_bytes(mutate(originals[which], generator))
        try:
            import_(source, format, folder / "out")
            shutil.rmtree(folder / "out")
        except DatasetError:
            refused += 1
        path.write_bytes(originals[which])
    assert sorted(p.name for p in folder.iterdir()) == ["in", "in.hdf5"]
    return refused


def test_mutated_files_give_errors_and_nothing_else(tmp_path: Path) -> None:
    assert fuzz(tmp_path, 60) > 10

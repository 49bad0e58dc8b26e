"""Several rates in one file: each sample has its time, and a declaration that contradicts itself is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.schema import DatasetSchema
from training_ground.datasets.store import Store
from training_ground.datasets.timing import new_rows, sample_times
from training_ground.envs.channels import Channel


class ManyRates(fake_env.FakeEnv):
    """50 Hz, with an IMU of 200 Hz, a camera of 15 Hz on the grid of steps, and a lidar that comes when it comes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.channels += (
            Channel("gyroscope", (4, 3), "rad/s", "imu", "observation", "Turn rate.", ("x", "y", "z"), rate=200.0),
            Channel("camera", (2, 2, 3), "1", "none", "picture", "Picture.", dtype="uint8", rate=15.0),
            Channel("lidar", (2,), "m", "base", "observation", "Distances.", rate=10.0),
            Channel("lidar.age_ns", (), "ns", "none", "observation", "Age.", dtype="int64"),
        )

    def frame(self) -> dict[str, Any]:
        scan = max(0, self.count - 1) // 4  # arrives a step late
        late = self.count * 20_000_000 - scan * 80_000_000
        extra = {
            "gyroscope": self.count + np.linspace(-0.75, 0, 4)[:, None] * [1, 2, 3],
            "camera": np.full((2, 2, 3), self.count // 3),
            "lidar": [scan, 2 * scan],
            "lidar.age_ns": late,
        }
        known = self.channels
        self.channels = tuple(c for c in known if c.name not in extra)
        frame = super().frame()
        self.channels = known
        return frame | {c.name: np.array(extra[c.name], c.dtype) for c in known if c.name in extra}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    env = ManyRates()
    store = Store.create(tmp_path / "data", make_schema(env))
    recorder = Recorder(env, store)
    recorder.reset(seed=2)
    while not recorder.written:
        recorder.step(np.zeros(3, np.float32))
    return store


def test_each_sample_has_its_time(store: Store) -> None:
    episode = store.read(0)
    columns, schema = episode.columns, store.schema
    times = columns["timestamp_ns"]
    gyroscope = sample_times("gyroscope", columns, schema)
    assert gyroscope.shape == (31, 4) and gyroscope[2].tolist() == [25_000_000, 30_000_000, 35_000_000, 40_000_000]
    assert np.all(np.diff(gyroscope.reshape(-1)) == 5_000_000)
    camera = sample_times("camera", columns, schema)
    assert np.flatnonzero(new_rows("camera", columns, schema)).tolist() == list(range(0, 31, 3))
    assert np.array_equal(camera, times[np.arange(31) // 3 * 3])
    lidar = sample_times("lidar", columns, schema)
    assert lidar[9] == 160_000_000 and np.flatnonzero(new_rows("lidar", columns, schema)).tolist()[:3] == [0, 5, 9]
    assert np.array_equal(sample_times("joint_position", columns, schema), times)
    assert new_rows("joint_position", columns, schema).all() and store.verify().ok
    with pytest.raises(DatasetError, match="did you mean 'gyroscope'"):
        sample_times("gyroscop", columns, schema)


def test_a_trimmed_episode_keeps_the_grid(store: Store) -> None:
    episode = store.read(0)
    columns = {name: values[4:] for name, values in episode.columns.items()}
    metadata = episode.metadata.model_copy(update={"length": 26})
    store.append(Episode(metadata, columns))
    assert np.flatnonzero(new_rows("camera", columns, store.schema)).tolist()[:3] == [0, 2, 5]
    assert store.verify().ok


def test_verify_finds_a_sample_out_of_its_turn(store: Store) -> None:
    episode = store.read(0)
    columns = {name: np.array(values) for name, values in episode.columns.items()}
    columns["camera"][7, 1, 0, 2] += 1
    columns["lidar"][8] += 1
    columns["lidar.age_ns"][3] = -1
    store.append(Episode(episode.metadata, columns))
    found = " ".join(store.verify().problems)
    assert "'camera' changes in row 7" in found and "'lidar.age_ns' is negative, first in row 3" in found
    assert "'lidar' changes in row 8" in found and len(store.verify().problems) == 3


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gyroscope", {"shape": (3, 3)}, "its shape .3, 3. must begin with 4, oldest first"),
        ("gyroscope", {"rate": 120.0}, "must be a whole multiple of 50"),
        ("gyroscope", {"rate": 1e300}, "must begin with 1000000000000"),
        ("gyroscope", {"shape": (), "components": ()}, "must begin with 4"),
        ("lidar.age_ns", {"dtype": "float64"}, "is float64 in ns of shape .., must be int64 in ns"),
        ("lidar.age_ns", {"unit": "s"}, "must be int64 in ns"),
        ("lidar.age_ns", {"name": "sonar.age_ns"}, "there is no channel 'sonar'"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    store: Store, name: str, change: dict[str, Any], message: str
) -> None:
    data = store.schema.model_dump()
    (channel,) = (c for c in data["channels"] if c["name"] == name)
    channel.update(change)
    with pytest.raises(ValueError, match=message):
        DatasetSchema.model_validate(data)


def test_numbers_of_strangers_do_no_harm(store: Store) -> None:
    data = store.schema.model_dump()
    for rate in (1e-300, 5e-324):
        next(c for c in data["channels"] if c["name"] == "camera")["rate"] = rate
        schema = DatasetSchema.model_validate(data)
        assert not new_rows("camera", store.read(0).columns, schema)[1:].any()

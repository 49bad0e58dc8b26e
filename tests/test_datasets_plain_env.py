"""Environments that declare no channels: recorded by what their spaces say, alone and vectorised, and replayed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import RescaleAction, TimeLimit, TransformObservation

from training_ground.configs.errors import DatasetError
from training_ground.datasets.array_build import refresh
from training_ground.datasets.export import export
from training_ground.datasets.plain_env import PlainEnv, make_again
from training_ground.datasets.provenance import describe, make_schema
from training_ground.datasets.quality.gate import check, load_limits
from training_ground.datasets.recorder import Recorder, open_or_create
from training_ground.datasets.replay import Replayer, replay
from training_ground.datasets.spaces import Actions, parts_of
from training_ground.datasets.store import Store
from training_ground.datasets.vector_recorder import recorded
from training_ground.datasets.windows import Windows

NESTED = spaces.Dict(
    {
        "arm": spaces.Dict({"q": spaces.Box(-np.inf, np.inf, (3,), np.float64), "On/Off": spaces.MultiBinary(2)}),
        "camera": spaces.Box(0, 255, (32, 40, 3), np.uint8),
        "grid": spaces.Box(0, 10, (7, 7, 3), np.uint8),
        "pair": spaces.Tuple((spaces.MultiDiscrete([3, 4]), spaces.Discrete(5, start=3))),
    }
)
ACTIONS = spaces.Dict({"grip": spaces.Discrete(2, start=-1), "move": spaces.Box(-1, 1, (2, 2), np.float32)})


class Nested(gymnasium.Env[Any, Any]):
    """Observations at random from a nested space; its `info` uses words of ours for something else."""

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 20}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(self, noise: float = 0.1, space: Any = NESTED, reward: Any = None) -> None:
        self.observation_space, self.action_space, self.reward = space, ACTIONS, reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.count = 0
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample(), {"seed": "none of ours", "randomisation": object()}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.count += 1
        reward = float(action["move"].sum() * action["grip"]) if self.reward is None else self.reward
        action["move"][:] = 7  # what is recorded is what was given
        info = {"phase": np.zeros(3), "is_success": self.count > 3, "failure": 3}
        return self.observation_space.sample(), reward, False, self.count == 6, info


def play(recorder: gymnasium.Env[Any, Any], seeds: range) -> tuple[list[Any], list[Any], list[float]]:
    """Play an episode a seed; return all observations, actions and rewards, a zero for each reset."""
    observations, actions, rewards = [], [], []
    for seed in seeds:
        recorder.action_space.seed(seed)
        observations.append(recorder.reset(seed=seed)[0])
        rewards.append(0.0)
        done = False
        while not done:
            action = recorder.action_space.sample()
            actions.append({k: np.array(v) for k, v in action.items()} if isinstance(action, dict) else action)
            observation, reward, terminated, truncated, _ = recorder.step(action)
            observations.append(observation)
            rewards.append(float(reward))
            done = terminated or truncated
    return observations, actions, rewards


def together(store: Store, name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(episode.columns[name][:]) for episode in store])


@pytest.mark.parametrize(
    "env_id",
    [
        *("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Acrobot-v1"),
        *("FrozenLake-v1", "Blackjack-v1", "Taxi-v4", "CliffWalking-v1"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_plain_environment_is_recorded_and_replays_bit_for_bit(tmp_path: Path, env_id: str) -> None:
    env = gymnasium.make(env_id, max_episode_steps=20)
    store = open_or_create(tmp_path / "data", env)
    recorder = Recorder(env, store)
    observations, actions, rewards = play(recorder, range(2))
    assert store.verify().ok and store.schema.control_rate == env.metadata["render_fps"]
    names = [f"observation.{i}" for i in range(3)] if env_id == "Blackjack-v1" else ["observation"]
    assert [c.name for c in store.schema.channels] == [*names, "action"]
    seen = [tuple(o) if len(names) > 1 else (o,) for o in observations]
    for name, values in zip(names, zip(*seen, strict=True), strict=True):
        assert np.array_equal(together(store, name), np.stack(values))
    applied = np.concatenate([episode.columns["action"][:-1] for episode in store])
    assert np.array_equal(applied, np.stack(actions)) and applied.dtype == env.action_space.dtype
    assert np.array_equal(together(store, "reward"), rewards)
    metadata = store.metadata(0)
    assert (metadata.env_id, metadata.seed, metadata.kwargs["max_episode_steps"]) == (env_id, 0, 20)
    assert {"gymnasium", "numpy"} < set(metadata.versions)
    with Replayer(store.schema) as replayer:
        assert all(replayer.replay(episode).identical for episode in store)


def test_nested_spaces_become_channels_and_an_action_a_vector(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "data", make_schema(Nested()))
    observations, actions, _ = play(Recorder(Nested(), store), range(2))
    described = {c.name: (c.dtype, c.shape, c.role, c.storage is not None) for c in store.schema.channels}
    assert described == {
        "observation.arm.on.off": ("int8", (2,), "observation", False),
        "observation.arm.q": ("float64", (3,), "observation", False),
        "observation.camera": ("uint8", (32, 40, 3), "picture", True),
        "observation.grid": ("uint8", (7, 7, 3), "observation", False),
        "observation.pair.0": ("int64", (2,), "observation", False),
        "observation.pair.1": ("int64", (), "observation", False),
        "action": ("float64", (5,), "action", False),
    }
    for name, find in {
        "observation.arm.on.off": lambda o: o["arm"]["On/Off"],
        "observation.arm.q": lambda o: o["arm"]["q"],
        "observation.camera": lambda o: o["camera"],
        "observation.pair.1": lambda o: o["pair"][1],
    }.items():
        assert np.array_equal(together(store, name), np.stack([find(o) for o in observations])), name
    applied = np.concatenate([episode.columns["action"][:-1] for episode in store])
    assert np.array_equal(applied, [[a["grip"], *a["move"].reshape(-1)] for a in actions])
    assert store.schema.channels[-1].components == ("grip", "move.0", "move.1", "move.2", "move.3")
    episode = store.read(0)
    assert (episode.metadata.success, episode.metadata.failure, episode.metadata.env_id) == (True, None, "Nested")
    with pytest.raises(DatasetError, match=r"environment 'Nested': it would be code .* Replayer\(schema, make="):
        replay(episode, store.schema)
    assert replay(episode, store.schema, lambda env_id, **kwargs: Nested(**kwargs)).identical


def test_an_action_comes_back_as_its_space_has_it() -> None:
    space = spaces.Tuple((ACTIONS, spaces.MultiBinary((2, 3)), spaces.Discrete(3)))
    space.seed(0)
    actions = Actions(space)
    for _ in range(5):
        action = space.sample()
        again = actions.decode(actions.encode(action))
        assert space.contains(again) and np.array_equal(actions.encode(again), actions.encode(action))


def test_a_wrapper_inside_is_what_is_recorded_and_one_outside_is_not(tmp_path: Path) -> None:
    doubled = spaces.Box(-np.inf, np.inf, (4,), np.float64)
    inner = TransformObservation(gymnasium.make("CartPole-v1"), lambda o: 2.0 * o.astype(np.float64), doubled)
    store = open_or_create(tmp_path / "data", inner)
    observations, _, _ = play(Recorder(TimeLimit(inner, 5), store), range(1))
    assert np.array_equal(together(store, "observation"), np.stack(observations))
    assert store.metadata(0).kwargs["max_episode_steps"] == 5
    assert store.schema.environment["wrappers"] == ["TransformObservation"]
    with pytest.raises(DatasetError, match="its wrappers would be code"):
        replay(store.read(0), store.schema)
    plain = PlainEnv(gymnasium.make("Pendulum-v1"), control_rate=7)
    outer = RescaleAction(plain, np.float32(-1), np.float32(1))
    schema = make_schema(outer)
    assert schema.control_rate == 7 and schema.environment["wrappers"] == []
    assert schema.environment["action_space"] == {**_box([1], 2.0), "low": -2.0}


def _box(shape: list[int], high: float) -> dict[str, Any]:
    return {"type": "Box", "dtype": "float32", "shape": shape, "low": high, "high": high}


def test_bounds_and_arguments_are_described_as_json_can_hold_them() -> None:
    described = describe(gymnasium.make("CartPole-v1"))["observation_space"]
    assert described["low"][1] == "-inf" and described["low"][0] == pytest.approx(-4.8)
    env = gymnasium.make("CartPole-v1")
    assert env.unwrapped.spec is not None
    env.unwrapped.spec.kwargs.update(table=np.arange(3), score=print)
    kwargs = describe(env)["options"]
    assert kwargs["table"] == [0, 1, 2] and kwargs["score"].startswith("(no plain data: builtin")
    wide = spaces.Box(np.arange(2000, dtype=np.float32), np.full(2000, np.inf, np.float32))
    assert describe(Nested(space=wide))["observation_space"] == {
        **{"type": "Box", "dtype": "float32", "shape": [2000]},
        **{"low": None, "high": "inf"},
    }


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (spaces.Dict({"say": spaces.Text(5)}), r"observation\['say'\]: is a Text space.*Box, Discrete"),
        (spaces.Tuple((spaces.Sequence(spaces.Discrete(2)),)), r"observation\[0\]: is a Sequence space"),
        (spaces.Graph(spaces.Discrete(2), None), "observation: is a Graph space"),
        (spaces.Box(0, 1, (2, 0)), r"observation: has shape \(2, 0\)"),
        (spaces.Box(0, 1, (1, 1, 1, 1, 1)), "at most 4 axes"),
        (spaces.Dict({"a": spaces.Dict({})}), r"observation\['a'\]: is an empty Dict"),
    ],
)
def test_spaces_that_no_store_can_hold_are_refused_by_name(space: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        make_schema(Nested(space=space))


def test_what_contradicts_its_space_is_refused() -> None:
    (part,) = parts_of(spaces.Box(0, 255, (2,), np.uint8), "observation")
    with pytest.raises(DatasetError, match=r"has shape \(3,\), its space says \(2,\)"):
        part.read(np.zeros(3, np.uint8))
    with pytest.raises(DatasetError, match="float64 values do not fit its space, which is uint8"):
        part.read([0.5, 1])
    with pytest.raises(DatasetError, match="int64 values do not fit"):
        part.read([1, 256])
    assert part.read([1.0, 255]).dtype == np.uint8
    (part,) = parts_of(spaces.Dict({"a": spaces.Discrete(2)}), "observation")
    with pytest.raises(DatasetError, match=r"observation\['a'\]: is not what its space promises: KeyError"):
        part.read({"b": 1})


def test_what_cannot_be_recorded_truly_is_refused_with_the_way_out(tmp_path: Path) -> None:
    class NoRate(Nested):
        metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    with pytest.raises(DatasetError, match=r"NoRate: its metadata has no 'render_fps'.*PlainEnv\(env, control_rate"):
        Recorder(NoRate(), None)
    assert Recorder(PlainEnv(NoRate(), control_rate=5), None).schema.control_rate == 5
    with pytest.raises(DatasetError, match="control_rate = -1: must be a number above 0"):
        PlainEnv(NoRate(), control_rate=-1)
    vector: Any = gymnasium.make_vec("CartPole-v1", 2)
    with pytest.raises(DatasetError, match=r"CartPoleVectorEnv: a vector environment is recorded inside"):
        Recorder(vector, None)
    recorder = Recorder(Nested(reward=[1.0, 2.0]), None)
    with pytest.raises(DatasetError, match="options of reset: cannot be written as JSON"):
        recorder.reset(options={"what": object()})
    recorder.reset(seed=0)
    with pytest.raises(DatasetError, match=r"reward = \[1.0, 2.0\]: must be one number"):
        recorder.step(ACTIONS.sample())
    lake = open_or_create(tmp_path / "data", gymnasium.make("FrozenLake-v1"))
    with pytest.raises(DatasetError, match="channel 'observation' is declared differently"):
        Recorder(gymnasium.make("FrozenLake8x8-v1"), lake)


@pytest.mark.parametrize("how", ["recorded", "make_vec"])
def test_vectors_of_plain_environments_are_recorded_inside(tmp_path: Path, how: str) -> None:
    path = tmp_path / "data"
    make: Callable[[], Any] = partial(gymnasium.make, "CartPole-v1")
    if how == "recorded":
        envs: Any = SyncVectorEnv(recorded([make] * 2, path, policy="random"))
    else:
        open_or_create(path, make())
        inside = [lambda env: Recorder(env, Store.open(path), policy="random")]
        envs = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync", wrappers=inside)
    envs.action_space.seed(0)
    envs.reset(seed=0)
    for _ in range(80):
        envs.step(envs.action_space.sample())
    numbers = [number for each in envs.get_attr("written") for number in each]
    envs.close()
    store = Store.open(path)
    assert sorted(numbers) == store.episodes() and len(numbers) >= 4 and store.verify().ok
    with Replayer(store.schema) as replayer:
        assert all(replayer.replay(episode).identical for episode in store)


def test_the_rest_of_the_house_takes_such_a_store(tmp_path: Path) -> None:
    store = open_or_create(tmp_path / "data", gymnasium.make("CartPole-v1"))
    play(Recorder(gymnasium.make("CartPole-v1"), store), range(3))
    report = check(store, load_limits()[1])
    assert report.verdict != "fail"
    readings = report.episodes[0].readings
    assert readings["action_jump"].value is None and "choices" in readings["action_jump"].note
    view = refresh(store)
    sample = Windows(view, {"observation": range(-3, 1), "action": range(4)})[0]
    assert sample["observation"].shape == (4, 4) and sample["action"].shape == (4,)
    for name, out in (("minari", "cartpole-v0"), ("lerobot", "lerobot")):
        written = export(store, tmp_path / out, name)
        assert written.episodes == 3 and written.frames == sum(store.metadata(n).length for n in range(3))


# ---- replay: a file does not choose what code runs -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "kwargs", "said"),
    [
        ("os:makedirs", {}, "it would be code"),
        ("antigravity:CartPole-v1", {}, "it would be code"),
        ("GymV26Environment-v0", {"env_id": "os:makedirs"}, "it would be code"),
        ("Ant-v5", {"xml_file": "/etc/passwd"}, "it would be code"),
        ("FrozenLake-v1", {"desc": ["S" * 40] * 40}, "its argument 'desc' would be"),
        ("CartPole-v1", {"id": "os:makedirs"}, "cannot be made again"),
        ("CartPole-v1", {"nothing": 1}, "cannot be made again"),
        ("FrozenLake-v1", {"map_name": "none"}, "cannot be made again"),
    ],
)
def test_only_known_environments_are_made_from_a_file(env_id: str, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        make_again([], env_id, **kwargs)


def test_no_window_opens_at_a_replay() -> None:
    assert make_again([], "CartPole-v1", render_mode="human", max_episode_steps=-1).render_mode is None

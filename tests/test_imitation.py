"""Learning from recorded episodes: chunks, datasets, takeover, and runs that overfit, resume and are exported."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml

from training_ground.agents import training
from training_ground.agents.bundle import load_bundle, read_bundle, write_manifest
from training_ground.agents.chunks import ChunkPlayer, ChunkSpec
from training_ground.agents.clock import Clock, ClockSpec
from training_ground.agents.episodes import run_episode
from training_ground.agents.imitation.data import Demonstrations, Part, both_sides, pooled
from training_ground.agents.imitation.learning import ImitationRun
from training_ground.agents.imitation.takeover import ChunkActor, TakeoverPolicy, mark
from training_ground.agents.memory import Memory, places_of
from training_ground.agents.network import Network, Normalisation
from training_ground.agents.policy import load_policy
from training_ground.agents.progress import read_progress
from training_ground.agents.recording import record
from training_ground.agents.stepping import make_env
from training_ground.agents.symmetry import reflect, symmetry_of
from training_ground.assets.model import Mirror
from training_ground.configs.errors import AgentError, ConfigError, DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets.store import Store
from training_ground.datasets.windows import Batches

REACH = "TrainingGround/Reach-v0"
KWARGS: dict[str, Any] = {"robot": "g1", "episode_length_s": 0.4}
STEPS = 20
OWN = {"horizon": 8, "execute": 4, "only_successes": False, "batch_size": 16, "learning_rate": 3e-3}


def preset(folder: Path, data: Path, algorithm: str = "bc", **more: Any) -> Path:
    """Write a preset for a run of a few seconds."""
    content = {
        "env": {"id": REACH, "kwargs": KWARGS},
        "algorithm": algorithm,
        algorithm: {"datasets": [str(data)], **OWN, **more.pop("own", {})},
        "network": {"hidden": [64]},
        "checkpoints": {"interval": 20},
        "eval": {"episodes": 0},
        "total_steps": 40,
        "workers": 1,
        **more,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short episodes of the expert; none of them gets there in time."""
    path = tmp_path_factory.mktemp("demonstrations") / "reach"
    record(load_policy("expert"), REACH, KWARGS, range(3), path)
    return path


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that saw every window often enough to know them by heart."""
    folder = tmp_path_factory.mktemp("runs")
    return training.start(preset(folder, data, total_steps=400), name="fit", root=folder).folder


# ---- chunks ----------------------------------------------------------------------------------------------------------


def foreseen(step: int, horizon: int) -> np.ndarray:
    """A chunk in which each action says who foresaw it and for when."""
    return np.array([[step, step + i] for i in range(horizon)], np.float32)


def test_so_many_actions_of_a_chunk_are_carried_out_before_the_next_one_is_asked_for() -> None:
    player, asked = ChunkPlayer(ChunkSpec(horizon=5, execute=3)), []

    def play(step: int) -> list[float]:
        def foresee() -> np.ndarray:
            asked.append(step)
            return foreseen(step, 5)

        return player.act(foresee).tolist()

    played = [play(step) for step in range(7)]
    assert asked == [0, 3, 6]
    assert played == [[0, 0], [0, 1], [0, 2], [3, 3], [3, 4], [3, 5], [6, 6]]
    player.reset()
    assert play(10) == [10, 10], "a new episode begins with a chunk of its own"


def test_ensembling_weighs_as_the_paper_says() -> None:
    """Worked out by hand: m = ln 2 halves the weight from one chunk to the next newer one."""
    player = ChunkPlayer(ChunkSpec(horizon=3, ensemble=float(np.log(2.0))))
    chunks = [np.array([[v], [v + 1], [v + 2]], np.float32) for v in (0.0, 10.0, 20.0, 30.0)]
    played = [player.act(lambda chunk=chunk: chunk)[0] for chunk in chunks]
    assert played[0] == 0.0
    assert played[1] == pytest.approx((1 * 1 + 0.5 * 10) / 1.5)
    assert played[2] == pytest.approx((1 * 2 + 0.5 * 11 + 0.25 * 20) / 1.75)
    assert played[3] == pytest.approx((1 * 12 + 0.5 * 21 + 0.25 * 30) / 1.75), "the first chunk ended before this step"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"horizon": 4, "execute": 5}, "execute = 5: a chunk has no more than horizon = 4"),
        ({"horizon": 4, "execute": 2, "ensemble": 0.1}, "execute = 2: with ensemble"),
        ({"horizon": 0}, "horizon = 0"),
    ],
)
def test_chunks_that_cannot_be_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        validate(ChunkSpec, wrong, "spec")


def test_a_clock_says_what_its_docstring_says_and_stands_still_at_the_end() -> None:
    spec = ClockSpec(longest_s=4.0)
    told = spec.tell([0.0, 1.0, 9.0])
    assert told.shape == (3, spec.size) and np.array_equal(told[2], spec.tell(4.0))
    assert np.allclose(told[0], [-1.0, *[0.0] * 5, *[1.0] * 5])
    waves = [2.0 * np.pi / period for period in (4.0, 2.0, 1.0, 0.5, 0.25)]
    assert np.allclose(told[1], [-0.5, *np.sin(waves), *np.cos(waves)], atol=1e-6)
    clock, seen = Clock(spec, 50.0), np.zeros(3, np.float32)
    rows = [clock.beside(seen) for _ in range(3)]
    assert np.array_equal(rows[2], [0.0, 0.0, 0.0, *spec.tell(0.04)])
    clock.reset()
    assert np.array_equal(clock.beside(seen), rows[0])
    assert Clock(None, 50.0).beside(seen) is seen


def test_a_memory_keeps_the_largest_of_an_episode() -> None:
    memory = Memory([2, 0])
    seen = np.array([[1.0, 9.0, 5.0], [3.0, 9.0, 4.0], [2.0, 9.0, 6.0]], np.float32)
    assert np.array_equal([memory.beside(row)[3:] for row in seen], [[5.0, 1.0], [5.0, 3.0], [6.0, 3.0]])
    memory.reset()
    assert np.array_equal(memory.beside(-seen[0]), [-1.0, -9.0, -5.0, -5.0, -1.0])
    assert Memory().beside(seen) is seen


# ---- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", [1, 3])
def test_batches_hold_what_the_policy_would_have_seen_and_what_was_done(data: Path, history: int) -> None:
    """Compared with the environment itself, which plays the recorded actions again."""
    with contextlib.closing(make_env(REACH, {**KWARGS, "observation_history": history})) as env:
        part = Part(data, env, 8, only_successes=False)
        everything = Demonstrations([part, part])
        assert len(everything) == 2 * 3 * STEPS and part.origin.steps == 3 * STEPS
        batch = everything[np.arange(len(everything))]
        actions = Store.open(data).read(1).columns["action"]
        observation, _ = env.reset(seed=1)
        for t in range(STEPS):
            for row in (STEPS + t, 4 * STEPS + t):  # the second episode of the first part and of the second
                assert batch["observation"][row].tobytes() == observation.tobytes()
                assert np.array_equal(batch["action"][row], actions[np.minimum(t + np.arange(8), STEPS - 1)])
                assert batch["is_pad"][row].tolist() == [t + i >= STEPS for i in range(8)]
            observation, *_ = env.step(actions[t])
        seen, done = part.moments()
        if history == 1:  # of more, the older rows count like the newest
            assert np.allclose(seen[0], batch["observation"].mean(0), atol=1e-5)
        assert np.allclose(done[1], batch["action"][:, 0].var(0), atol=1e-6)


def test_moments_of_several_datasets_are_those_of_all_rows() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 30, 4)) * 3.0 + 1.0
    second = second[:7] + 5.0
    mean, variance = pooled([(x.mean(0), x.var(0)) for x in (first, second)], [30, 7])
    both = np.concatenate([first, second])
    assert np.allclose(mean, both.mean(0)) and np.allclose(variance, both.var(0))


def test_the_mirror_image_of_reaching_is_what_the_robots_mirror_image_sees() -> None:
    """Joints and goals are mirrored by hand, and the environment says what it observes then."""
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        base: Any = env.unwrapped
        env.reset(seed=5)
        symmetry, robot, model = symmetry_of(env), base.robot, base.model
        joints = np.clip(model.default_position + 0.2, model.lower, model.upper)
        goals = base.task.state.values["goals"]

        def seen(angles: np.ndarray, wanted: Any) -> np.ndarray:
            robot.place(angles.tolist())
            base.task.state.values["goals"] = wanted
            base.task._measure()
            return base.observation.read(base).copy()

        first = seen(joints, goals)
        flipped = [((x, -y, z), (-a, b, -c, w)) for (x, y, z), (a, b, c, w) in reversed(goals)]
        offset = joints - model.default_position
        image = seen(model.default_position + model.mirror.sign * offset[model.mirror.permutation], flipped)
        base.action[:] = 0.0
        for name in ("joint_position", "hand_position_error", "hand_orientation_error"):
            part = base.observation.slices[name]
            assert np.allclose(reflect(first, symmetry.observation)[part], image[part], atol=2e-3), name
        assert np.abs(first[base.observation.slices["hand_position_error"]]).min() > 5e-3


def test_moments_with_the_mirror_image_are_those_of_both() -> None:
    mirror = Mirror(np.array([1, 0, 2]), np.array([1.0, 1.0, -1.0]))
    values = np.random.default_rng(0).normal([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], (50, 3))
    mean, variance = both_sides((values.mean(0), values.var(0)), mirror)
    both = np.concatenate([values, reflect(values, mirror)])
    assert np.allclose(mean, both.mean(0)) and np.allclose(variance, both.var(0))


def test_of_a_takeover_only_what_the_expert_did_is_learned(tmp_path: Path) -> None:
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        box = env.action_space
        assert isinstance(box, gymnasium.spaces.Box)
        size, wide = box.shape[0], int(np.prod(env.observation_space.shape or ()))
        constant = Network(
            [(np.zeros((wide, 4 * size), np.float32), np.full(4 * size, 0.25, np.float32))], "relu", Normalisation()
        )
        actor = ChunkActor(constant, ChunkSpec(horizon=4, execute=4), box.low, box.high, Clock(None, 50.0))
        policy = TakeoverPolicy(actor, STEPS, 7, "a" * 64)
        path = tmp_path / "rollouts"
        record(policy, REACH, KWARGS, range(5), path)
        store = Store.open(path)
        mark(store, policy)
        mark(store, policy)  # says nothing new
        part = Part(path, env, 4, only_successes=False)
        rows = [policy.row(seed) for seed in range(5)]
        assert len(set(rows)) > 2 and max(rows) < STEPS
        assert part.first.tolist() == rows and part.origin.steps == sum(STEPS - row for row in rows)
        for number, row in enumerate(rows):
            actions = store.read(number).columns["action"]
            assert (actions[:row] == 0.25).all() and (actions[row] != 0.25).any()
        batch = part.read(np.array([2]), np.array([0]))
        assert np.array_equal(batch["action"][0, 0], store.read(2).columns["action"][rows[2]])
        assert len(Part(path, env, 4, only_successes=False, below_seed=3).counts) == 3


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_tiny_dataset_is_learned_by_heart(run: Path, data: Path) -> None:
    losses = [entry["loss"] for entry in read_progress(run)]
    assert losses[-1] < 0.06 < losses[0]
    policy = load_bundle(run / "bundle")
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        part = Part(data, env, 8, only_successes=False)
        batch = Demonstrations([part])[np.arange(3 * STEPS)]
        said = policy.infer(batch["observation"]).reshape(batch["action"].shape)
        error = np.abs(said - batch["action"])[~batch["is_pad"]]
        assert error.mean() < 0.03 * np.ptp(batch["action"])
    made = policy.spec.provenance
    assert made.data is not None and made.steps == 3 * STEPS and made.data[0].episodes == 3


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(data: Path, tmp_path: Path) -> None:
    made = [
        training.start(preset(tmp_path, data), [f"seed={seed}"], name=f"r{i}", root=tmp_path).bundle
        for i, seed in enumerate((3, 3, 4))
    ]
    first, again, other = [(bundle / "policy.safetensors").read_bytes() for bundle in made]
    assert first == again != other


@pytest.mark.parametrize("algorithm", ["bc", "dagger"])
def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(algorithm: str, data: Path, tmp_path: Path) -> None:
    """Of DAgger the rounds after the checkpoint are played again, or found where they were played already."""
    own: dict[str, Any] = {"rounds": 2, "episodes": 2, "latest_s": 0.3} if algorithm == "dagger" else {"mirror": True}
    own |= {"clock": {"longest_s": 0.3}, "clock_noise_s": 0.05, "observation_noise": 0.05}
    folder = training.start(preset(tmp_path, data, algorithm, own=own), name="whole", root=tmp_path).folder
    bundle = (folder / "bundle" / "policy.safetensors").read_bytes()
    for keep_rounds in (True, False):
        shutil.rmtree(folder / "bundle")
        (folder / "checkpoints" / "step_000000000040.safetensors").unlink()
        if algorithm == "dagger" and not keep_rounds:
            for path in (folder / "rollouts" / "episodes").glob("*2.parquet"):
                path.unlink()  # the first of the second round
        result = training.resume(folder, root=tmp_path)
        assert result.steps == 40
        assert (folder / "bundle" / "policy.safetensors").read_bytes() == bundle
    if algorithm == "dagger":
        rolled = json.loads((folder / "bundle" / "spec.json").read_text())["provenance"]["data"]
        assert [one["episodes"] for one in rolled] == [3, 4]


def test_ctrl_c_in_a_round_ends_it_and_the_run_goes_on_with_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"rounds": 1, "episodes": 3, "latest_s": 0.3}
    whole = training.start(preset(tmp_path, data, "dagger", own=own), name="whole", root=tmp_path).bundle
    written: list[int] = []

    def interrupt(self: Store, episode: Any, *rest: Any, **more: Any) -> int:
        written.append(append(self, episode, *rest, **more))
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return written[-1]

    append = Store.append
    monkeypatch.setattr(Store, "append", interrupt)
    with pytest.raises(KeyboardInterrupt):
        training.start(tmp_path / "tiny.yaml", name="cut", root=tmp_path)
    assert len(written) == 2 and (tmp_path / "cut" / "checkpoints" / "step_000000000012.safetensors").is_file()
    bundle = training.resume(tmp_path / "cut").bundle
    assert len(written) == 3, "episodes that were there are not played again"
    assert (bundle / "policy.safetensors").read_bytes() == (whole / "policy.safetensors").read_bytes()


def test_numpy_and_onnx_play_the_same_episode(run: Path) -> None:
    """The normaliser is inside the graph, and the metadata say how chunks are carried out."""
    bundle = read_bundle(run / "bundle")
    assert bundle.onnx is not None
    onnx, plain = load_policy(run, runtime="onnx"), load_policy(run)
    generator = np.random.default_rng(0)
    deviation = np.sqrt(bundle.tensors["observation.variance"])
    observations = (bundle.tensors["observation.mean"] + 3 * deviation * generator.normal(size=(32, 99))).astype(
        np.float32
    )
    assert np.allclose(plain.infer(observations), onnx.infer(observations), atol=1e-5)  # type: ignore[attr-defined]
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle.onnx, providers=["CPUExecutionProvider"])
    told = json.loads(session.get_modelmeta().custom_metadata_map["chunk"])
    assert told == {"horizon": 8, "execute": 4, "ensemble": None}
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        ends = [run_episode(env, policy, 1_000_000).total_reward for policy in (plain, onnx)]
        assert ends[0] == pytest.approx(ends[1], abs=1e-3)
        with pytest.raises(AgentError, match="plays one episode at a time"):
            plain.act(observations)


@pytest.fixture(scope="module")
def timed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a clock, and without what was done before."""
    folder = tmp_path_factory.mktemp("timed")
    own = {"clock": {"longest_s": 0.3}, "unseen": ["previous_action"]}
    return training.start(preset(folder, data, own=own), name="timed", root=folder).folder


def test_a_policy_with_a_clock_is_told_the_time_of_its_episode(timed: Path) -> None:
    """In numpy, in ONNX, and as a learner: the same actions for the same steps."""
    bundle = read_bundle(timed / "bundle")
    spec = bundle.policy.spec
    assert spec.clock == ClockSpec(longest_s=0.3) and spec.inputs == 110
    onnx, plain = load_policy(timed, runtime="onnx"), load_policy(timed)
    import onnxruntime

    assert bundle.onnx is not None
    session = onnxruntime.InferenceSession(bundle.onnx, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["clock"]) == {"longest_s": 0.3}
    assert session.get_inputs()[0].shape == ["batch", 110]
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        seen, _ = env.reset(seed=0)
        played = []
        for policy in (plain, plain, onnx):
            policy.reset(env)
            played.append([policy.act(seen) for _ in range(9)])
    assert np.array_equal(played[0], played[1]), "the clock begins anew with each episode"
    assert np.allclose(played[0], played[2], atol=1e-5)
    wanted = [plain.infer(np.append(seen, spec.clock.tell(step / 50))) for step in (0, 4, 8)]  # type: ignore[attr-defined]
    assert np.array_equal([played[0][step] for step in (0, 4, 8)], [chunk[:29] for chunk in wanted])
    assert not np.allclose(wanted[0][:29], wanted[1][:29], atol=1e-3)


def test_a_policy_is_told_what_it_remembers_as_in_the_data(data: Path, tmp_path: Path) -> None:
    """Behind the clock; a learner, a bundle in numpy and one in ONNX are told the same."""
    own = {"clock": {"longest_s": 0.3}, "remembered": ["hand_position_error"], "observation_noise": 0.05}
    run = training.start(preset(tmp_path, data, own=own), name="run", root=tmp_path).folder
    onnx, plain = load_policy(run, runtime="onnx"), load_policy(run)
    spec = plain.spec  # type: ignore[attr-defined]
    places = places_of(spec.env, spec.remembered)
    assert spec.remembered == ("hand_position_error",) and spec.inputs == 116 and len(places) == 6
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        batch = Part(data, env, 8, only_successes=False, remembered=places).read(np.ones(STEPS, int), np.arange(STEPS))
        assert np.array_equal(batch["remembered"], np.maximum.accumulate(batch["observation"][:, places]))
        assert (batch["remembered"] > batch["observation"][:, places]).any()
        told = np.concatenate([batch["observation"], spec.clock.tell(batch["step"] / 50), batch["remembered"]], axis=1)
        wanted = plain.infer(told)[:, :29]  # type: ignore[attr-defined]
        for policy in (plain, plain, onnx):
            env.reset(seed=0)
            policy.reset(env)
            played = [policy.act(row) for row in batch["observation"]]
            assert np.allclose(played[::4], wanted[::4], atol=1e-5)
    assert not np.allclose(plain.infer(told[-1]), plain.infer(np.append(told[-1][:-6], told[0][-6:])), atol=1e-3)  # type: ignore[attr-defined]


def test_channels_that_are_exact_are_learned_without_noise_and_go_in_larger(data: Path, tmp_path: Path) -> None:
    runs = []
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        for exact in ({}, {"joint_position": 3.0}):
            path = preset(tmp_path, data, own={"observation_noise": 0.5, "exact": exact})
            config = training.resolve(yaml.safe_load(path.read_text()), str(path))
            runs.append(ImitationRun(config, tmp_path, env, lambda _: None))
        clean = runs[0].parts[0].read(np.zeros(8, int), np.arange(8))
        noisy, partly = (run._prepared(dict(clean), 3)["observation"] for run in runs)
    assert np.array_equal(partly[:, :29], clean["observation"][:, :29])
    assert np.array_equal(partly[:, 29:], noisy[:, 29:])
    assert not np.isclose(noisy, clean["observation"]).all(axis=0).any()
    variance, larger = (run.model.moments["observation/variance"] for run in runs)
    assert np.allclose(variance / larger, [9.0] * 29 + [1.0] * 70)


def test_what_a_policy_does_not_look_at_weighs_nothing(timed: Path) -> None:
    bundle = read_bundle(timed / "bundle")
    used = (bundle.tensors["weight.0"] != 0).any(axis=0)
    at = np.cumsum([0, *(channel.size for channel in bundle.policy.spec.env.channels)])
    names = [channel.name for channel in bundle.policy.spec.env.channels]
    hidden = slice(at[names.index("previous_action")], at[names.index("previous_action") + 1])
    assert not used[hidden].any() and np.delete(used, hidden).all()


def test_a_bundle_whose_chunk_does_not_fit_its_network_is_refused(run: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(run / "bundle", tmp_path / "bundle"))
    spec = json.loads((bundle / "spec.json").read_text())
    spec["chunk"]["horizon"] = 9
    (bundle / "spec.json").write_text(json.dumps(spec))
    write_manifest(bundle)
    with pytest.raises(AgentError, match=r"the network goes from 99 to 232.*99 and 29 × chunk.horizon = 9"):
        load_bundle(bundle)


def test_a_bundle_that_remembers_what_nobody_sees_is_refused(run: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(run / "bundle", tmp_path / "bundle"))
    spec = json.loads((bundle / "spec.json").read_text())
    (bundle / "spec.json").write_text(json.dumps({**spec, "remembered": ["mechanism"]}))
    write_manifest(bundle)
    with pytest.raises(AgentError, match=r"spec.json: remembered: .*'mechanism'"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("own", "more", "error", "told"),
    [
        ({"datasets": []}, {}, AgentError, "bc.datasets: names no dataset"),
        ({"datasets": ["nowhere"]}, {}, DatasetError, "nowhere"),
        ({"execute": 9}, {}, ConfigError, "execute = 9: a chunk has no more than horizon = 8"),
        ({"unseen": ["previous_actio"]}, {}, AgentError, "did you mean 'previous_action'"),
        ({"exact": {"joint_positio": 2}}, {}, AgentError, "exact: .*did you mean 'joint_position'"),
        ({"remembered": ["hand_position_erro"]}, {}, AgentError, "remembered: .*did you mean 'hand_position_error'"),
        ({"remembered": ["hand_position_error"], "mirror": True}, {}, ConfigError, "mirror and remembered"),
        ({"clock": {"longest_s": 0}}, {}, ConfigError, "longest_s = 0"),
        ({"horizont": 9}, {}, ConfigError, "did you mean 'horizon'"),
        ({"only_successes": True}, {}, AgentError, "holds no successful episodes to learn from, of 3"),
        ({}, {"start_from": "stand_g1"}, AgentError, "algorithm bc begins from nothing"),
        ({}, {"env": {"id": "TrainingGround/Stand-v0", "kwargs": {"robot": "g1"}}}, DatasetError, "does not fit"),
    ],
)
def test_what_is_wrong_with_a_preset_is_told_before_there_is_a_run(
    own: dict[str, Any], more: dict[str, Any], error: type[Exception], told: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=told):
        training.start(preset(tmp_path, data, own=own, **more), name="run", root=tmp_path)
    assert not (tmp_path / "run").exists()


def test_batches_of_rounds_do_not_repeat_each_other(data: Path) -> None:
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        everything = Demonstrations([Part(data, env, 8, only_successes=False)])
    batches = Batches(everything, 16, seed=0)
    epoch = np.concatenate(list(batches))
    assert sorted(epoch.tolist()) == list(range(len(everything)))
    assert not np.array_equal(epoch, np.concatenate(list(batches)))

"""Training on a task without physics: what a run leaves, how it goes on, and how it stops."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml

from training_ground.agents import files, training
from training_ground.agents.bundle import load_bundle
from training_ground.agents.evaluation import evaluate
from training_ground.agents.policy import load_policy
from training_ground.assets.catalog import robot_names
from training_ground.configs.errors import AgentError, ConfigError, SimulationError
from training_ground.configs.presets import load_preset, preset_names

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")

ENV_ID = "fake_tasks:Fake/Point-v0"
PRESET: dict[str, Any] = {
    "env": {"id": ENV_ID, "kwargs": {"robot": "point"}},
    "ppo": {"rollout_steps": 32, "minibatches": 2, "learning_rate": 1e-3},
    "network": {"hidden": [16], "activation": "tanh"},
    "normalisation": {"reward": True},
    "checkpoints": {"interval": 64, "keep": 3},
    "eval": {"episodes": 4},
    "total_steps": 256,
    "workers": 1,
    "envs_per_worker": 2,
}


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    fake_agents.install(monkeypatch)
    path = tmp_path / "point.yaml"
    path.write_text(yaml.safe_dump(PRESET))
    yield path
    assert not multiprocessing.active_children(), "a worker was left behind"


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 256 steps without evaluation, made once."""
    pytest.importorskip("stable_baselines3")
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        fake_agents.install(patch)
        (folder / "point.yaml").write_text(yaml.safe_dump(PRESET))
        overrides = ["eval.episodes=0", "network.activation=elu", "ppo.settle_share=0.5"]
        return training.start(folder / "point.yaml", overrides, root=folder / "runs", name="first").folder


@pytest.fixture
def finished(preset: Path, finished_once: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change at will."""
    return Path(shutil.copytree(finished_once, tmp_path / "runs" / "first"))


# ---- presets: need no torch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", preset_names("train"))
def test_shipped_presets_resolve(name: str) -> None:
    training.resolve(load_preset("train", name)[1], name)


def test_every_robot_of_a_preset_resolves_and_exists() -> None:
    for name in preset_names("train"):
        data = load_preset("train", name)[1]
        for robot in data.get("robots", {}):
            assert robot in robot_names()
            training.resolve(data, name, [f"env.kwargs.robot={robot}"])


def test_a_preset_may_say_what_one_robot_wants() -> None:
    """It goes before the rest of the preset, and after what the user says."""
    data = {
        "env": {"id": "Stand", "kwargs": {"robot": "g1", "push_speed": [0, 1]}},
        "network": {"initial_std": 0.3},
        "total_steps": 10,
        "robots": {"talos": {"env": {"kwargs": {"action_scale": 0.25}}, "network": {"initial_std": 0.1}}},
    }
    plain = training.resolve(data, "p")
    assert plain.network.initial_std == 0.3 and "action_scale" not in plain.env.kwargs
    for robot in ("talos", "somewhere/talos.yaml"):
        own = training.resolve(data, "p", [f"env.kwargs.robot={robot}"])
        assert own.network.initial_std == 0.1
        assert own.env.kwargs == {"robot": robot, "push_speed": [0, 1], "action_scale": 0.25}
    told = training.resolve(data, "p", ["env.kwargs.robot=talos", "network.initial_std=0.2"])
    assert told.network.initial_std == 0.2 and told.env.kwargs["action_scale"] == 0.25
    assert "robots" in data, "the preset itself is left alone"
    with pytest.raises(ConfigError, match="p: robots: must map"):
        training.resolve({**data, "robots": {"talos": 3}}, "p")
    with pytest.raises(ConfigError, match="did you mean 'initial_std'"):
        typo = {"talos": {"network": {"initial_sdt": 0.1}}}
        training.resolve({**data, "robots": typo}, "p", ["env.kwargs.robot=talos"])


def test_presets_with_errors_name_the_nearest() -> None:
    data = load_preset("train", "stand")[1]
    for overrides, message in (
        (["ppo.learning_rat=1e-4"], "did you mean 'learning_rate'"),
        (["total_step=5"], "did you mean 'total_steps'"),
        (["ppo.gamma=1.5"], "ppo.gamma = 1.5"),
        (["ppo.learning_rate_range=[1, 0.1]"], "must not exceed"),
        (["network.activation=gelu"], "network.activation"),
        (["eval.seed=5"], "eval.seed = 5"),
        (["ppo.gamma"], "dotted.key=value"),
    ):
        with pytest.raises(ConfigError, match=message):
            training.resolve(data, "stand", overrides)
    with pytest.raises(AgentError, match="unknown algorithm 'pppo': did you mean 'ppo'"):
        training.resolve(data, "stand", ["algorithm=pppo"])
    with pytest.raises(ConfigError, match="did you mean 'stand'"):
        load_preset("train", "stadn")
    with pytest.raises(ConfigError, match="no such file"):
        load_preset("train", "nowhere/stand.yaml")
    config: Any = training.resolve(data, "stand", ["--ppo.learning_rate=1e-4", "env.kwargs.robot=talos"])
    assert config.ppo.learning_rate == 1e-4 and config.env.kwargs["robot"] == "talos"


@pytest.mark.parametrize("measure", ["length", "success"])
def test_a_curriculum_follows_how_long_episodes_last_or_how_many_succeed(measure: Literal["length", "success"]) -> None:
    from training_ground.agents.curriculum import Curriculum
    from training_ground.configs.training import CurriculumConfig
    from training_ground.envs.registration import make

    config = CurriculumConfig(
        start={"push_speed": (0.0, 0.5)}, measure=measure, raise_above=0.7, lower_below=0.3, step=0.4
    )
    with contextlib.closing(make("Stand", push_speed=(0.4, 1.0))) as env:
        curriculum = Curriculum(config, env)
        levels = []
        for length in (1000, 1000, 500, 1000, 1000, 50, 50, 50):
            successes = [i % 20 < length // 50 for i in range(60)]
            lengths = [length] * 60 if measure == "length" else [0] * 60
            curriculum.see({"episode": {"l": n}, "is_success": s} for n, s in zip(lengths, successes, strict=True))
            levels.append(round(curriculum.level, 2))
        assert levels == [0.4, 0.8, 0.8, 1.0, 1.0, 1.0, 0.6, 0.2], levels
        assert Curriculum().level == 1.0
        base: Any = env.unwrapped
        assert base.adjustable["push_speed"] == (0.4, 1.0)
        curriculum.ranges.apply(env, 0.5)
        assert base.adjustable["push_speed"] == (0.2, 0.75)
        with pytest.raises(SimulationError, match="push_interval_s"):
            Curriculum(CurriculumConfig(start={"push_interval_s": (1.0, 2.0)}), env)
        with pytest.raises(SimulationError, match="did you mean 'push_speed'"):
            Curriculum(CurriculumConfig(start={"push_sped": 1.0}), env)


# ---- rollouts --------------------------------------------------------------------------------------------------------


def _policy(size: int = 4, actions: int = 2) -> Any:
    from training_ground.agents.network import Network, Normalisation
    from training_ground.agents.rollouts import GaussianPolicy

    generator = np.random.default_rng(1)
    weight = generator.normal(0, 0.3, (size, actions)).astype(np.float32)
    layers = [(weight, np.zeros(actions, np.float32))]
    return GaussianPolicy(Network(layers, "elu", Normalisation()), np.full(actions, 0.5, np.float32))


def _collector(kwargs: dict[str, Any], **changes: Any) -> Any:
    from training_ground.agents.collector import Collector

    return Collector(ENV_ID, kwargs, **{"workers": 2, "envs_per_worker": 2, "steps": 10, "seed": 5, **changes})


def _content(collector: Any) -> list[Any]:
    arrays = collector.arrays
    return [a.copy() for a in (arrays.observation, arrays.action, arrays.reward, arrays.done)]


def test_rollouts_equal_stepping_by_hand(preset: Path) -> None:
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.seeds import training_seed
    from training_ground.agents.stepping import make_env

    collector = _collector({"length": 7})
    policy = _policy()
    try:
        lanes = [make_env(ENV_ID, {"length": 7}) for _ in range(4)]
        episodes = [0] * 4
        now = np.array([env.reset(seed=training_seed(5, i, 0))[0] for i, env in enumerate(lanes)])
        np.testing.assert_array_equal(collector.reset(), now)
        count = 0
        for number in range(3):
            ends = collector.collect(policy, number)
            arrays = collector.arrays
            for t in range(10):
                np.testing.assert_array_equal(arrays.observation[t], now)
                noise = (arrays.action[t] - policy.network(arrays.observation[t])) / 0.5
                assert 0.01 < np.abs(noise).mean() < 3
                for i, env in enumerate(lanes):
                    observation, reward, terminated, truncated, _ = env.step(arrays.action[t, i].clip(-1, 1))
                    assert arrays.reward[t, i] == np.float32(reward)
                    assert arrays.done[t, i] == (terminated or truncated) == ((t, i) in ends)
                    if arrays.done[t, i]:
                        count += 1
                        episodes[i] += 1
                        end = ends[t, i]
                        np.testing.assert_array_equal(end.observation, observation)
                        assert end.truncated and end.info["episode"]["l"] == 7
                        observation = env.reset(seed=training_seed(5, i, episodes[i]))[0]
                    now[i] = observation
            np.testing.assert_array_equal(arrays.observation[10], now)
            collector.advance()
        assert count == 16
        assert [s.episode for s in collector.states] == episodes and {len(s.actions) for s in collector.states} == {2}
    finally:
        collector.close()
        collector.close()


def test_environments_come_back_to_where_they_stood(preset: Path) -> None:
    """Also in workers of another number, and in a worker that replaces one that was killed."""
    pytest.importorskip("stable_baselines3")
    policy, said = _policy(), []
    first = _collector({"length": 7}, report=said.append)
    again = None
    try:
        first.reset()
        first.collect(policy, 0)
        first.advance()
        again = _collector({"length": 7}, workers=1, envs_per_worker=4, states=first.states)
        np.testing.assert_array_equal(again.reset(), first.arrays.observation[0])
        os.kill(first.worker_pids[1], signal.SIGKILL)
        for collector in (first, again):
            collector.collect(policy, 1)
        for one, two in zip(_content(first), _content(again), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)
        assert len(said) == 1 and said[0].startswith("worker 1 (environments 2 to 3) was ended by SIGKILL")
    finally:
        first.close()
        if again is not None:
            again.close()


def test_a_worker_that_stops_between_rollouts_is_replaced(preset: Path) -> None:
    """It takes no message any more; one that is larger than a pipe's buffer must not wait for it for ever."""
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.network import Network, Normalisation
    from training_ground.agents.rollouts import GaussianPolicy

    generator = np.random.default_rng(0)
    shapes = ((4, 400), (400, 400), (400, 2))
    layers = [(generator.normal(0, 0.05, s).astype(np.float32), np.zeros(s[1], np.float32)) for s in shapes]
    policy = GaussianPolicy(Network(layers, "elu", Normalisation()), np.full(2, 0.5, np.float32))
    said: list[str] = []
    collector = _collector({}, timeout_s=2.0, report=said.append)
    try:
        collector.reset()
        os.kill(collector.worker_pids[0], signal.SIGSTOP)
        collector.collect(policy, 0)
        assert said == [
            "worker 0 (environments 0 to 1) took no message for 2 s and was ended; another goes on in its place"
        ]
        assert np.isfinite(collector.arrays.action).all() and np.abs(collector.arrays.action).max() > 0
    finally:
        collector.close()


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("die", r"worker 0 \(environments 0 to 1\) was ended by SIGKILL .*run out of memory.*3 others in its place"),
        ("hang", r"worker 0 \(environments 0 to 1\) gave no answer for 1 s and was ended, and so did 3 others"),
        ("raise", r"worker 0 .*: the simulation diverged at step 5"),
        ("nan", r"environment 0: a reward is not finite"),
    ],
)
def test_a_worker_in_trouble_is_named(preset: Path, trouble: str, message: str) -> None:
    pytest.importorskip("stable_baselines3")
    collector = _collector({"trouble": trouble}, workers=1, timeout_s=1.0)
    try:
        collector.reset()
        with pytest.raises(AgentError, match=message):
            collector.collect(_policy(), 0)
    finally:
        collector.close()


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_everything(preset: Path, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    records: list[dict[str, Any]] = []
    result = training.start(preset, ["seed=3"], root=tmp_path / "runs", report=records.append)
    assert result.folder.name == "point_point_001" and result.steps == 256
    config: Any = training.resolve(yaml.safe_load((result.folder / "config.yaml").read_text()), "written")
    assert config.seed == 3 and config.ppo.gamma == 0.99
    lines = [json.loads(line) for line in (result.folder / "progress.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [64, 128, 192, 256]
    assert {"rate", "seconds_left", "return_mean", "success_rate", "failures", "kl", "std"} <= lines[-1].keys()
    assert lines[-1]["episodes"] == 12 and all(math.isfinite(line["kl"]) for line in lines)
    names = [p.name for p in sorted((result.folder / "checkpoints").iterdir())]
    assert names == [f"step_{s:012d}.safetensors" for s in (128, 192, 256)]
    policy = load_bundle(result.bundle)
    assert policy.spec.provenance.steps == 256 and policy.spec.env.joint_names == ("slide_x_joint", "slide_y_joint")
    assert result.evaluation is not None and result.evaluation.complete
    assert (result.bundle / "card.md").is_file() and (result.bundle / "evaluation.json").is_file()
    assert not list(result.folder.rglob("*.tmp")) and not list(result.folder.rglob("*.pkl"))
    assert "run" in records[0] and sum("kl" in r for r in records) == 4


def test_learning_learns(preset: Path, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    overrides = ["total_steps=4096", "eval.episodes=0", "envs_per_worker=8", "checkpoints.interval=100000"]
    overrides += ["ppo.epochs=8", "ppo.minibatches=4", "ppo.adapt_learning_rate=false", "ppo.kl_limit=null"]
    result = training.start(preset, overrides, root=tmp_path / "runs")
    seeds = range(1_000_000, 1_000_060)
    trained, zero = (
        evaluate(load_policy(name), ENV_ID, {}, seeds, workers=0).summary() for name in (result.folder, "zero")
    )
    assert trained["return_mean"] > zero["return_mean"] + 2.0
    assert trained["success_rate"] > zero["success_rate"] + 0.3


def test_the_bundle_is_the_network(finished: Path) -> None:
    """The numpy policy repeats stable-baselines3's own `predict` behind the normaliser.

    A restored model saves the same arrays again: nothing of a checkpoint is forgotten.
    """
    from training_ground.agents.algorithms import find_algorithm
    from training_ground.agents.checkpoints import (
        environment_states,
        last_good_checkpoint,
        load_checkpoint,
        restore,
        save_checkpoint,
    )
    from training_ground.agents.curriculum import Curriculum
    from training_ground.agents.normaliser import Normaliser

    config: Any = training.resolve(yaml.safe_load((finished / "config.yaml").read_text()), "written")
    checkpoint, problems = last_good_checkpoint(finished / "checkpoints")
    assert checkpoint is not None and not problems
    states = environment_states(checkpoint)
    with training._environments(config, states, Curriculum(), lambda _: None) as environments:
        normaliser = Normaliser(config.normalisation, 4, environments.num_envs, config.ppo.gamma)
        model = find_algorithm("ppo").build(config.ppo, config.network, environments, normaliser, 99)
        model.curriculum = Curriculum()
        restore(checkpoint, model)
        again = save_checkpoint(finished / "again", model, checkpoint.counters, 3)
        observations = np.random.default_rng(0).normal(0, 3, (64, 4)).astype(np.float32)
        expected = model.predict(normaliser.observation(observations), deterministic=True)[0]
    np.testing.assert_allclose(load_bundle(finished / "bundle").act(observations), expected, atol=2e-6)
    repeated = load_checkpoint(again).tensors
    assert repeated.keys() == checkpoint.tensors.keys()
    assert all(bool((repeated[name] == value).all()) for name, value in checkpoint.tensors.items())


def test_resume_goes_on_where_it_stopped(finished: Path) -> None:
    from training_ground.agents.checkpoints import last_good_checkpoint

    folder, root = finished / "checkpoints", finished.parent
    # The newest file is damaged: it goes on from the one before, and says so.
    newest = sorted(folder.iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-10])
    before, _ = last_good_checkpoint(folder)
    assert before is not None
    records: list[dict[str, Any]] = []
    again = training.resume(Path("first"), ["total_steps=384"], root=root, report=records.append)
    assert "passed over" in records[0]["warning"] and records[1]["from_step"] == 192
    assert again.steps == 384
    steps = [json.loads(x)["steps"] for x in (finished / "progress.jsonl").read_text().splitlines()]
    assert steps == [64, 128, 192, 256, 320, 384]
    after, _ = last_good_checkpoint(folder)
    assert after is not None and after.counters.seconds > before.counters.seconds
    assert after.counters.updates == 6 * 5
    assert yaml.safe_load((finished / "config.yaml").read_text())["total_steps"] == 384
    # Resuming a finished run trains nothing, and writes the bundle again.
    (finished / "bundle" / "spec.json").unlink()
    assert training.resume(finished).steps == 384
    assert load_bundle(finished / "bundle").spec.provenance.steps == 384


def test_a_resumed_run_ends_with_the_same_bits(preset: Path, tmp_path: Path, finished: Path) -> None:
    """Killed after any update and resumed, twice: weights, optimiser, normaliser and environments are those of a run
    that was never stopped.
    """
    from training_ground.agents.checkpoints import list_checkpoints, load_checkpoint

    folder = finished / "checkpoints"
    whole = load_checkpoint(list_checkpoints(folder)[-1])
    for kept in (2, 1):
        for path in list_checkpoints(folder)[kept - 3 :]:
            path.unlink()
        training.resume(finished)
        again = load_checkpoint(list_checkpoints(folder)[-1])
        assert again.counters.steps == whole.counters.steps == 256
        assert again.tensors.keys() == whole.tensors.keys()
        different = [name for name, value in whole.tensors.items() if not torch_equal(again.tensors[name], value)]
        assert not different


def test_a_run_settles_at_its_end_alone(preset: Path, tmp_path: Path, finished: Path) -> None:
    """Until then it is the run that does not; then its steps are small, and the bonus for noise is gone."""
    from training_ground.agents.checkpoints import list_checkpoints, load_checkpoint

    overrides = ["eval.episodes=0", "network.activation=elu"]
    other = training.start(preset, overrides, root=tmp_path / "other", name="first").folder
    pairs = zip(*(list_checkpoints(run / "checkpoints") for run in (finished, other)), strict=True)
    same = []
    for one, two in pairs:
        weights = [load_checkpoint(path).tensors["policy/log_std"] for path in (one, two)]
        same.append(torch_equal(*weights))
    assert same == [True, False, False]
    records = [json.loads(line) for line in (finished / "progress.jsonl").read_text().splitlines()]
    assert [r["target_kl"] for r in records if "kl" in r] == [0.01, 0.01, 0.006, 0.006]


@pytest.mark.slow
def test_a_resumed_run_on_a_real_robot_ends_with_the_same_bits(tmp_path: Path) -> None:
    """The physics, too, comes back to where it stood: in the middle of episodes, in fresh processes."""
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.checkpoints import list_checkpoints, load_checkpoint

    overrides = ["envs_per_worker=2", "ppo.rollout_steps=48", "ppo.minibatches=2", "total_steps=1152"]
    overrides += ["checkpoints.interval=192", "checkpoints.keep=10", "eval.episodes=0", "env.kwargs.push_speed=[0,1]"]
    overrides += [
        "ppo.privileged=[foot_contact, joint_torque]",
        "curriculum={start: {push_speed: [0, 0]}, raise_above: 0.01, step: 0.4}",
    ]
    folder = training.start("stand", overrides, robot="g1", root=tmp_path, name="run").folder
    paths = list_checkpoints(folder / "checkpoints")
    whole = load_checkpoint(paths[-1])
    assert load_checkpoint(paths[0]).tensors["curriculum"][0] < whole.tensors["curriculum"][0] == 1
    assert len(paths) == 6 and any(load_checkpoint(paths[2]).tensors[f"environments/{i}/actions"].any() for i in (0, 3))
    for path in paths[3:]:
        path.unlink()
    training.resume(folder)
    again = load_checkpoint(list_checkpoints(folder / "checkpoints")[-1])
    assert again.counters.steps == whole.counters.steps and again.tensors.keys() == whole.tensors.keys()
    assert not [name for name, value in whole.tensors.items() if not torch_equal(again.tensors[name], value)]


def torch_equal(one: Any, two: Any) -> bool:
    return bool(one.shape == two.shape and (one == two).all())


def test_resume_refuses_what_does_not_fit(finished: Path, preset: Path) -> None:
    root = finished.parent
    with pytest.raises(AgentError, match="network is not the checkpoint's"):
        training.resume(finished, ["network.hidden=[8]", "total_steps=512"])
    with pytest.raises(AgentError, match="trained on the compiled robot aaaaaaaaaaaa"):
        training.resume(finished, [f"env.kwargs.model_hash={'b' * 64}", "network.hidden=[16]"])
    with pytest.raises(AgentError, match="run 'frist': did you mean 'first'"):
        training.resume(Path("frist"), root=root)
    with pytest.raises(AgentError, match="exists; continue it with --resume"):
        training.start(preset, root=root, name="first")


def test_damaged_checkpoints_are_refused(finished: Path) -> None:
    from training_ground.agents.checkpoints import list_checkpoints, load_checkpoint

    paths = list_checkpoints(finished / "checkpoints")
    whole = paths[-1].read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole))] ^= 1 << int(generator.integers(8))
        paths[-1].write_bytes(damaged)
        with pytest.raises(AgentError, match=r"damaged|another version"):
            load_checkpoint(paths[-1])
    for path in paths:
        path.write_bytes(b"PK\x03\x04" + whole[4:])
        with pytest.raises(AgentError, match="no checkpoint"):
            load_checkpoint(path)
    with pytest.raises(AgentError, match="no whole checkpoint is left"):
        training.resume(finished)


def test_nan_stops_and_keeps_the_last_good_checkpoint(finished: Path) -> None:
    from training_ground.agents.checkpoints import load_checkpoint

    explode = ["total_steps=1024", "ppo.learning_rate=1e30", "ppo.adapt_learning_rate=false", "ppo.kl_limit=null"]
    with pytest.raises(AgentError, match=r"(not finite|diverged).*last good checkpoint: .*step_000000000256"):
        training.resume(finished, explode)
    for path in (finished / "checkpoints").iterdir():
        assert all(bool((t.double().abs() < 1e9).all()) for t in load_checkpoint(path).tensors.values())


def test_a_full_disk_is_said_and_costs_no_checkpoint(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.checkpoints import load_checkpoint

    genuine, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(AgentError, match="No space left on device"):
        training.start(preset, root=tmp_path / "runs", name="full")
    checkpoints = list((tmp_path / "runs" / "full" / "checkpoints").iterdir())
    assert checkpoints and not [p for p in checkpoints if p.suffix == ".tmp"]
    for path in checkpoints:
        load_checkpoint(path)


def _tg(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from training_ground.cli.main import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", *arguments, "--runs", str(tmp_path / "runs")],
        env={**os.environ, "PYTHONPATH": str(fake_agents.FOLDER)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob("step_*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupt_and_kill_lose_nothing(preset: Path, tmp_path: Path, number: signal.Signals) -> None:
    pytest.importorskip("stable_baselines3")
    slow = ["--total_steps=100000", "--env.kwargs.step_s=0.002", "--eval.episodes=0"]
    process = _tg(tmp_path, str(preset), "--name", "run", *slow)
    folder = tmp_path / "runs" / "run" / "checkpoints"
    _wait_for_checkpoint(folder, process)
    children = _children(process.pid)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: the workers get it too
    else:
        process.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -9), said
    assert "Traceback" not in said
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.05)
    steps = int(sorted(folder.iterdir())[-1].stem.removeprefix("step_"))
    result = training.resume(tmp_path / "runs" / "run", [f"total_steps={steps + 128}", "env.kwargs.step_s=0"])
    assert steps + 128 <= result.steps < steps + 256
    load_bundle(result.bundle)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

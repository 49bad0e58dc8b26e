"""Training on a task without physics: what a run leaves, how it goes on, and how it stops."""

from __future__ import annotations

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
from typing import Any

import numpy as np
import pytest
import yaml

from training_ground.agents import files, training
from training_ground.agents.bundle import load_bundle
from training_ground.agents.evaluation import evaluate
from training_ground.agents.policy import load_policy
from training_ground.configs.errors import AgentError, ConfigError
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
        overrides = ["eval.episodes=0", "network.activation=elu"]
        return training.start(folder / "point.yaml", overrides, root=folder / "runs", name="first").folder


@pytest.fixture
def finished(preset: Path, finished_once: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change at will."""
    return Path(shutil.copytree(finished_once, tmp_path / "runs" / "first"))


# ---- presets: need no torch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", preset_names("train"))
def test_shipped_presets_resolve(name: str) -> None:
    training.resolve(load_preset("train", name)[1], name)


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


# ---- vector environment ----------------------------------------------------------------------------------------------


def test_vector_environment_equals_stepping_by_hand(preset: Path) -> None:
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.seeds import next_training_seed, training_seeds
    from training_ground.agents.stepping import make_env
    from training_ground.agents.vector import ProcessVecEnv

    vector = ProcessVecEnv(ENV_ID, {"length": 7}, workers=2, envs_per_worker=2, seed=5)
    try:
        lanes = [(make_env(ENV_ID, {"length": 7}), training_seeds(5, 0, i)) for i in range(4)]
        expected = [env.reset(seed=next_training_seed(seeds))[0] for env, seeds in lanes]
        np.testing.assert_array_equal(vector.reset(), expected)
        generator = np.random.default_rng(0)
        ends = 0
        for _ in range(20):
            actions = generator.uniform(-1, 1, (4, 2)).astype(np.float32)
            observations: Any
            observations, rewards, dones, infos = vector.step(actions)
            for i, (env, seeds) in enumerate(lanes):
                observation, reward, terminated, truncated, _ = env.step(actions[i])
                assert rewards[i] == np.float32(reward) and dones[i] == (terminated or truncated)
                if dones[i]:
                    ends += 1
                    np.testing.assert_array_equal(infos[i]["terminal_observation"], observation)
                    assert infos[i]["TimeLimit.truncated"] is True and infos[i]["episode"]["l"] == 7
                    observation = env.reset(seed=next_training_seed(seeds))[0]
                np.testing.assert_array_equal(observations[i], observation)
        assert ends == 8
    finally:
        vector.close()
        vector.close()


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("die", r"worker 0 \(environments 0 to 1\) was ended by SIGKILL \(did the system run out of memory"),
        ("hang", r"worker 0 \(environments 0 to 1\) gave no answer for 1 s"),
        ("raise", r"worker 0 .*: the simulation diverged at step 5"),
        ("nan", r"environment 0: the reward is not finite"),
    ],
)
def test_a_worker_in_trouble_is_named(preset: Path, trouble: str, message: str) -> None:
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.vector import ProcessVecEnv

    vector = ProcessVecEnv(ENV_ID, {"trouble": trouble}, workers=1, envs_per_worker=2, timeout_s=1.0)
    try:
        vector.reset()
        with pytest.raises(AgentError, match=message):
            for _ in range(6):
                vector.step(np.zeros((2, 2), np.float32))
    finally:
        vector.close()


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
    """The numpy policy repeats stable-baselines3's own `predict` behind its own `VecNormalize`.

    A restored model saves the same arrays again: nothing of a checkpoint is forgotten.
    """
    from training_ground.agents.algorithms import find_algorithm
    from training_ground.agents.checkpoints import last_good_checkpoint, load_checkpoint, restore, save_checkpoint

    config: Any = training.resolve(yaml.safe_load((finished / "config.yaml").read_text()), "written")
    checkpoint, problems = last_good_checkpoint(finished / "checkpoints")
    assert checkpoint is not None and not problems
    with training._environments(config, 0) as normaliser:
        model = find_algorithm("ppo").build(config.ppo, config.network, normaliser, 99)
        restore(checkpoint, model, normaliser)
        again = save_checkpoint(finished / "again", model, normaliser, checkpoint.counters, 3)
        observations = np.random.default_rng(0).normal(0, 3, (64, 4)).astype(np.float32)
        expected = model.predict(normaliser.normalize_obs(observations), deterministic=True)[0]
    np.testing.assert_allclose(load_bundle(finished / "bundle").act(observations), expected, atol=2e-6)
    repeated = load_checkpoint(again).tensors
    assert repeated.keys() == checkpoint.tensors.keys()
    assert all(bool((repeated[name] == value).all()) for name, value in checkpoint.tensors.items())


def test_resume_goes_on_where_it_stopped(finished: Path) -> None:
    from training_ground.agents.checkpoints import last_good_checkpoint

    folder, root = finished / "checkpoints", finished.parent
    before, _ = last_good_checkpoint(folder)
    assert before is not None
    # The newest file is damaged: it goes on from the one before, and says so.
    newest = sorted(folder.iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-10])
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

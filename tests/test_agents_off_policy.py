"""SAC and TQC on a task without physics: what they remember, how they go on, and what they leave."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from training_ground.agents import bundle as bundle_module
from training_ground.agents import training
from training_ground.agents.bundle import load_bundle
from training_ground.agents.evaluation import evaluate
from training_ground.agents.policy import load_policy
from training_ground.configs.errors import AgentError, ConfigError

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")

ENV_ID = "fake_tasks:Fake/Point-v0"
PRESET: dict[str, Any] = {
    "env": {"id": ENV_ID, "kwargs": {"robot": "point"}},
    "algorithm": "tqc",
    "tqc": {"rollout_steps": 8, "learning_starts": 64, "buffer_size": 150, "batch_size": 32, "gradient_steps": 0.25},
    "network": {"hidden": [16], "activation": "relu", "initial_std": 0.7},
    "checkpoints": {"interval": 64, "keep": 4},
    "eval": {"episodes": 0},
    "total_steps": 256,
    "workers": 1,
    "envs_per_worker": 2,
}


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    pytest.importorskip("sb3_contrib")
    fake_agents.install(monkeypatch)
    path = tmp_path / "point.yaml"
    path.write_text(yaml.safe_dump(PRESET))
    yield path
    assert not multiprocessing.active_children(), "a worker was left behind"


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 256 steps, made once; its memory of 150 transitions was overwritten in it."""
    pytest.importorskip("sb3_contrib")
    folder = tmp_path_factory.mktemp("off_policy")
    with pytest.MonkeyPatch.context() as patch:
        fake_agents.install(patch)
        (folder / "point.yaml").write_text(yaml.safe_dump(PRESET))
        return training.start(folder / "point.yaml", root=folder / "runs", name="first").folder


@pytest.fixture
def finished(preset: Path, finished_once: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change at will."""
    return Path(shutil.copytree(finished_once, tmp_path / "runs" / "first"))


# ---- settings: need no torch -----------------------------------------------------------------------------------------


def test_settings_that_make_no_sense_are_refused() -> None:
    for overrides, message in (
        (["tqc.top_quantiles_dropped=25"], "less than quantiles = 25"),
        (["tqc.top_quantiles_to_drop=2"], "did you mean 'top_quantiles_dropped'"),
        (["algorithm=sac", "sac.entropy=automatic"], "sac.entropy"),
        (["algorithm=sac"], "unknown key 'tqc'"),
        (["tqc.tau=0"], "tqc.tau = 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            training.resolve(PRESET, "point", overrides)


def test_settings_that_do_not_fit_the_environments_are_refused() -> None:
    pytest.importorskip("torch")
    from training_ground.agents.algorithms._off_policy import check

    environments: Any = SimpleNamespace(num_envs=2)
    normaliser: Any = SimpleNamespace(ret_rms=None)
    for overrides, message in (
        (["tqc.gradient_steps=0.01"], r"tqc.gradient_steps = 0.01: no update in a rollout of 16 steps"),
        (["tqc.buffer_size=10"], "tqc.buffer_size = 10: less than a rollout of 16 steps"),
    ):
        config: Any = training.resolve(PRESET, "point", overrides)
        with pytest.raises(AgentError, match=message):
            check(config.tqc, "tqc", environments, normaliser)
    config = training.resolve(PRESET, "point")
    assert check(config.tqc, "tqc", environments, normaliser) == 4
    normaliser.ret_rms = 1
    with pytest.raises(AgentError, match=r"normalisation.reward = true"):
        check(config.tqc, "tqc", environments, normaliser)


# ---- the memory ------------------------------------------------------------------------------------------------------


def _replay(size: int, stride: int = 2) -> Any:
    pytest.importorskip("stable_baselines3")
    import gymnasium

    from training_ground.agents.replay import Replay

    observation, action = (gymnasium.spaces.Box(-1, 1, (n,), np.float32) for n in (3, 2))
    return Replay(size, observation, action, stride=stride)


def _rows(first: int, count: int) -> dict[str, Any]:
    """Transitions that carry their number; two environments alternate, and an episode ends every 14 transitions."""
    numbers = np.arange(first, first + count)
    observation = np.stack([numbers] * 3, axis=1).astype(np.float32)
    following = observation + 2 + 100 * (numbers % 14 == 0)[:, None].astype(np.float32)
    reward, terminal = numbers.astype(np.float32), (numbers % 3 == 0).astype(np.uint8)
    return {
        "observation": observation,
        "next_observation": following,
        "action": observation[:, :2] / 1000,
        "reward": reward,
        "terminal": terminal,
    }


def _drawn(replay: Any) -> tuple[Any, ...]:
    replay.begin_update((1, 2, 3))
    return tuple(part.numpy() for part in replay.sample(500)[:5])


def test_the_memory_holds_the_newest_and_gives_whole_transitions() -> None:
    from training_ground.agents.network import Normalisation

    replay = _replay(50)
    for first in range(0, 130, 10):
        replay.add_transitions(_rows(first, 10))
    assert (replay.count, replay.held) == (130, 50)
    observation, action, following, terminal, reward = _drawn(replay)
    numbers = reward[:, 0].astype(int)
    assert set(numbers) == set(range(80, 130))
    np.testing.assert_array_equal(observation[:, 0], numbers)
    np.testing.assert_array_equal(following[:, 0], numbers + 2 + 100 * (numbers % 14 == 0))
    np.testing.assert_allclose(action[:, 1], numbers / 1000, rtol=1e-6)
    np.testing.assert_array_equal(terminal[:, 0], numbers % 3 == 0)
    replay.normalisation = Normalisation(100.0, 10.0, 2.0)
    np.testing.assert_allclose(_drawn(replay)[0][:, 0], ((numbers - 100) / 10).clip(-2, 2))
    # More at once than it holds.
    replay.add_transitions(_rows(130, 75))
    assert set(_drawn(replay)[4][:, 0].astype(int)) == set(range(155, 205))


def test_the_memory_comes_back_from_its_files(tmp_path: Path) -> None:
    from training_ground.agents.replay import remove_unused, segments

    replay = _replay(50)
    saved = []
    for first in range(0, 130, 10):
        replay.add_transitions(_rows(first, 10))
        if first % 40 == 0:
            saved.append((replay.count, replay.save(tmp_path), _drawn(replay)))
    assert len(list(tmp_path.iterdir())) == 4
    for count, tensors, expected in saved:
        again = _replay(50)
        again.load(tmp_path, tensors, count)
        for one, two in zip(_drawn(again), expected, strict=True):
            np.testing.assert_array_equal(one, two)
        # It goes on in the same way, and saves the same files.
        again.add_transitions(_rows(count, 30))
        assert (again.count, again.held) == (count + 30, min(50, count + 30))
    # What follows a transition is mostly what the next one begins with, and is not written twice.
    first = segments(saved[0][1])[0].path(tmp_path)
    assert first.stat().st_size < 10 * (3 + 3 + 2 + 1) * 4 + 600
    remove_unused(tmp_path, segments(saved[-1][1]))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "replay_000000000050_000000000090.safetensors",
        "replay_000000000090_000000000130.safetensors",
    ]
    path = tmp_path / "replay_000000000090_000000000130.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(AgentError, match="sha256 is not the checkpoint's"):
        _replay(50).load(tmp_path, saved[-1][1], 130)


def test_running_out_of_time_is_no_end() -> None:
    pytest.importorskip("stable_baselines3")
    from training_ground.agents.off_policy import OffPolicyLearner
    from training_ground.agents.rollouts import EpisodeEnd

    kept: dict[str, Any] = {}
    observation = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
    arrays = SimpleNamespace(
        observation=observation,
        action=np.full((2, 2, 2), 3.0, np.float32),
        reward=np.ones((2, 2), np.float32),
        done=np.array([[1, 0], [0, 1]], np.uint8),
    )
    learner: Any = SimpleNamespace(
        collector=SimpleNamespace(arrays=arrays),
        _bounds=lambda: (np.float32(-1), np.float32(7)),
        memory=SimpleNamespace(add_transitions=kept.update),
    )
    ends = {(0, 0): EpisodeEnd(np.full(3, 50.0), truncated=True), (1, 1): EpisodeEnd(np.full(3, 60.0), truncated=False)}
    OffPolicyLearner._remember(learner, ends)
    assert kept["terminal"].tolist() == [0, 0, 0, 1]
    assert kept["next_observation"][:, 0].tolist() == [50, 9, 12, 60]
    np.testing.assert_array_equal(kept["observation"], observation[:-1].reshape(4, 3))
    assert kept["action"].tolist() == [[0.0, 0.0]] * 4  # from [-1, 7] to [-1, 1]


# ---- runs ------------------------------------------------------------------------------------------------------------


def _model(run: Path, checkpoint: Any) -> Any:
    from training_ground.agents.algorithms import find_algorithm
    from training_ground.agents.checkpoints import environment_states, restore
    from training_ground.agents.collector import Collector
    from training_ground.agents.curriculum import Curriculum
    from training_ground.agents.normaliser import Normaliser

    config: Any = training.resolve(yaml.safe_load((run / "config.yaml").read_text()), "written")
    states = environment_states(checkpoint)
    environments = Collector(ENV_ID, {}, workers=1, envs_per_worker=2, steps=8, states=states)
    normaliser = Normaliser(config.normalisation, 4, 2, config.tqc.gamma)
    model: Any = find_algorithm("tqc").build(config.tqc, config.network, environments, normaliser, 99)
    model.curriculum = Curriculum()
    restore(checkpoint, model)
    return model


def test_the_workers_and_the_bundle_act_as_the_network(finished: Path) -> None:
    """A restored model saves the same arrays again: nothing of a checkpoint is forgotten."""
    import torch

    from training_ground.agents.checkpoints import last_good_checkpoint, load_checkpoint, save_checkpoint

    checkpoint, problems = last_good_checkpoint(finished / "checkpoints")
    assert checkpoint is not None and not problems
    model = _model(finished, checkpoint)
    try:
        observations = np.random.default_rng(0).normal(0, 3, (64, 4)).astype(np.float32)
        normalised = model.normaliser.observation(observations)
        expected = model.predict(normalised, deterministic=True)[0]
        bundle = load_bundle(finished / "bundle")
        assert bundle.spec.network.output == "tanh" and bundle.spec.provenance.algorithm == "tqc"
        np.testing.assert_allclose(bundle.act(observations), expected, atol=2e-6)
        noise = np.random.default_rng(1).standard_normal((64, 2)).astype(np.float32)
        with torch.no_grad():
            mean, logarithm, _ = model.actor.get_action_dist_params(torch.as_tensor(normalised))
            explored = torch.tanh(mean + logarithm.exp() * torch.as_tensor(noise)).numpy()
        np.testing.assert_allclose(model._copy().act(observations, noise), explored, atol=2e-6)
        again = save_checkpoint(finished / "checkpoints", model, checkpoint.counters, 4)
    finally:
        model.collector.close()
    repeated = load_checkpoint(again).tensors
    assert repeated.keys() == checkpoint.tensors.keys()
    assert all(bool((repeated[name] == value).all()) for name, value in checkpoint.tensors.items())
    unbounded = bundle.spec.env.model_copy(update={"action_low": None, "action_high": None})
    with pytest.raises(AgentError, match=r"network\.output = 'tanh' needs"):
        bundle_module._check_spec(Path("spec.json"), bundle.spec.model_copy(update={"env": unbounded}))
    # The observations' statistics come from the steps before the first update alone.
    assert float(checkpoint.tensors["normaliser/obs_rms/count"]) == pytest.approx(64, abs=1)


def test_a_resumed_run_ends_with_the_same_bits(finished: Path) -> None:
    from training_ground.agents.checkpoints import list_checkpoints, load_checkpoint

    folder = finished / "checkpoints"
    lines = [json.loads(line) for line in (finished / "progress.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [256] and np.isfinite(lines[0]["critic_loss"])
    paths = list_checkpoints(folder)
    whole = load_checkpoint(paths[-1])
    assert [p.stem for p in paths] == [f"step_{n:012d}" for n in (64, 128, 192, 256)]
    # The newest is lost, and of the one before a part of the memory is damaged.
    paths[-1].unlink()
    segment = folder / "replay_000000000128_000000000192.safetensors"
    segment.write_bytes(segment.read_bytes()[:-3])
    records: list[dict[str, Any]] = []
    training.resume(finished, report=records.append)
    assert "replay_000000000128_000000000192" in records[0]["warning"] and records[1]["from_step"] == 128
    again = load_checkpoint(list_checkpoints(folder)[-1])
    assert again.counters.steps == 256 and again.tensors.keys() == whole.tensors.keys()
    assert not [n for n, value in whole.tensors.items() if not bool((again.tensors[n] == value).all())]
    assert not list(finished.rglob("*.pkl")) and not list(finished.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["sac", "tqc"])
def test_learning_learns(preset: Path, tmp_path: Path, algorithm: str) -> None:
    data = {key: value for key, value in PRESET.items() if key != "tqc"}
    data |= {"algorithm": algorithm, "total_steps": 2048, "envs_per_worker": 4, "checkpoints": {"interval": 10_000}}
    data[algorithm] = {"learning_starts": 256, "batch_size": 64, "gradient_steps": 0.5, "learning_rate": 2e-3}
    data["network"] = {"hidden": [32, 32], "activation": "relu", "initial_std": 1.0}
    preset.write_text(yaml.safe_dump(data))
    result = training.start(preset, root=tmp_path / "runs")
    seeds = range(1_000_000, 1_000_060)
    trained, zero = (
        evaluate(load_policy(name), ENV_ID, {}, seeds, workers=0).summary() for name in (result.folder, "zero")
    )
    assert trained["return_mean"] > zero["return_mean"] + 4.0
    assert trained["success_rate"] > zero["success_rate"] + 0.5

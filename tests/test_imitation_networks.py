"""Networks for chunks besides the perceptron: what they can learn, resume, bundles, numpy and ONNX against torch."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from training_ground.agents import training
from training_ground.agents.bundle import load_bundle, read_bundle, write_manifest
from training_ground.agents.episodes import run_episode
from training_ground.agents.graph_network import network_of
from training_ground.agents.imitation.kinds import make_model, tokens_of
from training_ground.agents.imitation.settings import ImitationSettings
from training_ground.agents.policy import load_policy
from training_ground.agents.recording import record
from training_ground.agents.signature import signature_of
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError, ConfigError
from training_ground.configs.training import NetworkConfig, NormalisationConfig

REACH = "TrainingGround/Reach-v0"
KWARGS: dict[str, Any] = {"robot": "g1", "episode_length_s": 0.4}
KINDS: dict[str, Any] = {
    "transformer": {"width": 16, "heads": 2, "layers": 2, "feedforward": 32},
    "flow": {"steps": 4},
}
SMALL = {"width": 16, "heads": 2, "layers": 1, "feedforward": 32}
each_kind = pytest.mark.parametrize("kind", KINDS)


def preset(folder: Path, data: Path, kind: str, algorithm: str = "bc", **own: Any) -> Path:
    """Write a preset for a run of seconds."""
    settings = {"datasets": [str(data)], "horizon": 8, "execute": 4, "only_successes": False, "batch_size": 16}
    content = {
        "env": {"id": REACH, "kwargs": KWARGS},
        "algorithm": algorithm,
        algorithm: {**settings, kind: KINDS[kind], **own},
        "network": {"hidden": [48, 32]},
        "checkpoints": {"interval": 20},
        "eval": {"episodes": 0},
        "total_steps": 40,
        "workers": 1,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demonstrations") / "reach"
    record(load_policy("expert"), REACH, KWARGS, range(2), path)
    return path


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of each kind, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")

    def made(kind: str) -> Path:
        if not (folder / kind).is_dir():
            training.start(preset(folder, data, kind), name=kind, root=folder)
        return folder / kind

    return made


# ---- what they learn -------------------------------------------------------------------------------------------------


def model_of(hidden: int = 64, **own: Any) -> Any:
    """A model for three numbers that are observed, and chunks of four actions of two numbers."""
    settings = ImitationSettings(horizon=4, execute=4, learning_rate=5e-3, **own)
    moments = (np.zeros(3), np.ones(3)), (np.zeros(2), np.ones(2))
    network, normalisation = NetworkConfig(hidden=(hidden, hidden)), NormalisationConfig(observation=False)
    return make_model(settings, network, normalisation, *moments, np.ones(3, bool), 0, (2, 1))


def learn(model: Any, follow: Callable[[np.random.Generator, np.ndarray], np.ndarray], updates: int) -> None:
    """Learn chunks (k, 4, 2) that follow observations (k, 3)."""
    generator = np.random.default_rng(0)
    for i in range(updates):
        seen = generator.uniform(-1, 1, (64, 3)).astype(np.float32)
        action = follow(generator, seen).astype(np.float32)
        model.update({"observation": seen, "action": action, "is_pad": np.zeros((64, 4), bool)}, i / updates)


def chunks(rows: np.ndarray) -> np.ndarray:
    """(k, 4, 2) actions that all are one number (k,)."""
    return np.broadcast_to(rows[:, None, None], (len(rows), 4, 2)).astype(np.float32)


WAYS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
"""Of three equally likely ways the median of each number is 0, and (0, 0) is none of them."""


@pytest.mark.parametrize("own", [{}, {"transformer": SMALL}, {"flow": {"steps": 10}}])
def test_where_experts_go_one_of_three_ways_a_flow_does_each_and_the_others_none(own: dict[str, Any]) -> None:
    model = model_of(**own)
    updates = 1000 if model.spec.noise else 150
    learn(model, lambda g, seen: np.repeat(WAYS[g.integers(3, size=len(seen))][:, None], 4, axis=1), updates)
    seen = np.random.default_rng(1).uniform(-1, 1, (300, 3)).astype(np.float32)
    noise = [np.random.default_rng(2).standard_normal((300, 8)).astype(np.float32)] if model.spec.noise else []
    said = model.forward()(seen, *noise).reshape(300, 1, 4, 2)
    near = np.abs(said - WAYS[:, None]).max(axis=(2, 3)) < 0.5
    if not noise:
        assert not near.any() and np.abs(said).max() < 0.4
        return
    assert near.any(axis=1).mean() > 0.8
    assert near.mean(axis=0).min() > 0.2


@pytest.mark.parametrize("own", [{"transformer": SMALL}, {"flow": {"steps": 10}}])
def test_each_learns_what_every_channel_says_of_every_step(own: dict[str, Any]) -> None:
    """The product of two channels, with a sign that changes along the chunk: no channel alone tells it."""
    sign = np.array([1.0, -1.0, 1.0, -1.0])[:, None]
    model = model_of(**own)
    updates = 1000 if model.spec.noise else 300
    learn(model, lambda _, seen: chunks(2 * seen[:, 0] * seen[:, 2]) * sign, updates)
    seen = np.random.default_rng(1).uniform(-1, 1, (200, 3)).astype(np.float32)
    noise = [np.random.default_rng(2).standard_normal((200, 8)).astype(np.float32)] if model.spec.noise else []
    wanted = chunks(2 * seen[:, 0] * seen[:, 2]) * sign
    error = np.abs(model.forward()(seen, *noise).reshape(wanted.shape) - wanted).mean()
    assert error < 0.1 * np.abs(wanted).mean()


# ---- numpy, ONNX, bundles --------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("activation", ["elu", "tanh", "relu"])
def test_numpy_repeats_torch(kind: str, activation: str) -> None:
    model = make_model(
        ImitationSettings(horizon=8, **{kind: KINDS[kind]}),
        NetworkConfig(hidden=(24,), activation=activation),  # type: ignore[arg-type]
        NormalisationConfig(),
        *((np.linspace(-1, 1, size), np.linspace(0.5, 2, size)) for size in (10, 3)),
        np.arange(10) != 6,
        5,
        (4, 5, 1),
    )
    assert {name: array.shape for name, array in model.arrays().items()} == model.spec.shapes
    generator = np.random.default_rng(0)
    seen = generator.normal(0, 3, (50, 10)).astype(np.float32)
    noise = [generator.standard_normal((50, 24)).astype(np.float32)] if model.spec.noise else []
    expected = model.forward()(model.normalisation(seen), *noise)
    network = network_of(model.spec, model.arrays(), model.normalisation)
    np.testing.assert_allclose(network(seen, *noise), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(network(seen[7], *(n[7] for n in noise)), expected[7], rtol=0, atol=1e-5)


@each_kind
def test_numpy_and_onnx_play_the_same_episode(kind: str, runs: Callable[[str], Path]) -> None:
    bundle = read_bundle(runs(kind) / "bundle")
    plain: Any = load_policy(runs(kind))
    onnx: Any = load_policy(runs(kind), runtime="onnx")
    generator = np.random.default_rng(0)
    deviation = np.sqrt(bundle.tensors["observation.variance"])
    seen = (bundle.tensors["observation.mean"] + 3 * deviation * generator.normal(size=(32, 99))).astype(np.float32)
    size = bundle.policy.spec.network.noise
    noise = [generator.standard_normal((32, size)).astype(np.float32)] if size else []
    assert np.allclose(plain.infer(seen, *noise), onnx.infer(seen, *noise), rtol=0, atol=1e-5)
    assert size == (0 if kind == "transformer" else 8 * 29)
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        ends = [run_episode(env, policy, 1_000_000).total_reward for policy in (plain, onnx)]
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)


def test_a_flow_draws_the_same_noise_in_every_run_of_an_episode(runs: Callable[[str], Path]) -> None:
    policy: Any = load_policy(runs("flow"))
    with contextlib.closing(make_env(REACH, KWARGS)) as env:

        def played(seed: int) -> list[list[float]]:
            seen, _ = env.reset(seed=seed)
            policy.reset(env)
            return [policy.act(seen).tolist() for _ in range(8)]

        first = played(3)
        other = played(4)
        assert played(3) == first != other
        assert first[:4] != first[4:], "each chunk is drawn anew"
        policy = pickle.loads(pickle.dumps(policy))  # noqa: S301 (our own bytes)
        assert played(3) == first
    onnx = pytest.importorskip("onnx").load_from_string(read_bundle(runs("flow") / "bundle").onnx)
    assert [value.name for value in onnx.graph.input] == ["observation", "noise"]
    told = {entry.key: entry.value for entry in onnx.metadata_props}
    assert json.loads(told["noise"]) == {"distribution": "standard normal", "drawn": "anew for every chunk"}


@each_kind
def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    kind: str, runs: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(runs(kind), tmp_path / kind))
    whole = (folder / "bundle" / "policy.safetensors").read_bytes()
    shutil.rmtree(folder / "bundle")
    (folder / "checkpoints" / "step_000000000040.safetensors").unlink()
    assert training.resume(folder, root=tmp_path).steps == 40
    assert (folder / "bundle" / "policy.safetensors").read_bytes() == whole


def test_dagger_rolls_a_flow_out(data: Path, tmp_path: Path) -> None:
    path = preset(tmp_path, data, "flow", "dagger", rounds=1, episodes=2, latest_s=0.3)
    first, again = (training.start(path, name=name, root=tmp_path).bundle for name in ("first", "again"))
    assert (first / "policy.safetensors").read_bytes() == (again / "policy.safetensors").read_bytes()
    data_of = load_bundle(first).spec.provenance.data
    assert data_of is not None and [one.episodes for one in data_of] == [2, 2]


def test_tokens_are_the_channels_of_every_row_of_a_history() -> None:
    with contextlib.closing(make_env(REACH, KWARGS)) as env:
        signature = signature_of(env)
    sizes = tuple(channel.size for channel in signature.channels)
    assert sum(sizes) == 99 and len(sizes) > 3
    assert tokens_of(signature, 2 * 99) == sizes * 2
    assert tokens_of(signature, 99 + 1) == (*sizes, 1)


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"transformer": {"width": 30, "heads": 4}}, "heads = 4: does not divide width = 30"),
        (
            {"transformer": {"widht": 30}},
            "unknown key 'bc.transformer.widht'. Allowed: feedforward, heads",
        ),
        ({"transformer": {"layers": 9}}, "transformer.layers = 9"),
        ({"flow": {"steps": 0}}, "flow.steps = 0"),
        ({"flow": {}, "transformer": {}}, "transformer and flow: two networks"),
        ({"flow": {}, "execute": 1, "ensemble": 0.1}, "ensemble = 0.1: would average what flow draws"),
    ],
)
def test_what_is_wrong_with_a_preset_is_told(own: dict[str, Any], told: str) -> None:
    content = {"env": {"id": REACH}, "algorithm": "bc", "bc": own, "total_steps": 1}
    with pytest.raises(ConfigError, match=told):
        training.resolve(content, "preset")


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("transformer", {"kind": "os.system"}, "network: kind: allowed are transformer, flow"),
        ("transformer", {"kind": ["flow"]}, "network: kind: allowed are"),
        ("transformer", {"tokens": [99]}, "missing arrays: none|has shape"),
        ("transformer", {"tokens": [98]}, "the network goes from 98 to 232"),
        ("transformer", {"tokens": [1] * 129}, "network.tokens"),
        ("transformer", {"tokens": [1_000_000, 1_000_000, 1_000_000]}, "more than 4000000 together"),
        ("transformer", {"horizon": 9}, "to 261"),
        ("transformer", {"heads": 3}, "heads = 3: does not divide width = 16"),
        ("transformer", {"width": 100_000}, "network.width"),
        ("transformer", {"width": 1024, "layers": 8, "feedforward": 4096}, "weights, more than 64000000"),
        ("flow", {"hidden": [1_000_000, 1_000_000]}, "weights, more than 64000000"),
        ("flow", {"hidden": [10**12]}, "network.hidden"),
        ("flow", {"steps": 10_000}, "network.steps"),
        ("flow", {"steps": 5}, "'times' has shape"),
        ("flow", {"output": "tanh"}, "network.output"),
    ],
)
def test_hostile_specifications_are_refused(
    kind: str, change: dict[str, Any], told: str, runs: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(runs(kind) / "bundle", tmp_path / "bundle"))
    spec = json.loads((bundle / "spec.json").read_text())
    spec["network"].update(change)
    (bundle / "spec.json").write_text(json.dumps(spec))
    write_manifest(bundle)
    with pytest.raises(AgentError, match=told):
        load_bundle(bundle)

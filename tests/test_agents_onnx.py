"""policy.onnx: the trained network to 1e-6, what a controller must know, and nothing that a policy does not need."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from training_ground.agents import bundle as bundles
from training_ground.agents.bundle import add_onnx, load_bundle, read_bundle, write_manifest
from training_ground.agents.evaluation import evaluate
from training_ground.agents.network_specs import NetworkSpec
from training_ground.agents.onnx_format import check_onnx
from training_ground.agents.onnx_graph import graph_of
from training_ground.agents.policy import SHIPPED, load_policy, shipped_policies
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError

onnx: Any = pytest.importorskip("onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime")

from training_ground.agents.onnx_runtime import OnnxPolicy, load_onnx  # noqa: E402 (needs what may be absent)

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = gymnasium.make(fake_agents.install(monkeypatch), disable_env_checker=True)
    yield made
    made.close()


@pytest.fixture
def bundle(env: Any, tmp_path: Path) -> Path:
    fake_agents.make_bundle(tmp_path / "bundle", env)
    return tmp_path / "bundle"


ROUNDING = 2e-6
"""Largest difference of actions: processors add float32 numbers in different orders, PyTorch with AVX-512 by 1.4e-6."""


def torch_action(folder: Path, observations: np.ndarray) -> np.ndarray:
    """The normaliser in float64, then torch's own layers, then the bounds as stable-baselines3 applies them."""
    torch = pytest.importorskip("torch")
    read = read_bundle(folder)
    spec, tensors = read.policy.spec, read.tensors
    assert isinstance(spec.network, NetworkSpec)
    deviation = np.sqrt(tensors["observation.variance"] + spec.normaliser.epsilon)
    clip = spec.normaliser.clip
    x = torch.tensor(((observations - tensors["observation.mean"]) / deviation).clip(-clip, clip).astype(np.float32))
    act = {"elu": torch.nn.ELU(), "tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU()}[spec.network.activation]
    count = len(spec.network.layers) - 1
    with torch.no_grad():
        for i in range(count):
            x = torch.nn.functional.linear(x, torch.tensor(tensors[f"weight.{i}"]), torch.tensor(tensors[f"bias.{i}"]))
            x = act(x) if i < count - 1 else x
        assert spec.env.bounds is not None
        low, high = spec.env.bounds
        if spec.network.output == "tanh":
            return low + 0.5 * (torch.tanh(x).numpy() + 1.0) * (high - low)
        return x.numpy().clip(low, high)


@pytest.mark.parametrize("output", ["linear", "tanh"])
@pytest.mark.parametrize("activation", ["elu", "tanh", "relu"])
def test_every_runtime_repeats_torch(activation: str, output: str, env: Any, tmp_path: Path) -> None:
    env.unwrapped.action_space = gymnasium.spaces.Box(np.array([-1, -0.25], np.float32), np.array([2, 0.5], np.float32))
    kept = fake_agents.make_bundle(tmp_path, env, 1, activation, output, hidden=(256, 64))
    observations = np.random.default_rng(0).normal(0, 3, (200, 4)).astype(np.float32)
    expected = torch_action(tmp_path, observations)
    assert np.mean((expected > env.action_space.low) & (expected < env.action_space.high)) > 0.05
    for policy in (kept, load_onnx(tmp_path)):
        np.testing.assert_allclose(policy.act(observations), expected, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(policy.act(observations[3]), expected[3], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_are_what_torch_trained(name: str) -> None:
    policy = load_policy(name, runtime="onnx")
    read = read_bundle(SHIPPED / name)
    assert policy.runtime == "onnx" and policy.hash == read.policy.hash  # pyright: ignore[reportAttributeAccessIssue]
    generator = np.random.default_rng(1)
    spread = 2 * np.sqrt(read.tensors["observation.variance"])
    observations = generator.normal(read.tensors["observation.mean"], spread, (300, len(spread))).astype(np.float32)
    difference = np.abs(policy.act(observations) - torch_action(SHIPPED / name, observations))
    assert np.quantile(difference, 0.999) <= 1e-6 and difference.max() <= ROUNDING
    evaluation = json.loads((SHIPPED / name / "evaluation.json").read_text())
    assert evaluation["policy_hash"] == policy.hash  # pyright: ignore[reportAttributeAccessIssue]


def test_the_file_alone_says_all_that_a_controller_must_know(bundle: Path) -> None:
    """As somebody sees it who has ONNX Runtime and not us."""
    session = onnxruntime.InferenceSession(str(bundle / "policy.onnx"), providers=["CPUExecutionProvider"])
    (given,), (asked,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("observation", "tensor(float)", ["batch", 4])
    assert (asked.name, asked.type, asked.shape) == ("action", "tensor(float)", ["batch", 2])
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    policy = load_bundle(bundle)
    assert about["joint_names"] == ["slide_x_joint", "slide_y_joint"] and about["control_rate"] == 50.0
    assert about["action_scale"] == [0.5, 0.5] and about["model_hash"] == "a" * 64
    assert about["policy_hash"] == policy.hash and about["channels"][0]["unit"] == "m"
    assert {"action_origin", "default_position", "kp", "kd", "action_low", "action_high"} <= about.keys()
    for rows in (1, 5):
        assert session.run(["action"], {"observation": np.zeros((rows, 4), np.float32)})[0].shape == (rows, 2)
    broken = session.run(["action"], {"observation": np.full((1, 4), np.nan, np.float32)})[0]
    assert np.isnan(broken).all(), "a sensor that says NaN must not become an action"


def test_it_acts_as_the_numpy_policy_does(bundle: Path, env: Any) -> None:
    policy = load_policy(bundle, runtime="onnx")
    with pytest.raises(AgentError, match=r"control_rate: 50\.0 in the bundle, 100\.0"):
        policy.reset(gymnasium.make("Fake/Point-v0", disable_env_checker=True, rate=100.0))
    with pytest.raises(AgentError, match="shape"):
        policy.act(np.zeros(5, np.float32))
    with pytest.raises(AgentError, match="not finite"):
        policy.act(np.full(4, np.nan, np.float32))
    seeds = range(1_000_000, 1_000_004)
    env_id = "fake_tasks:Fake/Point-v0"
    # One process apart: the session does not travel, its model does.
    found = evaluate(policy, env_id, {}, seeds, workers=1)
    expected = evaluate(load_bundle(bundle), env_id, {}, seeds, workers=0)
    assert found.runtime == "onnx" and found.policy_hash == expected.policy_hash
    for a, b in zip(found.episodes, expected.episodes, strict=True):
        assert (a.steps, a.success) == (b.steps, b.success) and a.total_reward == pytest.approx(
            b.total_reward, abs=1e-5
        )
    with pytest.raises(AgentError, match="did you mean 'onnx'"):
        load_policy(bundle, runtime="onx")


def test_bundles_without_the_file_still_load(bundle: Path, env: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, written = load_bundle(bundle), (bundle / "policy.onnx").read_bytes()
    (bundle / "policy.onnx").unlink()
    write_manifest(bundle)
    assert load_bundle(bundle).hash == policy.hash
    with pytest.raises(AgentError, match="tg policies onnx"):
        load_onnx(bundle)
    (bundle / "golden.safetensors").write_bytes(b"")
    with pytest.raises(AgentError, match="golden"):  # what is damaged gets no new sums
        add_onnx(bundle)
    monkeypatch.setattr(bundles, "find_spec", lambda name: None)
    fake_agents.make_bundle(bundle, env)
    assert not (bundle / "policy.onnx").exists()
    assert add_onnx(bundle).hash == policy.hash
    assert (bundle / "policy.onnx").read_bytes() == written, "the same bundle gives the same bytes"


def change(folder: Path, edit: Callable[[Any], Any]) -> None:
    """Change the model and give the manifest the new sums, as somebody with intent would."""
    model = onnx.load_from_string((folder / "policy.onnx").read_bytes())
    edit(model)
    (folder / "policy.onnx").write_bytes(model.SerializeToString())
    write_manifest(folder)


def replace_node(model: Any, operator: str, **changes: Any) -> None:
    node = next(n for n in model.graph.node if n.op_type == operator)
    for key, value in changes.items():
        setattr(node, key, value)


def outside(model: Any) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "weight.0")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret.bin")


def loop(model: Any) -> None:
    node = model.graph.node.add(op_type="Elu", input=["action"], output=["again"])
    node.attribute.append(onnx.helper.make_attribute("body", onnx.helper.make_graph([], "inside", [], [])))


def function(model: Any) -> None:
    model.functions.append(
        onnx.helper.make_function("own", "Elu", ["x"], ["y"], [], [onnx.helper.make_opsetid("", 17)])
    )


def weights(model: Any) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "weight.1")
    tensor.raw_data = tensor.raw_data[:-1] + bytes([tensor.raw_data[-1] ^ 1])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (outside, "external data"),
        (loop, "a graph inside a node"),
        (function, "functions of its own"),
        (weights, "'weight.1' holds other numbers"),
        (lambda m: replace_node(m, "Elu", op_type="Scan"), "operator 'Scan': a policy has only Add"),
        (lambda m: replace_node(m, "Elu", domain="ai.custom"), "operator 'Elu' of domain 'ai.custom'"),
        (lambda m: replace_node(m, "Elu", op_type="Tanh"), r"node 6 is x6 = Tanh\(x5\); spec.json stands for x6 = Elu"),
        (lambda m: m.graph.node.pop(), "9 nodes; spec.json stands for 10"),
        (lambda m: m.opset_import.add(domain="ai.custom", version=1), "operator sets"),
        (lambda m: setattr(m.opset_import[0], "version", 18), "operator sets"),
        (lambda m: setattr(m, "ir_version", 99), "IR version 99"),
        (lambda m: setattr(m.metadata_props[0], "value", '"another"'), "metadata that spec.json does not say: .'name'"),
        (lambda m: m.metadata_props.add(key="name", value='"point_point"'), "stands twice"),
        (lambda m: m.graph.initializer.add(name="more", data_type=1, dims=[1], raw_data=b"1234"), "constants"),
        (lambda m: m.graph.initializer.add(name="big", data_type=1, dims=[2**62]), "0 bytes for the shape"),
        (lambda m: m.graph.initializer.add(name="text", data_type=8), "data type 8"),
        (lambda m: setattr(m.graph, "doc_string", "x"), "field 10 of GraphProto"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11), "inputs or outputs"),
        (lambda m: m.ClearField("graph"), "'graph' stands 0 times"),
    ],
)
def test_what_a_policy_does_not_need_is_refused(bundle: Path, edit: Any, message: str) -> None:
    change(bundle, edit)
    with pytest.raises(AgentError, match=message) as caught:
        load_onnx(bundle)
    assert "policy.onnx" in str(caught.value)
    add_onnx(bundle)  # and is easily put right
    load_onnx(bundle)


def test_mutations_and_truncations_are_refused_or_change_nothing(bundle: Path) -> None:
    """Behind sums that match, the strict reader alone stands between a hostile file and ONNX Runtime."""
    read = read_bundle(bundle)
    spec, whole = read.policy.spec, read.onnx
    assert whole is not None
    graph = graph_of(spec, read.tensors, read.policy.hash)
    generator = np.random.default_rng(2)
    observations = generator.normal(0, 2, (8, 4)).astype(np.float32)
    expected, refused = load_onnx(bundle).act(observations), 0
    cases = [whole[:length] for length in (0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 1)]
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(int(generator.integers(1, 4))):
            damaged[generator.integers(len(whole))] = int(generator.integers(256))
        cases.append(bytes(damaged))
    cases.append(b"\x0a\x00" * 100_000)
    for data in cases:
        try:
            check_onnx(bundle / "policy.onnx", data, graph)
        except AgentError as problem:
            assert "policy.onnx" in str(problem)
            refused += 1
        else:
            np.testing.assert_array_equal(OnnxPolicy(spec, data, "").act(observations), expected)
    assert refused > 380


def test_the_verb(bundle: Path, capsys: Any) -> None:
    (bundle / "policy.onnx").unlink()
    write_manifest(bundle)
    assert main(["policies", "onnx", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hash"] == load_onnx(bundle).hash
    assert main(["policies", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["policies"]
    assert [p["name"] for p in found] == shipped_policies() and all(p["onnx"] for p in found)
    assert main(["policies", "onnx", "nowhere"]) == 2


def test_size_is_capped_before_reading(bundle: Path) -> None:
    with (bundle / "policy.onnx").open("ab") as stream:
        stream.truncate(5_000_000_000)  # sparse: no disk is used
    with pytest.raises(AgentError, match="more than the 260000000"):
        load_bundle(bundle)


def test_it_travels_between_processes_and_needs_no_torch(bundle: Path) -> None:
    policy, observation = load_onnx(bundle), np.ones(4, np.float32)
    again = pickle.loads(pickle.dumps(policy))  # noqa: S301 (our own bytes)
    assert again.act(observation).tolist() == policy.act(observation).tolist()
    code = "import sys; from training_ground.agents.policy import load_policy; import numpy\n"
    code += f"load_policy({str(bundle)!r}, runtime='onnx').act(numpy.zeros(4, numpy.float32))\n"
    code += "sys.exit(str({'torch', 'stable_baselines3', 'onnx'} & set(sys.modules)).replace('set()', '') or 0)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Bundles: what is written comes back, and nothing damaged, foreign or malicious gets in."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import safetensors.numpy

from training_ground.agents.bundle import BundlePolicy, load_bundle, write_manifest
from training_ground.agents.policy import load_policy, shipped_name, shipped_policies
from training_ground.configs.errors import AgentError

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


def edit_spec(folder: Path, change: Any) -> None:
    """Change the specification and give the manifest the new sums, as somebody with intent would.

    `policy.onnx` follows from the other files and would no longer: it goes.
    """
    (folder / "policy.onnx").unlink()
    data = json.loads((folder / "spec.json").read_text())
    change(data)
    (folder / "spec.json").write_text(json.dumps(data))
    write_manifest(folder)


def edit_tensors(folder: Path, change: Any, name: str = "policy.safetensors") -> None:
    arrays = dict(safetensors.numpy.load((folder / name).read_bytes()))
    arrays = {k: v.copy() for k, v in arrays.items()}
    change(arrays)
    (folder / "policy.onnx").unlink()
    (folder / name).write_bytes(safetensors.numpy.save(arrays))
    write_manifest(folder)


def test_round_trip_acts_alike(bundle: Path, env: Any) -> None:
    policy = load_bundle(bundle)
    observation, _ = env.reset(seed=3)
    policy.reset(env)
    action = policy.act(observation)
    assert action.shape == (2,) and action.dtype == np.float32 and env.action_space.contains(action)
    batch = np.stack([observation, 2 * observation])
    np.testing.assert_allclose(policy.act(batch)[0], action, atol=1e-6)
    assert load_bundle(bundle).hash == policy.hash
    assert pickle.loads(pickle.dumps(policy)).act(observation).tolist() == action.tolist()  # noqa: S301 (our own bytes)


def test_formula(bundle: Path) -> None:
    """clip((x - mean) / sqrt(var + eps)), ELU, clip: against a second implementation in float64."""

    def change(a: dict[str, np.ndarray]) -> None:
        a["observation.mean"][:], a["observation.variance"][:] = 0.5, 4.0

    edit_tensors(bundle, change)
    arrays = safetensors.numpy.load((bundle / "policy.safetensors").read_bytes())
    golden = {k: v.copy() for k, v in safetensors.numpy.load((bundle / "golden.safetensors").read_bytes()).items()}
    x = np.clip((golden["observation"].astype(np.float64) - 0.5) / np.sqrt(4.0 + 1e-4), -10, 10)
    h = x @ arrays["weight.0"].T + arrays["bias.0"]
    y = np.where(h > 0, h, np.exp(h) - 1) @ arrays["weight.1"].T + arrays["bias.1"]
    golden["action"] = np.clip(y, -1, 1).astype(np.float32)
    (bundle / "golden.safetensors").write_bytes(safetensors.numpy.save(golden))
    write_manifest(bundle)
    np.testing.assert_allclose(load_bundle(bundle).act(golden["observation"]), np.clip(y, -1, 1), atol=1e-6)


def test_every_truncation_and_many_mutations_are_refused(bundle: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("manifest.json", "spec.json", "policy.safetensors", "golden.safetensors", "policy.onnx"):
        whole = (bundle / name).read_bytes()
        if name == "manifest.json":
            whole = whole.rstrip()  # without its last newline it is still whole
        for length in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1}:
            (bundle / name).write_bytes(whole[:length])
            with pytest.raises(AgentError):
                load_bundle(bundle)
        for _ in range(30):
            damaged = bytearray(whole)
            damaged[generator.integers(len(whole))] ^= 1 << int(generator.integers(8))
            (bundle / name).write_bytes(damaged)
            with pytest.raises(AgentError):
                load_bundle(bundle)
        (bundle / name).write_bytes(whole)
    load_bundle(bundle)


def test_mutations_behind_a_corrected_manifest_never_crash(bundle: Path) -> None:
    """With sums that match, the strict reader alone stands between a hostile file and the process."""
    generator = np.random.default_rng(1)
    refused = 0
    (bundle / "policy.onnx").unlink()  # it would give the others away
    for name in ("spec.json", "policy.safetensors", "golden.safetensors"):
        whole = (bundle / name).read_bytes()
        for _ in range(80):
            damaged = bytearray(whole)
            for _ in range(int(generator.integers(1, 4))):
                damaged[generator.integers(min(len(whole), 600))] = int(generator.integers(256))
            (bundle / name).write_bytes(damaged)
            write_manifest(bundle)
            try:
                load_bundle(bundle)
            except AgentError:
                refused += 1
        (bundle / name).write_bytes(whole)
    assert refused > 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.__setitem__("weight.0", a["weight.0"].astype(np.float64)), "float64, not float32"),
        (lambda a: a["weight.0"].__setitem__((0, 0), np.nan), "'weight.0' holds values that are not finite"),
        (lambda a: a["bias.1"].__setitem__(0, np.inf), "'bias.1' holds values that are not finite"),
        (lambda a: a.__setitem__("weight.0", a["weight.0"].T.copy()), "shape"),
        (lambda a: a.pop("bias.0"), "missing arrays: .'bias.0'"),
        (lambda a: a.__setitem__("extra", a["bias.0"]), "do not belong: .'extra'"),
        (lambda a: a["observation.variance"].__setitem__(0, -1.0), "negative"),
        (lambda a: a["weight.0"].__imul__(1.5), "golden actions"),
    ],
)
def test_wrong_weights_are_named(bundle: Path, change: Any, message: str) -> None:
    edit_tensors(bundle, change)
    with pytest.raises(AgentError, match=message):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["network"].update(activation="os.system"), "network.activation"),
        (lambda s: s["network"].update(layers=[4, 100_000, 100_000, 2]), "weights, more than"),
        (lambda s: s["network"].update(layers=[5, 8, 2]), "the network goes from 5"),
        (lambda s: s["env"].update(env_id="os:Fake/Point-v0"), "env.env_id"),
        (lambda s: s.update(policy_class="x"), "policy_class"),
        (lambda s: s.update(schema_version=2), "schema_version"),
        (lambda s: s["normaliser"].update(clip="10"), "normaliser.clip"),
        (lambda s: s["normaliser"].update(epsilon=float("nan")), "NaN"),
        (lambda s: s["env"].update(action_low=[-1.0]), "action_low"),
        (lambda s: s["env"].update(action_low=None), "both"),
    ],
)
def test_wrong_specifications_are_named(bundle: Path, change: Any, message: str) -> None:
    edit_spec(bundle, change)
    with pytest.raises(AgentError, match=message):
        load_bundle(bundle)


def test_json_tricks_are_refused(bundle: Path) -> None:
    text = (bundle / "spec.json").read_text()
    for hostile in (
        text.replace('"name"', '"name": "a", "name"', 1),
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "[]",
        text.replace("10.0", "1e999", 1),
    ):
        (bundle / "spec.json").write_text(hostile)
        write_manifest(bundle)
        with pytest.raises(AgentError, match=r"spec\.json"):
            load_bundle(bundle)


def test_sizes_are_capped_before_reading(bundle: Path) -> None:
    with (bundle / "spec.json").open("ab") as stream:
        stream.truncate(3_000_000_000)  # sparse: no disk is used
    with pytest.raises(AgentError, match="more than the 1000000"):
        load_bundle(bundle)
    (bundle / "spec.json").unlink()
    os.mkfifo(bundle / "spec.json")
    with pytest.raises(AgentError, match="no regular file"):
        load_bundle(bundle)


def test_manifest_names_no_file_outside(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(AgentError, match="no place in a bundle"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"joints": ("slide_y_joint", "slide_x_joint")}, "joint 0 is 'slide_x_joint' in the bundle, 'slide_y_joint'"),
        ({"joints": ("slide_x_joint", "turn_joint")}, "'turn_joint' only in the environment"),
        ({"rate": 100.0}, "control_rate: 50.0 in the bundle, 100.0"),
        ({"model_hash": "b" * 64}, "model_hash"),
    ],
)
def test_a_foreign_environment_is_refused_with_the_difference(
    bundle: Path, env: Any, kwargs: dict[str, Any], message: str
) -> None:
    policy = load_bundle(bundle)
    policy.check(env)
    with pytest.raises(AgentError, match=message):
        policy.reset(gymnasium.make("Fake/Point-v0", disable_env_checker=True, **kwargs))
    if "model_hash" in kwargs:
        policy.check(gymnasium.make("Fake/Point-v0", disable_env_checker=True, **kwargs), ignore=("model_hash",))


def test_act_refuses_what_it_cannot_use(bundle: Path) -> None:
    policy = load_bundle(bundle)
    with pytest.raises(AgentError, match="shape"):
        policy.act(np.zeros(5, np.float32))
    with pytest.raises(AgentError, match="not finite"):
        policy.act(np.full(4, np.nan, np.float32))


def test_load_policy(bundle: Path, env: Any) -> None:
    env.reset(seed=1)
    for name in ("zero", "random"):
        policy = load_policy(name)
        with pytest.raises(AgentError, match="reset"):
            policy.act(np.zeros(4, np.float32))
        policy.reset(env)
        first = [policy.act(np.zeros(4, np.float32)) for _ in range(3)]
        policy.reset(env)
        np.testing.assert_array_equal(first, [policy.act(np.zeros(4, np.float32)) for _ in range(3)])
        assert all(env.action_space.contains(a) for a in first)
    env.reset(seed=2)
    policy = load_policy("random")
    policy.reset(env)
    assert not np.array_equal(policy.act(np.zeros(4, np.float32)), first[0])
    assert isinstance(load_policy(bundle), BundlePolicy)
    (bundle.parent / "empty").mkdir()
    run = bundle.parent / "run"
    run.mkdir()
    bundle.rename(run / "bundle")
    assert isinstance(load_policy(run), BundlePolicy)
    for name, message in (
        ("radnom", "did you mean 'random'"),
        ("shipped", "needs a task"),
        (str(run / "bundle" / "spec.json"), "folder"),
        (str(bundle.parent / "empty"), "manifest.json"),
    ):
        with pytest.raises(AgentError, match=message):
            load_policy(name)
    with pytest.raises(AgentError, match="no policy ships for Fake/Point-v0"):
        load_policy("shipped", env_id="Fake/Point-v0", robot="point")


def test_shipped_bundles_are_whole() -> None:
    assert shipped_name("TrainingGround/Stand-v0", "g1") == "stand_g1"
    for name in shipped_policies():
        policy = load_policy(name)
        assert policy.name == name


def test_loading_imports_no_torch(bundle: Path) -> None:
    import subprocess

    code = f"import sys; from training_ground.agents.bundle import load_bundle; load_bundle({str(bundle)!r}); "
    code += "sys.exit('torch' in sys.modules or 'stable_baselines3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

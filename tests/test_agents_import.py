"""Models of stable-baselines3: the bundle acts as the model did, and nothing that the file holds is run."""

from __future__ import annotations

import base64
import importlib
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from training_ground.agents.bundle import load_bundle
from training_ground.agents.policy import load_policy
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError

sb3: Any = pytest.importorskip("stable_baselines3")
torch: Any = pytest.importorskip("torch")

from training_ground.agents.sb3_import import Moments, import_sb3  # noqa: E402 (needs what may be absent)

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
fake_agents: Any = importlib.import_module("fake_agents")

OBSERVATIONS = np.random.default_rng(0).normal(0, 2, (50, 4)).astype(np.float32)
SMALL = {"learning_starts": 0, "buffer_size": 10}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = gymnasium.make(fake_agents.install(monkeypatch), disable_env_checker=True)
    # Bounds that are not symmetric: squashed actions are stretched to them.
    made.unwrapped.action_space = box(-1, -0.25, 2, 0.5)
    yield made
    made.close()


def box(*limits: float) -> gymnasium.spaces.Box:
    low, high = np.array(limits, np.float32).reshape(2, -1)
    return gymnasium.spaces.Box(low, high)


def algorithm(name: str) -> Any:
    return pytest.importorskip("sb3_contrib").TQC if name == "TQC" else getattr(sb3, name)


def shaken(model: Any) -> Any:
    """Fresh networks give actions near 0: make them speak up."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


@pytest.fixture
def saved(env: Any, tmp_path: Path) -> Path:
    shaken(sb3.PPO("MlpPolicy", env, policy_kwargs={"net_arch": [16, 8]}, seed=3)).save(tmp_path / "ppo.zip")
    return tmp_path / "ppo.zip"


@pytest.mark.parametrize(
    ("name", "settings", "network", "expected"),
    [
        ("PPO", {}, {}, ("ppo", "tanh", "linear")),
        ("A2C", {}, {"net_arch": {"pi": [8], "vf": [32]}, "activation_fn": torch.nn.ELU}, ("a2c", "elu", "linear")),
        ("PPO", {"use_sde": True}, {"squash_output": True}, ("ppo", "tanh", "tanh")),
        ("PPO", {}, {"net_arch": []}, ("ppo", "tanh", "linear")),
        ("SAC", SMALL, {"net_arch": [16, 16]}, ("sac", "relu", "tanh")),
        ("TQC", SMALL, {"net_arch": [16], "activation_fn": torch.nn.Tanh}, ("tqc", "tanh", "tanh")),
        ("TD3", SMALL, {"net_arch": [16, 16]}, ("td3", "relu", "tanh")),
    ],
)
def test_the_bundle_acts_as_the_model_did(
    name: str, settings: Any, network: Any, expected: Any, env: Any, tmp_path: Path
) -> None:
    model = shaken(algorithm(name)("MlpPolicy", env, policy_kwargs=network, seed=3, device="cpu", **settings))
    model.save(tmp_path / "model.zip")
    generator = np.random.default_rng(1)
    mean, variance = generator.normal(0, 1, 4), generator.uniform(0.1, 4, 4)
    moments = Moments(mean=tuple(mean), variance=tuple(variance), clip=3.0, epsilon=1e-8)
    made = import_sb3(tmp_path / "model.zip", tmp_path / "bundle", env, moments=moments)
    spec = made.policy.spec
    assert (made.algorithm, spec.network.activation, spec.network.output) == expected
    assert spec.provenance.seed == 3 and spec.provenance.seconds is None
    assert spec.provenance.versions["stable-baselines3"] == sb3.__version__
    normalised = np.clip((OBSERVATIONS - mean) / np.sqrt(variance + 1e-8), -3, 3).astype(np.float32)
    actions = model.predict(normalised, deterministic=True)[0]
    assert actions.std() > 0.05
    for runtime in ("numpy", "onnx"):
        policy = load_policy(tmp_path / "bundle", runtime=runtime)
        np.testing.assert_allclose(policy.act(OBSERVATIONS), actions, rtol=0, atol=2e-6)


def test_the_verb_and_the_normaliser(env: Any, saved: Path, tmp_path: Path, capsys: Any) -> None:
    """Through `tg`: moments as JSON, a pickle only where it is trusted, nothing replaced."""
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    env.unwrapped.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    shaken(sb3.PPO("MlpPolicy", env, seed=3)).save(saved)
    vector: Any = VecNormalize(DummyVecEnv([lambda: env]), clip_obs=4.0)
    vector.obs_rms.mean, vector.obs_rms.var = np.arange(4.0), np.full(4, 2.0)
    vector.save(str(tmp_path / "vec.pkl"))
    moments = {"mean": [0.0, 1.0, 2.0, 3.0], "variance": [2.0] * 4, "clip": 4.0, "epsilon": 1e-8}
    (tmp_path / "moments.json").write_text(json.dumps(moments))
    arguments = ["policies", "import", str(saved), "--task", "fake_tasks:Fake/Point-v0", "--set", "length=7", "--json"]
    actions, out = [], ""
    for i, more in enumerate((["moments.json"], ["vec.pkl", "--trust-pickle"])):
        out = str(tmp_path / f"bundle{i}")
        assert main([*arguments, "--normaliser", str(tmp_path / more[0]), *more[1:], "-o", out]) == 0
        printed = capsys.readouterr()
        data = json.loads(printed.out)
        assert "activation, tanh" in data["assumed"][0] and data["layers"] == [4, 64, 64, 2]
        assert ("running the program" in printed.err) == (len(more) > 1)
        actions.append(load_bundle(out).act(OBSERVATIONS).tolist())
    assert actions[0] == actions[1] and load_bundle(out).conditions == {"length": 7}
    for more, message in (
        (["--normaliser", str(tmp_path / "vec.pkl"), "-o", str(tmp_path / "x")], "a pickle is a program"),
        (["--normaliser", "none", "-o", out], "exists"),
        (["-o", str(tmp_path / "x")], "--normaliser"),
    ):
        assert main([*arguments, *more]) == 2
        assert message in capsys.readouterr().err
    assert main(["policies", "show", out]) == 0
    assert "slide_x_joint" in capsys.readouterr().out


class Payload:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def rebuilt(path: Path, change: Callable[[dict[str, bytes]], Any]) -> None:
    """Write the zip file again after a change to its members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_hostile_file_runs_nothing(env: Any, saved: Path, tmp_path: Path) -> None:
    import cloudpickle

    mark = tmp_path / "ran"

    def poison(members: dict[str, bytes]) -> None:
        data = json.loads(members["data"])
        evil = base64.b64encode(cloudpickle.dumps(Payload(mark))).decode()
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = evil
        members["data"] = json.dumps(data).encode()
        members["pytorch_variables.pth"] = cloudpickle.dumps(Payload(mark))

    rebuilt(saved, poison)
    import_sb3(saved, tmp_path / "bundle", env, moments=None)
    assert not mark.exists()
    with pytest.raises(Exception):  # noqa: B017 (whatever comes of it)
        sb3.PPO.load(saved)
    assert mark.exists(), "the poison works: stable-baselines3's own way runs it"
    mark.unlink()

    def weights(members: dict[str, bytes]) -> None:
        stream = io.BytesIO()
        torch.save({"action_net.weight": Payload(mark)}, stream)
        members["policy.pth"] = stream.getvalue()

    rebuilt(saved, weights)
    with pytest.raises(AgentError, match="more than weights"):
        import_sb3(saved, tmp_path / "again", env, moments=None)
    assert not mark.exists() and not (tmp_path / "again").exists()


def pth(state: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def edited(members: dict[str, bytes], change: Callable[[dict[str, Any]], Any]) -> None:
    state = dict(torch.load(io.BytesIO(members["policy.pth"]), weights_only=True))
    change(state)
    members["policy.pth"] = pth(state)


def compressed(members: dict[str, bytes]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 1_000_000)
    members["policy.pth"] = stream.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("policy.pth"), "holds no policy.pth"),
        (lambda m: m.update({"policy.pth": b"damaged"}), "no zip file"),
        (lambda m: m.update({"policy.pth": m["policy.pth"][:-40]}), "no zip file|damaged"),
        (compressed, "compressed"),
        (lambda m: m.update(data=b"[1, 2"), "damaged JSON"),
        (lambda m: m.update(data=b'{"a":' * 100_000), "damaged JSON"),
        (lambda m: m.update(data=b" " * 16_000_001), "'data' has more than"),
        (lambda m: m.update({"../outside": b""}), "a name that no model needs"),
        (lambda m: m.update({f"e{i}": b"" for i in range(100)}), "more than 64 entries"),
        (lambda m: m.update(data=b'{"policy_class": {"__module__": "my.policies"}}'), "module 'my.policies'"),
        (lambda m: m.update(data=b'{"policy_kwargs": {"activation_fn": "<class \'torch.nn.SiLU\'>"}}'), "SiLU"),
        (lambda m: edited(m, lambda s: s.pop("log_std")), "not continuous"),
        (lambda m: edited(m, lambda s: s.pop("action_net.bias")), "'action_net' is no linear layer"),
        (lambda m: edited(m, lambda s: s.update({"features_extractor.cnn.0.weight": torch.ones(2)})), "features_extr"),
        (lambda m: edited(m, lambda s: s["action_net.bias"].fill_(float("nan"))), "not finite"),
        (lambda m: edited(m, lambda s: s.update({"action_net.bias": torch.ones(1).expand(10**9)})), "1000000000 num"),
        (lambda m: edited(m, lambda s: s.update({"mlp_extractor.policy_net.7.weight": torch.ones(2)})), "0, 2, 4"),
        (lambda m: edited(m, lambda s: s.update({"action_net.weight": torch.ones(2, 9)})), "8 outputs before one of 9"),
        (lambda m: m.update({"policy.pth": pth({"q_net.0.weight": torch.ones(2)})}), "no actor of PPO"),
    ],
)
def test_bad_files_are_one_clear_error(change: Any, message: str, env: Any, saved: Path, tmp_path: Path) -> None:
    rebuilt(saved, change)
    with pytest.raises(AgentError, match=message):
        import_sb3(saved, tmp_path / "bundle", env, moments=None)
    assert not (tmp_path / "bundle").exists()


def test_what_does_not_fit_is_named(env: Any, saved: Path, tmp_path: Path) -> None:
    wide = gymnasium.make("Fake/Point-v0", disable_env_checker=True)
    wide.unwrapped.action_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    with pytest.raises(AgentError, match=r"actions of 2; Fake/Point-v0 with robot 'point' has 4 and 3"):
        import_sb3(saved, tmp_path / "b", wide, moments=None)
    with pytest.raises(AgentError, match="2 means and 2 variances, not 4"):
        import_sb3(saved, tmp_path / "b", env, moments=Moments(mean=(0.0, 0.0), variance=(1.0, 1.0)))
    with pytest.raises(AgentError, match="name"):
        import_sb3(saved, tmp_path / "b", env, moments=None, name="../x")
    whole = saved.read_bytes()
    generator = np.random.default_rng(0)
    for i in range(40):
        damaged = bytearray(whole[: generator.integers(len(whole))] if i < 10 else whole)
        if len(damaged):
            damaged[generator.integers(len(damaged))] ^= 0xFF
        saved.write_bytes(damaged)
        try:
            import_sb3(saved, tmp_path / "m", env, moments=None)
        except AgentError as problem:
            assert "ppo.zip" in str(problem)

"""Demonstrations for algorithms that learn from reward: their transitions, how they are drawn, and runs that resume."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from training_ground.agents import training
from training_ground.agents.bundle import read_bundle
from training_ground.agents.checkpoints import list_checkpoints, load_checkpoint
from training_ground.agents.imitation.transitions import DemonstrationSettings, Rows, open_transitions
from training_ground.agents.policy import load_policy
from training_ground.agents.recording import record
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError, DatasetError
from training_ground.datasets.store import Store

REACH, STAND = "TrainingGround/Reach-v0", "TrainingGround/Stand-v0"
KWARGS: dict[str, Any] = {"robot": "g1", "episode_length_s": 0.4}
STEPS = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short episodes of the expert, which does not get there in time."""
    path = tmp_path_factory.mktemp("demonstrations") / "reach"
    record(load_policy("expert"), REACH, KWARGS, range(2), path)
    return path


def opened(path: Path, env_id: str = REACH, **kwargs: Any) -> Rows:
    settings = DemonstrationSettings(datasets=(str(path),), only_successes=False)
    with contextlib.closing(make_env(env_id, {**KWARGS, **kwargs})) as env:
        return open_transitions(settings, env)[0]


def played(env: gymnasium.Env[Any, Any], path: Path, number: int) -> Rows:
    """What the environment gives when the recorded actions are taken again."""
    episode = Store.open(path).read(number)
    rows: dict[str, list[Any]] = {name: [] for name in ("observation", "next_observation", "action", "reward")}
    seen, _ = env.reset(seed=episode.metadata.seed)
    for action in episode.columns["action"][:-1]:
        before = seen.copy()
        seen, reward, *_ = env.step(action)
        for name, value in zip(rows, (before, seen.copy(), action, reward), strict=True):
            rows[name].append(value)
    return {name: np.array(values, np.float32) for name, values in rows.items()}


@pytest.mark.parametrize("history", [1, 3])
def test_transitions_are_those_of_the_environment(data: Path, history: int) -> None:
    rows = opened(data, observation_history=history)
    assert {len(values) for values in rows.values()} == {2 * STEPS}
    with contextlib.closing(make_env(REACH, {**KWARGS, "observation_history": history})) as env:
        for number in range(2):
            again = played(env, data, number)
            for name, values in again.items():
                found = rows[name][number * STEPS : (number + 1) * STEPS]
                assert np.array_equal(found, values), name
    assert not rows["terminal"].any(), "time ran out: the episodes would have gone on"


def test_only_a_fall_is_an_end(tmp_path: Path) -> None:
    kwargs = {"robot": "g1"}
    record(load_policy("random"), STAND, kwargs, [3], tmp_path / "falls")
    settings = DemonstrationSettings(datasets=(str(tmp_path / "falls"),), only_successes=False)
    with contextlib.closing(make_env(STAND, kwargs)) as env:
        rows, (origin,) = open_transitions(settings, env)
        assert Store.open(tmp_path / "falls").metadata(0).terminated
        assert np.flatnonzero(rows["terminal"]).tolist() == [len(rows["reward"]) - 1]
        assert (origin.episodes, origin.steps) == (1, len(rows["reward"]))
        with pytest.raises(AgentError, match="no successful episodes"):
            open_transitions(settings.model_copy(update={"only_successes": True}), env)


def test_other_rewards_are_refused(data: Path) -> None:
    with pytest.raises(DatasetError, match="reward_success"):
        opened(data, reward="sparse")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_or_of_all_is_refused(share: float) -> None:
    with pytest.raises(ValidationError):
        DemonstrationSettings(datasets=("data",), share=share)


def test_each_batch_has_its_share() -> None:
    pytest.importorskip("torch")
    from training_ground.agents.replay import Replay

    box = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    memory = Replay(50, box, box)

    def rows(value: float, count: int) -> Rows:
        wide = np.full((count, 2), value, np.float32)
        zeros = np.zeros(count, np.float32)
        return {
            "observation": wide,
            "next_observation": wide,
            "action": wide,
            "reward": zeros + np.float32(value),
            "terminal": zeros.astype(np.uint8),
        }

    memory.add_transitions(rows(1.0, 5))
    memory.show(rows(7.0, 3), 0.25)
    memory.begin_update([0])
    sample = memory.sample(40)
    assert (sample.rewards == 7.0).sum() == 10 and (sample.rewards == 1.0).sum() == 30
    same = [(part == 7.0).all(dim=1) for part in (sample.observations, sample.actions, sample.next_observations)]
    assert all((one == (sample.rewards[:, 0] == 7.0)).all() for one in same), "rows stay together"


def preset(folder: Path, data: Path, total_steps: int) -> Path:
    content = {
        "env": {"id": REACH, "kwargs": KWARGS},
        "algorithm": "tqc",
        "tqc": {
            "rollout_steps": 8,
            "learning_starts": 32,
            "batch_size": 32,
            "demonstrations": {"datasets": [str(data)], "only_successes": False},
        },
        "network": {"hidden": [16], "activation": "relu"},
        "checkpoints": {"interval": 32},
        "eval": {"episodes": 0},
        "total_steps": total_steps,
        "workers": 1,
        "envs_per_worker": 2,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
def test_a_run_with_demonstrations_goes_on_bit_for_bit_and_says_what_it_saw(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("sb3_contrib")
    whole = training.start(preset(tmp_path, data, 96), name="whole", root=tmp_path).folder
    cut = training.start(preset(tmp_path, data, 64), name="cut", root=tmp_path).folder
    training.resume(cut, ["total_steps=96"], root=tmp_path)
    one, other = (load_checkpoint(list_checkpoints(run / "checkpoints")[-1]).tensors for run in (whole, cut))
    assert one.keys() == other.keys() and all(bool((one[name] == other[name]).all()) for name in one)
    (origin,) = json.loads((whole / "bundle" / "spec.json").read_text())["provenance"]["data"]
    assert (origin["dataset"], origin["episodes"], origin["steps"]) == (str(data), 2, 2 * STEPS)
    plain = training.start(preset(tmp_path, data, 96), ["tqc.demonstrations=null"], name="plain", root=tmp_path).folder
    alone = load_checkpoint(list_checkpoints(plain / "checkpoints")[-1]).tensors
    assert not all(bool((one[name] == alone[name]).all()) for name in alone if one[name].shape == alone[name].shape)


def test_missing_demonstrations_are_told_before_a_run_begins(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("sb3_contrib")
    with pytest.raises(DatasetError, match="there is no such folder"):
        training.start(preset(tmp_path, tmp_path / "nowhere", 64), name="run", root=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "problem"),
    [({}, None), ({"horizon": 4}, "foresees 4 actions"), ({"clock": {"longest_s": 1}}, "told the time")],
)
def test_a_clone_of_single_actions_can_be_gone_on_with(
    data: Path, tmp_path: Path, own: Any, problem: str | None
) -> None:
    content = {
        "env": {"id": REACH, "kwargs": KWARGS},
        "algorithm": "bc",
        "bc": {"datasets": [str(data)], "horizon": 1, "execute": 1, "only_successes": False, "batch_size": 16, **own},
        "network": {"hidden": [16]},
        "eval": {"episodes": 0},
        "total_steps": 10,
        "workers": 1,
    }
    (tmp_path / "clone.yaml").write_text(yaml.safe_dump(content))
    clone = training.start(tmp_path / "clone.yaml", name="clone", root=tmp_path).bundle
    ppo: dict[str, Any] = {
        key: value for key, value in content.items() if key not in ("bc", "algorithm", "total_steps")
    }
    ppo |= {"algorithm": "ppo", "ppo": {"rollout_steps": 8, "minibatches": 1, "epochs": 1}, "start_from": str(clone)}
    ppo |= {"total_steps": 16, "envs_per_worker": 2}
    (tmp_path / "ppo.yaml").write_text(yaml.safe_dump(ppo))
    if problem is not None:
        with pytest.raises(AgentError, match=problem):
            training.start(tmp_path / "ppo.yaml", name="ppo", root=tmp_path)
        return
    tuned = training.start(tmp_path / "ppo.yaml", name="ppo", root=tmp_path)
    before, after = read_bundle(clone), read_bundle(tuned.bundle)
    origin = after.policy.spec.provenance.began_from
    assert origin is not None and origin.hash == before.policy.hash
    for name in ("observation.mean", "observation.variance"):
        assert np.allclose(after.tensors[name], before.tensors[name], atol=1e-6), "what the network means by a number"

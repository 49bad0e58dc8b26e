"""Gymnasium finds the environments by their ids."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium
import pytest

from training_ground.configs.errors import SimulationError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make, task, task_ids, tasks


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout.strip().splitlines()[-1]


def test_an_id_with_its_module_needs_no_import_of_ours():
    code = """
import gymnasium
env = gymnasium.make("training_ground.envs:TrainingGround/Stand-v0", robot="g1_legs")
env.reset(seed=0)
print(env.unwrapped.model.name, env.spec.id)
env.close()
"""
    assert run(code) == "g1_legs TrainingGround/Stand-v0"


def test_importing_the_package_registers_every_task():
    code = """
import json
import gymnasium
import training_ground.envs
print(json.dumps([name for name in gymnasium.registry if name.startswith("TrainingGround/")]))
"""
    assert json.loads(run(code)) == task_ids()


def test_registered_ids_are_the_tasks():
    assert task_ids() == [f"TrainingGround/{name}-v0" for name in tasks()]
    assert {"TrainingGround/Stand-v0", "TrainingGround/Reach-v0"} <= set(task_ids())
    for name, found in tasks().items():
        assert found.id == name
        stem = found.__module__.rsplit(".", 1)[-1]
        if found.__module__.startswith("training_ground.envs.tasks."):
            assert name == "".join(word.capitalize() for word in stem.split("_")), "a task's id is its file's name"


def test_a_broken_plugin_takes_nothing_of_ours_away(tmp_path):
    information = tmp_path / "broken_plugin-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[training_ground.plugins]\nbroken = no_such_package.inside\n")
    code = f"""
import sys, warnings
sys.path.insert(0, {str(tmp_path)!r})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import training_ground.envs
import gymnasium
assert any("broken" in str(w.message) for w in caught), caught
print("TrainingGround/Stand-v0" in gymnasium.registry)
"""
    assert run(code) == "True"


def test_gymnasium_makes_them_with_options():
    env = gymnasium.make("TrainingGround/Stand-v0", robot="g1_legs", push_speed=(0.1, 0.2))
    unwrapped = env.unwrapped
    assert isinstance(unwrapped, HumanoidEnv)
    assert unwrapped.config.robot == "g1_legs"
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation) and info["seed"] == 1
    env.close()


def test_gymnasium_vectorises_them():
    envs = gymnasium.make_vec("TrainingGround/Stand-v0", num_envs=2, vectorization_mode="sync", robot="g1_legs")
    observation, _ = envs.reset(seed=3)
    assert observation.shape[0] == 2
    observation, reward, *_ = envs.step(envs.action_space.sample())
    assert reward.shape == (2,)
    envs.close()


@pytest.mark.parametrize("name", ["Stand", "stand", "TrainingGround/Stand-v0", "TrainingGround/stand-v0"])
def test_names_of_a_task(name):
    assert task(name).id == "Stand"


def test_make_of_an_unknown_task_offers_the_nearest():
    with pytest.raises(SimulationError, match="did you mean 'Stand'"):
        make("Stnad")

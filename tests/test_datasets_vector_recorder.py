"""Recording of vectorised environments: in this process and in several, in every autoreset mode, and bit for bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import fake_env
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from training_ground.configs.errors import DatasetError
from training_ground.datasets.replay import Replayer
from training_ground.datasets.store import Store
from training_ground.datasets.vector_recorder import recorded

STEPS = 12  # an episode of an even seed; of an odd one 6


def play(envs: Any, steps: int, mode: AutoresetMode) -> None:
    generator = np.random.default_rng(0)
    envs.reset(seed=0)
    for _ in range(steps):
        _, _, terminated, truncated, _ = envs.step(generator.uniform(-1, 1, (3, 3)).astype(np.float32))
        done = terminated | truncated
        if mode is AutoresetMode.DISABLED and done.any():
            envs.reset(options={"reset_mask": done})


def episodes_of(store: Store) -> dict[str, tuple[int, bool]]:
    """Content hash → seed and complete: what is the same whichever process wrote it, and in whatever order."""
    found = {episode.metadata.content_sha256: episode.metadata for episode in store}
    return {content: (metadata.seed, metadata.complete) for content, metadata in found.items()}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_processes_write_what_one_process_writes_and_it_replays(tmp_path: Path, mode: AutoresetMode) -> None:
    written = {}
    for kind in (SyncVectorEnv, AsyncVectorEnv):
        path = tmp_path / kind.__name__
        makers = recorded([partial(fake_env.FakeEnv, STEPS)] * 3, path, policy="random", keep_partial=True)
        envs = kind(makers, autoreset_mode=mode)
        play(envs, 40, mode)
        numbers = [number for each in envs.get_attr("written") for number in each]
        assert sorted(numbers) == Store.open(path).episodes(), "known to the caller, and each number given once"
        envs.close()
        store = Store.open(path)
        assert store.verify().ok and not store.recovered
        with Replayer(store.schema, fake_env.make) as replayer:
            for episode in store:
                assert replayer.replay(episode).identical or not episode.metadata.complete
        written[kind] = episodes_of(store)
    assert written[SyncVectorEnv] == written[AsyncVectorEnv]
    seeds = [seed for seed, _ in written[SyncVectorEnv].values()]
    assert {0, 1, 2} < set(seeds) and len(set(seeds)) == len(seeds)
    complete = sum(complete for _, complete in written[SyncVectorEnv].values())
    assert complete >= 8 and len(seeds) - complete <= 3


def test_rows_are_those_of_the_sub_environments(tmp_path: Path) -> None:
    """The last frame of an episode is its own, and not that of the reset that a vector makes in the same step."""
    makers = recorded([partial(fake_env.FakeEnv, STEPS)] * 2, tmp_path / "data")
    envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=[4, 6])
    actions = np.random.default_rng(1).uniform(-1, 1, (STEPS, 2, 3)).astype(np.float32)
    infos = [envs.step(action)[-1] for action in actions]
    for number in (0, 1):
        episode = Store.open(tmp_path / "data").read(number)
        which = (episode.metadata.seed - 4) // 2
        assert np.array_equal(episode.columns["action"][:-1], actions[:, which])
        assert episode.columns["counter"].tolist() == list(range(STEPS + 1))
        assert np.array_equal(episode.columns["joint_position"][-1], infos[-1]["final_obs"][which][:3])
    envs.close()


def test_what_does_not_fit_is_said_before_anything_runs(tmp_path: Path) -> None:
    recorded([fake_env.FakeEnv], tmp_path / "data")
    assert len(Store.open(tmp_path / "data")) == 0
    with pytest.raises(DatasetError, match="does not fit this dataset: model"):
        recorded([partial(fake_env.FakeEnv, model_hash="cd" * 32)], tmp_path / "data")
    with pytest.raises(DatasetError, match="does not fit this dataset: robot 'unknown'"):
        recorded([partial(gymnasium.make, "CartPole-v1")], tmp_path / "data")
    with pytest.raises(DatasetError, match="at least one"):
        recorded([], tmp_path / "none")


def test_a_sub_environment_that_does_not_fit_stops_the_vector(tmp_path: Path) -> None:
    makers = recorded([fake_env.FakeEnv, partial(fake_env.FakeEnv, model_hash="cd" * 32)], tmp_path / "data")
    with pytest.raises(DatasetError, match="does not fit this dataset: model"):
        SyncVectorEnv(makers)

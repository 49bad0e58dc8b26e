"""Open an export with the real Minari and compare every value with the store; the same for an import of Minari's own.

Runs in an environment of its own (`make minari`), without training_ground: the store is read here with pyarrow and
`dataset.json` alone, as anybody else would read it.

    python minari_check.py export STORE EXPORT    EXPORT's values are those of STORE, in Minari's hands
    python minari_check.py collect ROOT           write ROOT/made/cartpole-v0 and ROOT/made/nested-v0 with Minari
    python minari_check.py imported ROOT STORES   STORES/cartpole-v0 and STORES/nested-v0 hold what Minari reads in them
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from plain_store import read_store, same


def minari_at(root: Path) -> Any:
    """Import Minari with `root` as the folder of its datasets."""
    os.environ["MINARI_DATASETS_PATH"] = str(root.resolve())
    import minari

    return minari


def check_export(store: Path, export: Path) -> None:
    """Compare an export with its store."""
    minari = minari_at(export.parent)
    assert export.name in minari.list_local_datasets(), "Minari does not list the export"
    dataset = minari.load_dataset(export.name)
    schema, episodes = read_store(store, cut_off=False)
    assert dataset.total_episodes == len(episodes), (dataset.total_episodes, len(episodes))
    assert dataset.total_steps == sum(m["length"] for m, _ in episodes), dataset.total_steps
    roles = {c["name"]: c["role"] for c in schema["channels"]}
    noisy = [n for n in roles if n == "policy_observation"]
    seen = {*(noisy or [n for n in roles if roles[n] == "observation"]), *(n for n in roles if roles[n] == "picture")}
    compared = 0
    for episode, (metadata, columns) in zip(dataset.iterate_episodes(), episodes, strict=True):
        count = metadata["length"]
        assert set(episode.observations) == seen == set(dataset.observation_space.spaces), set(episode.observations)
        for name in seen:
            compared += same(episode.observations[name], columns[name], name)
        compared += same(episode.actions, columns["action"][:-1], "action")
        compared += same(episode.rewards, columns["reward"][1:], "reward")
        ends = (bool(episode.terminations[-1]), bool(episode.truncations[-1]))
        assert ends == (metadata["terminated"], metadata["truncated"]), ends
        assert not episode.terminations[:-1].any() and not episode.truncations[:-1].any()
        rest = set(columns) - seen - {"action", "reward", "is_last"}
        assert set(episode.infos) == rest, set(episode.infos) ^ rest
        for name in rest - {"phase"}:
            compared += same(episode.infos[name], columns[name], name)
        assert [phase.decode() for phase in episode.infos["phase"]] == columns["phase"].tolist()
        first = {name: values[0] for name, values in episode.observations.items()}
        assert dataset.observation_space.contains(first), "an observation lies outside its space"
        assert all(dataset.action_space.contains(a) for a in episode.actions[:count]), (
            "an action lies outside its space"
        )
    size = f"{dataset.total_episodes} episodes, {dataset.total_steps} steps"
    print(f"Minari {minari.__version__}: {size}, {compared} numbers equal")
    dataset.set_seed(0)
    sampled = list(dataset.sample_episodes(min(2, len(episodes))))
    assert all(len(e.rewards) == episodes[e.id][0]["length"] for e in sampled)
    known = list(dataset.storage.get_episode_metadata(range(len(episodes))))
    assert [k["seed"] for k in known] == [m["seed"] for m, _ in episodes], "seeds are lost"
    kept = dataset.filter_episodes(lambda episode: bool(episode.truncations[-1]))
    assert kept.total_episodes == sum(m["truncated"] for m, _ in episodes)
    print(f"sampled, filtered; seeds {[int(k['seed']) for k in known]}")


def collect(root: Path) -> None:
    """Record two datasets with Minari's own collector."""
    root.mkdir(parents=True, exist_ok=True)
    minari = minari_at(root)
    import gymnasium as gym

    class Nested(gym.Env[Any, Any]):
        """Observations and infos of several parts, actions of two."""

        observation_space = gym.spaces.Dict(
            {
                "Image": gym.spaces.Box(0, 255, (32, 40, 3), np.uint8),
                "pair": gym.spaces.Tuple((gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(3))),
            }
        )
        action_space = gym.spaces.Dict(
            {"push": gym.spaces.Box(-1, 1, (2,), np.float32), "turn": gym.spaces.Box(-1, 1, (1,))}
        )

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            self.count = 0
            return self.observation_space.sample(), {"extra": {"speed": 0.5}}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            self.count += 1
            done = self.count == 7
            return self.observation_space.sample(), 0.5, done, False, {"extra": {"speed": float(self.count)}}

    for name, env, episodes in (("cartpole", gym.make("CartPole-v1"), 5), ("nested", Nested(), 3)):
        collector = minari.DataCollector(env, record_infos=True)  # pictures become JPEG
        for seed in range(episodes):
            collector.reset(seed=seed)
            collector.action_space.seed(seed)
            done = False
            while not done:
                _, _, terminated, truncated, _ = collector.step(collector.action_space.sample())
                done = terminated or truncated
        collector.create_dataset(
            f"made/{name}-v0", algorithm_name="random", author="nobody", description=f"{name} at random"
        )
        collector.close()
    print(f"collected {sorted(minari.list_local_datasets())}")


def check_imported(root: Path, stores: Path) -> None:
    """Compare imported stores with what Minari itself reads."""
    minari = minari_at(root)
    for name in ("cartpole-v0", "nested-v0"):
        dataset, (schema, episodes) = minari.load_dataset(f"made/{name}"), read_store(stores / name, cut_off=False)
        assert len(episodes) == dataset.total_episodes and schema["environment"]["env_id"] == "imported:minari"
        compared = 0
        for episode, (metadata, columns) in zip(dataset.iterate_episodes(), episodes, strict=True):
            assert metadata["seed"] == episode.id and metadata["imported"]["episode"] == f"episode_{episode.id}"
            if name == "cartpole-v0":
                compared += same(episode.observations, columns["observation"], "observation")
                action = episode.actions
            else:
                pair = episode.observations["pair"]
                compared += same(episode.observations["Image"], columns["observation.image"], "image")
                compared += same(pair[0], columns["observation.pair._index_0"], "pair 0")
                compared += same(pair[1], columns["observation.pair._index_1"], "pair 1")
                compared += same(episode.infos["extra"]["speed"], columns["info.extra.speed"], "speed")
                action = np.concatenate([episode.actions["push"], episode.actions["turn"]], axis=1)
            compared += same(action, columns["action"][:-1], "action")
            compared += same(np.asarray(episode.rewards, float), columns["reward"][1:], "reward")
            assert metadata["terminated"] == bool(episode.terminations[-1])
        print(f"{name}: {len(episodes)} imported episodes, {compared} numbers equal")


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    {"export": check_export, "collect": collect, "imported": check_imported}[what](*map(Path, paths))

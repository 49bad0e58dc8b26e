"""Samples a second of PPO on the G1's Walk preset: our rollout workers against stable-baselines3's SubprocVecEnv.

Environment, network, learner and settings are the same; both take turns. Wall-clock time: what matters is how long a
person waits with the cores that there are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _measure import alternate, median_ratio, quick, report, summary, target

from training_ground.agents.algorithms import find_algorithm
from training_ground.agents.collector import Collector
from training_ground.agents.curriculum import Curriculum
from training_ground.agents.normaliser import Normaliser
from training_ground.agents.rollouts import Ends, GaussianPolicy
from training_ground.agents.stepping import make_env
from training_ground.agents.training import resolve
from training_ground.configs.presets import load_preset


def make_plain(env_id: str, kwargs: dict[str, Any]) -> Callable[[], Any]:
    """What SubprocVecEnv calls in its process; as stable-baselines3's own helper, it wraps the env in a Monitor."""

    def make() -> Any:
        from stable_baselines3.common.monitor import Monitor

        return Monitor(make_env(env_id, kwargs))

    return make


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time that processes have spent, s."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class TimedCollector(Collector):
    """A collector that sums up how long it collects, and what CPU time its workers spend in that."""

    wall = cpu = 0.0

    def collect(self, policy: GaussianPolicy, number: int, level: float = 1.0) -> Ends:
        """Collect."""
        wall, cpu = time.perf_counter(), cpu_seconds(self.worker_pids)
        ends = super().collect(policy, number, level)
        self.wall += time.perf_counter() - wall
        self.cpu += cpu_seconds(self.worker_pids) - cpu
        return ends


def learner(model: Any, samples: int) -> Callable[[], float]:
    """One round: samples a second of collecting and learning."""

    def measure() -> float:
        start = time.perf_counter()
        model.learn(samples, reset_num_timesteps=False)
        return samples / (time.perf_counter() - start)

    return measure


def compare(count: int, small: bool) -> tuple[dict[str, list[float]], float]:
    """Samples a second of ours and theirs with so many environments; and ours' share of the cores while collecting."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

    samples = 32 * count if small else 4096
    overrides = [
        "env.kwargs.robot=g1",
        "ppo.adapt_learning_rate=false",
        "ppo.critic_learning_rate=null",
        "ppo.mirror=false",
        f"envs_per_worker={count // 2}",
        f"ppo.rollout_steps={samples // count}",
    ]
    config: Any = resolve(load_preset("train", "walk")[1], "walk", overrides)
    torch.set_num_threads(config.torch_threads)
    settings = config.ppo
    ours = TimedCollector(
        config.env.id,
        config.env.kwargs,
        workers=config.workers,
        envs_per_worker=config.envs_per_worker,
        steps=settings.rollout_steps,
    )
    theirs = SubprocVecEnv([make_plain(config.env.id, config.env.kwargs)] * count, start_method="spawn")
    try:
        size = ours.arrays.observation.shape[-1]
        normaliser = Normaliser(config.normalisation, size, count, settings.gamma)
        model = find_algorithm("ppo").build(settings, config.network, ours, normaliser, 0)
        model.curriculum = Curriculum()
        plain = PPO(
            "MlpPolicy",
            VecNormalize(theirs, gamma=settings.gamma),
            learning_rate=settings.learning_rate,
            n_steps=settings.rollout_steps,
            batch_size=samples // settings.minibatches,
            n_epochs=settings.epochs,
            gamma=settings.gamma,
            policy_kwargs=model.policy_kwargs,
            device="cpu",
        )
        rates = alternate({"ours": learner(model, samples), "theirs": learner(plain, samples)}, 1 if small else 7)
    finally:
        ours.close()
        theirs.close()
    return rates, ours.cpu / ours.wall / config.workers


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    small = quick(argv, __doc__)
    preset: Any = resolve(load_preset("train", "walk")[1], "walk")
    own = preset.workers * preset.envs_per_worker
    found = {count: compare(count, small) for count in ([own] if small else [8, own, 32])}
    ratios = {count: median_ratio(rates["ours"], rates["theirs"]) for count, (rates, _) in found.items()}
    return report(
        {
            "targets": [
                target("training, G1 Walk, 2 cores: samples/s ÷ SubprocVecEnv's", ratios[own], "", at_least=2.3),
                target("share of two cores used while collecting", found[own][1], "", at_least=0.9),
            ],
            "ratio_by_environments": ratios,
            "samples_per_second": {
                count: {name: summary(values) for name, values in rates.items()} for count, (rates, _) in found.items()
            },
        }
    )


if __name__ == "__main__":
    main()

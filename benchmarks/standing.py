"""Stand with the policy that ships for the G1: pushes of 0.5 m/s every 5 s, 20 s, unseen seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _measure import quick, report, target

from training_ground.agents.evaluation import evaluate
from training_ground.agents.policy import load_policy
from training_ground.agents.seeds import EVALUATION_SEEDS
from training_ground.configs.errors import AgentError

TASK = "TrainingGround/Stand-v0"
OPTIONS = {
    "robot": "g1",
    "stance": "free",
    "push_speed": [0.5, 0.5],
    "push_interval_s": 5.0,
    "episode_length_s": 20.0,
}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    episodes = 10 if quick(argv, __doc__) else 200
    what = f"Stand, G1-29, pushed, {episodes} unseen seeds: standing at the end"
    summaries: dict[str, Any] = {}
    try:
        shipped = load_policy("shipped", env_id=TASK, robot="g1")
        options = {**getattr(shipped, "conditions", {}), **OPTIONS}
        seeds = range(EVALUATION_SEEDS.start, EVALUATION_SEEDS.start + episodes)
        for name, policy in (("shipped", shipped), ("zero", load_policy("zero"))):
            summaries[name] = evaluate(policy, TASK, options, seeds).summary()
    except AgentError as problem:
        return report({"targets": [target(what, None, "", at_least=0.95)], "problem": str(problem), **summaries})
    low, high = summaries["shipped"]["wilson_95"]
    what = f"{what} (95 % Wilson interval {low:.3f} to {high:.3f})"
    return report(
        {"targets": [target(what, summaries["shipped"]["success_rate"], "", at_least=0.95)], "policies": summaries}
    )


if __name__ == "__main__":
    main()

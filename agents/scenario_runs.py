"""How a policy does in scenarios: success with its interval, and cycle times."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from training_ground.agents.evaluation import Evaluation
from training_ground.envs.scenarios import Scenario


def figures(scenario: Scenario, evaluation: Evaluation) -> dict[str, Any]:
    """Return a scenario's figures as plain data; None where no episode tells.

    Cycle times, s, are of the episodes that end in success; `failures` has `no success` for those that only ran out of
    time.
    """
    records, summary = evaluation.episodes, evaluation.summary()
    cycles = [r.metrics["cycle_time"] for r in records if r.success and "cycle_time" in r.metrics]
    return {
        **scenario.to_json(),
        "policy": evaluation.policy,
        **{key: summary[key] for key in ("episodes", "requested", "successes", "success_rate", "wilson_95")},
        "cycle_median_s": float(np.median(cycles)) if cycles else None,
        "cycle_p95_s": float(np.percentile(cycles, 95)) if cycles else None,
        "failures": dict(Counter(r.failure or "no success" for r in records if not r.success)),
    }

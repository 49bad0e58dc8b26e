"""What the quality gate sees: faults planted in recordings of a walking G1; the cost of measuring against reading."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _measure import alternate, quick, report, seconds, target

from training_ground.agents.recording import record
from training_ground.cli.eval import choose
from training_ground.datasets.quality.gate import judge, load_limits, measure_episode
from training_ground.datasets.store import Store

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import planted  # pyright: ignore[reportMissingImports]

UNSEEN = ("actions_backwards",)
"""A gait looks the same backwards."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    episodes, rounds = (1, 5) if quick(argv, __doc__) else (5, 40)
    limits = load_limits()[1].episode
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walk"
        actor, env_id, kwargs = choose("walk_g1", "Walk", {"robot": "g1", "episode_length_s": 6.0})
        record(actor, env_id, kwargs, range(episodes), path)
        store = Store.open(path)
        good = list(store)

        def seen(episode: planted.Episode) -> set[str]:
            return {reason.measure for reason in judge(measure_episode(episode, store.schema), limits)}

        table: dict[str, dict[str, Any]] = {}
        for fault, meant in planted.FAULTS.items():
            found = [seen(planted.planted(episode, fault)) for episode in good]
            others = Counter(name for names in found for name in names - meant)
            table[fault.__name__] = {
                "measures": sorted(meant),
                "seen": sum(meant <= names for names in found) / len(found),
                "also": {name: count / len(found) for name, count in others.items()},
            }
        cost = alternate(
            {
                "read": lambda: seconds(lambda: store.read(0)),
                "measure": lambda: seconds(lambda: measure_episode(good[0], store.schema)),
            },
            rounds,
        )
        clean = sum(not seen(episode) for episode in good) / len(good)
        rows = good[0].length + 1
    missed = [name for name, row in table.items() if row["seen"] < 1 and name not in UNSEEN]
    ratio = statistics.median(cost["measure"]) / statistics.median(cost["read"])
    return report(
        {
            "targets": [
                target("good recordings without a remark", clean, "share", at_least=1.0),
                target("kinds of planted faults that are missed", len(missed), "1", at_most=0),
                target("measuring an episode over reading it", ratio, "×", at_most=3.0),
            ],
            "missed": missed,
            "faults": table,
            "episodes": episodes,
            "rows": rows,
            "milliseconds": {name: statistics.median(values) * 1e3 for name, values in cost.items()},
        }
    )


if __name__ == "__main__":
    main()

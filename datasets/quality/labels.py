"""Labels: whether what is said of an episode agrees with what the simulator saw."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import Measure, Reading, flat, reading
from training_ground.datasets.schema import PHASE, REWARD, DatasetSchema

SUCCESS = "success"

MEASURES = (
    Measure(
        "success_mismatch",
        "1",
        "1 where the metadata say another success than the simulator's own channel in the last row.",
        "A predicate that is wrong itself: both come from it.",
        "Event channel `success`",
    ),
    Measure(
        "outcome_contradiction",
        "1",
        "1 where the metadata say both success and a kind of failure.",
        "A kind of failure that is the wrong one.",
    ),
    Measure(
        "reward_mismatch",
        "1",
        "Largest difference of the reward from the sum of its terms, as a share of the largest reward.",
        "Terms that are wrong themselves.",
    ),
    Measure(
        "unknown_phases",
        "1",
        "Phases that the task does not have.",
        "A phase that is named rightly at the wrong time.",
        "`environment.phases` of dataset.json",
    ),
    Measure(
        "phase_backsteps",
        "1",
        "Times that a phase is followed by an earlier one other than the first.",
        "Tasks whose phases have no order; a second grasp after a slip is one, and right.",
        "`environment.phases` of dataset.json",
    ),
    Measure(
        "person_mismatch",
        "1",
        "1 where a person said another success than the metadata.",
        "Who of the two is right.",
        "Annotations of people",
    ),
)


def measure(episode: Episode, schema: DatasetSchema, person: bool | None = None) -> dict[str, Reading]:
    """Measure one episode.

    Args:
        episode, schema: What was recorded.
        person: Success as a person annotated it; None where nobody did.
    """
    metadata = episode.metadata
    readings = dict.fromkeys((m.name for m in MEASURES), Reading(None, "there is nothing to compare"))
    said, column = metadata.success, episode.columns.get(SUCCESS)
    if said is not None and column is not None and column.ndim == 1 and column.dtype == np.bool_:
        note = f"metadata say {said}, the last row {bool(column[-1])}"
        readings["success_mismatch"] = reading(float(bool(column[-1]) != said), note)
    both = bool(said) and metadata.failure is not None
    readings["outcome_contradiction"] = reading(float(both), f"failure '{metadata.failure}'" if both else "")
    readings["person_mismatch"] = Reading(None, "no person has labelled success")
    if person is not None and said is not None:
        readings["person_mismatch"] = reading(float(person != said), f"metadata say {said}, a person {person}")
    return readings | _phases(episode, schema) | _reward(episode, schema)


def _phases(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    known: Any = schema.environment.get("phases")
    if not isinstance(known, list) or not all(isinstance(name, str) for name in known) or not known:
        missing = Reading(None, "the dataset does not say which phases the task has")
        return {"unknown_phases": missing, "phase_backsteps": missing}
    seen = episode.columns[PHASE].tolist()
    strange = sorted(set(seen) - {*known, ""})
    order = [known.index(name) for name in seen if name in known]
    steps = [(a, b) for a, b in pairwise(order) if 0 < b < a]
    back = ", ".join(sorted({f"{known[a]} to {known[b]}" for a, b in steps}))
    return {
        "unknown_phases": reading(float(len(strange)), ", ".join(strange)),
        "phase_backsteps": reading(float(len(steps)), back),
    }


def _reward(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    terms = [c.name for c in schema.channels if c.role == "reward" and c.name != REWARD and not c.shape]
    if not terms or episode.columns[REWARD].ndim != 1:
        return {}
    total = flat(episode, REWARD)[1:, 0]
    error = np.abs(total - sum(flat(episode, name)[1:, 0] for name in terms))
    # Terms are float32 as a rule; the share is of the largest reward, so that small ones do not shout.
    return {
        "reward_mismatch": reading(
            float(error.max() / max(np.abs(total).max(), 1e-9)), f"row {int(np.argmax(error)) + 1}"
        )
    }

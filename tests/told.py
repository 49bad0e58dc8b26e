"""Demonstrations that are made up, a sentence model that hears colours alone, and a policy taught with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_ground.agents import multitask_data, multitask_policy
from training_ground.agents.bundle_format import DataOrigin
from training_ground.agents.clock import ClockSpec
from training_ground.agents.multitask_data import Demonstrations, TaskData
from training_ground.agents.multitask_settings import MultiTaskConfig
from training_ground.agents.signature import Signature
from training_ground.configs.instructions import instruction_files
from training_ground.configs.loading import validate


def heard(texts: Sequence[str]) -> np.ndarray:
    """Stands in for the sentence model: what matters of a text is its colour, the rest is noise."""
    vectors = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        vector = 0.2 * np.random.default_rng(seed).standard_normal(384)
        for i, words in enumerate((("green", "start"), ("blue", "reset"), ("red", "stop"), ("drawer",))):
            vector[i] += 12.0 * any(word in text.lower() for word in words)
        vectors.append(vector / np.linalg.norm(vector))
    return np.array(vectors, np.float32).reshape(len(texts), 384)


def hear(patch: pytest.MonkeyPatch) -> None:
    """Let `heard` stand in for the sentence model."""
    for module in (multitask_data, multitask_policy):
        patch.setattr(module, "embed", heard)


ASKED = {
    "PressButton": [
        f"Press the {button}, and take your hand away."
        for button in ("green button (start)", "blue button (reset)", "red button (stop)")
    ],
    "OpenDrawer": ["Pull the drawer open, let go of its handle, and take your hand away."],
}


def demonstrations(signatures: Mapping[str, Signature]) -> list[TaskData]:
    """Episodes of six steps in which the first joint does what is asked for; all that is seen is zeros."""
    tasks = []
    for task, asked in ASKED.items():
        signature, episodes, steps = signatures[task], 12, 6
        actions = np.zeros((episodes * steps, signature.action_size), np.float32)
        actions[:, 0] = np.repeat([0.2 * (i % len(asked)) - 0.2 for i in range(episodes)], steps)
        actions[:, 1] = 0.5 if task == "OpenDrawer" else -0.5
        tasks.append(
            TaskData(
                task,
                signature,
                np.zeros((episodes * steps, signature.observation_size), np.float32),
                actions,
                np.repeat(np.arange(1, episodes + 1) * steps - 1, steps),
                np.repeat(np.arange(episodes), steps),
                np.tile(np.arange(steps), episodes),
                tuple(asked[i % len(asked)] for i in range(episodes)),
                DataOrigin(dataset=task, episodes=episodes, steps=episodes * steps, sha256="0" * 64),
            )
        )
    return tasks


CLOCK = ClockSpec(longest_s=4.0)
WRITTEN: dict[str, Any] = {
    "name": "test",
    "data": {"PressButton": "a", "OpenDrawer": "b"},
    "unseen": {"PressButton": ["goal"]},
    "words": 8,
    "bc": {"horizon": 4, "execute": 2, "clock": CLOCK.model_dump(), "batch_size": 64, "learning_rate": 1e-2},
    "network": {"hidden": [32]},
    "total_steps": 300,
    "checkpoints": {"interval": 100},
}
CONFIG = validate(MultiTaskConfig, WRITTEN, "here")


def made_up(signatures: Mapping[str, Signature]) -> Demonstrations:
    """What a policy is taught with."""
    return Demonstrations(demonstrations(signatures), CONFIG.unseen, instruction_files())


def teach(folder: Path, signatures: Mapping[str, Signature]) -> None:
    """Let a policy of `PressButton` and `OpenDrawer` learn from `made_up`."""
    from training_ground.agents import multitask_training

    with pytest.MonkeyPatch.context() as patch:
        hear(patch)
        data = made_up(signatures)
        patch.setattr(multitask_training, "read", lambda config: data)
        multitask_training.start(CONFIG, folder, lambda record: None)

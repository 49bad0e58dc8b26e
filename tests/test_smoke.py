"""`tg smoke` and what it must catch."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest

from training_ground.agents import smoke
from training_ground.cli import main


class Toy:
    """As much of an environment as smoke uses; `fault` names what it does wrong."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    made = 0

    def __init__(self, fault: str | None) -> None:
        self.fault, self.count, self.resets = fault, 0, 0

    def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
        self.count, self.resets, self.seed = 0, self.resets + 1, seed
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        reward = 1.0 if self.fault != "sum" else 2.0
        if self.fault == "raise":
            raise ZeroDivisionError("oh")
        return self._observation(), reward, self.count == 5, False, {"reward_terms": {"a": 0.25, "b": 0.75}}

    def _observation(self) -> np.ndarray:
        value = {"nan": np.nan, "far": 11.0, "drift": float(self.resets)}.get(self.fault or "", float(self.seed))
        return np.full(3, value, np.float32)

    def frame(self) -> dict[str, np.ndarray]:
        return {"height": np.array(np.inf if self.fault == "channel" else 1.0)}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (None, None),
        ("nan", "not finite"),
        ("far", "outside the observation space"),
        ("drift", "the same seed"),
        ("sum", "its terms sum to 1"),
        ("channel", "channel 'height' is not finite"),
        ("raise", "ZeroDivisionError: oh"),
    ],
)
def test_each_fault_is_named(fault: str | None, message: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smoke, "make", lambda *a, **k: Toy(fault))
    result = smoke.check_item(smoke.SmokeItem("Toy", {}, steps=12))
    if message is None:
        assert result.problem is None and result.steps == 3 * 2 * 12 and result.episodes == 3 * 2 * 3
    else:
        assert result.problem is not None and message in result.problem


def test_one_combination_through_the_command(capsys):
    assert main.main(["smoke", "stand", "--robot", "g1", "--steps", "5", "--processes", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] and data["combinations"] == data["run"] == 1 and data["steps"] == 30


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["stan"], "'Stand'"), (["stand", "--robot", "g2"], "'g1'"), (["--step", "5"], "--steps")],
)
def test_bad_names_are_refused_before_any_work(arguments: list[str], nearest: str, capsys):
    assert main.main(["smoke", *arguments]) == 2
    assert nearest in capsys.readouterr().err

"""A person who takes something out of a robot's hand: what they wait for, how they take it, and what a task says of it.

No expert works here: springs hold a tool out in the robot's place, and let it go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rollouts import actions, advance

from training_ground.assets.layout import CellSpec
from training_ground.assets.library import load_cell
from training_ground.configs.errors import AssetError, SimulationError
from training_ground.configs.loading import validate
from training_ground.envs import rotations
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.receiving import FACING, PATIENCE_S
from training_ground.envs.registration import make

UPRIGHT = (0.0, 0.0, 0.0, 1.0)


STIFF, TURNING = 50.0, 100.0
"""rad/s: frequencies with which a held tool would swing, critically damped: some 750 N/m, as a robot's arm has."""


class Holder:
    """Holds the tool of an episode out in the robot's place, as springs and dampers would.

    Attributes:
        place: (3,) of the tool's foot, m, and `turn`, its quaternion.
        holding: Whether it does.
        force: (3,) of the springs and dampers on the tool in the last physics step, N.
    """

    def __init__(self, env: HumanoidEnv) -> None:
        self.env, self.task = env, env.task
        self.place, self.turn, self.holding = (0.0, 0.0, 1.0), UPRIGHT, True
        self.force = [0.0, 0.0, 0.0]

    def begin(self, seed: int = 5, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), turn: Any = None) -> Any:
        """Start an episode with the tool before the person's hand, or so much beside it."""
        self.holding = False
        self.env.reset(seed=seed)
        task: Any = self.task
        front, tool = task.place.frame("arm.front"), task.place.things["tool"]
        self.turn = front.orientation if turn is None else turn
        handle = rotations.rotate(self.turn, tool.spec.frames["handle"].at)
        x, y, z = (a + b - c for a, b, c in zip(front.position, shift, handle, strict=True))
        self.place, self.holding = (x, y, z), True
        tool.set_base(self.place, self.turn)
        return task

    def hold(self) -> None:
        """Change the tool's velocity by what springs and dampers do in a physics step."""
        if not self.holding:
            return
        tool: Any = self.task.place.things["tool"]  # type: ignore[attr-defined]
        now, dt = tool.state, self.env.world.timestep
        off = [a - b for a, b in zip(self.place, now.position, strict=True)]
        turned = rotations.multiply(self.turn, rotations.conjugate(now.orientation))
        askew = [math.copysign(2.0, turned[3]) * part for part in turned[:3]]
        mass = tool.spec.pieces[0].mass * self.env.drawn["cell"]["tool"]["mass"]
        self.force = [mass * (STIFF**2 * e - 2 * STIFF * v) for e, v in zip(off, now.linear_velocity, strict=True)]
        linear = [v + dt * (STIFF**2 * e - 2 * STIFF * v) for e, v in zip(off, now.linear_velocity, strict=True)]
        turning = zip(askew, now.angular_velocity, strict=True)
        angular = [w + dt * (TURNING**2 * e - 2 * TURNING * w) for e, w in turning]
        tool.set_base(now.position, now.orientation, linear, angular)


@pytest.fixture(scope="module")
def holder() -> Iterator[Holder]:
    env = make("HandToPerson", end_after_success_s=None)
    held = Holder(env)
    env.world.substeps.each.insert(0, held.hold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(env.task, "touches", lambda item, side=None: held.holding)
        yield held
    env.close()


def watch(held: Holder, seconds: float, until: Callable[[Any], bool] = lambda task: False) -> dict[str, Any]:
    """Let time pass, the robot in its place, at most until something holds or the episode ends."""
    info: dict[str, Any] = {}
    for _ in range(round(seconds / held.env.control_timestep)):
        *_, terminated, truncated, info = held.env.step(np.zeros(held.env.action.shape, np.float32))
        if terminated or truncated or until(held.task):
            break
    return info


def states(held: Holder, seconds: float) -> list[str]:
    """What the person does one after the other."""
    seen = [held.task.receiver.state]  # type: ignore[attr-defined]

    def note(task: Any) -> bool:
        if task.receiver.state != seen[-1]:
            seen.append(task.receiver.state)
        return False

    watch(held, seconds, note)
    return seen


def about_z(angle: float) -> tuple[float, float, float, float]:
    return (0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2))


# ---- the person ------------------------------------------------------------------------------------------------------


def test_the_person_pulls_as_hard_as_drawn_and_takes_what_is_let_go(holder: Holder):
    task = holder.begin()
    drawn = holder.env.drawn["receiver"]
    watch(holder, 8.0, lambda task: task.receiver.state == "pulls")
    watch(holder, 1.0)
    assert task.receiver.state == "pulls" and task.receiver.progress.pull == pytest.approx(drawn["pull_n"], rel=0.02)
    assert holder.env.frame()["person_pull"] == pytest.approx(drawn["pull_n"], rel=0.02)
    assert task.receiver.holds() and not task.evaluate().success
    before = task.place.frame("tool.handle").position
    holder.holding = False
    info = watch(holder, 3.0, lambda task: task.state.values["lasting"] > 0)
    assert info["success"] and info["phase"] == "release"
    after = task.place.frame("tool.handle").position
    assert after[0] - before[0] > 0.1 and abs(after[2] - before[2]) < 0.02  # drawn towards the person, not dropped
    metrics = task.metrics()
    assert metrics["pull"] == pytest.approx(drawn["pull_n"], rel=0.02) and 0.9 < metrics["held_on"] < 1.2
    assert 0.0 < task.monitor.metrics()["contact_hand"] < 0.5  # the grip itself, and no more


def test_what_holds_the_tool_bears_the_pull(holder: Holder):
    """By the springs: through thumb and fingers they are drawn towards the person as hard as they pull."""
    task = holder.begin()
    watch(holder, 8.0, lambda task: task.receiver.state == "pulls")
    watch(holder, 0.5)
    away = rotations.rotate(task.place.frame("arm.palm").orientation, (1.0, 0.0, 0.0))
    forces = []
    for _ in range(25):
        watch(holder, 0.02)
        forces.append(sum(f * a for f, a in zip(holder.force, away, strict=True)))
    assert np.mean(forces) == pytest.approx(holder.env.drawn["receiver"]["pull_n"], rel=0.05)


@pytest.mark.parametrize(("shift", "turn"), [
    ((0.0, 0.0, 0.0), FACING + 0.1),  # its broad side, half
    ((0.0, 0.0, 0.15), 0.0),  # too high
    ((-0.25, 0.0, 0.0), 0.0),  # too far away
])  # fmt: skip
def test_the_person_waits_for_what_is_held_out_wrongly(holder: Holder, shift: Any, turn: float):
    front = holder.begin().place.frame("arm.front").orientation
    holder.begin(shift=shift, turn=rotations.multiply(about_z(turn), front))
    assert states(holder, 2.0) == ["waits"]


def test_a_handle_may_be_turned_a_little_or_the_other_way_round(holder: Holder):
    front = holder.begin().place.frame("arm.front").orientation
    for turn in (FACING - 0.1, math.pi):
        holder.begin(turn=rotations.multiply(about_z(turn), front))
        assert "pulls" in states(holder, 5.0)


def test_the_person_does_not_reach_into_the_robots_hand(holder: Holder, monkeypatch: pytest.MonkeyPatch):
    task = holder.begin()
    monkeypatch.setattr(task, "grip_distance", lambda name: 0.05)
    assert states(holder, 2.0) == ["waits"]


def test_the_person_draws_back_when_it_is_taken_away_and_comes_again(holder: Holder):
    task = holder.begin()
    watch(holder, 3.0, lambda task: task.receiver.state == "reaches")
    x, y, z = holder.place
    holder.place = (x, y + 0.05, z)
    assert states(holder, 6.0)[:4] == ["reaches", "withdraws", "waits", "reaches"]
    assert task.receiver.state in ("pulls", "gave_up") or task.env.outcome.failure == "held_on"


def test_a_person_who_hesitates_draws_back_once(holder: Holder):
    task = holder.begin()
    holder.env.drawn["receiver"]["hesitates"] = True
    assert states(holder, 8.0)[:6] == ["waits", "reaches", "withdraws", "waits", "reaches", "grips"]
    assert task.metrics()["drawn_back"] == 1.0


# ---- what the task says of it ----------------------------------------------------------------------------------------


def test_who_holds_on_fails(holder: Holder):
    holder.begin()
    info = watch(holder, 12.0)
    assert info["failure"] == "held_on"
    assert PATIENCE_S - 0.1 < info["metrics"]["held_on"] < PATIENCE_S + 0.1


def test_who_lets_go_before_the_pull_fails(holder: Holder):
    holder.begin()
    watch(holder, 8.0, lambda task: task.receiver.state == "grips")
    holder.holding = False
    assert watch(holder, 0.1)["failure"] == "let_go"


def test_what_falls_has_slipped(holder: Holder):
    holder.begin()
    watch(holder, 0.2)
    holder.place, holder.turn = (0.6, 0.5, 1.1), (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))
    holder.task.place.things["tool"].set_base(holder.place, holder.turn)  # type: ignore[attr-defined]
    holder.holding = False
    assert watch(holder, 1.0)["failure"] == "slip"


def test_a_body_pressed_too_hard_is_unsafe(holder: Holder):
    task = holder.begin()
    watch(holder, 0.1)
    task.monitor.watched.touches.now = 1.2
    info = watch(holder, 3.0)
    assert info["failure"] == "unsafe" and info["metrics"]["emergency_stops"] == 1


def test_a_robot_alone_gets_no_success():
    env = make("HandToPerson", episode_length_s=1.0)
    env.reset(seed=5)
    ended, info = False, {}
    while not ended:
        *_, terminated, truncated, info = env.step(np.zeros(env.action.shape, np.float32))
        ended = terminated or truncated
    assert not info["success"] and info["phase"] == "approach" and info["metrics"]["protective_stops"] == 0
    env.close()


# ---- what must hold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["reaches", "grips", "pulls"])
def test_a_handing_over_goes_on_after_restore(holder: Holder, state: str):
    holder.begin()
    watch(holder, 8.0, lambda task: task.receiver.state == state)
    watch(holder, 0.1)
    kept, chosen = holder.env.save(), 0.2 * actions(holder.env, 40, seed=5)
    first = advance(holder.env, chosen)
    place, turn = holder.place, holder.turn
    holder.begin(seed=7)
    advance(holder.env, chosen[:10])
    holder.env.restore(kept)
    holder.place, holder.turn = place, turn
    assert advance(holder.env, chosen) == first and len(first) == 40


def test_what_a_person_does_is_drawn_with_the_episode():
    env = make("HandToPerson", tier="disturbed")
    drawn = [env.reset(seed=seed)[1]["randomisation"]["receiver"] for seed in range(40)]
    assert drawn == [env.reset(seed=seed)[1]["randomisation"]["receiver"] for seed in range(40)]
    assert all(5 <= one["pull_n"] <= 10 and 0.5 <= one["notices_s"] <= 3 for one in drawn)
    assert 10 <= sum(one["hesitates"] for one in drawn) <= 30
    env.close()


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("receiver", "message"), [
    ({"arm": "amr"}, r"receiver\.arm: unknown item 'amr'.*'arm'"),
    ({"arm": "tool"}, r"receiver\.arm = 'tool': must be an item that is 'fixed'"),
    ({"takes": "bench.top"}, r"receiver\.takes = 'bench\.top': 'bench' is fixed\. Allowed: tool"),
    ({"takes": "tool"}, "takes"),
    ({"pull_n": [9, 6]}, r"pull_n = \[9\.0, 6\.0\]: the first number of a range must not exceed the second"),
    ({"grip_n": 100}, "grip_n"),
    ({"hesitates": 2}, "hesitates"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(receiver: dict[str, Any], message: str):
    plain = load_cell("counter_station").model_dump(mode="json", exclude={"tiers"})
    plain["receiver"] |= receiver
    with pytest.raises(AssetError, match=message):
        validate(CellSpec, plain, "trial", AssetError)


@pytest.mark.parametrize(("change", "message"), [
    ({"receiver": {"arm": "bench", "takes": "tool.handle"}},
     r"receiver\.arm = 'bench': lacks joints forearm, hand, lift, thumb"),
    ({"receiver": {"arm": "arm", "takes": "tool.hook"}}, "hook"),
    ({"receiver": None}, "nobody receives"),
])  # fmt: skip
def test_what_cannot_receive_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plain = {**load_cell("counter_station").model_dump(mode="json", exclude={"tiers"}), **change}
    path = tmp_path / "counter_station.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    monkeypatch.setattr("training_ground.envs.tasks.manipulation.hand_to_person.HandToPerson.cell", str(path))
    with pytest.raises(SimulationError, match=message):
        make("HandToPerson")

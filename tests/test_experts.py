"""Scripted experts: they act through the environment's own actions, plan around what is in the way, and say what they
cannot reach."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from training_ground.agents.experts.arm import pose_of
from training_ground.agents.experts.catalog import expert_names, find_expert
from training_ground.agents.experts.clearance import Clearance
from training_ground.agents.experts.expert import QUICK, Expert, Steps, around, back
from training_ground.agents.experts.mechanism import Mechanism
from training_ground.agents.experts.operating import _outward, about_bar
from training_ground.agents.experts.planning import plan
from training_ground.agents.experts.press_button import HOLD_S
from training_ground.agents.policy import load_policy
from training_ground.assets.poses import Array, Pose, rotation_about
from training_ground.configs.errors import AgentError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make, task_ids


@pytest.fixture(scope="module")
def env() -> Iterator[HumanoidEnv]:
    env = make("PressButton")
    yield env
    env.close()


def play(env: HumanoidEnv, policy, seed: int, most: int = 10_000):
    observation, info = env.reset(seed=seed)
    policy.reset(env)
    rows = [observation]
    for _ in range(most):
        observation, _, terminated, truncated, info = env.step(policy.act(observation))
        rows.append(observation)
        if terminated or truncated or info["success"]:
            break
    return np.array(rows), info


class Trial(Expert):
    """Does what a test says."""

    what: Callable[[Expert], Steps]

    def procedure(self) -> Steps:
        yield from self.what(self)


def trial(what: Callable[[Expert], Any]) -> Trial:
    expert = Trial()
    expert.what = what
    return expert


# ---- whose task ------------------------------------------------------------------------------------------------------


def test_every_task_in_a_cell_has_an_expert_named_after_it():
    assert set(expert_names()) <= {name.split("/")[1].split("-")[0] for name in task_ids()}
    for name in expert_names():
        assert find_expert(name).__name__ == name


def test_a_task_without_an_expert_is_a_clear_error():
    other = make("Stand", robot="simple_humanoid")
    with pytest.raises(AgentError, match="expert for task 'Stand'"):
        load_policy("expert").reset(other)
    other.close()


def test_other_actions_than_joint_positions_are_refused():
    other = make("PressButton", control="joint_delta")
    with pytest.raises(AgentError, match="needs control 'joint_position'"):
        load_policy("expert").reset(other)
    other.close()


# ---- what they do ----------------------------------------------------------------------------------------------------


def test_the_expert_presses_the_button_and_repeats_bit_for_bit(env: HumanoidEnv):
    expert = load_policy("expert")
    first, info = play(env, expert, 1_000_000)
    assert info["success"] and info["failure"] is None
    down = (first[:, env.observation.slices["mechanism"]].max(axis=1) > 0.9).sum()
    assert HOLD_S <= down * env.control_timestep < HOLD_S + 0.2, "it is held down for a moment, and let go"
    again, _ = play(env, pickle.loads(pickle.dumps(expert)), 1_000_000)  # noqa: S301 (our own, to another process)
    assert np.array_equal(first, again)
    _, info = play(env, load_policy("zero"), 1_000_000)
    assert not info["success"]


@pytest.mark.slow
@pytest.mark.parametrize("name", expert_names())
def test_every_expert_does_its_task(name: str):
    env = make(name)
    policy = load_policy("expert")
    results = [play(env, policy, seed)[1] for seed in (1_000_000, 1_000_001)]
    env.close()
    assert [info["success"] for info in results] == [True, True], [info["failure"] for info in results]


def test_a_waypoint_that_cannot_be_reached_is_named(env: HumanoidEnv, caplog: pytest.LogCaptureFixture):
    def what(expert: Expert) -> Steps:
        yield from expert.travel("right", Pose(np.eye(3), np.array([1.5, 0.0, 1.0])), to="the far end")

    expert = trial(what)
    play(env, expert, 0, most=5)
    assert expert.trouble.startswith("waypoint 'the far end', right hand: the hand gets no nearer than ")
    with caplog.at_level(logging.WARNING, "training_ground.expert"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("training_ground.agents.experts.catalog.find_expert", lambda task: lambda: trial(what))
        patch.setattr("training_ground.agents.experts.catalog.isinstance", lambda a, b: True, raising=False)
        policy = load_policy("expert")
        policy._expert = expert  # type: ignore[attr-defined]
        play(env, policy, 0, most=5)
    assert [r.getMessage() for r in caplog.records] == [f"PressButton, seed 0: the expert gives up: {expert.trouble}"]


def test_a_hand_arrives_where_it_is_told_to(env: HumanoidEnv):
    goals = []

    def what(expert: Expert) -> Steps:
        start = expert.arms["right"].pose()
        goal = Pose(
            rotation_about(np.array([0.0, 0.0, 1.0]), 0.3) @ start.rotation,
            start.position + np.array([-0.04, -0.05, 0.08]),
        )
        goals.append(goal)
        yield from expert.move("right", goal, to="goal")
        yield from expert.settle("right", goal, within=0.001)

    expert = trial(what)
    play(env, expert, 0, most=150)
    assert not expert.trouble
    reached = expert.arms["right"].pose()
    assert np.linalg.norm(reached.position - goals[0].position) < 0.002
    assert np.abs(reached.rotation - goals[0].rotation).max() < 0.01


def test_an_arm_stops_at_the_corners_of_its_way(env: HumanoidEnv):
    seen: list[Array] = []

    def what(expert: Expert) -> Steps:
        arm = expert.arms["right"]
        way = [expert.wanted[arm.joints].copy() for _ in range(3)]
        way[1][0] += 0.3
        way[2][:2] += 0.3
        for _ in expert.along(arm, way, 1.0):
            seen.append(expert.wanted[arm.joints] - way[1])
            yield

    play(env, trial(what), 0, most=60)
    off = np.abs(np.array(seen)).max(axis=1)
    corner = int(off.argmin())
    assert off[corner] == pytest.approx(0.0, abs=1e-12) and 0 < corner < len(seen) - 1
    assert max(off[corner - 1], off[corner + 1]) < 0.001  # 0.02 rad a step between the corners
    acceleration = np.diff(seen, 2, axis=0) / env.control_timestep**2
    assert np.abs(acceleration).max() < 1.05 * QUICK


def test_a_handle_is_hooked_where_the_way_would_lead_out_of_the_hand():
    door = make("OpenDoor")
    door.reset(seed=0)
    mechanism = Mechanism(door.task, "machine.door")  # type: ignore[arg-type]
    handle = pose_of(door.task.place.frame("machine.handle"))  # type: ignore[attr-defined]
    # The door goes to the right: with it a hand that comes from the left and one from the front hold, the other not.
    assert [_outward(grasp, mechanism, 0.45) for grasp in about_bar(handle, -50, 0, 50)[::2]] == [False, False, True]
    door.close()


def test_a_pose_in_the_bench_or_in_oneself_is_blocked(env: HumanoidEnv):
    env.reset(seed=0)
    clearance = Clearance(env)
    clearance.look()
    rest = env.model.default_position.copy()
    assert clearance.blocked(rest) == ""
    inward = rest.copy()
    inward[env.model.joint_names.index("right_shoulder_roll_joint")] = 0.6
    assert clearance.blocked(inward) == "torso_link into right_elbow_link"
    expert = trial(lambda expert: iter(()))
    expert.reset(env)
    arm = expert.arms["right"]
    down = Pose(arm.pose().rotation, arm.pose().position + np.array([0.02, -0.05, -0.14]))
    found, why = arm.search(down, rest)
    assert found == [] and (why.endswith("into bench") or "no nearer" in why)
    clearance.close()


def test_a_hand_can_be_turned_about_its_approach():
    pose = Pose(rotation_about(np.array([1.0, 0.0, 0.0]), 2.0), np.array([0.1, 0.2, 0.3]))
    turned = around(pose, 4)
    assert all(one.rotation[:, 2] == pytest.approx(pose.rotation[:, 2]) for one in turned)
    assert turned[2].rotation[:, 0] == pytest.approx(-pose.rotation[:, 0])
    drawn = back(pose, 0.1)
    assert drawn.position == pytest.approx(pose.position - 0.1 * pose.rotation[:, 2])


# ---- planning --------------------------------------------------------------------------------------------------------

LOW, HIGH = np.full(2, -1.0), np.full(2, 1.0)


def wall(angles: Array) -> bool:
    """Free but for a wall with a gap at its lower end."""
    return not (abs(angles[0]) < 0.1 and angles[1] > -0.8)


def length(way: list[Array]) -> float:
    return sum(float(np.linalg.norm(b - a)) for a, b in pairwise(way))


def test_the_straight_way_is_taken_where_it_is_free():
    way = plan(np.array([-0.5, 0.0]), np.array([-0.4, 0.9]), LOW, HIGH, wall, 0)
    assert way is not None and len(way) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_way_around_a_wall_is_found_and_free(seed: int):
    start, goal = np.array([-0.5, 0.5]), np.array([0.5, 0.5])
    way = plan(start, goal, LOW, HIGH, wall, seed)
    assert way is not None
    assert np.array_equal(way[0], start) and np.array_equal(way[-1], goal)
    for a, b in pairwise(way):
        # Angles are tried 0.08 rad apart: a corner may be cut by half of that.
        places = [a + share * (b - a) for share in np.linspace(0, 1, 20)]
        assert all(abs(x) > 0.06 or y < -0.76 for x, y in places)
    assert length(way) < 2 * 2.9  # around the corner at (0, -0.8) there and back again are 2.8
    again = plan(start, goal, LOW, HIGH, wall, seed)
    assert again is not None and all(np.array_equal(a, b) for a, b in zip(way, again, strict=True))


def test_where_there_is_no_way_there_is_none():
    assert plan(np.array([-0.5, 0.5]), np.array([0.5, 0.5]), LOW, HIGH, lambda q: abs(q[0]) > 0.1, 0) is None

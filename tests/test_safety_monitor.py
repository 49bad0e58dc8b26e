"""The safety monitor at work: separation, stops and what they take, people who walk, and that all of it repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from person_cell import FACING, bay, still
from rollouts import actions, advance
from theory import tree_of

from training_ground.agents.policy import load_policy
from training_ground.assets.dynamics import mass_matrix
from training_ground.assets.kinematics import Chain
from training_ground.assets.layout import CellSpec
from training_ground.assets.library import load_cell
from training_ground.configs.errors import SimulationError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make
from training_ground.envs.safety.separation import Separation
from training_ground.envs.states import Nearness

WALK = {"to": [1.0, 0, 0], "speed": 1.6, "at_s": [0.1, 0.4], "stays_s": 0.6}
FAR = [4.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HumanoidEnv]:
    """A robot whose hands must not go farther than 0.42 m in front of it."""
    box = {"low": [-1, -1, 0], "high": [0.42, 1, 2]}
    folder = tmp_path_factory.mktemp("alone")
    safety = {"stops": ["workspace"], "after_emergency_stop": "hold"}
    env = bay(folder, None, cell={"workspace": box}, safety=safety)
    yield env
    env.close()


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HumanoidEnv]:
    """A robot to which a person comes, stays, and goes again."""
    env = bay(tmp_path_factory.mktemp("visited"), {"at": FAR, "walks": WALK})
    yield env
    env.close()


def reaching(env: HumanoidEnv, size: float = 0.35) -> np.ndarray:
    """An action that lifts both arms forward."""
    action = still(env)
    for i, name in enumerate(env.action_joints):
        if "shoulder_pitch" in name:
            action[i] = -size
        if "elbow" in name:
            action[i] = 0.6 * size
    return action


# ---- separation ------------------------------------------------------------------------------------------------------


def test_the_protective_distance_is_the_standards_sum():
    rule = Separation(reaction_s=0.1, stopping_s=0.4, intrusion=0.1, uncertainty=0.05)
    walking = 1.6 * 0.5 + 0.8 * 0.1 + 0.8 * 0.4 + 0.1 + 0.05
    assert rule.protective_distance(0.8) == pytest.approx(walking)
    assert rule.protective_distance(-3.0) == rule.protective_distance(0.0)
    short = Separation(reaction_s=0.02, stopping_s=0.1)
    assert short.protective_distance(0.0) == pytest.approx(2.0 * 0.12)  # a hand, as long as it is near
    between = Separation(reaction_s=0.05, stopping_s=0.22)
    assert between.protective_distance(0.0) == 0.5  # a walk would ask for less than the 0.5 m up to which hands count


def test_every_link_counts_with_its_own_speed():
    rule = Separation(reaction_s=0.0, stopping_s=0.5)
    near, fast = Nearness("a", "hand", 0.9, 0.0), Nearness("b", "hand", 1.2, 1.5)
    assert rule.missing([near], 0.02) < 0
    assert rule.missing([near, fast], 0.02) == pytest.approx((1.6 + 1.5) * 0.5 - 1.2)


def test_the_separation_is_that_of_the_geometry(tmp_path: Path):
    """The person's hands are nearest: 0.35 + 0.069 + 0.0256 m before the person's middle."""
    env = bay(tmp_path, {"at": [1.0, 0, 0]})
    env.reset(seed=0)
    tip = 1.0 - (0.35 + 0.069 + 0.0256)
    body, person = env.robot.body, env.task.place.persons[0]  # type: ignore[attr-defined]
    found = min(body.nearest(person, within=2.0), key=lambda point: point.distance)
    assert found.other_link in ("left_hand", "right_hand") and "hand" in found.link
    grips = [env.robot.frame(hand.grip).position for hand in env.model.hands if hand.grip]
    ahead = min(math.dist(grip, (tip + 0.0256, side * 0.2265, 1.106)) - 0.0256 for grip in grips for side in (-1, 1))
    assert 0.0 < found.distance < ahead < found.distance + 0.12  # the grip is some cm before the fingers' tips
    assert found.distance == pytest.approx(body.distance(person, within=2.0))
    assert env.frame()["separation"] == pytest.approx(found.distance)
    apart = found.distance
    person.place((1.3, 0, 0), (0, 0, 1, 0))
    assert body.distance(person, within=2.0) - apart == pytest.approx(0.3, abs=0.02)
    env.close()


def test_the_approach_is_the_speed_of_the_links_point(alone: HumanoidEnv, tmp_path: Path):
    env = bay(tmp_path, {"at": [1.4, 0, 0]}, safety={"stops": []})
    env.reset(seed=0)
    body, person = env.robot.body, env.task.place.persons[0]  # type: ignore[attr-defined]
    for _ in range(3):
        env.step(reaching(env))
    before = {n.link: n for n in body.nearest(person, within=3.0)}
    env.step(reaching(env))
    after = {n.link: n for n in body.nearest(person, within=3.0)}
    link = max(after, key=lambda name: after[name].approach)
    closed = (before[link].distance - after[link].distance) / env.control_timestep
    assert after[link].approach > 1.0
    assert closed == pytest.approx((before[link].approach + after[link].approach) / 2, rel=0.1)
    env.close()


# ---- stops -----------------------------------------------------------------------------------------------------------


def brake(env: HumanoidEnv, seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Reach until the monitor stops the robot; return its joints' angles and speeds then, and let it stop."""
    env.reset(seed=0)
    monitor = env.task.monitor
    assert monitor is not None
    while not monitor.stopped:
        env.step(reaching(env))
        assert env.steps < 100
    angles, speeds = env.robot.joint_position.copy(), env.robot.joint_velocity.copy()
    for _ in range(round(seconds / env.control_timestep)):
        env.step(-reaching(env))
    return angles, speeds


def estimate(env: HumanoidEnv, angles: np.ndarray, speeds: np.ndarray) -> np.ndarray:
    """Where PD motors with torque limits bring the joints to rest: the mass matrix of the compiler, no engine."""
    model, tree = env.model, tree_of("g1_dex3")
    names = [body.joint.name for body in tree.bodies if body.joint is not None]
    where = np.array([names.index(name) for name in model.joint_names])
    whole = np.zeros(len(names))
    whole[where] = angles
    mass = mass_matrix(tree, whole)[6:, 6:][np.ix_(where, where)]
    q, v, anchor, step = angles.copy(), speeds.copy(), angles.copy(), 1e-4
    for _ in range(6000):
        torque = np.clip(model.kp * (anchor - q) - model.kd * v, -model.effort_limit, model.effort_limit)
        drag = np.clip(20.0 * model.friction * v, -model.friction, model.friction)
        v = v + step * np.linalg.solve(mass, torque - drag)
        q = q + step * v
        anchor = np.where((anchor - q) * v > 0, q, anchor)
    return q


def test_a_stop_takes_the_way_that_its_motors_need(alone: HumanoidEnv):
    """Time and distance of an emergency stop, against a calculation with the mass matrix and the motors' gains."""
    env = alone
    angles, speeds = brake(env)
    stop = env.task.monitor.watched.stop  # type: ignore[union-attr]
    assert stop is not None and stop.emergency and stop.cause == "workspace"
    arms = np.array([i for i, name in enumerate(env.model.joint_names) if "shoulder_pitch" in name])
    assert np.abs(speeds[arms]).max() > 1.0
    expected = estimate(env, angles, speeds)
    moved, wanted = env.robot.joint_position[arms] - angles[arms], expected[arms] - angles[arms]
    assert moved == pytest.approx(wanted, rel=0.2, abs=0.01)
    assert stop.time is not None and 0.05 <= stop.time <= 0.4  # what the separation counts on
    ways = []
    for hand in env.model.hands:
        chain = Chain(env.model, hand.grip or hand.frame)
        ends = [chain.pose(all_of[chain.indices]).position for all_of in (angles, expected)]
        ways.append(math.dist(*ends))
    assert stop.distance == pytest.approx(max(ways), rel=0.2)


def test_a_robot_that_is_stopped_stays_where_it_is(alone: HumanoidEnv):
    env = alone
    brake(env)
    monitor = env.task.monitor
    assert monitor is not None
    before = [env.robot.frame(hand.grip).position for hand in env.model.hands if hand.grip]
    for _ in range(100):
        _, _, terminated, _, info = env.step(-reaching(env))
        assert not terminated and not info["success"]
    after = [env.robot.frame(hand.grip).position for hand in env.model.hands if hand.grip]
    assert max(math.dist(a, b) for a, b in zip(before, after, strict=True)) < 0.002
    measured = monitor.metrics()
    assert measured["emergency_stops"] == 1 and measured["workspace"] > 0
    assert measured["stop_time"] > 0 and measured["stop_distance"] > 0


def test_the_red_button_stops_the_robot_whatever_it_does(visited: HumanoidEnv):
    env = visited
    env.reset(seed=1)
    for _ in range(3):
        env.step(reaching(env))
    env.task.monitor.emergency_stop()  # type: ignore[union-attr]
    terminated, info = False, {}
    while not terminated and env.steps < 100:
        *_, terminated, _, info = env.step(reaching(env))
    assert terminated and info["failure"] == "unsafe" and not info["success"]
    assert info["metrics"]["emergency_stops"] == 1 and info["metrics"]["stop_time"] <= 0.4


def test_a_contact_near_its_limit_is_warned_of(tmp_path: Path):
    """From four fifths of a limit on; beyond it the robot is stopped."""
    env = bay(tmp_path, {"at": FAR}, safety={"stops": ["contact"]})
    env.reset(seed=0)
    monitor = env.task.monitor
    assert monitor is not None
    for share, state in ((0.3, "ok"), (0.9, "warning"), (1.1, "stopped")):
        monitor.watched.touches.now = share
        monitor.judge(env.outcome)
        assert monitor.watched.state == state and monitor.watched.touches.now == 0.0
    env.close()


def test_a_contact_beyond_its_limit_is_unsafe(tmp_path: Path):
    """A person walks with the head into the robot's hand: an emergency stop, a failure, and the region that was hit."""
    walk = {"to": [0.42, 0.138, 0], "speed": 1.6}
    high = {"shoulder_height": 1.84}  # a hand as high as a head
    env = bay(tmp_path, {"at": [2.0, 0.138, 0], "walks": walk}, cell=high, safety={"stops": ["contact"]})
    env.reset(seed=0)
    info: dict[str, Any] = {}
    terminated = False
    while not terminated and env.steps < 300:
        *_, terminated, _, info = env.step(still(env))
    assert terminated and info["failure"] == "unsafe"
    measured = info["metrics"]
    assert measured["emergency_stops"] == 1 and measured["protective_stops"] == 0
    assert measured["contact_skull"] > 1.0 and measured["force_skull"] == pytest.approx(130 * measured["contact_skull"])
    assert measured["least_separation"] < 0.005
    env.close()


def test_a_protective_stop_ends_where_the_person_has_gone(visited: HumanoidEnv):
    """The robot reaches out, is held while a person is near, and catches up slowly afterwards."""
    env = visited
    env.reset(seed=0)
    states, targets = [], []
    for k in range(250):
        side = 1.0 if (k // 25) % 2 else 0.3  # it never rests
        env.step(reaching(env, 0.25 * side))
        states.append(env.frame()["safety_state"].item())
        targets.append(env.target.copy())
    monitor = env.task.monitor
    assert monitor is not None
    assert monitor.watched.stops.get("separation", 0) >= 1 and not monitor.stopped
    first, last = states.index(2.0), len(states) - 1 - states[::-1].index(2.0)
    assert 0.5 < (last - first) * env.control_timestep < 3.0 and states[-1] == 0.0
    steps = np.abs(np.diff(targets, axis=0))[last + 1 : last + 5]
    assert steps.max() <= 0.5 * env.control_timestep + 1e-9
    assert monitor.metrics()["stop_time"] <= 0.4
    assert monitor.watched.least_separation > 0.0


def test_a_robot_at_rest_is_warned_and_not_stopped(visited: HumanoidEnv):
    env = visited
    env.reset(seed=0)
    seen = set()
    for _ in range(150):
        env.step(still(env))
        seen.add(env.task.monitor.watched.state)  # type: ignore[union-attr]
    assert seen == {"ok", "warning"}


# ---- people who walk -------------------------------------------------------------------------------------------------


def test_a_person_walks_as_the_cell_says(visited: HumanoidEnv):
    env = visited
    _, info = env.reset(seed=3)
    off = info["randomisation"]["cell"]["person"]["sets_off"]
    assert 0.1 <= off <= 0.4
    person = env.task.place.persons[0]  # type: ignore[attr-defined]
    there = off + 3.0 / 1.6
    for _ in range(280):
        env.step(still(env))
        now = env.steps * env.control_timestep
        gone = min(max(now - off, 0.0), 3.0 / 1.6) - min(max(now - there - 0.6, 0.0), 3.0 / 1.6)
        assert person.state.position[0] == pytest.approx(4.0 - 1.6 * gone, abs=1e-4)
    assert person.state.position[0] == pytest.approx(4.0, abs=1e-4)
    assert env.task.metrics()["event_person"] == off


def test_who_has_not_set_off_is_no_event(visited: HumanoidEnv):
    env = visited
    env.reset(seed=3)
    env.step(still(env))
    assert not env.task.metrics()


def test_chance_says_in_how_many_episodes(tmp_path: Path):
    env = bay(tmp_path, {"at": FAR, "walks": {**WALK, "chance": 0.4}})
    drawn = [env.reset(seed=seed)[1]["randomisation"]["cell"] for seed in range(60)]
    walks = sum("sets_off" in one.get("person", {}) for one in drawn)
    assert 14 <= walks <= 34
    env.close()


def worked(env: HumanoidEnv, seed: int) -> dict[str, Any]:
    """Let the expert work through an episode; return its last info."""
    expert, ended, info = load_policy("expert"), False, {}
    observation, _ = env.reset(seed=seed)
    expert.reset(env)
    while not ended:
        observation, _, terminated, truncated, info = env.step(expert.act(np.asarray(observation)))
        ended = terminated or truncated
    return info


@pytest.mark.slow
def test_an_expert_waits_for_a_visitor_and_then_goes_on(monkeypatch: pytest.MonkeyPatch):
    """At the tray station somebody steps up to the other side of the bench, and goes again after 2 s."""
    plain = load_cell("tray_station").model_dump()
    walks = {"to": [1.15, 0, 0], "at_s": [1, 4], "stays_s": 2.0}
    plain["items"]["person"] = {"part": "person", "at": [3.5, 0, 0], "rpy": FACING, "fixed": True, "walks": walks}
    spec = CellSpec.model_validate(plain)
    monkeypatch.setattr("training_ground.envs.cell_task.load_cell", lambda name: spec)
    env = make("TrayToTray", episode_length_s=25.0)
    info = worked(env, 2)
    measured = info["metrics"]
    assert info["success"] and measured["protective_stops"] >= 1 and measured["emergency_stops"] == 0
    assert measured["least_separation"] > 0.3 and measured["cycle_time"] > 9.0  # 8.1 s without
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TrayToTray", "PegInHole"])
def test_experts_wait_for_who_steps_up_to_a_shipped_cell(name: str):
    env = make(name, tier="disturbed")
    info = worked(env, 1_000_003)
    measured = info["metrics"]
    assert info["success"] and measured["protective_stops"] >= 1 and measured["emergency_stops"] == 0
    assert 0.3 < measured["least_separation"] < 0.67 and measured["event_person"] < measured["cycle_time"]
    env.close()


# ---- what must hold --------------------------------------------------------------------------------------------------


def test_a_visit_repeats_bit_for_bit(visited: HumanoidEnv):
    env = visited
    chosen = actions(env, 160, seed=1)
    runs = []
    for _ in range(2):
        env.reset(seed=2)
        runs.append(advance(env, chosen))
    assert runs[0] == runs[1] and len(runs[0]) == 160


@pytest.mark.parametrize("kept_after", [40, 95, 130])
def test_a_visit_goes_on_after_restore(visited: HumanoidEnv, kept_after: int):
    """From before the person comes, from a stop, and from while it lasts."""
    env = visited
    env.reset(seed=2)
    for k in range(kept_after):
        env.step(reaching(env, 0.25 if (k // 25) % 2 else 0.075))
    kept = env.save()
    chosen = 0.5 * actions(env, 60, seed=5)
    first = advance(env, chosen)
    assert len(first) == 60
    env.reset(seed=7)
    advance(env, chosen[:20])
    env.restore(kept)
    assert advance(env, chosen) == first


def test_steps_one_by_one_have_the_bits_of_steps_in_a_row(alone: HumanoidEnv):
    """A person lets the world advance by single physics steps, to see every one."""
    env = alone
    chosen = 0.2 * actions(env, 30, seed=3)
    env.reset(seed=1)
    first = advance(env, chosen)
    env.world.substeps.each.append(lambda: None)
    env.reset(seed=1)
    assert advance(env, chosen) == first
    env.world.substeps.each.clear()


def test_a_cell_without_a_person_keeps_its_channels():
    env = make("PressButton")
    names = [channel.name for channel in env.channels]
    assert not {"separation", "safety_state", "contact_share"} & set(names)
    env.reset(seed=0)
    assert not env.world.substeps.each and env.config.physics_timestep == 0.002
    for _ in range(5):
        env.step(still(env))
    measured = env.task.monitor.metrics()  # type: ignore[union-attr]
    assert set(measured) == {"joint_limit", "torque_limit"} and 0 < measured["joint_limit"] <= 1
    env.close()


@pytest.mark.parametrize("control", ["joint_delta", "joint_torque"])
def test_other_controls_are_stopped_as_well(control: str, tmp_path: Path):
    box = {"low": [-1, -1, 0], "high": [0.1, 1, 2]}  # the hands are out of it from the beginning
    safety = {"stops": ["workspace"]}
    env = bay(tmp_path, None, cell={"workspace": box}, safety=safety, control=control)
    env.reset(seed=0)
    terminated, info = False, {}
    while not terminated and env.steps < 200:
        *_, terminated, _, info = env.step(0.3 * actions(env, 1, seed=env.steps)[0])
    assert terminated and info["failure"] == "unsafe" and info["metrics"]["stop_time"] < 0.6
    env.close()


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "options", "message"),
    [
        ({}, {"physics_timestep": 0.002}, r"physics_timestep = 0\.002: must be at most 0\.001 s .*'person'"),
        ({"fixed": False}, {}, "'person' is a person: it must be 'fixed'"),
        ({"walks": {**WALK, "speed": 9.0}}, {}, r"walks\.speed = 9\.0"),
        ({"walks": {**WALK, "at_s": [2, 1]}}, {}, "at_s = .*must not exceed"),
        ({"walks": WALK, "fixed": False}, {}, "walks: only an item that is 'fixed'"),
        ({"walks": {**WALK, "to": [0, -2.4, 0]}}, {}, "'bench' and 'person' overlap"),
        ({}, {"safety": {"stops": ["noise"]}}, "stops"),
        ({}, {"safety": {"stopping": 1}}, "stopping_s"),
    ],
)
def test_what_cannot_be_is_refused(person: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(Exception, match=message) as raised:
        bay(tmp_path, {"rpy": FACING, **person}, **options)
    assert type(raised.value).__name__ in ("SimulationError", "AssetError")


def test_a_workspace_is_a_box(tmp_path: Path):
    with pytest.raises(Exception, match="low must be below high"):
        bay(tmp_path, None, cell={"workspace": {"low": [0, 0, 1], "high": [1, 1, 1]}})


def test_only_what_is_fixed_can_be_moved(alone: HumanoidEnv):
    env = make("TrayToTray")
    with pytest.raises(SimulationError, match="'cell' is not fixed"):
        env.task.place.things["cell"].move((0, 0, 1), (0, 0, 0, 1), (0, 0, 0))  # type: ignore[attr-defined]
    env.close()

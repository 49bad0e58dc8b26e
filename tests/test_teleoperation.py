"""Teleoperation: the policy that follows targets, the desk that keeps episodes, the page, and `tg teleop`."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_ground.agents.experts.arm import pose_of
from training_ground.agents.experts.catalog import find_expert
from training_ground.agents.experts.expert import around, back
from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.agents.recording import recorded_seeds
from training_ground.agents.teleoperation.desk import Desk
from training_ground.agents.teleoperation.glide import Glide
from training_ground.agents.teleoperation.limb import RAMP_S
from training_ground.agents.teleoperation.states import FASTEST
from training_ground.agents.teleoperation.teleoperator import Teleoperator
from training_ground.assets.poses import Array, Pose, rotation_about
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError, DatasetError
from training_ground.datasets.replay import replay
from training_ground.datasets.schema import PolicyInfo
from training_ground.datasets.store import Store
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make

SIDEWAYS = np.array([0.0, -1.0, 0.0])


@pytest.fixture(scope="module")
def env() -> Iterator[HumanoidEnv]:
    env = make("Reach", robot="g1_dex3", stance="mounted", episode_length_s=60.0)
    yield env
    env.close()


@pytest.fixture(scope="module")
def cell() -> Iterator[HumanoidEnv]:
    env = make("PressButton", episode_length_s=60.0)
    yield env
    env.close()


def begin(env: HumanoidEnv, seed: int = 3) -> Teleoperator:
    env.reset(seed=seed)
    teleoperator = Teleoperator()
    teleoperator.reset(env)
    return teleoperator


def play(env: HumanoidEnv, teleoperator: Teleoperator, seconds: float) -> Array:
    """Let time pass; return the joint angles that were asked for in each control step (t, n)."""
    rows = []
    for _ in range(round(seconds / env.control_timestep)):
        env.step(teleoperator.act(np.zeros(0, np.float32)))
        rows.append(teleoperator.wanted.copy())
    return np.array(rows)


def moved(pose: Pose, *shift: float) -> Pose:
    return Pose(pose.rotation, pose.position + np.array(shift))


# ---- the policy ------------------------------------------------------------------------------------------------------


def test_a_hand_goes_to_its_target_within_millimetres_and_no_faster_than_allowed(cell: HumanoidEnv):
    env, teleoperator = cell, begin(cell)
    start = teleoperator.hand("right").planned
    turned = rotation_about(np.array([0.0, 0.0, 1.0]), -0.3) @ start.rotation
    goal = Pose(turned, start.position + np.array([0.02, -0.1, 0.12]))
    teleoperator.aim("right", goal)
    rows = play(env, teleoperator, 2.5)
    state = teleoperator.hand("right")
    here = pose_of(env.robot.frame(env.model.hands[1].grip or ""))
    assert state.reach == "there" and state.distance < 5e-4
    assert np.linalg.norm(here.position - goal.position) < 0.002, "where the simulation has the hand"
    limb = teleoperator._limbs["right"]
    places = [limb.planned(row).position for row in rows]
    paces = np.linalg.norm(np.diff(places, axis=0), axis=1) / env.control_timestep
    assert 0.8 * FASTEST < paces.max() < 1.01 * FASTEST
    assert np.abs(np.diff(paces)).max() < 1.4 * FASTEST / RAMP_S * env.control_timestep, "it speeds up without a jerk"


def test_the_other_hand_stays_where_it_is_while_the_trunk_comes_along(cell: HumanoidEnv):
    env, teleoperator = cell, begin(cell)
    left, right = (teleoperator.hand(side).planned for side in ("left", "right"))
    teleoperator.give_trunk("right")
    teleoperator.aim("right", moved(right, -0.05, -0.3, 0.15))
    rows = play(env, teleoperator, 3.0)
    trunk = [env.model.joint_names.index(name) for name in env.model.groups["trunk"]]
    assert np.abs(rows[-1, trunk] - rows[0, trunk]).max() > 0.05, "the trunk has moved"
    assert np.linalg.norm(teleoperator.hand("left").planned.position - left.position) < 1e-3


def test_what_cannot_be_reached_stays_asked_for_and_the_arm_goes_as_near_as_it_can(cell: HumanoidEnv):
    env, teleoperator = cell, begin(cell)
    start = teleoperator.hand("right").planned
    limb = teleoperator._limbs["right"]
    goal = moved(start, *(2.0 * SIDEWAYS))
    teleoperator.aim("right", goal)
    rows = play(env, teleoperator, 5.0)
    state = teleoperator.hand("right")
    assert state.reach == "out of reach" and state.target is goal
    chain, base = limb._alone["grip"], pose_of(env.robot.base)
    shoulder = base.points(chain.root[None])[0]
    assert state.distance > float(np.linalg.norm(goal.position - shoulder)) - chain.length, "geometry"
    assert state.distance < 2.0 - 0.15 and state.angle < 0.03, "nearer than it was, turned as it should be"
    onwards = (goal.position - state.planned.position) / state.distance
    for metres, reached in ((-0.02, True), (0.02, False)):
        there = Pose(goal.rotation, state.planned.position + metres * onwards)
        found = solve(chain, base.inverse() @ there, teleoperator.wanted[chain.indices], orientation_tolerance=0.03)
        assert found.reached is reached, f"{1000 * metres:g} mm nearer"
    assert (rows >= env.model.lower - 1e-9).all() and (rows <= env.model.upper + 1e-9).all()
    fastest = teleoperator._glide.fastest * env.control_timestep
    assert (np.abs(np.diff(rows, axis=0)) <= fastest + 1e-9).all()
    teleoperator.aim("right", start)
    play(env, teleoperator, 5.0)
    assert teleoperator.hand("right").reach == "there", "it comes back from where it was stretched"


def test_what_is_in_the_way_is_pushed_with_bounded_force(env: HumanoidEnv):
    teleoperator = begin(env)
    teleoperator.aim("right", moved(teleoperator.hand("right").planned, 0.0, 0.6, 0.0))  # through its own body
    rows = play(env, teleoperator, 3.0)
    gap = np.abs(rows[-1] - env.robot.joint_position)[teleoperator._moves]
    assert (gap <= teleoperator._lead[teleoperator._moves] + 0.05).all()
    assert teleoperator.hand("right").lag > 0.02, "it is told where it is held back"


def test_fingers_close_and_open_and_the_tip_takes_over(cell: HumanoidEnv):
    env, teleoperator = cell, begin(cell)
    hand = env.model.hands[0]
    fingers = [env.model.joint_names.index(name) for name in hand.fingers]
    teleoperator.close("left", 1.0)
    rows = play(env, teleoperator, 1.0)
    np.testing.assert_allclose(rows[-1, fingers], hand.closed, atol=1e-6)
    assert 0.1 < np.argmax(np.all(np.isclose(rows[:, fingers], hand.closed), axis=1)) * env.control_timestep < 0.8
    teleoperator.close("left", 0.5)
    rows = play(env, teleoperator, 1.0)
    np.testing.assert_allclose(rows[-1, fingers], (np.array(hand.open) + hand.closed) / 2, atol=1e-6)
    before = rows[-1]
    teleoperator.point("left", True)
    rows = play(env, teleoperator, 1.0)
    np.testing.assert_allclose(rows[-1, fingers], hand.pointing, atol=1e-6)
    others = np.setdiff1d(np.arange(len(before)), fingers)
    np.testing.assert_allclose(rows[-1, others], before[others], atol=2e-3, err_msg="the arm stays")


def test_sliders_move_joints_and_what_was_asked_last_counts(env: HumanoidEnv):
    teleoperator = begin(env)
    elbow = env.model.joint_names.index("right_elbow_joint")
    goal = float(teleoperator.wanted[elbow]) + 0.4
    teleoperator.bend("right_elbow_joint", goal)
    rows = play(env, teleoperator, 1.5)
    assert rows[-1, elbow] == pytest.approx(goal) and teleoperator.hand("right").reach == "sliders"
    assert teleoperator.hand("left").reach == "there", "the other hand keeps its target"
    teleoperator.aim("right", moved(teleoperator.hand("right").planned, 0.0, 0.0, 0.05))
    rows = play(env, teleoperator, 1.5)
    assert teleoperator.hand("right").reach == "there" and abs(rows[-1, elbow] - goal) > 0.01
    teleoperator.give_trunk("left")
    teleoperator.bend("waist_yaw_joint", 0.2)
    assert teleoperator.trunk is None


def test_joints_on_their_way_stop_where_they_should():
    glide = Glide(np.full(2, 1.5), np.full(2, 7.5), 0.02)
    now, rows = np.zeros(2), []
    for step in range(120):
        now = glide.step(now, np.array([1.0, 0.0 if step < 10 else -0.013]))
        rows.append(now)
    path = np.array(rows)
    assert np.array_equal(path[-1], [1.0, -0.013]) and path[:, 0].max() <= 1.0
    speed = np.diff(path, axis=0) / 0.02
    assert np.abs(speed).max() <= 1.5 + 1e-9 and np.abs(np.diff(speed[:, 0])).max() <= 1.15 * 7.5 * 0.02


def test_targets_may_come_from_other_threads_while_it_acts(env: HumanoidEnv):
    teleoperator = begin(env)
    start, done = teleoperator.hand("right").planned, threading.Event()

    def drag() -> None:
        number = 0
        while not done.is_set():
            number += 1
            teleoperator.aim("right", moved(start, 0.0, 0.0, 0.03 * np.sin(number)))
            teleoperator.close("right", number % 2)
            teleoperator.bend("left_elbow_joint", float(teleoperator.wanted[22]))

    threads = [threading.Thread(target=drag) for _ in range(2)]
    for thread in threads:
        thread.start()
    play(env, teleoperator, 0.5)
    done.set()
    for thread in threads:
        thread.join(10)
    teleoperator.aim("right", start)
    play(env, teleoperator, 1.0)
    assert teleoperator.hand("right").reach == "there"
    assert teleoperator.latency_s is not None and 0.0 <= teleoperator.latency_s < 5.0


def test_it_waits_while_the_safety_monitor_holds_the_robot():
    env = make("PressButton")
    try:
        teleoperator = begin(env)
        teleoperator.aim("right", moved(teleoperator.hand("right").planned, 0.0, -0.1, 0.0))
        assert env.task.monitor is not None
        env.task.monitor.emergency_stop()
        rows = play(env, teleoperator, 0.2)
        assert (rows == rows[0]).all()
    finally:
        env.close()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.aim("middle", Pose()), "unknown hand 'middle'"),
        (lambda t: t.aim("left", Pose(np.eye(3), np.array([0.0, np.nan, 0.0]))), "not finite"),
        (lambda t: t.close("left", 1.5), "allowed are 0"),
        (lambda t: t.bend("left_elbow", 0.0), "did you mean 'left_elbow_joint'"),
        (lambda t: t.bend("left_elbow_joint", 9.0), "must lie within"),
        (lambda t: t.bend("left_hand_thumb_0_joint", 0.0), "to be moved"),
        (lambda t: t.hasten(1.0), "up to 0.25"),
        (lambda t: t.give_trunk("both"), "unknown hand 'both'"),
    ],
)
def test_what_cannot_be_asked_is_refused(env: HumanoidEnv, ask: Callable[[Teleoperator], None], message: str):
    with pytest.raises(AgentError, match=message):
        ask(begin(env))


def test_nothing_is_asked_before_an_episode():
    with pytest.raises(AgentError, match="reset"):
        Teleoperator().aim("left", Pose())


# ---- the desk --------------------------------------------------------------------------------------------------------


def press(desk: Desk) -> None:
    """Press the button that the task names, by targets for a hand alone, as a person would drag them."""
    env, teleoperator = desk.session.env, desk.teleoperator
    task: Any = env.task
    button = pose_of(task.place.frame(f"panel.{task.goal}"))
    side = "left" if button.position[1] > 0 else "right"
    expert = find_expert("PressButton")()
    expert.reset(env)
    expert.arms[side].use("tip")
    options = [back(one, -0.03) for one in around(button, 12)]
    front = back(expert.choose(side, options, to="the button", clear=0.11), 0.03)
    teleoperator.point(side, True)
    teleoperator.give_trunk(side)

    def drag(begin: float, end: float, until: Callable[[], bool], metres_per_s: float = 0.05) -> None:
        count = round(abs(end - begin) / metres_per_s / env.control_timestep)
        for i in range(count):
            teleoperator.aim(side, back(front, begin + (end - begin) * (i + 1) / count))
            if desk.step() or until():
                return

    teleoperator.aim(side, back(front, 0.08))
    for _ in range(200):
        if desk.step() or teleoperator.hand(side).reach == "there":
            break
    drag(0.08, -0.03, lambda: task.travel(f"panel.{task.goal}") > 0.9)
    teleoperator.aim(side, back(front, 0.1))
    for _ in range(150):
        if desk.step():
            break


@pytest.mark.slow
def test_an_episode_by_hand_is_kept_with_the_tasks_verdict_and_replays_bit_for_bit(tmp_path: Path):
    env = make("PressButton", episode_length_s=30.0)
    try:
        desk = Desk(env, tmp_path / "store", operator="ann", seed=0)
        desk.go()
        press(desk)
        assert desk.session.ended and not desk.running
        with pytest.raises(AgentError, match="over"):
            desk.go()
        done = desk.save()
        assert (done.success, done.failure, done.complete, done.seed) == (True, None, True, 0)
        assert desk.session.seed == 1 and not desk.begun
        for _ in range(20):
            desk.step()
        assert desk.save().success is False, "ended by hand before anything was pressed"
        for _ in range(5):
            desk.step()
        desk.discard(again=True)
        assert (desk.session.seed, desk.discarded) == (2, 1)
        with pytest.raises(AgentError, match="nothing to save"):
            desk.save()
    finally:
        env.close()
    store = Store.open(tmp_path / "store")
    assert store.verify().ok and len(store) == 2
    for number, complete in ((0, True), (1, False)):
        episode = store.read(number)
        assert episode.metadata.policy == PolicyInfo(name="teleoperation", operator="ann")
        assert episode.metadata.complete is complete
        report = replay(episode, store.schema)
        assert report.identical, report


def test_seeds_that_are_there_are_left_out_and_a_store_of_something_else_is_refused(env: HumanoidEnv, tmp_path: Path):
    desk = Desk(env, tmp_path / "store", seed=4)
    desk.step()
    desk.save()
    desk.step()
    desk.discard()
    assert desk.session.seed == 6
    again = Desk(env, tmp_path / "store", seed=3)
    assert again.session.seed == 3
    again.step()
    again.save()
    assert again.session.seed == 5, "4 is there"
    info = PolicyInfo(name="teleoperation")
    assert recorded_seeds(Store.open(tmp_path / "store"), env, info, complete=False) == {3, 4}
    assert recorded_seeds(Store.open(tmp_path / "store"), env, info) == set(), "both were ended by hand"
    other = make("Reach", robot="g1", stance="mounted")
    try:
        with pytest.raises(DatasetError, match="does not fit"):
            Desk(other, tmp_path / "store")
    finally:
        other.close()
    with pytest.raises(AgentError, match="operator"):
        Desk(env, tmp_path / "other", operator="x" * 500)
    assert not (tmp_path / "other").exists()


def test_metadata_without_an_operator_is_as_it_always_was():
    assert PolicyInfo(name="zero").model_dump(mode="json") == {"name": "zero", "hash": None}
    assert PolicyInfo.model_validate({"name": "zero", "hash": None}).operator is None
    assert PolicyInfo(name="zero", operator="b").model_dump(mode="json")["operator"] == "b"


# ---- the page --------------------------------------------------------------------------------------------------------


class Browser:
    """Speaks with a page's server as the page in a browser does."""

    def __init__(self, port: int) -> None:
        import viser
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        protocol = Subprotocol(f"viser-v{viser.__version__}")
        self._connection = connect(f"ws://127.0.0.1:{port}", subprotocols=[protocol], max_size=None)
        self.bytes = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        view = {"wxyz": (1.0, 0.0, 0.0, 0.0), "position": (0.0, -2.0, 1.0), "look_at": (0.0, 0.0, 1.0)}
        size = {"fov": 1.0, "near": 0.1, "far": 100.0, "image_height": 600, "image_width": 800}
        self._send(type="ViewerCameraMessage", **view, **size, up_direction=(0.0, 0.0, 1.0))

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self.bytes += len(self._connection.recv())
        except ConnectionClosed:
            pass

    def _send(self, **message: Any) -> None:
        import msgspec

        self._connection.send(msgspec.msgpack.encode(message))

    def drag(self, handle: Any, position: Array) -> None:
        """Move a gizmo, as it is turned."""
        at = {"wxyz": tuple(float(x) for x in handle.wxyz), "position": tuple(position.tolist())}
        self._send(type="TransformControlsUpdateMessage", name=handle.name, **at, owner="")

    def use(self, control: Any, value: Any = True) -> None:
        self._send(type="GuiUpdateMessage", uuid=control._impl.uuid, updates={"value": value})

    def close(self) -> None:
        self._connection.close()
        self._reader.join(5)


def wait(condition: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


@pytest.mark.slow
def test_the_page_moves_the_hand_and_keeps_the_episode(env: HumanoidEnv, tmp_path: Path):
    pytest.importorskip("viser")
    from training_ground.agents.teleoperation import page
    from training_ground.agents.viewing.browser import close_server, open_server

    desk = Desk(env, tmp_path / "store", operator="ann", seed=7)
    server = open_server(8490)
    view = page.Page(server, desk)
    thread = threading.Thread(target=view.serve)
    thread.start()
    browser = Browser(server.get_port())
    try:
        controls, gizmo = view.controls, view.gizmos["right"]
        wait(lambda: bool(server.get_clients()) and browser.bytes > 100_000, "the page has its scene")
        time.sleep(0.2)
        assert not desk.begun, "time stands still until it is started"
        browser.use(controls.go)
        wait(lambda: desk.session.time > 0.1, "time goes by")
        goal = np.add(gizmo.handle.position, (0.0, -0.04, 0.08))
        browser.drag(gizmo.handle, goal)
        wait(
            lambda: np.allclose(desk.teleoperator.hand("right").planned.position, goal, atol=3e-3), "the hand is there"
        )
        np.testing.assert_allclose(gizmo.handle.position, goal, atol=1e-9, err_msg="the gizmo stays where it was put")
        browser.use(controls.closed["right"], 1.0)
        wait(lambda: desk.teleoperator.hand("right").closed == 1.0, "the fingers are told to close")
        browser.drag(gizmo.handle, goal + np.array([3.0, 0.0, 0.0]))
        wait(lambda: "out of reach" in controls.hand_text["right"].content, "it says that it cannot get there")
        browser.use(controls.joints["left_elbow_joint"], float(controls.joints["left_elbow_joint"].value) + 0.1)
        wait(lambda: desk.teleoperator.hand("left").reach == "sliders", "the slider takes over")
        browser.use(controls.go)
        wait(lambda: not desk.running, "time stands still again")
        browser.use(controls.keep)
        wait(lambda: len(desk.saved) == 1, "the episode is saved")
        wait(lambda: "1 saved" in controls.status.content, "and the page says so")
        browser.use(controls.stop)
        thread.join(30)
        assert not thread.is_alive()
    finally:
        view.controls.stopped = True
        browser.close()
        thread.join(30)
        close_server(server)
    report = replay(Store.open(tmp_path / "store").read(0), Store.open(tmp_path / "store").schema)
    assert report.identical and report.steps > 10


# ---- the verb --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Reech"], "did you mean 'Reach'"),
        (["Reach", "--robot", "g1_legs"], "has no hands"),
        (["Walk"], "robot 'g1'"),
        (["Reach", "--stance", "free"], "stance 'mounted'"),
        (["Reach", "--control", "joint_torque"], "needs control 'joint_position'"),
        (["Reach", "--operator", ""], "operator"),
    ],
)
def test_teleop_refuses_what_it_cannot_do(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("viser")
    store = tmp_path / "store"
    assert main(["teleop", *arguments, "--out", str(store), "--port", "8491"]) == 2
    assert message in capsys.readouterr().err
    assert not store.exists(), "nothing is left behind"


def test_teleop_refuses_a_port_in_use_and_a_folder_of_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("viser")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["teleop", "Reach", "--out", str(tmp_path / "store"), "--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("x")
    assert main(["teleop", "Reach", "--out", str(tmp_path), "--port", "8492"]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_an_interruption_keeps_what_was_saved_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("viser")
    from training_ground.agents.teleoperation.page import Page

    def serve(self: Page) -> None:
        desk = self.controls.desk
        for _ in range(5):
            desk.step()
        desk.save()
        desk.step()
        raise KeyboardInterrupt

    monkeypatch.setattr(Page, "serve", serve)
    store = tmp_path / "store"
    arguments = ["teleop", "Reach", "--robot", "g1", "--out", str(store), "--operator", "ann", "--port", "8493"]
    assert main([*arguments, "--seed", "5", "--set", "episode_length_s=30", "--json"]) == 130
    result = json.loads(capsys.readouterr().out)
    assert (result["interrupted"], result["not_saved"], result["operator"]) == (True, 1, "ann")
    assert [one["seed"] for one in result["saved"]] == [5]
    kept = Store.open(store)
    assert kept.episodes() == [0] and kept.metadata(0).kwargs["episode_length_s"] == 30 and kept.verify().ok

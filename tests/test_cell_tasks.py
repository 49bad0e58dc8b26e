"""What tasks in cells judge: each success, each failure, brought about by hand, without a robot that works."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from rollouts import actions, advance, frame_digest

from training_ground.configs.errors import SimulationError
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.iso9283 import pose_accuracy, pose_repeatability
from training_ground.envs.registration import make, tasks

ON_ITS_SIDE = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))
UPRIGHT = (0.0, 0.0, 0.0, 1.0)

_open: dict[str, HumanoidEnv] = {}


@pytest.fixture(scope="module", autouse=True)
def _closing() -> Iterator[None]:
    yield
    for env in _open.values():
        env.close()
    _open.clear()


def begin(name: str, seed: int = 5) -> tuple[HumanoidEnv, Any]:
    """An environment at the start of an episode, and its task."""
    env = _open.setdefault(name, make(name)) if name not in _open else _open[name]
    env.reset(seed=seed)
    return env, env.task


def watch(env: HumanoidEnv, seconds: float) -> dict[str, Any]:
    """Let time pass, the robot in its place, at most until the episode's end."""
    info: dict[str, Any] = {}
    for _ in range(round(seconds / env.control_timestep)):
        *_, terminated, truncated, info = env.step(np.zeros(env.action.shape, np.float32))
        if terminated or truncated:
            break
    return info


def put(task: CellTask, item: str, frame: str, shift: Sequence[float] = (0.0, 0.0, 0.001), turn: Any = UPRIGHT) -> None:
    """Put an item on a frame, shifted in the world."""
    place = task.place.frame(frame).position
    task.place.things[item].place(tuple(a + b for a, b in zip(place, shift, strict=True)), turn)


def test_every_task_in_a_cell_is_judged_here():
    judged = {"BinPick", "BeltPick", "BeltPlace", "HandToHand", "KitOrder", "LatchConnector", "OpenDrawer", "OpenDoor",
              "PegInHole", "PipeSort", "PoseSet", "RestockShelf", "SortDefects", "TendPress", "TrayToTray",
              "TurnValve"}  # fmt: skip
    elsewhere = {"PressButton", "HandToPerson"}  # test_cells.py, test_receiving.py
    assert {name for name, kind in tasks().items() if issubclass(kind, CellTask)} == judged | elsewhere


# ---- what all share --------------------------------------------------------------------------------------------------


def test_an_episode_ends_early_once_success_has_lasted_and_tells_its_cycle_time():
    env, task = begin("PegInHole")
    watch(env, 0.2)
    put(task, "pin", "block.bottom")
    ended, info = False, {}
    while not ended:
        *_, terminated, ended, info = env.step(np.zeros(env.action.shape, np.float32))
        assert not terminated
    assert info["success"] and 0.7 <= info["metrics"]["cycle_time"] < 1.0
    assert env.steps * env.control_timestep == pytest.approx(info["metrics"]["cycle_time"] + 0.5, abs=0.05)


def test_a_sparse_reward_is_one_where_success_holds_and_changes_nothing_else():
    envs = [make("PegInHole", reward=reward) for reward in ("shaped", "sparse")]
    for env in envs:
        env.reset(seed=5)
        put(env.task, "pin", "block.bottom")  # type: ignore[arg-type]
    rewards: list[float] = []
    for _ in range(50):
        (_, shaped, *_, one), (_, sparse, *_, other) = (
            env.step(np.zeros(env.action.shape, np.float32)) for env in envs
        )
        assert one["success"] == other["success"] and other["reward_terms"] == {"success": sparse}
        assert 0 < shaped <= 1
        rewards.append(sparse)
    assert rewards == sorted(rewards) and set(rewards) == {0.0, 1.0}
    first, second = (env.frame() for env in envs)
    assert second["reward_success"] == 1 and {name for name in first if name not in second} == {
        f"reward_{term}" for term in envs[0].task.terms
    }
    assert all(np.array_equal(first[name], second[name]) for name in second if not name.startswith("reward"))
    for env in envs:
        env.close()


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("PressButton", {"green": "start", "blue": "reset", "red": "stop"}),
        ("BinPick", {"standing block": "block", "cylinder": "round", "lying block": "bar"}),
    ],
)
def test_an_episode_says_in_words_what_it_asks_for(name, drawn):
    seen = set()
    for seed in range(12):
        env, task = begin(name, seed)
        (word,) = [word for word in drawn if word in env.reset(seed=seed)[1]["instruction"]]
        assert drawn[word] == task.goal
        seen.add(word)
    assert seen == set(drawn)


def test_an_order_and_an_angle_are_said_in_words():
    _, task = begin("KitOrder")
    task.state.values["order"] = ["block", "round", "bar"]
    assert "the standing block, the cylinder and the lying block" in task.asked
    task.state.values["order"] = ["bar"]
    assert "the lying block" in task.asked and "cylinder" not in task.asked
    _, task = begin("TurnValve")
    assert f"{math.degrees(task.goal):.0f}°" in task.asked


def test_an_episode_may_go_on_after_success():
    env = make("PegInHole", end_after_success_s=None)
    env.reset(seed=5)
    put(env.task, "pin", "block.bottom")  # type: ignore[arg-type]
    watch(env, 2.5)
    assert env.steps == 125
    env.close()


def test_an_episode_does_not_depend_on_the_one_before():
    """A blank on the holder's rim, torques: what the engine remembered of old contacts once shifted the last bits."""
    env = make("TendPress", control="joint_torque")
    chosen, runs = 10.0 * actions(env, 25), []
    for _ in range(2):
        env.reset(seed=0)
        runs.append(advance(env, chosen))
    assert len(runs[0]) == 25 and runs[0] == runs[1]
    env.close()


def test_episodes_repeat_after_arms_ran_into_each_other():
    """Full torques: what the engine remembered of the robot's own links once shifted the last bits."""
    env = make("TendPress", control="joint_torque")

    def run() -> list[str]:
        generator, seed, seen = np.random.default_rng(0), 0, list[str]()
        while len(seen) < 40:
            env.reset(seed=seed)
            ended, seed = False, seed + 1
            while not ended and len(seen) < 40:
                action = generator.uniform(-1, 1, env.action.shape).astype(np.float32)
                *_, terminated, truncated, _ = env.step(action)
                ended = terminated or truncated
                seen.append(frame_digest(env))
        return seen

    assert run() == run()
    env.close()


# ---- take and put ----------------------------------------------------------------------------------------------------


def test_bin_pick_wants_the_part_that_is_asked_for():
    env, task = begin("BinPick")
    put(task, task.goal, "target.floor")
    assert watch(env, 1.0)["success"]
    env, task = begin("BinPick")
    other = next(name for name in ("block", "round", "bar") if name != task.goal)
    put(task, other, "target.floor")
    assert watch(env, 0.2)["failure"] == "wrong_item"
    env, task = begin("BinPick")
    put(task, task.goal, "bench.top", (0.2, 0.3, 0.001))
    assert watch(env, 0.2)["failure"] == "slip"


def test_tray_to_tray_wants_the_cell_upright_in_its_slot():
    env, task = begin("TrayToTray")
    put(task, "cell", task.goal)
    assert watch(env, 1.0)["success"]
    env, task = begin("TrayToTray")
    put(task, "cell", "bench.top", (0.2, 0.3, 0.03), ON_ITS_SIDE)
    assert watch(env, 0.5)["failure"] == "slip"


def test_peg_in_hole_wants_the_pin_in_all_the_way():
    env, task = begin("PegInHole")
    put(task, "pin", "block.bottom", (0.0, 0.0, 0.0405))  # on the rim it would stand, but not in the hole
    assert not watch(env, 0.1)["success"]
    env, task = begin("PegInHole")
    put(task, "pin", "bench.top", (0.2, 0.3, 0.03), ON_ITS_SIDE)
    assert watch(env, 0.5)["failure"] == "slip"


def test_latch_connector_wants_the_click_and_a_pull(monkeypatch):
    env, task = begin("LatchConnector")
    socket = task.place.frame("header.bottom")
    put(task, "plug", "header.bottom", (0.0, 0.0, 0.019), socket.orientation)  # as it stands upon the pawl
    watch(env, 0.5)
    assert not task.clicked and task.place.frame("plug").position[2] > socket.position[2] + 0.015
    put(task, "plug", "header.bottom", (0.0, 0.0, 0.001), socket.orientation)
    info = watch(env, 1.0)
    assert task.clicked and not info["success"]
    with monkeypatch.context() as held:  # a hand that pulls, first with too little
        held.setattr(task, "touches", lambda item, side=None: True)
        held.setattr(task, "hand_load", lambda side: (0.0, 0.0, -8.0))
        assert not watch(env, 0.5)["success"] and not task.pulled
        held.setattr(task, "hand_load", lambda side: (0.0, 0.0, -12.0))
        assert not watch(env, 0.5)["success"] and task.pulled
    assert watch(env, 0.7)["success"]
    env, task = begin("LatchConnector")
    put(task, "plug", "bench.top", (0.2, 0.3, 0.03), ON_ITS_SIDE)
    assert watch(env, 0.5)["failure"] == "slip"


def test_sort_defects_wants_each_part_in_its_own_bin():
    env, task = begin("SortDefects")
    bins = {name: "reject" if task.swollen(name) else "good" for name in ("first", "second")}
    put(task, "first", f"{bins['first']}.floor")
    assert not watch(env, 1.0)["success"]
    put(task, "second", f"{bins['second']}.floor", (0.05, 0.05, 0.001))
    info = watch(env, 2.0)
    assert info["success"] and info["metrics"]["caught"] == info["metrics"]["defective"]
    env, task = begin("SortDefects")
    put(task, "first", "good.floor" if task.swollen("first") else "reject.floor")
    assert watch(env, 0.2)["failure"] == "wrong_item"
    assert task.metrics()["rejected"] == float(not task.swollen("first"))
    env, task = begin("SortDefects")
    put(task, "second", "bench.top", (0.2, 0.0, 0.001))
    assert watch(env, 0.2)["failure"] == "slip"


def test_hand_to_hand_does_not_count_what_was_never_passed():
    env, task = begin("HandToHand")
    put(task, "part", "target.middle", (0.0, 0.0, 0.0))  # the waiting hand is in the way there: no step
    assert task.evaluate().phase == "approach"
    task.state.values["passed"] = True
    assert task.evaluate().phase == "release"
    put(task, "part", "bench.top", (0.2, 0.0, 0.04), ON_ITS_SIDE)
    assert watch(env, 0.5)["failure"] == "slip"


def test_kit_order_wants_the_order_and_nothing_else():
    env, task = begin("KitOrder")
    for part in task.order:
        assert not watch(env, 0.1)["success"]
        put(task, part, f"tray.{part}", turn=tuple(task.place.frame(f"tray.{part}").orientation))
    assert watch(env, 1.0)["success"]
    env, task = begin("KitOrder", seed=next(s for s in range(20) if len(begin("KitOrder", s)[1].order) < 3))
    other = next(name for name in ("block", "round", "bar") if name not in task.order)
    put(task, other, f"tray.{other}")
    assert watch(env, 0.1)["failure"] == "wrong_item"


def test_a_belt_carries_at_its_speed_and_what_nobody_takes_is_missed():
    env, task = begin("BeltPick")
    watch(env, 1.0)
    start, speed = task.place.frame("part").position[1], task.belt_speed
    watch(env, 1.0)
    assert task.place.frame("part").position[1] - start == pytest.approx(speed, rel=0.02)
    assert watch(env, 14.0)["failure"] == "missed"


def test_restock_shelf_wants_every_thing_upright_in_its_slot():
    env, task = begin("RestockShelf")
    for thing in ("can", "carton", "bottle"):
        assert not watch(env, 0.1)["success"]
        put(task, thing, task.slot(thing), (0.008, 0.008, 0.001))
    assert watch(env, 1.0)["success"]
    env, task = begin("RestockShelf")
    put(task, "can", task.slot("can"), (0.02, 0.0, 0.001))
    assert watch(env, 1.0)["phase"] == "approach" and not task.stands("can", task.slot("can"), 0.015)
    env, task = begin("RestockShelf")
    put(task, "carton", "bench.top", (0.2, 0.3, 0.001))
    assert watch(env, 0.2)["failure"] == "slip"


def test_restock_shelf_fails_with_the_wrong_slot_and_with_what_is_knocked_over():
    env, task = begin("RestockShelf")
    put(task, "can", task.slot("bottle"))
    assert watch(env, 0.4)["failure"] is None  # it may be corrected at once
    assert watch(env, 0.4)["failure"] == "wrong_slot"
    env, task = begin("RestockShelf")
    put(task, "bottle", task.slot("bottle"), (0.0, 0.0, 0.03), ON_ITS_SIDE)
    assert watch(env, 0.1)["failure"] == "knocked"


def line_up(task: Any, *places: float) -> None:
    """Put parts on the belt so many metres behind its end."""
    for i, place in enumerate(places):
        put(task, f"part_{i + 1}", "belt.end", (0.0, -place, 0.001))


def test_belt_place_wants_three_parts_at_the_pitch():
    env, task = begin("BeltPlace")
    line_up(task, 0.4, 0.4 + task.pitch + 0.015, 0.4 + 2 * task.pitch)
    assert watch(env, 1.2)["success"]
    env, task = begin("BeltPlace")
    line_up(task, 0.4, 0.4 + task.pitch + 0.025)
    info = watch(env, 1.2)
    assert info["failure"] == "off_pitch" and env.steps >= 25


def test_belt_place_fails_with_what_rides_off_or_falls_over():
    env, task = begin("BeltPlace")
    line_up(task, 0.05)
    assert watch(env, 1.0)["failure"] == "missed"
    env, task = begin("BeltPlace")
    put(task, "part_2", "belt.end", (0.0, -1.0, 0.03), ON_ITS_SIDE)
    assert watch(env, 0.1)["failure"] == "slip"


def test_a_belt_that_surges_keeps_parts_apart_and_repeats_after_restore():
    env = make("BeltPlace", tier="disturbed")
    env.reset(seed=5)
    task: Any = env.task
    line_up(task, 1.0, 1.0 + task.pitch)
    kept, still = env.save(), np.zeros(env.action.shape, np.float32)

    def ride() -> list[Any]:
        env.restore(kept)
        return [(*np.asarray(env.step(still)[0]), task.belt_speed, task.run) for _ in range(250)]

    first = ride()
    speeds = [row[-2] for row in first]
    assert max(speeds) - min(speeds) > 0.5 * task.state.values["speed"]
    assert task.along("part_1") - task.along("part_2") == pytest.approx(task.pitch, abs=0.002)
    assert task.along("part_1") == pytest.approx(0.5 + task.run, abs=0.01)
    assert first == ride()
    env.close()


def lay(task: CellTask, pipe: str, frame: str, shift: Sequence[float] = (0.0, 0.06, 0.03)) -> None:
    """Put a pipe down, along y."""
    put(task, pipe, frame, shift, ON_ITS_SIDE)


def test_pipe_sort_wants_each_pipe_in_the_window_of_its_kind():
    env, task = begin("PipeSort")
    assert {task.window(pipe) for pipe in task.pipes} == {"near", "far"}
    for pipe in task.pipes:
        assert not watch(env, 0.6)["success"]
        lay(task, pipe, f"{task.window(pipe)}.floor")
    assert watch(env, 1.5)["success"]
    env, task = begin("PipeSort")
    lay(task, "short", f"{task.window('long')}.floor")
    assert watch(env, 0.2)["failure"] == "wrong_item"
    env, task = begin("PipeSort")
    lay(task, "long", "bench.top", (0.2, 0.3, 0.022))
    assert watch(env, 0.2)["failure"] == "slip"


def test_which_window_takes_which_kind_is_drawn():
    assert {begin("PipeSort", seed)[1].window("short") for seed in range(8)} == {"near", "far"}


# ---- visit -----------------------------------------------------------------------------------------------------------


def visit(task: Any, off: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
    """Have the task believe that the hand dwells at the pose that it asks for, but for an error, m."""
    place, hand = task.place.frame(task.goal), task.env.robot.frame
    at = replace_state(place, tuple(a + b for a, b in zip(place.position, off, strict=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task.env.robot, "frame", lambda name: at if name == task._grip else hand(name))
        for _ in range(25):
            task.env.outcome = task.evaluate()


def replace_state(state: Any, position: Any) -> Any:
    """The same orientation somewhere else, at rest."""
    return state._replace(position=position, linear_velocity=(0.0, 0.0, 0.0))


def test_pose_set_goes_through_the_cycles_in_the_order_of_the_standard():
    _, task = begin("PoseSet")
    seen = []
    while not task.complete:
        seen.append(task.goal)
        visit(task)
    assert seen == [f"cube.p{i}" for i in (1, *3 * (5, 4, 3, 2, 1))]
    assert [task.evaluate().success for _ in range(26)][-1]
    assert task.metrics()["pose_accuracy"] == pytest.approx(0.0, abs=1e-12)


def test_pose_set_measures_what_the_standard_says():
    """Each visit off by 1, -1 and 0 mm along y, all by 2 mm along x: AP = 2 mm, l = (1, 1, 0), RP = 2/3 + 3·√(1/3)."""
    _, task = begin("PoseSet")
    visit(task)
    for off in (1.0, -1.0, 0.0):
        for _ in range(5):
            visit(task, (2e-3, 1e-3 * off, 0.0))
    assert task.metrics()["pose_accuracy"] == pytest.approx(2e-3)
    assert task.metrics()["pose_repeatability"] == pytest.approx(1e-3 * (2 / 3 + math.sqrt(3)))
    assert task.evaluate().failure is None


@pytest.mark.parametrize(("off", "visits"), [((0.006, 0.0, 0.0), "all"), ((0.0, 0.009, 0.0), "last")])
def test_pose_set_refuses_what_is_out_of_its_class(off: Sequence[float], visits: str):
    _, task = begin("PoseSet")
    for i in range(16):
        visit(task, off if visits == "all" or i > 10 else (0.0, 0.0, 0.0))
    assert task.env.outcome.failure == "inaccurate" and not task.env.outcome.success


def test_pose_set_wants_a_dwell_within_ten_millimetres():
    _, task = begin("PoseSet")
    visit(task, (0.011, 0.0, 0.0))
    assert not task.attained and task.env.outcome.phase == "approach"
    visit(task, (0.009, 0.0, 0.0))
    assert len(task.attained) == 1


def test_pose_set_loads_the_hand_that_works():
    for tier, side in (("nominal", "right"), ("flow", "left")):
        env = make("PoseSet", tier=tier)
        _, info = env.reset(seed=5)
        loads = dict(zip([hand.side for hand in env.model.hands], info["randomisation"]["loads"], strict=True))
        assert 0.9 <= loads.pop(side) <= 1.1 and set(loads.values()) == {0.0}
        env.close()


def test_pose_set_refuses_more_cycles_than_fit_into_an_episode():
    with pytest.raises(SimulationError, match=r"cycles = 30: dwelling alone takes 75\.5 s, but an episode is 75 s"):
        make("PoseSet", cycles=30)


def test_pose_characteristics_after_iso_9283():
    """Positions 0, 0 and 3 mm along x, commanded 0: the mean is 1 mm off, l = (1, 1, 2), S² = 1/3."""
    attained = [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (3e-3, 0.0, 0.0)]
    assert pose_accuracy(attained, (0.0, 0.0, 0.0)) == pytest.approx(1e-3)
    assert pose_repeatability(attained) == pytest.approx(1e-3 * (4 / 3 + math.sqrt(3)))
    with pytest.raises(SimulationError, match="1 positions; a repeatability needs 2"):
        pose_repeatability(attained[:1])


# ---- open and turn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "item", "joint", "share"), [
    ("OpenDrawer", "cabinet", "drawer", 0.9), ("OpenDoor", "machine", "door", 0.98),
])  # fmt: skip
def test_open_wants_the_whole_way(name: str, item: str, joint: str, share: float):
    _, task = begin(name)
    travel = task.place.things[item].spec.mechanisms[joint].upper

    def judged() -> bool:
        return [task.evaluate().success for _ in range(30)][-1]  # no step: the waiting hands may be in the way

    assert not judged()
    task.place.things[item].set_joints([0.8 * travel])
    assert not judged()
    task.place.things[item].set_joints([share * travel])
    assert judged()


@pytest.mark.parametrize(("name", "item", "joint", "force"), [
    ("OpenDrawer", "cabinet", "drawer", 15.0), ("OpenDoor", "machine", "door", 25.0),
])  # fmt: skip
def test_a_detent_keeps_it_shut_up_to_its_force(name: str, item: str, joint: str, force: float):
    env, task = begin(name)
    thing = task.place.things[item]
    handle = task.place.frame(task.handle).position
    out = np.array([-1.0, 0.0, 0.0]) if name == "OpenDrawer" else np.array([0.0, -1.0, 0.0])

    def pull(size: float) -> float:
        for _ in range(150):
            thing.apply_force(joint, (size * out).tolist(), handle)
            env.world.advance(1)
        return thing.joint_position[joint]

    assert pull(0.85 * force) < 0.004  # cells stand a little askew: not all of the force pulls
    assert pull(1.2 * force) > 0.02


def test_turn_valve_wants_the_angle_within_five_degrees():
    env, task = begin("TurnValve")
    lever = task.place.things["valve"]
    for off, right in ((math.radians(8.0), False), (math.radians(-8.0), False), (math.radians(4.0), True)):
        lever.set_joints([task.goal + off])
        assert watch(env, 0.6)["success"] is right


# ---- tend a machine --------------------------------------------------------------------------------------------------


def start(task: CellTask, env: HumanoidEnv) -> None:
    """Press start and let go."""
    panel = task.place.things["panel"]
    panel.drive_to("start", 0.008)
    watch(env, 0.3)
    panel.drive_to("start", None)


def test_a_press_without_a_blank_refuses_to_start():
    env, task = begin("TendPress")
    start(task, env)
    assert task.press.refused == 1 and env.outcome.failure == "refused"


def test_a_press_with_a_blank_marks_it_and_the_tote_ends_it():
    env, task = begin("TendPress")
    put(task, "part", "press.nest", (0.0, 0.0, 0.005))
    watch(env, 0.5)
    assert task.devices.signals["loaded"]
    start(task, env)
    assert task.press.state == "running"
    watch(env, 1.0)
    assert task.place.things["press"].joint_position["ram"] > 0.08
    watch(env, 2.0)
    assert task.press.state == "done" and task.press.cycles == 1
    put(task, "part", "target.floor")
    assert watch(env, 1.0)["success"]


def test_a_press_stops_where_its_blank_is_taken_away():
    env, task = begin("TendPress")
    put(task, "part", "press.nest", (0.0, 0.0, 0.005))
    watch(env, 0.5)
    start(task, env)
    put(task, "part", "holder.bottom", (0.0, 0.0, 0.031))
    assert watch(env, 0.5)["failure"] == "interrupted"


def test_a_press_goes_on_where_it_was_after_restore():
    env, task = begin("TendPress")
    put(task, "part", "press.nest", (0.0, 0.0, 0.005))
    watch(env, 0.5)
    start(task, env)
    kept = env.save()

    def rest() -> list[Any]:
        return [
            (*np.asarray(env.step(np.zeros(env.action.shape, np.float32))[0]), task.press.state) for _ in range(130)
        ]

    first = rest()
    assert first[0][-1] == "running" and first[-1][-1] == "done"
    env.reset(seed=6)
    env.restore(kept)
    assert first == rest()

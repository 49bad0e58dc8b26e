"""Events in cells: each does what it says, by physics; it outlives save and restore; what makes no sense is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rollouts import actions, advance, digests

from training_ground.agents.experts.catalog import find_expert
from training_ground.assets.layout import CellSpec
from training_ground.assets.library import load_cell
from training_ground.configs.errors import AssetError, SimulationError
from training_ground.configs.loading import validate
from training_ground.envs.cell import STORE
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.fingerprint import fingerprint
from training_ground.envs.registration import make, tasks
from training_ground.envs.scenarios import Scenario

HALT: dict[str, Any] = {"kind": "belt_stop", "item": "belt", "at_s": [0.5, 0.5], "lasts_s": [0.6, 0.6]}
SILENCE: dict[str, Any] = {"kind": "blackout", "items": ["block"], "at_s": [0.2, 0.2], "lasts_s": [0.4, 0.4]}
DARK: dict[str, Any] = {"kind": "blackout", "cameras": ["inspection"], "at_s": [0.2, 0.2], "lasts_s": [0.4, 0.4]}
SLIPS: dict[str, Any] = {"kind": "drop", "items": ["block", "round", "bar"], "lasts_s": [0.5, 0.5]}
LACK: dict[str, Any] = {"kind": "shortage", "items": ["carton"]}
RUSH: dict[str, Any] = {"kind": "priority", "at_s": [0.3, 0.3]}

Make = Callable[..., HumanoidEnv]


@pytest.fixture
def eventful(tmp_path: Path) -> Iterator[Make]:
    """Make a task's environment whose cell has events."""
    made: list[HumanoidEnv] = []

    def build(name: str, events: dict[str, Any], **options: Any) -> HumanoidEnv:
        kind = tasks()[name]
        assert issubclass(kind, CellTask)
        plain = load_cell(kind.cell).model_dump(mode="json", exclude={"tiers"})
        path = tmp_path / f"{plain['name']}.yaml"
        path.write_text(json.dumps({**plain, "events": events}), encoding="utf-8")
        made.append(HumanoidEnv(type(name, (kind,), {"cell": str(path)}), **options))
        return made[-1]

    yield build
    for env in made:
        env.close()


def watch(env: HumanoidEnv, seconds: float) -> dict[str, Any]:
    """Let time pass, the robot in its place."""
    info: dict[str, Any] = {}
    for _ in range(round(seconds / env.control_timestep)):
        *_, terminated, truncated, info = env.step(np.zeros(env.action.shape, np.float32))
        assert not terminated and not truncated
    return info


def label(env: HumanoidEnv) -> float:
    """What the record says of the first event."""
    return float(env.frame()["event"][0])


# ---- what each kind does ---------------------------------------------------------------------------------------------


def test_a_belt_stands_and_goes_on(eventful: Make):
    env = eventful("BeltPick", {"halt": HALT})
    env.reset(seed=1)
    task: Any = env.task
    speed = task.belt_speed
    told = []
    for _ in range(70):
        watch(env, 0.02)
        moved = task.place.frame("part").linear_velocity[1]
        told.append((label(env), float(env.frame()["belt_speed"]), moved))
    before, during, after = told[20], told[45], told[69]
    assert before == (0.0, pytest.approx(speed), pytest.approx(speed, rel=0.05))
    assert during == (1.0, 0.0, pytest.approx(0.0, abs=0.002))
    assert after == (2.0, pytest.approx(speed), pytest.approx(speed, rel=0.05))
    assert [one for one, *_ in told].count(1.0) == 30  # 0.6 s
    assert task.metrics()["event_halt"] == pytest.approx(0.5)


def test_a_belt_whose_speed_the_task_sets_stands_as_well(eventful: Make):
    env = eventful("BeltPlace", {"halt": HALT}, tier="nominal")
    env.reset(seed=1)
    task: Any = env.task
    task.state.values["surge"] = 0.4
    watch(env, 0.8)
    run = task.run
    assert task.belt_speed == 0.0 and run > 0.0
    watch(env, 0.2)
    assert task.run == run
    watch(env, 0.4)
    assert task.belt_speed > 0.0 and task.run > run


def test_channels_repeat_what_was_seen_last(eventful: Make):
    env = eventful("BinPick", {"silence": SILENCE})
    env.reset(seed=1)
    task: Any = env.task
    watch(env, 0.3)
    told = env.frame()
    for name in ("block", "bar"):
        x, y, z = task.place.frame(name).position
        task.place.things[name].place((x, y, z + 0.035))
    watch(env, 0.06)
    later = env.frame()
    assert label(env) == 1.0
    assert np.array_equal(told["block_middle_position"], later["block_middle_position"])
    assert np.array_equal(told["block_middle_orientation"], later["block_middle_orientation"])
    assert later["bar_middle_position"][2] > told["bar_middle_position"][2] + 0.01
    assert later["block_middle_place"][2] > told["block_middle_place"][2] + 0.01  # the simulator's truth
    for frame in ("block", "block.grasp"):
        assert task.seen(frame).position[2] < task.place.frame(frame).position[2] - 0.01
    watch(env, 0.4)
    assert label(env) == 2.0 and task.seen("block") == task.place.frame("block")
    assert not np.array_equal(told["block_middle_position"], env.frame()["block_middle_position"])


def test_of_two_blackouts_the_second_sees_no_more_than_the_first(eventful: Make):
    second = {**SILENCE, "at_s": [0.4, 0.4], "lasts_s": [0.6, 0.6]}
    env = eventful("BinPick", {"first": SILENCE, "second": second})
    env.reset(seed=1)
    task: Any = env.task
    watch(env, 0.3)
    kept = task.seen("block")
    x, y, z = task.place.frame("block").position
    task.place.things["block"].place((x, y, z + 0.035))
    watch(env, 0.5)  # the first is over
    assert env.frame()["event"].tolist() == [2.0, 1.0] and task.seen("block") == kept
    watch(env, 0.3)
    assert task.seen("block") == task.place.frame("block") != kept


def test_a_lost_camera_gives_black_pictures(eventful: Make):
    env = eventful("SortDefects", {"dark": DARK}, observation_format="dict")
    env.reset(seed=1)
    seen = []
    for _ in range(4):
        watch(env, 0.2)
        seen.append(bool(env.frame()["camera_inspection"].any()))
        assert seen[-1] == bool(env.task.picture("inspection").any())  # type: ignore[attr-defined]
    assert seen == [True, False, False, True]


@pytest.mark.slow
def test_what_was_lifted_slips_out_of_the_hand_and_is_taken_again(eventful: Make):
    heights: dict[bool, list[float]] = {}
    for slips in (False, True):
        env, expert = eventful("BinPick", {"slips": SLIPS} if slips else {}), find_expert("BinPick")()
        observation, _ = env.reset(seed=3)
        expert.reset(env)
        task: Any = env.task
        ended, info, course = False, {}, []
        while not ended:
            observation, _, terminated, truncated, info = env.step(expert.act(np.asarray(observation)))
            lifted = task.place.frame(task.goal).position[2] - task.state.values["floor"][task.goal]
            course.append((lifted, task.touches(task.goal)))
            ended = terminated or truncated
        assert info["success"]
        assert expert.attempt == (2 if slips else 1)
        heights[slips] = [lifted for lifted, touched in course if lifted > 0.03 and touched]
        if slips:
            begun = round(info["metrics"]["event_slips"] / env.control_timestep)
            assert course[begun][1] and max(lifted for lifted, _ in course[begun : begun + 40]) < 0.12
            assert min(lifted for lifted, _ in course[begun : begun + 40]) < 0.01
    assert max(heights[False]) > 0.12


def test_the_fingers_of_the_hand_that_lifts_fail_and_no_others(eventful: Make):
    """Told to close, motors that fail give no torque but what friction takes."""
    env = eventful("BinPick", {"slips": {**SLIPS, "items": ["block"]}})
    task: Any = env.task
    fingers = {hand.side: [env.model.joint_names.index(one) for one in hand.fingers] for hand in env.model.hands}

    def moved(lifts: bool, after_s: float = 0.0) -> dict[str, float]:
        env.reset(seed=1)
        if lifts:
            x, y, z = task.place.frame("block").position
            task.place.things["block"].place((x, y, z + 0.035))
        watch(env, 0.02 + after_s)
        action, friction = np.zeros(env.action.shape, np.float32), env.model.friction
        action[[*fingers["right"], *fingers["left"]]] = 0.3
        env.step(action)
        beyond = np.maximum(np.abs(env.robot.joint_torque) - friction, 0.0)
        return {side: float(beyond[joints].max()) for side, joints in fingers.items()}

    whole, weak, again = moved(False), moved(True), moved(True, 0.5)
    assert weak["right"] < 1e-9 and whole["right"] > 0.1
    assert weak["left"] == pytest.approx(whole["left"], rel=0.01)
    assert again["right"] > 0.5 * whole["right"]


def test_what_lacks_is_in_the_store_and_success_is_without_it(eventful: Make):
    env = eventful("RestockShelf", {"lack": {**LACK, "chance": 0.5}})
    task: Any = env.task
    lacking = [seed for seed in range(8) if "lack" in env.reset(seed=seed)[1]["randomisation"]["events"]]
    assert 0 < len(lacking) < 8
    env.reset(seed=lacking[0])
    assert task.missing == ("carton",) and math.hypot(*task.place.frame("carton").position[:2]) >= STORE[0] - 0.5
    assert env.frame()["carton_middle_position"][0] > 5.0 and label(env) == 1.0
    for thing in ("can", "bottle"):
        x, y, z = task.place.frame(task.slot(thing)).position
        task.place.things[thing].place((x, y, z + 0.001))
    assert watch(env, 0.7)["success"]
    there = next(seed for seed in range(8) if seed not in lacking)
    env.reset(seed=there)
    assert task.missing == () and env.frame()["carton_middle_position"][0] < 1.0 and label(env) == 0.0


def test_another_order_holds_and_what_was_taken_belongs_to_it(eventful: Make):
    env = eventful("KitOrder", {"rush": RUSH})
    task: Any = env.task
    env.reset(seed=2)
    old, new = list(task.order), list(task.state.values["next"])
    assert set(old) != set(new)
    watch(env, 0.4)
    assert task.order == new and env.frame()["order"].tolist() == [float(p in new) for p in ("block", "round", "bar")]
    assert label(env) == 1.0
    seed = next(s for s in range(50) if env.reset(seed=s) and set(task.order) - set(task.state.values["next"]))
    env.reset(seed=seed)
    taken = next(part for part in task.order if part not in task.state.values["next"])
    x, y, z = task.place.frame(taken).position
    task.place.things[taken].place((x, y, z + 0.2))  # in the air when the order changes
    watch(env, 0.1)
    task.place.things[taken].place((x, y, z + 0.2))
    info: dict[str, Any] = {}
    for _ in range(15):
        task.place.things[taken].place((x, y, z + 0.05))
        *_, info = env.step(np.zeros(env.action.shape, np.float32))
    assert taken in task.order and set(task.order) == {taken, *task.state.values["next"]}
    assert info["failure"] is None


def test_chance_says_in_how_many_episodes(eventful: Make):
    env = eventful("BeltPick", {"halt": {**HALT, "chance": 0.3, "at_s": [1, 2]}})
    drawn = [env.reset(seed=seed)[1]["randomisation"]["events"] for seed in range(60)]
    times = [one["halt"]["at_s"] for one in drawn if one]
    assert 8 <= len(times) <= 29 and all(1 <= time <= 2 for time in times) and len(set(times)) == len(times)
    quiet = next(seed for seed, one in enumerate(drawn) if not one)
    env.reset(seed=quiet)
    watch(env, 1.5)
    assert label(env) == 0.0 and env.task.metrics() == {}


# ---- experts ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_expert_that_does_not_see_waits(eventful: Make):
    """The part is pushed aside while nothing is seen of it: who knew the truth would go there at once."""
    env = eventful("BinPick", {"silence": {**SILENCE, "items": ["block", "round", "bar"], "lasts_s": [2.0, 2.0]}})
    expert, (observation, _) = find_expert("BinPick")(), env.reset(seed=4)
    expert.reset(env)
    task: Any = env.task
    ended, info, still = False, {}, []
    while not ended:
        if env.steps == 20:
            x, y, z = task.place.frame(task.goal).position
            task.place.things[task.goal].place((x + 0.03, y, z))
        before = expert.act(np.asarray(observation))
        observation, _, terminated, truncated, info = env.step(before)
        if 60 <= env.steps <= 100:
            still.append(env.robot.joint_velocity.copy())
        ended = terminated or truncated
    assert float(np.abs(np.array(still)).max()) < 0.2
    assert info["success"] and info["metrics"]["cycle_time"] > 7.5  # 6.6 s without


@pytest.mark.slow
def test_an_expert_turns_to_another_order_before_it_has_the_part(eventful: Make):
    """The hand is on its way to a part when that is not ordered any more."""
    env, expert = eventful("KitOrder", {"rush": {**RUSH, "at_s": [1.2, 1.2]}}), find_expert("KitOrder")()
    task: Any = env.task
    seed = next(s for s in range(50) if env.reset(seed=s) and task.order[0] not in task.state.values["next"])
    observation, _ = env.reset(seed=seed)
    expert.reset(env)
    first, ended, info = task.order[0], False, {}
    while not ended:
        observation, _, terminated, truncated, info = env.step(expert.act(np.asarray(observation)))
        ended = terminated or truncated
    assert info["success"] and first not in task.order and not task.there(first)


# ---- what must hold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "event", "item"), [
    ("BeltPick", HALT, "part"), ("BinPick", SILENCE, "block"), ("BinPick", SLIPS, "block"),
    ("RestockShelf", LACK, "can"), ("KitOrder", RUSH, "block"),
])  # fmt: skip
@pytest.mark.parametrize("kept_after", [0.1, 0.4])
def test_an_event_goes_on_after_restore(eventful: Make, name: str, event: dict[str, Any], item: str, kept_after: float):
    """From before it and from its midst."""
    env = eventful(name, {"one": event}, episode_length_s=20.0)
    task: Any = env.task
    env.reset(seed=2)
    x, y, z = task.place.frame(item).position
    task.place.things[item].place((x, y, z + 0.035))
    watch(env, 0.04 if event is SLIPS else kept_after + 0.2)
    kept, chosen = env.save(), actions(env, 40, seed=5)
    first = advance(env, chosen)
    label_then = label(env)
    env.reset(seed=7)
    advance(env, actions(env, 20, seed=6))
    env.restore(kept)
    assert advance(env, chosen) == first and len(first) == 40 and label(env) == label_then > 0.0


def test_weakness_of_another_episode_does_not_stay(eventful: Make):
    """An episode was left in the midst of a drop."""
    env = eventful("BinPick", {"slips": {**SLIPS, "items": ["block"], "chance": 0.5, "lasts_s": [9, 9]}})
    task: Any = env.task
    slipping = [seed for seed in range(12) if env.reset(seed=seed)[1]["randomisation"]["events"]]
    quiet = next(seed for seed in range(12) if seed not in slipping)

    def lift(seed: int) -> list[str]:
        env.reset(seed=seed)
        x, y, z = task.place.frame("block").position
        task.place.things["block"].place((x, y, z + 0.035))
        return advance(env, actions(env, 25, seed=1))

    first = lift(quiet)
    lift(slipping[0])
    assert env.robot.drive.actuator.parameters.strength.min() == 0.0
    assert lift(quiet) == first


def test_an_episode_with_events_repeats_bit_for_bit():
    env = make("BinPick", tier="disturbed")
    seed = next(s for s in range(30) if "silence" in env.reset(seed=s)[1]["randomisation"]["events"])
    first = digests(env, seed, 60)
    digests(env, seed + 1, 10)
    assert digests(env, seed, 60) == first
    env.close()


# ---- what is refused -------------------------------------------------------------------------------------------------

ITEMS: dict[str, Any] = {
    "bench": {"part": "bench", "fixed": True},
    "belt": {"part": "belt", "upon": "bench.top", "fixed": True, "carries": [0, 0.1, 0]},
    "tray": {"part": "feed_tray", "upon": "bench.top", "at": [0.2, 0, 0]},
    "can": {"part": "can", "upon": "tray.slot_1"},
}


@pytest.mark.parametrize(("event", "message"), [
    ({**HALT, "item": "blet"}, r"events\.one\.item: unknown item 'blet': did you mean 'belt'\? Allowed: belt, bench"),
    ({**HALT, "item": "bench"}, r"events\.one\.item = 'bench': carries nothing\. Allowed: belt"),
    ({**HALT, "at_s": [-1, 2]}, r"events\.one\.belt_stop\.at_s\.0 = -1: .*greater than or equal to 0"),
    ({**HALT, "at_s": [3, 2]}, r"at_s = \[3\.0, 2\.0\]: the first number of a range must not exceed the second"),
    ({**HALT, "lasts_s": [0, 1]}, r"lasts_s\.0 = 0: .*greater than 0"),
    ({**HALT, "chance": 1.5}, r"chance = 1\.5: .*less than or equal to 1"),
    ({**HALT, "kind": "belt_stops"}, r"events\.one = .*'belt_stops'.*'belt_stop', 'blackout', 'drop', 'shortage', "),
    ({**HALT, "colour": "red"}, r"unknown key 'events\.one\.belt_stop\.colour'"),
    ({**SILENCE, "items": ["cann"]}, r"events\.one\.items: unknown item 'cann': did you mean 'can'"),
    ({**SILENCE, "items": []}, r"items = \[\], cameras = \[\]: a blackout must be of an item or a camera"),
    (DARK, r"events\.one\.cameras: unknown camera 'inspection'\. Allowed: none"),
    ({**SLIPS, "items": ["bench"]}, r"events\.one\.items = 'bench': is fixed\. Allowed: tray, can"),
    ({**SLIPS, "items": ["can"], "strength": 1.0}, r"strength = 1\.0: .*less than 1"),
    ({**LACK, "items": ["tray"]}, r"events\.one\.items = 'tray': another item stands upon it"),
])  # fmt: skip
def test_an_event_that_makes_no_sense_is_refused(event: dict[str, Any], message: str):
    plain = {"name": "trial", "title": "Trial", "sectors": ["service"], "items": ITEMS, "events": {"one": event}}
    with pytest.raises(AssetError, match=message):
        validate(CellSpec, plain, "trial.yaml", AssetError)


@pytest.mark.parametrize(("name", "event", "message"), [
    ("BeltPick", RUSH, r"cell 'belt_station', events\.one\.kind = 'priority': task 'BeltPick' has no order"),
    ("BinPick", {**LACK, "items": ["bar"]}, r"items = 'bar': task 'BinPick' cannot do without it\. Allowed: none"),
    ("SortDefects", {**SILENCE, "items": ["table"]}, r"items = 'table': has joints, which a blackout does not hide"),
])  # fmt: skip
def test_an_event_that_a_task_cannot_deal_with_is_refused(eventful: Make, name: str, event: Any, message: str):
    with pytest.raises(SimulationError, match=message):
        eventful(name, {"one": event})


def test_events_make_another_scenario(monkeypatch: pytest.MonkeyPatch):
    one = Scenario("belt_pick", "BeltPick", "disturbed", "g1_dex3", ("consumer",))
    before, spec = fingerprint(one).parts, load_cell("belt_station")
    tiers = json.loads(json.dumps(spec.tiers))
    tiers["disturbed"]["events"]["halt"]["lasts_s"] = [0.5, 3.0]
    changed = spec.model_copy(update={"tiers": tiers})
    monkeypatch.setattr("training_ground.envs.cell_task.load_cell", lambda name: changed)
    after = fingerprint(one).parts
    assert [name for name in before if before[name] != after[name]] == ["events"]

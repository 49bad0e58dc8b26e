"""Factory cells: layouts are checked, episodes are drawn, tasks judge what happened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from training_ground.assets.catalog import load_model, robot_names
from training_ground.assets.gravity import Gravity, at_work
from training_ground.assets.layout import TIERS, CellSpec
from training_ground.assets.library import cell_names, load_cell, load_part, part_names
from training_ground.configs.errors import AssetError, ConfigError, SimulationError
from training_ground.configs.loading import apply_overrides
from training_ground.datasets.provenance import make_kwargs
from training_ground.envs.cell import Cell
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make, tasks
from training_ground.envs.world import World


def layout(items: dict[str, Any], **more: Any) -> CellSpec:
    plain = {"name": "trial", "title": "Trial", "sectors": ["service"], "items": items, **more}
    return CellSpec.model_validate(plain)


BENCH: dict[str, Any] = {"part": "bench", "at": [0.5, 0, 0], "fixed": True}
CELL: dict[str, Any] = {"part": "battery_cell", "upon": "bench.top", "at": [-0.1, 0.1, 0.001]}


@pytest.fixture(scope="module")
def env() -> Iterator[HumanoidEnv]:
    env = make("PressButton")
    yield env
    env.close()


# ---- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", part_names())
def test_every_part_loads(name: str):
    assert load_part(name).name == name


@pytest.mark.parametrize("name", cell_names())
def test_every_cell_and_every_tier_of_it_can_be_built(name: str):
    spec = load_cell(name)
    for tier in ("nominal", *spec.tiers):
        world = World()
        cell = Cell(spec.tier(tier), world)
        generator = np.random.default_rng(0)
        for _ in range(5):  # wherever the draws put things, none stands in another
            cell.place(cell.draw(generator))
            cell.require_room()
        world.close()


@pytest.mark.parametrize("name", cell_names())
def test_every_cell_has_all_tiers_and_no_two_are_the_same(name: str):
    spec = load_cell(name)
    tiers = [spec.tier(tier).model_dump() for tier in TIERS]
    assert all(one != other for one, other in combinations(tiers, 2))


@pytest.mark.parametrize("name", [name for name, task in tasks().items() if issubclass(task, CellTask)])
def test_every_task_in_a_cell_says_what_its_tiers_are(name: str):
    text = tasks()[name].__doc__ or ""
    assert "**Tiers.**" in text and all(f"`{tier}`:" in text for tier in TIERS[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, task in tasks().items() if issubclass(task, CellTask)])
def test_every_tier_of_a_task_begins_within_reach(name: str):
    for tier in TIERS[1:]:
        env = make(name, tier=tier)
        env.reset(seed=0)
        *_, info = env.step(np.zeros(env.action.shape, np.float32))
        assert not info["success"] and info["failure"] is None
        env.close()


def test_every_cell_has_a_task():
    used = {task.cell for task in tasks().values() if issubclass(task, CellTask)}
    assert used == set(cell_names())


def test_items_that_overlap_are_refused_by_name_and_depth():
    second = {**CELL, "at": [-0.1, 0.136, 0.001]}
    with pytest.raises(SimulationError, match=r"cell 'trial': 'one' and 'two' overlap by 1[0-2] mm"):
        Cell(layout({"bench": BENCH, "one": CELL, "two": second}), World())
    Cell(layout({"bench": BENCH, "one": CELL, "two": second}, touching=[["one", "two"]]), World())


def test_what_is_out_of_reach_is_refused_by_how_far(monkeypatch: pytest.MonkeyPatch):
    spec = load_cell("operator_station")
    far = spec.model_copy(
        update={"items": {**spec.items, "panel": spec.items["panel"].model_copy(update={"at": (0.2, 0, 0)})}}
    )
    monkeypatch.setattr("training_ground.envs.cell_task.load_cell", lambda name: far)
    with pytest.raises(SimulationError, match=r"'panel\.start' is \d+ cm out of reach of robot 'g1_dex3', its \w+ arm"):
        make("PressButton")


@pytest.mark.parametrize(
    ("items", "more", "message"),
    [
        ({"bench": BENCH, "one": {**CELL, "upon": "bnech.top"}}, {}, r"items\.one\.upon: .*bnech.*bench"),
        ({"bench": BENCH}, {"reach": ["panel.start"]}, "reach: .*panel"),
        ({"bench": BENCH}, {"touching": [["bench", "bin"]]}, "touching: .*bin"),
        ({"bench": BENCH}, {"sectors": ["cars"]}, "sectors"),
        ({}, {}, "items"),
        (
            {"bench": BENCH},
            {"cameras": {"eye": {"upon": "bnech", "at": [0, 0, 1], "target": [0, 0, 0]}}},
            r"cameras\.eye\.upon: .*bnech.*bench",
        ),
        (
            {"bench": BENCH},
            {"cameras": {"eye": {"upon": "bench", "at": [0, 0, 1], "target": [0, 0, 1]}}},
            r"target = \[0\.0, 0\.0, 1\.0\]: must be 1 cm or more",
        ),
        (
            {"bench": BENCH, "one": {**CELL, "faulty": {"part": "can", "chance": 1.5}}},
            {},
            r"items\.one\.faulty\.chance",
        ),
    ],
)
def test_bad_layouts_are_refused(items: dict[str, Any], more: dict[str, Any], message: str, tmp_path: Path):
    path = tmp_path / "trial.yaml"
    plain = {"name": "trial", "title": "Trial", "sectors": ["service"], "items": items, **more}
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(AssetError, match=message):
        load_cell(path)


def test_unknown_parts_frames_and_tiers_are_refused():
    with pytest.raises(AssetError, match="bench"):
        Cell(layout({"bench": {**BENCH, "part": "bensh"}}), World())
    with pytest.raises(SimulationError, match=r"items\.one\.upon = 'bench\.side'.*top"):
        Cell(layout({"bench": BENCH, "one": {**CELL, "upon": "bench.side"}}), World())
    with pytest.raises(AssetError, match=r"has no tier 'tight'\. It has: nominal"):
        layout({"bench": BENCH}).tier("tight")


def test_a_tier_is_laid_over_the_cell_key_by_key():
    wide = {"items": {"one": {"spread": {"yaw": 1.0}, "at": [0, 0, 0.001]}}}
    spec = layout({"bench": BENCH, "one": CELL}, tiers={"disturbed": wide})
    tier = spec.tier("disturbed")
    assert tier.items["one"].spread.yaw == 1.0 and tier.items["one"].part == "battery_cell"
    assert spec.tier("nominal").items["one"].spread.yaw == 0.0
    with pytest.raises(AssetError, match=r"tier 'disturbed'.*spraed"):
        layout({"bench": BENCH}, tiers={"disturbed": {"items": {"bench": {"spraed": {}}}}}).tier("disturbed")


def test_a_tier_and_a_variation_of_it_say_how_high_the_robot_stands_and_what_is_where():
    place = [-0.03, -0.3, 0.0005]
    heights = {}
    for tier in ("nominal", "flow"):
        plain = make("OpenDrawer", tier=tier)
        plain.reset(seed=3)
        heights[tier] = plain.robot.base.position[2]
        assert "variation" not in plain.describe()["options"]  # hashes from before there were any still hold
        plain.close()
    assert heights["flow"] == pytest.approx(heights["nominal"] - 0.05, abs=1e-3)
    varied = make("OpenDrawer", variation={"shoulder_height": 1.2, "items": {"cabinet": {"at": place}}})
    before, now = load_cell("drawer_station").items["cabinet"], varied.task.place.spec.items["cabinet"]  # type: ignore[attr-defined]
    assert now == before.model_copy(update={"at": tuple(place)})
    again = make("OpenDrawer", **make_kwargs(varied.describe()))
    ran = [(one.reset(seed=3)[0], one.step(-np.ones(31, np.float32))[0]) for one in (varied, again)]
    np.testing.assert_array_equal(ran[0], ran[1])
    assert varied.robot.base.position[2] == pytest.approx(heights["flow"], abs=1e-3)
    varied.close()
    again.close()


@pytest.mark.parametrize(
    ("variation", "said"),
    [
        ({"tiers": {}}, "unknown key of a variation 'tiers'"),
        ({"items": {"cabinet": None}, "touching": [], "reach": None}, "unknown key of a variation 'reach'"),
        ({"items": {"bin": {"part": "kit_tray"}, "cabinet": None}, "touching": []}, "'cabinet'"),
        ({"items": {"cabinet": {"part": "../../parts/bench.yaml"}}}, "must be the name of a part, not a path"),
        ({"items": {"cabinet": {"part": "drawer_unti"}}}, "did you mean 'drawer_unit'"),
        ({"items": {"cabinet": {"part": "bench"}}}, "unknown frame of 'cabinet'"),
        ({"items": {"cabinet": {"at": [-0.015, 0.9, 0.0005]}}}, r"out of reach.*items\.\*\.at"),
        ({"items": {f"bin_{i}": {"part": "kit_tray"} for i in range(300)}}, "varied: items = "),
        ({"shoulder_height": math.nan}, "shoulder_height"),
    ],
)
def test_a_variation_that_does_not_fit_is_refused(variation: dict[str, Any], said: str):
    with pytest.raises((AssetError, SimulationError), match=said):
        make("OpenDrawer", variation=variation)


# ---- episodes --------------------------------------------------------------------------------------------------------


def test_draws_stay_within_their_spread_and_are_applied():
    spread = {"position": [0.02, 0.03, 0], "yaw": 0.5, "mass": 0.1, "friction": [0.4, 0.6]}
    world = World()
    cell = Cell(layout({"bench": BENCH, "one": {**CELL, "spread": spread}}), world)
    generator, thing = np.random.default_rng(0), cell.things["one"]
    seen = []
    for _ in range(50):
        drawn = cell.draw(generator)
        cell.apply(drawn)
        cell.place(drawn)
        one = drawn["one"]
        x, y, _ = thing.state.position
        assert (x - 0.4, y - 0.1) == pytest.approx(one["shift"][:2], abs=1e-6)
        seen.append([*one["shift"][:2], one["yaw"], one["mass"] - 1, one["friction"]])
    low, high = np.min(seen, axis=0), np.max(seen, axis=0)
    limits = np.array([0.02, 0.03, 0.5, 0.1])
    assert (high[:4] <= limits).all() and (low[:4] >= -limits).all() and (high[:4] - low[:4] > 1.5 * limits).all()
    assert 0.4 <= low[4] < 0.45 and 0.55 < high[4] <= 0.6
    heavy = {"one": {"mass": 2.0}}
    cell.apply(heavy)
    cell.place(heavy)
    for _ in range(200):
        world.advance(1)
    force = sum(contact.normal_force for contact in thing.contacts())
    assert force == pytest.approx(2.0 * 0.355 * 9.81, rel=0.02)


def test_a_part_may_be_faulty_by_chance_and_the_other_one_is_out_of_the_way():
    faulty = {"faulty": {"part": "can", "chance": 0.3}}
    world = World()
    cell = Cell(layout({"bench": BENCH, "one": {**CELL, **faulty}}), world)
    generator, seen = np.random.default_rng(0), []
    for _ in range(100):
        drawn = cell.draw(generator)
        cell.apply(drawn)
        cell.place(drawn)
        seen.append(drawn["one"]["faulty"])
        assert cell.things["one"].spec.name == ("can" if seen[-1] else "battery_cell")
        assert cell.frame("one").position[:2] == pytest.approx((0.4, 0.1))
    assert 20 < sum(seen) < 40
    for _ in range(100):
        world.advance(1)
    assert {contact.other for contact in cell.things["one"].contacts()} == {"bench"}


def test_a_faulty_part_is_faulty_again_after_restore():
    env = make("SortDefects")
    task: Any = env.task
    env.reset(seed=next(s for s in range(20) if env.reset(seed=s) and task.swollen("first")))
    kept, still = env.save(), np.zeros(env.action.shape, np.float32)
    first = [np.asarray(env.step(still)[0]) for _ in range(5)]
    env.reset(seed=next(s for s in range(20) if env.reset(seed=s) and not task.swollen("first")))
    assert task.place.things["first"].spec.name == "capacitor"
    env.restore(kept)
    assert task.place.things["first"].spec.name == "capacitor_swollen"
    assert all((a == np.asarray(env.step(still)[0])).all() for a in first)
    env.close()


def test_a_camera_takes_its_pictures_at_its_rate():
    env = make("SortDefects", observation_format="dict")
    seen, _ = env.reset(seed=0)
    pictures = [seen["camera_inspection"]]  # type: ignore[index]
    task: Any = env.task
    for i in range(1, 21):
        x, y, z = task.place.frame("table.middle").position
        task.place.things["first"].place((x, y + 0.001 * i, z + 0.001))
        pictures.append(env.step(np.zeros(env.action.shape, np.float32))[0]["camera_inspection"])  # type: ignore[index]
    changed = [i for i in range(1, 21) if (pictures[i] != pictures[i - 1]).any()]
    assert changed == [10, 20]  # 5 Hz of 50 Hz
    env.close()


def test_an_episode_in_a_cell_repeats_after_restore_with_its_masses():
    env = make("TrayToTray")
    env.reset(seed=3)
    for _ in range(10):
        env.step(env.action_space.sample() * 0)
    kept = env.save()

    def rest() -> list[Any]:
        return [env.step(np.full(env.action.shape, 0.05, np.float32))[0] for _ in range(10)]

    first = rest()
    env.reset(seed=4)  # another mass, another friction
    env.restore(kept)
    assert np.array_equal(first, rest())
    env.close()


def test_shoulders_stand_as_high_as_the_cell_says(env: HumanoidEnv):
    other = make("PressButton", robot="g1_grippers")
    for one in (env, other):
        one.reset(seed=0)
        shoulder = one.robot.base.position[2] + 0.292
        assert shoulder == pytest.approx(load_cell("operator_station").shoulder_height, abs=0.005)
    other.close()


def test_the_robot_waits_in_its_work_pose_and_holds_it(env: HumanoidEnv):
    env.reset(seed=0)
    for _ in range(100):
        env.step(np.zeros(env.action.shape, np.float32))
    assert np.abs(env.robot.joint_position - env.model.default_position).max() < 2e-3
    assert not env.robot.touching


@pytest.mark.parametrize("robot", robot_names())
def test_gravity_is_that_of_the_compiler(robot: str):
    model = load_model(robot)
    found = Gravity(model).torque(model.default_position)
    assert found == pytest.approx(model.hanging_torque, abs=1e-9)


def test_gravity_is_the_slope_of_the_potential_energy():
    model = load_model("g1_grippers")
    gravity, generator = Gravity(model), np.random.default_rng(0)
    angles = generator.uniform(model.lower, model.upper)
    up = np.array([0.2, -0.3, 0.9])
    up /= np.linalg.norm(up)
    for joint in range(len(angles)):
        step = np.zeros_like(angles)
        step[joint] = 1e-5
        slope = (gravity.potential(angles + step, up) - gravity.potential(angles - step, up)) / 2e-5
        assert gravity.torque(angles, up)[joint] == pytest.approx(slope, abs=1e-5)


def test_inertia_is_what_moving_masses_have():
    model = load_model("g1_grippers")
    gravity, generator = Gravity(model), np.random.default_rng(0)
    angles = generator.uniform(model.lower, model.upper)
    found = gravity.inertia(angles)
    for joint in range(len(angles)):
        step = np.zeros_like(angles)
        step[joint] = 1e-5
        moved = (gravity._place(angles + step)[2] - gravity._place(angles - step)[2]) / 2e-5
        assert found[joint] == pytest.approx(float((gravity._mass * (moved**2).sum(axis=1)).sum()), rel=1e-5)


def test_a_work_pose_is_held_by_its_own_torques():
    model = load_model("g1_dex3")
    working = at_work(model)
    assert working.default_position == pytest.approx(model.work_position)
    assert working.hanging_torque == pytest.approx(Gravity(model).torque(model.work_position), abs=1e-9)


# ---- PressButton -----------------------------------------------------------------------------------------------------


def press(env: HumanoidEnv, button: str, force: float, seconds: float) -> dict[str, Any]:
    """Push a button by a force from nowhere while the robot looks on."""
    panel = env.task.place.things["panel"]  # type: ignore[attr-defined]
    info: dict[str, Any] = {}
    panel.drive_to(button, 0.008 if force else None)
    for _ in range(round(seconds / env.control_timestep)):
        *_, terminated, truncated, info = env.step(np.zeros(env.action.shape, np.float32))
        if terminated or truncated:
            break
    return info


def test_only_the_right_button_pressed_and_left_alone_counts(env: HumanoidEnv):
    env.reset(seed=5)
    goal = env.task.goal  # type: ignore[attr-defined]
    assert not press(env, goal, 0.0, 1.0)["success"]
    pressed = press(env, goal, 1.0, 0.5)
    assert pressed["phase"] == "withdraw" and not pressed["success"]
    assert press(env, goal, 0.0, 1.0)["success"]


def test_another_button_is_the_wrong_item(env: HumanoidEnv):
    env.reset(seed=5)
    other = next(name for name in ("start", "reset", "stop") if name != env.task.goal)  # type: ignore[attr-defined]
    assert press(env, other, 1.0, 0.5)["failure"] == "wrong_item"


def test_a_button_gives_way_by_its_spring(env: HumanoidEnv):
    """8 N at rest and 16 N at the end, as the part says."""
    part = load_part("operator_panel").mechanisms["start"]
    assert part.spring * (0.0 - part.rest) == pytest.approx(8.0)
    assert part.spring * (part.upper - part.rest) == pytest.approx(16.0)
    assert math.isclose(part.upper, 0.008)


def test_a_variation_can_stand_in_a_file(tmp_path: Path):
    file = tmp_path / "station.yaml"
    file.write_text("shoulder_height: 1.2\n")
    assert apply_overrides({}, [f"variation=@{file}"]) == {"variation": {"shoulder_height": 1.2}}
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        apply_overrides({}, [f"variation=@{tmp_path / 'none.yaml'}"])

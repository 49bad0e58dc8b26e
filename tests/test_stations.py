"""Robots with longer arms than cells are laid out for: where they stand, what they refuse, how their experts move."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from test_experts import play, trial

from training_ground.agents.experts.expert import Expert, Steps, raised
from training_ground.agents.experts.mechanism import Mechanism
from training_ground.agents.experts.operating import SLIPPED_S, Operator
from training_ground.agents.policy import load_policy
from training_ground.assets.catalog import load_model, load_spec
from training_ground.assets.compiler import _physical
from training_ground.assets.kinematics import shoulder
from training_ground.assets.library import cell_names, load_cell
from training_ground.assets.spec import Station
from training_ground.configs.errors import SimulationError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make
from training_ground.envs.robot import Robot
from training_ground.envs.world import World

ROBOT = "talos_grippers"


@pytest.fixture(scope="module")
def env() -> Iterator[HumanoidEnv]:
    env = make("TrayToTray", robot=ROBOT)
    yield env
    env.close()


# ---- where it stands -------------------------------------------------------------------------------------------------


def test_it_stands_behind_and_above_the_place_that_the_cell_has_for_it(env: HumanoidEnv):
    env.reset(seed=0)
    back, up = env.model.station
    assert back > 0.0 and up > 0.0
    height = load_cell("tray_station").shoulder_height + up - shoulder(env.model)
    assert env.robot.base.position == pytest.approx((-back, 0.0, height))


def test_without_a_station_it_stands_where_the_cell_says():
    model, world = load_model("g1_grippers"), World()
    assert model.station == (0.0, 0.0)
    robot = Robot(world, model, stance="mounted", shoulder_height=1.3)
    robot.place(model.default_position.tolist())
    assert robot.base.position == pytest.approx((0.0, 0.0, 1.3 - shoulder(model)))
    world.close()


def test_elsewhere_it_stands_at_the_origin():
    world, model = World(), load_model(ROBOT)
    assert Robot(world, model, stance="mounted").start_place[:2] == (0.0, 0.0)
    assert Robot(world, model).start_place == (0.0, 0.0, model.default_height)
    world.close()


def test_feet_in_the_floor_are_refused_by_how_deep():
    model = load_model(ROBOT)
    least = model.default_height + shoulder(model) - model.station[1]
    world = World()
    with pytest.raises(SimulationError, match=r"shoulder_height = 1\.1.*'talos_grippers' would be 74 mm in the floor"):
        Robot(world, model, stance="mounted", shoulder_height=1.1)
    Robot(world, model, stance="mounted", shoulder_height=least + 0.001)
    world.close()


def test_the_hash_knows_where_it_stands_but_not_what_it_cannot_do():
    spec = load_spec(ROBOT)
    assert spec.station is not None and "station" not in _physical(load_spec("talos"))
    other = spec.model_copy(update={"not_in": {}})
    moved = spec.model_copy(update={"station": spec.station.model_copy(update={"back": 0.1})})
    assert _physical(other) == _physical(spec) != _physical(moved)
    assert load_model("g1").station == (0.0, 0.0) and Station() == Station(back=0.0, up=0.0)


# ---- what it refuses -------------------------------------------------------------------------------------------------


def test_a_cell_in_which_it_cannot_work_is_refused_with_the_reason():
    with pytest.raises(SimulationError, match=r"'talos_grippers' cannot do task 'HandToHand'.* because its wrists"):
        make("HandToHand", robot=ROBOT)


def test_cells_that_are_refused_exist():
    assert set(load_model(ROBOT).not_in) <= set(cell_names())


# ---- how its experts move --------------------------------------------------------------------------------------------


def test_the_trunk_helps_an_arm_that_works_alone(env: HumanoidEnv):
    expert = trial(lambda expert: iter(()))
    play(env, expert, 0, most=1)
    assert all("torso_1_joint" in arm.chain.joint_names for arm in expert.arms.values())
    expert.__class__ = type("Both", (type(expert),), {"alone": False})
    play(env, expert, 0, most=1)
    assert not any("torso_1_joint" in arm.chain.joint_names for arm in expert.arms.values())


def test_a_way_on_which_a_joint_would_have_to_swing_is_none(env: HumanoidEnv):
    def what(expert: Expert) -> Steps:
        arm = expert.arms["right"]
        here, angles = arm.planned(expert.wanted), expert.wanted[arm.joints]
        end = raised(here, 0.05)
        assert arm.straight(angles, end, expert.wanted, touching=None)[0] is not None
        arm._fastest = 0.01 * arm._fastest
        found, why = arm.straight(angles, end, expert.wanted, touching=None)
        assert found is None and "_joint would have to turn by 0." in why
        yield

    play(env, trial(what), 0, most=2)


def test_a_handle_that_was_lost_is_let_go_of_at_once():
    other, took = make("OpenDrawer"), []

    class Misses(Operator):
        def procedure(self) -> Steps:
            start = other.steps
            yield from self.guide("right", Mechanism(self.task, self.task.moves), 0.3, to="way", speed=0.05, lead=0.01)
            took.append((other.steps - start) * other.control_timestep)

    play(other, Misses(), 0, most=150)
    other.close()
    assert took == [pytest.approx(SLIPPED_S, abs=0.05)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PressButton", "TurnValve", "OpenDoor", "BinPick", "TrayToTray"])
def test_its_experts_do_their_tasks(name: str):
    env = make(name, robot=ROBOT)
    policy = load_policy("expert")
    first, info = play(env, policy, 1_000_000)
    again, _ = play(env, policy, 1_000_000)
    env.close()
    assert info["success"], info["failure"]
    assert np.array_equal(first, again)

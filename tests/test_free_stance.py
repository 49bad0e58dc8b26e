"""Cells with stance `free`: a balance policy drives the legs, actions the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rollouts import actions, advance, digests, frame_digest

from training_ground.agents.legs import leg_policy
from training_ground.agents.policy import load_policy
from training_ground.agents.signature import signature_of
from training_ground.assets.catalog import load_model, load_spec
from training_ground.assets.gravity import at_work
from training_ground.configs.errors import AgentError, SimulationError
from training_ground.envs import legs, stander
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.fingerprint import fingerprint
from training_ground.envs.registration import make
from training_ground.envs.scenarios import Scenario

AT_WORK = at_work(load_model("g1_dex3"))


@pytest.fixture(scope="module")
def env() -> Iterator[HumanoidEnv]:
    env = make("PressButton", stance="free", episode_length_s=20.0)
    yield env
    env.close()


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Offer the scripted policy with other fields."""

    scripted = legs.offered(AT_WORK)

    def offer(**changes: Any) -> None:
        monkeypatch.setitem(legs._offers, "g1_dex3", lambda: replace(scripted, **changes))

    return offer


def reaching(env: HumanoidEnv, time: float) -> NDArray[np.float32]:
    """Both arms far out to the front and back again, once in 3 s, the trunk turning along."""
    action, share = np.zeros(env.action.shape, np.float32), 0.5 - 0.5 * math.cos(2 * math.pi * time / 3.0)
    for name, angle in (("shoulder_pitch", -1.2), ("elbow", 0.8), ("waist_yaw", 0.3)):
        for i, joint in enumerate(env.action_joints):
            if name in joint:
                action[i] = share * angle / env.action_scale[i]
    return action


# ---- what it is ------------------------------------------------------------------------------------------------------


def test_actions_are_those_of_a_mounted_robot_and_legs_stand_in_the_description(env: HumanoidEnv):
    mounted = make("PressButton")
    assert env.action_joints == mounted.action_joints == mounted.model.joint_names
    assert env.action_scale == pytest.approx(mounted.action_scale, abs=0.05)  # gravity's share, were it there
    assert not set(env.action_joints) & set(legs.offered(AT_WORK).driven)
    assert env.describe()["legs"] == {"policy": "stander", "hash": legs.offered(AT_WORK).hash}
    assert "legs" not in mounted.describe() and mounted.legs is None
    names = [channel.name for channel in env.observation.observed]
    assert names[:3] == ["base_linear_velocity", "base_angular_velocity", "projected_gravity"]
    assert names[3:] == [channel.name for channel in mounted.observation.observed]
    assert "fall" in env.task.failures and "fall" not in mounted.task.failures
    mounted.close()


def test_gains_of_arms_are_scaled_and_those_of_legs_are_not(env: HumanoidEnv):
    policy, names = legs.offered(AT_WORK), env.model.joint_names
    mounted = make("PressButton")
    for joint, kp in zip(policy.driven, policy.kp, strict=True):
        assert env.model.kp[names.index(joint)] == kp
    for joint, kp in zip(mounted.model.joint_names, mounted.model.kp, strict=True):
        assert env.model.kp[names.index(joint)] == kp
    mounted.close()


def test_a_robot_too_small_for_its_cell_stands_on_a_step(env: HumanoidEnv):
    env.reset(seed=3)
    assert env.terrain.kind == "step" and env.drawn["terrain"] == "step"
    height = env.terrain.at(0.0, 0.0)
    assert height == pytest.approx(env.robot.start_height - env.model.default_height)
    mounted = make("PressButton")
    assert env.robot.start_height == mounted.robot.start_height
    mounted.reset(seed=3)
    assert mounted.terrain.rows == ()
    mounted.close()
    advance(env, np.zeros((25, *env.action.shape), np.float32))
    assert all(env.robot.foot_contact) and not env.robot.touching
    assert env.base_height == pytest.approx(env.model.default_height, abs=0.03)


def test_the_policy_sees_what_it_was_trained_to_see(env: HumanoidEnv, monkeypatch: pytest.MonkeyPatch):
    assert env.legs is not None
    policy, seen = env.legs.policy, []

    def act(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(observation.copy())
        return policy.act(observation)

    monkeypatch.setattr(env.legs, "policy", replace(policy, act=act))
    env.reset(seed=4)
    for action in actions(env, 5, seed=4):
        env.step(action)
    before, k = env.frame(), len(policy.joints)
    last = env.legs.action
    env.step(np.zeros(env.action.shape, np.float32))
    assert len(seen) == 6
    place = [env.model.joint_names.index(name) for name in policy.joints]
    assert seen[-1][:3].tobytes() == before["base_linear_velocity"].tobytes()
    assert seen[-1][3:6].tobytes() == before["base_angular_velocity"].tobytes()
    assert seen[-1][6:9].tobytes() == before["projected_gravity"].tobytes()
    assert seen[-1][9 : 9 + k].tobytes() == before["joint_position"][place].tobytes()
    assert seen[-1][9 + k : 9 + 2 * k].tobytes() == before["joint_velocity"][place].tobytes()
    assert seen[-1][9 + 2 * k :].tobytes() == last.tobytes()
    target = policy.origin + policy.scale * env.legs.action
    assert env.target[env.legs.driven] == pytest.approx(target, abs=1e-9) and np.abs(target - policy.origin).max() > 0


def test_another_policy_makes_another_environment(env: HumanoidEnv, other: Any):
    scenario = Scenario("press_button", "PressButton", "nominal", "g1_dex3", ("equipment",), {"stance": "free"})
    mine, hashed = signature_of(env), fingerprint(scenario).parts
    other(hash="0" * 64)
    changed = make("PressButton", stance="free", episode_length_s=20.0)
    assert changed.describe()["config_hash"] != env.describe()["config_hash"]
    assert any("legs" in one for one in mine.differences(signature_of(changed)))
    now = fingerprint(scenario).parts
    assert {name for name in now if now[name] != hashed[name]} == {"assets"}
    changed.close()


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_robot_without_legs_for_it_is_refused():
    assert stander.unfit(AT_WORK) is None and stander.unfit(load_spec("g1_dex3")) is None
    with pytest.raises(SimulationError, match=r"'alex' has no two legs .*'mounted'"):
        legs.offered(load_model("alex"))
    stiff = load_model("g1_dex3", moving=[n for n in AT_WORK.joint_names if "left_knee" not in n])
    assert "no two legs" in str(stander.unfit(stiff))
    with pytest.raises(SimulationError, match="no two legs"):
        make("PressButton", stance="free", locked=["left_knee_joint"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"control": "joint_torque"}, "joint_torque"),
        ({"decimation": 7}, "71.4"),
        ({"driven": ["legs"]}, "driven"),
    ],
)
def test_options_that_leave_it_no_way_to_act_are_refused(options: dict[str, Any], named: str):
    with pytest.raises(SimulationError, match=named):
        make("PressButton", stance="free", **options)


def test_a_policy_for_another_robot_is_refused(other: Any):
    policy = legs.offered(AT_WORK)
    other(model_hash="0" * 64)
    with pytest.raises(SimulationError, match="another compiled model"):
        make("PressButton", stance="free")
    other(kp=1.01 * policy.kp)
    with pytest.raises(SimulationError, match="kp"):
        make("PressButton", stance="free")
    other(default=policy.default + 0.1)
    with pytest.raises(SimulationError, match="default_position"):
        make("PressButton", stance="free")


def test_a_policy_that_observes_what_is_locked_is_refused(other: Any):
    other()
    with pytest.raises(SimulationError, match="'waist_yaw_joint', which is locked"):
        make("PressButton", stance="free", locked=["waist_yaw_joint"])


def test_a_learned_policy_can_drive_legs():
    learned = leg_policy("stand_g1")
    assert len(learned.driven) == 12 and learned.control_rate == 50.0
    assert learned.act(np.zeros(9 + 2 * len(learned.joints) + 12, np.float32)).shape == (12,)
    shipped: Any = load_policy("stand_g1")
    assert learned.hash == shipped.hash


def test_a_policy_that_does_something_else_cannot_drive_legs():
    with pytest.raises(AgentError, match=r"'walk_g1': cannot drive legs"):
        leg_policy("walk_g1")


# ---- what happens ----------------------------------------------------------------------------------------------------


def test_same_seed_same_bits_also_after_restore(env: HumanoidEnv):
    first = digests(env, 5, 30)
    env.reset(seed=6)
    chosen = actions(env, 40, seed=6)
    advance(env, chosen[:10])
    kept, frame = env.save(), frame_digest(env)
    going_on = advance(env, chosen[10:])
    assert digests(env, 5, 30) == first
    env.restore(kept)
    assert frame_digest(env) == frame
    assert advance(env, chosen[10:]) == going_on


def test_control_steps_may_be_shorter_than_the_policys(monkeypatch: pytest.MonkeyPatch):
    env = make("PressButton", stance="free", decimation=5)
    calls = []
    assert env.legs is not None
    policy = env.legs.policy
    monkeypatch.setattr(env.legs, "policy", replace(policy, act=lambda seen: calls.append(1) or policy.act(seen)))
    env.reset(seed=1)
    advance(env, np.zeros((10, *env.action.shape), np.float32))
    assert len(calls) == 5
    env.close()


def test_who_falls_has_failed(env: HumanoidEnv):
    env.reset(seed=7)
    env.robot.body.add_base_velocity((-2.5, 0.0, 0.0))
    info: dict[str, Any] = {}
    for _ in range(150):
        *_, terminated, _, info = env.step(np.zeros(env.action.shape, np.float32))
        if terminated:
            break
    assert info["failure"] == "fall" and not info["success"]


def test_a_stop_leaves_the_legs_their_balance(env: HumanoidEnv):
    env.reset(seed=8)
    for step in range(40):
        env.step(reaching(env, step * env.control_timestep))
    assert env.task.monitor is not None and env.legs is not None
    env.task.monitor.emergency_stop()
    before, legs_moved = env.target.copy(), 0.0
    _, _, terminated, _, info = env.step(reaching(env, 0.8))
    arms = env.driven
    held = env.target[arms].copy()
    for step in range(41, 80):
        _, _, terminated, _, info = env.step(reaching(env, step * env.control_timestep))
        legs_moved = max(legs_moved, float(np.abs((env.target - before)[env.legs.driven]).max()))
        if terminated:
            break
    assert env.task.monitor.stopped and info["failure"] in (None, "unsafe")
    assert np.abs(env.target[arms] - held).max() < 0.2 and legs_moved > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_it_stands_for_ten_seconds_while_its_arms_work(env: HumanoidEnv, seed: int):
    env.reset(seed=seed)
    x, y, _ = env.robot.base.position
    farthest, info = 0.0, {}
    for step in range(500):
        *_, terminated, _, info = env.step(reaching(env, step * env.control_timestep))
        farthest = max(farthest, math.hypot(env.robot.base.position[0] - x, env.robot.base.position[1] - y))
        assert not terminated, info["failure"]
    elbow = env.robot.joint_position[env.model.joint_names.index("left_elbow_joint")]
    assert farthest < 0.15 and elbow > 0.1  # 10 s are no whole number of its turns: it is still on its way

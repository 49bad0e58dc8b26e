"""What every environment promises, tried on every task, robot and stance that there is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from rollouts import OtherProcess, actions, advance, digests, frame_digest

from training_ground.assets.catalog import load_spec, robot_names
from training_ground.configs.errors import SimulationError
from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make, task_ids, tasks

STEPS = 60
UNITS = {"1", "rad", "rad/s", "m", "m/s", "m/s²", "N", "N·m", "s", "kg", "rad or m", "rad/s or m/s", "N·m or N"}
RANDOM = {"friction": (0.4, 1.2), "mass_scale": (0.9, 1.1), "centre_of_mass": (0.0, 0.02), "gain_scale": (0.9, 1.1),
          "motor_strength": (0.9, 1.1), "delay_s": (0.0, 0.015), "joint_friction": (0.0, 0.1)}  # fmt: skip
NOISE = {"scale": {"joint_position": 0.01, "joint_velocity": 0.5}, "latency_steps": (0, 3), "dropout": 0.2}
FRAMES = {"world", "heading", "base", "imu", "joint", "none"}


class Combination(NamedTuple):
    """A task, a robot and a stance."""

    task: str
    robot: str
    stance: str

    def options(self, **more: Any) -> dict[str, Any]:
        return {"name": self.task, "robot": self.robot, "stance": self.stance, **more}

    def make(self, **more: Any) -> HumanoidEnv:
        return make(**self.options(**more))


def supported(task: str, robot: str, stance: str) -> bool:
    """Whether the task takes the robot; the specification tells without a compilation."""
    spec: Any = load_spec(robot)
    return tasks()[task].unsupported(spec, stance) is None


EVERY = [Combination(t, r, s) for t in tasks() for r in robot_names() for s in ("free", "mounted")]
SUPPORTED = [c for c in EVERY if supported(*c)]
UNSUPPORTED = [c for c in EVERY if c not in SUPPORTED]


CELLS = {"PressButton", "BeltPick", "TendPress"}
"""Tasks in cells that stand for the others where time is short: mechanisms, a belt, a machine."""


def parameters() -> list[Any]:
    """All that is supported; of cells most with the slow tests, and only two with another robot than their own."""
    found = []
    for one in SUPPORTED:
        kind = tasks()[one.task]
        cell = issubclass(kind, CellTask)
        own = cell and one.robot == kind.defaults["robot"]
        if not cell or own or one.task in ("PressButton", "TrayToTray"):
            slow = cell and not (own and one.task in CELLS and one.stance == "mounted")
            found.append(pytest.param(one, id="-".join(one), marks=pytest.mark.slow if slow else ()))
    return found


@pytest.fixture(scope="module", params=parameters())
def combination(request: pytest.FixtureRequest) -> Combination:
    return request.param


@pytest.fixture(scope="module")
def env(combination: Combination) -> Iterator[HumanoidEnv]:
    env = combination.make()
    yield env
    env.close()


class Rollout(NamedTuple):
    """Several episodes under random actions; a row more in `observations` and `frames` for each reset."""

    observations: NDArray[np.float32]
    rewards: list[float]
    infos: list[dict[str, Any]]
    frames: list[dict[str, NDArray[Any]]]


@pytest.fixture(scope="module")
def rollout(env: HumanoidEnv) -> Rollout:
    observation, _ = env.reset(seed=11)
    result = Rollout(np.zeros((0, len(observation)), np.float32), [], [], [env.frame()])
    seen: list[Any] = [observation]
    for action in actions(env, STEPS, seed=11):
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append(observation)
        result.rewards.append(reward)
        result.infos.append(info)
        result.frames.append(env.frame())
        if terminated or truncated:
            seen.append(env.reset()[0])
            result.frames.append(env.frame())
    return result._replace(observations=np.stack(seen))


@pytest.fixture(scope="module")
def other_process() -> Iterator[OtherProcess]:
    process = OtherProcess()
    yield process
    process.close()


# ---- what is there ---------------------------------------------------------------------------------------------------


def test_every_robot_has_a_task():
    assert {c.robot for c in SUPPORTED} == set(robot_names())
    assert {c.task for c in SUPPORTED} == set(tasks())
    assert len(robot_names()) >= 8


@pytest.mark.parametrize("combination", UNSUPPORTED, ids="-".join)
def test_unsupported_combination_is_a_clear_error(combination):
    with pytest.raises(SimulationError) as caught:
        combination.make()
    message = str(caught.value)
    assert combination.robot in message or combination.task in message
    assert combination.stance in message or "has no" in message or "cannot do" in message


def test_channels_declare_unit_frame_and_description(env):
    names = [c.name for c in env.channels]
    assert len(names) == len(set(names))
    for channel in env.channels:
        assert channel.name.isidentifier() and channel.name == channel.name.lower()
        assert channel.unit in UNITS, channel
        assert channel.frame in FRAMES, channel
        assert channel.description.endswith(".") and len(channel.description) > 8, channel
        assert channel == Channel.from_json(channel.to_json())
        if channel.shape:
            assert len(channel.components) == channel.shape[-1], f"{channel.name} does not name its components"


def test_frame_has_every_channel_as_declared(env, rollout):
    for frame in (rollout.frames[0], rollout.frames[-1]):
        assert list(frame) == [c.name for c in env.channels]
        for channel in env.channels:
            value = frame[channel.name]
            assert (value.shape, value.dtype) == (channel.shape, np.dtype(channel.dtype)), channel.name


def test_raw_frames_expand_to_the_bits_of_frames(env):
    """The recorder copies raw values straight into its rows, and works the rest out at the end."""
    env.reset(seed=3)
    frames, raws = [env.frame()], [{k: np.array(v) for k, v in env.raw_frame().items()}]
    for action in actions(env, 3, seed=3):
        env.step(action)
        frames.append(env.frame())
        raws.append({k: np.array(v) for k, v in env.raw_frame().items()})
    names = {c.name for c in env.channels}
    found = env.expand({k: np.stack([raw[k] for raw in raws]) for k in raws[0] if k not in names})
    for channel in env.channels:
        rows = np.zeros((len(frames), *channel.shape), channel.dtype)
        if channel.name in found:
            rows[:] = found[channel.name]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for i, raw in enumerate(raws):
                    rows[i] = raw[channel.name]
        for row, frame in zip(rows, frames, strict=True):
            assert row.tobytes() == frame[channel.name].tobytes(), channel.name


def test_first_frame_has_no_action_and_no_reward(env):
    env.reset(seed=3)
    frame = env.frame()
    for channel in env.channels:
        if channel.role in ("action", "reward"):
            assert not frame[channel.name].any(), channel.name


def test_joint_channels_follow_the_models_order(env):
    env.reset(seed=0)
    frame = env.frame()
    position = [frame["joint_angle"][env.model.joint_names.index(name)] for name in env.model.joint_names]
    declared = next(c for c in env.channels if c.name == "joint_angle").components
    assert declared == env.model.joint_names == tuple(env.robot.body.joint_names)
    assert position == frame["joint_angle"].tolist()


def test_describe_is_plain_json(env):
    import json

    text = json.dumps(env.describe(), allow_nan=False)
    described = json.loads(text)
    assert described["robot"] == env.model.name and described["model_hash"] == env.model.hash
    assert described["env_id"] in task_ids()
    assert described["instruction"].endswith(".")
    assert described["control_rate"] == pytest.approx(50.0)


# ---- checkers --------------------------------------------------------------------------------------------------------

HARMLESS = (
    "minimum value is -infinity", "maximum value is infinity", "not within the observation space",
    "we recommend using a symmetric and normalized", "different from the unwrapped version",
)  # fmt: skip


def complaints(caught: list[warnings.WarningMessage]) -> list[str]:
    """What a checker warned of, but for unbounded observations, which velocities are."""
    texts = [str(w.message) for w in caught]
    return [t for t in texts if not any(h in t for h in HARMLESS[:2])]


def test_gymnasium_checker(combination):
    env = combination.make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env, skip_render_check=True)
    assert complaints(caught) == []


def test_stable_baselines3_checker(combination):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = combination.make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checker.check_env(env, warn=True, skip_render_check=True)
    assert complaints(caught) == []
    env.close()


def test_stable_baselines3_checker_of_dict_observations():
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = make("Stand", robot="g1", observation_format="dict")
    checker.check_env(env, warn=False)
    env.close()


def test_gymnasium_checker_with_pictures():
    env = gymnasium.make("TrainingGround/Stand-v0", robot="g1_legs", render_mode="rgb_array", disable_env_checker=True)
    check_env(env.unwrapped)
    env.close()


# ---- rollouts --------------------------------------------------------------------------------------------------------


def test_observations_are_finite_and_inside_the_space(env, rollout):
    assert np.isfinite(rollout.observations).all()
    assert all(env.observation_space.contains(row) for row in rollout.observations)
    for frame in rollout.frames:
        assert all(np.isfinite(value).all() for value in frame.values())


def test_no_observation_is_constant(env, rollout):
    """Within an episode, or, as goals and commands, from one to the next."""
    starts = [env.reset(seed=seed)[0] for seed in range(12, 20)]
    spread = np.ptp(np.vstack([rollout.observations, *starts]), axis=0)
    for channel in env.observation.observed:
        part = spread[env.observation.slices[channel.name]]
        if isinstance(env.task, CellTask):  # what stands on a bench keeps its height, and a force needs a touch
            assert part.max() > 1e-6 or channel.name in ("hand_force", "mechanism", "machine"), channel.name
            continue
        constant = [name for name, width in zip(channel.components or ("",), part, strict=True) if width < 1e-6]
        assert not constant, f"{channel.name}: {constant}"


def test_reward_terms_sum_to_the_reward(env, rollout):
    for reward, info, frame in zip(rollout.rewards, rollout.infos, _after_steps(rollout), strict=True):
        terms = info["reward_terms"]
        assert tuple(terms) == tuple(env.task.terms)
        assert reward == pytest.approx(sum(terms.values()), rel=1e-12)
        assert all(0.0 <= value <= 1.0 for value in terms.values()) and reward <= 1.0 + 1e-9
        assert frame["reward"] == reward
        for name, value in terms.items():
            assert frame[f"reward_{name}"] == np.float32(value)


def _after_steps(rollout: Rollout) -> list[dict[str, NDArray[Any]]]:
    """The frames that belong to a step; those of a reset have no action, and random actions are never all zero."""
    return [frame for frame in rollout.frames if frame["action"].any()]


def test_info_is_complete(env, rollout):
    for info in rollout.infos:
        assert isinstance(info["success"], bool)
        assert info["failure"] is None or info["failure"] in env.task.failures
        assert info["phase"] in env.task.phases


def test_starts_are_randomised(env):
    first, _ = env.reset(seed=1)
    second, _ = env.reset(seed=2)
    assert np.abs(first - second).max() > 1e-3
    third, info = env.reset()
    fourth, other = env.reset()
    assert info["seed"] != other["seed"]
    assert np.abs(third - fourth).max() > 1e-3


def test_no_episode_starts_in_a_wrong_place(env):
    """At every start the feet just stand on the floor, and nothing else touches anything, unless the robot lies."""
    for seed in range(8):
        env.reset(seed=seed)
        start = env.robot.base.position
        lies = "fall" not in env.task.failures
        assert lies or not (env.robot.self_contact or env.robot.touching)
        assert min([0.0, *(c.distance for c in env.robot.body.contacts())]) > -0.001
        _, reward, terminated, _, _ = env.step(np.zeros(env.action_space.shape or (), np.float32))
        assert not terminated and reward > 0.0
        assert lies or not env.robot.touching
        # A foot that comes down with 0.5 m/s is 2.5 mm further in a physics step.
        assert min([0.0, *(c.distance for c in env.robot.body.contacts())]) > -0.004
        moved = np.abs(np.subtract(env.robot.base.position, start)).max()
        assert moved < (1e-9 if env.stance == "mounted" else 0.01)
        assert np.abs(env.robot.joint_velocity).max() < 8.0


def test_the_drawn_seed_repeats_the_episode(env):
    _, info = env.reset()
    first = frame_digest(env)
    env.reset(seed=info["seed"])
    assert frame_digest(env) == first


def test_episode_ends_in_time(combination):
    env = combination.make(episode_length_s=0.1)
    env.reset(seed=0)
    flags = [env.step(np.zeros(env.action_space.shape, np.float32))[2:4] for _ in range(5)]
    assert flags == [(False, False)] * 4 + [(False, True)]
    with pytest.raises(SimulationError, match="reset"):
        env.step(np.zeros(env.action_space.shape, np.float32))
    env.close()


def test_both_observation_formats_agree(combination, env):
    other = combination.make(observation_format="dict")
    flat, _ = env.reset(seed=4)
    parts, _ = other.reset(seed=4)
    for action in actions(env, 5):
        assert other.observation_space.contains(parts)
        seen = [parts.pop(c.name) for c in other.observation.pictures]
        assert all(picture.dtype == np.uint8 and picture.std() > 1.0 for picture in seen)
        assert list(parts) == [c.name for c in env.observation.observed]
        assert np.concatenate([p.ravel() for p in parts.values()]).tobytes() == flat.tobytes()
        flat, parts = env.step(action)[0], other.step(action)[0]
    other.close()


@pytest.mark.parametrize("control", ["joint_position", "joint_delta", "joint_torque"])
def test_control_modes(combination, control):
    if tasks()[combination.task].balanced and combination.stance == "free":
        pytest.skip("test_free_stance.py has it: legs that a policy drives are not what an action commands")
    env = combination.make(control=control, decimation=1)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape or (), np.float32)
    action[0] = 0.1
    reference = env.task.reference()
    still = env.action_origin if reference is None else env.action_origin + reference
    origin = still if control == "joint_position" else env.target.copy()
    env.step(action)
    if control == "joint_torque":
        expected = 0.1 * env.model.effort_limit * (action > 0)
        assert env.frame()["joint_torque"] == pytest.approx(expected, abs=env.model.friction.max() + 1e-5)
    else:
        scale = env.action_scale
        assert (scale > 0).all() and (control == "joint_position" or (scale == 0.05).all())
        assert env.target == pytest.approx(np.clip(origin + scale * action, env.model.lower, env.model.upper))
        env.step(action)
        again = env.target if control == "joint_position" else origin + 2 * scale * action
        assert env.target == pytest.approx(np.clip(again, env.model.lower, env.model.upper))
    env.close()


# ---- the same bits ---------------------------------------------------------------------------------------------------


def test_same_seed_same_bits_after_another_episode(env):
    first = digests(env, 5, 30)
    env.reset(seed=6)
    ended = False
    for action in actions(env, 200, seed=6):  # most free robots fall; a mounted one is left wherever it is
        _, _, terminated, truncated, _ = env.step(action)
        if ended := terminated or truncated:
            break
    assert ended or env.stance == "mounted" or env.steps == 200
    assert digests(env, 5, 30) == first


def test_same_seed_same_bits_in_another_environment(combination, env):
    other = combination.make()
    assert digests(other, 5, 30) == digests(env, 5, 30)
    other.close()


def test_environments_do_not_touch_each_other(combination, env):
    """Two that are stepped in turns do what each would do alone."""
    other = combination.make()
    alone = digests(env, 5, 12)
    env.reset(seed=5)
    other.reset(seed=6)
    together = [frame_digest(env)]
    for mine, theirs in zip(actions(env, 12, 5), actions(env, 12, 6), strict=True):
        if not env._ended:
            together += advance(env, mine[None])
        if not other._ended:
            other.step(theirs)
    assert together == alone
    other.close()


def test_episodes_without_seeds_follow_from_the_first(env):
    drawn = []
    for _ in range(2):
        env.reset(seed=21)
        drawn.append([env.reset()[1]["seed"] for _ in range(3)])
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 3


def test_same_seed_same_bits_in_another_process(combination, env, other_process):
    assert other_process.digests(combination.options(), 7, 30) == digests(env, 7, 30)


def test_same_bits_after_restore(env):
    env.reset(seed=8)
    chosen = actions(env, 60, seed=8)
    advance(env, chosen[:7])
    kept = env.save()
    first_frame = frame_digest(env)
    first = advance(env, chosen[7:40])
    measured = repr(env.task.metrics())
    following = env.reset()[1]["seed"]
    env.reset(seed=9)
    advance(env, chosen)
    for _ in range(2):  # a kept state can be returned to as often as one likes
        env.restore(kept)
        assert frame_digest(env) == first_frame
        assert advance(env, chosen[7:40]) == first
        assert repr(env.task.metrics()) == measured
    assert env.reset()[1]["seed"] == following


def test_same_bits_after_restore_with_everything_switched_on():
    """Randomisation, noise, latency, dropout and joint deltas: whatever has a memory is in the snapshot."""
    env = make("Stand", robot="g1", control="joint_delta", randomisation=RANDOM, noise=NOISE, push_interval_s=0.2)
    env.reset(seed=1)
    chosen = 0.2 * actions(env, 40, seed=1)
    advance(env, chosen[:6])
    kept = env.save()
    drawn = dict(env.drawn)
    first = advance(env, chosen[6:])
    for seed in (2, 3):
        env.reset(seed=seed)
        advance(env, chosen[:3])
    env.restore(kept)
    assert env.drawn == drawn
    assert advance(env, chosen[6:]) == first
    assert len(first) > 10
    env.close()


def test_same_bits_in_another_process_with_everything_switched_on(other_process):
    options = {"name": "Reach", "robot": "g1", "stance": "free", "randomisation": RANDOM, "noise": NOISE}
    env = make(**options)
    assert other_process.digests(options, 3, 25) == digests(env, 3, 25)
    env.close()


@pytest.mark.parametrize("robot", ["g1", "g1_legs"])
def test_same_bits_without_the_compiled_substeps(robot):
    process = OtherProcess(TG_ACTUATOR="numpy")
    env = make("Stand", robot=robot)
    theirs = process.digests({"name": "Stand", "robot": robot}, 3, 40)
    process.close()
    assert theirs == digests(env, 3, 40)
    env.close()

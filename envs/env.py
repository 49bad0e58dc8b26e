"""`HumanoidEnv`: one pipeline from action to observation, readable from top to bottom."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.assets.catalog import load_model
from training_ground.assets.gravity import at_work
from training_ground.assets.model import CompiledModel
from training_ground.configs.errors import SimulationError, unknown
from training_ground.configs.loading import validate
from training_ground.envs.channels import Channel
from training_ground.envs.description import described
from training_ground.envs.legs import Legs
from training_ground.envs.observation import Observation
from training_ground.envs.options import named_joints, split_options
from training_ground.envs.randomisation import draw
from training_ground.envs.robot import Robot
from training_ground.envs.sensing import Sensing
from training_ground.envs.task import SPARSE, Outcome, Task
from training_ground.envs.terrain import FLAT, THICKNESS, Terrain
from training_ground.envs.world import SavedState, World

Observed = NDArray[np.float32] | dict[str, NDArray[Any]]

RENDER_SIZE = (480, 640)

TORQUE_SHARE = 0.8
"""Share of the effort limit that a full action asks for at the default pose, where no action scale is given."""

LARGEST_SCALE = 1.0
"""rad a unit of action at most."""


@dataclass(frozen=True)
class Snapshot:
    """An exact state of an environment, generators included; valid for the environment that gave it."""

    world: SavedState
    rest: dict[str, Any]


class HumanoidEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """A humanoid robot with a task.

    The reset's seed fixes the whole episode, bit for bit; an episode that was reset without a seed tells the one that
    it drew in `info["seed"]`.

    Args:
        task: The task's class.
        render_mode: `rgb_array`, or None.
        **options: Fields of `EnvOptions` and of the task's own configuration.

    Raises:
        SimulationError: An option is unknown or out of range, or the robot cannot do the task.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 (Gymnasium's own convention)

    def __init__(self, task: type[Task], render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise SimulationError(f"render_mode = {render_mode!r}: allowed are None and 'rgb_array'")
        self.render_mode = render_mode
        self.config, task_config = split_options(task, options)
        self._looks = task.has_cameras()
        self.model = load_model(self.config.robot, visuals=self.visible)
        self.stance = self.config.stance or next((s for s in task.stances if s in self.model.stances), task.stances[0])
        self._require_fit(task)
        if self.config.locked:
            self.model = self._locked()
            self._require_fit(task)
        if task.works:
            self.model = at_work(self.model)
        balanced = task.balanced and self.stance == "free"
        spared = self.model.groups["legs"] if balanced else ()
        self.model = _with_gains(self.model, self.config.stiffness_scale, self.config.damping_scale, spared)
        self.control_timestep = self.config.physics_timestep * self.config.decimation
        self.max_steps = max(1, round((self.config.episode_length_s or task.episode_length_s) / self.control_timestep))
        self.metadata = {**self.metadata, "render_fps": round(1 / self.control_timestep)}
        self._build_world(task, task_config)
        self.legs = Legs(self) if balanced else None
        self.task = task(task_config, self)
        if self.config.reward == "sparse":
            self.task.terms = SPARSE
        names = self.model.joint_names
        driven = named_joints("driven", self.config.driven, self.model)
        if self.legs is not None:
            driven = tuple(i for i in driven if i not in self.legs.driven)
            if not driven:
                raise SimulationError(
                    f"driven = {list(self.config.driven)}: a balance policy moves all of these joints"
                )
        observed = named_joints("observed", self.config.observed, self.model)
        self._driven = np.array(driven)
        self._all_driven = len(self._driven) == len(names)
        self.action_joints = tuple(names[i] for i in self._driven)
        self.observation = Observation(
            self.robot, self.task, self.control_timestep, driven, observed, self.config.observation_history,
            pictures=self.config.observation_format == "dict",
        )  # fmt: skip
        self.channels: tuple[Channel, ...] = self.observation.channels
        self.sensing = Sensing(self.config.noise, self.observation.observed)
        self.observation_space = self.observation.space(self.config.observation_format)
        count = len(self._driven)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (count,), np.float32)
        self.action_scale = self._scale_of_actions()[self._driven]
        self.action_origin = self.robot.holding_target()
        if self.legs is not None:
            self.action_origin[self.legs.driven] = self.legs.policy.origin
        self.target = self.action_origin.copy()
        self.action = np.zeros(count, np.float32)
        self.previous_action = np.zeros(count, np.float32)
        self.outcome = Outcome({}, False)
        self.steps = 0
        self.episode_seed = 0
        self.drawn: dict[str, Any] = {}
        self.terrain: Terrain = FLAT
        self.generator = np.random.default_rng(0)
        self._ended = True
        self._closed = False
        self._origin = self.world.save()

    @property
    def visible(self) -> bool:
        """Whether cameras see the robot."""
        return self.config.visuals or self.render_mode is not None or self._looks

    def _require_fit(self, task: type[Task]) -> None:
        reason = task.unsupported(self.model, self.stance)
        if reason:
            raise SimulationError(reason)

    def _locked(self) -> CompiledModel:
        """The model without the joints that the options lock."""
        locked = named_joints("locked", self.config.locked, self.model)
        moving = [name for i, name in enumerate(self.model.joint_names) if i not in locked]
        if not moving:
            raise SimulationError(f"locked = {list(self.config.locked)}: leaves robot '{self.model.name}' no joint")
        return load_model(self.config.robot, visuals=self.visible, moving=moving)

    def _build_world(self, task: type[Task], task_config: Any) -> None:
        config = self.config
        self.world = World(timestep=config.physics_timestep, solver_iterations=config.solver_iterations)
        self.world.add_ground(visual=self.visible)
        slabs = task.ground(self.stance)
        if slabs:
            count, width, span = slabs
            self.world.add_slabs(count, (width, span, THICKNESS), visual=self.visible)
        self.robot = Robot(
            self.world,
            self.model,
            stance=self.stance,
            visuals=self.visible,
            tracked=task.tracked(self.model),
            ballast=config.randomisation.centre_of_mass is not None,
            loads=task.loads(self.model),
            shoulder_height=task.shoulder_height(task_config),
        )
        if config.control != "joint_torque":
            gains, masses = config.randomisation.gain_scale, config.randomisation.mass_scale
            self.robot.require_stable_gains(gains[1] if gains else 1.0, masses[0] if masses else 1.0)

    def _scale_of_actions(self) -> NDArray[np.float64]:
        config = self.config
        if config.control == "joint_torque":
            return self.model.effort_limit * (config.action_scale or 1.0)
        if config.control == "joint_delta":
            return np.full_like(self.model.kp, config.action_scale or 0.05)
        fixed = config.action_scale or self.task.action_scale
        if fixed == "range":
            origin = self.robot.holding_target()
            return np.maximum(self.model.upper - origin, origin - self.model.lower)
        if fixed is not None:
            return np.full_like(self.model.kp, fixed)
        # A full action asks for most of the motor's torque, on a weak ankle as on a strong hip.
        return np.minimum(TORQUE_SHARE * self.model.effort_limit / np.maximum(self.model.kp, 1e-9), LARGEST_SCALE)

    @property
    def driven(self) -> NDArray[np.int64]:
        """Indices of `action_joints` in the robot's arrays."""
        return self._driven

    # ---- the pipeline ------------------------------------------------------------------------------------------------

    def step(self, action: NDArray[np.float32]) -> tuple[Observed, float, bool, bool, dict[str, Any]]:
        """Advance by one control step.

        Args:
            action: (n,) in [-1, 1], one number for each of `action_joints`; what lies beyond is clipped. A safety
                monitor that has stopped the robot ignores it.

        Raises:
            SimulationError: The action has another shape, is not finite, or the episode has ended.
        """
        command, monitor = self._command(action), self.task.monitor
        if self.legs is not None:
            self.legs.command(self)
        held = None if monitor is None else monitor.targets(self.target)
        self.task.before_step()
        if held is not None:
            self.target = held
            self.robot.advance(held, self.config.decimation)
        elif self.config.control == "joint_torque":
            self.robot.advance_torque(command, self.config.decimation)
        else:
            self.robot.advance(command, self.config.decimation)
        self.steps += 1
        outcome = self.task.checked(self.task.evaluate())
        outcome = outcome if monitor is None else monitor.judge(outcome)
        reward = sum(outcome.terms.values())
        if not math.isfinite(reward):
            raise SimulationError(self._diverged(outcome))
        if self.config.reward == "sparse":
            outcome, reward = outcome.sparse(), float(outcome.success)
        self.outcome = outcome
        terminated = outcome.failure is not None
        truncated = not terminated and (self.steps >= self.max_steps or self.task.finished)
        self._ended = terminated or truncated
        return self._observe(), reward, terminated, truncated, self._info()

    def _command(self, action: NDArray[np.float32]) -> NDArray[np.float64]:
        """Turn an action into joint targets, rad, or torques, N·m."""
        if self._ended:
            why = "the environment is closed" if self._closed else "the episode has ended; call reset first"
            raise SimulationError(f"step: {why}")
        action = np.asarray(action, dtype=np.float32)
        if action.shape != self.action.shape:
            raise SimulationError(
                f"action: shape {action.shape}, expected {self.action.shape}, one number a driven joint"
            )
        if not math.isfinite(float(action.sum())):
            bad = [self.action_joints[i] for i in np.flatnonzero(~np.isfinite(action))[:3]]
            raise SimulationError(f"action: not finite for {', '.join(bad)}; allowed are numbers in [-1, 1]")
        self.previous_action = self.action
        self.action = action = np.minimum(np.maximum(action, -1.0), 1.0)
        change = self.action_scale * action
        if not self._all_driven:
            whole = np.zeros(len(self.target))
            whole[self._driven] = change
            change = whole
        if self.config.control == "joint_torque":
            return change
        if self.config.control == "joint_delta":
            origin = self.target
        else:
            reference = self.task.reference()
            origin = self.action_origin if reference is None else self.action_origin + reference
        self.target = np.minimum(np.maximum(origin + change, self.model.lower), self.model.upper)
        return self.target

    def _observe(self) -> Observed:
        truth = self.observation.read(self)
        seen = self.sensing.apply(truth, self.generator)
        if self.config.observation_format == "flat":
            return self.observation.with_history(seen)
        pictures = self.task.pictures() if self.observation.pictures else {}
        return {**self.observation.split(seen), **pictures}

    def _info(self) -> dict[str, Any]:
        outcome = self.outcome
        info = {
            "reward_terms": outcome.terms,
            "success": outcome.success,
            "failure": outcome.failure,
            "phase": outcome.phase,
            "instruction": self.task.asked,
        }
        if not self._ended:
            return info
        monitor = self.task.monitor
        return {**info, "metrics": {**self.task.metrics(), **(monitor.metrics() if monitor else {})}}

    def _diverged(self, outcome: Outcome) -> str:
        bad = [name for name, value in outcome.terms.items() if not math.isfinite(value)]
        return (
            f"the simulation diverged at step {self.steps}: reward terms {', '.join(bad)} are not finite; "
            "lower physics_timestep, or the gains (`tg robots audit` names the joint)"
        )

    # ---- episodes ----------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Fixes the episode; drawn from the environment's generator where absent.
            options: None are known.

        Returns:
            The first observation; info as `step` gives it, with `seed` and the drawn `randomisation` besides.
        """
        super().reset(seed=seed)
        if options:
            raise SimulationError(
                f"reset: unknown options {', '.join(options)}; randomise by keyword arguments instead"
            )
        self.episode_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        # A stream of its own: the episode must not depend on how many episodes were drawn before it.
        self.generator = np.random.default_rng([self.episode_seed, 1])
        self.world.restore(self._origin)
        self.terrain = FLAT
        self.drawn = draw(self.config.randomisation, len(self.model.joint_names), self.generator)
        self.drawn.update(self.task.draw(self.generator))
        self.robot.randomise(self.drawn)
        self.task.apply(self.drawn)
        self.drawn.update(self.sensing.reset(self.generator))
        self.steps = 0
        self._ended = False
        self.target = self.action_origin.copy()
        self.action = np.zeros_like(self.action)
        self.previous_action = np.zeros_like(self.action)
        self.outcome = Outcome(dict.fromkeys(self.task.terms, 0.0), False, None, self.task.phases[0])
        if self.legs is not None:
            self.legs.reset()
        if self.task.prepares:
            self.task.prepare(self.generator)
            self.world.restore(self._origin)
        self._place()
        self.task.reset(self.generator)
        self.observation.reset(self)
        return self._observe(), {**self._info(), "seed": self.episode_seed, "randomisation": self.drawn}

    @property
    def adjustable(self) -> dict[str, Any]:
        """What `adjust` may change, as it is now."""
        return {name: getattr(self.task.config, name) for name in self.task.adjustable}

    def adjust(self, **values: Any) -> None:
        """Change what episodes are drawn from, from the next reset on: how a curriculum grows.

        Args:
            values: Some of `adjustable`.

        Raises:
            SimulationError: One is unknown, or its value is not allowed.
        """
        task = self.task
        for name in values:
            if name not in task.adjustable:
                raise SimulationError(
                    unknown(f"adjustable option of TrainingGround/{task.id}-v0", name, task.adjustable)
                )
        whole = {**task.config.model_dump(), **values}
        task.config = validate(task.config_type, whole, f"TrainingGround/{task.id}-v0", SimulationError)

    def _place(self) -> None:
        """Lay the terrain and put the robot on it in a randomised pose, in the joint limits, no link inside another."""
        noise = self.config.start_joint_noise
        offset = self.generator.uniform(-noise, noise, len(self.model.joint_names))
        free = self.stance == "free"
        yaw = float(self.generator.uniform(-math.pi, math.pi)) if free and self.task.turned else 0.0
        tilt = self.generator.uniform(-0.02, 0.02, 2).tolist() if free else [0.0, 0.0]
        self.terrain = self.task.terrain(self.generator, yaw)
        if self.terrain.rows:
            self.world.lay(self.terrain.poses())
            self.drawn["terrain"] = self.terrain.kind
        for share in (1.0, 0.5, 0.25, 0.0):
            joints = self.model.default_position + share * offset
            joints = np.minimum(np.maximum(joints, self.model.lower), self.model.upper)
            self.robot.place(joints.tolist(), yaw, (tilt[0], tilt[1]), self.terrain)
            if not self.robot.self_contact:
                break

    def save(self) -> Snapshot:
        """Keep the exact state: world, actuators, task, sensors and generators."""
        rest = {name: copy.deepcopy(getattr(self, name)) for name in _SAVED}
        rest["task"] = self.task.save()
        rest["robot"] = self.robot.save()
        rest["legs"] = None if self.legs is None else self.legs.save()
        rest["sensing"] = self.sensing.save()
        rest["observation"] = self.observation.save()
        rest["np_random"] = copy.deepcopy(self.np_random)
        return Snapshot(self.world.save(), rest)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a kept state, bit for bit."""
        self.world.restore(snapshot.world)
        rest = copy.deepcopy(snapshot.rest)
        for name in _SAVED:
            setattr(self, name, rest[name])
        self.robot.randomise(self.drawn)
        self.task.apply(self.drawn)
        self.robot.restore(rest["robot"])
        if self.legs is not None:
            self.legs.restore(rest["legs"])
        self.task.restore(rest["task"])
        self.sensing.restore(rest["sensing"])
        self.np_random = rest["np_random"]
        self.observation.restore(rest["observation"])

    # ---- what others read --------------------------------------------------------------------------------------------

    @property
    def base_height(self) -> float:
        """Height of the base's origin over the ground below it, m."""
        x, y, z = self.robot.base.position
        return z - self.terrain.under(x, y)

    def frame(self) -> dict[str, NDArray[Any]]:
        """Current value of every channel, by name, with the declared shape and dtype."""
        if not self.outcome.terms:
            raise SimulationError("frame: no episode has begun; call reset first")
        return self.observation.frame(self)

    def raw_frame(self) -> dict[str, Any]:
        """What `expand` makes frames of, for who copies it at once: the next step changes some of the arrays."""
        if not self.outcome.terms:
            raise SimulationError("raw_frame: no episode has begun; call reset first")
        return self.observation.raw_frame(self)

    def expand(self, raw: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Work out the channels that raw frames leave out, of all frames (T, ...) since the reset at once."""
        return self.observation.expand(self, raw)

    def privileged(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Current values of channels that a policy does not see, one after the other: for a critic in training.

        Args:
            names: `foot_contact`, `joint_torque`, or channels of the task with role `state`.

        Raises:
            SimulationError: There is no such channel.
        """
        return self.observation.privileged(self, names)

    def describe(self) -> dict[str, Any]:
        """Everything that makes this environment what it is, as plain JSON data."""
        return described(self)

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """Picture (480, 640, 3) uint8 from a camera that follows the robot."""
        if not self.visible:
            raise SimulationError("render: make the environment with render_mode='rgb_array' or visuals=True")
        x, y, z = self.robot.base.position
        height, width = RENDER_SIZE
        eye = (x + 2.2, y - 1.6, max(z, 0.5) + 0.5)
        return self.world.camera(
            eye, (x, y, max(0.55 * self.model.default_height, z - 0.2)), width=width, height=height
        ).rgb

    def camera_poses(self) -> dict[str, dict[str, Sequence[float]]]:
        """Position (3,), m, and orientation (4,), a quaternion xyzw, in the world of the camera behind each picture
        that is observed."""
        poses = self.task.camera_poses() if self.observation.pictures else {}
        return {channel.name: poses[channel.name] for channel in self.observation.pictures if channel.name in poses}

    def close(self) -> None:
        """Free the engine's memory; the environment cannot be used afterwards."""
        self._ended = self._closed = True
        self.world.close()


_SAVED = (
    "target", "action", "previous_action", "outcome", "steps", "episode_seed", "drawn", "terrain", "generator",
    "_ended",
)  # fmt: skip


def _with_gains(model: CompiledModel, stiffness: float, damping: float, spared: Sequence[str]) -> CompiledModel:
    """The model with factors on its gains, but for those of the fingers and of joints to be spared."""
    if (stiffness, damping) == (1.0, 1.0):
        return model
    left_out = {*(name for hand in model.hands for name in hand.fingers), *spared}
    arms = np.array([name not in left_out for name in model.joint_names])
    kp, kd = (np.where(arms, factor, 1.0) for factor in (stiffness, damping))
    return replace(model, kp=kp * model.kp, kd=kd * model.kd)

"""The policy `teleoperation`: does what a person asks of hands and joints, whatever device the person asks with."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.arm import pose_of
from training_ground.agents.experts.servo import Servo
from training_ground.agents.teleoperation.glide import Glide
from training_ground.agents.teleoperation.limb import SPEEDS_UP_S, Limb
from training_ground.agents.teleoperation.states import FASTEST, HandState, Speeds
from training_ground.assets.gravity import Gravity
from training_ground.assets.poses import Array, Pose, rotation_vector
from training_ground.configs.errors import AgentError, unknown
from training_ground.envs.env import HumanoidEnv

NAME = "teleoperation"
GAIN = 3.0
"""1/s: how fast targets move on where a joint stands off what was wanted, as scripted experts have it, at most."""
DAMPED = 0.25
"""Share of damping over inertia, 1/s, that this is: above 1 a joint swings ever wider (Routh)."""
LEAD = 0.4
"""Share of a motor's effort that it takes to hold a joint as far off what is asked of it as that runs ahead at most: a
hand that something is in the way of pushes, and pushes harder slowly, but does not jump when the way is free."""
ROOM = 0.2
"""Share of the action's scale that is left for weight, where no action tells a joint to go to its limits."""
FINGERS_S = 0.5
"""s in which a finger's joint goes through its whole range."""
ARRIVED, ALIGNED = 2e-3, 0.02
"""m and rad within which a hand counts as told to be at its target."""
PATIENCE_S = 0.5
"""s without getting nearer after which a target counts as out of reach."""
NEARER = 5e-4
"""m (a radian counts as 0.3 m) by which it must get nearer in that time."""


@dataclass
class _Asked:
    """What is asked of a hand; replaced whole, never changed, but for `since`."""

    target: Pose | None = None
    since: float | None = None
    closed: float = 0.0
    pointing: bool = False


@dataclass
class _Approach:
    """How near a hand has come to its target, and for how long no nearer."""

    target: Pose | None = None
    best: float = np.inf
    waited: float = 0.0


class Teleoperator:
    """Acts as it is asked to from outside, by any thread.

    Hands go to poses by inverse kinematics, joints to angles, both within the joint limits and no faster than `speeds`.
    What was asked last counts: who moves a slider of an arm takes its hand off its target, and the other way round.
    What stands in the way is left to physics.

    Args:
        speeds: Limits.

    Attributes:
        speeds: Limits.
        lower, upper: (n) what joints are asked for at most, rad: their limits, within what an action can tell.
        wanted: (n) what is asked of the joints in this control step, rad.
        latency_s: Wall-clock time from the last new target of a hand until it first told in an action, s; None before.
    """

    name = NAME

    def __init__(self, speeds: Speeds | None = None) -> None:
        self.speeds = speeds or Speeds()
        self.latency_s: float | None = None
        self._lock = threading.Lock()
        self._env: HumanoidEnv | None = None

    # ---- as a policy -------------------------------------------------------------------------------------------------

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode: everything is asked to stay where it is, and the hands to open.

        Raises:
            AgentError: The robot can fall, has no hands, or is not driven by joint positions, all of its joints.
        """
        inner = env.unwrapped
        if not isinstance(inner, HumanoidEnv):
            raise AgentError(f"policy '{NAME}': works in tasks of the training ground, not in {env}")
        _require_fit(inner)
        model = inner.model
        self.lower, self.upper = _limits(inner)
        limbs = {hand.side: Limb(inner, hand, self.lower, self.upper) for hand in model.hands}
        fingers = [int(i) for limb in limbs.values() for i in limb.fingers]
        self.wanted = np.clip(inner.robot.joint_position, self.lower, self.upper)
        inertia = Gravity(model).inertia(model.default_position) + model.armature
        self._servo = Servo(inner, fingers, np.minimum(GAIN, DAMPED * model.kd / inertia))
        self._lead = LEAD * model.effort_limit / model.kp
        self._moves = np.array([i not in fingers for i in range(len(self.wanted))])
        self._glide = self._joints_glide(inner, limbs)
        with self._lock:
            self._env, self._limbs = inner, limbs
            self._goals = self.wanted.copy()
            self._trunk: str | None = None
            self._asked = {side: _Asked(limb.planned(self.wanted)) for side, limb in limbs.items()}
            self._approach = {side: _Approach() for side in limbs}

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action that brings hands and joints a control step nearer to what is asked of them."""
        monitor = self._begun().task.monitor
        # While the safety monitor holds the robot the work waits, or it would go on far from where the hands are.
        waits = monitor is not None and (monitor.stopped or monitor.catching_up)
        before = self.wanted.copy()
        with self._lock:
            for one in self._asked.values():
                if one.since is not None:
                    self.latency_s, one.since = time.monotonic() - one.since, None
            if not waits:
                self._servo.correct(self.wanted)
                self._move()
            return self._servo.action(self.wanted, before)

    def _move(self) -> None:
        """Bring `wanted` a control step nearer to what is asked."""
        asked, goals, trunk = self._asked, self._goals.copy(), self._trunk
        for side, limb in self._limbs.items():
            if asked[side].target is not None:
                goals[limb.own] = self.wanted[limb.own]
            self._use_fingers(limb, asked[side], goals)
        if trunk is not None:
            goals[self._limbs[trunk].trunk] = self.wanted[self._limbs[trunk].trunk]
        self.wanted = self._glide.step(self.wanted, goals)
        # Whoever has the trunk goes first: the other hand then makes up for how it has moved.
        for side in sorted(self._limbs, key=lambda side: side != trunk):
            self._approach_target(side, asked[side].target, trunk == side)
        here = self._begun().robot.joint_position
        held = np.clip(self.wanted, here - self._lead, here + self._lead)
        self.wanted = np.clip(np.where(self._moves, held, self.wanted), self.lower, self.upper)

    def _approach_target(self, side: str, target: Pose | None, trunk: bool) -> None:
        limb, kept, speeds = self._limbs[side], self._approach[side], self.speeds
        if target is None:
            limb.rest()
            return
        if target is not kept.target:
            kept.target, kept.best, kept.waited = target, np.inf, 0.0
        limb.step(
            self.wanted, target, trunk=trunk, speed=speeds.hand, turn=speeds.turn, joint_speed=self._glide.fastest
        )
        distance, angle = _apart(limb.planned(self.wanted), target)
        left = distance + 0.3 * angle
        if left < kept.best - NEARER:
            kept.best, kept.waited = left, 0.0
        else:
            kept.waited += self._begun().control_timestep

    def _use_fingers(self, limb: Limb, asked: _Asked, goals: Array) -> None:
        hand = limb.hand
        if asked.pointing:
            limb.use("tip")
            goals[limb.fingers] = hand.pointing or goals[limb.fingers]
        else:
            limb.use("grip")
            if hand.open:
                goals[limb.fingers] = np.array(hand.open) + asked.closed * np.subtract(hand.closed, hand.open)

    def _joints_glide(self, env: HumanoidEnv, limbs: dict[str, Limb]) -> Glide:
        model, speeds = env.model, self.speeds
        fastest = np.full(len(model.joint_names), speeds.joint)
        fastest[[model.joint_names.index(name) for name in model.groups.get("trunk", ())]] = speeds.trunk
        quickest = fastest / SPEEDS_UP_S
        for limb in limbs.values():
            fastest[limb.fingers] = (model.upper - model.lower)[limb.fingers] / FINGERS_S
            quickest[limb.fingers] = 1e4 * fastest[limb.fingers]  # they need no run-up
        return Glide(fastest, quickest, env.control_timestep)

    # ---- what is asked: from any thread ------------------------------------------------------------------------------

    def aim(self, side: str, target: Pose) -> None:
        """Ask a hand to go to a pose in the world: its grip frame, or its tip while it points.

        Raises:
            AgentError: There is no such hand, or the pose is not finite.
        """
        if not (np.isfinite(target.position).all() and np.isfinite(target.rotation).all()):
            raise AgentError(f"{side} hand: target {target.position.tolist()} is not finite")
        with self._lock:
            self._asked[side] = replace(self._of(side), target=target, since=time.monotonic())

    def close(self, side: str, share: float) -> None:
        """Ask fingers to close: 0 open, 1 closed as far as they go.

        Raises:
            AgentError: There is no such hand, it does not grip, or the share is not in [0, 1].
        """
        if not 0.0 <= share <= 1.0:
            raise AgentError(f"{side} hand: closed = {share:g}; allowed are 0 (open) to 1 (closed)")
        with self._lock:
            asked = self._of(side)
            if not self._limbs[side].hand.open:
                raise AgentError(f"{side} hand of robot '{self._begun().model.name}' does not grip")
            self._asked[side] = replace(asked, closed=float(share))

    def hasten(self, speed: float) -> None:
        """Let hands be as fast as a speed, m/s, at most.

        Raises:
            AgentError: It is not above zero, or faster than `FASTEST`.
        """
        if not 0.0 < speed <= FASTEST:
            raise AgentError(f"speed of the hands {speed:g} m/s: allowed are speeds above 0 up to {FASTEST:g}")
        self.speeds = replace(self.speeds, hand=speed)

    def point(self, side: str, pointing: bool) -> None:
        """Ask a hand to stretch the finger that presses, which is what then goes to a target, or to grip again.

        Either way the hand stays where it is until it is given a new target.

        Raises:
            AgentError: There is no such hand, or it has no finger that points.
        """
        with self._lock:
            asked, limb = self._of(side), self._limbs[side]
            if pointing and limb.hand.tip is None:
                raise AgentError(f"{side} hand of robot '{self._begun().model.name}' has no finger that points")
            if asked.pointing != pointing:
                limb.use("tip" if pointing else "grip")
                target = None if asked.target is None else limb.planned(self.wanted)
                self._asked[side] = replace(asked, pointing=pointing, target=target)

    def bend(self, joint: str, angle: float) -> None:
        """Ask a joint to go to an angle, rad (m where it slides); its hand gives up its target.

        Raises:
            AgentError: There is no such joint, a finger's among them, or the angle is beyond the joint's limits.
        """
        with self._lock:
            model = self._begun().model
            if joint not in self.joints():
                raise AgentError(unknown(f"joint of robot '{model.name}' to be moved", joint, self.joints()))
            i = model.joint_names.index(joint)
            if not self.lower[i] <= angle <= self.upper[i]:
                raise AgentError(
                    f"joint '{joint}': {angle:g} must lie within {self.lower[i]:.3f} and {self.upper[i]:.3f}"
                )
            for side, limb in self._limbs.items():
                if i in limb.own and self._asked[side].target is not None:
                    self._asked[side] = replace(self._asked[side], target=None)
                    self._goals[limb.own] = self.wanted[limb.own]
            if self._trunk is not None and i in self._limbs[self._trunk].trunk:
                self._give_trunk(None)
            self._goals[i] = angle

    def give_trunk(self, side: str | None) -> None:
        """Let the trunk come along with a hand; with None it goes where its joints are asked to, at first nowhere.

        Raises:
            AgentError: There is no such hand, or no trunk that moves it.
        """
        with self._lock:
            if side is not None and self._of(side) and not len(self._limbs[side].trunk):
                raise AgentError(f"robot '{self._begun().model.name}': no joint of the trunk moves the {side} hand")
            self._give_trunk(side)

    def _give_trunk(self, side: str | None) -> None:
        if self._trunk is not None:
            moved = self._limbs[self._trunk].trunk
            self._goals[moved] = self.wanted[moved]
        self._trunk = side

    # ---- what others see ---------------------------------------------------------------------------------------------

    @property
    def trunk(self) -> str | None:
        """The side whose hand the trunk comes along with."""
        return self._trunk

    @property
    def sides(self) -> tuple[str, ...]:
        """Hands that there are."""
        return tuple(self._limbs)

    def joints(self) -> tuple[str, ...]:
        """Joints that `bend` moves: all but the fingers'."""
        return tuple(n for n, moves in zip(self._begun().model.joint_names, self._moves, strict=True) if moves)

    def hand(self, side: str) -> HandState:
        """How a hand stands to what is asked of it; not while another thread is in `act`."""
        with self._lock:
            asked, limb, kept = self._of(side), self._limbs[side], self._approach[side]
            planned = limb.planned(self.wanted)
            here = pose_of(self._begun().robot.frame(limb.frames[limb.tool]))
        lag = float(np.linalg.norm(here.position - planned.position))
        if asked.target is None:
            return HandState(None, planned, 0.0, 0.0, lag, "sliders", asked.closed, asked.pointing)
        distance, angle = _apart(planned, asked.target)
        reach = "moving"
        if distance < ARRIVED and angle < ALIGNED:
            reach = "there"
        elif asked.target is kept.target and kept.waited > PATIENCE_S:
            reach = "out of reach"
        return HandState(asked.target, planned, distance, angle, lag, reach, asked.closed, asked.pointing)

    def _of(self, side: str) -> _Asked:
        """What is asked of a hand now."""
        self._begun()
        if side not in self._asked:
            raise AgentError(unknown("hand", side, self._asked))
        return self._asked[side]

    def _begun(self) -> HumanoidEnv:
        if self._env is None:
            raise AgentError(f"policy '{NAME}': reset(env) must come before anything is asked of it")
        return self._env


def _apart(pose: Pose, other: Pose) -> tuple[float, float]:
    """Distance, m, and angle, rad, between two poses."""
    turn = rotation_vector(other.rotation @ pose.rotation.T)
    return float(np.linalg.norm(other.position - pose.position)), float(np.linalg.norm(turn))


def _limits(env: HumanoidEnv) -> tuple[Array, Array]:
    """Least and largest angles (n) that a person may ask for, rad: not all tasks' actions go everywhere."""
    model, origin, scale = env.model, env.action_origin, env.action_scale
    low, high = origin - scale, origin + scale
    lower = np.where(low > model.lower + 1e-9, low + ROOM * scale, model.lower)
    upper = np.where(high < model.upper - 1e-9, high - ROOM * scale, model.upper)
    return lower, upper


def _require_fit(env: HumanoidEnv) -> None:
    """Refuse what a person cannot move without falling over, or at all."""
    config, where = env.config, f"task '{env.task.id}' with robot '{env.model.name}'"
    if not env.model.hands:
        raise AgentError(f"{where}: the robot has no hands; policy '{NAME}' needs them")
    if env.stance != "mounted":
        stances = _allowed(env.task.stances)
        raise AgentError(f"{where}: stance '{env.stance}': nothing would keep it on its feet; {stances}")
    if config.control != "joint_position" or len(env.action_joints) != len(env.model.joint_names):
        raise AgentError(f"{where}: policy '{NAME}' needs control 'joint_position' with every joint driven")


def _allowed(stances: Iterable[str]) -> str:
    if "mounted" in stances:
        return "give it a stand with stance 'mounted'"
    return "tasks for teleoperation are those in factory cells, and Reach, with stance 'mounted'"

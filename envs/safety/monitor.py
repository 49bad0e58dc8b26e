"""The safety monitor: looks at every control step of a cell, and stops the robot where it must."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.layout import Workspace
from training_ground.configs.errors import SimulationError
from training_ground.envs import balance
from training_ground.envs.channels import Channel
from training_ground.envs.safety import contacts, reporting
from training_ground.envs.safety.contacts import LARGEST_TIMESTEP
from training_ground.envs.safety.options import Cause, SafetyOptions
from training_ground.envs.safety.separation import Separation
from training_ground.envs.safety.stopping import LONGEST_S, Brake
from training_ground.envs.safety.watched import OK, STOPPED, WARNING, Watched
from training_ground.envs.task import Outcome
from training_ground.envs.world import Thing

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

Array = NDArray[np.float64]

MOVING = 0.02
"""m/s towards a person from which on the robot moves: what an object at rest may have."""
CLOSE = 0.8
"""Share of a contact limit at which the monitor warns."""
REGAINED = 0.1
"""m beyond the protective distance of a robot at rest at which a protective stop ends: else it would come and go."""
RESUME_SPEED = 0.5
"""rad/s (m/s of a slide) at which the joints' targets catch up with what is commanded after a protective stop."""
GIVE = math.radians(1.0)
"""rad (m of a slide) by which a joint may be beyond its limits, which in the engine are springs."""
SATURATED = 0.999
"""Share of its effort limit at which a motor gives all that it has."""


class Monitor:
    """Watches contact with persons, their separation from the robot, joints, torques, workspace and falls.

    Args:
        env: What it watches.
        options: Its settings.
        persons: The cell's items that are persons.
        workspace: Where the hands should stay, if anywhere.

    Raises:
        SimulationError: There is a person, and it can move, or the physics step is too long for contact forces.
    """

    def __init__(
        self, env: HumanoidEnv, options: SafetyOptions, persons: Sequence[Thing], workspace: Workspace | None
    ) -> None:
        self._env, self._options, self._persons, self._workspace = env, options, tuple(persons), workspace
        self._require_possible()
        self.separation = Separation(
            env.control_timestep + options.sensing_s, options.stopping_s, options.intrusion, options.uncertainty
        )
        model = env.model
        self._middle = (model.lower + model.upper) / 2
        ranges = np.array([(model.upper - model.lower) / 2 + GIVE, np.maximum(model.effort_limit, 1e-9)])
        self._scale, self._shares = 1.0 / ranges, np.empty_like(ranges)
        self._brake = Brake(env.robot, () if env.legs is None else env.legs.driven)
        # Where nothing but joints is watched, the monitor must not be felt.
        self._joints_only = not persons and workspace is None and env.stance == "mounted"
        self.watched = Watched(np.zeros_like(ranges))
        if persons:
            env.world.substeps.each.append(self._look)

    def _require_possible(self) -> None:
        timestep = self._env.config.physics_timestep
        for person in self._persons:
            if not person.fixed:
                raise SimulationError(f"'{person.name}' is a person: it must be 'fixed', at its place or on its walk")
            if timestep > LARGEST_TIMESTEP:
                raise SimulationError(
                    f"physics_timestep = {timestep:g}: must be at most {LARGEST_TIMESTEP:g} s where there is a person, "
                    f"'{person.name}': with longer steps contact forces are too small to be compared with limits"
                )

    # ---- the episode -------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Start an episode; the robot and the cell are in their places."""
        self.watched = Watched(np.zeros_like(self._shares))
        self._measure_separation()

    def save(self) -> Any:
        """What `restore` needs."""
        return copy.deepcopy(self.watched)

    def restore(self, saved: Any) -> None:
        """Return to what `save` gave."""
        self.watched = copy.deepcopy(saved)

    @property
    def stopped(self) -> bool:
        """Whether the robot is held, and its actions are ignored."""
        return self.watched.stop is not None

    @property
    def catching_up(self) -> bool:
        """Whether its targets still have to catch up with what is commanded, after a stop."""
        return self.watched.resuming is not None

    def targets(self, commanded: Array) -> Array | None:
        """Return joint targets (n), rad, in place of what is commanded; None where that may go through.

        Args:
            commanded: (n,) rad.
        """
        watched = self.watched
        if watched.stop is not None:
            return self._balancing(watched.stop.target, commanded)
        if watched.resuming is None:
            return None
        reach = RESUME_SPEED * self._env.control_timestep
        resuming = np.clip(commanded, watched.resuming - reach, watched.resuming + reach)
        watched.resuming = self._balancing(resuming, commanded)
        caught_up = np.array_equal(watched.resuming, commanded)
        result = watched.resuming
        if caught_up:
            watched.resuming = None
        return result

    def _balancing(self, held: Array, commanded: Array) -> Array:
        """Targets (n) with those of legs that a policy drives as commanded: a robot whose legs stopped would fall."""
        legs = self._env.legs
        if legs is None:
            return held
        result = held.copy()
        result[legs.driven] = commanded[legs.driven]
        return result

    def judge(self, outcome: Outcome) -> Outcome:
        """Look at the control step that has been simulated; return the task's outcome, or a failure."""
        watched, within = self.watched, self._joints_within_limits()
        if within and self._joints_only and watched.stop is None:
            watched.state = OK
            return outcome
        found = self._violations(within)
        for cause in found:
            watched.counts[cause] = watched.counts.get(cause, 0) + 1
        self._stop(found)
        hard, watched.touches.now = watched.touches.now >= CLOSE, 0.0
        if watched.stop is not None:
            watched.state = STOPPED
            if watched.stop.emergency:
                over = watched.stop.time is not None or watched.stop.elapsed > LONGEST_S
                ended = over and self._options.after_emergency_stop == "unsafe"
                return replace(outcome, success=False, failure=outcome.failure or ("unsafe" if ended else None))
        else:
            watched.state = WARNING if found or hard or self._too_near() else OK
        return outcome

    def emergency_stop(self) -> None:
        """Stop the robot from the next control step on, as its red button does."""
        self._begin("button", emergency=True)

    # ---- what it sees ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """After each physics step, where there are persons."""
        contacts.look(self.watched.touches, self._persons, self._env.world.timestep)

    def _joints_within_limits(self) -> bool:
        """Look at all positions and torques at once."""
        robot, shares, peaks = self._env.robot, self._shares, self.watched.peaks
        np.subtract(robot.joint_position, self._middle, out=shares[0])
        shares[1] = robot.joint_torque
        np.abs(shares, out=shares)
        np.multiply(shares, self._scale, out=shares)
        np.maximum(peaks, shares, out=peaks)
        return bool(shares.max() < SATURATED)

    def _violations(self, within: bool) -> dict[Cause, float]:
        """What is beyond its limit in this control step, and by how much; `within` where no joint is."""
        env, found = self._env, dict[Cause, float]()
        if not within:
            position, torque = self._shares.max(axis=1).tolist()
            if position > 1.0:
                found["joint_limit"] = position
            if torque >= SATURATED:
                found["torque_limit"] = torque
        if self._workspace is not None:
            out = self._out_of_workspace(self._workspace)
            self._note(found, "workspace", out, out > 0.0)
        if env.stance == "free":
            fallen = balance.fallen(env)
            self._note(found, "fall", float(fallen), fallen)
        if self._persons:
            self._watch_persons(found)
        return found

    def _note(self, found: dict[Cause, float], cause: Cause, size: float, violated: bool) -> None:
        largest = self.watched.largest
        largest[cause] = max(largest.get(cause, size), size)
        if violated:
            found[cause] = size

    def _watch_persons(self, found: dict[Cause, float]) -> None:
        touches = self.watched.touches
        self._note(found, "contact", touches.now, touches.now > 1.0)
        missing = self._measure_separation()
        self._note(found, "separation", missing, missing > 0.0)

    def _measure_separation(self) -> float:
        """Measure how near a person is; return by how much the robot is too near for its speed, m."""
        if not self._persons:
            return -math.inf
        watched, far = self.watched, self.separation.farthest
        body = self._env.robot.body
        near = [point for person in self._persons for point in body.nearest(person, within=far)]
        watched.separation = min((point.distance for point in near), default=far)
        watched.least_separation = min(watched.least_separation, watched.separation)
        return self.separation.missing(near, MOVING)

    def _too_near(self) -> bool:
        """Whether a person is nearer than the robot may be even at rest."""
        return bool(self._persons) and self.watched.separation < self.separation.protective_distance(0.0)

    def _out_of_workspace(self, box: Workspace) -> float:
        """m by which a hand is out of a box; negative inside."""
        return max(
            max(low - x, x - high)
            for place in self._brake.hands()
            for low, x, high in zip(box.low, place, box.high, strict=True)
        )

    # ---- stops -------------------------------------------------------------------------------------------------------

    def _stop(self, found: dict[Cause, float]) -> None:
        """Begin, go on with or end a stop."""
        watched = self.watched
        self._follow()
        causes = [cause for cause in found if cause in self._options.stops]
        emergency = [cause for cause in causes if cause != "separation"]
        if causes and (watched.stop is None or (emergency and not watched.stop.emergency)):
            self._begin((emergency or causes)[0], emergency=bool(emergency))

    def _begin(self, cause: str, *, emergency: bool) -> None:
        watched = self.watched
        # What a stop was told to hold stays told: an emergency during a protective stop must not drop anything.
        commanded = self._env.target if watched.stop is None else watched.stop.target
        watched.stop = self._brake.stop(cause, commanded, emergency=emergency)
        watched.stops[cause] = watched.stops.get(cause, 0) + 1
        watched.resuming = None

    def _follow(self) -> None:
        """Measure the stop under way; end a protective one where the distance has been regained."""
        watched, stop = self.watched, self.watched.stop
        if stop is None:
            return
        moving = stop.time is None
        self._brake.watch(stop, self._env.control_timestep)
        if moving and stop.time is not None and stop.distance is not None:
            watched.stopped_time = max(watched.stopped_time or 0.0, stop.time)
            watched.stopped_distance = max(watched.stopped_distance or 0.0, stop.distance)
        if not stop.emergency and watched.separation > self.separation.protective_distance(0.0) + REGAINED:
            positions = self._env.config.control != "joint_torque"
            watched.resuming, watched.stop = stop.target.copy() if positions else None, None

    # ---- what others see ---------------------------------------------------------------------------------------------

    def channels(self) -> tuple[Channel, ...]:
        """Channels of a cell with a person; none elsewhere."""
        return reporting.channels(self.separation.farthest) if self._persons else ()

    def values(self) -> dict[str, Any]:
        """What the channels declare."""
        return reporting.values(self.watched) if self._persons else {}

    def metrics(self) -> dict[str, float]:
        """What an episode is measured by; see `reporting.metrics`."""
        return reporting.metrics(self.watched, bool(self._persons))

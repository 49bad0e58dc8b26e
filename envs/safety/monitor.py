"""The safety monitor: looks at every control step of a cell, and stops the robot where it must."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.layout import Workspace
from training_ground.configs.errors import SimulationError
from training_ground.envs import balance
from training_ground.envs.channels import Channel
from training_ground.envs.safety import contacts
from training_ground.envs.safety.contacts import LARGEST_TIMESTEP, Touches
from training_ground.envs.safety.options import Cause, SafetyOptions
from training_ground.envs.safety.separation import Separation
from training_ground.envs.safety.stopping import LONGEST_S, Brake, Stop
from training_ground.envs.task import Outcome
from training_ground.envs.world import Thing

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

Array = NDArray[np.float64]

OK, WARNING, STOPPED = "ok", "warning", "stopped"
STATES = (OK, WARNING, STOPPED)
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


@dataclass
class Watched:
    """What the monitor knows of an episode; saved and restored with it.

    Attributes:
        state: `ok`, `warning` or `stopped`.
        counts: Control steps with a violation, by its cause.
        largest: Largest of each cause: share of the contact limit, m by which the separation was too small, rad beyond a
            joint's limit, share of an effort limit, m out of the workspace, 1 for a fall.
        separation: To the nearest person now, m.  least_separation: since the episode began.
        touches: Contacts with persons.
        stop: The stop under way.  stops: Those that there were, by cause.
        stopped_time, stopped_distance: The longest stop, s, and the farthest, m.
        resuming: (n,) targets that catch up with what is commanded after a stop, rad.
    """

    state: str = OK
    counts: dict[str, int] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    separation: float = math.inf
    least_separation: float = math.inf
    touches: Touches = field(default_factory=Touches)
    stop: Stop | None = None
    stops: dict[str, int] = field(default_factory=dict)
    stopped_time: float | None = None
    stopped_distance: float | None = None
    resuming: Array | None = None


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
        self._lower, self._upper = model.lower, model.upper
        self._per_effort = 1.0 / np.maximum(model.effort_limit, 1e-9)
        self._brake = Brake(env.robot)
        self.watched = Watched()
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
        self.watched = Watched()
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

    def targets(self, commanded: Array) -> Array | None:
        """Return joint targets (n), rad, in place of what is commanded; None where that may go through.

        Args:
            commanded: (n,) rad.
        """
        watched = self.watched
        if watched.stop is not None:
            return watched.stop.target
        if watched.resuming is None:
            return None
        reach = RESUME_SPEED * self._env.control_timestep
        watched.resuming = np.clip(commanded, watched.resuming - reach, watched.resuming + reach)
        caught_up = np.array_equal(watched.resuming, commanded)
        result = watched.resuming
        if caught_up:
            watched.resuming = None
        return result

    def judge(self, outcome: Outcome) -> Outcome:
        """Look at the control step that has been simulated; return the task's outcome, or a failure."""
        watched, found = self.watched, self._violations()
        for cause in found:
            watched.counts[cause] = watched.counts.get(cause, 0) + 1
        self._stop(found)
        if watched.stop is not None:
            watched.state = STOPPED
            if watched.stop.emergency:
                over = watched.stop.time is not None or watched.stop.elapsed > LONGEST_S
                ended = over and self._options.after_emergency_stop == "unsafe"
                return replace(outcome, success=False, failure=outcome.failure or ("unsafe" if ended else None))
        else:
            near = watched.touches.now >= CLOSE
            watched.state = WARNING if found or near or self._too_near() else OK
        return outcome

    # ---- what it sees ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """After each physics step, where there are persons."""
        contacts.look(self.watched.touches, self._persons, self._env.world.timestep)

    def _violations(self) -> dict[Cause, float]:
        """What is beyond its limit in this control step, and by how much."""
        env, found = self._env, dict[Cause, float]()
        position = env.robot.joint_position
        beyond = float(np.maximum(self._lower - position, position - self._upper).max())
        self._note(found, "joint_limit", beyond, beyond > GIVE)
        share = float((np.abs(env.robot.joint_torque) * self._per_effort).max())
        self._note(found, "torque_limit", share, share >= SATURATED)
        if self._workspace is not None:
            out = self._out_of_workspace(self._workspace)
            self._note(found, "workspace", out, out > 0.0)
        if env.stance == "free":
            fallen = balance.relative_height(env) < balance.FALL_HEIGHT or balance.tilt(env.robot) > balance.FALL_TILT
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
            cause = (emergency or causes)[0]
            # What a stop was told to hold stays told: an emergency during a protective stop must not drop anything.
            commanded = self._env.target if watched.stop is None else watched.stop.target
            watched.stop = self._brake.stop(cause, commanded, emergency=bool(emergency))
            watched.stops[cause] = watched.stops.get(cause, 0) + 1
            watched.resuming = None
        watched.touches.now = 0.0

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
        if not self._persons:
            return ()
        far = f"Distance to the nearest person, at most {self.separation.farthest:.2f} m."
        state = "Of the safety monitor: 0 ok, 1 warning, 2 stopped, its actions ignored."
        share = "Largest contact force on a person so far, as a share of its limit."
        return (
            Channel("separation", (), "m", "none", "observation", far),
            Channel("safety_state", (), "1", "none", "observation", state),
            Channel("contact_share", (), "1", "none", "state", share),
        )

    def values(self) -> dict[str, Any]:
        """What the channels declare."""
        watched = self.watched
        if not self._persons:
            return {}
        return {
            "separation": watched.separation,
            "safety_state": float(STATES.index(watched.state)),
            "contact_share": watched.largest.get("contact", 0.0),
        }

    def metrics(self) -> dict[str, float]:
        """What an episode is measured by.

        Returns:
            `joint_limit`, rad beyond a joint's limit at most (negative within), and `torque_limit`, largest share of an
            effort limit; where hands have a workspace `workspace`, m out of it at most. With a person: `least_separation`,
            m; `protective_stops` and `emergency_stops`; `stop_time`, s, and `stop_distance`, m, the largest of the stops
            that came to rest; and for each region that was touched `contact_<region>`, the largest share of its limit.
        """
        watched = self.watched
        kept = ("joint_limit", "torque_limit", "workspace")
        found = {name: watched.largest[name] for name in kept if name in watched.largest}
        if not self._persons and not watched.stops:
            return found
        protective = watched.stops.get("separation", 0)
        found["protective_stops"] = float(protective)
        found["emergency_stops"] = float(sum(watched.stops.values()) - protective)
        if self._persons:
            found["least_separation"] = watched.least_separation
        if watched.stopped_time is not None and watched.stopped_distance is not None:
            found |= {"stop_time": watched.stopped_time, "stop_distance": watched.stopped_distance}
        return found | {f"contact_{region}": share for region, share in watched.touches.shares.items()}

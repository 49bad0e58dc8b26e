"""The events of a cell at work: what happens in an episode, when it begins, and when it is over."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from training_ground.assets.events import BeltStop, Blackout, Drop, Event, Priority, Shortage
from training_ground.configs.errors import SimulationError
from training_ground.envs.cell import Cell
from training_ground.envs.channels import Channel
from training_ground.envs.robot import Robot
from training_ground.envs.states import LinkState

Drawn = Mapping[str, Mapping[str, Any]]
"""What an episode has drawn: `events` from `Events.draw`, and `cell` from `Cell.draw`."""


@dataclass
class Course:
    """How far an event has come.

    Attributes:
        began: s from the start of the episode; None where it has not.
        over: Whether it has ended.
        item: What has been lifted, where that makes a drop begin.
        lifted: s at which it was.
        side: Of the hand that fails.
        seen: Where the frames of what a blackout hides were last seen.
    """

    began: float | None = None
    over: bool = False
    item: str = ""
    lifted: float = math.inf
    side: str = ""
    seen: dict[str, LinkState] = field(default_factory=dict)

    @property
    def now(self) -> bool:
        """Whether it is under way."""
        return self.began is not None and not self.over


class Events:
    """The events of a cell.

    Args:
        place: The cell, whose specification says what may happen.
        robot: Who works in it.
        task: The task's name.
        spares: Items that it can do without.
        orders: Whether its order can change.

    Attributes:
        spec: What may happen, by name.
        courses: How far each event of this episode has come.

    Raises:
        SimulationError: A blackout of an item that has joints, or an event that the task has no use for.
    """

    def __init__(
        self, place: Cell, robot: Robot, task: str, *, spares: Collection[str] = (), orders: bool = False
    ) -> None:
        self.spec: dict[str, Event] = dict(place.spec.events)
        self._place, self._robot = place, robot
        self._full = robot.drive.actuator.parameters
        drops = [event for event in self.spec.values() if isinstance(event, Drop)]
        self._lifted = tuple(dict.fromkeys(item for event in drops for item in event.items))
        self._floor: dict[str, float] = {}
        self.courses: dict[str, Course] = {}
        for name, event in self.spec.items():
            where = f"cell '{place.spec.name}', events.{name}"
            if isinstance(event, Priority) and not orders:
                raise SimulationError(f"{where}.kind = 'priority': task '{task}' has no order that could change")
            for item in event.named().get("items", ()):
                if isinstance(event, Blackout) and place.things[item].joint_names:
                    raise SimulationError(f"{where}.items = '{item}': has joints, which a blackout does not hide")
                if isinstance(event, Shortage) and item not in spares:
                    allowed = ", ".join(sorted(spares)) or "none"
                    raise SimulationError(
                        f"{where}.items = '{item}': task '{task}' cannot do without it. Allowed: {allowed}"
                    )

    # ---- the episode -------------------------------------------------------------------------------------------------

    def draw(self, generator: np.random.Generator) -> dict[str, dict[str, Any]]:
        """Draw the events of an episode, by name: `at_s`, or `after_s` of a drop, `lasts_s`, and of a shortage the
        `item` that lacks."""
        drawn: dict[str, dict[str, Any]] = {}
        for name, event in self.spec.items():
            if generator.random() >= event.chance:
                continue
            drawn[name] = {
                one: float(generator.uniform(*getattr(event, one)))
                for one in ("at_s", "after_s", "lasts_s")
                if hasattr(event, one)
            }
            if isinstance(event, Shortage):
                drawn[name]["item"] = event.items[int(generator.integers(len(event.items)))]
        return drawn

    def missing(self, drawn: Drawn) -> tuple[str, ...]:
        """Items that an episode lacks."""
        events = drawn.get("events", {})
        lacking = (one["item"] for name, one in events.items() if isinstance(self.spec[name], Shortage))
        return tuple(dict.fromkeys(lacking))

    def reset(self, drawn: Drawn) -> None:
        """Start an episode; everything is in its place."""
        self.courses = {name: Course() for name in drawn.get("events", {})}
        for name, course in self.courses.items():
            if isinstance(self.spec[name], Shortage):
                course.began = 0.0
        self._floor = {item: self._height(item) for item in self._lifted}
        self._full = self._robot.drive.actuator.parameters

    def update(self, drawn: Drawn, time: float) -> list[str]:
        """Begin and end what is due before a control step, `time` s from the start of the episode.

        Returns:
            The events that begin.
        """
        begun, ended = list[str](), list[str]()
        for name, course in self.courses.items():
            if course.over:
                continue
            if course.began is None:
                if time >= self._due(name, drawn["events"][name], time) - 1e-9:  # rounding must not add a control step
                    course.began = time
                    begun.append(name)
            elif time >= course.began + drawn["events"][name].get("lasts_s", math.inf) - 1e-9:
                course.over = True
                ended.append(name)
        for name in ended:
            self.courses[name].seen = {}
        for name in begun:
            event = self.spec[name]
            if isinstance(event, Blackout):
                self.courses[name].seen = self._look(event)
            elif isinstance(event, Drop):
                self.courses[name].side = self._holding(self.courses[name].item)
        for event in (self.spec[name] for name in (*begun, *ended)):
            if isinstance(event, BeltStop):
                self._place.run(drawn["cell"], event.item, on=not self.stands(event.item))
            elif isinstance(event, Drop):
                self._weaken()
        return begun

    def save(self) -> Any:
        """What `restore` needs."""
        return copy.deepcopy((self._floor, self.courses))

    def restore(self, saved: Any) -> None:
        """Return to what `save` gave; world and robot must be restored before, which know the belts' speeds and the
        motors' own strength."""
        self._floor, self.courses = copy.deepcopy(saved)
        self._full = self._robot.drive.actuator.parameters
        if any(isinstance(event, Drop) for event in self._now()):
            self._weaken()

    # ---- what others ask ---------------------------------------------------------------------------------------------

    def stands(self, belt: str) -> bool:
        """Whether a belt stands still now because of an event."""
        return any(isinstance(event, BeltStop) and event.item == belt for event in self._now())

    def falls(self, item: str) -> bool:
        """Whether a hand is losing an item now because of an event."""
        return any(
            course.now and course.item == item and isinstance(self.spec[name], Drop)
            for name, course in self.courses.items()
        )

    @property
    def blind(self) -> bool:
        """Whether a blackout hides items now."""
        return any(isinstance(event, Blackout) and bool(event.items) for event in self._now())

    def dark(self, camera: str) -> bool:
        """Whether a blackout has taken a camera's picture now."""
        return any(isinstance(event, Blackout) and camera in event.cameras for event in self._now())

    def last_seen(self, frame: str) -> LinkState | None:
        """Where a frame was before the blackout that hides it now; None where none does."""
        # Of two blackouts that overlap the one that began first saw it last.
        under_way = [course for course in self.courses.values() if course.now and frame in course.seen]
        first = min(under_way, key=lambda course: course.began or 0.0, default=None)
        return first and first.seen[frame]

    def channels(self) -> tuple[Channel, ...]:
        """One channel, of a record, where there are events."""
        if not self.spec:
            return ()
        text = "Of each event of the cell: 0 not or not yet, 1 under way, 2 over."
        return (Channel("event", (len(self.spec),), "1", "none", "event", text, tuple(self.spec)),)

    def values(self) -> dict[str, list[float]]:
        """What the channel declares."""
        if not self.spec:
            return {}
        states = (self.courses.get(name, Course()) for name in self.spec)
        return {"event": [2.0 if course.over else float(course.now) for course in states]}

    def metrics(self) -> dict[str, float]:
        """When each event began that has, s: `event_<name>`."""
        return {f"event_{name}": one.began for name, one in self.courses.items() if one.began is not None}

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _now(self) -> list[Event]:
        return [self.spec[name] for name, course in self.courses.items() if course.now]

    def _due(self, name: str, drawn: Mapping[str, float], time: float) -> float:
        """When an event that has not begun will, s; infinity where nothing says so yet."""
        event, course = self.spec[name], self.courses[name]
        if not isinstance(event, Drop):
            return drawn["at_s"]
        if not course.item:
            up = [item for item in event.items if self._height(item) > self._floor[item] + event.lifted]
            if up:
                course.item, course.lifted = up[0], time
        return course.lifted + drawn["after_s"]

    def _height(self, item: str) -> float:
        return self._place.things[item].state.position[2]

    def _look(self, event: Blackout) -> dict[str, LinkState]:
        """All frames of what a blackout begins to hide; where another one hides it already, as that saw it."""
        names = (
            name
            for item in event.items
            for name in (item, *(f"{item}.{frame}" for frame in self._place.things[item].spec.frames))
        )
        return {name: self.last_seen(name) or self._place.frame(name) for name in names}

    def _holding(self, item: str) -> str:
        """Side of the hand that is nearest to an item."""
        place, robot = self._place.frame(item).position, self._robot
        apart = {h.side: math.dist(robot.frame(h.grip or h.frame).position, place) for h in robot.model.hands}
        return min(apart, key=lambda side: apart[side])

    def _weaken(self) -> None:
        """Give the finger motors the strength that they have now."""
        names, strength = self._robot.model.joint_names, self._full.strength.copy()
        for name, course in self.courses.items():
            event = self.spec[name]
            if course.now and isinstance(event, Drop):
                for hand in self._robot.model.hands:
                    if hand.side == course.side:
                        strength[[names.index(finger) for finger in hand.fingers]] *= event.strength
        self._robot.drive.set_parameters(replace(self._full, strength=strength))

"""Events of a factory cell: what goes wrong, or otherwise than planned, while the robot works."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from training_ground.assets.spec import NonNegative, Positive
from training_ground.configs.errors import unknown
from training_ground.configs.loading import StrictModel

if TYPE_CHECKING:
    from training_ground.assets.layout import Item

Some = Annotated[tuple[str, ...], Field(min_length=1)]
When = tuple[NonNegative, NonNegative]
"""Range from which a time is drawn, s from the start of the episode."""
Lasting = tuple[Positive, Positive]
"""Range from which a duration is drawn, s."""


class Event(StrictModel):
    """What every kind has."""

    chance: Annotated[float, Field(gt=0, le=1)] = 1.0
    """In each episode."""

    @model_validator(mode="after")
    def _ordered(self) -> Event:
        for name in ("at_s", "after_s", "lasts_s"):
            low, high = getattr(self, name, (0.0, 0.0))
            if low > high:
                raise ValueError(f"{name} = {[low, high]}: the first number of a range must not exceed the second")
        return self

    def named(self) -> dict[str, tuple[str, ...]]:
        """Items that it is about, by the field that names them."""
        return {"items": getattr(self, "items", ())}


class BeltStop(Event):
    """A belt stands still for a time, and then goes on."""

    kind: Literal["belt_stop"]
    item: str
    """Which; it must carry."""
    at_s: When
    lasts_s: Lasting

    def named(self) -> dict[str, tuple[str, ...]]:
        """The belt."""
        return {"item": (self.item,)}


class Blackout(Event):
    """Sensors are silent for a time: of the items the channels repeat what they told last, and cameras give black
    pictures. What a record holds as the simulator's truth goes on."""

    kind: Literal["blackout"]
    items: tuple[str, ...] = ()
    """Without joints."""
    cameras: tuple[str, ...] = ()
    at_s: When
    lasts_s: Lasting

    @model_validator(mode="after")
    def _of_something(self) -> Blackout:
        if not self.items and not self.cameras:
            raise ValueError("items = [], cameras = []: a blackout must be of an item or a camera")
        return self


class Drop(Event):
    """The first of some items that is lifted is lost: the finger motors of the hand that has it fail for a time."""

    kind: Literal["drop"]
    items: Some
    """Which are free to move."""
    lifted: Positive = 0.02
    """m over where it stood when the episode began, from which on it counts as lifted."""
    after_s: When = (0.0, 0.0)
    """Range from which is drawn how long after that it comes, s."""
    lasts_s: Lasting
    strength: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of their torque that is left."""


class Shortage(Event):
    """One of some items, drawn, has not been delivered: in this episode there is none. The task says what success is
    then."""

    kind: Literal["shortage"]
    items: Some
    """Which are free to move, and carry nothing."""


class Priority(Event):
    """The order changes while the robot works; the task says how, and success is for the order that holds then."""

    kind: Literal["priority"]
    at_s: When


AnyEvent = Annotated[BeltStop | Blackout | Drop | Shortage | Priority, Field(discriminator="kind")]


def require_fit(events: Mapping[str, Event], items: Mapping[str, Item], cameras: Collection[str]) -> None:
    """Refuse events of what a cell does not have, or of what they cannot happen to.

    Raises:
        ValueError: The message names the event, the field, its value and what is allowed.
    """
    belts = [name for name, item in items.items() if any(item.carries)]
    under = {item.upon.partition(".")[0] for item in items.values() if item.upon}
    free = [name for name, item in items.items() if not item.fixed]
    for name, event in events.items():
        for field, named in event.named().items():
            for one in named:
                where = f"events.{name}.{field}"
                if one not in items:
                    raise ValueError(f"{where}: {unknown('item', one, items)}")
                if isinstance(event, BeltStop) and one not in belts:
                    raise ValueError(f"{where} = '{one}': carries nothing. Allowed: {', '.join(belts) or 'none'}")
                if isinstance(event, Drop | Shortage) and one not in free:
                    raise ValueError(f"{where} = '{one}': is fixed. Allowed: {', '.join(free) or 'none'}")
                if isinstance(event, Shortage) and one in under:
                    raise ValueError(f"{where} = '{one}': another item stands upon it")
        if isinstance(event, Blackout):
            for camera in event.cameras:
                if camera not in cameras:
                    raise ValueError(f"events.{name}.cameras: {unknown('camera', camera, cameras)}")

"""A person who takes something out of the robot's hand: how they go about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from training_ground.assets.mechanisms import Name
from training_ground.assets.spec import NonNegative, Positive
from training_ground.configs.errors import unknown
from training_ground.configs.loading import StrictModel

if TYPE_CHECKING:
    from training_ground.assets.layout import Item


class ReceiverSpec(StrictModel):
    """A person who takes what is held out to them."""

    arm: Name
    """The item that is their arm: the part `receiving_arm`, or one with the same joints and the frame `palm`."""
    takes: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]
    """Frame, as `item.frame`, where their hand grips: z along a handle, x along its wide side."""
    notices_s: tuple[NonNegative, NonNegative] = (0.3, 0.8)
    """Range from which is drawn how long something must be held out to them before they reach for it, s."""
    pull_n: tuple[Positive, Positive] = (6.0, 9.0)
    """Range from which is drawn how hard they pull, N."""
    grip_n: Annotated[float, Field(gt=0, le=60)] = 25.0
    """How hard thumb and fingers press on it, N."""
    hesitates: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the episodes in which they draw their hand back once before they take it."""

    @model_validator(mode="after")
    def _ordered(self) -> ReceiverSpec:
        for name in ("notices_s", "pull_n"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} = {[low, high]}: the first number of a range must not exceed the second")
        return self

    def require_fit(self, items: Mapping[str, Item]) -> None:
        """Refuse items that a cell does not have, or that cannot be what they are here.

        Raises:
            ValueError: The message names the field, its value and what is allowed.
        """
        taken = self.takes.partition(".")[0]
        for field, name in (("arm", self.arm), ("takes", taken)):
            if name not in items:
                raise ValueError(f"receiver.{field}: {unknown('item', name, items)}")
        if not items[self.arm].fixed:
            raise ValueError(f"receiver.arm = '{self.arm}': must be an item that is 'fixed'")
        if items[taken].fixed:
            free = ", ".join(name for name, item in items.items() if not item.fixed) or "none"
            raise ValueError(f"receiver.takes = '{self.takes}': '{taken}' is fixed. Allowed: {free}")

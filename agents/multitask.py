"""One observation for several tasks: named slots, which a task fills or leaves empty.

Tasks in cells with the same robot act alike: same joints, same scale, same origin. What they observe differs in
objects, places, mechanisms and goals. Here each of these has a slot, in the order in which a task declares them:
`object_0` is the first object of whatever task, seven numbers; `place_0` the first place, three; `mechanism_0` the
first mechanism, one. What stands for something else, such as `goal` or `belt_speed`, has a slot by its name and size,
shared by the tasks that have it. An empty slot holds zeros, and of each slot that not every task fills a flag says
whether this one does.

Where a task's numbers go is known before its first episode: the shared observation is a gather, so that a layer behind
it can be folded into one over the task's own observation (`agents/multitask_policy.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from training_ground.agents.signature import ChannelSignature, Signature
from training_ground.configs.errors import AgentError
from training_ground.configs.loading import StrictModel

OBJECT, PLACE, MECHANISM = "object", "place", "mechanism"
POSITION, ORIENTATION, YAW = "_position", "_orientation", "_yaw"
SAME = ("robot", "model_hash", "control", "control_rate", "action_joints", "action_low", "action_high", "action_scale",
        "action_origin", "default_position", "kp", "kd", "legs", "reference")  # fmt: skip
"""Fields of a signature that tasks must agree on."""

Width = Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True)
class Slot:
    """What a task fills a slot with: numbers of its own flat observation."""

    name: str
    source: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Wiring:
    """Where the numbers of one task go.

    Attributes:
        source: (k,) of its flat observation.
        target: (k,) in the shared one.
        size: n of the shared one, flags included.
        flags: (n,) float32: 1 where a flag says that its slot is filled, 0 elsewhere.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    size: int
    flags: NDArray[np.float32]

    def see(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Return the shared observations (..., n) for the task's own (..., d)."""
        seen = np.zeros((*observations.shape[:-1], self.size), np.float32)
        seen[...] = self.flags
        seen[..., self.target] = observations[..., self.source]
        return seen


class Interface(StrictModel):
    """What a policy for several tasks sees; `shared` makes it, a policy's file keeps it."""

    slots: Annotated[dict[str, Width], Field(min_length=1, max_length=1000)]
    """Numbers of each slot, in order."""
    flagged: tuple[str, ...]
    """Slots that not every task fills; their flags follow behind all slots, in this order."""
    unseen: dict[str, tuple[str, ...]]
    """Channels of each task that it does not see, such as a goal that the instruction names."""

    @property
    def size(self) -> int:
        """Numbers of an observation, flags included."""
        return sum(self.slots.values()) + len(self.flagged)

    def wiring(self, task: str, channels: Sequence[ChannelSignature]) -> Wiring:
        """Return where a task's numbers go.

        Args:
            task: Its name, a key of `unseen`.
            channels: Of its flat observation, in order.

        Raises:
            AgentError: It is no task of this interface, or has a slot that there is not, or of another size.
        """
        filled = slots_of(channels, self._unseen(task))
        starts = dict(zip(self.slots, np.cumsum([0, *self.slots.values()]).tolist(), strict=False))
        source: list[int] = []
        target: list[int] = []
        for slot in filled:
            if self.slots.get(slot.name) != len(slot.source):
                raise AgentError(
                    f"task '{task}': slot '{slot.name}' of {len(slot.source)} numbers; the policy has "
                    + ", ".join(f"{name} ({width})" for name, width in self.slots.items())
                )
            source += slot.source
            target += range(starts[slot.name], starts[slot.name] + len(slot.source))
        names = {slot.name for slot in filled}
        flags = np.zeros(self.size, np.float32)
        flags[self.size - len(self.flagged) :] = [name in names for name in self.flagged]
        return Wiring(np.array(source, np.int64), np.array(target, np.int64), self.size, flags)

    def _unseen(self, task: str) -> tuple[str, ...]:
        if task not in self.unseen:
            raise AgentError(f"task '{task}': the policy has learned {', '.join(sorted(self.unseen))}")
        return self.unseen[task]


def shared(tasks: Mapping[str, Sequence[ChannelSignature]], unseen: Mapping[str, Sequence[str]]) -> Interface:
    """Return the smallest interface that all tasks fit into.

    Args:
        tasks: Channels of each one's flat observation.
        unseen: Channels that are left out, by task, or under `*` for all of them.

    Raises:
        AgentError: There is no task, a channel that is left out is not there, or a slot has two sizes.
    """
    if not tasks:
        raise AgentError("tasks: name at least one")
    hidden = {task: tuple(dict.fromkeys((*unseen.get("*", ()), *unseen.get(task, ())))) for task in tasks}
    slots: dict[str, int] = {}
    counts: dict[str, int] = {}
    for task, channels in tasks.items():
        for name in unseen.get(task, ()):
            if name not in {channel.name for channel in channels}:
                raise AgentError(f"unseen: task '{task}' has no channel '{name}'")
        for slot in slots_of(channels, hidden[task]):
            width = slots.setdefault(slot.name, len(slot.source))
            counts[slot.name] = counts.get(slot.name, 0) + 1
            if width != len(slot.source):
                raise AgentError(f"task '{task}': slot '{slot.name}' has {len(slot.source)} numbers, elsewhere {width}")
    # What every task has comes first, so that it stays where it is when a task is added.
    ordered = sorted(slots, key=lambda name: counts[name] < len(tasks))
    flagged = tuple(name for name in ordered if counts[name] < len(tasks))
    return Interface(slots={name: slots[name] for name in ordered}, flagged=flagged, unseen=hidden)


def slots_of(channels: Sequence[ChannelSignature], unseen: Sequence[str] = ()) -> list[Slot]:
    """Return the slots that a task fills, in the order of its channels.

    Args:
        channels: Of its flat observation, in order.
        unseen: Names of those that are left out.
    """
    starts = np.cumsum([0, *(channel.size for channel in channels)]).tolist()
    where = {c.name: tuple(range(start, start + c.size)) for c, start in zip(channels, starts, strict=False)}
    counts = {OBJECT: 0, PLACE: 0, MECHANISM: 0}
    slots: list[Slot] = []

    def add(kind: str, source: tuple[int, ...]) -> None:
        slots.append(Slot(f"{kind}_{counts[kind]}", source))
        counts[kind] += 1

    for name, source in where.items():
        label = name.removesuffix(POSITION)
        if name in unseen:
            continue
        if name.endswith(POSITION) and len(source) == 3 and len(where.get(label + ORIENTATION, ())) == 4:
            add(OBJECT, source + where[label + ORIENTATION])
        elif name.endswith(POSITION) and len(source) == 2 and len(where.get(label + YAW, ())) == 1:
            add(PLACE, source + where[label + YAW])
        elif name == MECHANISM:
            for one in source:
                add(MECHANISM, (one,))
        elif not _of_a_pose(name, where):
            slots.append(Slot(f"{name}_{len(source)}", source))
    return slots


def _of_a_pose(name: str, where: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a channel is the turn that belongs to a place which stands in a slot of its own."""
    turned = len(where.get(name.removesuffix(ORIENTATION) + POSITION, ())) == 3 and len(where[name]) == 4
    level = len(where.get(name.removesuffix(YAW) + POSITION, ())) == 2 and len(where[name]) == 1
    return (name.endswith(ORIENTATION) and turned) or (name.endswith(YAW) and level)


def require_alike(signatures: Mapping[str, Signature]) -> None:
    """Refuse tasks that one policy cannot act in.

    Raises:
        AgentError: Robots, joints, scale, origin or rate differ; the message says in what.
    """
    (first, reference), *others = signatures.items()
    for task, signature in others:
        differing = [field for field in SAME if getattr(signature, field) != getattr(reference, field)]
        if differing:
            raise AgentError(
                f"tasks '{first}' and '{task}' cannot share a policy: they differ in {', '.join(differing)}"
            )

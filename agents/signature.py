"""What a learned policy takes for granted about its environment, and how two environments differ in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from training_ground.configs.errors import AgentError
from training_ground.configs.loading import StrictModel

Size = Annotated[int, Field(ge=1, le=1_000_000)]

OF_LOCKED_JOINTS = ("model_hash", "joint_names", "action_origin", "default_position", "kp", "kd")
"""Fields in which a robot differs from the same one with joints locked that no policy moves."""


class ChannelSignature(StrictModel):
    """One channel of the observation: its place is its index."""

    name: str
    shape: tuple[int, ...]
    unit: str
    frame: str

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


class ReferenceSignature(StrictModel):
    """The stepping reference that is added to what an action commands: joint offsets (k) that follow clock and command.

    How it is worked out stands under *Deploy* in the documentation.
    """

    feet: tuple[str, ...]
    """Side of each foot, in the order of the arrays."""
    smoothing: Annotated[float, Field(ge=0, le=1)]
    """Share by which the pace comes nearer to the command in a control step."""
    period: Annotated[float, Field(gt=0)]
    """Of a cycle, s."""
    stance_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of it that each foot stands."""
    joints: tuple[str, ...]
    lift: tuple[tuple[float, ...], ...]
    """(feet, k) rad that lift a foot to its height."""
    step: tuple[tuple[tuple[float, float, float], ...], ...]
    """(feet, k, 3) rad a metre forward, a metre to the left, and a radian about the vertical."""

    def differences(self, other: ReferenceSignature) -> list[str]:
        """Return each difference as a phrase; empty where none matters."""
        found = []
        for field in ReferenceSignature.model_fields:
            mine, theirs = np.array(getattr(self, field)), np.array(getattr(other, field))
            numbers = mine.dtype.kind == theirs.dtype.kind == "f" and mine.shape == theirs.shape
            if not (np.allclose(mine, theirs, rtol=1e-6, atol=1e-9) if numbers else np.array_equal(mine, theirs)):
                told = " and ".join(_short(value.tolist()) for value in (mine, theirs))
                found.append(f"reference.{field}: {told}: another stepping reference is added to the action")
        return found


class KeyframesSignature(StrictModel):
    """One motion: joint offsets (k), rad, at times in s, and half waves of a cosine between them."""

    times: tuple[float, ...]
    offsets: tuple[tuple[float, ...], ...]


class MotionsSignature(StrictModel):
    """Motions that are added to what an action commands.

    How they are worked out stands under *Deploy* in the documentation.
    """

    joints: tuple[str, ...]
    motions: dict[str, KeyframesSignature]
    """By how the robot lies: `prone` or `supine`."""
    again_s: Annotated[float, Field(ge=0)]
    """s after its end at which the motion begins anew where the robot still lies."""
    lying: Annotated[float, Field(ge=0, le=1)]
    """Share of the standing height of the base below which it does."""

    def differences(self, other: MotionsSignature) -> list[str]:
        """Return each difference as a phrase; empty where none matters."""
        found = [f"reference.{f}: other motions are added to the action" for f in ("joints", "again_s", "lying")
                 if getattr(self, f) != getattr(other, f)]  # fmt: skip
        if self.motions.keys() != other.motions.keys():
            return [
                *found,
                f"reference.motions: {', '.join(self.motions)} in the bundle, {', '.join(other.motions)} here",
            ]
        for name, mine in self.motions.items():
            theirs = other.motions[name]
            same = all(
                np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-6, atol=1e-9)
                for a, b in ((mine.times, theirs.times), (mine.offsets, theirs.offsets))
            )
            if not same:
                found.append(f"reference.motions.{name}: another motion is added to the action")
        return found


class Signature(StrictModel):
    """Everything that must be the same where a policy acts as where it was trained.

    Arrays have one entry a joint, in the order of `joint_names`; rad, N·m/rad, N·m·s/rad. Those that an environment
    does not state are empty.
    """

    env_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+/[A-Za-z0-9_]+-v[0-9]+$")]
    robot: str
    model_hash: str
    joint_names: tuple[str, ...]
    control: str
    control_rate: Annotated[float, Field(gt=0)]
    """Hz."""
    channels: tuple[ChannelSignature, ...]
    observation_size: Size
    action_size: Size
    action_low: tuple[float, ...] | None
    """None where the action space is unbounded."""
    action_high: tuple[float, ...] | None
    action_joints: tuple[str, ...] = ()
    """Joints that the action moves; all where it is empty."""
    action_scale: tuple[float, ...] = ()
    action_origin: tuple[float, ...] = ()
    """What a zero action commands."""
    default_position: tuple[float, ...] = ()
    kp: tuple[float, ...] = ()
    kd: tuple[float, ...] = ()
    legs: str | None = None
    """Hash of the policy that drives the legs beside the action, where one does."""
    reference: ReferenceSignature | MotionsSignature | None = None
    """None where nothing is added to the action, and in bundles that are older than this field."""

    @property
    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Lowest and highest action, (m,) each; None where the action space is unbounded."""
        if self.action_low is None or self.action_high is None:
            return None
        return np.asarray(self.action_low, np.float32), np.asarray(self.action_high, np.float32)

    def differences(self, other: Signature, ignore: Sequence[str] = ()) -> list[str]:
        """Return each difference as a phrase: ours first, then the `other` environment's; empty where none matters.

        Args:
            other: Signature of the environment at hand.
            ignore: Fields that may differ, such as `model_hash`.
        """
        found: list[str] = []
        if "joint_names" not in ignore:
            found += _sequence_differences("joint", self.joint_names, other.joint_names)
        if "action_joints" not in ignore:
            found += _sequence_differences("driven joint", self.action_joints, other.action_joints)
        if "channels" not in ignore:
            mine = tuple(f"{c.name}{list(c.shape)} {c.unit}, {c.frame}" for c in self.channels)
            theirs = tuple(f"{c.name}{list(c.shape)} {c.unit}, {c.frame}" for c in other.channels)
            found += _sequence_differences("channel", mine, theirs)
        for field in ("robot", "model_hash", "control", "control_rate", "observation_size", "action_size", "legs"):
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs and field not in ignore:
                found.append(f"{field}: {_short(mine)} in the bundle, {_short(theirs)} in the environment")
        if self.action_size == other.action_size:
            for field in ("action_low", "action_high", "action_scale", "action_origin", "default_position", "kp", "kd"):
                mine, theirs = getattr(self, field), getattr(other, field)
                if field not in ignore and not _same_numbers(mine, theirs):
                    found.append(_number_difference(field, mine, theirs, (self.joint_names, self.action_joints)))
        if "reference" not in ignore:
            found += _reference_differences(self.reference, other.reference)
        return found


def _reference_differences(
    mine: ReferenceSignature | MotionsSignature | None, theirs: ReferenceSignature | MotionsSignature | None
) -> list[str]:
    if isinstance(mine, ReferenceSignature) and isinstance(theirs, ReferenceSignature):
        return mine.differences(theirs)
    if isinstance(mine, MotionsSignature) and isinstance(theirs, MotionsSignature):
        return mine.differences(theirs)
    # Bundles that are older than the field say nothing of it.
    return [] if mine is None or theirs is None else ["reference: motions and a stepping reference are not the same"]


def _same_numbers(first: tuple[float, ...] | None, second: tuple[float, ...] | None) -> bool:
    if first is None or second is None:
        return first is second
    return len(first) == len(second) and bool(np.allclose(first, second, rtol=1e-6, atol=1e-9))


def _number_difference(
    field: str, mine: tuple[float, ...] | None, theirs: tuple[float, ...] | None, names: tuple[tuple[str, ...], ...]
) -> str:
    if mine is None or theirs is None or len(mine) != len(theirs):
        return f"{field}: stated {len(mine or ())} times in the bundle, {len(theirs or ())} times in the environment"
    index = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if not np.isclose(a, b, rtol=1e-6))
    name = next((some[index] for some in names if len(some) == len(mine)), f"number {index}")
    return f"{field} of {name}: {mine[index]:g} in the bundle, {theirs[index]:g} in the environment"


def _sequence_differences(kind: str, mine: Sequence[str], theirs: Sequence[str]) -> list[str]:
    found = [f"{kind} '{n}' only in the bundle" for n in mine if n not in set(theirs)]
    found += [f"{kind} '{n}' only in the environment" for n in theirs if n not in set(mine)]
    if not found and len(mine) == len(theirs):
        found = [
            f"{kind} {i} is '{a}' in the bundle, '{b}' in the environment"
            for i, (a, b) in enumerate(zip(mine, theirs, strict=True))
            if a != b
        ]
    return found if len(found) <= 6 else [*found[:6], f"and {len(found) - 6} more {kind}s"]


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 40 else text


def signature_of(env: gymnasium.Env[Any, Any]) -> Signature:
    """Read the signature of an environment that has `describe()` and `channels`.

    Raises:
        AgentError: The environment does not describe itself, or its spaces are not flat boxes.
    """
    base: Any = env.unwrapped
    if not hasattr(base, "describe") or not hasattr(base, "channels"):
        raise AgentError(f"environment {base}: no describe() and channels, so no policy can be checked against it")
    observation, action = env.observation_space, env.action_space
    if not isinstance(observation, gymnasium.spaces.Box) or len(observation.shape) != 1:
        raise AgentError(
            f"policies need flat observations; make the environment with observation_format='flat', not {observation}"
        )
    if not isinstance(action, gymnasium.spaces.Box) or len(action.shape) != 1:
        raise AgentError(f"policies act in a flat Box action space, not in {action}")
    about: dict[str, Any] = base.describe()
    bounded = action.is_bounded()
    model = getattr(base, "model", None)
    stated = {field: about.get(field) for field in ("action_scale", "action_origin")}
    stated |= {field: getattr(model, field, None) for field in ("default_position", "kp", "kd")}
    numbers = {field: tuple(float(x) for x in np.ravel(value)) for field, value in stated.items() if value is not None}
    channels = tuple(
        ChannelSignature(name=c.name, shape=tuple(c.shape), unit=c.unit, frame=c.frame)
        for c in base.channels
        if c.role == "observation"
    )
    return Signature(
        env_id=about["env_id"],
        robot=str(about["robot"]),
        model_hash=str(about["model_hash"]),
        joint_names=tuple(about["joint_names"]),
        action_joints=tuple(about.get("action_joints", ())),
        control=str(about["options"]["control"]),
        control_rate=float(about["control_rate"]),
        channels=channels,
        observation_size=observation.shape[0],
        action_size=action.shape[0],
        action_low=tuple(float(x) for x in action.low) if bounded else None,
        action_high=tuple(float(x) for x in action.high) if bounded else None,
        legs=about.get("legs", {}).get("hash"),
        reference=about.get("reference"),
        **numbers,
    )

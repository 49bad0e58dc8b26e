"""Channels: each quantity that an environment speaks of, declared once.

The observation space, the dataset's schema, the plots and the documentation all read these declarations.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["observation", "picture", "state", "action", "reward", "event"]


@dataclass(frozen=True)
class Channel:
    """One named quantity.

    Attributes:
        name: Snake case, such as `joint_position`; unique in an environment.
        shape: Shape of one sample.
        unit: SI unit as text (`rad`, `rad/s`, `m`, `N`, `N·m`, `1` for a pure number).
        frame: Frame that the numbers are in: `world`, `heading` (z up, x where the base looks), `base`, `imu`,
            `joint`, or `none`.
        role: `observation` is what a policy may see, and so is `picture`, (height, width, 3) uint8, where observations
            are no flat vector; `state` the simulator's truth; `action`, `reward` terms and `event` flags complete a
            record.
        description: One sentence.
        components: Names along the last axis, such as joint names; empty where there is one number.
        dtype: numpy dtype name.
        rate: Samples a second; None means the control rate. A slower channel repeats its last sample; one of k
            times the control rate has k samples a frame along the first axis, oldest first. See `datasets/timing.py`.
    """

    name: str
    shape: tuple[int, ...]
    unit: str
    frame: str
    role: Role
    description: str
    components: tuple[str, ...] = ()
    dtype: str = "float32"
    rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself."""
        if self.components and (not self.shape or len(self.components) != self.shape[-1]):
            raise ValueError(f"channel '{self.name}': {len(self.components)} component names for shape {self.shape}")

    @property
    def size(self) -> int:
        """Numbers in one sample."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as plain data, as `dataset.json` and the documentation hold it."""
        data = asdict(self)
        data["shape"], data["components"] = list(self.shape), list(self.components)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Channel:
        """Read what `to_json` wrote; a TypeError names an unknown or missing field."""
        return cls(**{**data, "shape": tuple(data["shape"]), "components": tuple(data["components"])})

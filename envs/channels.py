"""Channels: each quantity that an environment speaks of, declared once.

The observation space, the dataset's schema, the plots and the documentation all read these declarations.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["observation", "picture", "state", "action", "reward", "event"]


@dataclass(frozen=True)
class Calibration:
    """The pinhole camera that takes a picture; its axes are x to the right, y down and z along the view.

    A point (x, y, z) in the camera's axes is seen at column fx · x / z + cx and row fy · y / z + cy: the
    point that the picture's pixel of these numbers was taken at.

    Attributes:
        matrix: (3, 3) camera matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], pixels.
        frame: What the camera stands on: `world`, or an item of the cell or one of its frames, `item.frame`.
        position: (3,) of the optical centre in that frame, m.
        orientation: Quaternion xyzw that turns the camera's axes into those of that frame.
        near, far: What is nearer or farther than this, m, is not seen.
        distortion: `none`: straight lines stay straight.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    frame: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    near: float
    far: float
    distortion: str = "none"


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
        rate: Samples a second; None means the control rate. A slower channel repeats its last sample; one of k times
            the control rate has k samples a frame along the first axis, oldest first. See `datasets/timing.py`.
        calibration: Of the camera that takes a picture; None where it is none, or not known.
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
    calibration: Calibration | None = None

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
        if self.calibration is None:
            del data["calibration"]  # datasets without pictures stay what they were
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Channel:
        """Read what `to_json` wrote; a TypeError names an unknown or missing field."""
        given = {**data, "shape": tuple(data["shape"]), "components": tuple(data["components"])}
        if given.get("calibration") is not None:
            numbers = ("matrix", "position", "orientation")
            held = given["calibration"]
            given["calibration"] = Calibration(**{k: _tuples(v) if k in numbers else v for k, v in held.items()})
        return cls(**given)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else float(value)

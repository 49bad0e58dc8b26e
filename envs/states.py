"""What a world tells of itself: link states, contacts, camera images. World frame, z up, SI units, quaternions xyzw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training_ground.envs.rotations import Quaternion, Vector


class LinkState(NamedTuple):
    """Pose and velocity of a link frame (not of its centre of mass) in the world frame.

    Attributes:
        position: (3,) m.  orientation: (4,) xyzw.
        linear_velocity: (3,) of the frame's origin, m/s.  angular_velocity: (3,) rad/s.
    """

    position: Vector
    orientation: Quaternion
    linear_velocity: Vector
    angular_velocity: Vector


class Contact(NamedTuple):
    """One contact point of a body.

    Attributes:
        link: Index into `Body.link_names` of the touching link.
        other: Name of the other body;  other_link: name of its link.
        position: (3,) on the asking body, m.
        force: (3,) on the asking body, friction included, N.
        normal_force: N.  distance: m, negative where the bodies overlap.
    """

    link: int
    other: str
    other_link: str
    position: Vector
    force: Vector
    normal_force: float
    distance: float


class Nearness(NamedTuple):
    """The pair of points at which a link is nearest to another body.

    Attributes:
        link, other_link: Names.
        distance: m, negative where they overlap.
        approach: Speed at which the link's point moves towards the other's, whose own motion does not count, m/s.
    """

    link: str
    other_link: str
    distance: float
    approach: float


@dataclass(frozen=True, eq=False)
class CameraImage:
    """What a camera saw.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32, m along the optical axis; the far plane's distance where there is nothing.
        segmentation: (H, W) int32, an index into `World.segments`; -1 where there is nothing.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.int32]

"""The engine seam: the only folder that imports pybullet.

What leaves it speaks of bodies, links and joints by name, in SI units, world frame z up, quaternions xyzw, and of link
frames, never of the engine's centre-of-mass frames. A second engine takes this folder's place.
"""

from training_ground.envs.world.body import Body
from training_ground.envs.world.engine import ENGINE, ENGINE_API, actuator_backend, numpy_enabled
from training_ground.envs.world.saved import SavedState
from training_ground.envs.world.scene import World
from training_ground.envs.world.scenery import Marker
from training_ground.envs.world.thing import Thing

__all__ = [
    "ENGINE",
    "ENGINE_API",
    "Body",
    "Marker",
    "SavedState",
    "Thing",
    "World",
    "actuator_backend",
    "numpy_enabled",
]

"""Physics substeps in one C call: the fast twin of the loop that `drive.py` runs over `Actuator.compute`.

Optional: without a compiler at installation, with another engine build or with `TG_ACTUATOR=numpy` in the environment,
`problem` says why and the same numbers come out of numpy. Holds no engine import: `world/engine.py` hands over what is
needed.
"""

from __future__ import annotations

import ctypes
import functools
import os
import zlib
from collections.abc import Callable, Sequence
from ctypes import c_int, c_void_p
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import SimulationError
from training_ground.envs.actuator import ROWS, Actuator

Array = NDArray[np.float64]

BULLET_API = 202010061
"""The engine's interface version that `_actuator.c` was written for."""

POSTFIX = "_training_ground"

_FUNCTIONS = {
    "init_step": "b3InitStepSimulationCommand",
    "init_state": "b3RequestActualStateCommandInit",
    "with_kinematics": "b3RequestActualStateCommandComputeForwardKinematics",
    "with_velocities": "b3RequestActualStateCommandComputeLinkVelocity",
    "init_torque": "b3JointControlCommandInit2",
    "set_torque": "b3JointControlSetDesiredForceTorque",
    "submit": "b3SubmitClientCommandAndWaitStatus",
    "get_state": "b3GetStatusActualState2",
}


class _Engine(ctypes.Structure):
    """As `struct engine` in `_actuator.c`."""

    _fields_ = (("client", c_void_p), *((name, c_void_p) for name in _FUNCTIONS))


_BUFFERS = ("dof", "link", "rows", "command", "history", "line", "position", "velocity", "frames")


class _Drive(ctypes.Structure):
    """As `struct drive` in `_actuator.c`."""

    _fields_ = (("body", c_int), ("joints", c_int), ("links", c_int), *((name, c_void_p) for name in _BUFFERS))


def _library_path() -> Path | None:
    candidates = (Path(__file__).with_name(f"_actuator{suffix}") for suffix in EXTENSION_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _checksum() -> int:
    return zlib.crc32(Path(__file__).with_name("_actuator.c").read_bytes()) & 0x7FFFFFFF


@functools.cache
def _libraries(engine_file: str) -> tuple[ctypes.PyDLL, _Engine, str] | str:
    """Our library, the engine's functions and our library's path; or why there are none."""
    path = _library_path()
    if path is None:
        return "envs/_actuator.c was not compiled at installation"
    try:
        library = ctypes.PyDLL(str(path))  # keeps the interpreter lock, as the engine's own functions do
        if library.tg_source() != _checksum():
            return "envs/_actuator.c has changed since it was compiled: install the project again"
        module = ctypes.CDLL(engine_file)
        addresses = {name: ctypes.cast(getattr(module, symbol), c_void_p) for name, symbol in _FUNCTIONS.items()}
    except (OSError, AttributeError) as error:
        return str(error)
    library.tg_take_client.restype = c_void_p
    library.tg_advance.argtypes = (c_void_p, c_void_p, c_int, c_int)
    return library, _Engine(client=None, **addresses), str(path)


def problem(engine_file: str | None, api_version: int) -> str | None:
    """Say why substeps cannot run natively, or None where they can.

    Args:
        engine_file: `pybullet.__file__`.
        api_version: `pybullet.getAPIVersion()`.
    """
    if os.environ.get("TG_ACTUATOR", "native") == "numpy":
        return "TG_ACTUATOR=numpy is set"
    if api_version != BULLET_API:
        return f"the engine's interface version is {api_version}, not {BULLET_API}"
    found = _libraries(engine_file or "")
    return found if isinstance(found, str) else None


class Stepper:
    """Runs the substeps of one world with the actuators of its robots.

    Args:
        engine_file: `pybullet.__file__`.
        load_plugin: Loads a plugin (path, postfix) into the world's engine and returns its number, negative on failure.
        execute_plugin: Executes a command of the plugin with that number.

    Raises:
        SimulationError: The engine does not hand over its client; `problem` finds every other cause before.
    """

    def __init__(
        self, engine_file: str | None, load_plugin: Callable[[str, str], int], execute_plugin: Callable[[int], object]
    ) -> None:
        found = _libraries(engine_file or "")
        if isinstance(found, str):
            raise SimulationError(f"no native stepper: {found}")
        self._library, functions, path = found
        plugin = load_plugin(path, POSTFIX)
        if plugin >= 0:
            execute_plugin(plugin)
        client = self._library.tg_take_client()
        if not client:
            raise SimulationError("no native stepper: the engine runs in another thread or process")
        self._engine = _Engine.from_buffer_copy(functions)
        self._engine.client = client
        self._drives: dict[int, tuple[_Drive, dict[str, NDArray]]] = {}  # with the buffers that each points to
        self._point()

    def _point(self) -> None:
        """Prepare the arguments of the call in `advance`."""
        self._array = (c_void_p * len(self._drives))(*(ctypes.addressof(drive) for drive, _ in self._drives.values()))
        self._arguments = (ctypes.addressof(self._engine), ctypes.addressof(self._array), len(self._drives))

    def add(
        self,
        body: int,
        dof: Sequence[int],
        links: Sequence[int],
        actuator: Actuator,
        position: Array,
        velocity: Array,
        frames: Array,
    ) -> None:
        """Drive one more robot from now on.

        Args:
            body: The engine's number of the body.
            dof: (n,) degree of freedom of each actuated joint, counted from 0 after the base: PyBullet's `uIndex` − 6.
            links: The engine's numbers of the links whose frames are wanted.
            actuator: Computes the torques; its buffers are read and written in place.
            position: (n,) where to put the joint positions, rad.
            velocity: (n,) where to put the joint velocities, rad/s.
            frames: (1 + links, 13) where to put the frames of the base and the links; see `Drive.frames`.
        """
        sizes = ((len(ROWS), len(dof)), (len(dof),), (len(dof),), (1 + len(links), 13))
        if tuple(array.shape for array in (actuator.rows, position, velocity, frames)) != sizes:
            raise SimulationError(f"body {body}: buffers do not fit {len(dof)} joints and {len(links)} links")
        buffers: dict[str, NDArray] = {
            "dof": np.array(dof, dtype=np.intc),
            "link": np.array(links, dtype=np.intc),
            "rows": actuator.rows,
            "command": actuator.command,
            "history": actuator.history,
            "line": actuator.line,
            "position": position,
            "velocity": velocity,
            "frames": frames,
        }
        addresses = {name: array.ctypes.data for name, array in buffers.items()}
        self._drives[body] = _Drive(body=body, joints=len(dof), links=len(links), **addresses), buffers
        self._point()

    def remove(self, body: int) -> None:
        """Drive a body no more. Must come before the engine removes it: asked for a body that is gone, it crashes."""
        del self._drives[body]
        self._point()

    def advance(self, substeps: int) -> None:
        """Run physics steps, each with torques from the state before it, then refresh every buffer.

        With 0 substeps it only reads, which is needed after anything else than an advance has changed the state.

        Raises:
            SimulationError: The engine gives no state of a body or of one of its links.
        """
        failed = self._library.tg_advance(*self._arguments, substeps)
        if failed:
            raise SimulationError(f"the engine gives no state of body {list(self._drives)[failed - 1]} or of its links")

"""The engine itself, imported once, and what it is."""

from __future__ import annotations

import contextlib
import os

from training_ground.envs import native
from training_ground.envs.quiet import silent

with silent(2):  # it tells when it was built
    import pybullet as engine

ENGINE = "pybullet"
ENGINE_API: int = engine.getAPIVersion()


def numpy_enabled() -> bool:
    """Whether the engine was built with numpy, and hands pictures over as arrays."""
    return bool(engine.isNumpyEnabled())


def actuator_backend() -> tuple[str, str | None]:
    """`native` or `numpy`: what computes the actuators in the substeps; and why it is not `native`."""
    problem = native.problem(engine.__file__, ENGINE_API)
    return ("numpy" if problem else "native"), problem


def native_stepper(client: int) -> native.Stepper | None:
    """Substeps in C for one of the engine's clients; None where they have to run in Python."""
    if native.problem(engine.__file__, ENGINE_API):
        return None
    return native.Stepper(
        engine.__file__,
        lambda path, postfix: engine.loadPlugin(path, postfix, client),
        lambda plugin: engine.executePluginCommand(plugin, physicsClientId=client),
    )


def disconnect(client: int, process: int) -> None:
    """Free a client's memory, in the process that made it: a forked child must not close its parent's engine."""
    if process == os.getpid():
        with contextlib.suppress(engine.error):
            engine.disconnect(client)

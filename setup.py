"""The optional accelerator of the actuator model; everything else stands in pyproject.toml.

Not a Python module but a plain shared library, so it needs a C compiler and no Python headers. Where there is no
compiler the installation goes on without it, and `training_ground.envs.actuator` computes the same numbers in numpy.
"""

import zlib
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("envs") / "_actuator.c"

setup(
    ext_modules=[
        Extension(
            "training_ground.envs._actuator",
            sources=[str(SOURCE)],
            # Lets `training_ground.envs.native` refuse a library that was built from another source.
            define_macros=[("TG_SOURCE", str(zlib.crc32(SOURCE.read_bytes()) & 0x7FFFFFFF))],
            # -ffp-contract=off: the same bits as numpy, which rounds after every operation.
            extra_compile_args=["-std=c11", "-O2", "-ffp-contract=off"],
            optional=True,
        )
    ]
)

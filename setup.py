"""The optional accelerator of the actuator model; everything else stands in pyproject.toml.

Not a Python module but a plain shared library, so it needs a C compiler and no Python headers. Where there is no
compiler the installation goes on without it, and `training_ground.envs.actuator` computes the same numbers in numpy.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "training_ground.envs._actuator",
            sources=["envs/_actuator.c"],
            # -ffp-contract=off: the same bits as numpy, which rounds after every operation.
            extra_compile_args=["-std=c11", "-O2", "-ffp-contract=off"],
            optional=True,
        )
    ]
)

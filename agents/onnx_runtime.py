"""Run a bundle's `policy.onnx` through ONNX Runtime. Needs the extra `deploy`; imports neither torch nor SB3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle import check_golden, read_bundle
from training_ground.agents.bundle_format import ONNX_FILE, BundleSpec
from training_ground.agents.learned import LearnedPolicy
from training_ground.agents.network import Float32
from training_ground.agents.onnx_nodes import INPUT, NOISE, OUTPUT
from training_ground.configs.errors import AgentError


class OnnxPolicy(LearnedPolicy):
    """A learned policy that ONNX Runtime runs, on one thread of the processor.

    Args:
        spec: What it is for.
        model: The bytes of `policy.onnx`, already checked.
        hash: The policy's.

    Raises:
        AgentError: ONNX Runtime refuses the model.
        ModuleNotFoundError: It is not installed.
    """

    runtime = "onnx"

    def __init__(self, spec: BundleSpec, model: bytes, hash: str) -> None:
        super().__init__(spec, hash)
        self._model = model
        self._start()

    def _start(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # its exceptions share no type of their own
            raise AgentError(f"policy '{self.name}': ONNX Runtime refuses {ONNX_FILE}: {problem}") from problem

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session behind when the policy goes to another process, which starts its own."""
        return {key: value for key, value in super().__getstate__().items() if key != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def _forward(self, observation: NDArray[Any], *noise: Float32) -> Float32:
        given = zip((INPUT, NOISE), (np.asarray(observation, np.float32), *noise), strict=False)
        batch = {name: value.reshape(-1, value.shape[-1]) for name, value in given}
        action = self._session.run([OUTPUT], batch)[0]
        return action.reshape(*observation.shape[:-1], -1)


def load_onnx(folder: Path | str) -> OnnxPolicy:
    """Read a bundle, check all of it, and return its policy for ONNX Runtime.

    Raises:
        AgentError: See `read_bundle`; or the bundle has no `policy.onnx`, ONNX Runtime refuses it, or it does not give
            the golden actions there.
        ModuleNotFoundError: The package `onnxruntime` is not installed.
    """
    bundle = read_bundle(folder)
    if bundle.onnx is None:
        raise AgentError(f"{folder}: has no {ONNX_FILE}; `tg policies onnx {folder}` adds it")
    policy = OnnxPolicy(bundle.policy.spec, bundle.onnx, bundle.policy.hash)
    check_golden(Path(folder), policy, bundle.golden)
    return policy

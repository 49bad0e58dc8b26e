"""Rollouts as digests, here and in another process: what the tests of determinism compare.

Run as a script it serves requests, one JSON object a line: `{"options": {...}, "seed": 1, "steps": 20}` gives back the
digests of `digests`, so that one child process answers for many environments.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.envs.env import HumanoidEnv


def frame_digest(env: HumanoidEnv) -> str:
    """Digest of the bits of every channel."""
    total = hashlib.sha256()
    for name, value in sorted(env.frame().items()):
        total.update(name.encode())
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()[:16]


def actions(env: HumanoidEnv, steps: int, seed: int = 0) -> NDArray[np.float32]:
    """Random actions (steps, n), the same for the same seed; small ones where they reach every joint's whole range."""
    generator, most = np.random.default_rng(seed), 0.1 if env.task.action_scale == "range" else 1.0
    return generator.uniform(-most, most, (steps, *(env.action_space.shape or ()))).astype(np.float32)


def advance(env: HumanoidEnv, chosen: NDArray[np.float32]) -> list[str]:
    """Digests of observation, reward and every channel after each action, until the episode ends."""
    record = []
    for action in chosen:
        observation, reward, terminated, truncated, _ = env.step(action)
        own = hashlib.sha256(np.float64(reward).tobytes())
        parts = observation.values() if isinstance(observation, dict) else [observation]
        for part in parts:
            own.update(part.tobytes())
        record.append(own.hexdigest()[:16] + frame_digest(env))
        if terminated or truncated:
            break
    return record


def digests(env: HumanoidEnv, seed: int, steps: int) -> list[str]:
    """One episode under random actions: the digest after the reset and after every step."""
    env.reset(seed=seed)
    return [frame_digest(env), *advance(env, actions(env, steps, seed))]


class OtherProcess:
    """A child interpreter that makes environments and sends back digests.

    Args:
        **environment: Variables beside those of this process.
    """

    def __init__(self, **environment: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "7", **environment},
        )

    def digests(self, options: dict[str, Any], seed: int, steps: int) -> list[str]:
        """What `digests` gives there for `make(**options)`."""
        assert self._child.stdin and self._child.stdout
        self._child.stdin.write(json.dumps({"options": options, "seed": seed, "steps": steps}) + "\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())

    def close(self) -> None:
        """End the child."""
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(timeout=20)


def _serve() -> None:
    from training_ground.envs.registration import make

    for line in sys.stdin:
        request = json.loads(line)
        env = make(**request["options"])
        answer = digests(env, request["seed"], request["steps"])
        env.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()

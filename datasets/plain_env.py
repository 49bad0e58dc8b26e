"""Environments that declare no channels: any of Gymnasium, recorded by what its spaces say.

```python
env = Recorder(gymnasium.make("CartPole-v1"), store)                          # puts a PlainEnv around by itself
env = Recorder(PlainEnv(gymnasium.make("Mine-v0"), control_rate=20), store)   # where Mine-v0 has no `render_fps`
```
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError, short
from training_ground.datasets.formats._imported import NO_MODEL, UNKNOWN
from training_ground.datasets.schema import ACTION, canonical_json, plain
from training_ground.datasets.spaces import OBSERVATION, Actions, observation_channels, parts_of, to_json

INTERFACE = "gymnasium"
"""`environment.interface` of a dataset whose environment declares no channels."""
DECLARED = ("channels", "frame", "describe")
"""What an environment of the training ground has."""
REPLAYED = ("gymnasium.envs.classic_control.", "gymnasium.envs.toy_text.")
"""Modules of the environments that a dataset may name to be made: they read no file, and take numbers and names."""
_TEXTS = {"phase": 250, "failure": 1000, "instruction": 10_000}
"""Texts of an `info` that are kept, and how many letters of them a store can hold."""


class PlainEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Declares channels for an environment that declares none, from its observation and action space.

    What is recorded is what passes here: a wrapper outside of this one is not seen. Units and frames are `unknown`.
    Observations and actions that come in another floating-point type than the space's are recorded in the space's.

    Args:
        env: Any environment, wrapped or not.
        control_rate: Steps a second; where absent, `metadata["render_fps"]`.

    Attributes:
        channels: `observation`, or one for each part of a Dict or Tuple, and `action`.

    Raises:
        DatasetError: A space cannot be recorded, or nothing says how many steps a second there are.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], control_rate: float | None = None) -> None:
        if isinstance(env, gymnasium.vector.VectorEnv):
            raise DatasetError(
                f"{type(env).__name__}: a vector environment is recorded inside of its sub-environments: make it of "
                "datasets.vector_recorder.recorded([...]), or by make_vec(..., vectorization_mode='sync', "
                "wrappers=[lambda env: Recorder(env, Store.open(path))])"
            )
        super().__init__(env)
        self.control_rate = _rate(env, control_rate)
        self._actions = Actions(env.action_space)
        self._parts = parts_of(env.observation_space, OBSERVATION)
        seen = observation_channels(self._parts)
        self.channels = (*seen, self._actions.channel)
        self._read = list(zip([channel.name for channel in seen], self._parts, strict=True))
        self._none = np.zeros(self._actions.channel.shape, self._actions.channel.dtype)
        self._values: dict[str, NDArray[Any]] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            DatasetError: The observation is not what the space says, or `options` are such that JSON cannot hold them.
        """
        canonical_json(plain(options), "options of reset")  # now, and not when the episode is over
        observation, info = self.env.reset(seed=seed, options=options)
        self._values = self._seen(observation, self._none)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Advance by one step.

        Raises:
            DatasetError: Action or observation are not what the spaces say, or the reward is not one number.
        """
        acted = self._actions.encode(action)  # before the environment may change it
        observation, reward, terminated, truncated, info = self.env.step(action)
        try:
            float(reward)
        except (TypeError, ValueError) as problem:
            raise DatasetError(f"reward = {short(reward)}: must be one number") from problem
        self._values = self._seen(observation, acted)
        return observation, reward, terminated, truncated, info

    def frame(self) -> dict[str, NDArray[Any]]:
        """Return the last observation and action by channel."""
        return self._values

    def as_action(self, row: NDArray[Any]) -> Any:
        """Return the action that a recorded row of `action` stands for."""
        return self._actions.decode(row)

    def told(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of an `info` means to a recorder what it says.

        `success` or `is_success` that is one flag, and texts under `phase`, `failure` and `instruction`; the rest may
        be anything here.
        """
        told = {key: info[key][:longest] for key, longest in _TEXTS.items() if isinstance(info.get(key), str)}
        for key in ("is_success", "success"):
            if isinstance(info.get(key), bool | int | float | np.bool_ | np.number):
                told["success"] = bool(info[key])
        return told

    def describe(self) -> dict[str, Any]:
        """Return what the environment is, as far as Gymnasium knows it."""
        spec = self.env.unwrapped.spec
        options = {} if spec is None else {key: _plain(value) for key, value in spec.kwargs.items()}
        limits, others = _wrappers(self.env)
        if spec is not None:
            options["max_episode_steps"] = min(limits, default=-1)  # what `gymnasium.make` takes for no limit
        return {
            "interface": INTERFACE,
            "env_id": type(self.env.unwrapped).__name__ if spec is None else spec.id,
            "options": options,
            "wrappers": others,
            "robot": UNKNOWN,
            "model_hash": NO_MODEL,
            "joint_names": [],
            "control_rate": self.control_rate,
            "observation_space": to_json(self.env.observation_space),
            "action_space": to_json(self.env.action_space),
            "versions": _versions(type(self.env.unwrapped).__module__.partition(".")[0]),
        }

    def _seen(self, observation: Any, action: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {name: part.read(observation) for name, part in self._read} | {ACTION: action}


def declaring(env: gymnasium.Env[Any, Any]) -> Any:
    """Return what declares the channels of an environment: itself unwrapped, or a `PlainEnv` in it or around it."""
    base = env.unwrapped
    if sum(hasattr(base, name) for name in DECLARED) > 1:
        return base
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, PlainEnv):
            return layer
        layer = layer.env
    return PlainEnv(env)


def declared(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return an environment with a `PlainEnv` around it where nothing in it declares channels."""
    found = declaring(env)
    return found if isinstance(found, PlainEnv) and found.env is env else env


def told(base: Any, info: dict[str, Any]) -> dict[str, Any]:
    """Return what of an `info` is for the record; `base` is what `declaring` returns."""
    return base.told(info) if isinstance(base, PlainEnv) else info


def make_again(recorded_wrappers: Any, env_id: str, /, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make the environment that a dataset names, if it is one of `REPLAYED`: a file must not choose what code runs.

    An id is only looked up; `module:id`, which would import the module, is none that is found.

    Args:
        recorded_wrappers: `environment.wrappers` of the dataset.
        env_id: Id in Gymnasium's registry.
        **kwargs: Of the environment.

    Raises:
        DatasetError: It is another one, was recorded through wrappers, or does not take these arguments.
    """
    entry = getattr(gymnasium.registry.get(env_id), "entry_point", None)
    known = isinstance(entry, str) and entry.startswith(REPLAYED)
    odd = [key for key, value in kwargs.items() if not isinstance(value, bool | int | float) and len(str(value)) > 100]
    if not known or recorded_wrappers or odd:
        what = "its wrappers" if known and recorded_wrappers else f"its argument '{odd[0]}'" if known else "it"
        raise DatasetError(
            f"environment {short(env_id)}: {what} would be code or data of the dataset's choice; only the classic "
            "control and toy text environments of Gymnasium itself are made from a file, without wrappers. To replay "
            "others in Python, say how they are made: Replayer(schema, make=lambda env_id, **kwargs: ...)"
        )
    kwargs.pop("render_mode", None)  # no window
    try:
        return gymnasium.make(env_id, **kwargs)
    except Exception as problem:  # whatever an environment says of arguments that a file made up
        raise DatasetError(f"environment {short(env_id)}: cannot be made again: {problem}") from problem


def _rate(env: gymnasium.Env[Any, Any], given: float | None) -> float:
    rate = (env.metadata or {}).get("render_fps") if given is None else given
    if isinstance(rate, int | float | np.integer | np.floating) and 0 < float(rate) <= 1e6:
        return float(rate)
    name = type(env.unwrapped).__name__
    if given is None and rate is None:
        raise DatasetError(
            f"environment {name}: its metadata has no 'render_fps', so nothing says how many steps a second there are; "
            "record PlainEnv(env, control_rate=...), of datasets.plain_env"
        )
    field = "metadata['render_fps']" if given is None else "control_rate"
    raise DatasetError(f"environment {name}: {field} = {short(rate)}: must be a number above 0 and up to 1e6")


def _plain(value: Any) -> Any:
    """Return an argument as JSON can hold it; one that it cannot hold is named by its type."""
    value = plain(value)
    try:
        canonical_json(value, "")
    except DatasetError:
        return f"(no plain data: {type(value).__name__})"
    return value


def _wrappers(env: gymnasium.Env[Any, Any]) -> tuple[list[int], list[str]]:
    """Return the limits of steps, and the names of the wrappers that `gymnasium.make` does not put there by itself."""
    limits, others = [], []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        elif not isinstance(env, wrappers.PassiveEnvChecker | wrappers.OrderEnforcing):
            others.append(type(env).__name__)
        env = env.env
    return limits, others


@functools.cache
def _versions(package: str) -> dict[str, str]:
    """Return the versions of what decides how an environment behaves, its own distribution among them."""
    names = {"training-ground", "numpy", "gymnasium"}
    if package not in (*names, "__main__"):  # looking through all that is installed takes a moment
        names.update(importlib.metadata.packages_distributions().get(package, ()))
    found = {}
    for name in sorted(names):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found

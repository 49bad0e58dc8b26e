"""Episodes that others wrote as RLDS: observations, actions, rewards and the task, as far as features.json says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.formats import _imported
from training_ground.datasets.formats._imported import Source
from training_ground.datasets.formats._rlds_features import Leaf
from training_ground.datasets.schema import ACTION, IS_LAST, PHASE, REWARD, TIMESTAMP, ChannelSchema

ASSUMED_RATE = 1.0
"""Steps a second where none is given: RLDS does not say."""
STEP_FLAGS = ("steps/is_first", "steps/is_last", "steps/is_terminal")
_OBSERVED = "steps/observation"


class Foreign:
    """What is read of each episode, and what is not.

    Args:
        path: The dataset's folder.
        leaves: What `features.json` declares.
        refused: A sentence for each feature that cannot be read.
        digest: sha256 of the dataset's files.
        rate: Steps a second, where they are given.
        splits: Names of its splits.

    Raises:
        DatasetError: There is no action, or something is declared that cannot be.
    """

    def __init__(
        self,
        path: Path,
        leaves: dict[str, Leaf],
        refused: list[str],
        digest: str,
        rate: float | None,
        splits: list[str],
    ) -> None:
        self._path, self._refused, self._given, self._splits = path, refused, rate, splits
        self._rate = ASSUMED_RATE if rate is None else rate
        texts = [x.key for x in leaves.values() if x.kind == "text"]
        self._instruction = next((key for key in texts if key.endswith("language_instruction")), None)
        self._texts = [key for key in texts if key != self._instruction]
        odd = [key for key in STEP_FLAGS if key in leaves and (leaves[key].kind != "list" or leaves[key].shape)]
        odd += ["steps/reward"] if "steps/reward" in leaves and _size(leaves["steps/reward"]) != 1 else []
        if odd:
            raise DatasetError(f"{path / 'features.json'}: {', '.join(odd)}: must be one number a step")
        given = {*STEP_FLAGS, "steps/reward", self._instruction}
        numbers = [x for x in leaves.values() if x.key not in given and x.key.startswith("steps/") and x.kind != "text"]
        self._actions = sorted((x for x in numbers if _is_action(x)), key=lambda x: x.key)
        if not self._actions:
            raise DatasetError(f"{path / 'features.json'}: has no action that is numbers")
        kept = [x for x in numbers if x not in self._actions]
        self.leaves = [*self._actions, *kept, *(x for key, x in leaves.items() if key in given)]
        self._rest = [k for k in leaves if not k.startswith("steps/") and k != self._instruction]
        self._terminal = "steps/is_terminal" in leaves
        self._packed = [x.key for x in kept if x.kind == "jpeg"]
        self._odd: Counter[str] = Counter()
        self._source = Source("rlds", "", path.resolve().name[:255] or "rlds", digest, {})
        self._columns: dict[str, Leaf] = {}
        channels = [*self._channels(kept), self._action()]
        self.schema = _imported.make_schema(self._source, channels, self._rate, "")

    def _channels(self, kept: list[Leaf]) -> list[ChannelSchema]:
        taken = {TIMESTAMP, IS_LAST, PHASE, REWARD, ACTION}
        channels = []
        for leaf in kept:
            seen = leaf.key.startswith(f"{_OBSERVED}/") or leaf.key == _OBSERVED
            key = leaf.key.removeprefix("steps/").removeprefix("observation/")
            name = _imported.channel_name(f"observation.{key}" if leaf.key.startswith(f"{_OBSERVED}/") else key, taken)
            picture = leaf.kind in ("png", "jpeg") and seen
            role = "picture" if picture else "observation" if seen else "state"
            channels.append(_imported.make_channel(self._source, key, name, leaf.dtype, leaf.shape, role))
            taken.add(name)
            self._columns[name] = leaf
        return channels

    def _action(self) -> ChannelSchema:
        """Return the channel of actions: of several features one vector, in a type that holds them all."""
        single = self._actions[0]
        dtype, shape, names = single.dtype, single.shape, list[str]()
        if len(self._actions) > 1:
            dtype = np.result_type(*(leaf.dtype for leaf in self._actions)).name
            shape = (sum(_size(leaf) for leaf in self._actions),)
            names = [name for leaf in self._actions for name in _names(leaf)]
        return _imported.make_channel(self._source, ACTION, ACTION, dtype, shape, "action", names)

    def episode(self, values: dict[str, NDArray[Any]], number: int, name: str) -> Episode | str:
        """Return an episode, or why it was left out."""
        rows = len(values["steps/is_first"])
        first, last = np.arange(rows) == 0, np.arange(rows) == rows - 1
        if rows < 2:
            return f"{name}: has {rows} steps, 2 make an episode"
        if np.any(values["steps/is_first"] != first) or np.any(values["steps/is_last"] != last):
            return f"{name}: is_first is not set at its first step alone, or is_last not at its last"
        flat = [values[leaf.key].reshape(rows, -1) for leaf in self._actions]
        action = flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
        self._odd["an action at the last step, by RLDS invalid: left out"] += bool(np.any(action[-1]))
        columns = {column: values[leaf.key] for column, leaf in self._columns.items()}
        columns[ACTION] = _imported.in_rows(action[:-1], "before")
        reward = values.get("steps/reward", np.zeros(rows)).reshape(rows)
        columns[REWARD] = _imported.in_rows(reward[:-1], "after")
        columns |= _imported.bookkeeping(rows - 1, self._rate)
        text = values[self._instruction].tolist() if self._instruction is not None else [""]
        self._odd["an instruction that changes on the way: the first one is kept"] += len(set(text)) > 1
        ended = bool(values["steps/is_terminal"][-1]) if self._terminal else False
        facts = {"seed": number, "instruction": str(text[0])[:10_000]}
        metadata = _imported.make_metadata(self._source, self.schema, name[-255:], rows - 1, ended, facts)
        return Episode(metadata, _imported.fitted(columns, self.schema.columns()))

    def losses(self) -> tuple[str, ...]:
        """Say what is not in the store, or was assumed."""
        said = [
            f"RLDS has no rate: {self._rate:g} steps a second are {'assumed' if self._given is None else 'as given'}",
            "robot, joints, units and frames: not said there, 'unknown' here; such episodes cannot be replayed",
            "seeds: an episode has its number for one; times of recording are 0",
            *self._refused,
        ]
        if not self._terminal:
            said.append("how an episode ended: there is no is_terminal; it counts as truncated")
        if len(self._actions) > 1:
            dtype = self.schema.columns()[ACTION].dtype
            said.append(f"the action is {len(self._actions)} features there, one channel of {dtype} here")
        if len(self._splits) > 1:
            said.append(f"splits: {', '.join(self._splits)}: `imported.episode` names the file that an episode was in")
        if self._packed:
            said.append(f"pictures were JPEG there, which loses detail; kept as they unpack: {', '.join(self._packed)}")
        if self._texts:
            said.append(f"texts: {', '.join(self._texts[:20])}")
        if self._rest:
            said.append(f"what belongs to an episode as a whole: {', '.join(self._rest[:20])}")
        return (*said, *(f"{count} episodes have {text}" for text, count in self._odd.items() if count))


def _is_action(leaf: Leaf) -> bool:
    return leaf.key == "steps/action" or leaf.key.startswith("steps/action/")


def _size(leaf: Leaf) -> int:
    return 0 if leaf.kind == "text" else int(np.prod(leaf.shape, dtype=int))


def _names(leaf: Leaf) -> list[str]:
    """Return a name for each number of one of several actions."""
    own = leaf.key.removeprefix("steps/action/")[:200]
    return [own] if _size(leaf) == 1 else [f"{own}.{i}" for i in range(_size(leaf))]

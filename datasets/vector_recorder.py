"""Recording of vectorised environments: a recorder in each sub-environment, all of which append to one store.

```python
makers = recorded([lambda: gym.make("TrainingGround/Stand-v0", robot="g1")] * 4, "data/stand", policy="mine")
envs = gym.vector.AsyncVectorEnv(makers)        # or SyncVectorEnv, with any autoreset mode
```

The recorder sits inside, and not around the vector: it sees every `reset` and `step` of its sub-environment as they
happen, so that each autoreset mode is the same to it, the last frame of an episode is recorded before the reset that
follows in the same step, and no frame crosses a process boundary. An action that a vector passes to a sub-environment
which it resets instead (`NEXT_STEP`) is in no episode. In `AsyncVectorEnv` every process appends for itself.

`envs.get_attr("written")` has the episodes' numbers, `envs.close()` ends what is running as `Recorder.close` does.
After `reset(seed=s)` sub-environment i plays seed s + i, and from then on seeds drawn from it: the same next time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from training_ground.configs.errors import DatasetError
from training_ground.datasets.recorder import Recorder, open_or_create
from training_ground.datasets.schema import PolicyInfo
from training_ground.datasets.store import Store

MakeEnv = Callable[[], gymnasium.Env[Any, Any]]


@dataclass(frozen=True)
class RecordedMaker:
    """Makes one sub-environment with a recorder around it, in the process that it is called in."""

    make: MakeEnv
    path: Path
    policy: PolicyInfo
    keep_partial: bool

    def __call__(self) -> Recorder:
        """Make it.

        Raises:
            DatasetError: The environment does not fit the store.
        """
        return Recorder(self.make(), Store.open(self.path), policy=self.policy, keep_partial=self.keep_partial)


def recorded(
    makers: Sequence[MakeEnv], path: str | Path, *, policy: PolicyInfo | str = "unknown", keep_partial: bool = False
) -> list[RecordedMaker]:
    """Return makers of recorded environments, to give to a `gymnasium.vector` environment.

    Args:
        makers: One a sub-environment; the first one is called here as well, for the store's schema.
        path: A store that fits, or a folder that does not exist or is empty.
        policy: Who acts.
        keep_partial: Write episodes that were cut off.

    Raises:
        DatasetError: There is no maker, or the environment does not fit the store.
    """
    if not makers:
        raise DatasetError("makers: at least one environment is needed")
    path = Path(path).absolute()  # a worker process may run somewhere else
    with closing(makers[0]()) as env:
        open_or_create(path, env)
    info = PolicyInfo(name=policy) if isinstance(policy, str) else policy
    return [RecordedMaker(make, path, info, keep_partial) for make in makers]

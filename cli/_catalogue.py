"""Which task runs on which robot in which stance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Combination(NamedTuple):
    """An environment that can be made: `gym.make(env_id, robot=robot, stance=stance)`."""

    env_id: str
    robot: str
    stance: str


def choose_tasks(given: Iterable[str]) -> list[str]:
    """Return the full ids of the tasks that were named, `stand` and `TrainingGround/Stand-v0` alike; all for none.

    Raises:
        SimulationError: There is no such task; the nearest is offered.
    """
    from training_ground.envs import registration

    ids = [f"{registration.NAMESPACE}/{registration.task(name).id}-v0" for name in given]
    return ids or registration.task_ids()


def choose_robots(given: Iterable[str]) -> list[str]:
    """Return the robots that were named, names and paths; all that are shipped for none.

    Raises:
        AssetError: There is no such robot; the nearest is offered.
    """
    from training_ground.assets.catalog import load_spec, robot_names

    chosen = list(given)
    for name in chosen:
        load_spec(name)
    return chosen or robot_names()


def combinations(
    env_ids: Iterable[str], robots: Iterable[str], *, after_robot: Callable[[str], None] = lambda name: None
) -> list[Combination]:
    """Return every combination that its task supports, by task, then robot.

    Args:
        env_ids: Full ids.
        robots: Names or paths; each is compiled, or read from the cache.
        after_robot: Called with each robot's name when it is compiled.
    """
    from training_ground.assets.catalog import load_model
    from training_ground.envs.registration import task

    found = []
    for robot in robots:
        model = load_model(robot)
        for env_id in env_ids:
            chosen = task(env_id)
            stances = [s for s in chosen.stances if chosen.unsupported(model, s) is None]
            found += [Combination(env_id, robot, stance) for stance in stances]
        after_robot(robot)
    return sorted(found, key=lambda c: c.env_id)

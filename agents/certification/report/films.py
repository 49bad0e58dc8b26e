"""Film strips of failed trials: each seed is simulated again, which gives the same trial, and looked at on the way.

What is simulated is named by a file that may be a stranger's: only tasks and robots that ship are made from it, and the
policy is the reader's own, compared with the one that was tested by its hash.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from training_ground.agents.certification.report.wording import unstopped
from training_ground.agents.certification.result import ConditionResult, Result, Trial
from training_ground.agents.policy import Policy
from training_ground.agents.viewing import sheet, work_sheet
from training_ground.agents.viewing.session import Session
from training_ground.assets.catalog import robot_names
from training_ground.configs.errors import AgentError
from training_ground.envs import rotations
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make

PICTURES = 6
HEIGHT = 240
"""Pixels of a picture."""
QUALITY = 78
END_S = 1.8
"""s before a failure that are shown; of a trial that ran out of time all is."""
CLOSE_S = 0.4
"""s: where the end begins sooner, all of the trial is shown."""
MOST_FILMS = 16
MOST_BYTES = 2_500_000
"""Of all film strips together."""
LONGEST_S = 300.0
"""Simulated s; a longer trial gets no film strip."""


@dataclass(frozen=True)
class Film:
    """A trial in pictures.

    Attributes:
        condition, seed, kind: Which trial, and how it ended.
        pictures: Time, s, and JPEG as a data URL.
        same: Whether the simulation ended as the result says.
    """

    condition: str
    seed: int
    kind: str
    pictures: tuple[tuple[float, str], ...]
    same: bool


def failed_trials(result: Result, each: int = 2, most: int = MOST_FILMS) -> list[tuple[ConditionResult, Trial]]:
    """Choose failed trials: up to `each` of every scenario and kind, from what is not swept if there are any.

    Trials with an emergency stop are not among them: who pressed the button is not in the environment's arguments.
    """
    kinds: dict[tuple[str, str], list[tuple[ConditionResult, Trial]]] = {}
    for condition in sorted(unstopped(result), key=lambda c: c.axis != "none"):
        for trial in condition.trials:
            if not trial.success and trial.seconds <= LONGEST_S:
                kinds.setdefault((condition.scenario, trial.kind), []).append((condition, trial))
    ordered = sorted(kinds.values(), key=lambda found: -len(found))
    chosen = [[found[i] for found in ordered if i < len(found)] for i in range(each)]
    return [one for level in chosen for one in level][:most]


def draw_films(result: Result, policy: Policy, chosen: Sequence[tuple[ConditionResult, Trial]]) -> Iterator[Film]:
    """Simulate trials again and draw them, as far as there is room.

    Raises:
        AgentError: The policy is not the one that was tested, or a trial names something that does not ship.
        SimulationError: An environment refuses its arguments.
    """
    check_policy(result, policy)
    used = 0
    for condition, trial in chosen:
        film = _film(result, condition, trial, policy)
        used += sum(len(picture) for _, picture in film.pictures)
        if used > MOST_BYTES:
            return
        yield film


def check_policy(result: Result, policy: Policy) -> None:
    """Refuse a policy that is not the one that was tested."""
    found = getattr(policy, "hash", None)
    if found != result.policy.sha256 or (found is None and policy.name != result.policy.name):
        wanted = f"'{result.policy.name}'" + (f", hash {result.policy.sha256[:12]}" if result.policy.sha256 else "")
        given = f"'{policy.name}'" + (f", hash {found[:12]}" if found else "")
        raise AgentError(f"the tested policy is {wanted}; this is {given}")


def _film(result: Result, condition: ConditionResult, trial: Trial, policy: Policy) -> Film:
    env = _environment(result, condition)
    try:
        if trial.steps * env.control_timestep > LONGEST_S:  # whatever it says of its seconds
            raise AgentError(f"{condition.id}, seed {trial.seed}: longer than {LONGEST_S:g} s")
        session = Session(env, policy, seed=trial.seed)
        steps = _moments(trial, env.control_timestep)
        take = _camera(env)
        pictures = []
        for step in steps:
            while env.steps < step and not session.ended:
                session.step()
            pictures.append((session.time, _data_url(take())))
            if session.ended:
                break
        ended = (env.steps, session.info["failure"], bool(session.info["success"]))
        same = session.ended and ended == (trial.steps, trial.failure, trial.success)
        return Film(condition.id, trial.seed, trial.kind, tuple(pictures), same)
    except (ArithmeticError, LookupError, TypeError, ValueError) as problem:
        raise AgentError(f"{condition.id}, seed {trial.seed}: cannot be simulated again: {problem}") from problem
    finally:
        env.close()


def _environment(result: Result, condition: ConditionResult) -> HumanoidEnv:
    info = next((s for s in result.scenarios if s.name == condition.scenario), None)
    if info is None:
        raise AgentError(f"{condition.id}: the result tells nothing of scenario '{condition.scenario}'")
    kwargs: dict[str, Any] = dict(condition.kwargs)
    robot = kwargs.get("robot", info.robot)
    if robot not in robot_names():
        raise AgentError(
            f"robot = {str(robot)[:100]!r} is none that ships: a result does not choose which file is read"
        )
    try:
        env = make(info.env_id, **{**kwargs, "render_mode": "rgb_array"})
    except TypeError as problem:
        raise AgentError(f"{condition.id}: {problem}") from problem
    assert isinstance(env, HumanoidEnv)
    if env.model.hash != info.model_hash:
        env.close()
        raise AgentError(f"robot '{robot}' is compiled as {env.model.hash[:12]} here, as {info.model_hash[:12]} there")
    return env


def _moments(trial: Trial, timestep: float) -> list[int]:
    """Steps of the pictures: all of the trial, or its beginning and its end where something went wrong at once."""
    last = trial.steps
    begin = last - round(END_S / timestep) if trial.failure else 0
    begin = 0 if begin * timestep < CLOSE_S else begin
    return sorted({0, *np.linspace(begin, last, PICTURES - (begin > 0)).round().astype(int).tolist()})


def _camera(env: HumanoidEnv) -> Callable[[], Image.Image]:
    if isinstance(env.task, CellTask):
        side = work_sheet.side_of_work(env)
        return lambda: work_sheet.photograph(env, side)
    heading = rotations.yaw(env.robot.base.orientation)
    return lambda: sheet.photograph(env, heading, {})


def _data_url(picture: Image.Image) -> str:
    width = round(picture.width * HEIGHT / picture.height)
    buffer = io.BytesIO()
    picture.resize((width, HEIGHT), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

"""Write the page about a test: check its file, simulate some failures again, and put all of it into one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from training_ground.agents.certification.checking import Checked, check
from training_ground.agents.certification.report.films import Film, check_policy, draw_films, failed_trials
from training_ground.agents.certification.report.page import build_page
from training_ground.agents.certification.report.trust import trust_of
from training_ground.agents.certification.result import Result
from training_ground.agents.files import write_atomic
from training_ground.agents.policy import Policy, load_policy, shipped_policies
from training_ground.configs.errors import AgentError, TrainingGroundError

PAGE = "report.html"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        page: The file.
        size: Bytes.
        checked: What the check of the result found.
        films: Failed trials shown in pictures.
        missing: Why there are none; empty where there are some.
    """

    page: Path
    size: int
    checked: Checked
    films: int
    missing: str


def write_report(
    source: Path,
    page: Path,
    *,
    keys: Iterable[bytes] = (),
    policy: Policy | str | None = None,
    each: int = 2,
    on_film: Callable[[Film], None] | None = None,
) -> Written:
    """Write the page about a result.

    Args:
        source: The result's file.
        page: The HTML file; replaced where it exists.
        keys: Public keys that the reader trusts, 32 bytes each.
        policy: The tested one or its name, to show failures; where absent it is found if it ships.
        each: Failures shown of every scenario and kind; 0 for none.
        on_film: Called with each one that was drawn.

    Raises:
        AgentError: It is no result, `policy` is not the one that was tested, or the page cannot be written.
        DatasetError: The signature's file is none.
    """
    checked = check(source, keys)
    result = checked.result
    actor = load_policy(policy, runtime=_runtime(result)) if isinstance(policy, str) else policy
    if actor is not None:
        check_policy(result, actor)
    films, missing = _films(result, actor, each, on_film)
    text = build_page(result, trust_of(checked), films, missing)
    write_atomic(page, text)
    return Written(page, len(text.encode()), checked, len(films), missing)


def _films(
    result: Result, policy: Policy | None, each: int, on_film: Callable[[Film], None] | None
) -> tuple[list[Film], str]:
    films: list[Film] = []
    if not each:
        return films, "No pictures were asked for."
    try:
        for film in draw_films(result, policy or _shipped(result), failed_trials(result, each)):
            films.append(film)
            if on_film is not None:
                on_film(film)
    except (TrainingGroundError, ImportError) as problem:  # the latter: what ran the network is not installed
        return films, "" if films else f"No pictures: {problem}."
    return films, "" if films else "No pictures: no failed trial can be shown."


def _shipped(result: Result) -> Policy:
    """Find the tested policy by a name that ships; a file of a stranger does not choose which folder is read."""
    name = result.policy.name
    known = ("zero", "random", *shipped_policies())
    chosen = "expert" if result.policy.kind == "expert" else name if name in known else None
    if chosen is None:
        raise AgentError("the tested policy does not ship; give it with --policy")
    return load_policy(chosen, runtime=_runtime(result))


def _runtime(result: Result) -> str:
    return "onnx" if "onnx" in (result.policy.runtime or "") else "numpy"

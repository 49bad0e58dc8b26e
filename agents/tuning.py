"""Search for settings: many short runs, each judged on validation seeds, the hopeless ones stopped half-way.

runs/<name>/search.yaml    what is searched: preset, space, budget
            study.jsonl    Optuna's journal, one JSON object a line; what was tried, and how it went
            trial_0000_seed0/   a run as `agents/training.py` writes it; its checkpoints go when it is done with
            best.yaml      the best settings as a preset, for `tg train`

Nothing in the folder is pickled, and nothing of a sampler is kept: what a trial tries follows from the search's seed,
the trial's number and the journal alone. Episodes for judging begin at seed 2,000,000, so that those of `tg eval` stay
unseen.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from training_ground.agents import repeats, search_space, training
from training_ground.agents.files import write_atomic
from training_ground.agents.seeds import VALIDATION_SEEDS
from training_ground.configs.errors import AgentError, ConfigError, unknown
from training_ground.configs.loading import StrictModel, apply_overrides, load_yaml, validate
from training_ground.configs.presets import for_robot, load_preset

STAGES = 10
"""Times in a run at which it is compared with the other trials."""
FIRST_TRIALS = 5
"""Trials that are drawn at random, and none of which is stopped."""
FIRST_STAGES = 3
"""Stages before which no run is stopped."""

Report = training.Report


class Search(StrictModel):
    """`search.yaml`: what is searched, and with how much."""

    preset: dict[str, Any]
    """The preset's content, with the overrides that hold in every trial."""
    space: dict[str, Any]
    """By dotted name, a range or a list; see `agents/search_space.py`."""
    trials: Annotated[int, Field(ge=1, le=100_000)] = 20
    steps: Annotated[int, Field(ge=1)] = 200_000
    """Environment steps of each run."""
    episodes: Annotated[int, Field(ge=1)] = 20
    """Validation episodes of each run."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Runs a trial, with seeds from 0; the trial's value is their mean."""
    objective: Literal["success_rate", "return_mean"] = "success_rate"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the search."""


class Pruned(Exception):
    """A run is worse than the median of the others."""


def start(
    preset: str | Path,
    space: dict[str, Any],
    overrides: Sequence[str] = (),
    *,
    robot: str | None = None,
    name: str | None = None,
    root: Path = Path("runs"),
    report: Report | None = None,
    **budget: Any,
) -> dict[str, Any]:
    """Search from a preset and return the summary.

    Args:
        preset: Name of a file in `configs/train/`, or a path.
        space: As in `Search`.
        overrides: Hold in every trial.
        robot: Shorthand for `env.kwargs.robot=...`.
        name: The search's folder under `root`; otherwise `tune_<preset>_<robot>_<number>`.
        root: Where it goes.
        report: Called with the records of each run, and with each trial's end.
        budget: `trials`, `steps`, `episodes`, `seeds`, `objective` and `seed`, as in `Search`.

    Raises:
        ConfigError: The preset, the space or the budget is wrong; the ends of all ranges are tried first.
        AgentError: The search exists.
        KeyboardInterrupt: After Ctrl-C; `resume` goes on.
    """
    short, data = load_preset("train", preset)
    if robot is not None:
        overrides = [*overrides, f"env.kwargs.robot={robot}"]
    # What the preset has for this robot alone would win over the settings that the search writes down.
    data = for_robot(data, overrides, f"preset '{preset}'")
    whole = {"preset": apply_overrides(data, overrides), "space": space, **budget}
    search = validate(Search, whole, "search")
    _require_optuna()
    config = _check(search)
    training.check_environments(config)
    folder = training.new_folder(root, name, f"tune_{training.stem_of(short, config)}")
    write_atomic(folder / "search.yaml", yaml.safe_dump(search.model_dump(mode="json"), sort_keys=False))
    return _run(search, folder, report)


def resume(
    search: Path, *, root: Path = Path("runs"), report: Report | None = None, trials: int | None = None
) -> dict[str, Any]:
    """Go on with a search, to `trials` in all where given; a run that was interrupted goes on where it stood.

    Raises:
        AgentError: There is no such search, or its journal is damaged.
    """
    folder = search if search.is_dir() else root / search
    path = folder / "search.yaml"
    if not path.is_file():
        known = sorted(p.parent.name for p in root.glob("*/search.yaml"))
        raise AgentError(unknown("search", str(search), known))
    data = load_yaml(path)
    found = validate(Search, {**data, **({} if trials is None else {"trials": trials})}, str(path))
    _require_optuna()
    _check(found)
    write_atomic(path, yaml.safe_dump(found.model_dump(mode="json"), sort_keys=False))
    return _run(found, folder, report)


def _require_optuna() -> None:
    try:
        import optuna
    except ModuleNotFoundError as problem:
        raise AgentError("tuning needs the package 'optuna': pip install 'training-ground[tune]'") from problem
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _check(search: Search) -> Any:
    """Try the preset with both ends of every range and every choice; return the first of these configurations."""
    space = search_space.parse_space(search.space, "search space")
    for key in space:
        if key in ("total_steps", "seed") or key.split(".")[0] in ("eval", "checkpoints"):
            raise ConfigError(f"search space: '{key}' is how trials are compared; it cannot be searched")
    found = []
    for corner in search_space.corners(space):
        found.append(training.resolve(search.preset, "search space", search_space.overrides_of(corner)))
    return found[0]


def open_study(search: Search, folder: Path) -> Any:
    """Return the Optuna study of a search's folder.

    Raises:
        AgentError: The journal is damaged.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    path = folder / "study.jsonl"
    if path.is_file():
        # A kill can cut the last line off; what it said is lost, what stands before it is not.
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            write_atomic(path, whole)
    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        return optuna.create_study(
            study_name="search",
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=FIRST_STAGES),
        )
    except (ValueError, KeyError, TypeError) as problem:
        raise AgentError(f"{path}: damaged: {problem}") from problem


def _run(search: Search, folder: Path, report: Report | None) -> dict[str, Any]:
    import optuna

    study = open_study(search, folder)
    states = optuna.trial.TrialState
    for left in study.get_trials(states=(states.RUNNING,)):
        # It was interrupted. Its settings are tried again under its own name, so that its runs go on.
        study.tell(left.number, state=states.FAIL)
        study.enqueue_trial(left.params, user_attrs={"runs": left.user_attrs.get("runs", _runs_name(left.number))})
    space = search_space.parse_space(search.space, "search space")
    while len(_tried(study)) < search.trials:
        number = len(study.trials)
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=FIRST_TRIALS, seed=search.seed * 100_003 + number)
        trial = study.ask()
        _try(study, trial, search, space, folder, report)
        summary = summarise(study, search, folder)
        if summary["best"] is not None:
            write_atomic(folder / "best.yaml", _best_preset(search, summary))
        if report is not None:
            report({"trial": summary["trials"][-1], "of": search.trials, "best": summary["best"]})
    return summarise(study, search, folder)


def _runs_name(number: int) -> str:
    return f"trial_{number:04d}"


def _tried(study: Any) -> list[Any]:
    """Trials that came to an end; one that was interrupted and begun again counts once."""
    return [t for t in study.trials if t.state.is_finished() and (t.state.name != "FAIL" or "error" in t.user_attrs)]


def _try(study: Any, trial: Any, search: Search, space: Any, folder: Path, report: Report | None) -> None:
    """Do a trial's runs and tell the study how they went."""
    import optuna

    states = optuna.trial.TrialState
    values = search_space.suggest(space, trial)
    runs = trial.user_attrs.get("runs", _runs_name(trial.number))
    trial.set_user_attr("runs", runs)
    scores: list[float] = []
    seed = 0
    try:
        for seed in range(search.seeds):
            watch = _Stages(trial, search, seed, report)
            scores.append(_score(search, values, folder, f"{runs}_seed{seed}", seed, watch))
        trial.set_user_attr("values", scores)
        study.tell(trial, sum(scores) / len(scores))
    except Pruned:
        _forget_checkpoints(folder / f"{runs}_seed{seed}")
        study.tell(trial, state=states.PRUNED)
    except AgentError as problem:
        trial.set_user_attr("error", str(problem))
        study.tell(trial, state=states.FAIL)


def _score(
    search: Search, values: dict[str, Any], folder: Path, name: str, seed: int, watch: Callable[[dict[str, Any]], None]
) -> float:
    """Train, or go on with, one run and return its objective over the validation seeds."""
    fixed = [f"total_steps={search.steps}", f"seed={seed}", f"eval.episodes={search.episodes}"]
    fixed.append(f"eval.seed={VALIDATION_SEEDS.start}")
    config = training.resolve(search.preset, name, [*search_space.overrides_of(values), *fixed])
    run = folder / name
    if not (run / "config.yaml").is_file():
        training.write_config(run, config)
    done = repeats.finished(run, config)
    if done is None:
        training.resume(run, report=watch)
        done = repeats.finished(run, config)
    value = None if done is None or done.summary is None else done.summary[search.objective]
    if value is None or not math.isfinite(value):
        raise AgentError(f"{run}: its evaluation left no {search.objective}")
    _forget_checkpoints(run)
    return float(value)


def _forget_checkpoints(run: Path) -> None:
    shutil.rmtree(run / "checkpoints", ignore_errors=True)


class _Stages:
    """Reports a run's progress to the pruner at ten stages, and passes the records on.

    Raises:
        Pruned: The run is worse than the median of the others at a stage.
    """

    def __init__(self, trial: Any, search: Search, seed: int, report: Report | None) -> None:
        self._trial, self._search, self._first, self._report = trial, search, seed * STAGES, report
        self._stage = 0

    def __call__(self, record: dict[str, Any]) -> None:
        if self._report is not None:
            self._report(record)
        value = record.get(self._search.objective)
        if "steps" not in record or value is None:
            return
        stage = STAGES * record["steps"] // self._search.steps
        if stage <= self._stage or stage >= STAGES:
            return
        self._stage = stage
        self._trial.report(float(value), self._first + stage)
        if self._trial.should_prune():
            raise Pruned


def summarise(study: Any, search: Search, folder: Path) -> dict[str, Any]:
    """Return what was tried and what was best; plain data."""
    tried = [
        {
            "trial": t.number,
            "state": t.state.name.lower(),
            "value": t.value if t.state.name == "COMPLETE" else None,
            "values": t.user_attrs.get("values"),
            "settings": _settings(t.params, search),
            "runs": t.user_attrs.get("runs"),
            "error": t.user_attrs.get("error"),
        }
        for t in _tried(study)
    ]
    complete = [t for t in tried if t["state"] == "complete"]
    best = max(complete, key=lambda t: t["value"], default=None)
    return {
        "search": str(folder),
        "objective": search.objective,
        "trials": tried,
        "best": best,
        "preset": None if best is None else str(folder / "best.yaml"),
    }


def _settings(parameters: dict[str, Any], search: Search) -> dict[str, Any]:
    """Return a trial's settings; Optuna keeps choices as texts."""
    space = search_space.parse_space(search.space, "search space")
    return {
        key: json.loads(value) if isinstance(space.get(key), search_space.Choices) else value
        for key, value in parameters.items()
    }


def _best_preset(search: Search, summary: dict[str, Any]) -> str:
    best = summary["best"]
    data = apply_overrides(search.preset, search_space.overrides_of(best["settings"]))
    training.resolve(data, "best.yaml")
    return (
        f"# The best of {len(summary['trials'])} trials: {search.objective} {best['value']:.4g} over {search.episodes} "
        f"validation episodes after {search.steps:,} steps\n# (trial {best['trial']}). Being the best of several, it "
        "was also lucky: measure it anew with tg train --seeds and tg eval.\n" + yaml.safe_dump(data, sort_keys=False)
    )

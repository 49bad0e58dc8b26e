"""The same training run with several seeds: one after the other, each resumable, and reported together.

runs/<name>_seed<k>/   one run a seed, as `agents/training.py` writes it

All of them are reported, never the best alone: what a method is worth is what it gives with a seed that nobody chose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.agents import training
from training_ground.agents.bundle import load_bundle
from training_ground.agents.statistics import interquartile_mean, two_level_interval, wilson_interval
from training_ground.configs.errors import AgentError
from training_ground.configs.loading import load_yaml
from training_ground.configs.presets import load_preset
from training_ground.configs.training import RunConfig

MOST_SEEDS = 1000


@dataclass(frozen=True)
class SeedRun:
    """One seed's run.

    Attributes:
        seed: Of the run.
        folder: Of the run.
        steps: Environment steps trained; 0 where it failed before a bundle was written.
        seconds: Wall-clock time of training, s.
        summary: Of the evaluation of its policy; None where there is none.
        returns: Of the evaluation's episodes.
        error: Why it failed; None where it did not.
    """

    seed: int
    folder: Path
    steps: int = 0
    seconds: float = 0.0
    summary: dict[str, Any] | None = None
    returns: list[float] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True)
class Repeats:
    """Runs that differ in their seed alone.

    Attributes:
        name: What their folders' names begin with.
        runs: By seed, failed ones included.
    """

    name: str
    runs: tuple[SeedRun, ...]

    def pooled(self) -> dict[str, Any]:
        """Return what all seeds say together; plain data, None where nothing was evaluated.

        The Wilson interval takes the episodes of all policies as one sample: it is about these policies. The interval
        of the interquartile mean also draws the seeds anew: it is about the next seed, and with few seeds only a hint.
        """
        summaries = [r.summary for r in self.runs if r.summary is not None]
        successes, episodes = (sum(s[key] for s in summaries) for key in ("successes", "episodes"))
        returns = [r.returns for r in self.runs if r.returns]
        everything = [value for some in returns for value in some]
        return {
            "seeds": len(self.runs),
            "evaluated": len(summaries),
            "successes": successes,
            "episodes": episodes,
            "success_rate": successes / episodes if episodes else None,
            "wilson_95": list(wilson_interval(successes, episodes)) if episodes else None,
            "return_interquartile_mean": interquartile_mean(everything) if everything else None,
            "return_bootstrap_95": list(two_level_interval(returns, interquartile_mean)) if everything else None,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "group": self.name,
            "runs": [
                {
                    "seed": r.seed,
                    "run": str(r.folder),
                    "bundle": None if r.error else str(r.folder / "bundle"),
                    "steps": r.steps,
                    "seconds": r.seconds,
                    "evaluation": r.summary,
                    "error": r.error,
                }
                for r in self.runs
            ],
            "pooled": self.pooled(),
        }


def parse_seeds(text: str) -> list[int]:
    """Return seeds written as `0,1,2`, or as their number: `3` means the same.

    Raises:
        AgentError: It is neither, or a seed stands twice.
    """
    parts = text.split(",")
    if not all(re.fullmatch(r"\s*\d{1,9}\s*", part) for part in parts):
        raise AgentError(f"seeds '{text}': write them as 0,1,2, or how many: 3")
    seeds = [int(part) for part in parts] if len(parts) > 1 else list(range(int(text)))
    if len(set(seeds)) != len(seeds):
        raise AgentError(f"seeds '{text}': a seed stands twice")
    if not 1 <= len(seeds) <= MOST_SEEDS:
        raise AgentError(f"seeds '{text}': {len(seeds)} of them; allowed: 1 to {MOST_SEEDS}")
    return seeds


def start(
    preset: str | Path,
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
    *,
    robot: str | None = None,
    name: str | None = None,
    root: Path = Path("runs"),
    report: training.Report | None = None,
) -> Repeats:
    """Train from a preset once with each seed; see `training.start`. A run that fails does not keep the others back.

    Raises:
        ConfigError: The preset or an override is wrong.
        AgentError: A run of this name exists.
        KeyboardInterrupt: After Ctrl-C; `resume` goes on with what is unfinished.
    """
    short, data = load_preset("train", preset)
    if robot is not None:
        overrides = [*overrides, f"env.kwargs.robot={robot}"]
    configs = {s: training.resolve(data, f"preset '{preset}'", [*overrides, f"seed={s}"]) for s in seeds}
    first = next(iter(configs.values()))
    training.check_environments(first)
    group = name or _free_name(root, training.stem_of(short, first))
    if members(group, root) or (root / group).exists():
        raise AgentError(f"runs '{root / group}' exist; continue them with --resume {group} or choose another --name")
    for seed, config in configs.items():
        # All of them, before the first begins: what is unfinished can then be told from the folders alone.
        training.write_config(root / f"{group}_seed{seed}", config)
    return _finish(group, root, (), report)


def resume(
    group: Path, overrides: Sequence[str] = (), *, root: Path = Path("runs"), report: training.Report | None = None
) -> Repeats:
    """Go on with the runs of a group that are unfinished, or, with overrides, with all of them.

    Args:
        group: What the folders' names begin with, with or without the path before it.
        overrides: Hold from here on, in all of them.
        root: Where the runs are, unless `group` says so.
        report: As in `start`.
    """
    name, root = _place(group, root)
    return _finish(name, root, overrides, report)


def is_group(name: Path, root: Path) -> bool:
    """Whether there are runs `<name>_seed<k>`, and no run of that very name."""
    return bool(members(*_place(name, root))) and not any((f / "config.yaml").is_file() for f in (name, root / name))


def _place(group: Path, root: Path) -> tuple[str, Path]:
    return group.name, group.parent if len(group.parts) > 1 else root


def members(group: str, root: Path) -> list[Path]:
    """Return the folders of a group's runs, by seed; none where there is no such group."""
    found = {
        int(p.name.rpartition("_seed")[2]): p for p in root.glob(f"{_literal(group)}_seed*") if _is_member(p, group)
    }
    return [found[seed] for seed in sorted(found)]


def _is_member(path: Path, group: str) -> bool:
    return bool(re.fullmatch(re.escape(group) + r"_seed\d+", path.name)) and (path / "config.yaml").is_file()


def _literal(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _free_name(root: Path, stem: str) -> str:
    numbers = range(1, 10_000)
    return next(n for n in (f"{stem}_{k:03d}" for k in numbers) if not members(n, root) and not (root / n).exists())


def _finish(group: str, root: Path, overrides: Sequence[str], report: training.Report | None) -> Repeats:
    runs = []
    for folder in members(group, root):
        config = training.resolve(load_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
        done = None if overrides else finished(folder, config)
        if done is None:
            try:
                training.resume(folder, overrides, root=root, report=report)
                config = training.resolve(load_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
                done = finished(folder, config)
            except AgentError as problem:
                done = SeedRun(config.seed, folder, error=str(problem))
                if report is not None:
                    report({"warning": f"seed {config.seed}: {problem}"})
        runs.append(done or SeedRun(config.seed, folder, error="it left no complete evaluation"))
    return Repeats(group, tuple(runs))


def finished(folder: Path, config: RunConfig) -> SeedRun | None:
    """Return what a run left if it has trained and evaluated all that its configuration asks for; otherwise None."""
    bundle = folder / "bundle"
    try:
        made = load_bundle(bundle).spec.provenance
        evaluation = json.loads((bundle / "evaluation.json").read_text("utf-8")) if config.eval.episodes else None
        summary = None if evaluation is None else evaluation["summary"]
        returns = [] if evaluation is None else [float(e["total_reward"]) for e in evaluation["episodes"]]
        steps, seconds = made.steps or 0, made.seconds or 0.0
        if steps < config.total_steps or (summary is not None and summary["episodes"] < config.eval.episodes):
            return None
    except (AgentError, OSError, ValueError, KeyError, TypeError):
        return None
    return SeedRun(config.seed, folder, steps, seconds, summary, [r for r in returns if np.isfinite(r)])

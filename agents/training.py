"""Train a policy: a preset becomes a run folder with configuration, progress, checkpoints and a bundle.

runs/<name>/config.yaml        the configuration in full
            progress.jsonl     one record an update
            checkpoints/       the newest few, each whole
            bundle/            the policy, evaluated
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pydantic
import yaml

from training_ground.agents.algorithms import find_algorithm
from training_ground.agents.diagnosis import Verdict, Watch, judge
from training_ground.agents.episodes import control_rate
from training_ground.agents.evaluation import Evaluation, evaluate
from training_ground.agents.files import write_atomic
from training_ground.agents.policy import bundle_folder
from training_ground.agents.progress import read_progress
from training_ground.agents.signature import OF_LOCKED_JOINTS, signature_of
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError, unknown
from training_ground.configs.loading import StrictModel, apply_overrides, load_yaml, validate
from training_ground.configs.presets import for_robot, load_preset
from training_ground.configs.training import RunConfig

if TYPE_CHECKING:
    from training_ground.agents.checkpoints import Checkpoint
    from training_ground.agents.collector import Collector
    from training_ground.agents.curriculum import Curriculum
    from training_ground.agents.rollouts import LaneState

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RunResult:
    """What a finished run left.

    Attributes:
        folder: The run's folder.
        bundle: The policy's folder.
        steps: Environment steps.
        seconds: Wall-clock time of training over all sessions, s.
        record: The last progress record; empty where this session did not train.
        evaluation: Of the policy; None where the preset asks for none.
        verdict: Whether it stalled, and why; None where this session did not train.
    """

    folder: Path
    bundle: Path
    steps: int
    seconds: float
    record: dict[str, Any]
    evaluation: Evaluation | None
    verdict: Verdict | None = None


def resolve(data: dict[str, Any], where: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Turn a preset's content and dotted overrides into a typed configuration, the algorithm's settings included.

    What stands under `robots` for the robot that is trained goes before the preset's own values, and after overrides.

    Raises:
        ConfigError: A key is unknown (the nearest is offered), missing, or its value is not allowed.
        AgentError: The algorithm is unknown.
    """
    data = apply_overrides(for_robot(data, overrides, where), overrides)
    name = data.get("algorithm", "ppo")
    settings = find_algorithm(str(name)).Settings
    fields: dict[str, Any] = {str(name): (settings, settings())}
    model = pydantic.create_model("RunConfig", __base__=RunConfig, **fields)
    return validate(model, data, where)


def start(
    preset: str | Path,
    overrides: Sequence[str] = (),
    *,
    robot: str | None = None,
    name: str | None = None,
    root: Path = Path("runs"),
    report: Report | None = None,
) -> RunResult:
    """Train from a preset.

    Args:
        preset: Name of a file in `configs/train/`, or a path.
        overrides: Such as `ppo.learning_rate=1e-4`.
        robot: Shorthand for `env.kwargs.robot=...`.
        name: The run's folder under `root`; otherwise `<preset>_<robot>_<number>`.
        root: Where runs live.
        report: Called with each progress record.

    Raises:
        ConfigError: The preset or an override is wrong.
        AgentError: The run exists, a worker died, weights are not finite, or the disk is full; the message names the
            last good checkpoint.
        SimulationError: The environment refuses its arguments.
        KeyboardInterrupt: After Ctrl-C, once a checkpoint is written.
    """
    short, data = load_preset("train", preset)
    if robot is not None:
        overrides = [*overrides, f"env.kwargs.robot={robot}"]
    config = resolve(data, f"preset '{preset}'", overrides)
    check_environments(config)
    folder = new_folder(root, name, stem_of(short, config))
    write_config(folder, config)
    return _run(config, folder, None, report)


def check_environments(config: RunConfig) -> None:
    """Make the environment of training and that of evaluation, once each, and compare what a policy takes for granted.

    A robot whose held joints are locked is another model with fewer joints: those may differ.

    Raises:
        AgentError: They differ in what a policy sees or does.
        SimulationError: One refuses its arguments.
    """
    algorithm = find_algorithm(config.algorithm)
    with contextlib.closing(make_env(config.env.id, config.env.kwargs)) as env:
        if hasattr(algorithm, "check_config"):
            algorithm.check_config(config, env)
        if config.origin is not None:
            from training_ground.agents.bundle import read_bundle
            from training_ground.agents.warm_start import columns

            if not hasattr(algorithm, "begin_from"):
                raise AgentError(f"start_from: algorithm {config.algorithm} begins from nothing; PPO can")
            columns(read_bundle(bundle_folder(config.origin)), signature_of(env))
        if config.evaluated_kwargs == config.env.kwargs or not hasattr(env.unwrapped, "describe"):
            return
        trained = signature_of(env)
    with contextlib.closing(make_env(config.env.id, config.evaluated_kwargs)) as env:
        found = trained.differences(signature_of(env), ignore=OF_LOCKED_JOINTS)
    if found:
        listed = "; ".join(found).replace("in the bundle", "in env.kwargs").replace("in the environment", "with them")
        raise AgentError(f"eval.kwargs: the policy would not fit the environment that they make: {listed}")


def stem_of(preset: str, config: RunConfig) -> str:
    """Return what a run's folder is called where no name is given, without the number: `stand_g1`."""
    return f"{preset}_{config.robot}"


def resume(
    run: Path, overrides: Sequence[str] = (), *, root: Path = Path("runs"), report: Report | None = None
) -> RunResult:
    """Continue a run from its last good checkpoint, also after a kill; see `start`.

    The run's own `config.yaml` holds; `overrides` change it from here on (`total_steps=...` trains on). Without any, it
    goes on bit for bit as if it had never stopped. Where the environments or their number have changed, new episodes
    begin.

    Raises:
        AgentError: There is no such run.
    """
    folder = find_run(run, root)
    written = load_yaml(folder / "config.yaml")
    config = resolve(written, str(folder / "config.yaml"), overrides)
    from training_ground.agents.checkpoints import last_good_checkpoint

    checkpoint, problems = last_good_checkpoint(folder / "checkpoints")
    if report is not None:
        for problem in problems:
            report({"warning": f"passed over: {problem}"})
    if checkpoint is None and problems:
        raise AgentError(f"{folder}: no whole checkpoint is left: {'; '.join(problems)}")
    before = resolve(written, str(folder / "config.yaml"))
    if checkpoint is not None and config.origin != before.origin:
        raise AgentError(f"{folder}: start_from = {config.start_from}: belongs to a new run, this one has begun")
    rate = getattr(config, config.algorithm).learning_rate
    if checkpoint is not None and rate != written.get(config.algorithm, {}).get("learning_rate", rate):
        # Otherwise the rate that was adapted so far goes on; one that is given now is meant to hold.
        checkpoint = replace(checkpoint, counters=replace(checkpoint.counters, learning_rate=rate))
    if overrides:
        write_config(folder, config)
    same = (before.env, before.curriculum) == (config.env, config.curriculum)
    return _run(config, folder, checkpoint, report, same)


def find_run(run: Path, root: Path) -> Path:
    """Return a run's folder, given itself or its name below `root`.

    Raises:
        AgentError: There is no such run; the nearest is offered.
    """
    folder = run if run.is_dir() else root / run
    if not (folder / "config.yaml").is_file():
        known = sorted(p.parent.name for p in root.glob("*/config.yaml"))
        raise AgentError(unknown("run", str(run), known))
    return folder


def new_folder(root: Path, name: str | None, stem: str) -> Path:
    """Create the folder of a new run; two runs started at once get two folders."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        if name is not None:
            folder = root / name
            folder.mkdir(parents=True)
            return folder
        for number in range(1, 10_000):
            folder = root / f"{stem}_{number:03d}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    except FileExistsError as problem:
        raise AgentError(
            f"run '{root / str(name)}' exists; continue it with --resume or choose another --name"
        ) from problem
    except OSError as problem:
        raise AgentError(f"{root}: cannot be written: {problem.strerror or problem}") from problem
    raise AgentError(f"{root}: holds 9,999 runs of '{stem}'; choose a --name")


def write_config(folder: Path, config: StrictModel) -> None:
    """Write `config.yaml`: with it alone a run can be begun by `resume`."""
    write_atomic(folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _run(
    config: RunConfig, folder: Path, checkpoint: Checkpoint | None, report: Report | None, same_env: bool = True
) -> RunResult:
    algorithm = find_algorithm(config.algorithm)
    record: dict[str, Any] = {}
    known = [r for r in read_progress(folder) if r["steps"] <= checkpoint.counters.steps] if checkpoint else []

    def keep(entry: dict[str, Any]) -> None:
        if "steps" in entry:
            record.update(entry)
        if report is not None:
            report(entry)

    from_step = 0 if checkpoint is None else checkpoint.counters.steps
    if report is not None:
        report({"run": str(folder), "total_steps": config.total_steps, "from_step": from_step})
    with contextlib.closing(make_env(config.env.id, config.env.kwargs)) as env:
        watch = None
        if hasattr(algorithm, "learn"):
            steps, seconds = algorithm.learn(config, folder, checkpoint, env, keep)
        else:
            watch = Watch(config, control_rate(env), known)
            steps, seconds = _learn(config, folder, checkpoint, algorithm, env, keep, same_env, watch)
    bundle = folder / "bundle"
    evaluation = None
    if config.eval.episodes:
        evaluation = evaluate_bundle(bundle, config, report)
    return RunResult(folder, bundle, steps, seconds, record, evaluation, watch.verdict if watch and record else None)


def diagnose(run: Path, *, root: Path = Path("runs")) -> Verdict:
    """Say whether a run has stalled, and why, from its progress records.

    Raises:
        AgentError: There is no such run, or it has no records.
    """
    folder = find_run(run, root)
    config = resolve(load_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
    if hasattr(find_algorithm(config.algorithm), "learn"):
        raise AgentError(
            f"{folder}: {config.algorithm} learns from data and has no reward to stall at; look at its loss"
        )
    with contextlib.closing(make_env(config.env.id, config.env.kwargs)) as env:
        return judge(read_progress(folder), config, control_rate(env))


def evaluate_bundle(bundle: Path, config: RunConfig, report: Report | None = None) -> Evaluation:
    """Evaluate a run's bundle as its configuration says and write the card into it."""
    from training_ground.agents.bundle import load_bundle
    from training_ground.agents.export import add_evaluation

    def tell(result: Evaluation, _: Any) -> None:
        if report is not None:
            report({"evaluated": len(result.episodes), "of": result.requested})

    seeds = range(config.eval.seed, config.eval.seed + config.eval.episodes)
    result = evaluate(load_bundle(bundle), config.env.id, config.evaluated_kwargs, seeds, config.workers, tell)
    add_evaluation(bundle, result)
    return result


def _learn(
    config: RunConfig,
    folder: Path,
    checkpoint: Checkpoint | None,
    algorithm: ModuleType,
    env: Any,
    report: Report,
    same_env: bool,
    watch: Watch,
) -> tuple[int, float]:
    """Train to `total_steps` and write the bundle; return steps and seconds."""
    from training_ground.agents import export
    from training_ground.agents.checkpoints import Counters, restore
    from training_ground.agents.curriculum import Curriculum
    from training_ground.agents.monitor import Monitor
    from training_ground.agents.normaliser import Normaliser
    from training_ground.agents.progress import ProgressLog
    from training_ground.agents.stopping import StopRequest
    from training_ground.agents.warm_start import origin

    settings = getattr(config, config.algorithm)
    model_hash = signature_of(env).model_hash
    fresh = Counters(0, 0, 0, 0.0, settings.learning_rate, model_hash)
    start = fresh if checkpoint is None else checkpoint.counters
    if start.model_hash != model_hash:
        raise AgentError(
            f"{folder}: trained on the compiled robot {start.model_hash[:12]}, which is now {model_hash[:12]}: the "
            "robot's files or the compiler changed; start a new run"
        )
    stop = StopRequest()
    symmetry = None
    if getattr(settings, "mirror", False):
        from training_ground.agents.symmetry import symmetry_of

        symmetry = symmetry_of(env, settings.privileged)
    states = [] if checkpoint is None else _states(checkpoint, config, same_env)
    curriculum = Curriculum(config.curriculum, env)
    with _environments(config, states, curriculum, report) as environments, stop.listening():
        size = environments.arrays.observation.shape[-1]
        normaliser = Normaliser(config.normalisation, size, environments.num_envs, settings.gamma, symmetry)
        model = algorithm.build(settings, config.network, environments, normaliser, config.seed, symmetry)
        model.set_logger(_logger(config, folder))
        model.stopping = lambda: stop.asked
        model.curriculum = curriculum
        data = algorithm.show(model, settings, env) if hasattr(algorithm, "show") else None
        before = origin(config.origin, folder)
        if before is not None and checkpoint is None:
            algorithm.begin_from(model, before, signature_of(env))
        if checkpoint is not None:
            restore(checkpoint, model)
            algorithm.set_learning_rate(model, start.learning_rate)
        log = ProgressLog(folder / "progress.jsonl", start.steps)
        monitor = Monitor(config, settings, algorithm, folder / "checkpoints", log, start, report, watch)
        try:
            _loop(model, monitor, config, folder, start.steps)
        finally:
            log.close()
        if start.steps < config.total_steps or checkpoint is None:
            monitor.save()
        if stop.asked:
            raise KeyboardInterrupt
        counters = monitor.counters() if start.steps < config.total_steps else start
        with contextlib.closing(make_env(config.env.id, config.evaluated_kwargs)) as deployed:
            export.export_bundle(
                folder / "bundle",
                model,
                algorithm,
                config,
                deployed,
                steps=counters.steps,
                seconds=counters.seconds,
                began_from=before and before.policy,
                data=data,
            )
        return counters.steps, counters.seconds


def _loop(model: Any, monitor: Any, config: RunConfig, folder: Path, steps: int) -> None:
    """Let the model learn; a failure says which checkpoint to go on from."""
    from training_ground.agents.checkpoints import list_checkpoints
    from training_ground.agents.monitor import diagnose

    if steps >= config.total_steps:
        return
    try:
        model.learn(config.total_steps - steps, callback=monitor, reset_num_timesteps=False, log_interval=1)
    except (AgentError, ValueError, RuntimeError) as problem:
        told = problem if isinstance(problem, AgentError) else diagnose(problem, model)
        if told is None:
            raise
        kept = list_checkpoints(folder / "checkpoints")
        advice = (
            f"last good checkpoint: {kept[-1]} (tg train --resume {folder})"
            if kept
            else "no checkpoint was written yet"
        )
        raise AgentError(f"{told}; {advice}") from problem


def _states(checkpoint: Checkpoint, config: RunConfig, same_env: bool) -> list[LaneState]:
    """Where the environments go on: where they stood, or, if they are others now, with episodes that are new."""
    from training_ground.agents.checkpoints import environment_states
    from training_ground.agents.rollouts import LaneState

    states, count = environment_states(checkpoint), config.workers * config.envs_per_worker
    if same_env and len(states) == count:
        return states
    level = float(checkpoint.tensors["curriculum"][0])
    return [LaneState(1 + max(state.episode for state in states), states[0].actions[:0], level)] * count


@contextlib.contextmanager
def _environments(
    config: RunConfig, states: Sequence[LaneState], curriculum: Curriculum, report: Report
) -> Iterator[Collector]:
    """The worker processes; torch is held to its threads."""
    import torch

    from training_ground.agents.collector import Collector

    torch.set_num_threads(config.torch_threads)
    settings = getattr(config, config.algorithm)
    environments = Collector(
        config.env.id,
        config.env.kwargs,
        workers=config.workers,
        envs_per_worker=config.envs_per_worker,
        steps=settings.rollout_steps,
        seed=config.seed,
        states=states,
        ranges=curriculum.ranges,
        level=curriculum.level,
        privileged=getattr(settings, "privileged", ()),
        report=lambda text: report({"warning": text}),
    )
    try:
        yield environments
    finally:
        environments.close()


def _logger(config: RunConfig, folder: Path) -> Any:
    """TensorBoard's logger where it is asked for; otherwise one that keeps the numbers for the progress record only."""
    from stable_baselines3.common.logger import Logger, configure

    if not config.tensorboard:
        return Logger(folder=None, output_formats=[])
    try:
        return configure(str(folder / "tensorboard"), ["tensorboard"])
    except (ImportError, AssertionError) as problem:
        raise AgentError("tensorboard = true needs the package: pip install 'training-ground[train]'") from problem

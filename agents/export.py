"""Turn a trained model into a policy bundle, and write its card once it has been evaluated."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle import GOLDEN_COUNT, BundlePolicy, load_bundle, save_bundle, write_manifest
from training_ground.agents.bundle_format import (
    SCHEMA_VERSION,
    BundleSpec,
    DataOrigin,
    NormaliserSpec,
    Origin,
    Provenance,
)
from training_ground.agents.evaluation import Evaluation
from training_ground.agents.files import to_json, write_atomic
from training_ground.agents.machine import this_machine
from training_ground.agents.network_specs import NetworkSpec, named
from training_ground.agents.policy import shipped_name
from training_ground.agents.signature import signature_of
from training_ground.configs.training import RunConfig

if TYPE_CHECKING:
    from training_ground.agents.learner import RolloutPPO
    from training_ground.agents.multitask_settings import MultiTaskConfig

PACKAGES = ("training-ground", "pybullet", "numpy", "gymnasium", "stable-baselines3", "sb3-contrib", "torch")


def export_bundle(
    folder: Path,
    model: RolloutPPO,
    algorithm: ModuleType,
    config: RunConfig,
    env: gymnasium.Env[Any, Any],
    *,
    steps: int,
    seconds: float,
    began_from: BundlePolicy | None = None,
    data: tuple[DataOrigin, ...] | None = None,
) -> BundlePolicy:
    """Write the bundle of a trained model.

    Args:
        folder: The bundle's folder.
        model: The trained model, with its normaliser.
        algorithm: Its module, whose `actor` gives the layers.
        config: The run.
        env: One environment of the kind that it is for; its signature goes into the bundle.
        steps: Environment steps of training.
        seconds: Wall-clock time of training, s.
        began_from: Policy that it began with.
        data: Demonstrations that were learned from besides.

    Raises:
        AgentError: The numpy policy does not repeat the trained network, or the disk is full.
    """
    weights, biases, act = algorithm.actor(model)
    signature = signature_of(env)
    size = signature.observation_size
    if config.normalisation.observation:
        moments: Any = model.normaliser.obs_rms
        mean, variance = (m[:size].astype(np.float64) for m in (moments.mean, moments.var))
        normaliser = NormaliserSpec(clip=config.normalisation.clip, epsilon=config.normalisation.epsilon)
    else:
        (mean, variance), normaliser = unchanged(size)
    layers = (size, *(len(b) for b in biases))
    spec = BundleSpec(
        schema_version=SCHEMA_VERSION,
        name=config.policy_name or shipped_name(signature.env_id, signature.robot),
        network=NetworkSpec(
            layers=layers, activation=config.network.activation, output=getattr(algorithm, "OUTPUT", "linear")
        ),
        normaliser=normaliser,
        env=signature,
        env_kwargs=config.env.kwargs,
        provenance=provenance(config, steps, seconds, began_from, data),
    )
    return save_policy(folder, spec, named(zip(weights, biases, strict=True)), (mean, variance), act)


def save_policy(
    folder: Path,
    spec: BundleSpec,
    arrays: dict[str, NDArray[np.float32]],
    moments: tuple[NDArray[np.float64], NDArray[np.float64]],
    act: Callable[..., NDArray[np.float32]],
) -> BundlePolicy:
    """Write a bundle whose golden actions come from the network itself.

    Args:
        folder: The bundle's folder.
        spec: What the policy is for.
        arrays: Of the network, by the names of `spec.network.shapes`.
        moments: Mean and variance (n,) of the observations.
        act: The network's own forward pass, from normalised observations (k, n), and noise (k, outputs) where it wants
            some; the bounds are not applied yet.

    Raises:
        AgentError: The numpy policy does not repeat the network, or the disk is full.
    """
    mean, variance = moments
    tensors: dict[str, Any] = {"observation.mean": mean, "observation.variance": variance, **arrays}
    deviation, clip = np.sqrt(variance + spec.normaliser.epsilon), spec.normaliser.clip
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal((GOLDEN_COUNT, len(mean))) * deviation + mean
    observations = drawn.astype(np.float32)
    golden = {"observation": observations}
    if spec.network.noise:
        golden["noise"] = generator.standard_normal((GOLDEN_COUNT, spec.network.noise)).astype(np.float32)
    normal = ((observations - mean) / deviation).clip(-clip, clip).astype(np.float32)
    actions = act(normal, *([golden["noise"]] if "noise" in golden else []))
    if spec.bounds is not None:
        low, high = spec.bounds
        if spec.network.output == "tanh":
            actions = low + 0.5 * (actions + 1.0) * (high - low)
        actions = actions.clip(low, high)
    return save_bundle(folder, spec, tensors, {**golden, "action": actions.astype(np.float32)})


def unchanged(size: int) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NormaliserSpec]:
    """Moments (size,) and settings of a normaliser that changes nothing: its clip is beyond every observation."""
    return (np.zeros(size), np.ones(size)), NormaliserSpec(clip=1e12, epsilon=1e-12)


def provenance(
    config: RunConfig | MultiTaskConfig,
    steps: int,
    seconds: float,
    before: BundlePolicy | None,
    data: tuple[DataOrigin, ...] | None = None,
    teacher: Origin | None = None,
) -> Provenance:
    """Say where weights come from; see `Provenance`."""
    origin = before and Origin(name=before.name, hash=before.hash, steps=before.spec.provenance.all_steps)
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return Provenance(
        algorithm=config.algorithm,
        steps=steps,
        seconds=round(seconds, 1),
        seed=config.seed,
        commit=code_commit(),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        versions=versions,
        config=config.model_dump(mode="json"),
        machine=this_machine(),
        began_from=origin,
        data=data,
        teacher=teacher,
    )


def code_commit() -> str:
    """Return the commit of this source tree, with `+changes` where it was edited; `unknown` for an installed wheel."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return "unknown"
    try:
        head = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        status = ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"]
        changed = subprocess.run(status, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def add_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Put an evaluation and the card made from it into a bundle."""
    policy = load_bundle(folder)
    write_atomic(folder / "evaluation.json", to_json(evaluation.to_json()))
    write_atomic(folder / "card.md", card(policy.spec, evaluation))
    write_manifest(folder)


def card(spec: BundleSpec, evaluation: Evaluation) -> str:
    """Return the model card in Markdown; every number comes from the specification or the evaluation."""
    summary, made, env = evaluation.summary(), spec.provenance, spec.env
    low, high = summary["wilson_95"]
    seeds = [r.seed for r in evaluation.episodes]
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(summary["failures"].items())) or "none"
    rows = [
        ("Success at the end", f"{summary['successes']} of {summary['episodes']}"),
        ("Success rate, 95 % Wilson interval", f"{_percent(low)} to {_percent(high)}"),
        ("Failures", failures),
        ("Mean episode", f"{summary['seconds_mean']:.1f} s" if summary["seconds_mean"] is not None else "unknown"),
        ("Mean return", f"{summary['return_mean']:.2f}" if summary["return_mean"] is not None else "unknown"),
        ("Seeds", f"{min(seeds)} to {max(seeds)}, unseen in training" if seeds else "none"),
        ("Environment", f"`{json.dumps(evaluation.environment.get('options', evaluation.kwargs))}`"),
    ]
    lines = [
        f"# {spec.name}",
        "",
        f"Acts in `{env.env_id}` on the robot `{env.robot}`: {len(env.joint_names)} joints, {env.control} at "
        f"{env.control_rate:g} Hz. A {spec.network.text}, {spec.network.weights:,} weights; runs in numpy.",
        "",
        "## Evaluation",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "## Training",
        "",
        f"{_training(made)}, "
        f"commit `{made.commit[:12]}{'+changes' if made.commit.endswith('+changes') else ''}`, {made.created}. "
        + ", ".join(f"{k} {v}" for k, v in made.versions.items())
        + ".",
        "",
        "## Limits",
        "",
        "Trained and measured in simulation only, on the model and the disturbances named above; it has not been run "
        "on a real robot and carries no safety guarantee.",
        "",
    ]
    return "\n".join(lines)


def _training(made: Provenance) -> str:
    """What is known of the training: that of an imported policy was not seen."""
    steps = "an unknown number of" if made.steps is None else f"{made.steps:,}"
    duration = "" if made.seconds is None else f" in {made.seconds / 60:.1f} minutes"
    where = f" on {made.machine.cores} cores ({made.machine.processor})" if made.machine else ""
    seed = "unknown" if made.seed is None else made.seed
    before = ""
    if made.began_from is not None:
        count = "an unknown number of" if made.began_from.steps is None else f"{made.began_from.steps:,}"
        before = f" after {count} of `{made.began_from.name}`, with which it began,"
    kind = "environment steps"
    if made.data is not None:
        kind = f"recorded steps of {sum(one.episodes for one in made.data):,} episodes"
    taught = "" if made.teacher is None else f", taught by `{made.teacher.name}`"
    return f"{made.algorithm}, {steps} {kind}{taught}{before}{duration}{where}, seed {seed}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"

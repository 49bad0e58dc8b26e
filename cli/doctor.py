"""Check this installation and name what to do about each fault."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from training_ground.cli.common import emit, json_option, table

DISTRIBUTION = "training-ground"
MODULES = {
    "stable-baselines3": "stable_baselines3",
    "sb3-contrib": "sb3_contrib",
    "pin": "pinocchio",
    "pybullet-envs-gymnasium": "",
}
"""Import names that differ from the distribution's; empty where it should not be asked."""
LEAST_FREE_GB = 1.0


class Check(NamedTuple):
    """One finding.

    Attributes:
        name: What was looked at.
        status: `ok`; `absent`, an extra that is not installed; `warn`, works but not well; `fail`, does not work.
        detail: What was found.
        remedy: What to do about it, empty where nothing is to do.
    """

    name: str
    status: Literal["ok", "absent", "warn", "fail"]
    detail: str
    remedy: str = ""


def _interpreter() -> Check:
    text = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    wheels = sys.version_info[:2] <= (3, 11)
    return Check("interpreter", "ok", text, "" if wheels else "PyBullet has wheels up to Python 3.11 only")


def _requirements() -> Iterator[Check]:
    """The base requirements, one line together, and each extra that is declared by the installed distribution."""
    from packaging.requirements import Requirement

    base, extras = [], dict[str, list[Requirement]]()
    for text in metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(text)
        extra = _extra_of(text)
        if extra is None:
            base.append(requirement)
        elif requirement.name != DISTRIBUTION:
            extras.setdefault(extra, []).append(requirement)
    wrong = [problem for requirement in base if (problem := _problem(requirement))]
    versions = ", ".join(f"{r.name} {_version(r.name)}" for r in base)
    remedy = f"pip install --upgrade {DISTRIBUTION}" if wrong else ""
    yield Check("base packages", "fail" if wrong else "ok", "; ".join(wrong) or versions, remedy)
    for extra, requirements in extras.items():
        wrong = [problem for requirement in requirements if (problem := _problem(requirement))]
        versions = ", ".join(f"{r.name} {_version(r.name)}" for r in requirements)
        remedy = f"pip install '{DISTRIBUTION}[{extra}]'" if wrong else ""
        yield Check(f"extra {extra}", "absent" if wrong else "ok", "; ".join(wrong) or versions, remedy)


def _extra_of(requirement: str) -> str | None:
    """Return `train` for `torch>=2.4; extra == "train"`."""
    _, separator, rest = requirement.partition("extra ==")
    return rest.strip(" \"')") if separator else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _problem(requirement: Any) -> str:
    found = _version(requirement.name)
    if found is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} {found} is not {requirement.specifier}"
    return ""


def _engine() -> Check:
    from training_ground.envs import world

    numpy_enabled = world.numpy_enabled()
    text = f"{world.ENGINE} API {world.ENGINE_API}, numpy {'enabled' if numpy_enabled else 'disabled'}"
    if numpy_enabled:
        return Check("physics engine", "ok", text)
    return Check("physics engine", "warn", text, "camera images are slow: reinstall pybullet with numpy present")


def _actuator() -> Check:
    from training_ground.envs import world

    _, problem = world.actuator_backend()
    if problem is None:
        return Check("actuator", "ok", "native: physics substeps run in one call")
    remedy = "works, slower; reinstall with a C compiler present"
    return Check("actuator", "ok", f"numpy: {problem}", "" if "TG_ACTUATOR" in problem else remedy)


def _environments() -> Check:
    from training_ground.assets.catalog import robot_names
    from training_ground.envs.registration import task_ids

    tasks, robots = task_ids(), robot_names()
    text = f"{len(tasks)} tasks ({', '.join(tasks)}), {len(robots)} robots ({', '.join(robots)})"
    return Check("catalogue", "ok" if tasks and robots else "fail", text)


def _physics() -> Check:
    """A few steps: the compiler, the engine and a task work together."""
    from training_ground.envs.registration import make, task_ids

    env = make(task_ids()[-1], robot="g1")
    total = 0.0
    try:
        observation, _ = env.reset(seed=0)
        for _ in range(10):
            total += float(env.step(env.action_space.sample() * 0)[1])
    finally:
        env.close()
    return Check("simulation", "ok", f"10 steps of the G1, {len(observation)} observations, return {total:.3f}")


def _cache() -> Check:
    from training_ground.assets import cache

    folder = cache.cache_root()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"training ground")
    except OSError as problem:
        return Check("cache", "fail", f"{folder}: {problem.strerror}", "set TG_CACHE to a folder that can be written")
    return Check("cache", "ok", str(folder))


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    text = f"{free:.1f} GB free in {Path.cwd()}"
    if free < LEAST_FREE_GB:
        return Check("disk", "warn", text, f"recording and checkpoints want {LEAST_FREE_GB:.0f} GB")
    return Check("disk", "ok", text)


def _threads() -> Check:
    if util.find_spec("torch") is None:
        return Check("torch threads", "absent", "torch is not installed", f"pip install '{DISTRIBUTION}[train]'")
    import torch

    text = f"{torch.get_num_threads()} threads, {'CUDA' if torch.cuda.is_available() else 'CPU only'}"
    return Check("torch threads", "ok", text)


def _video() -> Check:
    import imageio_ffmpeg

    try:
        path, version = imageio_ffmpeg.get_ffmpeg_exe(), imageio_ffmpeg.get_ffmpeg_version()
    except RuntimeError as problem:
        return Check("video", "warn", f"no ffmpeg: {problem}", "pip install 'imageio[ffmpeg]'")
    return Check("video", "ok", f"ffmpeg {version} ({Path(path).name})")


CHECKS: tuple[Callable[[], Check | Iterator[Check]], ...] = (
    _interpreter,
    _requirements,
    _engine,
    _actuator,
    _environments,
    _physics,
    _cache,
    _disk,
    _threads,
    _video,
)


def run_checks() -> list[Check]:
    """Run every check; one that breaks is itself a finding, and the others still run."""
    found: list[Check] = []
    for check in CHECKS:
        try:
            result = check()
            found.extend([result] if isinstance(result, Check) else list(result))
        except Exception as problem:  # whatever is broken here is what doctor is for
            name = check.__name__.strip("_").replace("_", " ")
            found.append(Check(name, "fail", f"{type(problem).__name__}: {problem}", "please report this line"))
    return found


@click.command(
    epilog="""\b
Examples:
  tg doctor            a table; exit status 1 if something does not work
  tg doctor --json     the same for a bug report"""
)
@json_option
def command(as_json: bool) -> int:
    """Check versions, extras, physics engine, cache, disk, threads and video; name what to do about each fault."""
    found = run_checks()
    broken = [check for check in found if check.status == "fail"]
    result = {
        "ok": not broken,
        "version": metadata.version(DISTRIBUTION),
        "checks": [check._asdict() for check in found],
    }
    rows = [(c.status, c.name, c.detail + (f"\n→ {c.remedy}" if c.remedy else "")) for c in found]
    last = f"{len(broken)} of {len(found)} checks failed" if broken else f"{len(found)} checks, nothing is broken"
    emit(result, as_json, [table("", ("", "check", "found"), rows), last])
    return 1 if broken else 0

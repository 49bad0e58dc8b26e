"""Import a user's URDF: guess its specification, compile it, write it as YAML with every guess explained above it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from training_ground.assets.compiler import compile_spec
from training_ground.assets.guessing import Guess, guess_spec
from training_ground.assets.model import CompiledModel
from training_ground.assets.spec import RobotSpec
from training_ground.assets.urdf import read_urdf
from training_ground.configs.errors import AssetError


def spec_yaml(spec: RobotSpec, guesses: list[Guess]) -> str:
    """Return the specification as YAML, its guesses as a comment above it."""
    width = max(len(guess.field) for guess in guesses)
    lines = ["# Guessed by `tg robots import`. Correct what is wrong, then run `tg robots audit` on this file.", "#"]
    lines += [f"# {g.confidence:6s} {g.field:{width}s}  {_short(g.value)}: {g.reason}" for g in guesses]
    data = spec.model_dump(mode="json", exclude_defaults=True)
    data["mirror_pattern"] = list(spec.mirror_pattern)
    for group in data["actuators"]:
        group["kp"], group["kd"] = group.get("kp", 0.0), group.get("kd", 0.0)
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    return "\n".join(lines) + "\n" + text


def _short(text: str, most: int = 90) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def default_output(urdf_path: Path) -> Path:
    """Return `<name>.yaml` in the working directory, the name made from the URDF file's."""
    name = re.sub(r"[^a-z0-9]+", "_", urdf_path.stem.lower()).strip("_")
    return Path(f"{name if name[:1].isalpha() else f'robot_{name}'}.yaml")


def import_robot(urdf_path: Path, output: Path, *, overwrite: bool = False) -> tuple[CompiledModel, list[Guess]]:
    """Guess a specification, compile it, list what overlaps at rest, and write it.

    Args:
        urdf_path: The URDF.
        output: The YAML to write; its stem becomes the robot's name.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The compiled model and the guesses.

    Raises:
        AssetError: As `guess_spec`; or the output exists, its folder does not, or the robot does not compile. Nothing
            is written then.
    """
    if output.exists() and not overwrite:
        raise AssetError(f"{output}: exists; choose another output, or --force to overwrite it")
    if not output.resolve().parent.is_dir():
        raise AssetError(f"{output}: there is no folder {output.resolve().parent}")
    spec, guesses = guess_spec(urdf_path, output)
    model = compile_spec(spec, folder=output.resolve().parent)
    parents = {joint.child: joint.parent for joint in read_urdf(urdf_path).joints.values()}
    pairs = [pair for pair in model.disabled_collisions if not _neighbours(model, parents, pair)]
    if pairs:
        spec = spec.model_copy(update={"disabled_collisions": tuple(pairs)})
        shown = "; ".join(f"{a} and {b}" for a, b in pairs)
        guesses.append(
            Guess("disabled_collisions", shown, "they overlap at the default pose: is that by design?", "unsure")
        )
        model = compile_spec(spec, folder=output.resolve().parent)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        temporary.write_text(spec_yaml(spec, guesses), encoding="utf-8")
        temporary.replace(output)
    except OSError as problem:
        raise AssetError(f"{output}: cannot be written: {problem.strerror or problem}") from problem
    finally:
        temporary.unlink(missing_ok=True)
    return model, guesses


def _neighbours(model: CompiledModel, parents: dict[str, str], pair: tuple[str, str]) -> bool:
    """Whether one link of a pair hangs on the other by one joint: those never collide and need not be listed."""
    for child, other in (pair, pair[::-1]):
        above = parents.get(child)
        if above is not None and model.frames[above].link == other:
            return True
    return False

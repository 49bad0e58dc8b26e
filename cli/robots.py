"""List, show, audit and import robots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli._catalogue import choose_robots
from training_ground.cli.common import Group, emit, json_option, progress, table

if TYPE_CHECKING:
    from training_ground.assets.audit import AuditRow
    from training_ground.assets.model import CompiledModel
    from training_ground.assets.spec import RobotSpec

PARTS = 5
"""Parts of one robot's audit, for the progress bar."""


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  tg robots                        every robot in one table
  tg robots show g1                joints, limits, gains
  tg robots audit --all            physics against theory; needs the extra `audit`
  tg robots import my.urdf -o my_robot.yaml""",
)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List, show, audit and import robots."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, as_json=as_json)


@command.command("list", epilog="\b\nExample:\n  tg robots list --json")
@json_option
def list_command(as_json: bool = False) -> None:
    """List the robots that are shipped or come from plugins."""
    from training_ground.assets.catalog import load_spec, robot_names

    specs = [load_spec(name) for name in robot_names()]
    result = [
        {
            "name": s.name,
            "title": s.title,
            "joints": len(s.joints),
            "stances": list(s.stances),
            "licence": s.source.licence,
            "description": s.description,
        }
        for s in specs
    ]
    rows = [(s.name, len(s.joints), ", ".join(s.stances), s.source.licence, s.description) for s in specs]
    emit({"robots": result}, as_json, [table("", ("name", "joints", "stances", "licence of the URDF", "what"), rows)])


@command.command("show", epilog="\b\nExamples:\n  tg robots show talos\n  tg robots show path/to/mine.yaml --json")
@click.argument("robot", metavar="NAME")
@json_option
def show_command(robot: str, as_json: bool) -> None:
    """Show a robot: joints with limits, gains and inertia, feet, hands, what the compiler noted."""
    from training_ground.assets.catalog import load_model, load_spec

    spec = load_spec(robot)
    with progress(f"compiling {spec.name}", 1, unit="robots", quiet=as_json) as shown:
        model = load_model(robot)
        shown.advance(1, spec.name)
    result = _describe(spec, model)
    emit(result, as_json, _lines(result))


def _describe(spec: RobotSpec, model: CompiledModel) -> dict[str, Any]:
    joints = [
        {
            "name": name,
            "lower_rad": model.lower[i],
            "default_rad": model.default_position[i],
            "upper_rad": model.upper[i],
            "effort_n_m": model.effort_limit[i],
            "velocity_rad_s": model.velocity_limit[i],
            "kp": model.kp[i],
            "kd": model.kd[i],
            "armature_kg_m2": model.armature[i],
            "effective_inertia_kg_m2": model.effective_inertia[i],
        }
        for i, name in enumerate(model.joint_names)
    ]
    return {
        "name": model.name,
        "title": spec.title,
        "description": spec.description,
        "source": spec.source.model_dump(exclude_none=True),
        "model_hash": model.hash,
        "directory": model.directory,
        "mass_kg": model.mass,
        "default_height_m": model.default_height,
        "stances": model.stances,
        "base": model.base_link,
        "torso": model.torso_frame,
        "imu": model.imu_frame,
        "feet": [{"link": foot.link, "side": foot.side, "sole_points": len(foot.sole)} for foot in model.feet],
        "hands": [{"side": hand.side, "frame": hand.frame, "fingers": hand.fingers} for hand in model.hands],
        "locked": spec.locked,
        "symmetric": model.mirror is not None,
        "joints": joints,
        "sliding": model.sliding,
        "notes": model.notes,
    }


def _lines(result: dict[str, Any]) -> list[Any]:
    columns = ("joint", "lower", "default", "upper", "N·m", "rad/s", "kp", "kd", "armature", "felt inertia")
    rows = [tuple(v if isinstance(v, str) else float(v) for v in joint.values()) for joint in result["joints"]]
    feet = ", ".join(f"{f['link']} ({f['side']})" for f in result["feet"]) or "none"
    hands = ", ".join(f"{h['frame']}, {len(h['fingers'])} finger joints" for h in result["hands"]) or "none"
    sliding = [f"sliding   {', '.join(result['sliding'])}: m, N, m/s, N/m, N·s/m, kg"] if result["sliding"] else []
    return [
        f"{result['title']}: {result['description']}\n",
        f"size      {result['mass_kg']:.2f} kg, {len(rows)} joints, base {result['default_height_m']:.3f} m high",
        f"stances   {', '.join(result['stances'])}",
        f"frames    base {result['base']}, torso {result['torso']}, imu {result['imu']}",
        f"feet      {feet}",
        f"hands     {hands}",
        f"model     {result['model_hash'][:12]} in {result['directory']}",
        *sliding,
        "",
        table("", columns, rows),
        *[f"note: {note}" for note in result["notes"]],
    ]


@command.command(
    "audit",
    epilog="""\b
Examples:
  tg robots audit g1
  tg robots audit path/to/mine.yaml
  tg robots audit --all --json > audit.json,
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every robot.")
@click.option(
    "--configurations", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Random ones a robot."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the configurations.")
@json_option
def audit_command(names: tuple[str, ...], everything: bool, configurations: int, seed: int, as_json: bool) -> int:
    """Compare the simulated robot with Pinocchio on its URDF, and check gains, limits, symmetry and contacts.

    Exit status 1 if a check fails. Needs the extra `audit`: pip install 'training-ground[audit]'.
    """
    from training_ground.assets.reference import pinocchio
    from training_ground.envs.audit import audit_robot

    if not names and not everything:
        raise click.UsageError("name a robot, or give --all")
    if names and everything:
        raise click.UsageError("--all audits every robot; leave the names out")
    pinocchio()
    chosen = choose_robots(names)
    rows: list[AuditRow] = []
    try:
        with progress("audit", PARTS * len(chosen), unit="parts", quiet=as_json) as shown:
            for name in chosen:
                before = shown.done

                def after(part: str, name: str = name) -> None:
                    shown.advance(1, f"{name} {part}")

                rows += audit_robot(name, configurations=configurations, seed=seed, after=after)
                shown.advance(PARTS - (shown.done - before), name)
    except KeyboardInterrupt:
        _report_audit(chosen, rows, configurations, seed, as_json, whole=False)
        raise
    return _report_audit(chosen, rows, configurations, seed, as_json)


def _report_audit(
    chosen: list[str], rows: list[AuditRow], configurations: int, seed: int, as_json: bool, whole: bool = True
) -> int:
    failed = [found for found in rows if found.verdict == "fail"]
    done = list(dict.fromkeys(found.robot for found in rows))
    data = {
        "ok": whole and not failed,
        "robots": chosen,
        "done": done,
        "configurations": configurations,
        "seed": seed,
        "failed": len(failed),
        "rows": [found.to_json() for found in rows],
    }
    last = f"{len(done)} of {len(chosen)} robots, {len(rows)} checks, {len(failed)} failed"
    emit(data, as_json, [*_audit_tables(rows), last])
    return 1 if failed else 0


def _audit_tables(rows: list[AuditRow]) -> list[Any]:
    tables = []
    for robot in dict.fromkeys(found.robot for found in rows):
        cells = [
            (
                {"pass": "ok", "fail": "FAIL", "info": "-"}[r.verdict],
                r.check,
                "" if r.value is None else f"{r.value:.3g}",
                "" if r.limit is None else f"{r.limit:.3g}",
                "" if r.unit == "1" else r.unit,
                r.detail,
            )
            for r in rows
            if r.robot == robot
        ]
        tables += [table(robot, ("", "check", "value", "limit", "unit", "where, and what to do"), cells), ""]
    return tables


@command.command(
    "import",
    epilog="""\b
Examples:
  tg robots import my_robot.urdf
  tg robots import my_robot.urdf -o robots/my_robot.yaml
  tg robots audit robots/my_robot.yaml     and then, what is wrong with the guesses,
    """,
)
@click.argument("urdf", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The YAML; its stem is the robot's name."
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@json_option
def import_command(urdf: Path, output: Path | None, force: bool, as_json: bool) -> None:
    """Guess a specification from a URDF, write it as YAML, and say what was guessed and how sure.

    The result is compiled once, so what is written loads: `--robot path/to/it.yaml` works in every verb.
    """
    from training_ground.assets.importing import default_output, import_robot

    target = output or default_output(urdf)
    with progress(f"importing {urdf.name}", 1, unit="robots", quiet=as_json) as shown:
        model, guesses = import_robot(urdf, target, overwrite=force)
        shown.advance(1, model.name)
    data = {
        "robot": str(target),
        "name": model.name,
        "joints": list(model.joint_names),
        "mass_kg": model.mass,
        "model_hash": model.hash,
        "guesses": [vars(guess) for guess in guesses],
    }
    rows = [(g.confidence, g.field, g.value, g.reason) for g in guesses]
    last = [
        "",
        f"wrote {target}: {len(model.joint_names)} joints, {model.mass:.2f} kg",
        f"next: correct what is wrong in it, then `tg robots audit {target}`",
    ]
    emit(data, as_json, [table(f"Guesses for {model.name}", ("sure?", "field", "value", "why"), rows), *last])

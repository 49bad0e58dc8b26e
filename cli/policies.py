"""List, show and import policies; add the ONNX file to a bundle."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import Group, emit, env_kwargs, env_options, json_option, table


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  tg policies                      every policy that ships
  tg policies show stand_g1        joints, gains, rate, layers, provenance
  tg policies import model.zip --task Stand --robot g1 --normaliser none -o my_policy
  tg policies onnx runs/stand_g1_001/bundle
  tg policies tell runs/six --task OpenDoor -o door""",
)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List, show and import policies; add the ONNX file to a bundle."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, as_json=as_json)


@command.command("list", epilog="\b\nExample:\n  tg policies list --json")
@json_option
def list_command(as_json: bool = False) -> None:
    """List the policies that ship."""
    from training_ground.agents.bundle import read_bundle
    from training_ground.agents.policy import SHIPPED, shipped_policies

    found = [_describe(SHIPPED / name, read_bundle(SHIPPED / name)) for name in shipped_policies()]
    rows = [(d["name"], d["env_id"], d["robot"], d["algorithm"], "yes" if d["onnx"] else "no") for d in found]
    emit({"policies": found}, as_json, [table("", ("name", "task", "robot", "algorithm", "ONNX"), rows)])


@command.command("show", epilog="\b\nExamples:\n  tg policies show stand_g1\n  tg policies show my_policy --json")
@click.argument("policy", metavar="NAME")
@json_option
def show_command(policy: str, as_json: bool) -> None:
    """Show what a policy is for: what a controller must know to use it. The whole bundle is checked."""
    from training_ground.agents.bundle import read_bundle
    from training_ground.agents.policy import bundle_folder

    folder = bundle_folder(policy)
    bundle = read_bundle(folder)
    spec, data = bundle.policy.spec, _describe(folder, bundle)
    env = spec.env
    data |= {"spec": spec.model_dump(mode="json")}
    scale = dict(zip(env.action_joints or env.joint_names, env.action_scale, strict=False))
    whole = [("origin", env.action_origin), ("kp", env.kp), ("kd", env.kd)]
    whole = [(title, values) for title, values in whole if len(values) == len(env.joint_names)]
    rows = [(n, scale.get(n, ""), *(v[i] for _, v in whole)) for i, n in enumerate(env.joint_names)]
    lines = [
        f"{spec.name}: {env.env_id} on {env.robot}, {env.control} at {env.control_rate:g} Hz",
        f"network   {spec.network.text}, output {spec.network.output}",
        f"runs in   numpy{', ONNX Runtime' if bundle.onnx else ''}",
        f"hash      {bundle.policy.hash}",
        f"model     {env.model_hash}",
        f"channels  {', '.join(f'{c.name}[{_size(c.shape)}]' for c in env.channels)}",
        "",
        table("", ("joint", "action scale", *(title for title, _ in whole)), rows),
    ]
    emit(data, as_json, lines)


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"


def _describe(folder: Path, bundle: Any) -> dict[str, Any]:
    spec = bundle.policy.spec
    return {
        "name": spec.name,
        "folder": str(folder),
        "hash": bundle.policy.hash,
        "env_id": spec.env.env_id,
        "robot": spec.env.robot,
        "algorithm": spec.provenance.algorithm,
        "onnx": bundle.onnx is not None,
    }


@command.command("onnx", epilog="\b\nExample:\n  tg policies onnx runs/stand_g1_001/bundle")
@click.argument("bundle", metavar="FOLDER", type=click.Path(path_type=Path))
@json_option
def onnx_command(bundle: Path, as_json: bool) -> None:
    """Write a bundle's policy.onnx, which older bundles lack. The policy's hash stays."""
    from training_ground.agents.bundle import add_onnx
    from training_ground.agents.bundle_format import ONNX_FILE

    policy = add_onnx(bundle)
    path = bundle / ONNX_FILE
    data = {"path": str(path), "bytes": path.stat().st_size, "hash": policy.hash}
    emit(data, as_json, f"wrote {path}: {data['bytes']:,} bytes")


@command.command(
    "tell",
    epilog="""\b
Examples:
  tg policies tell runs/six --task OpenDoor -o door
  tg policies tell runs/six --task PressButton --words "Push the red button." -o red

The bundle is as fast as one for this task alone, and holds policy.onnx; it does the same whatever an episode asks.
Needs the extra `language`; whoever runs the bundle does not.""",
)
@click.argument("policy", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--task", required=True, metavar="NAME", help="One of the tasks that it has learned.")
@click.option("--words", metavar="TEXT", help="What it is told; where absent what the task asks in its first episode.")
@click.option("--name", metavar="NAME", help="Of the bundle; <task>_<robot> where absent.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The new folder.")
@json_option
def tell_command(policy: Path, task: str, words: str | None, name: str | None, out: Path, as_json: bool) -> None:
    """Write a bundle of what a policy for several tasks does in one of them, told in these words."""
    from training_ground.agents.multitask_bundle import save_told
    from training_ground.agents.multitask_policy import load
    from training_ground.agents.policy import shipped_name
    from training_ground.agents.stepping import make_env
    from training_ground.configs.errors import AgentError, unknown

    if out.exists() and any(out.iterdir()):
        raise AgentError(f"{out} exists; choose another -o")
    whole = load(policy)
    if task not in whole.spec.tasks:
        raise AgentError(unknown("task of this policy", task, whole.spec.tasks))
    signature = whole.spec.tasks[task]
    if words is None:
        with closing(make_env(signature.env_id, {"robot": signature.robot})) as env:
            env.reset(seed=0)
            words = str(env.unwrapped.task.asked)  # type: ignore[attr-defined]
    bundle = save_told(out, whole, task, words, name or shipped_name(signature.env_id, signature.robot))
    data = {"path": str(out), "hash": bundle.hash, "task": task, "words": words}
    emit(data, as_json, f"{out}: {task}, told '{words}': {bundle.spec.network.text}")


@command.command(
    "import",
    epilog="""\b
Examples:
  tg policies import ppo.zip --task Stand --robot g1 --normaliser moments.json -o my_policy
  tg policies import sac.zip --task Reach --robot g1 --stance mounted --normaliser none -o my_policy
  tg policies import old.zip --task Stand --robot g1 --normaliser vec.pkl --trust-pickle -o my_policy
  tg eval --policy my_policy

moments.json holds {"mean": [...], "variance": [...], "clip": 10.0, "epsilon": 1e-8}: VecNormalize's
obs_rms.mean, obs_rms.var, clip_obs and epsilon. Only sizes can be compared with the weights: that the environment
is the one that the model was trained in, with the same order of joints and channels, you have to know.""",
)
@click.argument("file", metavar="FILE.zip", type=click.Path(path_type=Path))
@click.option("--task", required=True, metavar="NAME", help="Stand, or TrainingGround/Stand-v0.")
@env_options
@click.option(
    "--normaliser", required=True, metavar="FILE", help="Of the observations: none, a JSON file, or a .pkl; see below."
)
@click.option("--trust-pickle", is_flag=True, help="Unpickle --normaliser. This runs whatever code its author put in.")
@click.option("--activation", type=click.Choice(["tanh", "relu", "elu"]), help="Where the file does not name it.")
@click.option("--name", metavar="NAME", help="Of the bundle; <task>_<robot> where absent.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The new folder.")
@json_option
def import_command(
    file: Path,
    task: str,
    robot: str | None,
    stance: str | None,
    control: str | None,
    settings: tuple[str, ...],
    normaliser: str,
    trust_pickle: bool,
    activation: str | None,
    name: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Make a bundle of a model that stable-baselines3 saved: PPO, A2C, SAC, TQC, TD3 or DDPG with an MlpPolicy.

    Only weights are read. What is pickled in the file is never decoded, so a hostile file can do no more than fail.
    """
    from training_ground.agents.network_specs import NetworkSpec
    from training_ground.agents.sb3_import import import_sb3
    from training_ground.agents.stepping import full_id, make_env
    from training_ground.configs.errors import AgentError

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AgentError(f"{out} exists; choose another --out")
    moments = _moments(normaliser, trust_pickle)
    env_id, kwargs = full_id(task), env_kwargs(robot, stance, control, settings)
    with closing(make_env(env_id, kwargs)) as env:
        made = import_sb3(file, out, env, moments=moments, activation=activation, env_kwargs=kwargs, name=name)
    network = made.policy.spec.network
    assert isinstance(network, NetworkSpec)
    data = {
        "bundle": str(out),
        "name": made.policy.name,
        "hash": made.policy.hash,
        "algorithm": made.algorithm,
        "layers": list(network.layers),
        "activation": network.activation,
        "output": network.output,
        "normaliser": normaliser,
        "assumed": list(made.assumed),
    }
    layers = " → ".join(map(str, network.layers))
    lines = [f"wrote {out}: {made.algorithm}, {layers}, {network.activation}, output {network.output}"]
    lines += [f"assumed: {sentence}" for sentence in made.assumed]
    lines += [f"next: does it do what it did? `tg eval --policy {out}`"]
    emit(data, as_json, lines)


def _moments(normaliser: str, trust_pickle: bool) -> Any:
    """Read the normaliser; a pickle only where it is trusted, and not without a word."""
    from training_ground.agents.sb3_import import read_moments, unpickle_moments
    from training_ground.configs.errors import AgentError

    path = Path(normaliser)
    if normaliser == "none":
        return None
    if path.suffix not in (".pkl", ".pickle"):
        return read_moments(path)
    if not trust_pickle:
        raise AgentError(
            f"{path}: a pickle is a program, and loading it runs it with your rights. Write its moments as JSON where "
            "it was made (see --help); or, if you trust everybody who had this file in hand, add --trust-pickle"
        )
    click.echo(f"warning: running the program in {path} (--trust-pickle)", err=True)
    return unpickle_moments(path)

"""List tasks and robots; show an environment's channels with units and frames."""

from __future__ import annotations

import inspect
from typing import Any

import click

from training_ground.cli._catalogue import choose_robots, choose_tasks, combinations
from training_ground.cli.common import Group, emit, env_kwargs, env_options, json_option, progress, table


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  tg envs                                          every task with the robots that can do it
  tg envs list --robot g1 --json
  tg envs show TrainingGround/Stand-v0 --robot g1  channels, options, reward terms""",
)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List tasks and robots; show an environment's channels with units and frames."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, as_json=as_json)


@command.command("list", epilog="\b\nExample:\n  tg envs list --robot g1 --robot talos")
@click.option("--robot", "robots", metavar="NAME", multiple=True, help="Only this robot; may be given more than once.")
@json_option
def list_command(robots: tuple[str, ...] = (), as_json: bool = False) -> None:
    """List every task with the robots and stances that it runs with."""
    from training_ground.envs.registration import task

    env_ids, chosen = choose_tasks(()), choose_robots(robots)
    with progress("compiling robots", len(chosen), unit="robots", quiet=as_json) as shown:
        found = combinations(env_ids, chosen, after_robot=lambda name: shown.advance(1, name))
    result = []
    for env_id in env_ids:
        stances: dict[str, list[str]] = {}
        for combination in (c for c in found if c.env_id == env_id):
            stances.setdefault(combination.robot, []).append(combination.stance)
        result.append({"env_id": env_id, "instruction": task(env_id).instruction, "robots": stances})
    rows = [
        (item["env_id"], item["instruction"], "\n".join(f"{r}: {', '.join(s)}" for r, s in item["robots"].items()))
        for item in result
    ]
    emit({"envs": result}, as_json, [table("", ("environment", "instruction", "robots and stances"), rows)])


@command.command(
    "show",
    epilog="""\b
Examples:
  tg envs show stand
  tg envs show TrainingGround/Reach-v0 --robot talos --stance mounted --json""",
)
@click.argument("env_id", metavar="ENV")
@env_options
@json_option
def show_command(
    env_id: str, robot: str | None, stance: str | None, control: str | None, settings: tuple[str, ...], as_json: bool
) -> None:
    """Show an environment: what it is, its spaces, its channels, its options."""
    from training_ground.envs.registration import make

    (env_id,) = choose_tasks([env_id])
    env = make(env_id, **env_kwargs(robot, stance, control, settings))
    try:
        result = _describe(env)
    finally:
        env.close()
    emit(result, as_json, _lines(result))


def _describe(env: Any) -> dict[str, Any]:
    task = env.task
    return {
        **env.describe(),
        "documentation": inspect.getdoc(type(task)),
        "observation_size": sum(channel.size for channel in env.channels if channel.role == "observation"),
        "action_size": int(env.action_space.shape[0]),
        "reward_terms": list(task.terms),
        "failures": list(task.failures),
        "channels": [channel.to_json() for channel in env.channels],
    }


def _lines(result: dict[str, Any]) -> list[Any]:
    channels = [
        (c["name"], "×".join(map(str, c["shape"])) or "1", c["unit"], c["frame"], c["role"], c["description"])
        for c in result["channels"]
    ]
    return [
        f"{result['env_id']}: {result['instruction']}\n",
        f"{result['documentation']}\n",
        f"robot        {result['robot']}, model {result['model_hash'][:12]}, {len(result['joint_names'])} joints",
        f"observation  {result['observation_size']} numbers, {result['control_rate']:g} times a second",
        f"action       {result['action_size']} numbers in [-1, 1]",
        f"reward       {' + '.join(result['reward_terms'])}",
        f"failures     {', '.join(result['failures'])}\n",
        table("Channels", ("name", "shape", "unit", "frame", "role", "what"), channels),
        "",
        table("Options", ("name", "value"), [(k, str(v)) for k, v in result["options"].items()]),
    ]

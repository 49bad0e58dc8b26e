"""List, show, count, run and check the scenarios: template × tier × robot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from training_ground.cli._scenario_options import filters, select
from training_ground.cli._scenario_work import check_command, run_command
from training_ground.cli.common import Group, emit, json_option, table

if TYPE_CHECKING:
    from training_ground.envs.scenarios import Scenario


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  tg scenarios                                       every scenario
  tg scenarios list --sector automotive --tier tight
  tg scenarios show peg_in_hole/flow/g1_dex3
  tg scenarios count --json
  tg scenarios run 'peg_in_hole/*' --episodes 20     the expert's success and cycle times
  tg scenarios check --template press_button         are they really different?

An identifier is template/tier/robot, or a shell pattern of it. Filters of one kind add up, those of different kinds
must all hold.""",
)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List, show, count, run and check the scenarios: template × tier × robot, each with its sectors."""
    if context.invoked_subcommand is None:
        emit_list(select(()), as_json)


@command.command("list", epilog="\b\nExample:\n  tg scenarios list --sector logistics --robot g1_grippers")
@filters
@json_option
def list_command(ids: tuple[str, ...], as_json: bool, **wanted: tuple[str, ...]) -> None:
    """List scenarios."""
    emit_list(select(ids, **wanted), as_json)


def emit_list(chosen: list[Scenario], as_json: bool) -> None:
    """Print scenarios, one a line."""
    rows = [(one.id, ", ".join(one.sectors), _text(one.env)) for one in chosen]
    last = f"{len(chosen)} scenarios"
    emit({"scenarios": [one.to_json() for one in chosen]}, as_json, [table("", ("id", "sectors", ""), rows), last])


def _text(env: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in env.items())


@command.command("show", epilog="\b\nExample:\n  tg scenarios show peg_in_hole/flow/g1_dex3")
@click.argument("name", metavar="ID")
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show a scenario: what is asked, what stands in the cell, its limits, and the hashes that tell it from others."""
    from training_ground.configs.errors import ConfigError
    from training_ground.envs.fingerprint import contents, fingerprint
    from training_ground.envs.scenarios import catalogue, no_such, templates

    found = catalogue()
    if name not in found:
        raise ConfigError(no_such(name, found))
    one = found[name]
    kind, content, prints = templates()[one.template], contents(one), fingerprint(one)
    items, limits = content["assets"]["cell"]["items"], content["limits"]
    data = {
        **one.to_json(),
        "instruction": kind.instruction,
        "phases": content["phases"],
        "limits": limits,
        "items": items,
        "events": content["events"],
        "hash": prints.hash,
        "parts": prints.parts,
    }
    settings = " ".join(f"--set {key}={value}" for key, value in {**one.env, "tier": one.tier}.items())
    lines = [
        f"{one.id}: {kind.instruction}\n",
        f"sectors    {', '.join(one.sectors)}",
        f"items      {', '.join(items)}",
        f"phases     {', '.join(content['phases'])}",
        f"limits     {limits['episode_length_s']:g} s; failures: {', '.join(limits['failures'])}",
        f"hash       {prints.hash[:12]}: {', '.join(f'{key} {text[:12]}' for key, text in prints.parts.items())}\n",
        f"tg play {one.template} --robot {one.robot} {settings} --policy expert",
        f"tg scenarios run {one.id}",
    ]
    emit(data, as_json, lines)


@command.command("count", epilog="\b\nExample:\n  tg scenarios count --robot g1_dex3 --json")
@filters
@json_option
def count_command(ids: tuple[str, ...], as_json: bool, **wanted: tuple[str, ...]) -> None:
    """Count scenarios by sector, template, tier and robot, and their hashes. `check` proves that they differ."""
    from training_ground.envs.fingerprint import fingerprint
    from training_ground.envs.scenarios import count

    chosen = select(ids, **wanted)
    hashes = {fingerprint(one).hash for one in chosen}
    data = {"scenarios": len(chosen), "hashes": len(hashes), **count(chosen)}
    kinds = ("sector", "template", "tier", "robot")
    tables = [table("", (kind, "scenarios"), data[kind].items()) for kind in kinds]
    last = f"{len(chosen)} scenarios with {len(hashes)} distinct hashes; a scenario may stand for several sectors"
    emit(data, as_json, [*(part for one in tables for part in (one, "")), last])


command.add_command(run_command)
command.add_command(check_command)

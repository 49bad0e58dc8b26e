"""`tg multitask`: learn one policy for several tasks, told in words, from demonstrations of each."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress


@click.command(
    epilog="""\b
Examples:
  tg record PressButton --policy expert --episodes 200 --out data/PressButton
  tg multitask six_g1 --out runs/six
  tg multitask mine.yaml steps=40000 data.OpenDoor=data/doors --out runs/mine --json
  tg eval --policy runs/six --task PressButton --phrasing held_out --episodes 100

CONFIG is a name in configs/multitask or a YAML file; KEY=VALUE changes what it says. Only successful episodes are
learned from. An episode's instruction is said in other words in every sample, by the training phrasings of
configs/instructions. Needs the extras `train` and `language`."""
)
@click.argument("config")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the policy.")
@click.option("--force", is_flag=True, help="Replace a policy that is there.")
@json_option
def command(config: str, overrides: tuple[str, ...], out: Path, force: bool, as_json: bool) -> None:
    """Learn one policy for the tasks of CONFIG."""
    from training_ground.agents.multitask_policy import SPEC
    from training_ground.agents.multitask_training import train
    from training_ground.configs.errors import AgentError
    from training_ground.configs.loading import apply_overrides, validate
    from training_ground.configs.multitask_training import MultiTaskConfig
    from training_ground.configs.presets import load_preset

    if (out / SPEC).exists() and not force:
        raise AgentError(f"{out} holds a policy; choose another --out, or --force to replace it")
    name, data = load_preset("multitask", config)
    read = validate(MultiTaskConfig, apply_overrides(data, overrides), name)
    with progress("learning", read.steps, unit="steps", quiet=as_json) as shown:
        policy = train(read, out, lambda step, loss: shown.advance(100, f"loss {loss:.4f}"))
    made = policy.spec.provenance
    summary = {"path": str(out), "hash": policy.hash, "tasks": list(policy.spec.tasks), "seconds": made.seconds}
    emit(summary, as_json, [f"{out}: {len(summary['tasks'])} tasks, {made.steps:,} steps, in {made.seconds:,.0f} s"])

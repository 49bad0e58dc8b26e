"""`tg multitask`: learn one policy for several tasks, told in words, from demonstrations of each."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option


@click.command(
    epilog="""\b
Examples:
  tg record PressButton --policy expert --episodes 400 --out data/PressButton
  tg multitask six_g1 --out runs/six
  tg multitask mine.yaml total_steps=60000 data.OpenDoor=data/doors --out runs/mine --json
  tg multitask --resume runs/six                   go on after Ctrl-C, a kill or a crash
  tg eval --policy runs/six --task OpenDoor --phrasing held_out --episodes 100
  tg train distil_g1 --env.id=TrainingGround/OpenDoor-v0 --distil.teacher=runs/six

CONFIG is a name in configs/multitask or a YAML file; KEY=VALUE changes what it says. Only successful episodes are
learned from. An episode's instruction is said in other words in every sample, by the training phrasings of
configs/instructions. Ctrl-C writes a checkpoint and ends with status 130. Needs the extras `train` and `language`."""
)
@click.argument("config", required=False)
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the new run and its policy.")
@click.option("--resume", metavar="RUN", type=click.Path(path_type=Path), help="Continue the run in this folder.")
@click.option("--force", is_flag=True, help="Replace a policy or a run that is there.")
@json_option
def command(
    config: str | None, overrides: tuple[str, ...], out: Path | None, resume: Path | None, force: bool, as_json: bool
) -> None:
    """Learn one policy for the tasks of CONFIG."""
    if config is not None and "=" in config:
        # click gives the first word to CONFIG, also where it is an override.
        config, overrides = None, (config, *overrides)
    if (config is None) == (resume is None) or (config is None) != (out is None):
        raise click.UsageError("give CONFIG and --out FOLDER for a new run, or --resume RUN")
    from training_ground.cli.train import Reporter
    from training_ground.configs.errors import AgentError
    from training_ground.configs.loading import apply_overrides, validate
    from training_ground.configs.presets import load_preset

    show = Reporter(quiet=as_json)
    folder = out or resume
    assert folder is not None
    if config is not None and (folder / "config.yaml").exists() and not force:
        raise AgentError(f"{folder} holds a run; --resume {folder} goes on with it, --force replaces it")
    from training_ground.agents import multitask_training
    from training_ground.agents.multitask_settings import MultiTaskConfig

    try:
        if config is not None:
            name, data = load_preset("multitask", config)
            read = validate(MultiTaskConfig, apply_overrides(data, overrides), name)
            policy = multitask_training.start(read, folder, show)
        else:
            policy = multitask_training.resume(folder, overrides, show)
    finally:
        show.close()
    seconds = policy.spec.provenance.seconds or 0.0
    summary = {"path": str(folder), "hash": policy.hash, "tasks": list(policy.spec.tasks), "seconds": seconds}
    emit(summary, as_json, [f"{folder}: a policy of {len(policy.spec.tasks)} tasks, in {seconds / 60:.1f} minutes"])

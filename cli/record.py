"""`tg record`: record episodes of a policy into a dataset; a second run goes on where the first one stopped."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, env_kwargs, env_options, json_option, progress


@click.command(
    epilog="""\b
Examples:
  tg record Stand --robot g1 --policy stand_g1 --episodes 20 --out data/stand
  tg record Stand --robot g1 --policy random --episodes 100 --workers 2 --out data/random
  tg record Reach --robot talos --policy zero --set episode_length_s=5 --out data/reach --json
  tg record SortDefects --policy zero --set observation_format=dict --out data/pictures

Each episode is written whole when it ends, under its final name only after it is on the disk. After Ctrl-C, a kill or a
full disk the same command goes on: seeds that the dataset has already are left out. Episodes that were cut off are
not kept. Replay them with `tg replay`, check them with `tg data verify`."""
)
@click.argument("task", metavar="TASK")
@env_options
@click.option(
    "--policy", default="random", show_default=True, metavar="NAME", help="zero, random, expert, shipped, or a bundle."
)
@click.option("--episodes", type=click.IntRange(1, 10_000_000), default=20, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the first one.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the dataset.")
@click.option(
    "--pictures",
    type=click.Choice(["lossless", "lossy", "raw"]),
    default="lossless",
    show_default=True,
    help="How a new dataset keeps what cameras see: as video, with or without loss, or uncompressed.",
)
@click.option("--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes.")
@json_option
def command(
    task: str,
    robot: str | None,
    stance: str | None,
    control: str | None,
    settings: tuple[str, ...],
    policy: str,
    episodes: int,
    seed: int,
    out: Path,
    pictures: str,
    workers: int,
    as_json: bool,
) -> int:
    """Record episodes of TASK into a dataset that replays bit for bit."""
    from training_ground.agents.recording import Recording, record
    from training_ground.cli.eval import choose
    from training_ground.datasets.schema import EpisodeMetadata

    actor, env_id, kwargs = choose(policy, task, env_kwargs(robot, stance, control, settings))
    with progress("recording", episodes, unit="episodes", quiet=as_json) as shown:

        def start(recording: Recording) -> None:
            for line in recording.recovered:
                click.echo(line, err=True)
            if recording.present:
                click.echo(f"{recording.present} of {episodes} episodes are there already", err=True)
                shown.total = episodes - recording.present

        def tell(number: int, metadata: EpisodeMetadata) -> None:
            ending = metadata.failure or ("success" if metadata.success else "to the end")
            shown.advance(1, f"seed {metadata.seed}: {metadata.length} steps, {ending}")

        seeds = range(seed, seed + episodes)
        result = record(
            actor, env_id, kwargs, seeds, out, workers=workers, on_start=start, on_episode=tell, pictures=pictures
        )
    data = result.to_json()
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(data["failures"].items())) or "none"
    rate = f", {data['steps_per_second']:,} steps/s" if data["steps_per_second"] else ""
    written = f"{len(data['recorded'])} episodes written, {data['successes']} of them successes"
    line = f"{out}: {written}; {data['steps']:,} steps{rate}; failures: {failures}"
    if result.interrupted:
        line += f"; interrupted, {episodes - result.present - len(result.episodes)} are missing: run it again to go on"
    emit(data, as_json, line)
    return 130 if result.interrupted else 0

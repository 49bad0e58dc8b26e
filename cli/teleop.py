"""`tg teleop`: work with a robot's hands from the browser, and record it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import emit, env_kwargs, env_options, json_option

LENGTH_S = 120.0


@click.command(
    epilog="""\b
Examples:
  tg teleop PressButton --out data/presses --operator anna
  tg teleop TrayToTray --set tier=tight --out data/trays
  tg teleop Reach --robot talos --out data/reach --seed 100

In the browser, at http://127.0.0.1:8080 and only from this machine: a gizmo for each hand, sliders for fingers and
joints, and buttons that start, pause, save and discard an episode. A saved episode holds the task's own verdict and
is like any other of the dataset: `tg replay` repeats it bit for bit. Seeds that the dataset has already from
teleoperation are left out. The page's Stop button or Ctrl-C ends it; what was saved stays."""
)
@click.argument("task", metavar="TASK")
@env_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the dataset.")
@click.option("--operator", metavar="NAME", help="Who acts, kept with each episode; a pseudonym will do.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the first episode.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Of the browser's page.")
@json_option
def command(
    task: str,
    robot: str | None,
    stance: str | None,
    control: str | None,
    settings: tuple[str, ...],
    out: Path,
    operator: str | None,
    seed: int,
    port: int,
    as_json: bool,
) -> None:
    """Work with the hands of a robot in TASK, from the browser, and record it into a dataset.

    Episodes last 120 s at most, where --set episode_length_s does not say otherwise.
    """
    from training_ground.agents.stepping import full_id
    from training_ground.agents.teleoperation.desk import Desk
    from training_ground.agents.teleoperation.page import Page
    from training_ground.agents.viewing.browser import close_server, open_server
    from training_ground.envs.registration import make

    kwargs = {"episode_length_s": LENGTH_S, **env_kwargs(robot, stance, control, settings)}
    env = make(full_id(task), **kwargs)
    with ExitStack() as stack:
        stack.callback(env.close)
        server = open_server(port, exact=True)
        stack.callback(close_server, server)
        desk = Desk(env, out, operator=operator, seed=seed)
        for line in desk.recovered:
            click.echo(line, err=True)
        url = f"http://{server.get_host()}:{server.get_port()}"
        click.echo(f"{env.task.id} with {env.model.title}: {url}  (Ctrl-C ends it)", err=True)
        try:
            Page(server, desk).serve()
        except KeyboardInterrupt:
            _report(desk, url, True, as_json)
            raise
        _report(desk, url, False, as_json)


def _report(desk: Any, url: str, interrupted: bool, as_json: bool) -> None:
    result = {"url": url, **desk.to_json(), "interrupted": interrupted}
    line = f"{result['path']}: {len(result['saved'])} episodes saved, {result['successes']} with success"
    line += f"; {result['discarded']} discarded"
    emit(result, as_json, line + ("; the one that was running was not saved" if result["not_saved"] else ""))

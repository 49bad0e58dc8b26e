"""`tg play`: watch a policy live in the browser, or write a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import emit, env_kwargs, env_options, json_option, progress, runtime_option, table

if TYPE_CHECKING:
    from training_ground.agents.viewing.session import Session


@click.command(
    epilog="""\b
Examples:
  tg play                                   Stand on the G1 with the policy that ships, at http://127.0.0.1:8080
  tg play Stand --robot talos --policy random
  tg play Reach --robot icub --policy zero --speed 0.5
  tg play Stand --policy runs/stand_g1_001 --set push_speed=[1,1]
  tg play Stand --video stand.mp4 --seed 7  one episode as a video, without a browser
  tg play Stand --frames out/frames
  tg play Walk --strip walk.png             two steps of each foot from the side, and what the feet did
  tg play TrayToTray --policy expert --strip tray.png     the phases of work in a cell

In the browser: speed, pause, single step, push, reset with a seed, policy, and the reward's terms as they
come. Only this machine can reach the page. Ctrl-C ends it."""
)
@click.argument("task", default="Stand", metavar="[TASK]")
@env_options
@click.option("--policy", metavar="NAME", help="zero, random, expert, shipped, a shipped one, a bundle or a run.")
@runtime_option
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the first episode.")
@click.option("--episodes", type=click.IntRange(1), help="Stop after as many; a video has 1 where absent.")
@click.option("--speed", type=click.FloatRange(0.1, 4.0), default=1.0, show_default=True, help="Times real time.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Of the browser's page.")
@click.option("--video", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.mp4", help="Write a video.")
@click.option("--frames", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write PNG pictures.")
@click.option("--strip", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png", help="Draw a film strip.")
@click.option(
    "--strip-from", type=click.FloatRange(0), metavar="S", help="Begin of the strip; else found in gait or work."
)
@click.option(
    "--strip-length", type=click.FloatRange(0.1), metavar="S", help="Its length; else two cycles of the gait."
)
@click.option("--fps", type=click.IntRange(1, 100), default=25, show_default=True, help="Of video and pictures.")
@click.option("--force", is_flag=True, help="Replace --video or --strip if it exists.")
@json_option
def command(
    task: str,
    robot: str | None,
    stance: str | None,
    control: str | None,
    settings: tuple[str, ...],
    policy: str | None,
    runtime: str,
    seed: int,
    episodes: int | None,
    speed: float,
    port: int,
    video: Path | None,
    frames: Path | None,
    strip: Path | None,
    strip_from: float | None,
    strip_length: float | None,
    fps: int,
    force: bool,
    as_json: bool,
) -> None:
    """Watch a policy: live in the browser, as a video, or as a film strip.

    Without --policy the one that ships for task and robot acts, or the zero policy where none ships.
    """
    from training_ground.agents.viewing.session import Session
    from training_ground.configs.errors import AgentError

    asked = [f"--{name}" for name, path in (("video", video), ("frames", frames), ("strip", strip)) if path is not None]
    if len(asked) > 1:
        raise AgentError(f"{' and '.join(asked)}: choose one")
    for path in (video, strip):
        if path is not None and path.exists() and not force:
            raise AgentError(f"{path} exists; choose another name, or --force to replace it")
    drawn = bool(asked)
    env, actor = _prepare(task, env_kwargs(robot, stance, control, settings), policy, runtime, seed, drawn)
    try:
        session = Session(env, actor, seed=seed)
        result: dict[str, Any] = {"mode": asked[0].lstrip("-") if asked else "browser"}
        try:
            if strip is not None:
                result |= _draw_strip(session, strip, strip_from, strip_length, as_json)
            elif video is not None or frames is not None:
                result |= _draw(session, video, frames, episodes or 1, fps, as_json)
            else:
                result |= _serve(session, policy, runtime, port, speed, episodes, as_json)
        except KeyboardInterrupt:
            _report(session, {**result, "interrupted": True}, as_json)
            raise
        _report(session, {**result, "interrupted": False}, as_json)
    finally:
        env.close()


def _prepare(
    task: str, kwargs: dict[str, Any], policy: str | None, runtime: str, seed: int, drawn: bool
) -> tuple[Any, Any]:
    """Make the environment, and the policy that acts in it."""
    from training_ground.agents.learned import LearnedPolicy
    from training_ground.agents.policy import ZeroPolicy, load_policy, shipped_name, shipped_policies
    from training_ground.agents.stepping import full_id
    from training_ground.envs import registration
    from training_ground.envs.registration import make

    env_id = full_id(task)
    robot = kwargs.setdefault("robot", registration.task(env_id).defaults.get("robot", "g1"))
    if policy is None and shipped_name(env_id, robot) not in shipped_policies():
        actor: Any = ZeroPolicy()
    else:
        actor = load_policy(policy or "shipped", env_id=env_id, robot=robot, seed=seed, runtime=runtime)
    if isinstance(actor, LearnedPolicy) and actor.spec.env.env_id == env_id:
        kwargs = {**actor.conditions, **kwargs}
    return make(env_id, **kwargs, render_mode="rgb_array" if drawn else None), actor


def _draw(
    session: Session, video: Path | None, folder: Path | None, episodes: int, fps: int, as_json: bool
) -> dict[str, Any]:
    from training_ground.agents.viewing.video import frames, video_writer, write_frames

    env = session.env
    fps = min(fps, round(1 / env.control_timestep))
    total = episodes * env.max_steps * env.control_timestep
    with progress("drawing", total, unit="simulated s", quiet=as_json) as shown:
        pictures = frames(session, episodes, fps, shown.advance)
        if folder is not None:
            return {"path": str(folder), "frames": write_frames(folder, pictures), "fps": fps}
        assert video is not None
        count = 0
        with video_writer(video, fps) as add:
            for picture in pictures:
                add(picture)
                count += 1
    return {"path": str(video), "frames": count, "fps": fps}


def _draw_strip(
    session: Session, path: Path, begin: float | None, length: float | None, as_json: bool
) -> dict[str, Any]:
    from training_ground.agents.viewing import sheet, work_sheet
    from training_ground.envs.cell_task import CellTask

    sheet.check_name(path)
    works = isinstance(session.env.task, CellTask)
    kind, draw = (work_sheet, work_sheet.draw_work_sheet) if works else (sheet, sheet.draw_sheet)
    with progress("drawing", kind.ROWS * kind.COLUMNS, unit="pictures", quiet=as_json) as shown:
        picture, what = draw(session, begin, length, shown.advance)
    sheet.write_sheet(path, picture)
    return {"path": str(path), **what}


def _serve(
    session: Session, policy: str | None, runtime: str, port: int, speed: float, episodes: int | None, as_json: bool
) -> dict[str, Any]:
    from training_ground.agents.policy import load_policy, shipped_policies
    from training_ground.agents.viewing.browser import close_server, open_server, show

    env_id, robot = session.env.describe()["env_id"], session.env.model.name
    acting = policy if policy not in (None, "shipped") else session.policy.name
    names = list(dict.fromkeys([acting or "zero", "zero", "random", *shipped_policies()]))
    server = open_server(port)
    url = f"http://{server.get_host()}:{server.get_port()}"
    click.echo(f"{session.env.task.id} with {session.env.model.title}: {url}  (Ctrl-C ends it)", err=True)
    try:
        show(
            server,
            session,
            policies=names,
            load=lambda name: load_policy(name, env_id=env_id, robot=robot, runtime=runtime),
            speed=speed,
            episodes=episodes,
        )
    finally:
        close_server(server)
    return {"url": url}


def _report(session: Session, result: dict[str, Any], as_json: bool) -> None:
    records = session.records
    result |= {
        "env_id": session.env.describe()["env_id"],
        "robot": session.env.model.name,
        "policy": session.policy.name,
        "successes": sum(r.success for r in records),
        "episodes": [r.to_json() for r in records],
    }
    rows = [
        (r.seed, round(r.seconds, 2), "success" if r.success else r.failure or "no success", round(r.total_reward, 1))
        for r in records
    ]
    lines: list[Any] = [table("", ("seed", "s", "result", "return"), rows)] if rows else []
    if "path" in result and "frames" in result:
        lines.append(f"{result['frames']} frames: {result['path']}")
    elif "path" in result:
        lines.append(f"{result['from_s']:.2f} s to {result['to_s']:.2f} s: {result['path']}")
    emit(result, as_json, lines)

"""The figure, the session beside a viewer, videos, and `tg play`."""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import trimesh
from click.testing import CliRunner
from PIL import Image

from training_ground.agents.policy import RandomPolicy, ZeroPolicy, load_policy
from training_ground.agents.viewing import sheet
from training_ground.agents.viewing.figure import Figure, read_obj
from training_ground.agents.viewing.furniture import mesh_of
from training_ground.agents.viewing.session import Clock, Session
from training_ground.agents.viewing.sheet import leg_links
from training_ground.agents.viewing.trace import Trace
from training_ground.agents.viewing.video import frames, video_writer, write_frames
from training_ground.assets.catalog import load_model
from training_ground.assets.objects import Shape
from training_ground.assets.shading import corner_normals
from training_ground.cli.main import main, tg
from training_ground.configs.errors import AgentError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make


@pytest.fixture(scope="module")
def env():
    env = make("Stand", robot="g1_legs", push_speed=[0.4, 0.4], push_interval_s=0.2)
    yield env
    env.close()


@pytest.mark.parametrize("robot", ["g1", "simple_humanoid"])
def test_figure_puts_links_where_the_simulation_has_them(robot: str):
    env = make("Stand", robot=robot)
    try:
        env.reset(seed=3)
        for _ in range(5):
            env.step(env.action_space.sample())
        state = env.robot
        figure = Figure.load(robot)
        poses = figure.poses(state.base.position, state.base.orientation, state.joint_position.tolist())
        found = {part.name: pose for part, pose in zip(figure.parts, poses, strict=True)}
        for foot, link in zip(env.model.feet, state.feet, strict=True):
            position, orientation = found[foot.link]
            np.testing.assert_allclose(position, link.position, atol=1e-5)
            assert abs(np.dot(orientation, link.orientation)) == pytest.approx(1.0, abs=1e-8)
        assert figure.triangles > 1000
        assert all(part.parent < i for i, part in enumerate(figure.parts))
    finally:
        env.close()


def test_obj_that_names_a_missing_vertex_is_refused(tmp_path: Path):
    path = tmp_path / "x.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1//1 2//1 4//1\n")
    with pytest.raises(ValueError, match="vertex that is not there"):
        read_obj(path)


def test_session_runs_the_same_episode_as_the_environment(env: HumanoidEnv):
    session = Session(env, ZeroPolicy(), seed=5)
    while not session.step():
        pass
    seen = (session.env.steps, session.records[0].total_reward)
    env.reset(seed=5)
    total, ended, info = 0.0, False, {}
    while not ended:
        _, reward, terminated, truncated, info = env.step(np.zeros(12, np.float32))
        total += reward
        ended = terminated or truncated
    assert seen == (env.steps, total)
    assert session.records[0].failure == info["failure"] == "fall"
    assert session.step() and len(session.records) == 1, "an ended session must wait for a reset"
    session.reset()
    assert (session.seed, session.ended, len(session.times)) == (6, False, 0)


def test_session_shows_the_tasks_pushes_and_gives_its_own(env: HumanoidEnv):
    session = Session(env, ZeroPolicy(), seed=1)
    push = session.push
    assert push is None
    while push is None:
        session.step()
        push = session.push
    assert np.hypot(push[0], push[1]) == pytest.approx(0.4)
    session.reset(1)
    before = np.array(env.robot.base.linear_velocity)
    session.give_push(1.0, 90.0)
    env.world.advance(0)
    env.robot.read()
    change = np.array(env.robot.base.linear_velocity) - before
    assert np.linalg.norm(change) == pytest.approx(1.0, abs=1e-3)
    _, left, _ = (env.robot.base_linear_velocity[i] for i in range(3))
    assert left == pytest.approx(1.0, abs=0.05), "90 degrees is to the robot's left"
    with pytest.raises(AgentError, match="allowed are 0 to 5"):
        session.give_push(9.0, 0.0)


def test_a_mounted_robot_is_not_pushed_and_its_goals_are_shown():
    env = make("Reach", robot="g1", stance="mounted")
    try:
        session = Session(env, ZeroPolicy())
        assert len(session.goals()) == 2
        with pytest.raises(AgentError, match="base is fixed"):
            session.give_push(0.5, 0.0)
    finally:
        env.close()


def test_a_policy_that_does_not_fit_leaves_the_one_before(env: HumanoidEnv):
    class Refuses(RandomPolicy):
        def reset(self, env: object) -> None:
            raise AgentError("does not fit")

    session = Session(env, ZeroPolicy())
    with pytest.raises(AgentError):
        session.use(Refuses())
    assert session.policy.name == "zero"


def test_clock_keeps_to_real_time_and_never_freezes():
    clock = Clock(0.02, speed=2.0)
    start = clock._last
    steps = sum(clock.due(start + t) for t in np.arange(0.0, 3.0, 0.007))
    assert steps == pytest.approx(300, abs=2)
    assert clock.achieved == pytest.approx(2.0, abs=0.1)
    assert clock.due(start + 60.0) == Clock.MOST


def test_frames_and_video(tmp_path: Path):
    env = make("Stand", robot="g1_legs", render_mode="rgb_array", episode_length_s=0.08)
    try:
        session = Session(env, ZeroPolicy(), seed=1)
        pictures = list(frames(session, 2, 25))
        assert len(pictures) == 2 * 3, "every 0.04 s from 0 to 0.08 s, two episodes"
        assert pictures[0].std() > 1
        assert not np.array_equal(pictures[0], pictures[2])
    finally:
        env.close()
    path = tmp_path / "clip.mp4"
    with video_writer(path, 25) as add:
        for picture in pictures:
            add(picture)
    import imageio.v3

    decoded = imageio.v3.imread(path)
    assert decoded.shape == (6, *pictures[0].shape)
    assert np.abs(decoded[0].astype(float) - pictures[0]).mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert write_frames(tmp_path / "frames", iter(pictures[:2])) == 2
    with pytest.raises(AgentError, match="holds frames already"):
        write_frames(tmp_path / "frames", iter(pictures))


def test_an_interrupted_video_is_playable_and_an_error_leaves_nothing(tmp_path: Path):
    picture = np.full((48, 64, 3), 90, np.uint8)
    with pytest.raises(KeyboardInterrupt), video_writer(tmp_path / "a.mp4", 25) as add:
        add(picture)
        raise KeyboardInterrupt
    assert (tmp_path / "a.mp4").stat().st_size > 0
    with pytest.raises(RuntimeError), video_writer(tmp_path / "b.mp4", 25) as add:
        add(picture)
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(AgentError, match=r"must end in \.mp4"), video_writer(tmp_path / "c.avi", 25):
        pass


@pytest.mark.parametrize(
    ("shape", "size", "half"),
    [
        ("box", (0.2, 0.4, 0.6), (0.1, 0.2, 0.3)),
        ("sphere", (0.1,), (0.1, 0.1, 0.1)),
        ("cylinder", (0.1, 0.6), (0.1, 0.1, 0.3)),
        ("capsule", (0.1, 0.6), (0.1, 0.1, 0.4)),
    ],
)
def test_shapes_of_parts_are_drawn_around_their_centre(shape: str, size: tuple[float, ...], half: tuple[float, ...]):
    at, rpy = (0.5, -1.0, 2.0), (0.0, np.pi / 2, 0.0)
    mesh = mesh_of(Shape.model_validate({"shape": shape, "size": size, "at": at, "rpy": rpy}))
    x, y, z = half
    np.testing.assert_allclose(mesh.vertices.max(axis=0) - at, (z, y, x), atol=2e-3)
    np.testing.assert_allclose(at - mesh.vertices.min(axis=0), (z, y, x), atol=2e-3)


def test_the_cell_is_drawn_where_the_simulation_has_it():
    pytest.importorskip("viser")
    from training_ground.agents.viewing.browser import close_server, open_server
    from training_ground.agents.viewing.stage import Stage

    env, server = make("PressButton"), open_server(8391)
    try:
        session = Session(env, ZeroPolicy(), seed=2)
        stage = Stage(server, session)
        panel = env.task.place.things["panel"]  # pyright: ignore[reportAttributeAccessIssue]
        furniture = stage._furniture
        assert furniture is not None
        before = np.array(furniture._frames["panel"]["stop"].position)
        np.testing.assert_allclose(before, panel.link("stop").position, atol=1e-9)
        assert set(furniture._frames) == {"bench", "panel"} and set(furniture._frames["panel"]) > {"housing", "stop"}
        session.reset(3)
        panel.set_joints([0.0, 0.0, 0.008])
        stage.draw()
        after = furniture._frames["panel"]["stop"]
        np.testing.assert_allclose(after.position, panel.link("stop").position, atol=1e-9)
        assert np.linalg.norm(before - after.position) > 0.005, "the panel stands elsewhere"
    finally:
        close_server(server)
        env.close()


def test_live_viewer_serves_a_page_and_ends(env: HumanoidEnv):
    pytest.importorskip("viser")
    from training_ground.agents.viewing.browser import close_server, open_server, show

    server = open_server(8390)
    try:
        session = Session(env, ZeroPolicy(), seed=2)
        thread = threading.Thread(
            target=show,
            args=(server, session),
            kwargs={"policies": ["zero", "random"], "load": load_policy, "speed": 4.0, "episodes": 2},
        )
        thread.start()
        assert server.get_host() == "127.0.0.1"
        with urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}", timeout=10) as page:
            assert b"<html" in page.read(2000).lower()
        thread.join(60)
        assert not thread.is_alive()
        assert [r.seed for r in session.records] == [2, 3]
    finally:
        close_server(server)


def test_play_writes_frames_and_reports_json(tmp_path: Path):
    folder = tmp_path / "frames"
    arguments = ["play", "Stand", "--robot", "g1_legs", "--policy", "zero", "--frames", str(folder)]
    arguments += ["--set", "episode_length_s=0.06", "--seed", "3", "--json"]
    result = CliRunner().invoke(tg, arguments)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["frames"] == len(list(folder.glob("*.png"))) == 3
    assert [e["seed"] for e in data["episodes"]] == [3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play", "Stnd"], "did you mean 'Stand'"),
        (["play", "--robot", "g2"], "unknown robot 'g2'"),
        (["play", "--policy", "zerro"], "unknown policy 'zerro'"),
        (["play", "--video", "x.mp4", "--frames", "y"], "choose one"),
        (["play", "--strip", "x.jpg", "--policy", "zero", "--robot", "g1_legs"], "must end in .png"),
        (["play", "--video", "x.avi", "--policy", "zero", "--robot", "g1_legs"], "must end in .mp4"),
    ],
)
def test_play_refuses_bad_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def trace(steps: int, period: int, swing: int, pushes: tuple[float, ...] = (), lift: float = 0.04) -> Trace:
    """Two feet that take turns: each is in the air for the first `swing` of `period` steps of 0.02 s; 0: both stand."""
    number = np.arange(steps, dtype=np.float64)
    phase = np.stack([number, number + period // 2], axis=1) % period
    contact = phase >= swing
    still = np.zeros(steps)
    position = np.stack([0.01 * number, still, still + 0.7], axis=1)
    return Trace(0.02 * number, position, still, np.where(contact, 0.0, lift), contact, pushes, None, "time limit")


def test_two_cycles_go_from_touchdown_to_touchdown():
    walk = trace(300, 40, 15)
    assert walk.touchdowns(0)[:2] == pytest.approx([1.1, 1.9]) and walk.touchdowns(1)[0] == pytest.approx(0.7)
    assert walk.window() == pytest.approx((2.7, 4.3)), "the first touchdown after 2 s, and two periods"
    assert walk.window(begin=3.0) == pytest.approx((3.5, 5.1))
    assert walk.window(begin=3.0, length=0.4) == pytest.approx((3.0, 3.4))
    assert trace(300, 40, 15, lift=0.002).two_cycles() is None, "feet that shake do not walk"
    limp = trace(300, 40, 15)
    limp.contact[:, 1] = True
    assert limp.two_cycles() is None, "one foot alone makes no gait"


def test_without_a_gait_a_strip_shows_the_push_or_the_end():
    assert trace(300, 40, 0, pushes=(1.0, 3.0)).window() == pytest.approx((0.8, 2.8))
    assert trace(300, 40, 0).window() == pytest.approx((2.0, 4.0))
    assert trace(51, 40, 0).window() == pytest.approx((0.0, 1.0)), "a fall after 1 s"
    with pytest.raises(AgentError, match="ended after 1 s"):
        trace(51, 40, 0).window(begin=1.5)


def test_legs_are_those_of_their_sides():
    legs = leg_links(load_model("g1"))
    assert set(legs) == {"left", "right"} and len(legs["left"]) == len(legs["right"]) >= 6
    assert all(name.startswith(side) for side, links in legs.items() for name in links)


def test_play_draws_a_strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sheet, "WIDTH", 100)
    monkeypatch.setattr(sheet, "HEIGHT", 160)
    path = tmp_path / "strip.png"
    arguments = ["play", "Walk", "--robot", "g1_legs", "--policy", "zero", "--strip", str(path), "--strip-from", "0.1"]
    result = CliRunner().invoke(tg, [*arguments, "--strip-length", "0.32", "--seed", "3", "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["from_s"], data["to_s"], data["pictures"]) == (0.1, pytest.approx(0.42), 16)
    assert set(data["lift"]) == {"left", "right"} and 0 <= data["flight"] <= 1
    picture = Image.open(path)
    assert picture.size[0] == 2 * sheet.MARGIN + 8 * 100 + 7 * sheet.GAP
    tile = np.asarray(picture.convert("RGB"))[sheet.HEAD : sheet.HEAD + 160, sheet.MARGIN : sheet.MARGIN + 100].astype(
        int
    )
    red, blue = tile[:, :, 0] - tile[:, :, 2] > 40, tile[:, :, 2] - tile[:, :, 0] > 40
    assert red.sum() > 50 and blue.sum() > 10, "legs in the colours of their sides"


def test_normals_are_round_on_a_sphere_and_sharp_on_a_box():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    normals = corner_normals(np.asarray(ball.vertices), np.asarray(ball.faces))
    outward = np.asarray(ball.vertices)[np.asarray(ball.faces)] / 0.5
    assert np.einsum("tci,tci->tc", normals, outward).min() > 0.999
    box = trimesh.creation.box(extents=(1.0, 2.0, 3.0))
    normals = corner_normals(np.asarray(box.vertices), np.asarray(box.faces))
    np.testing.assert_allclose(normals, np.repeat(np.asarray(box.face_normals)[:, None], 3, axis=1), atol=1e-12)

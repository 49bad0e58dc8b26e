"""What an inspection camera's pictures tell of parts: real pictures of the cell, nobody's hand in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from training_ground.agents.experts.looking import FACE, OUTLINE, shows_bulge, unevenness
from training_ground.assets.library import load_cell
from training_ground.configs.errors import SimulationError
from training_ground.envs import rotations
from training_ground.envs.cell import Cell
from training_ground.envs.world import World
from training_ground.envs.world.engine import engine

DRAWN = {"first": {"faulty": True}}


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    world = World()
    found = Cell(load_cell("inspection_station"), world, visuals=True)
    found.apply(DRAWN)
    found.place(DRAWN)
    yield found
    world.close()


def show(cell: Cell, name: str, turn: float, lean: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A picture of a part before the camera: turned about its axis, then leaning, rad."""
    x, y, z = cell.frame("table.middle").position
    pose = rotations.multiply(rotations.from_euler(*lean, 0.0), rotations.from_euler(0.0, 0.0, turn))
    cell.things[name].place((x, y, z + 0.001), pose)
    picture = cell.picture("inspection")
    cell.things[name].place((x, y - 5.0, z))
    return picture


def test_pictures_on_the_way_round_show_every_bulge_and_nothing_on_a_smooth_wall(cell: Cell):
    for i, turn in enumerate(np.linspace(0.0, 2 * np.pi, 24, endpoint=False)):
        lean = (0.02 * np.cos(7.0 * i), 0.02 * np.sin(7.0 * i))
        views = turn + np.arange(0.0, 2 * np.pi, 1.6)  # twice as far from each other as the expert's
        assert any(shows_bulge(show(cell, "first", view, lean)) for view in views), turn
        assert not any(shows_bulge(show(cell, "second", view, lean)) for view in views), turn


def test_a_view_alone_does_not_show_what_is_behind(cell: Cell):
    away = show(cell, "first", np.pi / 2)  # the bulge is at x of the part, the camera looks along y
    assert not shows_bulge(away)
    assert shows_bulge(show(cell, "first", -np.pi / 2))


def test_the_thresholds_stand_well_apart_from_both(cell: Cell):
    turns = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
    smooth = np.array([unevenness(show(cell, "second", turn)) for turn in turns])
    facing = np.array([unevenness(show(cell, "first", -np.pi / 2 + turn)) for turn in np.linspace(-1.0, 1.0, 11)])
    assert smooth[:, 0].max() < 0.6 * FACE and smooth[:, 1].max() < 0.8 * OUTLINE
    assert facing[:, 0].min() > 1.5 * FACE


def test_without_a_part_there_is_nothing_to_say(cell: Cell):
    assert unevenness(cell.picture("inspection")) is None
    assert shows_bulge(cell.picture("inspection")) is None


def test_calibration_says_where_a_ball_is_seen(cell: Cell, monkeypatch: pytest.MonkeyPatch):
    known, (eye, turn) = cell.calibration("inspection"), cell.camera_pose("inspection")
    stand = cell.frame(known.frame)
    assert eye == pytest.approx([*np.add(stand.position, rotations.rotate(stand.orientation, known.position))])
    assert turn == pytest.approx(rotations.multiply(stand.orientation, known.orientation))
    camera, world = cell.spec.cameras["inspection"], cell._world
    monkeypatch.setattr(world.register, "segment", lambda mask: mask)  # it knows nothing of the ball
    ball = engine.createVisualShape(engine.GEOM_SPHERE, radius=0.006, physicsClientId=world.client)
    ball = engine.createMultiBody(0, -1, ball, [0, 0, 9], physicsClientId=world.client)

    def depth() -> np.ndarray:
        ahead = rotations.rotate(turn, (0.0, 0.0, 1.0))
        angle = np.rad2deg(camera.field_of_view)
        size = {"width": camera.width, "height": camera.height, "field_of_view_deg": angle}
        return world.camera(eye, np.add(eye, ahead).tolist(), **size, near=known.near, far=known.far).depth

    off, empty = [], depth()
    for point in ((0.0, 0.0, 0.4), (0.03, 0.02, 0.4), (-0.04, -0.03, 0.42), (0.04, -0.02, 0.38), (-0.02, 0.035, 0.4)):
        where = [float(x) for x in np.add(eye, rotations.rotate(turn, point))]
        engine.resetBasePositionAndOrientation(ball, where, [0, 0, 0, 1], physicsClientId=world.client)
        rows, columns = np.nonzero(depth() != empty)
        u, v, w = np.array(known.matrix) @ point
        off.append(((columns.min() + columns.max()) / 2 - u / w, (rows.min() + rows.max()) / 2 - v / w))
    engine.removeBody(ball, physicsClientId=world.client)
    assert np.abs(off).max() < 1.0 and np.abs(np.mean(off, axis=0)).max() < 0.4, "pixels"


def test_bad_cameras_are_refused(cell: Cell):
    with pytest.raises(SimulationError, match=r"camera.*'inspektion'.*inspection"):
        cell.picture("inspektion")
    world = World()
    blind = Cell(load_cell("inspection_station"), world)
    with pytest.raises(SimulationError, match="visuals"):
        blind.picture("inspection")
    world.close()


def test_a_picture_does_not_depend_on_those_before(cell: Cell):
    """Two turns at which every other picture was once another by one grey level in one pixel."""
    x, y, z = cell.frame("table.middle").position
    for turn in (24 * 0.063, 97 * 0.063):
        cell.things["second"].place((x, y, z + 0.001), rotations.from_euler(0.0, 0.0, turn))
        pictures = [cell.picture("inspection") for _ in range(4)]
        assert all((picture == pictures[0]).all() for picture in pictures)
    cell.things["second"].place((x, y - 5.0, z))

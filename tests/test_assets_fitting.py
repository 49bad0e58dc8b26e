"""Fitted colliders: known shapes are found again, hulls stay inside their mesh, soles stay whole."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from training_ground.assets.colliders import distance, lowest_points
from training_ground.assets.fitting import HULL_VERTICES, Collider, fit
from training_ground.assets.meshes import VisualMesh, decimate, hull_faces
from training_ground.assets.poses import Pose, rotation_from_rpy

TURNED = Pose(rotation_from_rpy((0.3, -0.2, 0.5)), np.array([0.1, -0.2, 0.3]))


def points(mesh: trimesh.Trimesh) -> np.ndarray:
    return TURNED.points(np.asarray(mesh.vertices, dtype=float))


def test_finds_a_box() -> None:
    found = fit(points(trimesh.creation.box(extents=(0.1, 0.2, 0.4))), "auto")
    assert found.shape == "box"
    assert found.error < 0.05
    np.testing.assert_allclose(sorted(found.size), [0.1, 0.2, 0.4], rtol=0.06)
    np.testing.assert_allclose(found.pose.position, TURNED.position, atol=0.005)


def test_finds_a_capsule() -> None:
    found = fit(points(trimesh.creation.capsule(height=0.3, radius=0.06)), "auto")
    assert found.shape == "capsule"
    assert found.error < 0.06
    np.testing.assert_allclose(found.size, [0.06, 0.3], rtol=0.08)
    assert abs(found.pose.rotation[:, 2] @ TURNED.rotation[:, 2]) > 0.999


def test_finds_a_sphere() -> None:
    found = fit(points(trimesh.creation.icosphere(subdivisions=3, radius=0.08)), "sphere")
    assert found.size[0] == pytest.approx(0.08, rel=0.03)
    assert found.error < 0.05


@pytest.mark.parametrize("shape", ["box", "capsule", "sphere", "hull"])
def test_a_mirrored_mesh_gets_the_mirrored_fit(shape: str) -> None:
    cloud = np.random.default_rng(5).normal(size=(60, 3)) * [0.1, 0.05, 0.2]
    reflect = np.array([1.0, -1.0, 1.0])
    left, right = fit(cloud, shape), fit(cloud * reflect, shape)
    np.testing.assert_allclose(sorted(left.size), sorted(right.size), rtol=0.03)
    np.testing.assert_allclose(left.pose.position, right.pose.position * reflect, atol=0.006)


def test_a_hull_is_small_and_inside_its_mesh() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.1)
    found = fit(np.asarray(mesh.vertices, dtype=float), "hull")
    assert len(found.vertices) <= HULL_VERTICES
    assert np.linalg.norm(found.vertices, axis=1).max() <= 0.1 + 1e-9
    assert found.error < 0.25
    hull = trimesh.Trimesh(found.vertices, hull_faces(found.vertices))
    assert hull.is_watertight
    assert hull.volume > 0


def test_a_foot_keeps_its_sole_although_the_mesh_is_uneven() -> None:
    random = np.random.default_rng(0)
    plate = np.column_stack(
        [random.uniform(-0.1, 0.1, 400), random.uniform(-0.05, 0.05, 400), random.uniform(0, 0.001, 400)]
    )
    dome = random.normal(size=(400, 3))
    dome = dome / np.linalg.norm(dome, axis=1, keepdims=True) * [0.08, 0.04, 0.06] + [0, 0, 0.06]
    up = np.array([0.0, 0.0, 1.0])
    found = fit(np.vstack([plate, dome]), "hull", up)
    sole = lowest_points((found,), up)
    assert np.ptp(sole[:, 2]) < 1e-12
    np.testing.assert_allclose(np.ptp(sole[:, :2], axis=0), np.ptp(plate[:, :2], axis=0), rtol=0.02)


def test_a_mesh_without_volume_becomes_a_thin_box() -> None:
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    found = fit(flat, "auto")
    assert found.shape == "box"
    np.testing.assert_allclose(found.size, [1, 1, 0.002])


def test_distances() -> None:
    ball = Collider("sphere", Pose(), (0.1,))
    box = Collider("box", Pose(), (0.2, 0.2, 0.2))
    stick = Collider("capsule", Pose(), (0.05, 1.0))
    far = Pose(position=np.array([0.5, 0.0, 0.0]))
    assert distance(ball, Pose(), ball, far) == pytest.approx(0.3, abs=1e-5)
    assert distance(box, Pose(), ball, far) == pytest.approx(0.3, abs=1e-5)
    assert distance(stick, Pose(), box, far) == pytest.approx(0.35, abs=1e-5)
    corner = Pose(rotation_from_rpy((0, 0, np.pi / 4)), np.array([0.5, 0, 0]))
    assert distance(box, Pose(), box, corner) == pytest.approx(0.4 - 0.1 * np.sqrt(2), abs=1e-5)
    assert distance(box, Pose(), box, Pose(position=np.array([0.15, 0.0, 0.0]))) < 1e-5


def test_visual_meshes_are_decimated_also_where_they_are_loose_shells() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.1)
    shells = ball.triangles.reshape(-1, 3)
    loose = VisualMesh(shells, np.arange(len(shells)).reshape(-1, 3), (1.0, 0.0, 0.0, 1.0))
    whole = VisualMesh(np.asarray(ball.vertices), np.asarray(ball.faces), (0.0, 1.0, 0.0, 1.0))
    for mesh in (loose, whole):
        (small,) = decimate([[mesh]], total=400)[0]
        assert 100 < len(small.faces) < 700
        assert small.colour == mesh.colour
        np.testing.assert_allclose(np.ptp(small.vertices, axis=0), 0.2, rtol=0.1)

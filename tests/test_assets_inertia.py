"""Inertia: merging, armature and principal frames against first principles and against Pinocchio."""

from __future__ import annotations

import numpy as np
import pytest

from training_ground.assets.inertia import Inertia, triangle_violation
from training_ground.assets.poses import Pose, quaternion_from_rotation, rotation_from_rpy, rpy_from_rotation


def of_points(masses: np.ndarray, points: np.ndarray) -> Inertia:
    centre = masses @ points / masses.sum()
    matrix = sum(m * (r @ r * np.eye(3) - np.outer(r, r)) for m, r in zip(masses, points - centre, strict=True))
    return Inertia(float(masses.sum()), centre, np.asarray(matrix))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def random_pose(random: np.random.Generator) -> Pose:
    return Pose(rotation_from_rpy(random.uniform(-3, 3, 3)), random.uniform(-1, 1, 3))


def test_two_halves_of_a_cloud_merge_to_the_whole(random: np.random.Generator) -> None:
    masses, points, pose = random.uniform(0.1, 2, 12), random.uniform(-1, 1, (12, 3)), random_pose(random)
    moved = of_points(masses[5:], points[5:]).moved(pose)
    merged = of_points(masses[:5], points[:5]) + moved
    whole = of_points(masses, np.vstack([points[:5], pose.points(points[5:])]))
    assert merged.mass == pytest.approx(whole.mass)
    np.testing.assert_allclose(merged.centre, whole.centre, atol=1e-14)
    np.testing.assert_allclose(merged.matrix, whole.matrix, atol=1e-13)


def test_a_link_without_inertia_changes_nothing(random: np.random.Generator) -> None:
    body = of_points(random.uniform(0.1, 2, 6), random.uniform(-1, 1, (6, 3)))
    merged = body + Inertia().moved(random_pose(random))
    np.testing.assert_allclose(merged.spatial(), body.spatial(), atol=1e-14)


def test_merging_agrees_with_pinocchio(random: np.random.Generator) -> None:
    pin = pytest.importorskip("pinocchio")
    body = of_points(random.uniform(0.1, 2, 6), random.uniform(-1, 1, (6, 3)))
    other, pose = of_points(random.uniform(0.1, 2, 6), random.uniform(-1, 1, (6, 3))), random_pose(random)
    merged = body + other.moved(pose)
    theirs = pin.Inertia(body.mass, body.centre, body.matrix) + pin.SE3(pose.rotation, pose.position).act(
        pin.Inertia(other.mass, other.centre, other.matrix)
    )
    np.testing.assert_allclose(merged.matrix, theirs.inertia, atol=1e-13)
    np.testing.assert_allclose(merged.centre, theirs.lever, atol=1e-14)


def test_principal_frame_rebuilds_the_matrix_and_is_the_nearest_one(random: np.random.Generator) -> None:
    for _ in range(50):
        body = of_points(random.uniform(0.1, 2, 5), random.uniform(-1, 1, (5, 3)))
        frame, moments = body.principal()
        assert np.linalg.det(frame.rotation) == pytest.approx(1.0)
        np.testing.assert_allclose(frame.rotation @ np.diag(moments) @ frame.rotation.T, body.matrix, atol=1e-13)
        assert abs(rpy_from_rotation(frame.rotation)[1]) < 1.2
        again = body.moved(Pose(frame.rotation.T, np.zeros(3))).principal()[0]
        np.testing.assert_allclose(again.rotation, np.eye(3), atol=1e-9)


def test_triangle_inequality() -> None:
    assert triangle_violation(np.diag([1.0, 1.0, 1.9])) < 0
    assert triangle_violation(np.diag([1.0, 1.0, 4.0])) == pytest.approx(0.5)


def test_rpy_survives_the_pole(random: np.random.Generator) -> None:
    for pitch in (np.pi / 2, -np.pi / 2, 1.5707963, 0.3):
        rotation = rotation_from_rpy((0.4, pitch, -1.1))
        np.testing.assert_allclose(rotation_from_rpy(rpy_from_rotation(rotation)), rotation, atol=1e-15)


def test_quaternion_turns_like_its_matrix(random: np.random.Generator) -> None:
    for _ in range(50):
        rotation = rotation_from_rpy(random.uniform(-3.2, 3.2, 3))
        x, y, z, w = quaternion_from_rotation(rotation)
        v = random.uniform(-1, 1, 3)
        turned = v + 2 * np.cross([x, y, z], np.cross([x, y, z], v) + w * v)
        np.testing.assert_allclose(turned, rotation @ v, atol=1e-14)

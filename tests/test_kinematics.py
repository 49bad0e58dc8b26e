"""Chains are where the source URDF puts them, and inverse kinematics finds its way back within the joint limits."""

from __future__ import annotations

import numpy as np
import pytest
from theory import tree_of

from training_ground.agents.experts import inverse_kinematics as ik
from training_ground.assets.catalog import load_model, robot_names
from training_ground.assets.kinematics import Chain
from training_ground.assets.poses import Array, Pose, rotation_about, rotation_from_quaternion, rotation_vector
from training_ground.configs.errors import AssetError


def within(chain: Chain, generator: np.random.Generator) -> Array:
    """Angles anywhere in the limits, of joints without one in a turn."""
    return generator.uniform(np.maximum(chain.lower, -np.pi), np.minimum(chain.upper, np.pi))


@pytest.mark.parametrize("robot", robot_names())
def test_a_chains_end_and_jacobian_are_the_trees(robot):
    model, tree = load_model(robot), tree_of(robot)
    ends = [hand.frame for hand in model.hands] + [foot.link for foot in model.feet]
    generator = np.random.default_rng(0)
    for end in ends:
        chain = Chain(model, end)
        angles = within(chain, generator)
        position = model.default_position.copy()
        position[chain.indices] = angles
        frame = model.frames[end]
        bodies = dict(zip(model.link_names, tree.poses(position), strict=True))
        expected = bodies[frame.link] @ Pose(rotation_from_quaternion(frame.orientation), frame.position)
        pose, jacobian = chain.jacobian(angles)
        for found in (pose, chain.pose(angles)):
            assert found.position == pytest.approx(expected.position, abs=1e-9)
            assert found.rotation == pytest.approx(expected.rotation, abs=1e-9)
        for i, step in enumerate(1e-6 * np.eye(len(angles))):
            after, before = chain.pose(angles + step), chain.pose(angles - step)
            turned = rotation_vector(after.rotation @ before.rotation.T)
            moved = np.concatenate([after.position - before.position, turned]) / 2e-6
            assert jacobian[:, i] == pytest.approx(moved, abs=1e-7)


@pytest.mark.parametrize("robot", ["g1", "talos"])
def test_reachable_poses_are_reached_within_the_limits(robot):
    model = load_model(robot)
    for hand in model.hands:
        chain = Chain(model, hand.frame, model.groups["arms"])
        generator = np.random.default_rng(1)
        goals = [chain.pose(within(chain, generator)) for _ in range(20)]
        found = [ik.solve(chain, goal) for goal in goals]
        assert sum(solution.reached for solution in found) >= 19
        for goal, solution in zip(goals, found, strict=True):
            assert (solution.angles >= chain.lower).all() and (solution.angles <= chain.upper).all()
            if solution.reached:
                pose = chain.pose(solution.angles)
                assert np.linalg.norm(pose.position - goal.position) <= 1e-3
                assert np.linalg.norm(rotation_vector(goal.rotation @ pose.rotation.T)) <= np.radians(1.0)


def test_the_solution_is_near_the_start_and_the_same_each_time():
    model = load_model("g1")
    chain = Chain(model, model.hands[0].frame, model.groups["arms"])
    start = chain.default + 0.1
    goal = chain.pose(start + 0.05)
    solution = ik.solve(chain, goal, start)
    assert solution.reached and np.abs(solution.angles - start).max() < 0.2
    assert np.array_equal(solution.angles, ik.solve(chain, goal, start).angles)


def test_what_the_pose_leaves_free_follows_the_posture():
    """Ten joints for six coordinates: another posture, another solution of the same pose."""
    model = load_model("g1")
    chain = Chain(model, model.hands[0].frame)
    goal = chain.pose(chain.default + 0.2)
    waist = chain.joint_names.index("waist_yaw_joint")
    found = []
    for turn in (-0.3, 0.3):
        posture = chain.default.copy()
        posture[waist] = turn
        found.append(ik.solve(chain, goal, posture=posture))
    assert all(solution.reached for solution in found)
    assert found[1].angles[waist] > found[0].angles[waist]


def test_out_of_reach_gives_the_nearest_that_was_found():
    model = load_model("g1")
    chain = Chain(model, model.hands[0].frame, model.groups["arms"])
    near = chain.pose(chain.default)
    solution = ik.solve(chain, Pose(near.rotation, near.position + np.array([2.0, 0.0, 0.0])))
    assert not solution.reached
    assert 1.0 < solution.position_error < 2.0


def test_frames_and_joints_are_named():
    model = load_model("g1")
    with pytest.raises(AssetError, match="did you mean 'left_rubber_hand'"):
        Chain(model, "left_ruber_hand")
    with pytest.raises(AssetError, match="no joint that may move carries frame 'left_rubber_hand'"):
        Chain(model, "left_rubber_hand", ["right_knee_joint"])


def test_rotation_vectors_of_half_turns_and_of_none():
    for axis in np.eye(3):
        assert np.abs(rotation_vector(rotation_about(axis, np.pi))) == pytest.approx(np.pi * axis)
        assert rotation_vector(rotation_about(axis, 1e-9)) == pytest.approx(1e-9 * axis, rel=1e-6, abs=1e-15)
    assert not rotation_vector(np.eye(3)).any()

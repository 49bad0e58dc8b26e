"""Uneven ground: its height is what feet meet, what cameras see and what the task is told; the same bits again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from rollouts import actions, advance, digests

from training_ground.configs.errors import SimulationError
from training_ground.envs import terrain
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make
from training_ground.envs.scan import AHEAD, BESIDE
from training_ground.envs.tasks.locomotion.rough import SLABS
from training_ground.envs.tasks.locomotion.stairs import SLABS as TREADS
from training_ground.envs.world import World

GROUNDS = [("Rough", {"terrains": [kind]}) for kind in terrain.KINDS] + [("Stairs", {})]
ZERO = np.zeros(29, np.float32)
QUIET = {"robot": "g1", "push_speed": (0.0, 0.0)}


def uneven(task: str, options: dict[str, Any], **more: Any) -> HumanoidEnv:
    """A walk without a platform: the robot starts on whatever there is."""
    return make(task, **QUIET, platform_length=0.0, **options, **more)


def drawn(kind: str, seed: int) -> terrain.Terrain:
    generator = np.random.default_rng(seed)
    if kind == "stairs":
        return terrain.stairs(generator, TREADS, 0.17, 1.2, 0.4)
    most = math.radians(10) if kind == "slopes" else 0.05
    return terrain.KINDS[kind](generator, SLABS, most, 1.2)


def along(ground: terrain.Terrain, u: np.ndarray) -> np.ndarray:
    direction = ground.rows[0].direction
    return ground.height(u * math.cos(direction), u * math.sin(direction))


# ---- the formula -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*terrain.KINDS, "stairs"])
def test_no_ground_is_steeper_or_higher_than_it_may_be(kind):
    u = np.linspace(-8, 8, 8001)
    for seed in range(5):
        height = along(drawn(kind, seed), u)
        change = np.abs(np.diff(height))
        assert height.min() >= 0.0 and np.ptp(height) > 0.02
        assert np.ptp(height[np.abs(u) < 0.6]) < 1e-9, "the platform is not level"
        if kind == "slopes":
            assert change.max() / np.diff(u)[0] < math.tan(math.radians(10)) * 1.001
        elif kind == "stairs":
            steps = change[change > 1e-9]
            assert steps == pytest.approx(0.17) and np.diff(u[:-1][change > 1e-9]).min() == pytest.approx(0.3, abs=0.01)
            assert {*np.sign(np.diff(height)[change > 1e-9])} == {-1.0, 1.0}
        else:
            assert 0.02 < change.max() <= 0.05
        corners = [(dx, dy) for dx in (-0.15, 0.15) for dy in (-0.15, 0.15)] + [(0.0, 0.0)]
        ground = drawn(kind, seed)
        for x, y in ((0.7, -2.0), (-3.3, 1.1), (100.0, 0.0)):
            height_at = [float(ground.height(x + dx, y + dy)) for dx, dy in corners]
            assert ground.under(x, y) == pytest.approx(np.mean(height_at))
    assert along(drawn(kind, 0), u).tolist() != along(drawn(kind, 1), u).tolist()


def test_level_ground_has_no_slabs_and_too_many_are_refused():
    level = terrain.steps(np.random.default_rng(0), SLABS, 0.0, 1.2)
    assert level.poses() == [] and terrain.FLAT.under(1.0, 2.0) == 0.0 and terrain.FLAT.height([1.0], [2.0]) == [0.0]
    world = World()
    world.add_ground()
    world.add_slabs(2, (0.6, 1.0, 2.0))
    with pytest.raises(SimulationError, match="3 poses for 2 slabs"):
        world.lay([((0, 0, 0), (0, 0, 0, 1))] * 3)
    world.close()


# ---- against the engine ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "options"), GROUNDS, ids=lambda x: str(x))
def test_feet_stand_where_the_formula_says(task, options):
    env = uneven(task, options)
    near = 0.006 * np.array([[0, 1, -1, 0, 0], [0, 0, 0, 1, -1]])
    seen = 0
    for seed in range(3):
        env.reset(seed=seed)
        for step in range(12):
            for contact in env.robot.body.contacts():
                if contact.other != "ground" or abs(contact.distance) > 0.003:
                    continue
                seen += 1
                x, y, z = contact.position
                close = env.terrain.height(x + near[0], y + near[1])  # at an edge, what lies on both sides of it
                assert close.min() - 0.001 < z - contact.distance < close.max() + 0.001, (seed, step)
                assert step or contact.distance > 0.0, "the start is in the ground"
            env.step(ZERO)
    assert seen > 50
    env.close()


@pytest.mark.parametrize("slope", [0.0, 5.0, 10.0])
def test_a_robot_stands_on_a_slope_without_sinking_in(slope):
    """All soles flush with the ramp, motors holding: the contacts' heights are the ramp's."""
    env = make("Rough", **QUIET, terrains=["slopes"], platform_length=0.0)
    row = terrain._row(SLABS, 0.0, np.full(39, math.radians(slope)), np.zeros(39))
    env.reset(seed=0)
    ground = terrain.Terrain("slopes", (row,))
    env.world.lay(ground.poses())
    joints, names = env.model.default_position.copy(), env.model.joint_names
    for side in ("left", "right"):
        joints[names.index(f"{side}_ankle_pitch_joint")] -= math.radians(slope)
    env.robot.place(joints.tolist(), 0.0, (0.0, 0.0), ground)
    target = env.action_origin + joints - env.model.default_position
    found = []
    for _ in range(10):
        env.robot.advance(target, 4)
        for c in env.robot.body.contacts():
            if c.normal_force > 1.0:
                found.append((c.position[2] - float(ground.height(*c.position[:2])), c.distance))
    assert len(found) > 20
    assert np.abs(np.array(found)).max() < 0.001
    env.close()


def test_a_camera_sees_the_ground_that_the_feet_meet():
    env = uneven("Rough", {"terrains": ["blocks"]}, visuals=True)
    env.reset(seed=4)
    image = env.world.camera((3.0, 2.0, 3.0), (3.0, 2.0, 0.0), up=(0, 1, 0), width=40, height=40)
    half = 3.0 * math.tan(math.radians(25))
    offset = (np.arange(40) + 0.5 - 20) / 20 * half
    expected = 3.0 - env.terrain.height(3.0 + offset[None, :], 2.0 - offset[:, None])
    assert np.median(np.abs(image.depth - expected)) < 0.003
    assert np.mean(np.abs(image.depth - expected) < 0.01) > 0.8  # but for the pixels at the edges
    assert np.ptp(expected) > 0.02
    env.close()


# ---- what the task is told -------------------------------------------------------------------------------------------


def test_the_scan_reads_the_ground_in_the_heading_frame_and_falls_count_from_it():
    env = make("Stairs", **QUIET)
    walk = make("Walk", robot="g1")
    names = [c.name for c in walk.observation.observed]
    assert [c.name for c in env.observation.observed] == [*names, "terrain_height"]
    walk.close()
    for seed in (0, 1, 2, 3):
        env.reset(seed=seed)
        x, y, z = env.robot.base.position
        top = float(env.terrain.height(0.0, 0.0))
        # It stands on its platform as it would on the floor.
        assert z - top == pytest.approx(env.model.default_height, abs=0.02) and env.base_height == pytest.approx(
            z - top
        )
        scan = env.frame()["terrain_height"]
        heading = env.task.state.values["heading"]
        c, s = math.cos(heading), math.sin(heading)
        for index, (forward, left) in enumerate((a, b) for b in (BESIDE, -BESIDE) for a in AHEAD):
            ground = float(env.terrain.height(x + c * forward - s * left, y + s * forward + c * left))
            assert scan[index] == pytest.approx(ground - z + env.model.default_height, abs=1e-5)
    mirror = env.task.mirror()["terrain_height"]
    sides = env.observation.observed[-1].components
    swapped = {"left": "right", "right": "left"}
    assert [sides[i] for i in mirror.permutation] == [swapped[n.split("_")[0]] + "_" + n.split("_")[1] for n in sides]
    env.close()


def test_difficulty_scales_the_ground():
    spread = {}
    for difficulty in (0.0, 0.5, 1.0):
        env = make("Stairs", robot="g1", difficulty=difficulty)
        env.reset(seed=1)
        spread[difficulty] = np.unique(np.round(np.diff(np.unique(env.terrain.rows[0].height)), 6)).tolist()
        env.close()
    assert spread == {0.0: [0.05], 0.5: [0.11], 1.0: [0.17]}


# ---- the same bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "options"), [("Rough", {}), ("Stairs", {})], ids=lambda x: str(x))
def test_same_bits_on_the_same_ground_whatever_was_laid_before(task, options):
    env, other = uneven(task, options), uneven(task, options)
    for seed in (0, 1):
        first = digests(env, seed, 15)
        digests(other, seed + 50, 8)
        assert digests(other, seed, 15) == first
        env.reset(seed=seed)
        chosen = actions(env, 20, seed)
        advance(env, chosen[:6])
        kept = env.save()
        following = advance(env, chosen[6:])
        digests(env, seed + 60, 8)  # another ground
        env.restore(kept)
        assert advance(env, chosen[6:]) == following
    env.close()
    other.close()


def test_friction_reaches_every_slab():
    """On a ramp of 10° a robot slides where friction is less than the tangent, and else does not."""
    slid = {}
    for friction in (0.05, 1.0):
        env = make("Rough", **QUIET, terrains=["slopes"], randomisation={"friction": (friction, friction)})
        env.reset(seed=0)
        row = terrain._row(SLABS, 0.0, np.full(39, math.radians(10)), np.zeros(39))
        env.world.lay(terrain.Terrain("slopes", (row,)).poses())
        env.robot.place(env.model.default_position.tolist(), 0.0, (0.0, 0.0), terrain.Terrain("slopes", (row,)))
        for _ in range(20):
            env.robot.advance(env.action_origin, 4)
        slid[friction] = max(abs(foot.linear_velocity[0]) for foot in env.robot.feet)
        env.close()
    assert slid[0.05] > 0.15 > slid[1.0]

"""The mirror image of a robot: what it observes, and what is learned from it."""

from __future__ import annotations

import numpy as np
import pytest

from training_ground.configs.errors import AgentError, SimulationError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make

TOLERANCE = {
    "base_linear_velocity": 0.01,
    "base_angular_velocity": 0.15,
    "projected_gravity": 0.002,
    "joint_position": 0.01,
    "joint_velocity": 0.6,
    "previous_action": 1e-6,
    "command_velocity": 0.01,
    "command_turn_rate": 0.01,
    "heading_error": 0.01,
    "gait_clock": 1e-6,
    "goal_position": 0.01,
    "goal_turn": 0.01,
    "terrain_height": 0.01,
}
"""Twice what the small asymmetry of the published masses and the order of the contacts make of ten random steps."""


def reflected(values, mirror):
    return mirror.sign * np.asarray(values)[mirror.permutation]


def command(env, side):
    """Let a walker walk to its left and turn there, left foot first; or, for the side -1, the mirror image of that."""
    if "heading" in env.task.state.values:
        commands = [[0.4, 0.2 * side, 0.3 * side]]
        env.task.state.values.update(commands=commands, start=0.0 if side > 0 else 0.5, heading=0.0)
        env.task.state.values.update(goal=(1.5, 0.9 * side), goal_heading=0.4 * side)


@pytest.mark.parametrize(
    ("task", "robot"),
    [("Stand", "g1"), ("Stand", "talos"), ("Walk", "g1"), ("Walk", "talos"), ("GoTo", "g1"), ("Carry", "g1")],
)
def test_a_mirrored_robot_with_mirrored_actions_observes_the_mirror_image(task, robot):
    """Physics has no side: the same motion in the mirror, up to the small asymmetry of the published masses."""
    left: HumanoidEnv = make(task, robot=robot, push_speed=(0.0, 0.0))
    right: HumanoidEnv = make(task, robot=robot, push_speed=(0.0, 0.0))
    joints, whole = left.model.mirror, left.observation.mirror()
    assert joints is not None
    generator = np.random.default_rng(3)
    pose = left.model.default_position + generator.uniform(-0.05, 0.05, left.robot.count)
    push = np.array([0.2, 0.3])
    for env, position, side in ((left, pose, 1.0), (right, reflected(pose, joints), -1.0)):
        env.reset(seed=0)
        command(env, side)
        env.robot.place(position.tolist(), 0.0, (0.03 * side, 0.02))
        env.robot.body.add_base_velocity((push[0], side * push[1], 0.0))
    for _ in range(10):
        action = generator.uniform(-0.3, 0.3, left.robot.count).astype(np.float32)
        one = np.array(left.step(action)[0])
        two = np.array(right.step(reflected(action, joints).astype(np.float32))[0])
        image = reflected(one, whole)
        for name, where in left.observation.slices.items():
            assert image[where] == pytest.approx(two[where], abs=TOLERANCE[name]), name
        assert np.abs(one - two).max() > 0.05  # no accident: both sides differ
    left.close()
    right.close()


def test_a_task_that_does_not_tell_its_mirror_image_is_named():
    env = make("PressButton")
    with pytest.raises(SimulationError, match=r"'PressButton'.*'hand_position'"):
        env.observation.mirror()
    env.close()


@pytest.mark.parametrize("privileged", [(), ("foot_contact", "joint_torque")])
def test_a_symmetric_policy_is_its_own_mirror_image_whatever_its_weights(privileged):
    """And so is the plain network that workers and bundles have of it; both give the same actions."""
    torch = pytest.importorskip("torch")
    import gymnasium

    from training_ground.agents.asymmetry import AsymmetricPolicy
    from training_ground.agents.learner import actor_layers
    from training_ground.agents.network import Network, Normalisation
    from training_ground.agents.symmetry import SymmetricPolicy, reflect, symmetry_of

    env = make("Walk", robot="g1", driven=["*_hip_*", "*_knee_*", "*_ankle_*"])
    symmetry, size = symmetry_of(env, privileged), env.observation.mirror().sign.size
    count = len(symmetry.observation.sign)
    assert count == size + (2 + 29 if privileged else 0)
    spaces = gymnasium.spaces.Box(-np.inf, np.inf, (count,), np.float32), env.action_space
    shape = {"net_arch": {"pi": [32, 16], "vf": [32, 16]}, "activation_fn": torch.nn.ELU}
    policy = SymmetricPolicy(*spaces, lambda _: 1e-3, symmetry=symmetry, seen=size, **shape)
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.as_tensor(generator.normal(0, 0.3, parameter.shape)))
    policy.even_out()
    seen = generator.normal(0, 1, (64, count)).astype(np.float32)
    with torch.no_grad():
        both = [torch.as_tensor(x) for x in (seen, reflect(seen, symmetry.observation))]
        actions, mirrored = (policy.get_distribution(x).mode().numpy() for x in both)
        values = [policy.predict_values(x) for x in both]
    assert reflect(actions, symmetry.action) == pytest.approx(mirrored, abs=1e-5)
    deviation = policy.log_std.detach().numpy()
    assert deviation[symmetry.action.permutation] == pytest.approx(deviation)
    assert values[0].numpy() == pytest.approx(values[1].numpy(), abs=1e-5) and np.ptp(values[0].numpy()) > 0.1
    # A plain policy's weights fit: the symmetric one says the mean of what that one says of both sides.
    plain = AsymmetricPolicy(*spaces, lambda _: 1e-3, seen=size, **shape)
    plain.load_state_dict(policy.state_dict())
    with torch.no_grad():
        own, other = (plain.get_distribution(x).mode().numpy() for x in both)
    assert (own + reflect(other, symmetry.action)) / 2 == pytest.approx(actions, abs=1e-5)
    assert np.abs(own - actions).max() > 0.1
    layers = [(weight.T, bias) for weight, bias in actor_layers(policy)]
    assert Network(layers, "elu", Normalisation())(seen[:, :size]) == pytest.approx(actions, abs=1e-5)
    assert np.abs(actions).max() > 0.1
    env.close()


def test_only_symmetric_robots_have_one():
    pytest.importorskip("stable_baselines3")
    import gymnasium

    from training_ground.agents.symmetry import symmetry_of

    with pytest.raises(AgentError, match="training ground"):
        symmetry_of(gymnasium.make("Pendulum-v1"))

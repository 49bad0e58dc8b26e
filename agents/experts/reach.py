"""How to bring both hands to poses."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.arm import pose_of, smooth
from training_ground.agents.experts.expert import Expert, Steps
from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.agents.experts.servo import Servo
from training_ground.assets.kinematics import arm
from training_ground.assets.poses import Pose, rotation_from_quaternion
from training_ground.configs.errors import AgentError
from training_ground.envs.env import HumanoidEnv

SPEED = 1.0
"""rad/s: mean speed of the fastest joint."""


class Reach(Expert):
    """Work out joint angles for both goals, go there in one motion, and stay; there is no cell to look at."""

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode.

        Raises:
            AgentError: The robot stands on its own feet, or the actions are not the positions of every joint.
        """
        inner = env.unwrapped
        if not isinstance(inner, HumanoidEnv) or inner.task.id != "Reach":
            raise AgentError(f"policy 'expert': this one reaches, and does not work in {env}")
        every = len(inner.action_joints) == len(inner.model.joint_names)
        if inner.stance != "mounted" or inner.config.control != "joint_position" or not every:
            raise AgentError(
                "policy 'expert': Reach needs stance 'mounted' and control 'joint_position' of every joint"
            )
        self.env, self.task, self.attempt, self.trouble = inner, inner.task, 0, ""
        self.wanted = inner.robot.joint_position.copy()
        self.servo = Servo(inner, (), 0.0)  # the weight of the arms is known, and whatever more would stir the trunk
        self._steps = self.procedure()

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action that the procedure asks for now; after its end, hold still."""
        before = self.wanted.copy()
        next(self._steps, None)
        return self.servo.action(self.wanted, before)

    def procedure(self) -> Steps:
        """Go to the angles, all joints at once."""
        model, robot = self.env.model, self.env.robot
        base = pose_of(robot.base).inverse()
        start, end = self.wanted.copy(), model.default_position.copy()
        for hand, (place, orientation) in zip(model.hands, self.task.state.values["goals"], strict=True):
            chain = arm(model, hand, hand.frame)
            goal = base @ Pose(rotation_from_quaternion(np.array(orientation)), np.array(place))
            end[chain.indices] = solve(chain, goal, start[chain.indices], posture=chain.default).angles
        count = max(1, round(float(np.abs(end - start).max()) / SPEED / self.env.control_timestep))
        for i in range(count):
            self.wanted = start + smooth((i + 1) / count) * (end - start)
            yield

"""The robot's motion for the player: the figure of the store's robot, and an episode's recorded poses."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.report.measures import measure
from training_ground.agents.report.motion import figure_data, motion_data, pack, pose_rows
from training_ground.agents.viewing.figure import Figure
from training_ground.assets.catalog import load_model, robot_names
from training_ground.configs.errors import AgentError, TrainingGroundError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.schema import DatasetSchema

NEEDED = ("base_position", "base_orientation", "joint_angle", "joint_torque")
"""Channels without which there are no poses."""
FARTHEST = 1e4
"""Larger numbers, m or rad, are no pose; a file may say anything."""
MAX_POINTS = 40
"""Things beside the robot whose places are shown."""


class Replay:
    """Figure and motions of one store's robot.

    Args:
        schema: Of the store.
    """

    def __init__(self, schema: DatasetSchema) -> None:
        self._schema = schema
        self._lock = threading.Lock()
        self._figure: dict[str, Any] | None = None

    def missing(self) -> str:
        """Say why there can be no replay; empty where nothing speaks against it."""
        schema = self._schema
        shapes = {channel.name: channel.shape for channel in schema.channels}
        joints = (len(schema.joint_names),)
        absent = [
            f"{name} {list(shape)}"
            for name, shape in zip(NEEDED, ((3,), (4,), joints, joints), strict=True)
            if shapes.get(name) != shape
        ]
        if absent:
            return f"the dataset has no channel {', '.join(absent)}"
        # By name and never by path: what is compiled must not be for a stranger's file to choose.
        if schema.robot not in robot_names():
            return f"there is no robot '{schema.robot[:100]}' here; see `tg robots`"
        return ""

    def figure(self) -> dict[str, Any]:
        """Return the figure as `figure_data` packs it; it is compiled on the first call.

        Raises:
            AgentError: There is no such robot here, or another compilation of it.
        """
        if text := self.missing():
            raise AgentError(f"no replay: {text}")
        with self._lock:
            if self._figure is None:
                schema = self._schema
                try:
                    model = load_model(schema.robot, visuals=True, moving=schema.joint_names)
                    if model.hash != schema.model_hash:
                        raise AgentError(f"the dataset's robot is another compilation than '{schema.robot}' is here")
                    self._figure = figure_data(Figure(model))
                except TrainingGroundError as problem:
                    raise AgentError(f"no replay: {problem}") from problem
            return self._figure

    def motion(self, episode: Episode) -> dict[str, Any]:
        """Return an episode's motion as `motion_data` packs it, and with it the places of other things in the world.

        Raises:
            AgentError: The dataset has no poses.
        """
        if text := self.missing():
            raise AgentError(f"no replay: {text}")
        columns = dict(episode.columns)
        columns |= {name: _finite(columns[name]) for name in (*NEEDED, "push_velocity") if name in columns}
        try:
            measured = measure(Episode(episode.metadata, columns, episode.number))
        except (ValueError, IndexError, TypeError) as problem:
            raise AgentError(f"no replay: its columns do not fit together: {problem}") from problem
        rows = pose_rows(measured.time)
        things = [
            c for c in self._schema.channels if (c.unit, c.frame, c.shape, c.role) == ("m", "world", (3,), "state")
        ]
        points = [
            {
                "name": channel.name.removesuffix("_place").replace("_", " "),
                "place": pack(_finite(columns[channel.name][rows]), "f4"),
            }
            for channel in things[: MAX_POINTS + 1]
            if channel.name != "base_position"
        ]
        return motion_data([measured])[0] | {"points": points}


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = np.nan_to_num(np.asarray(values, np.float64), posinf=FARTHEST, neginf=-FARTHEST)
    return np.clip(numbers, -FARTHEST, FARTHEST)

"""The scene in the browser: the robot's figure, a floor that moves beneath it, its cell, goals, an arrow for a push."""

from __future__ import annotations

from typing import Any

import numpy as np

from training_ground.agents.viewing.figure import Figure
from training_ground.agents.viewing.furniture import Furniture
from training_ground.agents.viewing.session import Session
from training_ground.envs.cell_task import CellTask

ARROW_S = 0.6
"""Simulated time for which a push is shown, s."""
ARROW_LENGTH = 0.9
"""m of arrow for each m/s of push."""
PUSH_COLOUR = (240, 80, 40)
GOAL_COLOURS = ((230, 60, 60), (60, 110, 230))


class Stage:
    """Draws a session into a viser server.

    Args:
        server: A `viser.ViserServer`.
        session: What to draw.

    Attributes:
        follow: Keep the robot in the middle and move the floor instead.
    """

    def __init__(self, server: Any, session: Session) -> None:
        self.follow = True
        self._server, self._session = server, session
        self._figure = Figure(session.env.model)
        scene = server.scene
        scene.set_up_direction("+z")
        scene.configure_default_lights(enabled=True, cast_shadow=True)
        self._root = scene.add_frame("/world", show_axes=False)
        scene.add_grid(
            "/world/floor",
            width=40.0,
            height=40.0,
            cell_size=0.25,
            section_size=1.0,
            cell_thickness=0.6,
            section_thickness=1.2,
            cell_color=(205, 210, 218),
            section_color=(150, 158, 170),
            plane_color=(236, 239, 243),
            plane_opacity=1.0,
            shadow_opacity=0.35,
            fade_distance=18.0,
        )
        self._links = [scene.add_frame(f"/world/robot/{part.name}", show_axes=False) for part in self._figure.parts]
        self._add_meshes()
        self._goals = [
            scene.add_icosphere(f"/world/goal_{i}", radius=0.03, color=GOAL_COLOURS[i % 2])
            for i in range(len(session.goals()))
        ]
        self._arrow: Any = None
        self._shown_push: Any = None
        task, height = session.env.task, session.env.model.default_height
        self._furniture = Furniture(server, task.place, "/world") if isinstance(task, CellTask) else None
        eye, target = (2.3, -1.7, height + 0.45), (0.0, 0.0, 0.8 * height)
        if self._furniture is not None:  # over the robot's shoulder, at what it works with
            shoulder = task.shoulder_height(task.config) or height
            eye, target = (-0.25, -1.15, shoulder + 0.4), (0.3, 0.0, shoulder - 0.15)
        server.initial_camera.position, server.initial_camera.look_at = eye, target
        self.draw()

    def _add_meshes(self) -> None:
        for part in self._figure.parts:
            for number, mesh in enumerate(part.meshes):
                red, green, blue, alpha = mesh.colour
                self._server.scene.add_mesh_simple(
                    f"/world/robot/{part.name}/{number}",
                    vertices=mesh.vertices,
                    faces=mesh.faces,
                    color=(round(255 * red), round(255 * green), round(255 * blue)),
                    opacity=None if alpha >= 1 else alpha,
                    flat_shading=False,
                    side="double",
                )

    def draw(self) -> None:
        """Bring the scene up to date."""
        session = self._session
        robot = session.env.robot
        base = robot.base
        poses = self._figure.poses(base.position, base.orientation, robot.joint_position.tolist())
        with self._server.atomic():
            x, y, _ = base.position
            self._root.position = (-x, -y, 0.0) if self.follow else (0.0, 0.0, 0.0)
            for link, (position, (a, b, c, d)) in zip(self._links, poses, strict=True):
                link.position, link.wxyz = position, (d, a, b, c)
            if self._furniture is not None:
                self._furniture.draw()
            for ball, place in zip(self._goals, session.goals(), strict=False):
                ball.position = place
            self._draw_arrow()

    def _draw_arrow(self) -> None:
        """Show the push at the torso, from where it came."""
        session = self._session
        push = session.push if session.push_age_s < ARROW_S else None
        if push is not None and push != self._shown_push:
            direction = np.array(push) * ARROW_LENGTH
            torso = session.env.robot.base.position
            tip = np.array([torso[0], torso[1], torso[2] + 0.25]) - 0.12 * direction / np.linalg.norm(direction)
            self._remove_arrow()
            self._arrow = self._server.scene.add_arrows(
                "/world/push",
                points=np.array([[tip - direction, tip]], np.float32),
                colors=PUSH_COLOUR,
                shaft_radius=0.018,
                head_radius=0.045,
                head_length=0.11,
            )
        elif push is None:
            self._remove_arrow()
        self._shown_push = push

    def _remove_arrow(self) -> None:
        if self._arrow is not None:
            self._arrow.remove()
            self._arrow = None

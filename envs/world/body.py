"""A robot in a world, as the engine has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from training_ground.assets.model import CompiledModel
from training_ground.envs import ballast as ballast_points
from training_ground.envs.actuator import ActuatorParameters
from training_ground.envs.drive import Drive
from training_ground.envs.states import LinkState
from training_ground.envs.world.engine import engine
from training_ground.envs.world.solid import Solid

if TYPE_CHECKING:
    from training_ground.envs.world.scene import World


class Body(Solid):
    """A robot in a world.

    Attributes:
        model: The compiled model it came from.
    """

    def __init__(
        self,
        world: World,
        model: CompiledModel,
        *,
        fixed: bool,
        visuals: bool,
        self_collision: bool,
        ballast: Sequence[ballast_points.Point],
    ) -> None:
        self.model = model
        path = model.visual_urdf if visuals else model.urdf
        changed = ballast_points.with_ballast(path, ballast) if ballast else None
        try:
            super().__init__(
                world,
                changed or path,
                model.name,
                model.base_link,
                model.joint_names,
                fixed=fixed,
                position=(0.0, 0.0, model.default_height),
                self_collision=self_collision,
            )
        finally:
            if changed:
                changed.unlink()
        self._ballast_index = [self._link_index[f"ballast_{i}"] for i in range(len(ballast))]
        moments = dict(zip(model.link_names, model.principal_inertia.tolist(), strict=True))
        for name, link in self._link_index.items():
            self._set_surface(link, 1.0, moments.get(name, [ballast_points.MASS * 1e-6] * 3))
        if self_collision:
            for a, b in model.disabled_collisions:
                engine.setCollisionFilterPair(self.uid, self.uid, self._link(a), self._link(b), 0, self._client)
        info = {i: engine.getDynamicsInfo(self.uid, i, self._client) for i in self._link_index.values()}
        self._inertias = {i: (values[0], values[2]) for i, values in info.items()}

    def drive(self, links: Sequence[str] = ()) -> Drive:
        """Give the robot its motors; `World.advance` computes them in every physics step.

        Args:
            links: Links whose state `link_state` shall have at no cost after each advance, beside the base.
        """
        self._read_links = {name: i for i, name in enumerate((self.model.base_link, *links))}
        numbers = [self._link(name) for name in links]
        self._offsets = [self._inertial_frame(number) for number in (-1, *numbers)]
        self._drive = self.world.substeps.drive(self, ActuatorParameters.from_model(self.model), numbers)
        if self.model.sliding:
            slides = np.isin(self.model.joint_names, self.model.sliding)
            self._drive.target_speed = np.where(slides, self.model.velocity_limit, np.inf)
        return self._drive

    def link_state(self, name: str) -> LinkState:
        """State of a link's frame: of the base and the links that `drive` was given after the last `World.advance` or
        `Drive.read`, of any other now."""
        row = self._read_links.get(name)
        if row is not None:
            return self._frame_of(self._drive.frames[row].tolist(), self._offsets[row])
        link = self._link(name)
        return self._frame_of(self.read_frames([link])[-1], self._inertial_frame(link))

    def set_masses(self, scale: float = 1.0, link: str | None = None, shares: Sequence[float] = ()) -> None:
        """Scale the robot's masses, and move shares of one link's mass to the ballast points.

        Args:
            scale: Factor on the mass and the inertia of every link; 1 is the compiled model.
            link: The link that gives mass away.
            shares: (k,) fraction of that link's mass for each of the first ballast points; their sum is below 1.
        """
        for index, (mass, diagonal) in self._inertias.items():
            kept = 1.0 - sum(shares) if link is not None and index == self._link_index[link] else 1.0
            self._set_mass(index, mass * scale * kept, [d * scale for d in diagonal])
        for index, share in zip(self._ballast_index, shares, strict=False):
            mass = self._inertias[self._link_index[link or ""]][0] * scale * share + ballast_points.MASS
            self._set_mass(index, mass, [mass * 1e-6] * 3)

    def set_ballast(self, point: int, mass: float) -> None:
        """Set the mass of a ballast point, kg; `set_masses` takes it away again."""
        mass += ballast_points.MASS
        self._set_mass(self._ballast_index[point], mass, [mass * 1e-6] * 3)

    def _set_mass(self, index: int, mass: float, diagonal: list[float]) -> None:
        # The inertia must come with the mass, or the engine recomputes it from the colliders.
        engine.changeDynamics(self.uid, index, mass=mass, localInertiaDiagonal=diagonal, physicsClientId=self._client)

"""What a specification corrects in a published URDF: wrong limits and missing inertias."""

from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase

import numpy as np

from training_ground.assets.inertia import Inertia
from training_ground.assets.spec import RobotSpec
from training_ground.assets.urdf import Urdf
from training_ground.configs.errors import AssetError, unknown


def corrected(urdf: Urdf, spec: RobotSpec) -> Urdf:
    """Return the URDF with the specification's `position_limits` and `inertias` in place of its own.

    Raises:
        AssetError: A key names no joint or link, a lower limit is not below its upper one, or an inertia is
            not positive.
    """
    joints = dict(urdf.joints)
    for key, (lower, upper) in spec.position_limits.items():
        matched = [name for name, joint in joints.items() if joint.moves and fnmatchcase(name, key)]
        if not matched:
            raise AssetError(f"position_limits: {unknown('joint', key, joints)}")
        if lower >= upper:
            raise AssetError(f"position_limits.{key}: lower {lower} is not below upper {upper}")
        for name in matched:
            if name == key or name not in spec.position_limits:
                joints[name] = dataclasses.replace(joints[name], lower=lower, upper=upper)
    links = dict(urdf.links)
    for name, values in spec.inertias.items():
        if name not in links:
            raise AssetError(f"inertias: {unknown('link', name, links)}")
        xx, xy, xz, yy, yz, zz = values
        matrix = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        if np.linalg.eigvalsh(matrix)[0] <= 0.0:
            raise AssetError(f"inertias.{name} = {list(values)}: must be positive about every axis")
        old = links[name].inertia
        links[name] = dataclasses.replace(links[name], inertia=Inertia(old.mass, old.centre, matrix))
    return dataclasses.replace(urdf, joints=joints, links=links)

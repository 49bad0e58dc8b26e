"""The simulated robots against Pinocchio on their source URDFs: mass matrix, gravity torques, kinematics, motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _measure import quick, report, target

from training_ground.assets.catalog import robot_names
from training_ground.configs.errors import AssetError
from training_ground.envs.audit import audit_robot

CHECKS = ("mass matrix", "gravity", "link positions", "link orientations", "acceleration in motion")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    errors: dict[str, dict[str, float]] = {}
    failed: list[str] = []
    try:
        for robot in robot_names():
            rows = audit_robot(robot, configurations=5 if short else 100)
            failed += [f"{row.robot}: {row.check}: {row.detail}" for row in rows if row.verdict == "fail"]
            values = {row.check: row.value for row in rows if row.value is not None}
            errors[robot] = {
                check: max(values.get(check, float("inf")), values.get(f"{check} with armature", float("inf")))
                for check in CHECKS
            }
    except AssetError as problem:  # Pinocchio is an extra
        return report({"targets": [target(str(problem), None, "", at_most=1e-6)]})
    worst = {check: max(errors[robot][check] for robot in errors) for check in CHECKS}
    return report(
        {
            "targets": [
                target(f"{check} against Pinocchio, {len(errors)} robots", worst[check], "relative", at_most=1e-6)
                for check in CHECKS
            ],
            "robots": errors,
            "audit_failures": failed,
        }
    )


if __name__ == "__main__":
    main()

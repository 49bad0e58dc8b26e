"""Wall time of `tg smoke`: every task on every robot, in every stance and control mode."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from _measure import quick, report, target

CODE = "import sys; from training_ground.cli.main import main; sys.exit(main())"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    chosen = ["--robot", "g1_legs"] if quick(argv, __doc__) else []
    command = [sys.executable, "-c", CODE, "smoke", "--json", *chosen]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.monotonic() - started
    start = done.stdout.find("{")
    told = json.loads(done.stdout[start:]) if start >= 0 else {}
    return report(
        {
            "targets": [
                target("tg smoke over every environment and robot", wall, "s wall", at_most=60),
                target("its exit status", done.returncode, "", at_most=0),
            ],
            "only": chosen,
            "smoke": {key: value for key, value in told.items() if not isinstance(value, list)},
            "stderr": done.stderr[-500:],
        }
    )


if __name__ == "__main__":
    main()

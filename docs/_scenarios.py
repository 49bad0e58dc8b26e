"""The page of scenarios: what the catalogue lists, and what `tg scenarios check` found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _generate import table

from training_ground.envs.fingerprint import fingerprint
from training_ground.envs.scenarios import catalogue

PROOF = Path(__file__).resolve().parent / "results" / "scenarios" / "check.json"
"""What `tg scenarios check --out` wrote."""


def write(folder: Path) -> None:
    """Write the page below `folder`."""
    (folder / "scenarios.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page: a row a scenario; a proof counts only for the hash that it was made for."""
    proved = {one["id"]: one for one in _read()["scenarios"]}
    found = catalogue()
    rows = []
    for one in found.values():
        proof = proved.get(one.id, {})
        valid = proof.get("hash") == fingerprint(one).hash
        expert = proof["expert"] if valid else None
        rows.append(
            (
                f"`{one.id}`",
                ", ".join(one.sectors),
                ": ".join(filter(None, (proof["verdict"], proof["why"]))) if valid else "not checked",
                f"{expert['successes']} of {expert['episodes']}" if expert else "–",
                f"{expert['cycle_median_s']} s" if expert and expert["cycle_median_s"] is not None else "–",
            )
        )
    columns = ("scenario", "sectors", "checked", "the expert's success", "cycle, median")
    return (
        f"# All scenarios\n\n{len(found)} of them; {{doc}}`../scenarios` says what they are and when two differ.\n\n"
        f"{table(columns, rows)}\nMeasured by `tg scenarios check`.\n"
    )


def _read() -> dict[str, Any]:
    return json.loads(PROOF.read_text(encoding="utf-8")) if PROOF.exists() else {"scenarios": []}

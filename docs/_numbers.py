"""Put the measured numbers into the README's table: `python docs/_numbers.py out/bench.json`, after `make bench`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- numbers -->", "<!-- /numbers -->"


def rows(results: dict[str, dict[str, Any]]) -> list[str]:
    """One Markdown row for each target of each benchmark, those missed included."""
    lines = ["| what | target | measured | met |", "|---|---|---|---|"]
    for name, result in results.items():
        if "error" in result:
            lines.append(f"| {name} | | {result['error']} | no |")
        for target in result.get("targets", []):
            bound = f"≥ {target['at_least']:g}" if "at_least" in target else f"≤ {target['at_most']:g}"
            value = target["value"]
            shown = "not measured" if value is None else f"{value:.3g}"
            unit = f" {target['unit']}" if target.get("unit") not in (None, "", "1") else ""
            lines.append(
                f"| {target['what']} | {bound}{unit} | {shown}{unit} | {'yes' if target['met'] else '**no**'} |"
            )
    return lines


def main(path: Path) -> None:
    """Replace what stands between the two marks; an exit message where the marks are missing."""
    table = "\n".join([START, *rows(json.loads(path.read_text(encoding="utf-8"))["results"]), END])
    text = README.read_text(encoding="utf-8")
    if START not in text or END not in text:
        sys.exit(f"{README}: the marks {START} and {END} are missing")
    README.write_text(re.sub(f"{START}.*{END}", lambda _: table, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/bench.json"))

"""Measure speed, accuracy and memory against their targets.

A benchmark is a script `benchmarks/<name>.py` that prints one JSON object. A key `targets` in it, a list of
`{"what", "value", "unit", "at_least" or "at_most", "met"}`, becomes the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from training_ground.cli.common import emit, json_option, progress, table
from training_ground.configs.errors import ConfigError, unknown

SECONDS = 1800
"""Limit of one benchmark."""


def scripts(folder: Path) -> dict[str, Path]:
    """Benchmarks in `folder`, by name.

    Raises:
        ConfigError: There is no such folder, or nothing in it.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if not found:
        raise ConfigError(
            f"folder '{folder}': holds no benchmarks; they come with the repository, not with the wheel "
            "(run in a checkout, or give --folder)"
        )
    return found


def run_one(path: Path, quick: bool) -> dict[str, Any]:
    """Run one script in a process of its own, so that its memory and its threads are its own.

    Returns:
        Its JSON object, or `{"error": text}`.
    """
    command = [sys.executable, str(path), *(["--quick"] if quick else [])]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {SECONDS} s"}
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": f"exit status {done.returncode}: {lines[-1] if lines else 'no message'}"}
    start = done.stdout.find("{")
    try:
        result = json.loads(done.stdout[start:]) if start >= 0 else None
    except ValueError:
        result = None
    return result if isinstance(result, dict) else {"error": "printed no JSON object"}


def rows(results: dict[str, dict[str, Any]]) -> Iterable[tuple[str, str, str, str, str]]:
    """Table rows (benchmark, what, value, target, met) of every target in `results`."""
    for name, result in results.items():
        if "error" in result:
            yield name, str(result["error"]), "", "", "failed"
        for target in result.get("targets", []):
            bound = f"≥ {target['at_least']}" if "at_least" in target else f"≤ {target.get('at_most', '')}"
            value = target.get("value")
            shown = f"{value:.4g}" if isinstance(value, (int, float)) else str(value)
            met = "yes" if target.get("met") else "no"
            yield name, str(target.get("what", "")), f"{shown} {target.get('unit', '')}".strip(), bound, met


def _write(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


@click.command(
    epilog="""\b
Examples:
  tg bench                      every benchmark, several minutes
  tg bench --quick              the same with fewer repetitions
  tg bench step reset --json    two of them, as JSON
  tg bench --out out/bench.json"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Fewer repetitions: numbers that show the order of magnitude.")
@click.option("--list", "only_list", is_flag=True, help="List the benchmarks and stop.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the JSON into this file as well.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(__file__).parent.parent / "benchmarks",
    help="Folder of the scripts.",
)
@json_option
def command(names: tuple[str, ...], quick: bool, only_list: bool, out: Path | None, folder: Path, as_json: bool) -> int:
    """Run the benchmarks and gather their JSON; exit status 1 if one fails or misses its target."""
    found = scripts(folder)
    for name in names:
        if name not in found:
            raise ConfigError(unknown("benchmark", name, found))
    chosen = {name: found[name] for name in names or found}
    if only_list:
        emit({"benchmarks": list(chosen)}, as_json, list(chosen))
        return 0
    results: dict[str, dict[str, Any]] = {}
    with progress("bench", len(chosen), unit="benchmarks", quiet=as_json) as shown:
        for name, path in chosen.items():
            shown.advance(0, name)
            results[name] = run_one(path, quick)
            shown.advance(1, name)
            if out is not None:
                _write(out, {"quick": quick, "results": results})  # after each: an interrupt keeps what was measured
    met = all("error" not in r and all(t.get("met") for t in r.get("targets", [])) for r in results.values())
    shown_rows = table("", ("benchmark", "what", "measured", "target", "met"), rows(results))
    emit({"quick": quick, "all_met": met, "results": results}, as_json, [shown_rows])
    return 0 if met else 1

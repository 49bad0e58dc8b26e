"""Every benchmark runs and prints what `tg bench` reads; whether it meets its target is for a quiet machine to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from training_ground.cli.bench import run_one, scripts

SCRIPTS = scripts(Path(__file__).parent.parent / "benchmarks")
LONG = {"memory", "smoke", "standing"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - LONG))
def test_benchmark_prints_its_targets(name):
    result = run_one(SCRIPTS[name], quick=True)
    assert "error" not in result, result
    assert result["targets"] and result["machine"]["cores"]
    for target in result["targets"]:
        assert set(target) == {"what", "value", "unit", "met"} | ({"at_least", "at_most"} & set(target))
        assert len({"at_least", "at_most"} & set(target)) == 1
        assert target["value"] is None or isinstance(target["value"], (int, float))

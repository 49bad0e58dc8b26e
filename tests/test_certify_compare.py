"""Two product tests side by side: what is paired, what the tests say, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certified import made, sealed, write

from training_ground.agents.certification.compare import compare, protocol_differences
from training_ground.agents.certification.result import Result
from training_ground.agents.statistics import mcnemar_p_value
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError

SMALL: dict[str, Any] = {
    "sweeps": {"friction": {"values": [0.3, 1.0], "seeds": 12}},
    "thresholds": {"success": {"at_least": 0.8}},
    "resamples": 100,
}


@pytest.fixture(scope="module")
def steady() -> Result:
    return made("steady", 0.97, 1.0, 1, 50, SMALL)


@pytest.fixture(scope="module")
def hasty() -> Result:
    return made("hasty", 0.6, 0.85, 2, 50, SMALL)


def row(found: Any, where: str, metric: str) -> Any:
    return next(one for one in found.rows if (one.where, one.metric) == (where, metric))


def test_each_side_is_better_in_what_it_is_better_in(steady: Result, hasty: Result) -> None:
    found = compare(steady, hasty)
    success, time = row(found, "press, nominal", "success"), row(found, "press, nominal", "cycle_time")
    a, b = ([t.success for t in r.conditions[0].trials] for r in (steady, hasty))
    assert (success.first, success.second) == (np.mean(a), np.mean(b))
    assert success.p == mcnemar_p_value(a, b) and success.test == "McNemar, exact"
    assert success.verdict == "first" and success.low > 0 and success.improvement > 0.5
    assert time.verdict == "second" and time.low > 0 and time.better == "lower" and time.improvement < 0.5
    assert "steady is better than hasty" in success.sentence and "hasty is better than steady" in time.sentence
    assert time.pairs == sum(x and y for x, y in zip(a, b, strict=True))
    assert found.differences == () and found.notes == ()


def test_the_other_way_round_is_the_same(steady: Result, hasty: Result) -> None:
    there, back = compare(steady, hasty), compare(hasty, steady)
    assert [one.p for one in there.rows] == [one.p for one in back.rows]
    for one, other in zip(there.rows, back.rows, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert one.improvement == pytest.approx(1 - other.improvement)
        assert (one.verdict == "open") == (other.verdict == "open")
        if one.share and one.test == "McNemar, exact":
            assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


def test_a_policy_does_not_differ_from_itself(steady: Result) -> None:
    found = compare(steady, steady)
    assert {one.verdict for one in found.rows} == {"open"}
    assert all(one.p == one.p_corrected == 1.0 and one.difference == 0.0 for one in found.rows)
    assert all(one.low <= 0 <= one.high for one in found.rows)


def test_p_values_are_corrected_for_all_rows(steady: Result, hasty: Result) -> None:
    rows = sorted(compare(steady, hasty).rows, key=lambda one: one.p)
    assert rows[0].p_corrected == pytest.approx(min(1.0, len(rows) * rows[0].p))
    assert all(one.p_corrected >= one.p for one in rows)


def test_a_seed_counts_once_over_several_conditions(steady: Result, hasty: Result) -> None:
    """Every trial told twice, as two tiers: pairs double, but neither interval nor p-value gets better."""
    once = [r.model_copy(update={"conditions": r.conditions[:1]}) for r in (steady, hasty)]
    twice = []
    for result in once:
        first = result.conditions[0]
        copy = first.model_copy(update={"id": f"{first.id}/again", "tier": "tight"})
        twice.append(result.model_copy(update={"conditions": (first, copy)}))
    pooled = row(compare(twice[0], twice[1]), "all that is not varied", "success")
    single = row(compare(once[0], once[1]), "press, nominal", "success")
    assert pooled.pairs == 2 * single.pairs
    assert (pooled.low, pooled.high) == pytest.approx((single.low, single.high))
    assert pooled.p == pytest.approx(single.p, abs=0.01)


def test_protocols_that_differ_are_refused_unless_told(steady: Result) -> None:
    other = made("other", 0.9, seed=3, count=40, protocol=SMALL)
    assert protocol_differences(steady, other) == ["seeds.count: 50 and 40"]
    with pytest.raises(AgentError, match=r"the protocols differ in 1 places: seeds\.count: 50 and 40.*--across"):
        compare(steady, other)
    found = compare(steady, other, across=True)
    assert found.differences == ("seeds.count: 50 and 40",)
    assert row(found, "press, nominal", "success").pairs == 40, "the seeds that both have"


def test_other_code_and_robots_are_told(steady: Result, hasty: Result) -> None:
    robot = hasty.scenarios[0].model_copy(update={"robot": "talos", "model_hash": "ef" * 32})
    found = compare(steady, hasty.model_copy(update={"scenarios": (robot,), "commit": "1" * 40, "versions": {}}))
    told = " | ".join(found.notes)
    assert "code: 0000" in told and "pybullet: 3.2.7 and none" in told and "not the same environment" in told


def test_nothing_in_common_is_refused(steady: Result, hasty: Result) -> None:
    moved = [c.model_copy(update={"id": f"{c.id}x"}) for c in hasty.conditions]
    with pytest.raises(AgentError, match="nothing can be paired"):
        compare(steady, hasty.model_copy(update={"conditions": tuple(moved)}))


def test_verb(steady: Result, hasty: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (str(write(r, tmp_path / f"{r.policy.name}.json")) for r in (steady, hasty))
    assert main(["compare", first, second]) == 0
    shown = capsys.readouterr().out
    assert "first: steady    second: hasty" in shown and "press, nominal, success: steady is better" in shown
    page = tmp_path / "compare.html"
    assert main(["compare", first, second, "--html", str(page), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["rows"] and data["problems"] == [] and data["first"]["policy"] == "steady"
    text = page.read_text()
    assert "A is better" in text and "B is better" in text and text.count("<svg") == 3, "one sweep, two tiers' times"
    assert "<script" not in text
    damaged = sealed(hasty.model_copy(update={"verdict": "pass"}))
    assert main(["compare", first, str(write(damaged, tmp_path / "damaged.json"))]) == 1
    assert "verdict: does not follow" in capsys.readouterr().out
    other = write(made("other", 0.9, seed=3, count=40, protocol=SMALL), tmp_path / "other.json")
    assert main(["compare", first, str(other)]) == 2
    assert "--across" in capsys.readouterr().err

"""How a test's numbers, conditions and commands are written."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence

from training_ground.agents.certification.result import NOMINAL, STOP, ConditionResult, MetricResult, Result, Trial

_BARE = re.compile(r"[a-z][a-z0-9_]*")
_NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
"""What YAML takes for something else."""
VERDICTS = {"pass": "Passed", "fail": "Failed", "inconclusive": "Inconclusive"}
STYLES = {"pass": "good", "fail": "bad", "inconclusive": "unsure"}
METHODS = {
    "wilson": "Wilson score",
    "bootstrap": "bootstrap",
    "poisson": "Poisson, exact",
    "order": "order statistics",
}
TAGS = {
    "perception": "what it sees",
    "decision": "what it chooses to do",
    "execution": "how well it is done",
    "cooperation": "how safely it works beside people",
}
FACTORS = {"friction": "", "mass": "×", "latency": "steps", "delay": "s", "noise": "×", "motor_strength": "×"}
"""Units of what is swept."""


def amount(value: float | None, unit: str, share: bool = False) -> str:
    """Return a number with its unit, or a share as per cent."""
    if value is None or not math.isfinite(value):
        return "–"
    if share:
        return f"{100 * value:.1f} %"
    if unit == "m" and abs(value) < 0.1:
        value, unit = 1000 * value, "mm"
    return f"{_number(value)} {'' if unit == '1' else unit}".strip().replace("-", "−")


def _number(value: float) -> str:
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.2e}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def duration(ms: float | None) -> str:
    """Return a time given in ms."""
    return amount(ms, "ms") if ms is None or ms >= 1 else amount(1000 * ms, "µs")


def found(metric: MetricResult) -> str:
    """Return a metric's value."""
    return _of(metric, metric.value)


def span(metric: MetricResult) -> str:
    """Return a metric's interval."""
    if metric.low is None and metric.high is None:
        return "–"
    if metric.high is None:
        return f"at least {_of(metric, metric.low)}"
    if metric.low is None:
        return f"at most {_of(metric, metric.high)}"
    low, high = _of(metric, metric.low), _of(metric, metric.high)
    number, _, unit = low.partition(" ")
    return f"{number if unit and high.endswith(f' {unit}') else low} to {high}"


def asked(metric: MetricResult) -> str:
    """Return what is asked of a metric."""
    if metric.at_least is not None:
        return f"≥ {_of(metric, metric.at_least)}"
    return f"≤ {_of(metric, metric.at_most)}" if metric.at_most is not None else ""


def _of(metric: MetricResult, value: float | None) -> str:
    return amount(value, metric.unit, share=metric.interval == "wilson")


def plain(name: str) -> str:
    """Return `cycle_time` as people say it."""
    return name.replace("_", " ").replace("limit.", "limit: ")


def condition_name(condition: ConditionResult) -> str:
    """Return a condition in words."""
    parts = [condition.scenario, condition.tier]
    if condition.axis == STOP:
        parts.append("emergency stop")
    elif condition.axis != NOMINAL:
        parts.append(f"{plain(condition.axis)} {condition.value}")
    return " · ".join(parts)


def nominal(result: Result) -> list[ConditionResult]:
    """Return the conditions in which nothing is swept."""
    return [c for c in result.conditions if c.axis == NOMINAL]


def unstopped(result: Result) -> list[ConditionResult]:
    """Return the conditions in which nobody presses the red button: of the others success tells nothing."""
    return [c for c in result.conditions if c.axis != STOP]


def seed_range(trials: Sequence[Trial]) -> str:
    """Return the seeds of trials."""
    seeds = sorted(t.seed for t in trials)
    if not seeds:
        return "none"
    if len(seeds) == 1:
        return str(seeds[0])
    whole = seeds[-1] - seeds[0] + 1 == len(seeds)
    return f"{seeds[0]} to {seeds[-1]}" + ("" if whole else f", {len(seeds)} of them")


def environment_line(result: Result, condition: ConditionResult) -> str:
    """Return the task and its arguments as `tg eval` and `tg play` take them."""
    info = next((s for s in result.scenarios if s.name == condition.scenario), None)
    words = ["--policy", result.policy.name, "--task", info.env_id if info else condition.scenario]
    for key, value in condition.kwargs.items():
        if key == "robot" and isinstance(value, str):
            words += ["--robot", value]
        else:
            bare = isinstance(value, str) and _BARE.fullmatch(value) and value not in _NOT_TEXT
            words += ["--set", f"{key}={value if bare else json.dumps(value)}"]
    return " ".join(shlex.quote(word) for word in words)


def eval_line(result: Result, condition: ConditionResult) -> str:
    """Return the command that measures a condition's success again."""
    first, count = min((t.seed for t in condition.trials), default=0), len(condition.trials)
    return f"tg eval {environment_line(result, condition)} --seed {first} --episodes {count}"


def play_line(result: Result, condition: ConditionResult, seed: int) -> str:
    """Return the command that shows a trial."""
    return f"tg play {environment_line(result, condition)} --seed {seed}"


def whole_line(result: Result) -> str | None:
    """Return the command of the whole test as it was typed; None where the file names another program.

    The words are a stranger's: each is quoted, so that a shell takes it for one word of this command.
    """
    words = result.session.command
    if len(words) < 2 or words[0] != "tg" or words[1] != "certify":
        return None
    return " ".join(shlex.quote(word) for word in words)

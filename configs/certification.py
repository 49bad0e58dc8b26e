"""The schema of `configs/certify`: a product test. Which scenarios, how many seeds, what is varied, what must hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from training_ground.configs.errors import ConfigError, unknown
from training_ground.configs.loading import StrictModel, apply_overrides, load_yaml, validate
from training_ground.configs.presets import preset_path

VERB = "certify"
FIRST_SEED = 1_000_000
"""Training draws from the seeds below it (`agents/seeds.py`)."""

MAX_DRAWS = 40_000_000
"""Trials that a bootstrap draws: what it takes of memory, also where somebody else's result is checked."""

Line = Annotated[str, Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
Count = Annotated[int, Field(ge=1, le=10_000)]
Value = Annotated[int | float | Annotated[str, Field(max_length=100)], Field(union_mode="smart")]

AXES = {
    "friction": "randomisation.friction",
    "mass": "randomisation.mass_scale",
    "latency": "noise.latency_steps",
    "delay": "randomisation.delay_s",
    "noise": "noise.scale",
    "motor_strength": "randomisation.motor_strength",
    "motor_loss": "randomisation.lost_motors",
    "pushes": "push_speed",
    "unseen_parts": "tier",
}
"""What can be varied, and the argument of the environment that does it. A value is for both ends of a range; that of
`noise` is a factor on the sensor noise of `envs/randomisation.py`; that of `unseen_parts` a tier of the cell, for each
tier has parts of its own."""


class Scenario(StrictModel):
    """An environment that the policy is tested in."""

    task: str
    """Such as `Stand`."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments: the robot and everything that the test is made of. What is left is how the policy acts and
    what it sees, and that comes from the policy."""
    takt_s: Annotated[float, Field(gt=0)] | None = None
    """s in which a cycle must be done; None where there is no takt."""


class Seeds(StrictModel):
    """Of the trials: `count` of them, from `first` on."""

    first: Annotated[int, Field(ge=FIRST_SEED, lt=2**31 - 100_000)] = FIRST_SEED
    count: Count = 200


class Tier(StrictModel):
    """How hard: in a factory cell one of its tiers, elsewhere arguments of the environment."""

    env: dict[str, Any] = Field(default_factory=dict)
    seeds: Count | None = None
    """Number; that of the protocol where absent."""


class Sweep(StrictModel):
    """One thing that is varied, all else as in the tier."""

    values: Annotated[tuple[Value, ...], Field(min_length=1, max_length=50)]
    option: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Dotted argument of the environment; where absent that of the axis in `AXES`."""
    tiers: Annotated[tuple[Name, ...], Field(min_length=1)] = ("nominal",)
    seeds: Count = 50

    @model_validator(mode="after")
    def _once_each(self) -> Sweep:
        double = next((v for i, v in enumerate(self.values) if v in self.values[:i]), None)
        if double is not None:
            raise ValueError(f"values: {double!r} stands twice")
        return self


class EmergencyStop(StrictModel):
    """Trials in which the red button of a cell is pressed while the robot works."""

    seeds: Count = 30
    at_s: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (1.0, 3.0)
    """Range from which the moment is drawn with the trial's seed, s."""
    tiers: Annotated[tuple[Name, ...], Field(min_length=1)] = ("nominal",)

    @model_validator(mode="after")
    def _in_order(self) -> EmergencyStop:
        if self.at_s[0] > self.at_s[1]:
            raise ValueError(f"at_s = {list(self.at_s)}: the first number of a range must not exceed the second")
        return self


class Threshold(StrictModel):
    """What a metric must be; exactly one of `at_least` and `at_most`."""

    metric: Name | None = None
    """The threshold's own name where absent."""
    at_least: float | None = None
    at_most: float | None = None
    scenario: Name | None = None
    """All where absent."""
    tier: Name | None = None
    """All where absent."""
    sweep: Name | None = None
    """Axis; where absent the threshold is for what is not swept."""
    value: Value | None = None
    """Of the sweep; all where absent."""
    source: Line | None = None
    """Where the number comes from."""

    @model_validator(mode="after")
    def _one_side(self) -> Threshold:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        if self.value is not None and self.sweep is None:
            raise ValueError(f"value = {self.value!r}: belongs to a sweep; give sweep as well")
        return self


class SafetyLimit(StrictModel):
    """What a quantity may be in a trial. How many trials may be beyond it is judged like a threshold, by interval."""

    at_most: float
    unit: Annotated[str, Field(max_length=30)] = "1"
    source: Line
    """The standard, table or specification that the number comes from."""
    tolerated: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of trials beyond the limit that the interval must lie below."""
    tier: Name | None = None
    """All where absent."""


class Protocol(StrictModel):
    """`configs/certify/<name>.yaml`: a product test, whole."""

    title: Line
    description: Annotated[str, Field(max_length=5000)] = ""
    scenarios: Annotated[dict[Name, Scenario], Field(min_length=1)]
    tiers: Annotated[dict[Name, Tier], Field(min_length=1)] = Field(default_factory=lambda: {"nominal": Tier()})
    seeds: Seeds = Seeds()
    sweeps: dict[Name, Sweep] = Field(default_factory=dict)
    emergency_stop: EmergencyStop | None = None
    limits: dict[Name, SafetyLimit] = Field(default_factory=dict)
    """By the quantity of a trial."""
    thresholds: Annotated[dict[Name, Threshold], Field(min_length=1)]
    """By name; a test that asks for nothing cannot be passed."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100, le=10_000)] = 2000
    """Of each bootstrap."""

    @model_validator(mode="after")
    def _bootstraps_fit(self) -> Protocol:
        most = max(self.seeds.count, *(tier.seeds or 0 for tier in self.tiers.values()))
        most = max([most, *(sweep.seeds for sweep in self.sweeps.values())])
        if most * self.resamples > MAX_DRAWS:
            raise ValueError(f"resamples = {self.resamples}: with {most} seeds at most {MAX_DRAWS // most}")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Protocol:
        for axis, sweep in self.sweeps.items():
            if sweep.option is None and axis not in AXES:
                raise ValueError(f"sweeps: {unknown('axis', axis, AXES)}; any other needs 'option'")
            for tier in sweep.tiers:
                _require("tier", tier, self.tiers, f"sweeps.{axis}.tiers")
        for tier in self.emergency_stop.tiers if self.emergency_stop else ():
            _require("tier", tier, self.tiers, "emergency_stop.tiers")
        for name, one in self.thresholds.items():
            where = f"thresholds.{name}"
            _require("scenario", one.scenario, self.scenarios, f"{where}.scenario")
            _require("tier", one.tier, self.tiers, f"{where}.tier")
            _require("sweep", one.sweep, self.sweeps, f"{where}.sweep")
            if one.value is not None and one.value not in self.sweeps[str(one.sweep)].values:
                allowed = ", ".join(str(v) for v in self.sweeps[str(one.sweep)].values)
                raise ValueError(f"{where}.value = {one.value!r}: not swept. Allowed: {allowed}")
            if one.sweep is not None and one.tier not in (None, *self.sweeps[one.sweep].tiers):
                raise ValueError(f"{where}.tier = {one.tier!r}: the sweep '{one.sweep}' is not done in it")
        for name, limit in self.limits.items():
            _require("tier", limit.tier, self.tiers, f"limits.{name}.tier")
        return self


def _require(kind: str, name: str | None, allowed: Collection[str], where: str) -> None:
    if name is not None and name not in allowed:
        raise ValueError(f"{where}: {unknown(kind, name, allowed)}")


def load_protocol(
    name_or_path: str | Path, overrides: Sequence[str], metrics: Mapping[str, bool], quantities: Collection[str]
) -> tuple[str, Protocol]:
    """Return a protocol's short name and what it says.

    Args:
        name_or_path: A file of `configs/certify`, or a path.
        overrides: Such as `seeds.count=20`.
        metrics: Names of the metrics that there are, and whether one can be judged.
        quantities: Names of the quantities of a trial that can be limited.

    Raises:
        ConfigError: There is none, or it does not follow the schema or names what there is not.
    """
    path = preset_path(VERB, name_or_path)
    found = validate(Protocol, apply_overrides(load_yaml(path), overrides), str(path))
    for name, one in found.thresholds.items():
        metric = one.metric or name
        where = f"{path}: thresholds.{name}"
        if metric not in metrics:
            raise ConfigError(f"{where}: {unknown('metric', metric, metrics)}")
        if not metrics[metric]:
            raise ConfigError(f"{where}: '{metric}' is a figure of this machine's clock: it is reported and not judged")
    for name in found.limits:
        if name not in quantities:
            raise ConfigError(f"{path}: limits: {unknown('quantity', name, quantities)}")
    short = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)
    return short, found

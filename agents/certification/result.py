"""The result of a product test, as the file that reports, comparisons and leaderboards are made from.

Everything but `session` follows from protocol, policy and code: the same test run twice has the same `identity`. What
the wall clock says, and where it was said, stands in `session`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from training_ground.agents.bundle_format import Json, Provenance, read_capped, read_json
from training_ground.agents.files import to_json
from training_ground.agents.machine import Machine
from training_ground.configs.certification import Protocol, Value
from training_ground.configs.loading import StrictModel
from training_ground.datasets.schema import canonical_json

FORMAT_VERSION = 1
MAX_BYTES = 256_000_000
FILE = "result.json"
SIGNATURE_SUFFIX = ".sig"
"""Of the file beside a result that holds its signature."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=0, le=1_000_000_000)]
Judgement = Literal["pass", "fail", "inconclusive"]
Tag = Literal["perception", "decision", "execution", "cooperation"]
Interval = Literal["wilson", "bootstrap", "poisson", "order"]
NOMINAL, STOP = "none", "emergency_stop"
"""Axes of conditions in which nothing is swept, and in which the red button is pressed."""


class ProtocolInfo(StrictModel):
    """The protocol, whole."""

    name: str
    sha256: Digest
    """Of `content` as canonical JSON."""
    content: Protocol


class PolicyUnderTest(StrictModel):
    """Who was tested."""

    name: str
    kind: Literal["bundle", "expert", "zero", "random", "other"]
    sha256: Digest | None
    """Of a bundle's files that decide what it does; None where there is no bundle, and `commit` says all."""
    runtime: str | None
    """What ran the network."""
    provenance: Provenance | None
    """Of a bundle: where its weights come from."""


class ScenarioInfo(StrictModel):
    """An environment of the test."""

    name: str
    """In the protocol."""
    env_id: str
    robot: str
    model_hash: str
    """Of the compiled robot."""
    control_rate: float
    """Hz."""
    fingerprint: Digest | None
    """Of the scenario in its nominal tier (`envs/fingerprint.py`); None outside of factory cells."""


class Trial(StrictModel):
    """One episode. What a task does not have is None."""

    seed: Number
    success: bool
    """The task's success predicate at the end."""
    success_any: bool
    """It held at some step."""
    failure: str | None
    """Why it was terminated, such as `fall`; None where it was not."""
    steps: Number
    """Control steps."""
    seconds: float
    """Simulated."""
    total_reward: float
    cycle_time: float | None = None
    """s until success held, of a trial that succeeds."""
    energy: float | None = None
    """J: sum over control steps and joints of |torque × speed| × time."""
    distance: float | None = None
    """m that the base of a free robot travelled."""
    contact_share: float | None = None
    """Largest force on a person as a share of its limit."""
    contact_steps: Number | None = None
    """Control steps in which such a force was beyond its limit."""
    separation_steps: Number | None = None
    """Control steps in which the robot was nearer to a person than the protective distance."""
    least_separation: float | None = None
    """m to the nearest person."""
    hand_force: float | None = None
    """Largest contact force on a hand as a sensor with 3 Hz tells it, N."""
    protective_stops: Number | None = None
    emergency_stops: Number | None = None
    stop_time: float | None = None
    """s of the longest stop."""
    stop_distance: float | None = None
    """m that the hand which went farthest travelled in a stop."""
    pose_errors: Annotated[tuple[tuple[float, float, float], ...], Field(max_length=8)] = ()
    """m: commanded minus attained position of each hand at the end, along the axes of the robot's base (Reach)."""
    pose_accuracy: float | None = None
    """AP of the worst pose of the trial, m (PoseSet)."""
    pose_repeatability: float | None = None
    """RP of the worst pose of the trial, m (PoseSet)."""
    lost_motors: tuple[str, ...] = ()
    """Joints whose motors failed."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """What the environment tells besides, and the mean of each reward term a step (`reward/<term>`)."""

    @property
    def kind(self) -> str:
        """In a word or two: `success`, a failure's name, or `no success` where only the time ran out."""
        return self.failure or ("success" if self.success else "no success")


class MetricResult(StrictModel):
    """A number with its interval, and what follows for a threshold."""

    name: str
    tag: Tag
    unit: str
    value: float | None
    """None where nothing tells."""
    low: float | None
    """Lower end; None where there is none: nothing is known, or the interval is open."""
    high: float | None
    interval: Interval
    confidence: float
    """Of the interval."""
    n: Number
    """Trials, or cycles, that it is taken over."""
    threshold: str | None = None
    """Name in the protocol; None where it is reported and not judged. `limit.<quantity>` for a safety limit."""
    at_least: float | None = None
    at_most: float | None = None
    verdict: Judgement | None = None


class ConditionResult(StrictModel):
    """One condition: a scenario in a tier, with one value of what is swept."""

    id: str
    """Such as `stand/nominal` or `stand/nominal/friction=0.3`."""
    scenario: str
    tier: str
    axis: str
    """`none` where nothing is swept, `emergency_stop` where the red button is pressed."""
    value: Value | None
    kwargs: dict[str, Json]
    """Keyword arguments of the environment: `tg eval --task TASK --set ...` makes the same one."""
    config_hash: str
    """Of all options, resolved."""
    takt_s: float | None
    """s in which a cycle must be done; None where there is no takt."""
    failure_kinds: tuple[str, ...]
    """That the task can end with."""
    trials: tuple[Trial, ...]
    """By seed."""
    metrics: tuple[MetricResult, ...]
    failures: dict[str, Number]
    """Trials without success, by kind."""


class TrialTiming(StrictModel):
    """How long the policy took in a trial, ms by the wall clock."""

    condition: str
    seed: Number
    calls: Number
    misses: Number
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class DeadlineResult(StrictModel):
    """How long the policy took in a condition, ms by the wall clock; misses of the control period."""

    condition: str
    deadline_ms: float
    calls: Number
    misses: Number
    miss_rate: float
    low: float
    high: float
    """Wilson interval of the rate, calls taken as independent."""
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Session(StrictModel):
    """What differs from run to run: who counted, and how fast."""

    command: tuple[str, ...]
    """As it was typed."""
    machine: Machine
    workers: Number
    started: str
    """UTC, ISO 8601: of the run's last part."""
    seconds: float
    """Wall-clock time of the run's last part."""
    resumed: Number
    """Trials that were there before it."""
    deadlines: tuple[DeadlineResult, ...]
    timings: tuple[TrialTiming, ...]


class Result(StrictModel):
    """`result.json`."""

    format: Literal["training-ground-certification"] = "training-ground-certification"
    version: Literal[1] = FORMAT_VERSION
    protocol: ProtocolInfo
    policy: PolicyUnderTest
    commit: str | None
    """Of this code, `+dirty` where files differ from it."""
    versions: dict[str, str]
    """Packages whose versions decide what a simulation gives."""
    scenarios: tuple[ScenarioInfo, ...]
    conditions: tuple[ConditionResult, ...]
    """In the protocol's order: scenario, tier, then what is not swept, sweeps, emergency stops."""
    verdict: Judgement
    reasons: tuple[str, ...]
    """A line for each threshold and limit that is not passed."""
    identity: Digest
    """sha256 of everything above."""
    session: Session


def protocol_sha256(content: dict[str, Any]) -> str:
    """Return the hash of a protocol's content as plain data."""
    return hashlib.sha256(canonical_json(content, "protocol")).hexdigest()


def identity_of(parts: dict[str, Any]) -> str:
    """Return the sha256 of a result's fields, as plain data, but for `identity` and `session`."""
    kept = {key: value for key, value in parts.items() if key not in ("identity", "session")}
    return hashlib.sha256(canonical_json(kept, "result")).hexdigest()


def result_bytes(result: Result) -> bytes:
    """Return the file's content."""
    return to_json(result.model_dump(mode="json")).encode()


def read_result(path: Path) -> Result:
    """Read a result file; whether its numbers follow from its trials is for `agents/certification/checking.py` to say.

    Raises:
        AgentError: It is missing, too large, or follows another schema.
    """
    return read_json(path, read_capped(path, MAX_BYTES), Result)

"""Results of product tests without simulating: trials are drawn, everything else is worked out as `tg certify` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.agents.certification.assembling import conclude, failures
from training_ground.agents.certification.judging import judged
from training_ground.agents.certification.plan import Condition
from training_ground.agents.certification.result import (
    NOMINAL,
    STOP,
    ConditionResult,
    DeadlineResult,
    PolicyUnderTest,
    ProtocolInfo,
    Result,
    ScenarioInfo,
    Session,
    Trial,
    identity_of,
    protocol_sha256,
    result_bytes,
)
from training_ground.agents.machine import Machine
from training_ground.configs.certification import Protocol

PROTOCOL: dict[str, Any] = {
    "title": "Press a button, beside a person",
    "description": "A made-up test.",
    "scenarios": {"press": {"task": "PressButton", "env": {"robot": "g1"}, "takt_s": 4.5}},
    "tiers": {"nominal": {}, "tight": {}},
    "seeds": {"count": 60},
    "sweeps": {"friction": {"values": [0.3, 0.6, 1.0], "seeds": 20}, "unseen_parts": {"values": ["tight", "flow"]}},
    "emergency_stop": {"seeds": 10},
    "limits": {"contact_share": {"at_most": 1.0, "source": "ISO/TS 15066, as a table of limits"}},
    "thresholds": {
        "success": {"at_least": 0.8},
        "cycle_time_p95": {"at_most": 6.0, "source": "the line's takt"},
        "robust": {"metric": "success", "at_least": 0.6, "sweep": "friction"},
    },
}


def made(
    name: str = "steady",
    rate: float = 0.9,
    speed: float = 1.0,
    seed: int = 0,
    count: int = 60,
    protocol: dict[str, Any] | None = None,
) -> Result:
    """Return a result; trials of two policies on the same seed are alike as far as the seed decides.

    Args:
        name: Of the policy.
        rate: How often it succeeds where nothing is varied.
        speed: Factor on its cycle times.
        seed: Of what is its own.
        count: Trials of the nominal conditions.
        protocol: What is asked.
    """
    content = Protocol.model_validate({**PROTOCOL, **(protocol or {}), "seeds": {"count": count}})
    own = np.random.default_rng(seed)
    conditions = tuple(_condition(one, content, rate, speed, own) for one in _conditions(content, count))
    parts: dict[str, Any] = {
        "protocol": ProtocolInfo(name="made", sha256=protocol_sha256(content.model_dump(mode="json")), content=content),
        "policy": PolicyUnderTest(name=name, kind="other", sha256=None, runtime=None, provenance=None),
        "commit": "0" * 40,
        "versions": {"training-ground": "0.1.0", "pybullet": "3.2.7"},
        "scenarios": (
            ScenarioInfo(
                name="press",
                env_id="TrainingGround/PressButton-v0",
                robot="g1",
                model_hash="ab" * 32,
                control_rate=50.0,
                fingerprint=None,
            ),
        ),
        "conditions": conditions,
        **conclude(conditions, content),
    }
    session = Session(
        command=("tg", "certify", "made", "--policy", name, "--out", "out"),
        machine=Machine(processor="made up", cores=2),
        workers=2,
        started="2026-01-02T03:04:05+00:00",
        seconds=12.5,
        resumed=0,
        deadlines=(
            DeadlineResult(
                condition="press/nominal", deadline_ms=20.0, calls=1000, misses=1, miss_rate=0.001, low=0.0002,
                high=0.006, p50_ms=0.05, p99_ms=0.2, max_ms=21.0,
            ),
        ),
        timings=(),
    )  # fmt: skip
    return sealed(Result(**parts, identity="0" * 64, session=session))


def sealed(result: Result) -> Result:
    """Return a result with the identity that its content has."""
    return result.model_copy(update={"identity": identity_of(result.model_dump(mode="json"))})


def write(result: Result, path: Path) -> Path:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(result_bytes(result))
    return path


def _conditions(protocol: Protocol, count: int) -> list[Condition]:
    def condition(tier: str, axis: str, value: Any, seeds: int) -> Condition:
        end = "" if axis == NOMINAL else f"/{axis}" if value is None else f"/{axis}={value}"
        return Condition(
            id=f"press/{tier}{end}",
            scenario="press",
            tier=tier,
            axis=axis,
            value=value,
            env_id="TrainingGround/PressButton-v0",
            kwargs={"robot": "g1", "tier": tier},
            seeds=range(1_000_000, 1_000_000 + seeds),
            stop_at_s=(1.0, 3.0) if axis == STOP else None,
            takt_s=4.5,
            config_hash="cd" * 32,
            failure_kinds=("fall", "over_force"),
        )

    found = [condition(tier, NOMINAL, None, count) for tier in protocol.tiers]
    for axis, sweep in protocol.sweeps.items():
        found += [condition("nominal", axis, value, sweep.seeds) for value in sweep.values]
    return [*found, condition("nominal", STOP, None, 10)]


def _condition(one: Condition, protocol: Protocol, rate: float, speed: float, own: Any) -> ConditionResult:
    harder = {"tight": 0.1}.get(one.tier, 0.0) + (0.3 if one.value == 0.3 else 0.0)
    trials = [_trial(seed, rate - harder, speed, one.axis, own) for seed in one.seeds]
    return ConditionResult(
        id=one.id,
        scenario=one.scenario,
        tier=one.tier,
        axis=one.axis,
        value=one.value,
        kwargs=one.kwargs,
        config_hash=one.config_hash,
        takt_s=one.takt_s,
        failure_kinds=one.failure_kinds,
        trials=tuple(trials),
        metrics=judged(one, trials, protocol),
        failures=failures(trials),
    )


def _trial(seed: int, rate: float, speed: float, axis: str, own: Any) -> Trial:
    luck = np.random.default_rng(seed)
    success = bool(0.7 * luck.random() + 0.3 * own.random() < rate)
    time = float(speed * (3.0 + luck.gamma(2.0, 0.4) + own.normal(0.0, 0.1)))
    kind = ("fall", "over_force", None)[int(own.integers(3))]
    stopped = axis == STOP
    return Trial(
        seed=seed,
        success=success,
        success_any=success,
        failure=None if success else kind,
        steps=round(50 * time),
        seconds=time,
        total_reward=float(success) + 0.1 * float(own.random()),
        cycle_time=time if success else None,
        energy=20.0 * time,
        contact_share=float(luck.random() * 0.9 + (0.4 if own.random() < 0.05 else 0.0)),
        contact_steps=0,
        separation_steps=int(own.random() < 0.02),
        least_separation=float(0.4 + luck.random()),
        stop_time=float(0.2 + 0.1 * own.random()) if stopped else None,
        stop_distance=float(0.05 + 0.02 * own.random()) if stopped else None,
        pose_errors=((0.001 * float(own.normal()), 0.002, -0.001 * float(own.random())),),
    )


def values(result: Result, metric: str) -> Sequence[float | None]:
    """Return a metric of every condition."""
    return [m.value for c in result.conditions for m in c.metrics if m.name == metric]

"""What a product test does: its conditions, each an environment and seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from training_ground.agents.certification.result import NOMINAL, STOP, ScenarioInfo
from training_ground.agents.learned import LearnedPolicy
from training_ground.agents.policy import Policy
from training_ground.agents.stepping import full_id, make_env
from training_ground.agents.sweep import set_option
from training_ground.assets.layout import TIERS
from training_ground.configs.certification import AXES, Protocol, Value
from training_ground.configs.errors import AgentError, TrainingGroundError
from training_ground.envs import scenarios
from training_ground.envs.fingerprint import fingerprint
from training_ground.envs.randomisation import default_noise

INTERFACE = (
    "control", "driven", "observed", "locked", "action_scale", "stiffness_scale", "damping_scale",
    "observation_history", "step_period_s", "step_height", "arm_swing",
)  # fmt: skip
"""Arguments that a policy brings with it: how it acts and what it sees. Everything else is the protocol's: a policy
does not choose how hard it is tested."""


@dataclass(frozen=True)
class Condition:
    """A scenario in a tier, with one value of what is swept.

    Attributes:
        id: Such as `stand/nominal/friction=0.3`.
        scenario, tier, axis, value: As in `ConditionResult`.
        env_id: Task id.
        kwargs: Of the environment.
        seeds: One trial each.
        stop_at_s: Range of the moment of an emergency stop, s; None where there is none.
        takt_s: s; None where there is no takt.
        config_hash: Of all options, resolved.
        failure_kinds: That the task can end with.
    """

    id: str
    scenario: str
    tier: str
    axis: str
    value: Value | None
    env_id: str
    kwargs: dict[str, Any]
    seeds: range
    stop_at_s: tuple[float, float] | None
    takt_s: float | None
    config_hash: str
    failure_kinds: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A product test of one policy.

    Attributes:
        conditions: In the protocol's order.
        scenarios: In the protocol's order.
        versions: Packages that decide what a simulation gives.
    """

    conditions: tuple[Condition, ...]
    scenarios: tuple[ScenarioInfo, ...]
    versions: dict[str, str]

    @property
    def items(self) -> list[tuple[Condition, int]]:
        """Every condition with each of its seeds: pieces of work that know nothing of each other."""
        return [(condition, seed) for condition in self.conditions for seed in condition.seeds]


def make_plan(protocol: Protocol, policy: Policy) -> Plan:
    """Work out a test's conditions; each environment is made once, so that no trial begins where one is refused.

    Raises:
        AgentError: The policy does not fit an environment, or something that is asked for is not there.
        SimulationError: An environment refuses its arguments.
    """
    conditions: list[Condition] = []
    infos, versions = [], dict[str, str]()
    for name, scenario in protocol.scenarios.items():
        env_id, seen = full_id(scenario.task), dict[str, str]()
        for tier in protocol.tiers:
            kwargs = _kwargs(protocol, name, env_id, tier, policy)
            base, info = _examined(f"scenarios.{name}, tier {tier}", env_id, kwargs, policy)
            versions, twin = info["versions"], seen.setdefault(info["config_hash"], tier)
            if twin != tier:
                raise AgentError(
                    f"tiers.{tier}: is the same as '{twin}' in scenario '{name}'; say under 'env' what differs"
                )
            if tier == next(iter(protocol.tiers)):
                infos.append(_info(name, env_id, kwargs, info))
            for axis, value, given, seeds in _variants(protocol, tier, env_id, kwargs, base):
                conditions.append(_condition(protocol, name, tier, axis, value, env_id, given, seeds, policy))
    return Plan(tuple(conditions), tuple(infos), versions)


def _kwargs(protocol: Protocol, name: str, env_id: str, tier: str, policy: Policy) -> dict[str, Any]:
    brought = {}
    if isinstance(policy, LearnedPolicy):
        brought = {key: value for key, value in policy.conditions.items() if key in INTERFACE}
    given = {**brought, **protocol.scenarios[name].env, **protocol.tiers[tier].env}
    return {"tier": tier, **given} if _template(env_id) in scenarios.templates() and tier in TIERS else given


def _template(env_id: str) -> str:
    return env_id.rpartition("/")[2].partition("-")[0]


def _examined(where: str, env_id: str, kwargs: dict[str, Any], policy: Policy) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of an environment that the policy fits: about its sensors and failures, and what it describes."""
    try:
        with closing(make_env(env_id, kwargs)) as env:
            base: Any = env.unwrapped
            if not hasattr(base, "task"):
                raise AgentError(f"{env_id} is no task of the training ground; only those are tested")
            env.reset(seed=0)
            policy.reset(env)
            noise = default_noise().scale
            seen = {channel.name for channel in base.channels if channel.role == "observation"}
            facts = {
                "noise": {channel: width for channel, width in noise.items() if channel in seen},
                "failures": _failures(base),
                "monitor": base.task.monitor is not None,
            }
            return facts, base.describe()
    except TrainingGroundError as problem:
        raise AgentError(f"{where}: {problem}") from problem


def _failures(base: Any) -> tuple[str, ...]:
    """Kinds that can occur: a fall of a robot on its own feet alone, `unsafe` where there is a safety monitor."""
    kinds = [kind for kind in base.task.failures if kind != "fall" or base.stance == "free"]
    return (*kinds, *(["unsafe"] if base.task.monitor is not None else []))


def _variants(
    protocol: Protocol, tier: str, env_id: str, kwargs: dict[str, Any], facts: dict[str, Any]
) -> Iterator[tuple[str, Value | None, dict[str, Any], int]]:
    """Axis, value, arguments and number of seeds of each condition of a scenario in a tier."""
    yield NOMINAL, None, kwargs, protocol.tiers[tier].seeds or protocol.seeds.count
    for axis, sweep in protocol.sweeps.items():
        for value in sweep.values if tier in sweep.tiers else ():
            option = sweep.option or AXES[axis]
            try:
                if axis == "noise" and sweep.option is None:
                    scale = {channel: float(value) * width for channel, width in facts["noise"].items()}
                    given = {**kwargs, "noise": {**(kwargs.get("noise") or {}), "scale": scale}}
                else:
                    given = set_option(env_id, kwargs, option, value)
            except (TrainingGroundError, TypeError, ValueError) as problem:
                raise AgentError(f"sweeps.{axis}, value {json.dumps(value)}: {problem}") from problem
            yield axis, value, given, sweep.seeds
    if protocol.emergency_stop is not None and tier in protocol.emergency_stop.tiers:
        if not facts["monitor"]:
            raise AgentError(f"emergency_stop: {env_id} has no safety monitor, only tasks in factory cells have one")
        yield STOP, None, kwargs, protocol.emergency_stop.seeds


def _condition(
    protocol: Protocol, scenario: str, tier: str, axis: str, value: Value | None,
    env_id: str, kwargs: dict[str, Any], seeds: int, policy: Policy,
) -> Condition:  # fmt: skip
    name = f"{scenario}/{tier}" + ("" if axis == NOMINAL else f"/{axis}" if value is None else f"/{axis}={value}")
    facts, described = _examined(name, env_id, kwargs, policy)
    first = protocol.seeds.first
    stop = protocol.emergency_stop.at_s if axis == STOP and protocol.emergency_stop else None
    takt = protocol.scenarios[scenario].takt_s
    return Condition(
        name, scenario, tier, axis, value, env_id, kwargs, range(first, first + seeds), stop, takt,
        described["config_hash"], facts["failures"],
    )  # fmt: skip


def _info(name: str, env_id: str, kwargs: dict[str, Any], described: dict[str, Any]) -> ScenarioInfo:
    template, print_ = _template(env_id), None
    if template in scenarios.templates():
        tier, robot = str(kwargs.get("tier", "nominal")), str(kwargs.get("robot", described["robot"]))
        rest = {key: value for key, value in kwargs.items() if key not in ("tier", "robot")}
        print_ = fingerprint(scenarios.Scenario(name, template, tier, robot, (), rest)).hash
    return ScenarioInfo(
        name=name, env_id=env_id, robot=described["robot"], model_hash=described["model_hash"],
        control_rate=described["control_rate"], fingerprint=print_,
    )  # fmt: skip

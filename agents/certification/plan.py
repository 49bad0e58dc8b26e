"""What a product test does: its conditions, each an environment and seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

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


class Part(NamedTuple):
    """What a protocol says of a condition, whoever is tested."""

    scenario: str
    tier: str
    axis: str
    value: Value | None
    seeds: range

    @property
    def id(self) -> str:
        """Such as `stand/nominal/friction=0.3`."""
        place = f"{self.scenario}/{self.tier}"
        if self.axis == NOMINAL:
            return place
        return f"{place}/{self.axis}" + ("" if self.value is None else f"={self.value}")


def outline(protocol: Protocol) -> Iterator[Part]:
    """Return a protocol's conditions: by scenario and tier, first as it is, then swept, then with emergency stops."""
    first = protocol.seeds.first
    for scenario, (tier, own) in product(protocol.scenarios, protocol.tiers.items()):
        count = own.seeds or protocol.seeds.count
        yield Part(scenario, tier, NOMINAL, None, range(first, first + count))
        for axis, sweep in protocol.sweeps.items():
            for value in sweep.values if tier in sweep.tiers else ():
                yield Part(scenario, tier, axis, value, range(first, first + sweep.seeds))
        stop = protocol.emergency_stop
        if stop is not None and tier in stop.tiers:
            yield Part(scenario, tier, STOP, None, range(first, first + stop.seeds))


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
        AgentError: The policy does not fit an environment, which may also refuse its arguments, or something that is
            asked for is not there.
    """
    conditions: list[Condition] = []
    infos, versions = dict[str, ScenarioInfo](), dict[str, str]()
    tiers, kwargs, facts = dict[tuple[str, str], str](), dict[str, Any](), dict[str, Any]()
    for part in outline(protocol):
        env_id = full_id(protocol.scenarios[part.scenario].task)
        if part.axis == NOMINAL:
            kwargs = given = _kwargs(protocol, part.scenario, env_id, part.tier, policy)
        else:
            given = _varied(protocol, part, env_id, kwargs, facts)
        found, described = _examined(part.id, env_id, given, policy)
        if part.axis == NOMINAL:
            facts, versions = found, described["versions"]
            infos.setdefault(part.scenario, _info(part.scenario, env_id, kwargs, described))
            twin = tiers.setdefault((part.scenario, described["config_hash"]), part.tier)
            if twin != part.tier:
                raise AgentError(f"tiers.{part.tier}: is the same as '{twin}'; say under 'env' what differs")
        conditions.append(_condition(protocol, part, env_id, given, described["config_hash"], found["failures"]))
    return Plan(tuple(conditions), tuple(infos.values()), versions)


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


def _varied(
    protocol: Protocol, part: Part, env_id: str, kwargs: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    """Arguments of the environment with what is swept, or with the red button to be pressed."""
    if part.axis == STOP:
        if not facts["monitor"]:
            raise AgentError(f"emergency_stop: {env_id} has no safety monitor, only tasks in factory cells have one")
        return kwargs
    sweep, value = protocol.sweeps[part.axis], part.value
    try:
        if part.axis == "noise" and sweep.option is None:
            scale = {channel: float(value or 0.0) * width for channel, width in facts["noise"].items()}
            return {**kwargs, "noise": {**(kwargs.get("noise") or {}), "scale": scale}}
        return set_option(env_id, kwargs, sweep.option or AXES[part.axis], value)
    except (TrainingGroundError, TypeError, ValueError) as problem:
        raise AgentError(f"sweeps.{part.axis}, value {json.dumps(value)}: {problem}") from problem


def _condition(
    protocol: Protocol, part: Part, env_id: str, kwargs: dict[str, Any], config_hash: str, failures: tuple[str, ...]
) -> Condition:
    stop = protocol.emergency_stop
    return Condition(
        id=part.id,
        scenario=part.scenario,
        tier=part.tier,
        axis=part.axis,
        value=part.value,
        env_id=env_id,
        kwargs=kwargs,
        seeds=part.seeds,
        stop_at_s=stop.at_s if part.axis == STOP and stop is not None else None,
        takt_s=protocol.scenarios[part.scenario].takt_s,
        config_hash=config_hash,
        failure_kinds=failures,
    )


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

"""Why a training run has stalled, in words: what its progress records say, and which setting to turn.

A run has stalled where the return of its last records is no higher than that of those before them. The rules below then
look for a cause, those of the learner before those of the task; the first that holds is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from training_ground.configs.training import RunConfig

Record = dict[str, Any]

LONGEST_WINDOW = 40
SHORTEST_WINDOW = 10
"""Records that are looked at: a third of the run, within these."""

LONG_RUN = 3 * LONGEST_WINDOW
"""Records from which on a run is called stalled for no reason that they give, by comparing whole thirds of it: the
returns of a few dozen updates go up and down in every run that learns."""

SOLVED = 0.95
"""Success rate above which a return that no longer rises is no complaint."""


@dataclass(frozen=True)
class Verdict:
    """What the records say.

    Attributes:
        stalled: Whether the return has stopped to rise.
        cause: Name of the rule that explains it, such as `exploration`; None where it has not stalled.
        text: One or two sentences for people.
    """

    stalled: bool
    cause: str | None
    text: str


class Window:
    """The last records of a run, and what its rules need to know beside.

    Attributes:
        records: The newest last.
        first: As many records from the run's beginning.
        name: Of the algorithm, for the names of settings.
        settings: Its settings.
        control_rate: Hz; NaN where unknown.
    """

    def __init__(self, records: Sequence[Record], count: int, config: RunConfig, control_rate: float) -> None:
        self.records, self.first = records[-count:], records[:count]
        self.name, self.settings = config.algorithm, getattr(config, config.algorithm)
        self.control_rate = control_rate

    def mean(self, key: str) -> float | None:
        """Return the mean of a number over the window; None where no record has it."""
        return _mean([r.get(key) for r in self.records])

    @property
    def target_kl(self) -> float | None:
        """What the KL divergence of the updates should have been; a run that settles wants less."""
        return self.mean("target_kl") or self.setting("target_kl")

    def setting(self, key: str) -> Any:
        """Return a setting of the algorithm; None where it has none of that name."""
        return getattr(self.settings, key, None)

    def terms(self, records: Sequence[Record]) -> dict[str, float]:
        """Return the mean of each reward term a step."""
        metrics = [r.get("metrics") or {} for r in records]
        names = sorted({name for m in metrics for name in m if name.startswith("reward/")})
        means = {name.removeprefix("reward/"): _mean([m.get(name) for m in metrics]) for name in names}
        return {name: value for name, value in means.items() if value is not None}


def _exploration(w: Window) -> str | None:
    std = w.mean("std")
    if std is None or std >= 0.05:
        return None
    raised = "ppo.entropy" if w.name == "ppo" else f"{w.name}.target_entropy"
    return (
        f"The policy hardly explores any more: the standard deviation of its actions is {std:.3f}. "
        f"Raise {raised}, or begin with a larger network.initial_std."
    )


def _small_steps(w: Window) -> str | None:
    kl, rate, target = w.mean("kl"), w.mean("learning_rate"), w.target_kl
    if kl is None or rate is None or target is None or kl >= target / 4:
        return None
    low, high = w.setting("learning_rate_range")
    if not w.setting("adapt_learning_rate"):
        return (
            f"Updates hardly change the policy: KL {kl:.1e} where ppo.target_kl is {target:g}, at a learning rate of "
            f"{rate:.1e} that does not adapt. Raise ppo.learning_rate or switch ppo.adapt_learning_rate on."
        )
    if rate <= 1.5 * low:
        return (
            f"Updates hardly change the policy: KL {kl:.1e} where ppo.target_kl is {target:g}, with the learning rate "
            f"at its floor of {low:g}. Begin again from a higher ppo.learning_rate with a larger ppo.target_kl."
        )
    if rate >= high / 1.5:
        return (
            f"Updates hardly change the policy: KL {kl:.1e} where ppo.target_kl is {target:g}, although the learning "
            f"rate is at its ceiling of {high:g}. Raise the second number of ppo.learning_rate_range."
        )
    return None


def _large_steps(w: Window) -> str | None:
    kl, rate, target = w.mean("kl"), w.mean("learning_rate"), w.target_kl
    if kl is None or rate is None or target is None or kl <= 2 * target:
        return None
    low = w.setting("learning_rate_range")[0]
    if w.setting("adapt_learning_rate") and rate > 1.5 * low:
        return None
    lower = (
        "ppo.learning_rate" if not w.setting("adapt_learning_rate") else "the first number of ppo.learning_rate_range"
    )
    return (
        f"Updates throw the policy about: KL {kl:.2f}, more than twice ppo.target_kl = {target:g}, and the learning "
        f"rate of {rate:.1e} does not fall any further. Lower {lower} or ppo.epochs."
    )


def _clipped(w: Window) -> str | None:
    share = w.mean("clip_fraction")
    if share is None or share <= 0.4:
        return None
    return (
        f"{share:.0%} of the samples are clipped: most of each update is thrown away. Lower ppo.learning_rate, "
        "ppo.target_kl or ppo.epochs."
    )


def _blind_critic(w: Window) -> str | None:
    explained = w.mean("explained_variance")
    if explained is None or explained >= 0.1:
        return None
    return (
        f"The value function explains nothing of the returns (explained variance {explained:.2f}), so the policy "
        "learns from noise. Raise ppo.critic_learning_rate, set normalisation.reward to true, or lower ppo.gamma."
    )


def _critic_diverges(w: Window) -> str | None:
    losses = [x for x in (_number(r.get("critic_loss")) for r in w.records) if x is not None]
    half = len(losses) // 2
    if half < 2:
        return None
    before, after = sum(losses[:half]) / half, sum(losses[half:]) / (len(losses) - half)
    if after <= 3 * before or after < 1e-3:
        return None
    advice = f"Lower {w.name}.learning_rate or {w.name}.tau"
    return f"The critics diverge: their loss went from {before:.2g} to {after:.2g}. {advice}" + (
        ", or raise tqc.top_quantiles_dropped." if w.name == "tqc" else "."
    )


def _temperature(w: Window) -> str | None:
    value, entropy = w.mean("entropy_coefficient"), w.setting("entropy")
    if value is None or value < 1.0:
        return None
    if entropy != "auto":
        return (
            f"{w.name}.entropy = {value:g} weighs the policy's entropy as much as the reward itself, at most 1 a step. "
            "Lower it, or set it to auto."
        )
    return (
        f"The weight of the entropy has risen to {value:.2g}: the policy is paid for noise more than for the task. "
        f"Lower {w.name}.target_entropy."
    )


def _early_failure(w: Window) -> str | None:
    length, rate = w.mean("length_mean"), w.control_rate
    kinds = {name for r in w.records for name in r.get("failures") or {}}
    shares = {kind: _mean([(r.get("failures") or {}).get(kind, 0.0) for r in w.records]) or 0.0 for kind in kinds}
    if length is None or not shares or not length < rate:
        return None
    kind = max(shares, key=lambda name: shares[name])
    if shares[kind] < 0.8:
        return None
    return (
        f"{shares[kind]:.0%} of the episodes end by '{kind}' after {length / rate:.1f} s: there is no time in "
        "which to do anything right. Begin easier: a smaller network.initial_std or env.kwargs.start_joint_noise, no "
        "pushes, or wider limits of the failure in env.kwargs."
    )


def _one_term(w: Window) -> str | None:
    now, before = w.terms(w.records), w.terms(w.first)
    gain = sum(value for value in now.values() if value > 0)
    if len(now) < 2 or gain <= 0:
        return None
    large = max(now, key=lambda name: now[name])
    flat = [n for n, value in now.items() if 0 <= value < 0.05 * gain and value <= 1.2 * before.get(n, 0.0) + 1e-9]
    if now[large] < 0.6 * gain or not flat:
        return None
    small = min(flat, key=lambda name: now[name])
    return (
        f"'{large}' brings {now[large] / gain:.0%} of the reward, and '{small}' has never risen (now {now[small]:.2g} "
        f"a step): the policy has settled for the first. Make '{small}' easier to come by in env.kwargs, or give it a "
        "larger share in the task's reward."
    )


def _loud(w: Window) -> str | None:
    std = w.mean("std")
    first = _mean([r.get("std") for r in w.first])
    if w.name != "ppo" or std is None or first is None or std < 1.0 or std < 1.3 * first:
        return None
    return (
        f"The noise grows and drowns the policy: the standard deviation of the actions went from {first:.2f} to "
        f"{std:.2f}. Lower ppo.entropy."
    )


RULES: dict[str, Callable[[Window], str | None]] = {
    "exploration": _exploration,
    "noise": _loud,
    "large_steps": _large_steps,
    "small_steps": _small_steps,
    "clipped": _clipped,
    "critic_diverges": _critic_diverges,
    "temperature": _temperature,
    "value_function": _blind_critic,
    "early_failure": _early_failure,
    "one_term": _one_term,
}
"""By cause, in the order in which they are asked."""


def judge(records: Sequence[Record], config: RunConfig, control_rate: float = math.nan) -> Verdict:
    """Say whether a run has stalled, and why.

    Args:
        records: Of `progress.jsonl`, the oldest first.
        config: The run.
        control_rate: Of its environment, Hz.
    """
    useful = [record for record in records if _useful(record)]
    count = max(SHORTEST_WINDOW, min(LONGEST_WINDOW, len(useful) // 3))
    if len(useful) < count + SHORTEST_WINDOW:
        return Verdict(False, None, f"Too early to tell: {len(useful)} records with a return.")
    window = Window(useful, count, config, control_rate)
    returns = [float(r["return_mean"]) for r in window.records]
    before, after, success = _halves(returns), _halves(returns[::-1]), window.mean("success_rate")
    if success is not None and success >= SOLVED:
        return Verdict(False, None, f"Nothing to complain of: success {success:.0%} over the last {count} records.")
    if after > before + max(0.01 * abs(before), 0.5 * _deviation(returns)):
        return Verdict(False, None, f"Learning: the return rose from {before:.3g} to {after:.3g} in {count} records.")
    for cause, rule in RULES.items():
        text = rule(window)
        if text is not None:
            return Verdict(True, cause, text)
    return _in_the_long_run(useful)


def _in_the_long_run(records: Sequence[Record]) -> Verdict:
    """Compare the last third of the run with the one before it."""
    if len(records) < LONG_RUN:
        return Verdict(False, None, f"Too early to tell: the return does not rise, in {len(records)} records so far.")
    third = len(records) // 3
    last, middle = records[-third:], records[-2 * third : -third]
    after, before = (_mean([r["return_mean"] for r in part]) or 0.0 for part in (last, middle))
    hard, easy = (_mean([r.get("level") for r in part]) or 0.0 for part in (last, middle))
    if hard > easy:
        return Verdict(False, None, f"Learning: the curriculum rose from level {easy:.2f} to {hard:.2f}.")
    if after > before + 0.01 * abs(before):
        return Verdict(False, None, f"Learning: the return rose from {before:.3g} to {after:.3g} in {third} records.")
    return Verdict(
        True,
        "unknown",
        f"The return has stayed at {after:.3g} for {third} records, and nothing in them says why. What is left: more "
        "samples an update (envs_per_worker), a larger network.hidden, or an easier env.kwargs.",
    )


class Watch:
    """Follows a run's records and speaks up once for each cause of a stall.

    Args:
        config: The run.
        control_rate: Of its environment, Hz.
        records: Those from before this session.
    """

    def __init__(self, config: RunConfig, control_rate: float, records: Sequence[Record] = ()) -> None:
        self._config, self._control_rate = config, control_rate
        self._records = [record for record in records if _useful(record)]
        self._told: set[str] = set()
        self._moving = 0

    @property
    def verdict(self) -> Verdict:
        """What the records so far say."""
        return judge(self._records, self._config, self._control_rate)

    def see(self, record: Record) -> Verdict | None:
        """Take a record in; return a verdict where there is something new to tell."""
        if _useful(record):
            self._records.append(record)
            # Of what lies between the first and the last ones no more is looked at.
            past = len(self._records) - LONGEST_WINDOW - 1
            if past >= LONGEST_WINDOW:
                self._records[past] = {key: self._records[past].get(key) for key in ("return_mean", "level")}
        verdict = self.verdict
        if verdict.cause is None:
            self._moving += 1
            if self._moving >= SHORTEST_WINDOW:
                self._told.clear()
            return None
        self._moving = 0
        if verdict.cause in self._told or (verdict.cause == "unknown" and self._told):
            return None
        self._told.add(verdict.cause)
        return verdict


def _useful(record: Record) -> bool:
    """Whether there is something to judge: an episode has ended and, in an off-policy run, the updates have begun."""
    return _number(record.get("return_mean")) is not None and _number(record.get("actor_loss", 0.0)) is not None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _mean(values: Sequence[Any]) -> float | None:
    finite = [x for x in (_number(v) for v in values) if x is not None]
    return sum(finite) / len(finite) if finite else None


def _halves(values: Sequence[float]) -> float:
    half = values[: len(values) // 2]
    return sum(half) / len(half)


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))

"""Does a policy answer in time? A monitor around its `act`, and the times that it kept.

Times are the wall clock's: they say what this machine did with everything else that ran on it. A policy for a robot
must be measured on the robot's computer.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.policy import Policy
from training_ground.configs.errors import AgentError

OnMiss = Literal["report", "hold", "raise"]
ON_MISS: tuple[OnMiss, ...] = get_args(OnMiss)
BINS_PER_DECADE = 100
"""Of the histogram: neighbouring bins are 2.3 % apart."""
FASTEST_S, SLOWEST_S = 1e-7, 1e3
QUANTILES = (("p50_ms", 0.5), ("p99_ms", 0.99))
BINS = round(math.log10(SLOWEST_S / FASTEST_S) * BINS_PER_DECADE)


@dataclass
class Timing:
    """How long the calls of `act` took: a histogram with at most `BINS` bins, however many calls there were.

    Attributes:
        deadline_s: Longest time that a call may take, s.
        counts: Calls by bin, bin i from FASTEST_S · 10^(i / BINS_PER_DECADE).
        misses: Calls that took longer than the deadline.
        worst_s: The longest time, s.
        worst_step: Step of its episode in which it was taken, from 0; -1 before the first call.
        worst_seed: Seed of that episode; None where unknown.
    """

    deadline_s: float
    counts: Counter[int] = field(default_factory=Counter)
    misses: int = 0
    worst_s: float = 0.0
    worst_step: int = -1
    worst_seed: int | None = None

    @property
    def calls(self) -> int:
        """Number of calls."""
        return sum(self.counts.values())

    def add(self, seconds: float, step: int) -> None:
        """Count one call."""
        place = math.log10(max(seconds, FASTEST_S) / FASTEST_S) * BINS_PER_DECADE
        self.counts[min(int(place), BINS - 1)] += 1
        self.misses += seconds > self.deadline_s
        if seconds > self.worst_s:
            self.worst_s, self.worst_step = seconds, step

    def merge(self, other: Timing, seed: int | None = None) -> None:
        """Add the calls of another one, of the episode `seed`."""
        self.counts.update(other.counts)
        self.misses += other.misses
        if other.worst_s > self.worst_s:
            self.worst_s, self.worst_step, self.worst_seed = other.worst_s, other.worst_step, seed

    def quantile(self, share: float) -> float:
        """Return the time, s, in which `share` of the calls were done; 2.3 % too long at most, NaN without calls."""
        wanted, seen = share * self.calls, 0
        for place in sorted(self.counts):
            seen += self.counts[place]
            if seen >= wanted:
                end = FASTEST_S * 10 ** ((place + 1) / BINS_PER_DECADE)
                return self.worst_s if place == BINS - 1 else min(self.worst_s, end)
        return math.nan

    def to_json(self) -> dict[str, Any]:
        """Return plain data, times in ms."""
        found = {name: 1e3 * self.quantile(share) if self.calls else None for name, share in QUANTILES}
        return {
            "deadline_ms": 1e3 * self.deadline_s,
            "calls": self.calls,
            "misses": self.misses,
            **found,
            "max_ms": 1e3 * self.worst_s if self.calls else None,
            "worst": {"seed": self.worst_seed, "step": self.worst_step} if self.calls else None,
        }


class DeadlineMonitor:
    """A policy whose calls are timed against the control period. It acts as the policy does, unless told otherwise.

    Args:
        policy: Whose `act` is timed.
        rate: Control rate, Hz, of which one period is the deadline; where absent the bundle's or the environment's.
        on_miss: After a late answer: `report` uses it, as if it had come in time. `hold` repeats the last action that
            was sent, as a controller does that has to send something; an episode's first answer is used however
            late. `raise` raises. Results of `hold` and `raise` depend on the machine's speed.
        clock: Gives seconds.

    Attributes:
        timing: Of the calls since the last reset.

    Raises:
        AgentError: `rate` or `on_miss` is not allowed.
    """

    def __init__(
        self,
        policy: Policy,
        rate: float | None = None,
        on_miss: OnMiss = "report",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if on_miss not in ON_MISS:
            raise AgentError(f"on_miss = {on_miss!r}: allowed are {', '.join(ON_MISS)}")
        spec = getattr(policy, "spec", None)
        self.policy, self.on_miss, self.clock = policy, on_miss, clock
        self.rate = spec.env.control_rate if rate is None and spec is not None else rate
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise AgentError(f"rate = {self.rate}: a number of Hz above 0")
        self.name = policy.name
        self.spec, self.hash, self.runtime = spec, getattr(policy, "hash", None), getattr(policy, "runtime", None)
        self.timing = Timing(math.inf if self.rate is None else 1 / self.rate)
        self._step = 0
        self._sent: NDArray[np.float32] | None = None

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode, and count anew.

        Raises:
            AgentError: The policy does not fit `env`, or nobody states the control rate.
        """
        self.policy.reset(env)
        if self.rate is None:
            base: Any = env.unwrapped
            if not hasattr(base, "describe"):
                raise AgentError(f"deadline: environment {base} does not state its control rate; give the rate in Hz")
            self.rate = float(base.describe()["control_rate"])
        self.timing = Timing(1 / self.rate)
        self._step, self._sent = 0, None

    def act(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        """Return the policy's action, or what `on_miss` says after a miss.

        Raises:
            AgentError: See the policy's own; or a deadline was missed and `on_miss` is `raise`.
        """
        begin = self.clock()
        action = self.policy.act(observation)
        seconds = self.clock() - begin
        timing, step = self.timing, self._step
        timing.add(seconds, step)
        self._step += 1
        if seconds > timing.deadline_s:
            if self.on_miss == "raise":
                raise AgentError(
                    f"policy '{self.name}', step {step}: act took {1e3 * seconds:.3g} ms, "
                    f"the deadline is {1e3 * timing.deadline_s:.3g} ms"
                )
            if self.on_miss == "hold" and self._sent is not None:
                return self._sent.copy()
        self._sent = action
        return action

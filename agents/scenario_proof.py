"""The proof that the scenarios of a catalogue differ, each from each.

Two differ when their hashes do (`envs/fingerprint.py`) **and**, within a template, the expert of the one that stands
first, replayed unchanged in the other, fails, enters the phases in another order or shifts its cycle by more than 15 %
(`agents/scenario_replay.py`): on most of the seeds on which there is a success to replay, and on two at least.
Scenarios of different templates differ by their predicates.

Of each scenario the proof says:
- `distinct`: it differs from each before it that counts, and its expert has succeeded in it;
- `unsolved`: it differs, but its expert never succeeded: nobody has shown that it can be done;
- `same`: it is one of those before it once more;
- `unproved`: on too few seeds there was a success to replay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np

from training_ground.agents.scenario_replay import SHIFT, Comparison, Examined, Played
from training_ground.agents.statistics import wilson_interval
from training_ground.envs.fingerprint import Fingerprint
from training_ground.envs.scenarios import Scenario

Verdict = Literal["distinct", "unsolved", "same", "unproved"]
VERDICTS: tuple[Verdict, ...] = ("distinct", "unsolved", "same", "unproved")

LEAST = 2
"""Seeds on which two scenarios must differ at least, where there are as many."""


@dataclass(frozen=True)
class Pair:
    """Two scenarios of a template, and what was found of them.

    Attributes:
        first, second: Identifiers.
        verdict: `distinct`, `same`, or `unproved` where too few replays tell.
        differing, replayed: On how many seeds they differed, of those on which there was something to replay.
        same_draws: Whether both draw the same quantities.
        why: What differed, seed by seed.
    """

    first: str
    second: str
    verdict: Verdict
    differing: int
    replayed: int
    same_draws: bool
    why: tuple[str, ...]


@dataclass
class Proof:
    """What has been found so far.

    Attributes:
        scenarios: Those that were to be compared, in the catalogue's order.
        seeds: On which each was to be played.
        prints: Hashes by identifier.
        examined: What is finished, a template and a seed at a time.
        seconds: Wall-clock time, s.
    """

    scenarios: list[Scenario]
    seeds: list[int]
    prints: dict[str, Fingerprint]
    examined: list[Examined] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every scenario was played on every seed."""
        return all(len(plays) >= len(self.seeds) for plays in self.played().values())

    def doubtful(self) -> list[Scenario]:
        """Scenarios of which further seeds can tell more: those in a pair with too few successes, but not without."""
        solved = {name for name, plays in self.played().items() if any(play.success for play in plays)}
        doubts = [{pair.first, pair.second} for pair in self.pairs() if pair.verdict == "unproved"]
        wanted = set[str]().union(*(doubt for doubt in doubts if doubt & solved))
        return [one for one in self.scenarios if one.id in wanted]

    def played(self) -> dict[str, list[Played]]:
        """What the experts did, by scenario, seed after seed."""
        found: dict[str, list[Played]] = {one.id: [] for one in self.scenarios}
        for unit in sorted(self.examined, key=lambda unit: unit.seed):
            for one in unit.played:
                found[one.scenario].append(one)
        return found

    def pairs(self) -> list[Pair]:
        """Every two scenarios of a template, and every two with one hash."""
        found: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
        for unit in sorted(self.examined, key=lambda unit: unit.seed):
            for one in unit.comparisons:
                found[one.first, one.second].append(one)
        hashes = {name: one.hash for name, one in self.prints.items()}
        pairs = []
        for first, second in combinations(self.scenarios, 2):
            alike = hashes[first.id] == hashes[second.id]
            if alike or first.template == second.template:
                pairs.append(self._pair(first.id, second.id, alike, found[first.id, second.id]))
        return pairs

    def _pair(self, first: str, second: str, hashed_alike: bool, made: Sequence[Comparison]) -> Pair:
        told = [one for one in made if one.source is not None]
        differing = sum(bool(one.why) for one in told)
        verdict: Verdict = "unproved"
        if hashed_alike:
            verdict = "same"
        elif differing >= min(LEAST, len(self.seeds)) and 2 * differing > len(told):
            verdict = "distinct"
        elif 2 * differing < len(told):
            verdict = "same"
        why = tuple(one.why or ("the same" if one.source else "no success to replay") for one in made)
        return Pair(first, second, verdict, differing, len(told), all(one.same_draws for one in made), why)

    def verdicts(self) -> dict[str, tuple[Verdict, str]]:
        """Verdict of each scenario, and why."""
        found, played, counted = dict[str, tuple[Verdict, str]](), self.played(), list[str]()
        pairs = {(pair.first, pair.second): pair for pair in self.pairs()}
        for one in self.scenarios:
            before = [pairs[other, one.id] for other in counted if (other, one.id) in pairs]
            same = [pair.first for pair in before if pair.verdict == "same"]
            unproved = [pair.first for pair in before if pair.verdict == "unproved"]
            if same:
                found[one.id] = ("same", f"as {same[0]}")
            elif unproved or not played[one.id]:
                found[one.id] = ("unproved", f"against {unproved[0]}" if unproved else "not played")
            elif not any(play.success for play in played[one.id]):
                found[one.id] = ("unsolved", "; ".join(dict.fromkeys(play.trouble for play in played[one.id])))
                counted.append(one.id)
            else:
                found[one.id] = ("distinct", "")
                counted.append(one.id)
        return found

    def summary(self) -> dict[str, Any]:
        """Return the numbers that count."""
        verdicts = [verdict for verdict, _ in self.verdicts().values()]
        played = [one for plays in self.played().values() for one in plays if one.success]
        alone = sum(one.other_seed == "" for one in played)
        return {
            "scenarios": len(self.scenarios),
            "hashes": len({one.hash for one in self.prints.values()}),
            **{kind: verdicts.count(kind) for kind in VERDICTS},
            "complete": self.complete,
            "seeds": self.seeds,
            "cycle_shift": SHIFT,
            "repeats": [sum(bool(one.repeats) for one in played), len(played)],
            "other_seed_succeeds": [alone, len(played)],
            "seconds": round(self.seconds, 1),
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        verdicts, played = self.verdicts(), self.played()
        return {
            "schema_version": 1,
            "summary": self.summary(),
            "scenarios": [
                {
                    **one.to_json(),
                    "verdict": verdicts[one.id][0],
                    "why": verdicts[one.id][1],
                    "hash": self.prints[one.id].hash,
                    "parts": self.prints[one.id].parts,
                    "expert": _expert(played[one.id]),
                }
                for one in self.scenarios
            ],
            "pairs": [asdict(pair) for pair in self.pairs()],
        }


def _expert(plays: Sequence[Played]) -> dict[str, Any]:
    """What a scenario's own expert did."""
    good = [one for one in plays if one.success]
    cycles = [one.cycle_s for one in good if one.cycle_s is not None]
    low, high = wilson_interval(len(good), len(plays))
    return {
        "episodes": len(plays),
        "successes": len(good),
        "wilson_95": [round(low, 4), round(high, 4)],
        "cycle_median_s": round(float(np.median(cycles)), 2) if cycles else None,
        "troubles": [one.trouble for one in plays if not one.success],
        "repeats": sum(bool(one.repeats) for one in good),
        "other_seed_succeeds": sum(one.other_seed == "" for one in good),
    }

"""What is known of who made a result file, as pages and tables say it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from training_ground.agents.certification.checking import Checked

MOST_PROBLEMS = 5


@dataclass(frozen=True)
class Trust:
    """A signature's state.

    Attributes:
        verified: A key that the reader trusts has signed this very file, and its numbers follow from its trials.
        word: In a word.
        text: In a sentence.
        lines: What is to be told of it, as (name, value).
    """

    verified: bool
    word: str
    text: str
    lines: tuple[tuple[str, str], ...] = ()


def trust_of(checked: Checked) -> Trust:
    """Put into words what a check found."""
    statement = checked.statement
    numbers = "every metric and verdict was worked out again from the trials"
    lines = [("check", numbers if not checked.problems else "; ".join(checked.problems[:MOST_PROBLEMS]))]
    if statement is None:
        lines.insert(0, ("state", "unsigned"))
        damaged = any(not problem.endswith(": not signed") for problem in checked.problems)
        text = "Nobody answers for this file; running the test again shows whether it is right."
        return Trust(False, "damaged" if damaged else "unsigned", text, tuple(lines))
    when = datetime.fromtimestamp(statement.time_ns / 1e9, tz=timezone.utc)
    lines = [("key", statement.key_id), ("signed", f"{when:%Y-%m-%d %H:%M} UTC, by the signer's clock"), *lines]
    if checked.verified:
        return Trust(True, "verified", f"by the trusted key {statement.key_id[:16]}", tuple(lines))
    if checked.problems:
        return Trust(False, "does not hold", "See below what is wrong with it.", tuple(lines))
    text = f"by the key {statement.key_id[:16]}, which was not among those trusted when this page was made"
    return Trust(False, "not verified", text, tuple(lines))

"""Sign a result, and check one that somebody else hands over.

`result.sig` stands beside `result.json` and says the sha256 of its bytes. Whoever has changed a number must change the
trials that it follows from, and then the identity, and then the signature.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from training_ground.agents.bundle_format import read_capped
from training_ground.agents.certification.assembling import conclude, failures
from training_ground.agents.certification.judging import judged
from training_ground.agents.certification.plan import outline
from training_ground.agents.certification.result import (
    MAX_BYTES,
    SIGNATURE_SUFFIX,
    ConditionResult,
    Digest,
    Judgement,
    MetricResult,
    Result,
    identity_of,
    protocol_sha256,
    read_result,
)
from training_ground.datasets.signing import Signed, holds, read_signed, trusted, write_statement


class ResultStatement(Signed):
    """What the signature of a result says.

    Attributes:
        identity, verdict: Of the result.
        result_sha256: Of the bytes of its file.
    """

    domain = b"training-ground-certification-signature-v1\x00"

    format: Literal["training-ground-certification-signature"] = "training-ground-certification-signature"
    identity: Digest
    verdict: Judgement
    result_sha256: Digest


def sign_result(path: Path, key: Any) -> ResultStatement:
    """Sign a result file and write `result.sig` beside it.

    Args:
        path: Of the result.
        key: As `read_private_key` returns it.
    """
    result = read_result(path)
    said = {"identity": result.identity, "verdict": result.verdict, "result_sha256": _sha256(path)}
    return write_statement(path.with_suffix(SIGNATURE_SUFFIX), ResultStatement, said, key)


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        result: As read.
        problems: All that is wrong, in sentences.
        statement: The signature's; None where the result is not signed.
        verified: Whether it was signed by a key that the reader trusts.
    """

    result: Result
    problems: tuple[str, ...]
    statement: ResultStatement | None
    verified: bool


def check(path: Path, keys: Iterable[bytes] = ()) -> Checked:
    """Check a result: every metric and verdict is worked out again from the trials, hashes and signature are compared.

    What cannot be checked without running the test again is whether the trials took place as they are told.

    Args:
        path: Of the result.
        keys: Public keys that the reader trusts, 32 bytes each; with any, the result must be signed by one of them.

    Raises:
        AgentError: It is no result.
        DatasetError: `result.sig` is no signature of a result.
    """
    result, trusting = read_result(path), list(keys)
    # Hashes are those of what was written: read again, an older result has the fields that came since as well.
    written = json.loads(read_capped(path, MAX_BYTES))
    problems = _changed(result, written)
    statement, place = None, path.with_suffix(SIGNATURE_SUFFIX)
    if place.exists():
        statement = read_signed(place, ResultStatement)
        if not holds(statement):
            problems.append(f"{place.name}: the signature does not hold")
        if statement.result_sha256 != _sha256(path):
            problems.append(f"{place.name}: is of another file: the result was changed after it was signed")
    verified = statement is not None and trusted(statement, trusting)
    if trusting and not verified:
        signer = None if statement is None else statement.key_id[:16]
        why = "not signed" if signer is None else f"signed by {signer}, which is none of the keys given"
        problems.append(f"{path.name}: {why}")
    return Checked(result, tuple(problems), statement, verified and not problems)


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_capped(path, MAX_BYTES)).hexdigest()


def _changed(result: Result, written: dict[str, Any]) -> list[str]:
    """What does not follow from the trials and the protocol."""
    problems = []
    protocol = result.protocol.content
    if protocol_sha256(written["protocol"]["content"]) != result.protocol.sha256:
        problems.append("protocol.sha256: is not that of the protocol")
    missing = _incomplete(result)
    if missing:  # what follows would be worked out from other trials than were asked for
        return [*problems, *missing]
    for condition in result.conditions:
        problems += _changed_in(condition, result)
    for name, value in conclude(result.conditions, protocol).items():
        if getattr(result, name) != value:
            problems.append(f"{name}: does not follow from the metrics")
    if identity_of(written) != result.identity:
        problems.append("identity: is not that of the content")
    return problems


def _incomplete(result: Result) -> list[str]:
    """Trials that the protocol does not ask for, and that it asks for and that are not there."""
    asked = {part.id: part for part in outline(result.protocol.content)}
    told = {condition.id: condition for condition in result.conditions}
    problems = [f"{name}: is missing" for name in asked if name not in told]
    problems += [f"{name}: is not asked for" for name in told if name not in asked]
    if len(told) != len(result.conditions):
        problems.append("conditions: one stands twice")
    for name, part in asked.items():
        there = told.get(name)
        if there is None:
            continue
        takt = result.protocol.content.scenarios[part.scenario].takt_s
        if (there.scenario, there.tier, there.axis, there.value, there.takt_s) != (*part[:4], takt):
            problems.append(f"{name}: is another condition than its name says")
        if [trial.seed for trial in there.trials] != list(part.seeds):
            problems.append(f"{name}: the seeds are not those of the protocol")
    return problems


def _changed_in(condition: ConditionResult, result: Result) -> list[str]:
    """The same of one condition; metrics that came after the result was made are not missed, but verdicts are."""
    found = {(m.name, m.threshold): m for m in judged(condition, condition.trials, result.protocol.content)}
    told = {(m.name, m.threshold): m for m in condition.metrics}
    problems = [
        f"{condition.id}: {there.name}: does not follow from the trials"
        for key, there in told.items()
        if key not in found or not _alike(there, found[key])
    ]
    problems += [
        f"{condition.id}: {one.name}: was to be judged, and is not there"
        for key, one in found.items()
        if one.verdict is not None and key not in told
    ]
    if failures(condition.trials) != condition.failures:
        problems.append(f"{condition.id}: failures: do not follow from the trials")
    return problems


def _alike(told: MetricResult, found: MetricResult) -> bool:
    """Whether two are the same but for the last digits, in which machines differ."""
    return all(
        math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(told.model_dump().values(), found.model_dump().values(), strict=True)
    )

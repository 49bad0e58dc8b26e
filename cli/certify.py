"""`tg certify`: put a policy through a product test; a verdict that follows from intervals, and a signed result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training_ground.cli.common import OVERRIDES, emit, json_option, overrides_argument, progress, table

if TYPE_CHECKING:
    from training_ground.agents.certification.result import Result

STATUS = {"pass": 0, "fail": 1, "inconclusive": 3}
"""Exit status by verdict; 2 is bad input."""


@click.command(
    context_settings=OVERRIDES,
    epilog="""\b
Examples:
  tg certify stand_g1 --policy stand_g1 --out out/stand
  tg certify stand_g1 --policy runs/stand_g1_001 --out out/mine --seeds.count=50
  tg certify press_button --policy expert --out out/press --key signing.pem
  tg certify my_test.yaml --policy zero --out out/zero --thresholds.success.at_least=0.9 --json
  tg certify --verify out/press/result.json --key signing.pem.pub
  tg certify --list                             protocols

A run that was interrupted or killed goes on with the same command. The same test run twice gives the same identity;
what the wall clock says stands apart. Make keys with `tg data keygen`.

Exit status: 0 pass, 1 fail, 3 inconclusive, 2 bad input; with --verify 0 all good, 1 something is wrong.""",
)
@click.argument("protocol", required=False)
@click.option("--policy", metavar="NAME", help="zero, random, expert, shipped, a shipped one, a bundle or a run.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of this test alone.")
@click.option(
    "--key", "keys", type=click.Path(path_type=Path, dir_okay=False), multiple=True,
    help="Private key (PEM) to sign the result with; with --verify public keys that you trust.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(0, 1024), default=2, show_default=True, help="Processes; 0: this one.")
@click.option("--verify", type=click.Path(path_type=Path, dir_okay=False), help="Check a result file, and end.")
@click.option("--list", "listing", is_flag=True, help="List the protocols and end.")
@json_option
@overrides_argument
def command(
    protocol: str | None,
    policy: str | None,
    out: Path | None,
    keys: tuple[Path, ...],
    workers: int,
    verify: Path | None,
    listing: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> int:
    """Test a policy after PROTOCOL: a name in configs/certify, or the path of a YAML file."""
    from training_ground.configs.certification import VERB
    from training_ground.configs.presets import preset_names

    if listing:
        emit({"protocols": preset_names(VERB)}, as_json, "\n".join(preset_names(VERB)))
        return 0
    if verify is not None:
        return _verify(verify, keys, as_json)
    if protocol is None or "=" in protocol:
        raise click.UsageError(f"give a protocol ({', '.join(preset_names(VERB))}), or --verify FILE")
    if policy is None or out is None:
        raise click.UsageError(f"give {'--policy NAME' if policy is None else '--out DIR'}")
    if len(keys) > 1:
        raise click.UsageError("--key: a result is signed with one key")
    return _certify(protocol, policy, out, keys, workers, as_json, overrides)


def _certify(
    protocol: str, policy: str, out: Path, keys: tuple[Path, ...], workers: int, as_json: bool, overrides: Sequence[str]
) -> int:
    from training_ground.agents.certification import run as running
    from training_ground.agents.certification.checking import sign_result
    from training_ground.agents.certification.report.writing import PAGE, write_report
    from training_ground.agents.certification.result import FILE

    key = _private_key(keys[0]) if keys else None  # a wrong key is told before the work, not after
    test = running.prepare(protocol, policy, overrides)
    with progress("testing", running.remaining(test, out), unit="trials", quiet=as_json) as shown:
        failed = 0

        def tell(line: Any) -> None:
            nonlocal failed
            failed += not line.trial.success
            shown.advance(1, f"{failed} without success; {line.condition}")

        result = running.run(test, out, workers, _command(protocol, policy, out, workers, overrides), tell)
    statement = None if key is None else sign_result(out / FILE, key)
    own = () if key is None else (key.public_key().public_bytes_raw(),)
    with progress("drawing failures", None, unit="trials", quiet=as_json) as shown:
        write_report(out / FILE, out / PAGE, keys=own, policy=test.policy, on_film=lambda _: shown.advance(1))
    data = result.model_dump(mode="json", exclude={"conditions": {"__all__": {"trials"}}, "session": {"timings"}})
    data |= {"path": str(out / FILE), "page": str(out / PAGE), "signed_by": statement and statement.key_id}
    signed = [] if statement is None else [f"signed by the key {statement.key_id[:16]}"]
    emit(data, as_json, [*_lines(result), f"result: {out / FILE}", f"page: {out / PAGE}", *signed])
    return STATUS[result.verdict]


def _command(protocol: str, policy: str, out: Path, workers: int, overrides: Sequence[str]) -> list[str]:
    """What does the same once more; whose key signs is the signer's business."""
    given = ["--policy", policy, "--out", str(out), "--workers", str(workers)]
    return ["tg", "certify", protocol, *given, *overrides]


def _private_key(path: Path) -> Any:
    import os

    from training_ground.cli.data.keygen import PASSPHRASE
    from training_ground.datasets.signing import is_encrypted, read_private_key

    secret = None
    if is_encrypted(path):
        secret = os.environ.get(PASSPHRASE) or click.prompt("Passphrase", hide_input=True, err=True)
    return read_private_key(path, secret.encode() if secret else None)


def _lines(result: Result) -> list[Any]:
    """Return a result as people see it: what was judged, then every condition."""
    judged = [
        (c.id, m.name, m.value, _ends(m.low, m.high), _asked(m), m.verdict)
        for c in result.conditions
        for m in c.metrics
        if m.verdict is not None
    ]
    rows = [_row(condition) for condition in result.conditions]
    who = result.policy.name + ("" if result.policy.sha256 is None else f" ({result.policy.sha256[:12]})")
    return [
        f"{result.protocol.content.title}: {who}",
        table("judged", ["condition", "metric", "value", "interval", "asked for", "verdict"], judged),
        table("conditions", ["condition", "trials", "success", "interval", "failures"], rows),
        *result.reasons,
        f"verdict: {result.verdict}    identity {result.identity[:16]}, {result.session.seconds:.0f} s",
    ]


def _row(condition: Any) -> tuple[Any, ...]:
    success = next((m for m in condition.metrics if m.name == "success"), None)
    failures = ", ".join(f"{kind} {count}" for kind, count in condition.failures.items()) or "none"
    if success is None:
        return condition.id, len(condition.trials), None, "", failures
    return condition.id, len(condition.trials), success.value, _ends(success.low, success.high), failures


def _ends(low: float | None, high: float | None) -> str:
    return " to ".join("open" if end is None else f"{end:.4g}" for end in (low, high))


def _asked(metric: Any) -> str:
    return f"≥ {metric.at_least:g}" if metric.at_least is not None else f"≤ {metric.at_most:g}"


def _verify(path: Path, keys: tuple[Path, ...], as_json: bool) -> int:
    from training_ground.agents.certification.checking import check
    from training_ground.cli.data._place import read_keys

    found = check(path, read_keys(keys))
    result, signed = found.result, found.statement
    data = {
        "path": str(path),
        "ok": not found.problems,
        "problems": list(found.problems),
        "verified": found.verified,
        "signature": signed and signed.model_dump(exclude={"signature", "format", "version"}),
        "verdict": result.verdict,
        "identity": result.identity,
    }
    said = "not signed" if signed is None else f"signed by the key {signed.key_id[:16]}"
    if signed is not None:
        said += ", which you trust" if found.verified else ", which nobody vouches for: give --key" if not keys else ""
    verdict = "all good" if not found.problems else f"{len(found.problems)} problems"
    trials = sum(len(condition.trials) for condition in result.conditions)
    line = f"{path}: {result.verdict}, {trials} trials, {said}: {verdict}"
    emit(data, as_json, [*found.problems, line])
    return 1 if found.problems else 0

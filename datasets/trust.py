"""Whether a store is what somebody signed: manifest, signature and files compared, before anything else is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets import manifest as manifests
from training_ground.datasets import signing
from training_ground.datasets.files import folder_lock, hash_regular, read_regular
from training_ground.datasets.layout import EPISODES, MANIFEST, SIGNATURE
from training_ground.datasets.manifest import Entry, Proof
from training_ground.datasets.schema import canonical_json, parse_json
from training_ground.datasets.signing import Statement
from training_ground.datasets.store import Store


@dataclass(frozen=True)
class TrustReport:
    """What a comparison of a store with its manifest found.

    Attributes:
        files: Files that the manifest lists.
        unchanged: How many of them are as listed.
        changed, missing: Paths, each with a reason.
        unsigned: Paths of files that came after the manifest: legal, and nobody's word but the writer's.
        statement: What was signed; None where nothing was, or the signature does not hold.
        verified: The signature holds, is by a key that the reader trusts, and fits the manifest, whose files are all
            as listed.
        problems: One sentence each.
        notes: What is worth knowing and no error.
    """

    files: int
    unchanged: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    unsigned: tuple[str, ...]
    statement: Statement | None
    verified: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; a store that nobody trusted signed may be ok without being verified."""
        return not self.problems


def sign_store(store: Store, key_path: Path, key: object, progress: Callable[[int], None] | None = None) -> Statement:
    """Write `manifest.json` and `manifest.sig` for a store as it is now.

    Args:
        store: Checked with `Store.verify` before: a signature on damage is worth nothing.
        key_path: Where the key was read from; inside the store it would be published with it.
        key: As `signing.read_private_key` returns it.
        progress: Called with an episode's number after it was hashed.

    Raises:
        DatasetError: The key lies in the store, or a file cannot be read or written.
    """
    if key_path.resolve().is_relative_to(store.path.resolve()):
        raise DatasetError(f"{key_path}: lies in the dataset, and would be published with it; keep it elsewhere")
    manifest = manifests.build(store, progress)
    with folder_lock(store.path):  # of two who sign at once each writes both files
        raw = manifests.write(store, manifest)
        return signing.sign(store.path, raw, manifest.root, len(manifest.files), key)


def check(folder: Path, keys: Sequence[bytes] = (), progress: Callable[[str], None] | None = None) -> TrustReport:
    """Compare a store with its manifest, and the manifest with its signature; no file's content is parsed.

    Args:
        folder: The store's.
        keys: Public keys that the reader trusts, 32 bytes each; with any given, anything else than a signature by one
            of them is a problem.
        progress: Called with a file's path after it was hashed.

    Raises:
        DatasetError: There is no manifest, or it is none.
    """
    raw = _read_manifest(folder)
    statement, problems, notes = _check_signature(folder, raw, keys)
    manifest = manifests.parse(raw, str(folder / MANIFEST))
    if statement is not None and (statement.root, statement.files) != (manifest.root, len(manifest.files)):
        problems.append(f"{folder / SIGNATURE}: was signed for another root or number of files")
    there = manifests.listed_files(folder)
    known, listed = set(there), {entry.path for entry in manifest.files}
    changed, missing = [], []
    for entry in manifest.files:
        if entry.path not in known:
            missing.append(f"{entry.path}: is listed and not there")
        elif reason := _compare(folder / entry.path, entry):
            changed.append(f"{entry.path}: {reason}")
        if progress is not None:
            progress(entry.path)
    unsigned = tuple(path for path in there if path not in listed)
    problems += changed + missing
    notes += [f"{path}: is none of the dataset's files, and never signed" for path in manifests.strangers(folder)]
    return TrustReport(
        files=len(manifest.files),
        unchanged=len(manifest.files) - len(changed) - len(missing),
        changed=tuple(changed),
        missing=tuple(missing),
        unsigned=unsigned,
        statement=statement,
        verified=bool(keys) and statement is not None and not problems,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def episode_proof(folder: Path, number: int) -> bytes:
    """Return a JSON object that proves, with the signature in it, that an episode's file was signed.

    Raises:
        DatasetError: There is no manifest or signature, or the manifest lists no such episode.
    """
    raw = _read_manifest(folder)
    statement = signing.read_statement(folder / SIGNATURE)
    proof = manifests.prove(manifests.parse(raw, str(folder / MANIFEST)), number)
    if proof.root() != statement.root:
        raise DatasetError(f"{folder / SIGNATURE}: does not fit {MANIFEST}; sign again")
    held = {"statement": statement.model_dump(), "proof": proof.model_dump(exclude_none=True)}
    return canonical_json(held, "proof") + b"\n"


def check_episode(file: Path, proof_file: Path, keys: Iterable[bytes]) -> Statement:
    """Check one episode's file alone, by a proof that `episode_proof` made; return what was signed.

    Raises:
        DatasetError: The proof is none, was signed by no trusted key, leads to another root, or is for another file.
    """
    where = str(proof_file)
    data = parse_json(read_regular(proof_file, manifests.MAX_PROOF_BYTES), where)
    if set(data) != {"statement", "proof"} or not all(isinstance(part, dict) for part in data.values()):
        raise DatasetError(f"{where}: must hold 'statement' and 'proof', both objects")
    statement = validate(Statement, data["statement"], f"{where}: statement", DatasetError)
    proof = validate(Proof, data["proof"], f"{where}: proof", DatasetError)
    if not signing.trusted(statement, keys):
        raise DatasetError(f"{where}: is not signed by a key that you trust; it names {statement.key_id[:16]}")
    if (proof.root(), proof.count) != (statement.root, statement.files):
        raise DatasetError(f"{where}: does not lead to the root that was signed")
    if proof.entry.path != f"{EPISODES}/{file.name}":
        raise DatasetError(f"{where}: is for {proof.entry.path}, not for {file.name}")
    if reason := _compare(file, proof.entry):
        raise DatasetError(f"{file}: {reason}")
    return statement


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        raise DatasetError(f"{folder}: has no {MANIFEST}; make one with tg data sign")
    return read_regular(path, manifests.MAX_MANIFEST_BYTES)


def _check_signature(folder: Path, raw: bytes, keys: Sequence[bytes]) -> tuple[Statement | None, list[str], list[str]]:
    """Compare signature and manifest before the manifest is parsed; return statement, problems and notes."""
    path = folder / SIGNATURE
    if not path.exists() and not path.is_symlink():
        sentence = f"{folder}: is not signed: it has no {SIGNATURE}"
        return (None, [sentence], []) if keys else (None, [], [sentence])
    statement = signing.read_statement(path)
    if not signing.holds(statement):
        return None, [f"{path}: the signature does not hold: statement, key or signature was changed"], []
    problems = []
    if statement.manifest_sha256 != hashlib.sha256(raw).hexdigest():
        problems.append(f"{path}: was signed for another {MANIFEST} than the one beside it")
    name = statement.key_id[:16]
    if keys and not signing.trusted(statement, keys):
        problems.append(f"{path}: is signed by the key {name}, which is none of the {len(keys)} that you trust")
    if not keys:
        return statement, problems, [f"signed by the key {name}; give --key to say whom you trust"]
    return statement, problems, []


def _compare(path: Path, entry: Entry) -> str:
    """Say how a file differs from its entry; nothing where it does not."""
    try:
        size = path.lstat().st_size
        if not path.is_symlink() and size != entry.bytes:  # a file of another size is not read
            return f"has {size} bytes, {entry.bytes} were listed"
        _, digest = hash_regular(path, min(entry.bytes, manifests.limit(entry.path)))
    except (DatasetError, OSError) as problem:
        return str(problem).removeprefix(f"{path}: ")
    return "" if digest == entry.sha256 else "its bytes have changed"

"""Signatures of a store's manifest: ed25519 (RFC 8032) by `cryptography`, keys as PEM files.

What is signed is a statement: the root, the number of files, the sha256 of `manifest.json`, the time and the key. The
statement names its own key, but that proves nothing: only a signature by a key that the reader trusts does.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets.files import read_regular, sync_folder, write_over
from training_ground.datasets.layout import SIGNATURE
from training_ground.datasets.manifest import Digest
from training_ground.datasets.schema import Count, canonical_json, parse_json

DOMAIN = b"training-ground-manifest-signature-v1\x00"
"""Stands before what is signed, so that a signature for one purpose is none for another."""
MAX_SIGNATURE_BYTES = 16 << 10
MAX_KEY_BYTES = 64 << 10
_PUBLIC = b"-----BEGIN PUBLIC KEY-----"
_END = b"-----END PUBLIC KEY-----"


class Signed(StrictModel):
    """What every signed statement has; a subclass adds what it is about, and a domain of its own.

    Attributes:
        time_ns: When it was signed, by the signer's clock, ns since 1970.
        public_key: 32 bytes as hex.
        key_id: sha256 of those bytes, hex.
        signature: 64 bytes as hex, over everything else.
    """

    domain: ClassVar[bytes]

    version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    time_ns: Count
    public_key: Digest
    key_id: Digest
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return self.domain + canonical_json(self.model_dump(exclude={"signature"}), SIGNATURE)


class Statement(Signed):
    """What the signature of a manifest says.

    Attributes:
        root, files: Of the manifest: its root, and how many files it lists.
        manifest_sha256: Of the bytes of `manifest.json`.
    """

    domain = DOMAIN

    format: Literal["training-ground-signature"] = "training-ground-signature"
    root: Digest
    files: Count
    manifest_sha256: Digest


Kind = TypeVar("Kind", bound=Signed)


def key_id(public_key: bytes) -> str:
    """Return the name of a public key: the sha256 of its 32 bytes, hex."""
    return hashlib.sha256(public_key).hexdigest()


def make_key(path: Path, passphrase: bytes | None = None) -> tuple[Path, str]:
    """Make a key pair: `path` (PKCS8 PEM, mode 0600) and `path` with `.pub` behind it; return that and the key's name.

    Args:
        path: Where neither file is yet.
        passphrase: Encrypts the private key; None leaves it readable to whoever can read the file.

    Raises:
        DatasetError: A file is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    closed = form.BestAvailableEncryption(passphrase) if passphrase else form.NoEncryption()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, closed)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    public_path = path.with_name(f"{path.name}.pub")
    for file in (path, public_path):
        if file.exists() or file.is_symlink():
            raise DatasetError(f"{file}: exists already; a key is never replaced")
    _write_key(path, private, 0o600)
    _write_key(public_path, public, 0o644)
    return public_path, key_id(key.public_key().public_bytes_raw())


def is_encrypted(path: Path) -> bool:
    """Say whether a private key's file asks for a passphrase."""
    return b"ENCRYPTED PRIVATE KEY" in read_regular(path, MAX_KEY_BYTES)


def read_private_key(path: Path, passphrase: bytes | None = None) -> Any:
    """Read an ed25519 private key.

    Raises:
        DatasetError: It is no such key, others may read it, or the passphrase is missing or wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    raw = read_regular(path, MAX_KEY_BYTES)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise DatasetError(f"{path}: mode = {mode:04o}, others may read or write this private key; chmod 600 it")
    if not is_encrypted(path):
        passphrase = None
    try:
        key = load_pem_private_key(raw, passphrase)
    except TypeError as problem:
        raise DatasetError(f"{path}: the key is encrypted, and no passphrase was given") from problem
    except (ValueError, UnsupportedAlgorithm) as problem:
        wrong = "the passphrase is wrong, or the file is damaged" if passphrase else "is no private key in PEM"
        raise DatasetError(f"{path}: {wrong}") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise DatasetError(f"{path}: is a key of another kind than ed25519; make one with tg data keygen")
    return key


def read_public_keys(path: Path) -> list[bytes]:
    """Read one or more ed25519 public keys (PEM, one after the other), 32 bytes each.

    Raises:
        DatasetError: There is none, or one is of another kind.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    raw = read_regular(path, MAX_KEY_BYTES)
    if b"PRIVATE KEY" in raw:
        raise DatasetError(f"{path}: is a private key; give the public one, {path.name}.pub")
    keys = []
    for block in raw.split(_PUBLIC)[1:]:
        try:
            key = load_pem_public_key(_PUBLIC + block.partition(_END)[0] + _END + b"\n")
        except (ValueError, UnsupportedAlgorithm) as problem:
            raise DatasetError(f"{path}: holds something that is no public key in PEM") from problem
        if not isinstance(key, Ed25519PublicKey):
            raise DatasetError(f"{path}: holds a key of another kind than ed25519")
        keys.append(key.public_bytes_raw())
    if not keys:
        raise DatasetError(f"{path}: holds no public key in PEM")
    return keys


def sign(folder: Path, raw: bytes, root: str, files: int, key: Any) -> Statement:
    """Sign a manifest and write `manifest.sig`, over the one that is there.

    Args:
        folder: The store's.
        raw: Bytes of `manifest.json`.
        root, files: What they say.
        key: As `read_private_key` returns it.
    """
    said = {"root": root, "files": files, "manifest_sha256": hashlib.sha256(raw).hexdigest()}
    return write_statement(folder / SIGNATURE, Statement, said, key)


def write_statement(path: Path, kind: type[Kind], said: Mapping[str, Any], key: Any) -> Kind:
    """Sign a statement and write it, over one that is there.

    Args:
        path: Its file.
        kind: What it is about.
        said: The fields that `kind` adds.
        key: As `read_private_key` returns it.
    """
    public = key.public_key().public_bytes_raw()
    statement = kind(**said, time_ns=time.time_ns(), public_key=public.hex(), key_id=key_id(public))
    signed = statement.model_copy(update={"signature": key.sign(statement.message()).hex()})
    write_over(path, canonical_json(signed.model_dump(), path.name) + b"\n")
    return signed


def read_statement(path: Path) -> Statement:
    """Read a `manifest.sig`; see `read_signed`."""
    return read_signed(path, Statement)


def read_signed(path: Path, kind: type[Kind]) -> Kind:
    """Read a statement; whether its signature holds is for `holds` to say.

    Raises:
        DatasetError: It is none of that kind, or of a version that is not known.
    """
    where = str(path)
    return validate(kind, parse_json(read_regular(path, MAX_SIGNATURE_BYTES), where), where, DatasetError)


def holds(statement: Signed) -> bool:
    """Say whether the statement was signed with the key that it names."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = bytes.fromhex(statement.public_key)
    if key_id(public) != statement.key_id or not statement.signature:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(statement.signature), statement.message())
    except (InvalidSignature, ValueError):
        return False
    return True


def trusted(statement: Signed, keys: Iterable[bytes]) -> bool:
    """Say whether the statement was signed, and by one of the reader's keys."""
    return bytes.fromhex(statement.public_key) in set(keys) and holds(statement)


def _write_key(path: Path, data: bytes, mode: int) -> None:
    # Not by way of a temporary file: that would be another place where the key has been.
    made = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        made = True
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(path.parent)
    except OSError as problem:
        if made:
            path.unlink(missing_ok=True)
        raise DatasetError(f"{path}: cannot be written: {problem.strerror or problem}") from problem

"""Send a store to where others read it: first a plan, then the files in an order that readers meanwhile can live with.

What is there already with the same hash is not sent again, so that a push that was killed goes on where it stood. Every
file is looked at again after it was sent. Nothing is ever deleted there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training_ground.configs.errors import DatasetError
from training_ground.datasets import manifest as manifests
from training_ground.datasets.files import open_regular, read_regular
from training_ground.datasets.layout import DESCRIPTION, EPISODES, FILES, MANIFEST, MEDIA
from training_ground.datasets.manifest import Entry, Manifest
from training_ground.datasets.remote.contents import STAGES, Contents, limit, look
from training_ground.datasets.remote.location import ONE_PIECE_BYTES, TRIES, Absent, Held, Location
from training_ground.datasets.remote.parallel import transferred
from training_ground.datasets.signing import SIGNATURE
from training_ground.datasets.store import MAX_DESCRIPTION_BYTES, Store

Progress = Callable[[str, int], None]
"""Called with a file's path and size in bytes when it is done."""


@dataclass(frozen=True)
class PushPlan:
    """What a push would do.

    Attributes:
        store, location: From and to.
        entries: Every file of the store by path.
        extra: Bytes of `manifest.json`, and of `manifest.sig` where the store is signed, unless they are there.
        new: Paths of files that are not there yet.  changed: of those that are there with other bytes.
        same: Files that are there as they are here.
        only_there: Paths of files that only the other side has; they stay.
    """

    store: Store
    location: Location
    entries: dict[str, Entry]
    extra: dict[str, bytes]
    new: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    only_there: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes to send."""
        return sum(self.entries[path].bytes for path in (*self.new, *self.changed))


def plan_push(store: Store, url: str, progress: Progress | None = None) -> PushPlan:
    """Compare a store with what is at an address; nothing is sent.

    Args:
        store: Every file of it is hashed.
        url: A folder, such as `s3://bucket/press`; a new one, or one that this store was sent to before.
        progress: Called with each file that was compared.

    Raises:
        DatasetError: The address is refused, holds another dataset or something else, or the store is not what its own
            signature says.
    """
    location = Location(url)
    if not location.writes:
        raise DatasetError(f"{location.url}: can only be read")
    manifest = manifests.build(store)
    entries = {entry.path: entry for entry in manifest.files}
    there = _there(location, store)
    extra = _extra(store, manifest, there)
    new, changed, same = [], [], 0
    for path, entry in entries.items():
        held = there.files.get(path) if there else None
        if held is None:
            new.append(path)
        elif there and _is_same(location, store.path / path, entry, held, there.listed.get(path)):
            same += 1
        else:
            changed.append(path)
        if progress is not None:
            progress(path, entry.bytes)
    only = sorted(set(there.files) - set(entries)) if there else []
    extra = {name: data for name, data in extra.items() if not there or there.extra.get(name) != data}
    return PushPlan(store, location, entries, extra, tuple(new), tuple(changed), same, tuple(only))


def push(plan: PushPlan, *, replace: bool = False, workers: int = 8, progress: Progress | None = None) -> None:
    """Send what the plan says; when this returns, everything is there as it is here.

    Args:
        plan: As `plan_push` made it.
        replace: Whether files that are there with other bytes may be replaced.
        workers: Most files that are sent at once.
        progress: Called with each file that has arrived.

    Raises:
        DatasetError: Something would be replaced, or does not arrive. What has arrived stays; the next push goes on.
    """
    if plan.changed and not replace:
        raise DatasetError(f"{plan.location.url}: {len(plan.changed)} files would be replaced: {plan.changed[0]} …")
    meant = {*plan.new, *plan.changed}
    for stage in STAGES:
        paths = [path for path in sorted(meant) if path.partition("/")[0] in stage]
        failed = "not sent, and nothing that builds on them was"
        for path in transferred(lambda path: _send(plan, path), paths, workers, failed):
            if progress is not None:
                progress(path, plan.entries[path].bytes)
        for name in stage:
            if name in plan.extra:
                _send_bytes(plan.location, name, plan.extra[name])


def _there(location: Location, store: Store) -> Contents | None:
    """Return what is there; None where nothing is."""
    try:
        location.read(DESCRIPTION, MAX_DESCRIPTION_BYTES)
    except Absent:
        for folder in (EPISODES, MEDIA):
            if any(FILES[folder].fullmatch(name) for name in location.names(folder)):
                raise DatasetError(
                    f"{location.url}: holds {folder} without a {DESCRIPTION}; choose another folder"
                ) from None
        return None
    found = look(location, as_listed=False)
    if found.schema.fingerprint() != store.schema.fingerprint():
        raise DatasetError(f"{location.url}: holds another dataset, of '{found.schema.robot}'; choose another folder")
    return found


def _extra(store: Store, manifest: Manifest, there: Contents | None) -> dict[str, bytes]:
    """Return manifest and signature as they are to be there: signed ones as they are, else a new manifest."""
    if not (store.path / SIGNATURE).exists():
        if there and SIGNATURE in there.extra:
            raise DatasetError(
                f"{store.path}: is not signed, and what is at the other end is; sign it first (tg data sign), "
                "or nobody could verify it any more"
            )
        return {MANIFEST: manifest.encode()}
    raw = read_regular(store.path / MANIFEST, limit(MANIFEST))
    ours = {entry.path: entry for entry in manifest.files}
    for entry in manifests.parse(raw, str(store.path / MANIFEST)).files:
        if ours.get(entry.path) != entry:
            raise DatasetError(f"{store.path / entry.path}: is not what {MANIFEST} says; see tg data verify --manifest")
    return {MANIFEST: raw, SIGNATURE: read_regular(store.path / SIGNATURE, limit(SIGNATURE))}


def _is_same(location: Location, path: Path, entry: Entry, held: Held, listed: Entry | None) -> bool:
    """Say whether a file is there as it is here: by the server's MD5, by the manifest sent last, by reading."""
    if held.size != entry.bytes:
        return False
    if held.md5 is not None and held.md5 == _md5(path, entry.bytes):
        return True
    if held.md5 is None and listed is not None:
        return listed.sha256 == entry.sha256
    return location.sha256(entry.path, held.size) == entry.sha256


def _send(plan: PushPlan, path: str) -> None:
    entry, local = plan.entries[path], plan.store.path / path
    if entry.bytes <= ONE_PIECE_BYTES:
        data = read_regular(local, entry.bytes)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DatasetError(f"{local}: was changed while it was sent")
        _send_bytes(plan.location, path, data)
        return
    for _ in range(TRIES):
        plan.location.write(path, local)
        if _arrived(plan.location, path, entry.bytes, entry.sha256, None):
            return
    raise DatasetError(f"{plan.location.url}/{path}: does not arrive as it was sent, tried {TRIES} times")


def _send_bytes(location: Location, path: str, data: bytes) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    for _ in range(TRIES):
        location.write(path, data)
        if _arrived(location, path, len(data), sha256, md5):
            return
    raise DatasetError(f"{location.url}/{path}: does not arrive as it was sent, tried {TRIES} times")


def _arrived(location: Location, path: str, size: int, sha256: str, md5: str | None) -> bool:
    """Say whether a file is there as it was sent: by the server's own MD5 of it, else by reading it back."""
    held = location.look(path)
    if held.size != size:
        return False
    return (md5 is not None and held.md5 == md5) or location.sha256(path, size) == sha256


def _md5(path: Path, size: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open_regular(path, size) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

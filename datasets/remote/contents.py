"""What a remote store holds: the files of the fixed layout, and what is known of their hashes before they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import validate
from training_ground.datasets import manifest as manifests
from training_ground.datasets import migrations, signing
from training_ground.datasets.episode_file import MAX_FILE_BYTES
from training_ground.datasets.files import TEMPORARY_PREFIX
from training_ground.datasets.layout import ABOUT, DESCRIPTION, EPISODES, FILES, MANIFEST, MEDIA
from training_ground.datasets.manifest import Entry, Manifest
from training_ground.datasets.remote.location import Absent, Held, Location
from training_ground.datasets.schema import DatasetSchema, parse_json
from training_ground.datasets.signing import SIGNATURE, Statement
from training_ground.datasets.store import MAX_DESCRIPTION_BYTES
from training_ground.datasets.video_schema import MAX_MEDIA_BYTES

MAX_JSON_BYTES = 256 << 20
"""Largest annotation, lineage or split: what a lineage file may have."""
STAGES = (
    (DESCRIPTION,),
    (MEDIA,),
    (EPISODES,),
    ("lineage", "annotations", "splits"),
    tuple(name for name in manifests.TOP if name != DESCRIPTION),
    (MANIFEST,),
    (SIGNATURE,),
)
"""Order in which files move: whoever reads meanwhile never sees an episode without its media or its description."""


@dataclass(frozen=True)
class Contents:
    """What a remote store was found to hold.

    Attributes:
        schema: Its `dataset.json`.
        files: Path → size and MD5, of data only: manifest and signature are apart.
        listed: Path → what the manifest says; empty without one.
        extra: Bytes of `dataset.json`, `manifest.json` and `manifest.sig`, those that are there.
        statement: What was signed; None without keys to check it by.
        notes: What is worth knowing and no error.
    """

    schema: DatasetSchema
    files: dict[str, Held]
    listed: dict[str, Entry]
    extra: dict[str, bytes]
    statement: Statement | None
    notes: tuple[str, ...]

    def sha256(self, path: str) -> str | None:
        """Return a file's hash where it is known before the file is read."""
        if path in self.listed:
            return self.listed[path].sha256
        return path.partition("/")[2].partition(".")[0] if path.startswith(f"{MEDIA}/") else None


def look(location: Location, keys: Sequence[bytes] = (), *, as_listed: bool = True) -> Contents:
    """Find out what a remote store holds.

    Args:
        location: Where. A web server lists nothing: there, the manifest says which files there are.
        keys: Public keys that the reader trusts. With any given, the manifest must be signed by one of them, and a file
            that it does not list is left out.
        as_listed: Whether `dataset.json` must be what the manifest says; not where a push that died had replaced it.

    Raises:
        DatasetError: There is no store, its description or manifest is damaged, or not signed as demanded.
    """
    try:
        raw = location.read(DESCRIPTION, MAX_DESCRIPTION_BYTES)
    except Absent as problem:
        raise DatasetError(f"{location.url}: is no dataset: it has no {DESCRIPTION}") from problem
    where = f"{location.url}/{DESCRIPTION}"
    extra, notes = {DESCRIPTION: raw}, []
    manifest = _manifest(location, extra)
    statement = _signed(location, extra, manifest, keys) if keys else None
    listed = {} if manifest is None else {entry.path: entry for entry in manifest.files}
    if as_listed and listed and hashlib.sha256(raw).hexdigest() != listed[DESCRIPTION].sha256:
        raise DatasetError(f"{where}: is damaged or was changed: its bytes are not those that were promised")
    schema = migrations.read_description(parse_json(raw, where), where)
    if location.lists:
        files, strangers = _listing(location)
        notes += [f"{count} files in {folder}/ are none of a dataset's; ignored" for folder, count in strangers]
        notes += [f"{path}: is listed in {MANIFEST} and not there" for path in listed if path not in files]
    elif manifest is None:
        raise DatasetError(
            f"{location.url}: has no {MANIFEST}, and a web server does not say which files there are; "
            "make one with tg data sign, or with tg data push into a folder that the server shows"
        )
    else:
        files = {entry.path: Held(entry.bytes) for entry in manifest.files}
    if keys:
        unsigned = [path for path in files if path not in listed]
        notes += [f"{path}: is not signed; left out" for path in unsigned]
        files = {path: held for path, held in files.items() if path in listed}
    for path, held in files.items():
        if held.size > limit(path):
            raise DatasetError(f"{location.url}/{path}: has {held.size} bytes, more than the {limit(path)} allowed")
    return Contents(schema, files, listed, extra, statement, tuple(notes))


def limit(path: str) -> int:
    """Return the size that a file of this path may have, bytes."""
    folder = path.partition("/")[0]
    known = {EPISODES: MAX_FILE_BYTES, MEDIA: MAX_MEDIA_BYTES, DESCRIPTION: MAX_DESCRIPTION_BYTES}
    known |= {ABOUT: MAX_DESCRIPTION_BYTES, MANIFEST: manifests.MAX_MANIFEST_BYTES}
    return known.get(folder, signing.MAX_SIGNATURE_BYTES if path == SIGNATURE else MAX_JSON_BYTES)


def _listing(location: Location) -> tuple[dict[str, Held], list[tuple[str, int]]]:
    """Return the files whose names are of the layout, in order, and how many others each folder has."""
    top = location.names()
    files = {name: top[name] for name in manifests.TOP if name in top}
    strangers = []
    for folder, pattern in FILES.items():
        names = location.names(folder)
        files |= {f"{folder}/{name}": held for name, held in names.items() if pattern.fullmatch(name)}
        others = sum(not pattern.fullmatch(name) and not name.startswith(TEMPORARY_PREFIX) for name in names)
        if others:
            strangers.append((folder, others))
    return dict(sorted(files.items())), strangers


def _manifest(location: Location, extra: dict[str, bytes]) -> Manifest | None:
    for name in (MANIFEST, SIGNATURE):
        try:
            extra[name] = location.read(name, limit(name))
        except Absent:
            continue
    if MANIFEST not in extra:
        return None
    return manifests.parse(extra[MANIFEST], f"{location.url}/{MANIFEST}")


def _signed(location: Location, extra: dict[str, bytes], manifest: Manifest | None, keys: Sequence[bytes]) -> Statement:
    where = f"{location.url}/{SIGNATURE}"
    if manifest is None or SIGNATURE not in extra:
        raise DatasetError(f"{location.url}: is not signed")
    statement = validate(Statement, parse_json(extra[SIGNATURE], where), where, DatasetError)
    if not signing.trusted(statement, keys):
        raise DatasetError(f"{where}: is not signed by a key that you trust; it names {statement.key_id[:16]}")
    said = (statement.manifest_sha256, statement.root, statement.files)
    if said != (hashlib.sha256(extra[MANIFEST]).hexdigest(), manifest.root, len(manifest.files)):
        raise DatasetError(f"{where}: was signed for another {MANIFEST} than the one beside it")
    return statement

"""Fetch a store from where others put it. What comes is a stranger's: names are those of the fixed layout, sizes are
capped before anything is read, hashes compared before a file gets its name. What is here already is not fetched again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training_ground.configs.errors import DatasetError
from training_ground.datasets import episode_file
from training_ground.datasets.files import (
    describe,
    hash_regular,
    name_it,
    names_in,
    read_regular,
    remove_leftovers,
    sync_folder,
    temporary,
    write_over,
)
from training_ground.datasets.layout import DESCRIPTION, EPISODES, FILES, MANIFEST
from training_ground.datasets.remote.contents import STAGES, Contents, limit, look
from training_ground.datasets.remote.location import Location
from training_ground.datasets.remote.parallel import transferred
from training_ground.datasets.remote.push import Progress
from training_ground.datasets.schema import parse_json
from training_ground.datasets.signing import SIGNATURE
from training_ground.datasets.store import MAX_DESCRIPTION_BYTES, Store


@dataclass(frozen=True)
class PullPlan:
    """What a pull would do.

    Attributes:
        location, path: From and to.
        contents: What is there.
        new: Paths of files that are not here yet.  changed: of those that are here with other bytes.
        same: Files that are here as they are there.
        only_here: Paths of files that only this side has; they stay.
    """

    location: Location
    path: Path
    contents: Contents
    new: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    only_here: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(self.contents.files[path].size for path in (*self.new, *self.changed))


def plan_pull(url: str, path: str | Path, keys: Sequence[bytes] = (), progress: Progress | None = None) -> PullPlan:
    """Compare what is at an address with a folder; nothing is written.

    Args:
        url: Where a store is.
        path: A folder that does not exist or is empty, or into which this store was fetched before.
        keys: Public keys that the reader trusts; with any given, only what is signed by one of them is fetched.
        progress: Called with each file that was compared.

    Raises:
        DatasetError: The address is refused, there is no store, it is not signed as demanded, or the folder holds
            something else.
    """
    location, path = Location(url), Path(path)
    contents = look(location, keys)
    here = _here(path, contents, location)
    new, changed, same = [], [], 0
    for name, held in contents.files.items():
        if name not in here:
            new.append(name)
        elif _is_same(location, path / name, name, contents):
            same += 1
        else:
            changed.append(name)
        if progress is not None:
            progress(name, held.size)
    only = tuple(sorted(here - set(contents.files)))
    return PullPlan(location, path, contents, tuple(new), tuple(changed), same, only)


def pull(plan: PullPlan, *, replace: bool = False, workers: int = 8, progress: Progress | None = None) -> Store:
    """Fetch what the plan says and return the store.

    Args:
        plan: As `plan_pull` made it.
        replace: Whether files that are here with other bytes may be replaced.
        workers: Most files that are fetched at once.
        progress: Called with each file that has come.

    Raises:
        DatasetError: Something would be replaced, is not what the manifest says, or does not come. What has come stays,
            and the next pull goes on.
    """
    if plan.changed and not replace:
        raise DatasetError(f"{plan.path}: {len(plan.changed)} files would be replaced: {plan.changed[0]} …")
    meant, folders = {*plan.new, *plan.changed}, {path.partition("/")[0] for path in plan.contents.files if "/" in path}
    try:
        for folder in (plan.path, *(plan.path / name for name in sorted({EPISODES, *folders}))):
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
    except OSError as problem:
        raise DatasetError(f"{plan.path}: {describe(problem)}") from problem
    for stage in STAGES:
        paths = [path for path in sorted(meant) if path.partition("/")[0] in stage]
        failed = "refused, and nothing that builds on them came"
        for path in transferred(lambda path: _fetch(plan, path), paths, workers, failed):
            if progress is not None:
                progress(path, plan.contents.files[path].size)
        for name in stage:
            if name in (MANIFEST, SIGNATURE) and _differs(plan.path / name, plan.contents.extra.get(name)):
                write_over(plan.path / name, plan.contents.extra[name])
    return Store.open(plan.path)


def _here(path: Path, contents: Contents, location: Location) -> set[str]:
    """Return the paths of the data that a folder has; it is a store of the same kind, or nothing."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise DatasetError(f"{path}: must be a plain folder")
    for name in FILES:
        if (path / name).is_symlink():
            raise DatasetError(f"{path / name}: is a symbolic link; folders of a dataset are plain folders")
    names = names_in(path)
    if DESCRIPTION not in names:
        others = [name for name in names if name not in FILES and not name.startswith(".")]
        others += [f"{name}/{inside}" for name in FILES for inside in names_in(path / name)]
        if others:
            raise DatasetError(f"{path}: is not empty ({', '.join(others[:3])}) and no dataset; choose another folder")
        return set()
    if Store.open(path).schema.fingerprint() != contents.schema.fingerprint():
        raise DatasetError(f"{path}: holds another dataset than {location.url}; choose another folder")
    if SIGNATURE in names and SIGNATURE not in contents.extra:
        raise DatasetError(f"{path}: is signed, and {location.url} is not; choose another folder")
    found = {name for name in names if name in contents.files}
    return found | {f"{n}/{file}" for n, known in FILES.items() for file in names_in(path / n) if known.fullmatch(file)}


def _is_same(location: Location, local: Path, path: str, contents: Contents) -> bool:
    held, known = contents.files[path], contents.sha256(path)
    size = 0 if local.is_symlink() else local.stat().st_size
    if size != held.size:
        return False
    _, ours = hash_regular(local, held.size)
    return ours == (known or location.sha256(path, held.size))


def _differs(local: Path, data: bytes | None) -> bool:
    if data is None:
        return False
    return not local.is_file() or local.is_symlink() or read_regular(local, 1 << 30) != data


def _fetch(plan: PullPlan, path: str) -> None:
    """Bring one file: under a temporary name, until its hash is the one that was promised."""
    contents, target = plan.contents, plan.path / path
    where, held, known = f"{plan.location.url}/{path}", contents.files[path], contents.sha256(path)
    if path in contents.listed and contents.listed[path].bytes != held.size:
        raise DatasetError(f"{where}: has {held.size} bytes, {contents.listed[path].bytes} are listed in {MANIFEST}")
    try:
        with temporary(target.parent) as (draft, stream):
            digest = hashlib.sha256()
            for block in plan.location.blocks(path, held.size):
                digest.update(block)
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
            if known is not None and digest.hexdigest() != known:
                raise DatasetError(f"{where}: is damaged or was changed: its bytes are not those promised")
            if known is None:
                _check_unlisted(path, draft, where)
            if path in plan.changed:
                draft.rename(target)
            elif not name_it(draft, target):
                raise DatasetError(f"{target}: came into being meanwhile; pull again")
        sync_folder(target.parent)
    except OSError as problem:
        raise DatasetError(f"{target}: {describe(problem)}; what has come so far stays") from problem


def _check_unlisted(path: str, temporary: Path, where: str) -> None:
    """Check what can be checked of a file that no manifest lists: an episode's own seal, and that JSON is JSON."""
    if path.startswith(f"{EPISODES}/"):
        episode_file.check_seal(read_regular(temporary, limit(path)), where)
    elif path.endswith(".json"):
        parse_json(read_regular(temporary, max(limit(path), MAX_DESCRIPTION_BYTES)), where)

"""A folder on another machine, through fsspec: which addresses are taken, how bytes are moved, what an error says.

Credentials are never ours: fsspec's file systems find them as their makers mean it (environment, configuration files),
an address that holds some is refused without being repeated, and no text of a foreign error is passed on.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from training_ground.configs.errors import DatasetError
from training_ground.datasets.files import open_regular

PROTOCOLS = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "file": "fsspec",
    "memory": "fsspec",
}
"""What an address may begin with, and the package that it needs."""
READ_ONLY = ("http", "https")
TRIES = 4
FIRST_DELAY_S = 0.5
"""Wait before the second try; twice as long before each further one."""
BLOCK_BYTES = 8 << 20
"""Most that one request brings."""
ONE_PIECE_BYTES = 32 << 20
"""Largest file that is sent from memory, in one piece."""

_SEGMENT = re.compile(r"[A-Za-z0-9._=+~,-]{1,255}", re.ASCII)
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError, DatasetError)
"""Errors that another try does not mend."""
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "DefaultCredentialsError"}

T = TypeVar("T")


@dataclass(frozen=True)
class Held:
    """A file that is there: its size in bytes, and its MD5 where the server tells one."""

    size: int
    md5: str | None = None


class Absent(DatasetError):
    """There is no such file: an error, or an answer."""


class Location:
    """A folder that fsspec reaches.

    Attributes:
        url: Its address, without a slash at the end.
        protocol: One of `PROTOCOLS`.
        requests, received, sent: How many requests there were, and bytes that came and went.

    Raises:
        DatasetError: The address is refused, and why. Every method raises it too: the server cannot be reached, does
            not let us in, or has no such file.
    """

    def __init__(self, url: str) -> None:
        self.protocol, self._root = _checked(url)
        self.url = f"{self.protocol}://{self._root}"
        self.requests = self.received = self.sent = 0
        self._counting = threading.Lock()
        package = PROTOCOLS[self.protocol]
        if package in ("gcsfs", "adlfs"):
            _require(package, self.protocol)
        else:
            importlib.import_module(package)  # tg says which extra has it
        import fsspec

        # Lists that were read once are not kept: others write there, too.
        self._fs: Any = fsspec.filesystem(self.protocol, use_listings_cache=False, skip_instance_cache=True)
        if self.protocol in READ_ONLY:
            self._root = self.url

    @property
    def lists(self) -> bool:
        """Whether the server says which files there are; a web server does not."""
        return self.protocol not in READ_ONLY

    @property
    def writes(self) -> bool:
        """Whether files can be sent there."""
        return self.protocol not in READ_ONLY

    def names(self, folder: str = "") -> dict[str, Held]:
        """Return the plain files in a folder by name; none where there is no such folder."""
        full = f"{self._root}/{folder}" if folder else self._root
        if self.protocol == "file" and Path(full).is_symlink():
            raise DatasetError(f"{self.url}/{folder}: is a symbolic link; folders of a dataset are plain folders")
        try:
            entries = self._tried(folder or ".", lambda: self._fs.ls(full, detail=True))
        except Absent:
            return {}
        found = {}
        for entry in entries:
            name, size = str(entry["name"]).rstrip("/").rpartition("/")[2], entry.get("size")
            if entry.get("type") == "file" and not entry.get("islink") and isinstance(size, int):
                found[name] = Held(size, _md5(entry))
        return found

    def look(self, path: str) -> Held:
        """Return what the server says of a file."""
        entry = self._tried(path, lambda: self._fs.info(self._full(path)))
        return Held(int(entry["size"] or 0), _md5(entry))

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole file of at most `limit` bytes; a larger one is refused, and not read to its end."""
        data = self._tried(path, lambda: self._get(path, 0, limit + 1))
        if len(data) > limit:
            raise DatasetError(f"{self.url}/{path}: has more than the {limit} bytes allowed")
        return data

    def fetch(self, path: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`, all of them."""

        def whole() -> bytes:
            data = self._get(path, start, end)
            if len(data) != end - start:
                raise OSError(f"{len(data)} bytes came, {end - start} were asked for")
            return data

        return self._tried(path, whole)

    def blocks(self, path: str, size: int) -> Iterator[bytes]:
        """Yield a file of `size` bytes, a bounded piece at a time."""
        for start in range(0, size, BLOCK_BYTES):
            yield self.fetch(path, start, min(size, start + BLOCK_BYTES))

    def sha256(self, path: str, size: int) -> str:
        """Read a file of `size` bytes and return its hash."""
        digest = hashlib.sha256()
        for block in self.blocks(path, size):
            digest.update(block)
        return digest.hexdigest()

    def write(self, path: str, source: Path | bytes) -> None:
        """Write a file in the place of what is there; a reader sees it whole or not at all."""
        if not self.writes:
            raise DatasetError(f"{self.url}: can only be read")
        self._tried(path, lambda: self._put(self._full(path), source))

    def _get(self, path: str, start: int, end: int) -> bytes:
        if self.protocol in READ_ONLY:
            data = self._get_from_web(path, start, end)
        elif self.protocol == "file":
            Path(self._full(path)).lstat()
            with open_regular(Path(self._full(path)), 1 << 62) as stream:  # no link is followed
                stream.seek(start)
                data = stream.read(end - start)
        else:
            data = self._fs.cat_file(self._full(path), start=start, end=end)
        with self._counting:
            self.requests, self.received = self.requests + 1, self.received + len(data)
        return data

    def _get_from_web(self, path: str, start: int, end: int) -> bytes:
        """Read no more than was asked for, whatever a web server sends, and nothing that is still to be unpacked."""
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        data = bytearray()
        with self._fs.open(self._full(path), "rb", block_size=0, size=end, headers=headers) as stream:
            if stream.r.status != 206 and start:
                raise DatasetError(f"{self.url}: the server does not serve parts of files (HTTP range requests)")
            while len(data) < end - start and (block := stream.read(min(1 << 20, end - start - len(data)))):
                data += block
        return bytes(data)

    def _put(self, full: str, source: Path | bytes) -> None:
        target = full
        if self.protocol == "file":  # the one where a file is seen while it is written
            folder, _, name = full.rpartition("/")
            self._fs.makedirs(folder, exist_ok=True)
            target = f"{folder}/.tmp-{name}"
        if isinstance(source, bytes):
            self._fs.pipe_file(target, source)
            size = len(source)
        else:
            bounded: dict[str, int] = {"chunksize": 16 << 20, "max_concurrency": 2} if self.protocol == "s3" else {}
            self._fs.put_file(str(source), target, **bounded)
            size = source.stat().st_size
        if target != full:
            self._fs.mv(target, full)
        with self._counting:
            self.requests, self.sent = self.requests + 1, self.sent + size

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _tried(self, path: str, work: Callable[[], T]) -> T:
        """Do work, several times if the network fails, and say in our words what went wrong."""
        where = f"{self.url}/{path}"
        for attempt in range(TRIES):
            try:
                return work()
            except DatasetError:
                raise
            except FileNotFoundError as problem:
                raise Absent(f"{where}: there is no such file") from problem
            except _FINAL as problem:
                raise DatasetError(f"{where}: {self._said(problem)}") from problem
            except Exception as problem:
                if attempt == TRIES - 1 or type(problem).__name__ in _NO_CREDENTIALS:
                    raise DatasetError(f"{where}: {self._said(problem)}") from problem
            time.sleep(FIRST_DELAY_S * 2**attempt * random.uniform(0.5, 1.0))
        raise AssertionError

    def _said(self, problem: BaseException) -> str:
        """Say what kind of thing went wrong; texts of other libraries may hold what must not be shown."""
        if self.protocol == "file" and isinstance(problem, OSError) and problem.errno:
            return os.strerror(problem.errno)
        if isinstance(problem, PermissionError):
            return "access is denied; check the credentials in the environment"
        if type(problem).__name__ in _NO_CREDENTIALS:
            return "no credentials were found, or not all of them; set those of the service in the environment"
        if isinstance(problem, TimeoutError):
            return f"no answer in time, tried {TRIES} times"
        return f"cannot be reached, tried {TRIES} times ({type(problem).__name__}); TG_DEBUG=1 shows more"


def _checked(url: str) -> tuple[str, str]:
    """Return protocol and path of an address; an error does not repeat it, for it may hold a secret."""
    protocol, separator, rest = url.partition("://")
    allowed = ", ".join(PROTOCOLS)
    if "::" in url:
        raise DatasetError(f"address: '::' chains file systems, which is not allowed; use one of {allowed}")
    if not separator or protocol not in PROTOCOLS:
        named = f"'{protocol}'" if re.fullmatch(r"[a-z0-9+]{1,20}", protocol) else "this"
        raise DatasetError(f"address: {named} is no protocol that is allowed here; use one of {allowed}")
    if "@" in rest or "?" in rest or "#" in rest:
        raise DatasetError(
            f"address {protocol}://…: must hold no '@', '?' or '#': credentials do not belong into an address, "
            "they come from the environment or the configuration files of the service"
        )
    segments = rest.rstrip("/").split("/")
    first, others = segments[0], segments[1:]
    if protocol == "file" and first:
        raise DatasetError("address file://…: must be followed by an absolute path, such as /data/press")
    if protocol != "file" and not (_HOST if protocol in READ_ONLY else _SEGMENT).fullmatch(first):
        raise DatasetError(f"address {protocol}://…: must begin with the name of a {_FIRST.get(protocol, 'bucket')}")
    if protocol in ("file", "memory") and not any(segments):
        raise DatasetError(f"address {protocol}://…: must name a folder")
    for segment in others:
        if segment in (".", "..") or not _SEGMENT.fullmatch(segment):
            raise DatasetError(f"address {protocol}://…: names hold letters, digits and ._=+~,- only, and are not '..'")
    if first in (".", ".."):
        raise DatasetError(f"address {protocol}://…: names are not '.' or '..'")
    return protocol, "/".join(segments)


_FIRST = {"http": "host", "https": "host", "az": "container", "memory": "folder"}


def _require(package: str, protocol: str) -> None:
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as problem:
        raise DatasetError(f"{protocol}:// needs the package '{package}': pip install {package}") from problem


def _md5(entry: dict[str, Any]) -> str | None:
    """Return the MD5 that S3 gives as the ETag of what was sent in one piece."""
    etag = str(entry.get("ETag", "")).strip('"')
    return etag if _MD5.fullmatch(etag) else None

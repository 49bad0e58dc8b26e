"""Remote stores against a real server: S3 over HTTP by moto, in a process of its own, and a web server that tells lies.

Runs in an environment of its own (`make remote`), with `training_ground` from the source tree. What is at the server is
read here with boto3, which knows nothing of fsspec.

    python remote_check.py STORE              push, kill, go on, stream, pull, compare, tamper
    python remote_check.py STORE --measure    bytes, seconds and memory of streaming as well
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from remote_measure import measure

from training_ground.configs.errors import DatasetError
from training_ground.datasets import manifest
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.remote.store import RemoteStore
from training_ground.datasets.remote.training import Stream
from training_ground.datasets.store import Store

SECRET = "neither-in-a-file-nor-in-a-message"
BUCKET = "lab"
SILENT: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
said: list[str] = []


@contextmanager
def s3_server() -> Iterator[Any]:
    """Start a server, point AWS's own settings at it, and give a client that is not fsspec."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], **SILENT)
    try:
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "checker",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        client = boto3.client("s3")
        for _ in range(100):
            try:
                client.create_bucket(Bucket=BUCKET)
                break
            except Exception:
                time.sleep(0.2)
        yield client
    finally:
        server.terminate()
        server.wait()


def tg(*arguments: str, status: int = 0) -> dict[str, Any]:
    """Run `tg data` in a process of its own."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    said.append(done.stdout + done.stderr)
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "training_ground.cli.main", "data", *arguments, "--json"]


def objects(client: Any, prefix: str) -> dict[str, bytes]:
    """Everything under a prefix, as boto3 reads it."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return {key[len(prefix) + 1 :]: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def files(folder: Path) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in manifest.listed_files(folder)}


def grown(source: Path, folder: Path, episodes: int, rows: int) -> Store:
    """A larger store: rows of `source` over and over, with noise, which compresses as little as a sensor's."""
    original = Store.open(source)
    store = Store.create(folder, original.schema)
    generator = np.random.default_rng(0)

    def make() -> Iterator[Episode]:
        for number in range(episodes):
            first = original.read(original.episodes()[number % len(original)])
            chosen = np.arange(rows) % first.length
            columns = {name: values[chosen] for name, values in first.columns.items()}
            for name, values in columns.items():
                if values.dtype == np.float32 and values.ndim > 1:
                    columns[name] = values + generator.normal(0, 1e-3, values.shape).astype(np.float32)
            columns["is_last"] = np.arange(rows) == rows - 1
            columns["timestamp_ns"] = np.rint(np.arange(rows) * 1e9 / store.schema.control_rate).astype(np.int64)
            yield Episode(first.metadata.model_copy(update={"length": rows - 1, "seed": number}), columns)

    store.extend(make())
    return store


def check_transfer(client: Any, store: Store, work: Path) -> None:
    """Push, compare with boto3, pull, compare; a file that goes in several parts; nothing is sent twice."""
    (store.path / "media").mkdir(exist_ok=True)
    for size in (1 << 10, 33 << 20):  # S3 gives no MD5 of what came in parts
        medium = random.Random(size).randbytes(size)
        (store.path / "media" / f"{hashlib.sha256(medium).hexdigest()}.mkv").write_bytes(medium)
    url, local = f"s3://{BUCKET}/press", files(store.path)
    first = tg("push", str(store.path), url)
    assert first["new"] == len(local) and first["done"]
    there = objects(client, "press")
    assert {path: there[path] for path in local} == local and set(there) - set(local) == {"manifest.json"}
    again = tg("push", str(store.path), url)
    assert (again["new"], again["same"]) == (0, len(local))
    tg("pull", url, str(work / "back"))
    assert files(work / "back") == local
    assert tg("verify", str(work / "back"), "--manifest")["ok"] and tg("verify", url)["ok"]
    assert len(tg("ls", url)["episodes"]) == len(store)
    print(f"pushed and pulled: {len(local)} files, {sum(map(len, local.values())):,} bytes, as boto3 reads them, equal")


def check_kills(client: Any, store: Store, trials: int = 5) -> None:
    """Kill a push at random instants: what is there can be read, and the next push sends the rest alone."""
    chance, local, left = random.Random(1), files(store.path), []
    for trial in range(trials):
        prefix = f"killed{trial}"
        url = f"s3://{BUCKET}/{prefix}"
        child = subprocess.Popen(command("push", str(store.path), url, "--jobs", "1"), **SILENT)
        wanted, begin = chance.randint(1, len(local) - 1), time.monotonic()
        while len(client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", ())) < wanted:
            assert child.poll() is None and time.monotonic() - begin < 60
        child.send_signal((signal.SIGKILL, signal.SIGINT)[trial % 2])
        assert child.wait() in (-signal.SIGKILL, 130, 0)
        there = objects(client, prefix)
        assert all(local[path] == data for path, data in there.items() if path in local), "half an object"
        assert RemoteStore.open(url).verify().ok
        again = tg("push", str(store.path), url)
        assert again["same"] == len(set(there) & set(local)) and again["new"] == len(local) - again["same"]
        assert {path: data for path, data in objects(client, prefix).items() if path in local} == local
        left.append(again["same"])
    print(f"killed {trials} pushes with {sorted(left)} of {len(local)} files there: each readable, each went on")


def check_killed_pulls(store: Store, work: Path, trials: int = 3) -> None:
    """Kill a pull at random instants: what is here is a store, and the next pull fetches the rest alone."""
    chance, local, left = random.Random(2), files(store.path), []
    for trial in range(trials):
        folder = work / f"killed{trial}"
        child = subprocess.Popen(command("pull", f"s3://{BUCKET}/press", str(folder), "--jobs", "1"), **SILENT)
        wanted, begin = chance.randint(1, len(local) - 1), time.monotonic()
        while not (folder / "dataset.json").exists() or len(manifest.listed_files(folder)) < wanted:
            assert child.poll() is None and time.monotonic() - begin < 60
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert Store.open(folder).verify().ok
        left.append(len(files(folder)))
        assert tg("pull", f"s3://{BUCKET}/press", str(folder))["same"] == left[-1]
        assert files(folder) == local and not list(folder.rglob(".tmp-*"))
        shutil.rmtree(folder)
    print(f"killed {trials} pulls with {sorted(left)} of {len(local)} files here: each a store, each went on")


def check_tampering(client: Any, store: Store, work: Path) -> None:
    """Change one byte of each kind of object: every reader refuses it, and a push notices."""
    url, refused = f"s3://{BUCKET}/press", 0
    episodes = [path for path in files(store.path) if path.startswith("episodes/")]
    media = [path for path in files(store.path) if path.startswith("media/")]
    media.sort(key=lambda path: (store.path / path).stat().st_size)
    for path in (episodes[0], episodes[-1], media[0]):
        whole = (store.path / path).read_bytes()
        place = len(whole) // 2
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        client.put_object(Bucket=BUCKET, Key=f"press/{path}", Body=changed)
        assert not tg("verify", url, status=1)["ok"]
        assert "is damaged or was changed" in tg("pull", url, str(work / "tampered"), status=2)["error"]
        assert not (work / "tampered" / path).exists()
        push_again = tg("push", str(store.path), url, status=1)
        assert push_again["changed"] == [path] and not push_again["done"]
        assert tg("push", str(store.path), url, "--yes")["done"] and tg("verify", url)["ok"]
        shutil.rmtree(work / "tampered")
        refused += 1
    for key in ("press/episodes/../../x", "press/episodes/episode_1.parquet", "press/media/x.sh"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    tg("pull", url, str(work / "strange"))
    assert files(work / "strange") == files(store.path)
    assert {path.name for path in work.iterdir()} <= {"back", "strange", "grown", "store"}
    print(f"tampered with {refused} objects: each refused by verify and pull, noticed by push, put right by --yes")


def check_streaming(store: Store) -> None:
    """Whole episodes and some columns, value for value."""
    reader, numbers = RemoteStore.open(f"s3://{BUCKET}/press"), 0
    for episode in reader.stream():
        ours = store.read(episode.number or 0)
        assert episode.metadata == ours.metadata
        for name, values in ours.columns.items():
            assert np.array_equal(values, episode.columns[name], equal_nan=values.dtype.kind == "f"), name
            numbers += values.size
    for number, columns in reader.stream_columns(["action", "joint_position"]):
        ours = store.read(number)
        assert all(values.tobytes() == ours.columns[name].tobytes() for name, values in columns.items())
    windows = sum(len(batch["row"]) for batch in Stream(reader, {"joint_position": 0, "action": range(8)}, 256))
    assert windows == sum(store.metadata(number).length for number in store.episodes())
    print(f"streamed {len(reader)} episodes, {numbers:,} values equal; two columns alone, equal; {windows:,} windows")


class Web(http.server.SimpleHTTPRequestHandler):
    """A web server that serves ranges, or lies: `lie` is `endless`, `bomb`, `whole` or empty."""

    lie = ""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        if self.lie == "bomb":
            part = gzip.compress(bytes(200 << 20))
        self.send_response(200 if self.lie == "whole" else 206)
        if self.lie == "bomb":
            self.send_header("Content-Encoding", "gzip")
        if self.lie == "whole":
            part = data
        if self.lie != "endless":
            self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        try:
            self.wfile.write(part)
            while self.lie == "endless":
                self.wfile.write(bytes(1 << 20))
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def check_web(store: Store, work: Path) -> None:
    """A store behind a web server: read, pulled; a server that lies costs an error and little memory."""
    folder = work / "back"
    handler = lambda *a: Web(*a, directory=str(folder))  # noqa: E731
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    tg("pull", url, str(work / "from_web"))
    assert files(work / "from_web") == files(store.path)
    reader = RemoteStore.open(url)
    number = store.episodes()[-1]
    assert np.array_equal(reader.columns(number, ["action"])["action"], store.read(number).columns["action"])
    assert "can only be read" in tg("push", str(store.path), url, status=2)["error"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for lie in ("endless", "bomb", "whole"):
        Web.lie = lie
        try:
            found = reader.columns(number, ["action"])["action"]
            assert lie == "endless" and np.array_equal(found, store.read(number).columns["action"]), lie
        except DatasetError as problem:
            assert lie != "endless", problem
    grew = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grew < 200, f"{grew:.0f} MiB"
    server.shutdown()
    Web.lie = ""
    shutil.rmtree(work / "from_web")
    print(f"web server: pulled, read; one that lies was refused or not heard out, memory grew by {grew:.0f} MiB")


def main() -> None:
    source, more = Path(sys.argv[1]), "--measure" in sys.argv
    with tempfile.TemporaryDirectory() as folder, s3_server() as client:
        work = Path(folder)
        store = grown(source, work / "store", 12, 400)
        check_transfer(client, store, work)
        check_streaming(store)
        check_web(store, work)
        check_tampering(client, store, work)
        check_kills(client, store)
        check_killed_pulls(store, work)
        for path, data in objects(client, "press").items():
            assert SECRET.encode() not in data, path
        assert not any(SECRET in text for text in said)
        print(f"the secret key is in no object and in no output of {len(said)} commands")
        if more:
            measure(grown(source, work / "grown", 200, 500), f"s3://{BUCKET}/grown", work)


if __name__ == "__main__":
    main()

"""Damaged files: the harness sees what a loader must not do; and the short version of `benchmarks/data_fuzz.py`."""

from __future__ import annotations

import colorsys
import contextlib
import importlib
import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training_ground.configs.errors import DatasetError

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("_fuzz")


def make(folder: Path) -> None:
    (folder / "sample").write_bytes(b"0" * 100)
    (folder / "link").symlink_to("/etc/hostname")


def outside(folder: Path) -> None:
    (folder.parent / "left").write_text("x")


def spin(folder: Path) -> None:
    while True:
        pass


CODE = compile("1", "code", "eval")
EVIL: dict[str, tuple[Callable[[Path], Any], str]] = {
    "runs": (lambda folder: exec(CODE), "exec"),  # noqa: S102
    "compiles": (lambda folder: eval("1"), "compile"),  # noqa: S307
    "imports": (lambda folder: __import__(sys.modules.pop("colorsys", colorsys).__name__), "import"),
    "starts": (lambda folder: subprocess.run(["true"], check=False), "subprocess.Popen"),
    "writes": (outside, "open"),
    "follows": (lambda folder: (folder / "link").open(), "open"),
    "removes": (lambda folder: (folder.parent.parent / "canary").unlink(), "os.remove"),
    "swallows": (lambda folder: swallowed(outside, folder), "open"),
    "exits": (lambda folder: os._exit(3), "exit status 3"),
    "dies": (lambda folder: os.abort(), "SIGABRT"),
    "spins": (spin, "SIGPROF"),
    "waits": (lambda folder: time.sleep(60), "SIGALRM"),
    "grows": (lambda folder: mmap.mmap(-1, 2 << 30), "Cannot allocate memory"),
    "raises": (lambda folder: {}["key"], "KeyError"),
    "obeys": (lambda folder: refuse("\x1b[2J"), "unclear error"),
    "floods": (lambda folder: refuse("x" * 10_000), "unclear error"),
}


def swallowed(call: Callable[[Path], Any], folder: Path) -> None:
    with contextlib.suppress(OSError):
        call(folder)


class Loud(DatasetError):
    """One that says all that it is told to; ours does not."""

    __str__ = Exception.__str__


def refuse(text: str) -> None:
    raise Loud(text)


@pytest.mark.parametrize("name", EVIL)
def test_what_a_loader_must_not_do_is_seen(fuzz: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for limit, value in {"CPU_S": 0.2, "WALL_S": 0.7 if name == "waits" else 30.0, "WARM": 1}.items():
        monkeypatch.setattr(fuzz, limit, value)
    read, said = EVIL[name]

    def behaves_with_the_sample(folder: Path) -> bool:
        good = (folder / "sample").is_file() and (folder / "sample").read_bytes() == b"0" * 100
        return good or bool(read(folder))

    found = fuzz.run(fuzz.Loader(name, make, behaves_with_the_sample, files="sample"), 2)
    assert found["tried"] == found["crashed"] + found["equal"] and found["crashed"] >= 1
    assert said in found["examples"][0]["said"]


def test_a_trial_can_be_done_again(fuzz: Any, tmp_path: Path) -> None:
    loader = fuzz.Loader("bytes", make, lambda folder: (folder / "sample").read_bytes(), files="sample")
    first, again = ([fuzz.once(loader, n, tmp_path / f"{part}{n}") for n in range(3)] for part in "ab")
    assert [vars(t) | {"seconds": 0} for t in first] == [vars(t) | {"seconds": 0} for t in again]


@pytest.mark.parametrize("tries", [40, pytest.param(600, marks=pytest.mark.slow)])
def test_damaged_files_of_a_store_are_refused_or_read_and_nothing_else_happens(fuzz: Any, tries: int) -> None:
    """In a process of its own: what forks must not have had threads. Formats of others: `test_datasets_formats.py`."""
    for package in ("av", "cryptography", "fsspec"):
        pytest.importorskip(package)
    names = [loader.name for loader in importlib.import_module("_fuzz_store").LOADERS]
    command = [sys.executable, str(BENCHMARKS / "data_fuzz.py"), "--tries", str(tries), "--seed", str(tries)]
    command += [part for name in names for part in ("--only", name)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert said.stdout, said.stderr
    found = json.loads(said.stdout)["loaders"]
    assert list(found) == names and not [one["examples"][0] for one in found.values() if one["crashed"]]
    for name, one in found.items():
        assert one["tried"] == tries and one["refused"] > tries // 10 and one["mib"] < 900, (name, one)

"""Files of strangers, by the thousand: a good sample is damaged in some way, and a loader has to refuse it or read it.

A trial ends in one of these ways:

- `refused`: the loader's own exception, short, and with nothing in it that a terminal would obey;
- `equal`: it was read, and is what the sample was;
- `changed`: it was read as something else (a loader that is `sealed` must never);
- `crashed`: any other exception, a signal, too much memory or time, or something that reading must not do: running or
  compiling code, importing what was not there, opening sockets, starting processes, opening or changing anything
  outside the trial's folder.

Trials run in a process of their own with bounded memory and time (`setrlimit`, timers whose signals end it), which an
audit hook watches. When it dies the trial that it was at has crashed, and a new one goes on with the next. A trial
follows from seed, loader and number alone: `once` does one again. What a library does in C is not seen by the hook; a
canary beside the folder is compared at the end.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from _fuzz_damage import Mutation, damage

from training_ground.configs.errors import DatasetError

MEMORY = 1 << 30
"""Bytes of address space that reading may add to a process that has read the sample."""
CPU_S, WALL_S = 10.0, 120.0
"""Longest trial, seconds of CPU and on the clock."""
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where the folders of trials are: nothing of them is worth a disk's time."""
WARM = 8
"""Trials before those that count, unwatched: what is loaded when something goes wrong is loaded then."""
LONGEST_ERROR = 2000
_FORBIDDEN = ("exec", "compile", "import", "marshal.", "pickle.", "function.__new__", "ctypes.")
_FORBIDDEN += ("subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "pty.", "socket.")
_FORBIDDEN += ("urllib.", "http.", "ftplib.", "smtplib.", "winreg.", "webbrowser.", "os.kill", "os.putenv")
_CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_CHANGING += ("os.chown", "os.utime", "os.setxattr", "shutil.")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Loader:
    """Something that reads files of strangers.

    Attributes:
        name: For the report and for the seed.
        make: Writes a good sample into an empty folder: small, for it is copied often.
        read: Reads the sample in the folder; returns something that is compared with ==. It may write in the folder.
        files: Pattern of the files that are damaged; empty for `special` damage alone.
        special: Damage that only this kind of file can have, by name; drawn as often as all other kinds together.
        sealed: Whether a sample that reads as something else is a failure.
        refuses: Exceptions that say clearly that a file is refused.
        allowed: Events that its audit may see all the same, such as `import`.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    files: str = "**/*"
    special: Mapping[str, Mutation] = field(default_factory=dict)
    sealed: bool = False
    refuses: tuple[type[Exception], ...] = (DatasetError,)
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """How a trial ended: one of `refused`, `equal`, `changed`, `crashed`; what was done, and what was said."""

    number: int
    verdict: str
    mutation: str
    said: str = ""
    seconds: float = 0.0


# ---- one process of trials -------------------------------------------------------------------------------------------


class _Watch:
    """What the process may not do while a loader reads; once added a hook stays, so it is switched."""

    def __init__(self, folder: Path, allowed: tuple[str, ...]) -> None:
        self.on, self.seen = False, ""
        self._folder, self._allowed = str(folder), allowed
        self._readable = tuple({sys.prefix, sys.base_prefix, "/proc", "/sys", "/usr", "/lib", "/dev/urandom"})
        self._readable += tuple(str(Path(path).resolve()) for path in sys.path if path)
        os.chdir(folder)  # what is opened beside a descriptor of a folder is told by its name alone
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event.startswith(self._allowed or "\0"):
            return
        if event == "compile" and arguments[0] == b"_getframe()":
            return  # how Cython puts a line into a traceback; what it compiles is never run
        if event == "open":
            bad = not self._may_open(*arguments)
        elif event.startswith(_CHANGING):
            bad = not all(self._inside(path) for path in arguments if isinstance(path, (str, bytes, os.PathLike)))
        else:
            bad = event.startswith(_FORBIDDEN)
        if bad:
            self.seen = self.seen or f"{event}: {str(arguments)[:200]}"
            raise PermissionError(f"not while reading: {event}")

    def _may_open(self, path: Any, mode: Any, flags: Any) -> bool:
        flags = flags if isinstance(flags, int) else 0
        if isinstance(path, int) or self._inside(path, follow=not flags & os.O_NOFOLLOW):
            return True
        writes = bool(flags & _WRITING) or any(c in str(mode or "") for c in "wax+")
        return not writes and os.path.realpath(os.fsdecode(path)).startswith(self._readable)

    def _inside(self, path: Any, follow: bool = False) -> bool:
        named = Path(os.fsdecode(path))
        # A link itself lies where its folder does.
        real = os.path.realpath(named) if follow else f"{os.path.realpath(named.parent)}/{named.name}"
        return f"{real}/".startswith(f"{self._folder}/")


class _Sample:
    """A good sample, and the folder that trials damage."""

    def __init__(self, loader: Loader, root: Path) -> None:
        self.folder = root / "trial"
        self.folder.mkdir(parents=True)
        loader.make(self.folder)
        self._good = root / "good"
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path, ns=(0, 0))  # whoever writes to it changes that
        shutil.copytree(self.folder, self._good, symlinks=True)
        self._known = self._look()

    def _look(self) -> dict[str, tuple[int, ...]]:
        """Return what would tell that a file or folder is another one, by path."""
        found, left = {}, [self.folder]
        while left:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    status, folder = entry.stat(follow_symlinks=False), entry.is_dir(follow_symlinks=False)
                    found[entry.path] = (status.st_mode, status.st_ino)
                    if folder:
                        left.append(Path(entry.path))
                    else:
                        found[entry.path] += (status.st_size, status.st_mtime_ns, status.st_nlink)
        return found

    def restore(self) -> None:
        """Make the folder what it was; files that nobody has touched stay."""
        now = self._look()
        if now == self._known:
            return
        wrong = [path for path in now if now[path] != self._known.get(path)]
        for path in map(Path, sorted(wrong)):  # a folder before what is in it
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif os.path.lexists(path):
                path.unlink()
        for path in sorted(self._known):
            good = self._good / Path(path).relative_to(self.folder)
            if os.path.lexists(path):
                continue
            if good.is_dir() and not good.is_symlink():
                Path(path).mkdir()
            else:
                shutil.copy2(good, path, follow_symlinks=False)
        self._known = self._look()


def _trial(loader: Loader, sample: _Sample, watch: _Watch | None, good: Any, number: int, seed: int) -> Trial:
    draw = random.Random(f"{seed} {loader.name} {number}")
    sample.restore()
    mutation = damage(sample.folder, loader.files, loader.special, draw)
    begun = time.process_time()
    try:
        if watch is not None:
            watch.on, watch.seen = True, ""
        try:
            found = loader.read(sample.folder)
        finally:
            if watch is not None:
                watch.on = False
    except loader.refuses as problem:
        said, verdict = str(problem), "refused"
        if not said.strip() or len(said) > LONGEST_ERROR or any(c < " " and c not in "\n\t" for c in said):
            verdict, said = "crashed", f"unclear error: {len(said)} letters: {said[:300]!r}"
    except Exception:  # what a loader must not raise, whatever it is
        said, verdict = traceback.format_exc(limit=-4)[-1500:], "crashed"
    else:
        said, verdict = "", "equal" if found == good else "changed"
        if verdict == "changed" and loader.sealed:
            verdict, said = "crashed", "sealed, and read as something else"
    if watch is not None and watch.seen:
        verdict, said = "crashed", watch.seen
    return Trial(number, verdict, mutation, said, time.process_time() - begun)


def _work(loader: Loader, root: Path, numbers: Sequence[int], seed: int, told: Connection) -> None:
    """Run trials until something ends the process; each is told before and after. Those below 0 are not watched."""
    # No output: libraries in C complain to it about every damaged file.
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    faulthandler.disable()
    sample = _Sample(loader, root)
    good = loader.read(sample.folder)
    watch, before = None, 0
    for number in numbers:
        if number >= 0 and watch is None:
            watch = _Watch(sample.folder, loader.allowed)
            limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told.send(number)
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        signal.setitimer(signal.ITIMER_REAL, WALL_S)
        told.send(_trial(loader, sample, watch, good, number, seed))
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    told.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)


def _process(loader: Loader, numbers: Sequence[int], seed: int) -> tuple[list[Trial], int]:
    """Run trials in a process until it ends; return them, and the MiB that they added to its memory."""
    context, trials, added, at = multiprocessing.get_context("fork"), list[Trial](), 0, None
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        root, canary = Path(folder) / "a" / "b", Path(folder) / "a" / "canary"
        root.mkdir(parents=True)
        canary.write_text("as it was")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(loader, root, numbers, seed, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            while True:
                said = ours.recv()
                if isinstance(said, Trial):
                    trials.append(said)
                elif len(trials) == len(numbers):
                    added = said
                else:
                    at = said
        except EOFError:
            process.join()
        if at is None:
            raise SystemExit(f"{loader.name}: the sample itself cannot be read (exit status {process.exitcode})")
        code = process.exitcode or 0
        if len(trials) < len(numbers):
            why = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            trials.append(Trial(at, "crashed", "", f"the process ended: {why}"))
        if sorted(path.name for path in root.parent.iterdir()) != ["b", "canary"] or canary.read_text() != "as it was":
            trials.append(Trial(at, "crashed", "", "something outside the folder was changed"))
    return trials, added


def run(loader: Loader, tries: int, seed: int = 0) -> dict[str, Any]:
    """Try a loader.

    Returns:
        `tried`, `refused`, `equal`, `changed`, `crashed`; `mib`, what reading added to the memory at most, `slowest_s`
        of CPU; the first `examples` of crashes, each with its number, for `once`, and some of what was `said`.
    """
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        loader.make(Path(folder))  # what is made once for all samples is made here, and not in each process
    trials: list[Trial] = []
    added, left = 0, [*range(-WARM, 0), *range(tries)]
    while left and left[-1] >= 0:
        done, more = _process(loader, left, seed)
        added = max(added, more)
        trials += [trial for trial in done if trial.number >= 0 or trial.said.startswith("the process")]
        worst = max(trial.number for trial in done)
        # After a crash the next process warms up again, but not with what has ended one.
        ended = {trial.number for trial in trials}
        left = [n for n in [*range(-WARM, 0), *range(max(0, worst + 1), tries)] if n not in ended]
    counts = Counter(trial.verdict for trial in trials)
    changed = Counter(trial.mutation.split()[0] for trial in trials if trial.verdict == "changed")
    refused = sorted({trial.said for trial in trials if trial.verdict == "refused"})
    return {
        "tried": len(trials),
        **{verdict: counts[verdict] for verdict in ("refused", "equal", "changed", "crashed")},
        "mib": added,
        "slowest_s": round(max(trial.seconds for trial in trials), 3),
        "changed_by": dict(changed),
        "examples": [vars(trial) for trial in trials if trial.verdict == "crashed"][:20],
        "said": [text[:300] for text in random.Random(seed).sample(refused, min(3, len(refused)))],
    }


def once(loader: Loader, number: int, folder: Path, seed: int = 0) -> Trial:
    """Do one trial again, here, unwatched and without limits, in an empty folder; the damaged sample stays there."""
    sample = _Sample(loader, folder)
    return _trial(loader, sample, None, loader.read(sample.folder), number, seed)


def table(results: Mapping[str, Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """Return the counts of `run`, a loader a line, for people."""
    heads = names or ("tried", "refused", "equal", "changed", "crashed", "mib", "slowest_s")
    width = max(len(name) for name in [*results, "loader"])
    lines = [f"{'loader':{width}}" + "".join(f"{head:>10}" for head in heads)]
    lines += [f"{name:{width}}" + "".join(f"{found[head]:>10}" for head in heads) for name, found in results.items()]
    return "\n".join(lines)

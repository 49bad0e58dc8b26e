"""The main job from end to end: push the robot, record, verify, export, and tell it all in one page."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training_ground.agents.files import to_json, write_atomic
from training_ground.agents.learned import LearnedPolicy
from training_ground.agents.policy import Policy, load_policy, shipped_name, shipped_policies
from training_ground.agents.recording import record
from training_ground.agents.report.page import Command, Facts, build_page
from training_ground.agents.seeds import check_unseen
from training_ground.agents.statistics import wilson_interval
from training_ground.agents.stepping import full_id, make_env
from training_ground.agents.viewing.figure import Figure
from training_ground.configs.errors import AgentError
from training_ground.datasets.export import export
from training_ground.datasets.provenance import code_commit, config_hash, describe
from training_ground.datasets.replay import Replayer, ReplayReport
from training_ground.datasets.store import Store

TASK, ROBOT = "Stand", "g1"
CONDITIONS: dict[str, Any] = {"push_speed": [0.5, 0.5], "push_interval_s": 5.0, "episode_length_s": 20.0}
MARK = "demo.json"
PAGE, DATA, EXPORT, FORMAT = "index.html", "data", "lerobot", "lerobot"

Step = Callable[[str, int], Callable[[str], None]]
"""Called at the start of a step with its name and the amount of work; returns what to call after each piece."""


@dataclass
class Demo:
    """What the demonstration did so far.

    Attributes:
        out: Its folder.
        episodes: Asked for.
        present: Episodes that an interrupted run had recorded already.
        successes: Episodes that ended with success.
        recorded: Episodes in the dataset.
        replays: Replays of them.
        problems: What `Store.verify` found.
        exported: Frames exported.
        page: The page, or None before it is written.
        seconds: Wall-clock time of each step, s.
        interrupted: Whether Ctrl-C ended it.
    """

    out: Path
    episodes: int
    present: int = 0
    successes: int = 0
    recorded: int = 0
    replays: list[ReplayReport] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    exported: int = 0
    losses: tuple[str, ...] = ()
    page: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def identical(self) -> int:
        """Episodes whose replay was the same in every bit."""
        return sum(report.identical for report in self.replays)

    @property
    def ok(self) -> bool:
        """Whether everything was done and the data held; how often the robot fell plays no part in it."""
        return self.page is not None and not self.problems and self.identical == self.recorded == self.episodes

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "ok": self.ok,
            "interrupted": self.interrupted,
            "out": str(self.out),
            "page": str(self.page) if self.page else None,
            "dataset": str(self.out / DATA),
            "export": str(self.out / EXPORT) if self.exported else None,
            "episodes": self.recorded,
            "requested": self.episodes,
            "present": self.present,
            "successes": self.successes,
            "wilson_95": list(wilson_interval(self.successes, self.recorded)),
            "replayed": len(self.replays),
            "identical": self.identical,
            "problems": list(self.problems),
            "frames_exported": self.exported,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }


def choose_policy(name: str | None) -> Policy:
    """Return the policy that ships for the task and robot of the demonstration, or the one that was named.

    Raises:
        AgentError: None ships, or there is none of that name.
    """
    env_id = full_id(TASK)
    shipped = shipped_name(env_id, ROBOT)
    if name is None and shipped not in shipped_policies():
        raise AgentError(
            f"no policy ships for {TASK} with robot '{ROBOT}': expected the bundle '{shipped}'; "
            "train one with `tg train stand` and give it with --policy, or watch the untrained robot with --policy zero"
        )
    return load_policy(name or shipped, env_id=env_id, robot=ROBOT)


def run_demo(
    out: Path,
    policy: Policy,
    policy_name: str,
    *,
    episodes: int = 20,
    seed: int = 1_000_000,
    workers: int = 2,
    fresh: bool = False,
    step: Step = lambda name, total: lambda note: None,
    conditions: Mapping[str, Any] = CONDITIONS,
) -> Demo:
    """Record, verify, replay, export and report. Ctrl-C keeps what was done; the same call then goes on.

    Args:
        out: A folder that does not exist, is empty, or that an earlier demonstration made.
        policy: Who acts.
        policy_name: How a command line names it.
        episodes: How many.
        seed: Of the first one; from 1,000,000, which no training uses.
        workers: Processes that record.
        fresh: Record anew even if an earlier run can be gone on with.
        step: Tells of progress.
        conditions: Arguments of the environment, beside those that the policy was trained with.

    Raises:
        AgentError: The folder holds something else, a seed may have been trained on, or the policy does not fit.
        DatasetError: The dataset cannot be written or is damaged.
    """
    seeds = check_unseen(range(seed, seed + episodes))
    kwargs = {**(policy.conditions if isinstance(policy, LearnedPolicy) else {}), "robot": ROBOT, **conditions}
    demo = Demo(out, episodes)
    job = _Job(demo, policy, policy_name, full_id(TASK), kwargs, seeds, workers, step)
    job.prepare(fresh)
    try:
        job.record()
        if not demo.interrupted:
            job.verify()
            job.replay()
            job.export()
            job.write_page()
    except KeyboardInterrupt:
        demo.interrupted = True
    return demo


@dataclass
class _Job:
    """The steps of `run_demo`, in order."""

    demo: Demo
    policy: Policy
    policy_name: str
    env_id: str
    kwargs: dict[str, Any]
    seeds: list[int]
    workers: int
    step: Step

    def prepare(self, fresh: bool) -> None:
        """Make the folder ready; what an earlier demonstration under other conditions left is removed."""
        out = self.demo.out
        with closing(make_env(self.env_id, self.kwargs)) as env:
            env.reset(seed=self.seeds[0])
            self.policy.reset(env)
            about = describe(env)
        key = {
            "made_by": "tg demo",
            "configuration": config_hash(about),
            "model": about["model_hash"],
            "policy": [self.policy.name, getattr(self.policy, "hash", None)],
            "first_seed": self.seeds[0],
            "episodes": len(self.seeds),
            "code": code_commit(),
            "versions": about["versions"],
        }
        try:
            found = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
        except OSError as problem:
            raise AgentError(f"{out}: cannot be read: {problem.strerror or problem}") from problem
        earlier = _earlier(out / MARK)
        if found and earlier is None:
            raise AgentError(f"{out}: holds {', '.join(found[:3])}, which no demonstration made; choose another --out")
        if found and (fresh or earlier != key):
            self._remove(DATA, EXPORT, PAGE)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise AgentError(f"{out}: cannot be made: {problem.strerror or problem}") from problem
        write_atomic(out / MARK, to_json(key))

    def _remove(self, *names: str) -> None:
        for path in (self.demo.out / name for name in names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def record(self) -> None:
        """Run the episodes, each on the disk when it ends."""
        begin, told = time.monotonic(), self.step("recording", len(self.seeds))
        store = self.demo.out / DATA

        def start(recording: Any) -> None:
            self.demo.present = recording.present
            for _ in range(recording.present):
                told("recorded already")

        def after(number: int, metadata: Any) -> None:
            self.demo.recorded += 1
            told(f"seed {metadata.seed}: {'standing' if metadata.success else metadata.failure or 'no success'}")

        recording = record(
            self.policy,
            self.env_id,
            self.kwargs,
            self.seeds,
            store,
            workers=self.workers,
            on_start=start,
            on_episode=after,
        )
        self.demo.interrupted = recording.interrupted
        self.demo.recorded += recording.present
        self.store = Store.open(store)
        self.demo.successes = sum(bool(self.store.metadata(n).success) for n in self.store.episodes())
        self.demo.seconds["record"] = time.monotonic() - begin

    def verify(self) -> None:
        """Read everything back and check hashes, shapes and values."""
        begin, told = time.monotonic(), self.step("checking", len(self.store))
        self.demo.problems = self.store.verify(lambda number: told(f"episode {number}")).problems
        self.demo.seconds["check"] = time.monotonic() - begin

    def replay(self) -> None:
        """Simulate every episode again and compare every bit."""
        begin, told = time.monotonic(), self.step("replaying", len(self.store))
        with Replayer(self.store.schema, own_robots=True) as player:
            for number in self.store.episodes():
                report = player.replay(self.store.read(number))
                self.demo.replays.append(report)
                told(f"episode {number}: {'same bits' if report.identical else f'differs: {report.first}'}")
        self.demo.seconds["replay"] = time.monotonic() - begin

    def export(self) -> None:
        """Write the dataset for others."""
        begin, told = time.monotonic(), self.step("exporting", len(self.store))
        self._remove(EXPORT)
        report = export(self.store, self.demo.out / EXPORT, FORMAT, progress=lambda number: told(f"episode {number}"))
        self.demo.exported, self.demo.losses = report.frames, report.losses
        self.demo.seconds["export"] = time.monotonic() - begin

    def write_page(self) -> None:
        """Write the page from the dataset."""
        begin, told = time.monotonic(), self.step("writing the page", 1)
        facts = Facts(
            identical={r.number: r.identical for r in self.demo.replays if r.number is not None},
            commands=self.commands(),
            paths=[
                ("this page", str(self.demo.out / PAGE)),
                ("dataset", f"{self.demo.out / DATA}/"),
                ("LeRobot export", f"{self.demo.out / EXPORT}/"),
            ],
            export_format=FORMAT,
            export_frames=self.demo.exported,
            losses=self.demo.losses,
            seconds=self.demo.seconds,
        )
        page = self.demo.out / PAGE
        write_atomic(page, build_page(self.store, Figure.load(ROBOT), facts))
        told(str(page))
        self.demo.page = page
        self.demo.seconds["page"] = time.monotonic() - begin

    def commands(self) -> list[Command]:
        """Return the command line of each step."""
        out, policy, count = self.demo.out, shlex.quote(self.policy_name), len(self.seeds)
        again = out.with_name(f"{out.name}-again")
        written = (f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in CONDITIONS.items())
        settings = " ".join(f"--set {shlex.quote(text)}" for text in written)
        common = f"{TASK} --robot {ROBOT} --policy {policy}"
        data, copy = shlex.quote(str(out / DATA)), shlex.quote(str(again / DATA))
        export_to = shlex.quote(str(again / EXPORT))
        evaluated = f"tg eval --policy {policy} --task {TASK} --robot {ROBOT} {settings}"
        whole = f"tg demo --out {shlex.quote(str(out))} --episodes {count} --seed {self.seeds[0]}"
        if self.policy_name != shipped_name(self.env_id, ROBOT):
            whole += f" --policy {policy}"
        return [
            Command("all of this", whole),
            Command(
                f"record {count} episodes",
                f"tg record {common} {settings} --episodes {count} --seed {self.seeds[0]} --out {copy}",
            ),
            Command("check the files: hashes, shapes, values", f"tg data verify {data}"),
            Command("simulate again and compare every bit", f"tg replay {data}"),
            Command("export", f"tg data export {data} {export_to} --format {FORMAT}"),
            Command("measure the policy over 200 unseen seeds", f"{evaluated} --episodes 200"),
            Command("watch it, and push it yourself", f"tg play {common} {settings} --seed {self.seeds[0]}"),
        ]


def _earlier(path: Path) -> dict[str, Any] | None:
    """What an earlier demonstration wrote of itself; None where there was none."""
    try:
        data = json.loads(path.read_bytes()[:1_000_000])
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("made_by") == "tg demo" else None

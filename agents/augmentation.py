"""More demonstrations from a few: segments of recorded episodes done again in new scenes, and what succeeds is kept.

After MimicGen (Mandlekar et al. 2023; `transfer.py`), with planned ways between the segments as SkillMimicGen has them
(Garrett et al. 2024, arXiv:2410.18907). What is kept went through the environment's own actions from the first step to
the last, like any other episode.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training_ground.agents.demonstration import Demonstration, demonstrate, trunk_works
from training_ground.agents.recording import recorded_seeds
from training_ground.agents.statistics import wilson_interval
from training_ground.agents.stopping import uninterrupted
from training_ground.agents.transplant import Transplant, TransplantWithTrunk
from training_ground.configs.augmentation import AugmentFile, load_augment
from training_ground.configs.errors import AgentError, DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.index import Index
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder, check_fit, open_or_create
from training_ground.datasets.schema import EpisodeMetadata, Origin, PlacedSegment, PolicyInfo, canonical_json
from training_ground.datasets.store import Store
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make

GRACE_S = 3.0
"""s after the last segment, or after it was given up, within which success must have come."""
UNFINISHED, OUT_OF_REACH = "no success", "out of reach"


@dataclass(frozen=True)
class Attempt:
    """What came of a seed.

    Attributes:
        seed: Of the episode.
        source: Number of the demonstration; None where none fits.
        kept: Whether it succeeded; nothing else is kept.
        failure: The task's kind of failure, `out of reach` or `no success`; empty where it was kept.
        why: What was out of reach; empty where nothing was.
        steps: Control steps.
        number: Of the episode in the new store; None where it was not kept.
    """

    seed: int
    source: int | None
    kept: bool
    failure: str
    why: str
    steps: int
    number: int | None = None


@dataclass
class Augmentation:
    """What an augmentation did.

    Attributes:
        source, path: The stores.
        requested: Seeds asked for.
        present: Seeds of which the new store had an episode before.
        demonstrations: What was done again.
        attempts: What came of the other seeds.
        recovered: What a killed run had left behind in the new store and was cleared away.
        seconds: Wall-clock time since the first attempt, s.
        interrupted: Whether Ctrl-C ended it early.
    """

    source: Path
    path: Path
    requested: int
    present: int = 0
    demonstrations: tuple[Demonstration, ...] = ()
    attempts: list[Attempt] = field(default_factory=list)
    recovered: tuple[str, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def kept(self) -> int:
        """How many attempts succeeded."""
        return sum(attempt.kept for attempt in self.attempts)

    def to_json(self) -> dict[str, Any]:
        """Return a summary as plain data."""
        tried, minutes = len(self.attempts), self.seconds / 60.0
        return {
            "source": str(self.source),
            "path": str(self.path),
            "requested": self.requested,
            "present": self.present,
            "tried": tried,
            "kept": self.kept,
            "success_rate": self.kept / tried if tried else None,
            "wilson_95": list(wilson_interval(self.kept, tried)),
            "failures": dict(Counter(attempt.failure for attempt in self.attempts if not attempt.kept)),
            "demonstrations": [_told(one) for one in self.demonstrations],
            "attempts": [asdict(attempt) for attempt in self.attempts],
            "seconds": round(self.seconds, 3),
            "kept_per_minute": round(self.kept / minutes, 2) if minutes > 0 else None,
            "tried_per_minute": round(tried / minutes, 2) if minutes > 0 else None,
            "recovered": list(self.recovered),
            "interrupted": self.interrupted,
        }


def augment(
    source: Path,
    path: Path,
    seeds: Sequence[int],
    *,
    segments: str | Path | None = None,
    chosen: Sequence[int] | None = None,
    changes: dict[str, Any] | None = None,
    on_start: Callable[[Augmentation], None] | None = None,
    on_attempt: Callable[[Attempt], None] | None = None,
) -> Augmentation:
    """Do recorded episodes again in new scenes, one a seed, and keep those that succeed.

    Ctrl-C loses only the episode that was running; seeds of which the new store has an episode already, made of the
    same demonstrations in the same way, are left out.

    Args:
        source: A store of episodes in a factory cell, successful ones among them.
        path: A store, or a folder that does not exist or is empty.
        seeds: One episode each, none of them a demonstration's.
        segments: How the task is cut: a file of `configs/augment`, or a path; the task's own where absent.
        chosen: Numbers of the episodes to do again; all that succeeded where absent.
        changes: Keyword arguments of the environment in which the new scenes differ from the demonstrations', such as
            another tier.
        on_start: Called before the first attempt.
        on_attempt: Called after each.

    Raises:
        DatasetError: A store cannot be read or written, does not fit this robot, or holds nothing to do again.
        AgentError: Seeds or segments do not fit.
        ConfigError: Nothing says how the task is cut.
    """
    store = Store.open(source)
    if path.resolve() == source.resolve():
        raise AgentError(f"{path}: augmented episodes go into a store of their own, not among the demonstrations")
    numbers = usable(store, chosen)
    first = store.metadata(numbers[0])
    _require_unseen(seeds, [store.metadata(number).seed for number in numbers])
    layout = load_augment(first.env_id.rsplit("/", 1)[-1].split("-v")[0], segments)
    with closing(_cell(first.env_id, first.kwargs, store)) as env:
        demonstrations = tuple(demonstrate(env, store.read(number), layout) for number in numbers)
        kind = TransplantWithTrunk if trunk_works(env, demonstrations) else Transplant
    policy, info = kind(demonstrations, layout), _policy_info(layout, demonstrations)
    with closing(_cell(first.env_id, {**first.kwargs, **(changes or {})}, store)) as env:
        env.reset(seed=0)
        policy.reset(env)
        kept = open_or_create(path, env)
        present = recorded_seeds(kept, env, info)
        missing = [seed for seed in seeds if seed not in present]
        result = Augmentation(source, path, len(seeds), len(seeds) - len(missing), demonstrations)
        result.recovered = kept.recovered
        if on_start is not None:
            on_start(result)
        begin, recorder = time.monotonic(), Recorder(env, None, policy=info)
        try:
            for seed in missing:
                attempt = _attempt(recorder, policy, seed, kept)
                result.attempts.append(attempt)
                result.seconds = time.monotonic() - begin
                if on_attempt is not None:
                    on_attempt(attempt)
        except KeyboardInterrupt:
            result.interrupted = True
    return result


def usable(store: Store, chosen: Sequence[int] | None = None) -> list[int]:
    """Return the numbers of the episodes of a store that can be done again: complete, successful, and no copies.

    Success is that in force, and what is labelled as dropped is left out.

    Args:
        store: Of the demonstrations.
        chosen: Only these, each of which must be usable.

    Raises:
        DatasetError: There is none, one of those chosen is not, or they are of different environments.
    """
    every = {number: store.metadata(number) for number in (store.episodes() if chosen is None else chosen)}
    index = Index.open(store)
    said = dict(zip(index.numbers.tolist(), index.column("success"), strict=True))
    bad = {number: why for number, metadata in every.items() if (why := _unusable(metadata, said[number]))}
    bad |= dict.fromkeys(index.dropped().intersection(every), "is labelled as dropped")
    if chosen is not None and bad:
        number, why = next(iter(bad.items()))
        raise DatasetError(f"{store.path}: episode {number} {why}; only demonstrations that succeeded are done again")
    numbers = [number for number in every if number not in bad]
    if not numbers:
        counts = ", ".join(f"{count} {why}" for why, count in Counter(bad.values()).items()) or "it is empty"
        raise DatasetError(f"{store.path}: holds no demonstration that succeeded: {counts}")
    kinds: dict[bytes, list[int]] = {}
    for number in numbers:
        kinds.setdefault(canonical_json([every[number].env_id, every[number].kwargs], "kwargs"), []).append(number)
    if len(kinds) > 1:
        told = "; ".join(", ".join(map(str, some)) for some in kinds.values())
        raise DatasetError(f"{store.path}: episodes of {len(kinds)} environments ({told}): choose those of one of them")
    return numbers


def _unusable(metadata: EpisodeMetadata, success: bool | None) -> str:
    if metadata.origin is not None:
        return "is augmented itself"
    if not metadata.as_recorded:
        return "was cleaned, so that it does not follow from its seed"
    if not metadata.complete:
        return "was cut off"
    return "" if success else "did not succeed"


def _require_unseen(seeds: Sequence[int], seen: Sequence[int]) -> None:
    if len(set(seeds)) != len(seeds):
        raise AgentError("a seed stands twice: each episode needs its own")
    both = sorted(set(seeds) & set(seen))
    if both:
        raise AgentError(
            f"seed {both[0]} is a demonstration's own: choose seeds other than {min(seen)} to {max(seen)} (--seed)"
        )


def _cell(env_id: str, kwargs: dict[str, Any], store: Store) -> HumanoidEnv:
    """Make a cell in which hands can be led, with the robot of a store.

    Raises:
        DatasetError: The robot is another one here, or the channels are.
        AgentError: Joints are not all driven by control `joint_position`.
    """
    # Not `make_env`: there an id may name a module to import, and a file must not choose what code runs.
    env = make(env_id, **kwargs)
    try:
        if env.config.control != "joint_position" or len(env.action_joints) != len(env.model.joint_names):
            driven = f"{len(env.action_joints)} of {len(env.model.joint_names)} joints driven"
            raise AgentError(
                f"{store.path}: control '{env.config.control}', {driven}; hands are led with control 'joint_position' "
                "and all of them"
            )
        check_fit(make_schema(env), store.schema, str(store.path))
    except BaseException:
        env.close()
        raise
    return env


def _policy_info(layout: AugmentFile, demonstrations: Sequence[Demonstration]) -> PolicyInfo:
    """Who acts: the same name and hash only where the same demonstrations are cut in the same way."""
    what = [layout.model_dump(mode="json"), [one.metadata.content_sha256 for one in demonstrations]]
    return PolicyInfo(name=Transplant.name, hash=hashlib.sha256(canonical_json(what, "segments")).hexdigest())


def _attempt(recorder: Recorder, policy: Transplant, seed: int, kept: Store) -> Attempt:
    """Play one seed to its end, or until nothing more can come of it."""
    observation, _ = recorder.reset(seed=seed)
    policy.reset(recorder)
    before, info = recorder.episode, {}
    steps = left = 0
    while recorder.episode is before:
        observation, _, _, _, info = recorder.step(policy.act(observation))
        steps += 1
        left = left + 1 if policy.ended or policy.trouble else 0
        if left * policy.env.control_timestep > GRACE_S:
            break
    source = policy.chosen.number if policy.chosen else None
    episode = recorder.episode
    if episode is None or episode is before or not episode.metadata.success or policy.chosen is None:
        failure = str(info.get("failure") or (OUT_OF_REACH if policy.trouble else UNFINISHED))
        return Attempt(seed, source, False, failure, policy.trouble, steps)
    origin = Origin(
        episode=policy.chosen.number,
        seed=policy.chosen.metadata.seed,
        policy=policy.chosen.metadata.policy,
        content_sha256=policy.chosen.metadata.content_sha256,
        segments=tuple(
            PlacedSegment(frame=placed.frame, source_frame=s.frame, source_rows=(s.first, s.last), row=placed.row)
            for placed, s in zip(policy.placed, policy.chosen.segments, strict=False)
        ),
    )
    metadata = episode.metadata.model_copy(update={"origin": origin})
    with uninterrupted():
        number = kept.append(Episode(metadata, episode.columns))
    return Attempt(seed, source, True, "", policy.trouble, steps, number)


def _told(one: Demonstration) -> dict[str, Any]:
    segments = [{"frame": s.frame, "side": s.side, "rows": [s.first, s.last]} for s in one.segments]
    return {"episode": one.number, "seed": one.metadata.seed, "segments": segments}

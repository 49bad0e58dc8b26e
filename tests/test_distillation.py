"""A small policy for one task, taught by one for several: it does what the teacher would, where it has got to."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from told import CLOCK, hear, teach

from training_ground.agents import training
from training_ground.agents.bundle import load_bundle, read_bundle
from training_ground.agents.imitation.data import Part
from training_ground.agents.multitask_policy import load
from training_ground.agents.policy import load_policy
from training_ground.agents.recording import record
from training_ground.agents.signature import signature_of
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError, ConfigError
from training_ground.datasets.store import Store

pytest.importorskip("torch")

PRESS = "TrainingGround/PressButton-v0"
KWARGS: dict[str, Any] = {"robot": "g1_dex3", "episode_length_s": 0.2}
EPISODES = 4


@pytest.fixture(autouse=True)
def _no_sentence_model(monkeypatch: pytest.MonkeyPatch) -> None:
    hear(monkeypatch)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = {}
    for task in ("PressButton", "OpenDrawer"):
        with contextlib.closing(make_env(f"TrainingGround/{task}-v0", {"robot": "g1_dex3"})) as env:
            found[task] = signature_of(env)
    folder = tmp_path_factory.mktemp("teacher")
    teach(folder, found)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short episodes in which nothing is done; their actions must not matter."""
    path = tmp_path_factory.mktemp("demonstrations") / "press"
    record(load_policy("random"), PRESS, KWARGS, range(EPISODES), path)
    return path


def preset(folder: Path, teacher: Path, data: Path, own: dict[str, Any] | None = None, **more: Any) -> Path:
    """Write a preset for a run of a few seconds."""
    settings = {
        "teacher": str(teacher), "datasets": [str(data)], "only_successes": False, "horizon": 3, "execute": 2,
        "clock": CLOCK.model_dump(), "batch_size": 32, "learning_rate": 3e-3, "rounds": 2, "episodes": 2,
    }  # fmt: skip
    content = {
        "env": {"id": PRESS, "kwargs": KWARGS},
        "algorithm": "distil",
        "distil": {**settings, **(own or {})},
        "network": {"hidden": [64]},
        "checkpoints": {"interval": 100},
        "eval": {"episodes": 0},
        "total_steps": 300,
        "workers": 1,
        **more,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def run(teacher: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        hear(patch)
        return training.start(preset(folder, teacher, data), name="fit", root=folder).folder


def test_the_student_does_what_its_teacher_would_and_not_what_was_recorded(
    run: Path, teacher: Path, data: Path
) -> None:
    """For each button that was asked for; the student is told nothing."""
    student, told = load_bundle(run / "bundle"), load(teacher)
    with contextlib.closing(make_env(PRESS, KWARGS)) as env:
        part = Part(data, env, 3, only_successes=False)
    assert len({*part.said}) > 1
    for i, words in enumerate(part.said):
        rows = np.arange(part.counts[i])
        batch = part.read(np.full(len(rows), i), rows)
        seen = np.concatenate([batch["observation"], CLOCK.tell(batch["step"] / 50.0)], axis=1)
        network = told.specialised("PressButton", words)
        wanted = network(seen).reshape(len(rows), 4, -1)[:, :3].clip(-1.0, 1.0)
        learned = student.infer(seen).reshape(wanted.shape)
        assert np.abs(learned - wanted).mean() < 0.01 < 0.1 < np.abs(batch["action"] - wanted).mean()


def test_rounds_are_played_by_the_student_alone_and_learned_from_whole(run: Path) -> None:
    """None of the episodes is long enough to succeed."""
    store = Store.open(run / "rollouts")
    played = [store.metadata(number) for number in store.episodes()]
    assert [(one.policy.name, one.success, one.length) for one in played] == [("visits", False, 10)] * 4
    assert len({one.policy.hash for one in played}) == 2, "weights of two rounds"
    with contextlib.closing(make_env(PRESS, KWARGS)) as env:
        assert Part(run / "rollouts", env, 3, only_successes=False).counts.tolist() == [10] * 4


def test_the_bundle_says_who_taught_it_and_runs_in_onnx(run: Path, teacher: Path) -> None:
    bundle = read_bundle(run / "bundle")
    made = bundle.policy.spec.provenance
    assert made.teacher is not None and made.teacher.hash == load(teacher).hash
    assert [one.episodes for one in made.data or ()] == [EPISODES, 4]
    assert bundle.onnx is not None
    onnx = load_policy(run, runtime="onnx")
    seen = bundle.golden["observation"]
    assert np.allclose(onnx.infer(seen), bundle.policy.infer(seen), atol=1e-5)  # type: ignore[attr-defined]


def test_a_run_goes_on_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    """From the checkpoint between the rounds; those of the second are played again."""
    folder = tmp_path / "again"
    shutil.copytree(run, folder)
    whole = (folder / "bundle" / "policy.safetensors").read_bytes()
    shutil.rmtree(folder / "bundle")
    saved = sorted((folder / "checkpoints").iterdir())
    assert len(saved) > 1
    for path in saved[1:]:
        path.unlink()
    training.resume(folder, root=tmp_path)
    assert (folder / "bundle" / "policy.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("own", "more", "told"),
    [
        ({"teacher": ""}, {}, r"distil\.teacher: names no policy"),
        ({"teacher": "nowhere"}, {}, r"nowhere.*missing"),
        ({"horizon": 5}, {}, r"distil\.horizon = 5: the teacher foresees 4 actions"),
        ({}, {"env": {"id": "TrainingGround/OpenDoor-v0", "kwargs": {"robot": "g1_dex3"}}}, "unknown task of this pol"),
        ({}, {"env": {"id": PRESS, "kwargs": {"robot": "g1_grippers"}}}, "does not fit this environment"),
        ({"mirror": True}, {}, "the teacher has learned no mirror images"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_before_the_run_begins(
    own: dict[str, Any], more: dict[str, Any], told: str, teacher: Path, data: Path, tmp_path: Path
) -> None:
    path = preset(tmp_path, teacher, data, own, **more)
    with pytest.raises((AgentError, ConfigError), match=told):
        training.start(path, name="none", root=tmp_path)
    assert not (tmp_path / "none").exists()


def test_a_student_may_know_less_than_its_teacher(run: Path, teacher: Path, data: Path, tmp_path: Path) -> None:
    """Without a clock of its own: the teacher is told the time all the same."""
    folder = training.start(
        preset(tmp_path, teacher, data, {"clock": None, "rounds": 1}, total_steps=20), name="r", root=tmp_path
    ).folder
    assert load_bundle(folder / "bundle").spec.clock is None
    assert json.loads((folder / "bundle" / "spec.json").read_text())["provenance"]["algorithm"] == "distil"
